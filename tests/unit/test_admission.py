"""What a start needs: every condition, alone, unknown, and what an operator's word changes of it."""

from dataclasses import fields, replace
from typing import Any

import pytest

from ovirt_he_agent.core import admission, snapshot
from ovirt_he_agent.core.commands import CleanVdsmEntry, StartVm
from ovirt_he_agent.core.model import DomainVitals, ExitReason, VmStatus
from ovirt_he_agent.core.snapshot import Evidence, LeaseView, OwnLease
from ovirt_he_agent.core.state import Attempt, End, Phase, State
from ovirt_he_agent.core.whereabouts import Place
from tests.snapshots import (
    DISK,
    JOINED,
    NOW,
    VM_ID,
    aged,
    ago,
    command,
    decide,
    definition,
    down,
    free,
    lifetime,
    owned_by,
    seen,
    slot,
    startable,
    vm,
)


def vitals(**facts: Any) -> Evidence[DomainVitals]:
    known = startable().domain.value
    assert known is not None
    return seen(replace(known, **facts))


def test_the_vm_is_started_by_uuid_when_every_condition_is_known_to_hold() -> None:
    decided = decide(startable())
    assert decided.command == StartVm(VM_ID, definition().sha256)
    assert decided.verdict.place is Place.NOWHERE
    assert decided.waits_for == ()


@pytest.mark.parametrize(
    ("facts", "condition"),
    [
        ({"global_maintenance": seen(True)}, "global maintenance"),
        ({"local_maintenance": seen(True)}, "local maintenance"),
        ({"own_ha_lease": seen(OwnLease(held=False, since=NOW, detail="joining"))}, "hosted-engine"),
        ({"domain": vitals(acquired=False)}, "host id acquired there"),
        ({"domain": vitals(valid=False, code=358)}, "host id acquired there"),
        ({"definition": seen(definition(leases=()))}, "lease for every exclusive disk"),
        ({"definition": seen(definition(vm_id="another"))}, "lease for every exclusive disk"),
        ({"vm_leases": owned_by(2)}, "running nowhere"),
        ({"vm_leases": owned_by(1)}, "running nowhere"),
        ({"vm_leases": {DISK: seen(LeaseView(owners=(), is_leaf=False))}}, "end of its chain"),
        ({"vm_leases": {DISK: seen(LeaseView(owners=(), is_leaf=None))}}, "end of its chain"),
        ({"vm_leases": {DISK: seen(LeaseView(owners=None, is_leaf=True))}}, "running nowhere"),
        ({"slots": seen({2: slot(claims_vm=True)})}, "running nowhere"),
        (vm(VmStatus.MIGRATION_DESTINATION), ""),
        (command("StartVm", done_at=None, ok=None), ""),
        (command("CleanVdsmEntry", done_at=None, ok=None), "command in flight"),
    ],
)
def test_no_start_while_one_condition_does_not_hold(facts: dict[str, Any], condition: str) -> None:
    """S1."""
    decided = decide(startable(**facts))
    assert decided.command is None
    assert not condition or any(condition in text for text in decided.waits_for), decided.waits_for


def test_a_domain_that_was_not_checked_yet_may_be_valid() -> None:
    assert isinstance(decide(startable(domain=vitals(actual=False, valid=False))).command, StartVm)


EVIDENCE = [f.name for f in fields(snapshot.Snapshot) if isinstance(getattr(startable(), f.name), Evidence)]
WITNESSES = [
    "global_maintenance",
    "local_maintenance",
    "own_ha_lease",
    "domain",
    "slots",
    "definition",
    "vm",
]
"""What a start rests on. The leases' readings are beside them, and the storage domain's hosts count where
somebody has had the VM (test_whereabouts.py)."""
RESOURCES = ["network", "bridge_up", "cpu_load", "memory_free_mib", "own_slot", "ha_hosts"]
"""They rank hosts, or are about this host's own word: no start depends on them."""


def test_each_reading_is_a_witness_or_is_known_not_to_be() -> None:
    assert set(EVIDENCE) == {*WITNESSES, *RESOURCES, "sd_hosts"}


def unknown(name: str, how: str) -> Evidence[Any]:
    known: Evidence[Any] = getattr(startable(), name)
    return {
        "never read": Evidence(),
        "failed": Evidence(problem="it broke"),
        "old": replace(known, at=ago(120)),
    }[how]


@pytest.mark.parametrize("how", ["never read", "failed", "old"])
@pytest.mark.parametrize("name", WITNESSES)
def test_an_unknown_witness_is_no_start(name: str, how: str) -> None:
    decided = decide(startable(**{name: unknown(name, how)}))
    assert decided.command is None
    assert decided.waits_for


@pytest.mark.parametrize("name", [n for n in RESOURCES if n != "own_slot"])
@pytest.mark.parametrize("how", ["never read", "failed"])
def test_unknown_resources_keep_nobody_from_the_only_start_there_is(name: str, how: str) -> None:
    assert isinstance(decide(startable(**{name: unknown(name, how)})).command, StartVm)


def test_a_failing_write_of_the_own_slot_is_no_start() -> None:
    assert isinstance(decide(startable(own_slot=Evidence())).command, StartVm)
    assert decide(startable(own_slot=Evidence(problem="I/O error"))).command is None


def test_every_condition_has_a_label_and_says_what_it_looked_at() -> None:
    decided = decide(startable())
    for condition in admission.CONDITIONS:
        assert condition.__doc__
        assert condition(decided.scene).detail
    names = [condition(decided.scene).name for condition in admission.CONDITIONS]
    assert len(set(names)) == len(names)


def test_a_kept_definition_is_never_started_on_a_volume_that_is_no_leaf_any_more() -> None:
    earlier = replace(DISK, volume_id="11111111-2222-4333-8444-555555555555")
    stale = definition(leases=(earlier,), source="kept")
    views = {**free(), earlier: seen(LeaseView(owners=(), is_leaf=False))}
    decided = decide(startable(definition=seen(stale), vm_leases=views))
    assert decided.command is None
    assert any("not the leaf of its chain" in text for text in decided.waits_for)


def test_in_local_maintenance_only_its_end_is_waited_for() -> None:
    nothing: Evidence[Any] = Evidence()
    facts = {name: nothing for name in EVIDENCE if name not in ("vm", "local_maintenance")}
    decided = decide(startable(local_maintenance=seen(True), vm_leases={}, **facts))
    assert decided.phase is Phase.LOCAL
    assert decided.command is None
    assert [text.partition(":")[0] for text in decided.waits_for] == ["local maintenance known to be off"]
    assert "--set-maintenance --mode=none" in decided.reason


@pytest.mark.parametrize(
    ("name", "age_s", "phase"), [("vm", 10, Phase.BLIND), ("slots", 30, Phase.CUT)], ids=["VDSM", "storage"]
)
def test_what_fails_is_waited_for_before_its_last_reading_is_too_old(
    name: str, age_s: int, phase: Phase
) -> None:
    read = getattr(startable(), name)
    failing = replace(read, at=ago(age_s)).failed("it broke; mend it")
    decided = decide(startable(**{name: failing}))
    assert decided.phase is phase
    assert decided.command is None
    assert [text.partition(": ")[2] for text in decided.waits_for] == ["it broke; mend it"]


def test_vdsms_record_of_a_dead_vm_is_cleared_before_the_start_and_nothing_that_runs_is_touched() -> None:
    """S5."""
    decided = decide(startable(**down(ExitReason.LOST_QEMU)))
    assert decided.command == CleanVdsmEntry(VM_ID)
    for status in VmStatus:
        if status is not VmStatus.DOWN:
            assert decide(startable(**vm(status))).command is None


# The pause


def paused(end: End, *, ago_s: float, left_s: float = 60, **facts: Any) -> State:
    last = Attempt(ago(ago_s), end, "why", "d" * 64)
    return replace(JOINED, attempts=(last,), last_end=last, not_before=ago(-left_s), **facts)


def test_no_start_before_the_pause_is_over() -> None:
    state = paused(End.CRASH, ago_s=1)
    decided = decide(startable(), state)
    assert decided.command is None
    assert decided.wake_at == NOW + 60_000
    assert any("60 s left after: crash, why" in text for text in decided.waits_for)
    assert isinstance(decide(aged(startable(), 60), state, later_s=60).command, StartVm)


def test_after_a_lock_failure_the_pause_is_30_s_when_somebody_had_the_vm_meanwhile() -> None:
    state = paused(End.LOCK_FAILED, ago_s=10, left_s=110, nowhere_since=ago(20))
    assert decide(startable(), state).wake_at == NOW + 110_000
    changed = paused(End.LOCK_FAILED, ago_s=10, left_s=110, nowhere_since=ago(5))
    assert decide(startable(), changed).wake_at == NOW + 20_000


def test_after_a_failed_start_another_definition_waits_no_longer_than_10_s() -> None:
    state = paused(End.START_FAILED, ago_s=4)
    other = startable(definition=seen(definition(sha256="e" * 64)))
    assert decide(other, state).wake_at == NOW + 6_000
    assert decide(startable(), state).wake_at == NOW + 60_000
    assert isinstance(decide(aged(other, 6), state, later_s=6).command, StartVm)


def test_a_dropped_command_pauses_2_s_and_is_no_failed_start() -> None:
    decided = decide(startable(**command("StartVm", ok=False, refused=True, detail="owner 2")))
    assert decided.state.attempts == ()
    assert decided.command is None
    assert isinstance(lifetime((2, {}), state=decided.state)[0].command, StartVm)


def test_what_cuts_a_pause_short_does_not_end_that_one() -> None:
    """The simulator went round: the cause of the drop was there, and the pause after a lost race was over."""
    state = paused(End.LOCK_FAILED, ago_s=40, left_s=80, nowhere_since=ago(5))
    assert isinstance(decide(startable(), state).command, StartVm)
    dropped = decide(startable(**command("StartVm", ok=False, refused=True, detail="slot 0")), state)
    assert dropped.command is None
    assert dropped.wake_at == NOW + 2_000
    assert [check.detail for check in dropped.trace if check.name == "pause-over"] == [
        "2 s left after: StartVm was dropped"
    ]


# Cooldown: three failures within ten minutes


def cooling(*, last_ago_s: float = 100) -> State:
    failures = tuple(Attempt(ago(last_ago_s + s), End.START_FAILED, "no") for s in (200, 100, 0))
    return replace(JOINED, attempts=failures, last_end=failures[-1])


def test_a_cooling_host_starts_only_where_nobody_else_may() -> None:
    rival = startable(slots=seen({2: slot(score=1)}))
    decided = decide(aged(rival, 50), cooling(), later_s=50)
    assert decided.phase is Phase.COOLDOWN
    assert decided.command is None
    assert any("host 2 may start it" in text for text in decided.waits_for)
    alone = decide(startable(), cooling())
    assert alone.phase is Phase.COOLDOWN
    assert isinstance(alone.command, StartVm)


def test_the_cooldown_is_over_600_s_after_the_last_failure() -> None:
    assert decide(startable(), cooling(last_ago_s=599)).phase is Phase.COOLDOWN
    assert decide(startable(), cooling(last_ago_s=600)).phase is Phase.STANDBY


def test_three_failures_over_more_than_ten_minutes_are_no_cooldown() -> None:
    failures = tuple(Attempt(ago(s), End.START_FAILED, "no") for s in (700, 300, 10))
    assert decide(startable(), replace(JOINED, attempts=failures)).phase is Phase.STANDBY
