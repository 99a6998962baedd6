"""What ails the engine, how long it may, and what excuses it: each kind of evidence, each grace."""

from typing import Any

import pytest

from ovirt_he_agent.core import decision, policy, sickness
from ovirt_he_agent.core.commands import DestroyVm, ShutdownVm
from ovirt_he_agent.core.model import ExitReason, ProbeOutcome, VmStatus
from ovirt_he_agent.core.policy import Policy, Profile
from ovirt_he_agent.core.sickness import Sickness
from ovirt_he_agent.core.snapshot import Evidence
from ovirt_he_agent.core.state import Phase, State, StopCause
from tests.snapshots import (
    UP,
    VM_ID,
    ago,
    bad,
    decide,
    down,
    every,
    lifetime,
    neighbours,
    probe,
    running,
    seen,
    slot,
    startable,
    vm,
)

OURS = slot(ours=True, changed_ago_s=-3600)
UPSTREAM = slot(ours=False, changed_ago_s=-3600)
"""They speak throughout the hour that follows."""
ALIVE_GUEST = vm(VmStatus.UP, guest_agent_alive=True)
DEAD_GUEST = vm(VmStatus.UP, guest_agent_alive=False)
LOST_GUEST = vm(VmStatus.UP, guest_agent_alive=False, guest_active=False)
PAUSED = vm(VmStatus.PAUSED, pause_code="EIO")


def finding(facts: dict[str, Any], **more: Any) -> sickness.Finding | None:
    return sickness.examine(decide(startable(**{**facts, **more}), running()).scene)


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({**ALIVE_GUEST, **bad(ProbeOutcome.DB_DOWN)}, Sickness.DB_DOWN),
        ({**DEAD_GUEST, **bad(ProbeOutcome.DB_DOWN)}, Sickness.DB_DOWN),
        ({**ALIVE_GUEST, **bad(ProbeOutcome.HTTP_ERROR)}, Sickness.DB_DOWN),
        ({**ALIVE_GUEST, **bad()}, Sickness.NO_ANSWER),
        ({**vm(VmStatus.UP), **bad()}, Sickness.NO_ANSWER),
        ({**DEAD_GUEST, **bad()}, Sickness.GUEST_DEAD),
        ({**LOST_GUEST, **bad()}, Sickness.GUEST_DEAD),
        ({**PAUSED, **bad()}, Sickness.PAUSED),
        (PAUSED, Sickness.PAUSED),
    ],
)
def test_each_sickness_has_its_evidence(facts: dict[str, Any], kind: Sickness) -> None:
    found = finding(facts)
    assert found is not None
    assert found.kind is kind


@pytest.mark.parametrize(
    "facts",
    [UP, {**vm(VmStatus.UP), "probes": ()}, {**vm(VmStatus.UP), "probes": (probe(ago_s=40),)}, down()],
    ids=["good", "not asked", "asked long ago", "down"],
)
def test_nothing_is_wrong_where_nothing_is_known_to_be(facts: dict[str, Any]) -> None:
    assert finding(facts) is None


# Excuses


@pytest.mark.parametrize(
    ("facts", "excuse"),
    [
        ({**vm(VmStatus.UP), **bad(), "network": seen(0.8)}, "only 80%"),
        ({**DEAD_GUEST, **bad(), "network": seen(0.0)}, "only 0%"),
        ({**vm(VmStatus.UP), "probes": (*bad()["probes"], probe(ProbeOutcome.NO_RESOLUTION))}, "name"),
        ({**vm(VmStatus.UP), **bad(), **neighbours(slot(engine_seen_ago_s=20))}, "host 2 sees"),
        (
            {**vm(VmStatus.UP), **bad(ProbeOutcome.DB_DOWN), **neighbours(slot(engine_seen_ago_s=20))},
            "host 2",
        ),
        ({**vm(VmStatus.UP), **bad(), "slots": seen({}, ago_s=61)}, "the whiteboard is unknown"),
        ({**PAUSED, "slots": seen({}).failed("it broke")}, "the storage fails here: it broke"),
        ({**PAUSED, "slots": seen({}, ago_s=61).failed("it broke")}, "no other host is alive"),
    ],
)
def test_what_excuses_it(facts: dict[str, Any], excuse: str) -> None:
    found = finding(facts)
    assert found is not None
    assert excuse in (found.excuse or "")


@pytest.mark.parametrize(
    "facts",
    [
        {**vm(VmStatus.UP), **bad(ProbeOutcome.DB_DOWN), "network": seen(0.5)},  # it answered
        {**vm(VmStatus.UP), **bad(), "network": Evidence()},
        {**vm(VmStatus.UP), **bad(), **neighbours(slot(engine_seen_ago_s=26))},  # and 5 s since
        {**vm(VmStatus.UP), **bad(), **neighbours(slot(engine_seen_ago_s=0, changed_ago_s=300))},
        {**vm(VmStatus.UP), **bad(), **neighbours(slot(engine_seen_ago_s=None))},
        {**PAUSED, **neighbours(OURS)},
        PAUSED,  # a lonely host, whose storage is fine
    ],
)
def test_what_does_not(facts: dict[str, Any]) -> None:
    found = finding(facts)
    assert found is not None
    assert found.excuse is None


def test_a_sick_engine_that_is_excused_is_never_stopped() -> None:
    excused = {**vm(VmStatus.UP), **bad(for_s=25), "network": seen(0.5)}
    decisions = every(range(0, 2000, 20), excused, state=running())
    assert {d.command for d in decisions} == {None}
    assert decisions[-1].phase is Phase.SICK


# Grace


def until_stopped(
    facts: dict[str, Any], *, state: State | None = None, limit_s: int = 700, **always: Any
) -> tuple[int, decision.Decision]:
    """How many seconds after the first bad look, and what is decided then."""
    state = state or running()
    for later_s in range(0, limit_s, 5):
        decided = lifetime((later_s, facts), state=state, **always)[0]
        if decided.command is not None:
            return later_s + 5, decided
        state = decided.state
    pytest.fail("it is never stopped")


@pytest.mark.parametrize(
    ("facts", "fast_s", "compat_s"),
    [
        ({**ALIVE_GUEST, **bad(ProbeOutcome.DB_DOWN)}, 195, 315),
        ({**ALIVE_GUEST, **bad(ProbeOutcome.HTTP_ERROR)}, 195, 315),
        ({**ALIVE_GUEST, **bad()}, 75, 315),
        ({**DEAD_GUEST, **bad()}, 60, 315),
        ({**PAUSED, **bad()}, 20, 300),
    ],
    ids=["database down", "error page", "no answer", "guest dead", "paused"],
)
def test_each_sickness_has_its_grace(facts: dict[str, Any], fast_s: int, compat_s: int) -> None:
    """With the 15 s that make it sickness, but for a pause."""
    fast, _ = until_stopped(facts, **neighbours(OURS))
    assert fast_s <= fast <= fast_s + 5
    compat, _ = until_stopped(facts, **neighbours(UPSTREAM))
    assert compat_s <= compat <= compat_s + 5


def test_a_stopped_or_stale_host_of_upstreams_is_no_reason_for_its_patience() -> None:
    facts = {**ALIVE_GUEST, **bad()}
    assert until_stopped(facts, **neighbours(slot(changed_ago_s=300)))[0] <= 80
    assert until_stopped(facts)[0] <= 80


@pytest.mark.parametrize(
    ("profile", "upstream_alive", "grace"),
    [
        (Profile.AUTO, True, policy.COMPAT),
        (Profile.AUTO, False, policy.FAST),
        (Profile.FAST, True, policy.FAST),
        (Profile.COMPAT, False, policy.COMPAT),
    ],
)
def test_either_profile_can_be_forced(profile: Profile, upstream_alive: bool, grace: policy.Grace) -> None:
    assert Policy(profile=profile).grace(upstream_alive=upstream_alive) == grace


def test_health_that_is_not_good_for_15_s_is_sick() -> None:
    phases = [
        d.phase for d in lifetime(*((s, {**UP, **bad(for_s=s + 1)}) for s in (2, 10, 14)), state=running())
    ]
    assert phases == [Phase.RUNNING, Phase.RUNNING, Phase.SICK]
    assert lifetime((20, UP), state=running(phase=Phase.SICK, bad_ms=17_000))[0].phase is Phase.RUNNING


def test_health_that_comes_back_ends_it_and_the_next_time_counts_from_zero() -> None:
    sick = {**ALIVE_GUEST, **bad()}
    decisions = every(range(0, 70, 5), sick, state=running())
    good = lifetime((75, UP), state=decisions[-1].state)[0]
    assert good.state.bad_ms == 0
    again = every(range(80, 150, 5), sick, state=good.state)
    assert all(d.command is None for d in (*decisions, good, *again))


@pytest.mark.parametrize(
    "unknown",
    [
        {"network": seen(0.5)},
        {"probes": (*bad()["probes"], probe(ProbeOutcome.NO_RESOLUTION))},
        {"probes": (probe(ProbeOutcome.NO_RESOLUTION),)},
        {"probes": ()},
        {"vm": Evidence(problem="VDSM is gone")},
        neighbours(slot(engine_seen_ago_s=1, changed_ago_s=-400)),
    ],
    ids=["no network", "no name any more", "no name", "not asked", "VDSM gone", "seen by another"],
)
def test_the_clock_stands_still_while_nobody_can_tell(unknown: dict[str, Any]) -> None:
    """What was not known, or was excused, must not count when it becomes known again."""
    sick = {**ALIVE_GUEST, **bad()}
    for before_s in (50, 0):  # sick already, or not at all yet
        state = running()
        for decided in every(range(0, before_s, 5), sick, state=state):
            state = decided.state
        before_ms = state.bad_ms
        for decided in every(range(before_s, 400, 5), {**sick, **unknown}, state=state):
            assert decided.command is None
            state = decided.state
        last = lifetime((400, sick), state=state)[0]
        assert last.command is None
        assert last.state.bad_ms <= before_ms + 5_000


def test_a_process_that_was_stopped_does_not_count_the_time_as_sickness() -> None:
    sick = {**ALIVE_GUEST, **bad()}
    state = every((0, 5, 10), sick, state=running())[-1].state
    decided = lifetime((1000, sick), state=state)[0]
    assert decided.command is None
    assert decided.state.bad_ms <= 15_000 + 30_000


# How it is stopped


def test_a_sick_guest_is_asked_and_a_lost_or_paused_one_is_not() -> None:
    _, asked = until_stopped({**ALIVE_GUEST, **bad()})
    assert (asked.phase, asked.command) == (Phase.STOPPING, ShutdownVm(VM_ID, 120, ""))
    _, deaf = until_stopped({**DEAD_GUEST, **bad()})
    assert isinstance(deaf.command, ShutdownVm)  # one witness
    for facts in ({**LOST_GUEST, **bad()}, {**PAUSED, **bad()}):
        _, killed = until_stopped(facts, **neighbours(OURS))
        assert (killed.phase, killed.command) == (Phase.KILLING, DestroyVm(VM_ID, ""))
        assert killed.state.stop is not None
        assert killed.state.stop.cause is StopCause.SICK


def test_the_reason_names_the_sickness_and_its_time() -> None:
    _, decided = until_stopped({**ALIVE_GUEST, **bad()})
    assert "it does not answer, for 75 s" in decided.reason


@pytest.mark.parametrize("local", [seen(True), Evidence(problem="unreadable")])
def test_in_local_maintenance_or_while_that_is_unknown_a_sick_vm_is_left_alone(local: Evidence[bool]) -> None:
    """S14."""
    decisions = every(range(0, 900, 20), {**ALIVE_GUEST, **bad()}, state=running(), local_maintenance=local)
    assert {d.command for d in decisions} == {None}


def test_a_page_that_was_good_15_s_ago_is_no_reason_for_a_stop() -> None:
    """S4: whatever the timers say."""
    sick = running(bad_ms=10**6, bad_until=ago(1))
    assert decide(startable(**ALIVE_GUEST, **bad(), page_good_at=ago(14)), sick).command is None
    assert decide(startable(**ALIVE_GUEST, **bad(), page_good_at=ago(16)), sick).command is not None


# How long a start may take


def start_limit_s(facts: dict[str, Any], **state: Any) -> float:
    scene = decide(startable(**facts), running(was_good=False, **state)).scene
    return sickness.start_limit_ms(scene) / 1000


def test_a_start_may_take_600_s_or_three_usual_boots_and_longer_with_signs_of_life() -> None:
    assert start_limit_s(vm(VmStatus.UP)) == 600
    assert start_limit_s(vm(VmStatus.UP), usual_boot_ms=100_000) == 600
    assert start_limit_s(vm(VmStatus.UP), usual_boot_ms=300_000) == 900
    for sign in ({"guest_agent_alive": True}, {"guest_active": True}):
        assert start_limit_s(vm(VmStatus.UP, **sign)) == 1800
    assert start_limit_s(DEAD_GUEST) == 600


def test_a_start_that_takes_too_long_is_stopped() -> None:
    """R23."""
    booting = running(was_good=False, phase=Phase.STARTING, here_since=ago(599))
    facts = {**vm(VmStatus.UP), **bad()}
    assert decide(startable(**facts), booting).command is None
    decided = lifetime((1, facts), state=booting)[0]
    assert isinstance(decided.command, ShutdownVm)
    assert decided.state.stop is not None
    assert decided.state.stop.cause is StopCause.START_TOO_LONG
    seen_elsewhere = lifetime((1, {**facts, **neighbours(slot(engine_seen_ago_s=1))}), state=booting)[0]
    assert seen_elsewhere.command is None


def test_a_failed_engine_restarts_in_place_once() -> None:
    _, decided = until_stopped({**ALIVE_GUEST, **bad()}, **neighbours(OURS))
    gone = lifetime((200, down(ExitReason.USER_SHUTDOWN, code=0)), state=decided.state)[0]
    assert gone.state.favoured
    assert gone.command is not None
