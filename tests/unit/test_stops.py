"""Stops of a VM that is here: what begins one, what ends it, how it goes on, and what it never touches."""

from dataclasses import replace
from typing import Any

import pytest

from ovirt_he_agent.core import decision, rules
from ovirt_he_agent.core.commands import DestroyVm, ShutdownVm
from ovirt_he_agent.core.model import HostFlag, ProbeOutcome, VmStatus
from ovirt_he_agent.core.policy import Policy
from ovirt_he_agent.core.snapshot import Evidence
from ovirt_he_agent.core.state import Phase, State, Stop, StopCause
from tests.snapshots import (
    GOOD,
    NOW,
    UP,
    VM_ID,
    ago,
    bad,
    command,
    decide,
    every,
    lifetime,
    neighbours,
    owned_by,
    running,
    seen,
    slot,
    startable,
    vm,
)

SICK: dict[str, Any] = {**vm(VmStatus.UP), **bad(for_s=25)}
RIVAL = slot(score=3400, ours=True, changed_ago_s=-3600)
WEAK_RIVAL = slot(score=2599, ours=True, changed_ago_s=-3600)
"""This host has 1800 points when its network is lost."""


def stopping(cause: StopCause = StopCause.SICK, **facts: Any) -> State:
    """VDSM accepted the shutdown 30 s ago."""
    stop = Stop(cause=cause, why="why", since=ago(30), told_at=ago(30))
    return running(phase=Phase.STOPPING, bad_ms=100_000, bad_until=ago(1), stop=replace(stop, **facts))


def one(facts: dict[str, Any], state: State, *, later_s: float = 0, **more: Any) -> decision.Decision:
    return lifetime((later_s, {**facts, **more}), state=state)[0]


# R29, R30


def test_a_shutdown_is_asked_for_once_and_given_150_s() -> None:
    told, later, killing = lifetime((0, SICK), (119, SICK), (120, SICK), state=stopping())
    assert [d.command for d in (told, later)] == [None, None]
    assert [d.phase for d in (told, later)] == [Phase.STOPPING] * 2
    assert told.wake_at == NOW + 120_000
    assert (killing.phase, killing.command) == (Phase.KILLING, DestroyVm(VM_ID, ""))


def test_a_vm_that_pauses_while_it_is_stopped_is_powered_off() -> None:
    assert isinstance(one(vm(VmStatus.PAUSED), stopping()).command, DestroyVm)


def test_a_shutdown_that_vdsm_refuses_is_followed_by_a_power_off() -> None:
    began = stopping(told_at=None)
    flying = one(SICK, began, **command("ShutdownVm", done_at=None, ok=None))
    assert (flying.phase, flying.command) == (Phase.STOPPING, None)
    failed = one(SICK, flying.state, later_s=1, **command("ShutdownVm", ago_s=-1, ok=False))
    assert (failed.phase, failed.command) == (Phase.KILLING, DestroyVm(VM_ID, ""))


def test_a_shutdown_whose_outcome_is_unknown_is_waited_for() -> None:
    unknown = one(SICK, stopping(told_at=None), **command("ShutdownVm", ok=None))
    assert (unknown.phase, unknown.command) == (Phase.STOPPING, None)
    assert unknown.state.stop is not None
    assert unknown.state.stop.told_at == NOW


def test_a_power_off_that_changes_nothing_is_repeated_with_back_off_and_alarms() -> None:
    state = stopping(kill=True, told_at=ago(200))
    pauses = []
    at_s = 0.0
    for number in range(1, 6):
        ended = command("DestroyVm", number=number, ago_s=-at_s)
        done = lifetime((at_s, {**SICK, **ended}), state=state)[0]
        assert done.command is None
        assert done.wake_at is not None
        pauses.append((done.wake_at - done.scene.now) / 1000)
        at_s += pauses[-1]
        again = lifetime((at_s, {**SICK, **ended}), state=done.state)[0]
        assert isinstance(again.command, DestroyVm)
        assert again.phase is Phase.KILLING
        state = again.state
    assert pauses == [60, 120, 300, 300, 300]
    assert any("told 5 times" in text for text in again.alarms)


def test_a_power_off_that_vdsm_does_not_accept_is_repeated_after_10_s() -> None:
    failed = one(SICK, stopping(kill=True), **command("DestroyVm", ok=False))
    assert (failed.phase, failed.command) == (Phase.KILLING, None)
    assert failed.wake_at == NOW + 10_000
    assert isinstance(one(SICK, failed.state, later_s=10).command, DestroyVm)


@pytest.mark.parametrize("kind", ["ShutdownVm", "DestroyVm"])
def test_a_dropped_command_is_not_given_again_for_2_s(kind: str) -> None:
    dropped = command(kind, ok=False, refused=True)
    sick = running(bad_ms=10**6, bad_until=ago(1))
    assert one(SICK, sick, **dropped).command is None
    assert isinstance(one(SICK, sick, later_s=2, **dropped).command, ShutdownVm)


# What ends a stop


def test_an_engine_that_recovers_is_not_killed() -> None:
    decided = one(UP, stopping())
    assert (decided.phase, decided.command, decided.state.stop) == (Phase.RUNNING, None, None)


def test_a_guest_that_is_shutting_down_already_is_stopped_to_the_end() -> None:
    decided = one({**UP, **vm(VmStatus.POWERING_DOWN)}, stopping())
    assert decided.phase is Phase.STOPPING


@pytest.mark.parametrize("name", ["global_maintenance", "local_maintenance"])
@pytest.mark.parametrize("cause", [c for c in StopCause if c is not StopCause.ASKED])
def test_maintenance_ends_every_stop_of_ours(name: str, cause: StopCause) -> None:
    """S2, S14."""
    decided = one({**SICK, name: seen(True)}, stopping(cause, kill=True, kills=1))
    assert decided.command is None
    assert decided.state.stop is None


def test_a_stop_that_vdsm_has_not_accepted_ends_with_its_reason() -> None:
    """A second try must not rest on the first."""
    began = stopping(told_at=None, kill=True)
    for facts in ({**vm(VmStatus.UP), **bad(for_s=3)}, UP, {**SICK, **neighbours(slot(engine_seen_ago_s=1))}):
        decided = one(facts, replace(began, bad_ms=1000))
        assert decided.command is None
        assert decided.state.stop is None


def test_a_stop_that_vdsm_has_not_accepted_goes_on_while_its_reason_holds() -> None:
    began = one(SICK, running(bad_ms=10**6, bad_until=ago(1)))
    again = one(SICK, began.state, later_s=5)
    assert isinstance(again.command, ShutdownVm)
    assert again.state.stop is not None
    assert began.state.stop is not None
    assert again.state.stop.since == began.state.stop.since


def test_a_vm_that_is_gone_has_no_stop() -> None:
    stale = replace(stopping(), was_here=False)
    assert one({}, stale).state.stop is None
    assert one({}, stale).command is not None


@pytest.mark.parametrize("stop", [{}, {"kill": True}, {"kill": True, "kills": 1, "killed_at": ago(400)}])
@pytest.mark.parametrize("cause", [StopCause.SICK, StopCause.START_TOO_LONG])
def test_an_engine_that_was_good_within_15_s_is_left_alone(cause: StopCause, stop: dict[str, Any]) -> None:
    """S4."""
    told = stopping(cause, told_at=ago(200), **stop)
    assert one({**SICK, "page_good_at": ago(14)}, told).command is None
    assert isinstance(one({**SICK, "page_good_at": ago(16)}, told).command, DestroyVm)


# R26: the network is lost here


LOST: dict[str, Any] = {**UP, "network": seen(0.0)}


def lost(**always: Any) -> list[decision.Decision]:
    return every(range(0, 125, 5), LOST, state=running(), **always)


def commands(decisions: list[decision.Decision]) -> list[object]:
    return [d.command for d in decisions if d.command is not None]


def test_a_vm_without_network_is_stopped_after_60_s_when_another_host_sees_it() -> None:
    """The page that this host sees is that of its own VM: it does not count."""
    decisions = lost(**neighbours(RIVAL))
    first = next(d for d in decisions if d.command is not None)
    assert first.scene.now == NOW + 60_000
    assert first.command == ShutdownVm(VM_ID, 120, "")
    assert first.state.stop is not None
    assert first.state.stop.cause is StopCause.NETWORK_LOST
    assert "host 2 has 1600 points more" in first.state.stop.why


@pytest.mark.parametrize(
    "others",
    [
        {},
        neighbours(WEAK_RIVAL),
        neighbours(replace(RIVAL, changed_at=ago(300))),
        neighbours(replace(RIVAL, state="EngineUnexpectedlyDown")),
        neighbours(replace(RIVAL, local_maintenance=True)),
        neighbours(replace(RIVAL, stopped=True)),
        neighbours(replace(RIVAL, engine_seen_ago_s=20)),
    ],
    ids=["alone", "gap below 800", "stale", "cooling down", "maintenance", "stopped", "it sees the page"],
)
def test_without_a_host_that_would_do_better_it_stays(others: dict[str, Any]) -> None:
    """S10."""
    assert not commands(lost(**others))


def test_a_network_that_is_half_there_or_comes_back_is_no_reason() -> None:
    others = neighbours(RIVAL)
    assert not commands(every(range(0, 125, 5), {**LOST, "network": seen(0.2)}, state=running(), **others))
    assert not commands(every(range(0, 125, 5), {**LOST, "network": Evidence()}, state=running(), **others))
    state = lost(**others)[11].state  # 55 s
    back = lifetime((56, UP), state=state, **others)[0]
    assert not commands(lifetime((57, LOST), (110, LOST), state=back.state, **others))


def test_a_network_that_comes_back_during_the_stop_ends_it() -> None:
    told = stopping(StopCause.NETWORK_LOST, told_at=ago(200))
    decided = one(UP, replace(told, network_lost_since=ago(300)), **neighbours(RIVAL))
    assert (decided.command, decided.state.stop) == (None, None)
    assert isinstance(one(LOST, replace(told, network_lost_since=ago(300))).command, DestroyVm)


def test_the_rule_can_be_switched_off() -> None:
    state = running(network_lost_since=ago(300))
    snap = startable(**LOST, **neighbours(RIVAL))
    assert isinstance(decide(snap, state).command, ShutdownVm)
    assert decide(snap, state, rules_of=Policy(move_when_network_lost=False)).command is None


# R27: soft reasons


@pytest.mark.parametrize(
    "soft",
    [
        {"cpu_load": seen(1.0)},
        {"memory_free_mib": seen(0)},
        {"cpu_load": seen(1.0), "bridge_up": seen(False)},
    ],
)
def test_a_better_host_for_a_soft_reason_is_an_alarm_and_never_a_stop(soft: dict[str, Any]) -> None:
    """S10."""
    decisions = every(range(0, 3600, 60), {**UP, **soft}, state=running(), **neighbours(RIVAL))
    assert not commands(decisions)
    advised = any("migrate it from the engine" in text for text in decisions[-1].alarms)
    assert advised is ("cpu_load" in soft)  # the VM has its memory already


# R28: twins


TWIN = slot(claims_vm=True, changed_ago_s=5)
TAKEN = owned_by(2, ago_s=1)


def twin_later(
    *steps: tuple[float, dict[str, Any]], state: State | None = None, **always: Any
) -> list[decision.Decision]:
    """The twin claims anew in every step."""
    moving = (
        (
            at_s,
            {**UP, **neighbours(slot(claims_vm=True, changed_ago_s=5 - at_s)), "vm_leases": TAKEN, **facts},
        )
        for at_s, facts in steps
    )
    return lifetime(*moving, state=state or running(), **always)


def test_a_twin_with_the_lease_twice_20_s_apart_is_the_one_that_stays() -> None:
    first, second, last = twin_later((0, {}), (15, {}), (20, {}))
    assert first.state.twin == 2
    assert first.wants.lease_owners
    assert [d.command for d in (first, second)] == [None, None]
    assert (last.phase, last.command) == (Phase.KILLING, DestroyVm(VM_ID, ""))
    assert any("host 2 says that it runs the VM, too" in text for text in first.alarms)


@pytest.mark.parametrize(
    "leases",
    [owned_by(1), owned_by(), {}, owned_by(1, 2), owned_by(3)],
    ids=["ours", "free", "unknown", "both", "a third one's"],
)
def test_a_twin_that_does_not_own_the_lease_is_an_alarm_and_nothing_more(leases: dict[Any, Any]) -> None:
    decisions = twin_later(*((s, {"vm_leases": leases}) for s in range(0, 300, 20)))
    assert not commands(decisions)
    assert decisions[-1].alarms
    between = twin_later((0, {}), (10, {"vm_leases": leases}), (20, {}), (30, {}))
    assert not commands(between)


def test_owners_that_were_read_before_the_twin_claimed_do_not_count() -> None:
    early = {"vm_leases": owned_by(2, ago_s=10)}
    first, second = twin_later((0, early), (11, {"vm_leases": owned_by(2, ago_s=1)}))
    assert first.state.twin_owner_seen is None
    assert second.state.twin_owner_seen == NOW + 10_000


def test_no_twin_while_a_migration_explains_it_or_nobody_speaks() -> None:
    migrated = replace(running(), memory=replace(running().memory, migrated_at=ago(50)))
    assert twin_later((0, {}), state=migrated)[0].state.twin is None
    assert twin_later((20, {}), state=migrated)[0].state.twin == 2
    for other in (replace(TWIN, changed_at=ago(300)), replace(TWIN, stopped=True), slot()):
        assert one({**UP, **neighbours(other)}, running()).state.twin is None
    leaving = {**UP, **vm(VmStatus.MIGRATION_SOURCE)}
    assert twin_later((0, leaving))[0].state.twin is None
    their = slot(claims_vm=True, engine_detail="Migration Source")
    assert one({**UP, **neighbours(their)}, running()).state.twin is None


def test_maintenance_protects_a_twin_too() -> None:
    for name in ("local_maintenance", "global_maintenance"):
        decisions = twin_later(*((s, {name: seen(True)}) for s in range(0, 100, 10)))
        assert not commands(decisions)
    unread: Evidence[bool] = Evidence(problem="unreadable")
    assert not commands(twin_later(*((s, {}) for s in range(0, 100, 10)), local_maintenance=unread))


def test_a_power_off_that_was_dropped_rests_on_the_lease_again() -> None:
    """safety: meanwhile it may have become ours."""
    began = twin_later((0, {}), (20, {}))[-1]
    dropped = command("DestroyVm", ok=False, refused=True, ago_s=-21)
    for leases in (owned_by(1), owned_by(), {}):
        after = twin_later((30, {"vm_leases": leases, **dropped}), state=began.state)[0]
        assert (after.command, after.state.stop) == (None, None)
    still = twin_later((30, dropped), state=began.state)[0]
    assert isinstance(still.command, DestroyVm)


def test_a_twin_whose_power_off_was_accepted_is_not_powered_off_again_without_the_lease() -> None:
    began = twin_later((0, {}), (20, {}))[-1]
    done = command("DestroyVm", ago_s=-21)
    accepted = twin_later((22, done), state=began.state)[0]
    assert accepted.phase is Phase.KILLING
    assert isinstance(twin_later((85, done), state=accepted.state)[0].command, DestroyVm)
    assert twin_later((85, {**done, "vm_leases": owned_by(1)}), state=accepted.state)[0].command is None


# A paused VM has given back its lease


PAUSED: dict[str, Any] = {**vm(VmStatus.PAUSED), **bad(), "vm_leases": owned_by(2)}


def test_a_paused_vm_whose_lease_another_host_has_taken_is_destroyed_although_the_page_is_good() -> None:
    decided = one({**PAUSED, **GOOD}, running())
    assert decided.rule.name == "paused-and-taken"
    assert (decided.phase, decided.command) == (Phase.KILLING, DestroyVm(VM_ID, ""))
    dropped = command("DestroyVm", ok=False, refused=True, ago_s=3)
    assert isinstance(one({**PAUSED, **GOOD, **dropped}, decided.state).command, DestroyVm)


@pytest.mark.parametrize("leases", [owned_by(1), owned_by(), {}, owned_by(1, 2)])
def test_a_paused_vm_is_kept_while_its_lease_is_nobody_elses(leases: dict[Any, Any]) -> None:
    assert one({**PAUSED, "vm_leases": leases}, running()).command is None
    assert one({**PAUSED, "vm_leases": leases}, running()).wants.lease_owners


def test_a_paused_vm_that_goes_on_before_its_power_off_is_left_alone() -> None:
    began = one(PAUSED, running())
    dropped = command("DestroyVm", ok=False, refused=True)
    resumed = one({**vm(VmStatus.UP), **bad(), "vm_leases": owned_by(1), **dropped}, began.state, later_s=5)
    assert (resumed.command, resumed.state.stop) == (None, None)


@pytest.mark.parametrize("local", [seen(True), Evidence(problem="unreadable")])
def test_a_paused_vm_is_kept_in_local_maintenance(local: Evidence[bool]) -> None:
    assert one({**PAUSED, "local_maintenance": local}, running()).command is None


# Never


@pytest.mark.parametrize("place", [VmStatus.MIGRATION_SOURCE, VmStatus.MIGRATION_DESTINATION])
@pytest.mark.parametrize("cause", [c for c in StopCause if c is not StopCause.ASKED])
def test_a_vm_that_migrates_is_neither_shut_down_nor_powered_off(place: VmStatus, cause: StopCause) -> None:
    """R7."""
    facts = {**vm(place), **bad(ProbeOutcome.NO_ANSWER, for_s=500)}
    for state in (
        running(bad_ms=10**6, bad_until=ago(1)),
        stopping(cause, told_at=ago(900), kill=True, kills=2, killed_at=ago(900)),
        running(was_good=False, here_since=ago(9999)),
        running(network_lost_since=ago(999)),
    ):
        network = seen(0.0) if state.network_lost_since is not None else seen(1.0)
        decided = one({**facts, "network": network}, state, **neighbours(RIVAL, sd2=HostFlag.LIVE))
        assert decided.command is None


def test_the_limits_of_a_stop_are_upstreams() -> None:
    assert rules.SHUTDOWN_DELAY_S == 120
    assert rules.SHUTDOWN_LIMIT_MS == 150_000
