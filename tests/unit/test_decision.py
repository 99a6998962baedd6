"""One host's rules: what is started, what never is, and what the host calls itself."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ovirt_he_agent.core import decision, health, model, snapshot
from ovirt_he_agent.core.commands import CleanVdsmEntry, StartVm
from ovirt_he_agent.core.model import ExitReason, HostFlag, ProbeOutcome, VmStatus
from ovirt_he_agent.core.snapshot import Evidence, LeaseView, OwnLease, VmView
from ovirt_he_agent.core.state import End, Phase, State
from ovirt_he_agent.core.whereabouts import Place
from tests.snapshots import (
    DISK,
    NOW,
    VM_ID,
    definition,
    free,
    host,
    owned_by,
    probe,
    report,
    seen,
    slot,
    startable,
)

JOINED = State(has_joined=True)


def decide(snap: snapshot.Snapshot, state: State = JOINED, *, later_s: float = 0) -> decision.Decision:
    return decision.decide(state, snap, model.MonotonicMs(NOW + int(later_s * 1000)))


def aged(snap: snapshot.Snapshot, by_s: float) -> snapshot.Snapshot:
    """The same readings, taken ``by_s`` later."""

    def move(read: Any) -> Any:
        return (
            replace(read, at=model.MonotonicMs(read.at + int(by_s * 1000))) if read.at is not None else read
        )

    changes = {f.name: move(v) for f in fields(snap) if isinstance(v := getattr(snap, f.name), Evidence)}
    return replace(
        snap,
        vm_leases={ref: move(read) for ref, read in snap.vm_leases.items()},
        probes=tuple(move(p) for p in snap.probes),
        **changes,
    )


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
        ({"definition": seen(definition(leases=()))}, "lease for every exclusive disk"),
        ({"definition": seen(definition(vm_id="another"))}, "lease for every exclusive disk"),
        ({"vm_leases": owned_by(2)}, "running nowhere"),
        ({"vm_leases": owned_by(1)}, "running nowhere"),
        ({"vm_leases": {DISK: seen(LeaseView(owners=(), is_leaf=False))}}, "end of its chain"),
        ({"vm_leases": {DISK: seen(LeaseView(owners=(), is_leaf=None))}}, "end of its chain"),
        ({"vm_leases": {DISK: seen(LeaseView(owners=None, is_leaf=True))}}, "running nowhere"),
        ({"slots": seen({2: slot(claims_vm=True)})}, "running nowhere"),
        ({"vm": seen(VmView(report=report(VmStatus.MIGRATION_DESTINATION)))}, ""),
    ],
)
def test_no_start_while_one_condition_does_not_hold(facts: dict[str, Any], condition: str) -> None:
    decided = decide(startable(**facts))
    assert decided.command is None
    assert not condition or any(condition in text for text in decided.waits_for), decided.waits_for


EVIDENCE = [f.name for f in fields(snapshot.Snapshot) if isinstance(getattr(startable(), f.name), Evidence)]


@pytest.mark.parametrize("name", [n for n in EVIDENCE if n not in ("ha_hosts", "sd_hosts")])
@pytest.mark.parametrize("how", ["never read", "failed", "old"])
def test_unknown_evidence_of_any_kind_is_no_start(name: str, how: str) -> None:
    read = getattr(startable(), name)
    unknown: Evidence[Any] = {
        "never read": Evidence(),
        "failed": Evidence(problem="it broke"),
        "old": replace(read, at=model.MonotonicMs(NOW - 120_000)),
    }[how]
    decided = decide(startable(**{name: unknown}))
    assert decided.command is None
    assert decided.waits_for


def test_in_local_maintenance_only_its_end_is_waited_for() -> None:
    unknown: Evidence[Any] = Evidence()
    facts = {name: unknown for name in EVIDENCE if name not in ("vm", "local_maintenance")}
    decided = decide(startable(local_maintenance=seen(True), vm_leases={}, **facts))
    assert decided.state.phase is Phase.LOCAL
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
    failing = replace(read, at=model.MonotonicMs(NOW - age_s * 1000)).failed("it broke; mend it")
    decided = decide(startable(**{name: failing}))
    assert decided.state.phase is phase
    assert decided.command is None
    assert [text.partition(": ")[2] for text in decided.waits_for] == ["it broke; mend it"]


def test_unknown_hosts_hinder_a_start_only_when_some_other_host_has_had_the_vm() -> None:
    unknown: Evidence[Any] = Evidence(problem="sanlock has just joined")
    assert isinstance(decide(startable(sd_hosts=unknown)).command, StartVm)
    assert decide(startable(sd_hosts=unknown, vm_leases=owned_by(2))).command is None
    after_an_owner = decide(startable(vm_leases=owned_by(2))).state
    assert decide(startable(sd_hosts=unknown), after_an_owner).command is None


def test_a_jump_of_the_clock_makes_all_evidence_unknown() -> None:
    assert decide(startable(), later_s=3600).command is None


def test_the_deployed_disks_lease_counts_although_the_definition_has_another_one() -> None:
    other = snapshot.LeaseRef(domain_id="d", image_id="i", volume_id="v")
    snap = startable(definition=seen(definition(leases=(other,))))
    assert decide(snap).command is None
    both_free = {**free(), other: seen(LeaseView(owners=(), is_leaf=True))}
    assert isinstance(decide(replace(snap, vm_leases=both_free)).command, StartVm)


BEFORE_SNAPSHOT = replace(DISK, volume_id="11111111-2222-4333-8444-555555555555")
"""Another volume of the same disk."""


@pytest.mark.parametrize(
    ("view", "starts"),
    [
        (LeaseView(owners=(), is_leaf=False), True),
        (LeaseView(owners=(2,), is_leaf=False), False),
        (LeaseView(owners=None, is_leaf=False), False),
        (None, False),
    ],
    ids=["free", "held by another host", "owner unknown", "unknown"],
)
def test_a_vm_may_run_from_an_earlier_definition_whose_disk_was_another_volume(
    view: LeaseView | None, starts: bool
) -> None:
    leases = free() | ({} if view is None else {BEFORE_SNAPSHOT: seen(view)})
    snap = startable(definition=seen(definition(other_leases=(BEFORE_SNAPSHOT,))), vm_leases=leases)
    assert isinstance(decide(snap).command, StartVm) is starts


def test_a_kept_definition_is_never_started_on_a_volume_that_is_no_leaf_any_more() -> None:
    stale = definition(leases=(BEFORE_SNAPSHOT,), source="kept")
    views = {**free(), BEFORE_SNAPSHOT: seen(LeaseView(owners=(), is_leaf=False))}
    decided = decide(startable(definition=seen(stale), vm_leases=views))
    assert decided.command is None
    assert any("not the leaf of its chain" in text for text in decided.waits_for)


def test_a_dead_owner_does_not_hold_the_vm_and_a_failing_one_does() -> None:
    dead = startable(vm_leases=owned_by(2), sd_hosts=seen({1: host(), 2: host(HostFlag.DEAD)}))
    failing = startable(vm_leases=owned_by(2), sd_hosts=seen({1: host(), 2: host(HostFlag.FAIL)}))
    assert decide(failing).verdict.place is Place.NOWHERE_SOON
    assert decide(failing).command is None
    assert decide(dead).verdict.place is not Place.ELSEWHERE


def test_an_old_claim_is_void_only_after_the_leases_were_seen_free_for_20_s() -> None:
    snap = startable(slots=seen({2: slot(claims_vm=True, changed_ago_s=300)}))
    first = decide(snap)
    assert first.verdict.place is Place.UNCLEAR
    assert first.command is None
    after_10 = decide(aged(snap, 10), first.state, later_s=10)
    assert after_10.command is None
    after_20 = decide(aged(snap, 20), after_10.state, later_s=20)
    assert isinstance(after_20.command, StartVm)


def test_a_claim_that_was_fresh_while_the_lease_was_free_ends_only_with_that_hosts_death() -> None:
    fresh = startable(slots=seen({2: slot(claims_vm=True, changed_ago_s=1)}))
    state = decide(fresh).state
    old = startable(
        slots=seen({2: slot(claims_vm=True, changed_ago_s=300)}), sd_hosts=seen({1: host(), 2: host()})
    )
    for later_s in (10, 20, 40):
        decided = decide(aged(old, later_s), state, later_s=later_s)
        assert decided.command is None
        state = decided.state
    dead = replace(old, sd_hosts=seen({1: host(), 2: host(HostFlag.DEAD)}))
    assert isinstance(decide(aged(dead, 50), state, later_s=50).command, StartVm)


def test_a_lease_freed_by_its_owners_sanlock_coming_back_proves_nothing_for_140_s() -> None:
    owned = startable(vm_leases=owned_by(2), sd_hosts=seen({1: host(), 2: host(generation=4)}))
    state = decide(owned).state
    back = startable(
        sd_hosts=seen({1: host(), 2: host(generation=5)}), slots=seen({2: slot(changed_ago_s=300)})
    )
    decided = decide(aged(back, 5), state, later_s=5)
    assert decided.command is None
    assert any("came back" in reason for reason in decided.verdict.reasons)
    assert decide(aged(back, 140), decided.state, later_s=140).command is None
    assert isinstance(decide(aged(back, 150), decided.state, later_s=150).command, StartVm)


def test_a_damaged_slot_of_a_host_that_claimed_the_vm_is_no_start() -> None:
    state = decide(startable(slots=seen({2: slot(claims_vm=True)}))).state
    damaged = slot(readable=False, problem="checksum", changed_ago_s=1)
    decided = decide(aged(startable(slots=seen({2: damaged})), 10), state, later_s=10)
    assert decided.command is None
    assert "damaged" in " ".join(decided.verdict.reasons)


def test_a_damaged_slot_of_a_host_that_never_claimed_hinders_nobody() -> None:
    damaged = slot(readable=False, problem="checksum")
    assert isinstance(decide(startable(slots=seen({2: damaged}))).command, StartVm)


def test_global_maintenance_unknown_after_on_keeps_the_host_frozen() -> None:
    frozen = decide(startable(global_maintenance=seen(True)))
    assert frozen.state.phase is Phase.FROZEN
    unknown = startable(global_maintenance=Evidence(problem="slot 0 is damaged"))
    assert decide(unknown, frozen.state).state.phase is Phase.FROZEN
    assert decide(unknown, frozen.state).command is None


def test_vdsms_record_of_a_dead_vm_is_cleared_before_the_start_and_nothing_that_runs_is_touched() -> None:
    down = report(
        VmStatus.DOWN, exit_code=1, exit_reason=ExitReason.LOST_QEMU, exit_message="Lost connection"
    )
    decided = decide(startable(vm=seen(VmView(report=down))))
    assert decided.command == CleanVdsmEntry(VM_ID)
    for status in VmStatus:
        if status is not VmStatus.DOWN:
            assert decide(startable(vm=seen(VmView(report=report(status))))).command is None


def test_a_command_in_flight_lets_no_second_one_out() -> None:
    flying = snapshot.Command(number=1, kind="StartVm", given_at=NOW)
    assert decide(startable(command=flying)).command is None


def lifetime(*steps: tuple[float, dict[str, Any]], state: State = JOINED) -> list[decision.Decision]:
    """Decisions of consecutive moments: (seconds, what the snapshot shows)."""
    out = []
    for later_s, facts in steps:
        decided = decide(aged(startable(**facts), later_s), state, later_s=later_s)
        state = decided.state
        out.append(decided)
    return out


UP = {"vm": seen(VmView(report=report(VmStatus.UP)))}
GOOD = {"probes": (probe(ago_s=2), probe(ago_s=1))}


def test_a_started_vm_is_starting_until_its_engine_was_good_twice_then_running() -> None:
    accepted = snapshot.Command(
        number=1, kind="StartVm", given_at=NOW, done_at=model.MonotonicMs(NOW - 2000), ok=True
    )
    launch = {"vm": seen(VmView(report=report(VmStatus.WAIT_FOR_LAUNCH)))}
    once = {"probes": (probe(ProbeOutcome.NO_ANSWER, ago_s=2), probe(ago_s=1))}
    phases = [
        d.state.phase
        for d in lifetime(
            (0, {**launch, "command": accepted}),
            (2, {**UP, "command": accepted}),
            (4, {**UP, **once, "command": accepted}),
            (6, {**UP, **GOOD, "command": accepted}),
        )
    ]
    assert phases == [Phase.STARTING, Phase.STARTING, Phase.STARTING, Phase.RUNNING]


def test_an_engine_that_stays_bad_for_15_s_is_sick_and_is_not_stopped_by_us() -> None:
    bad = {"probes": tuple(probe(ProbeOutcome.DB_DOWN, ago_s=s) for s in (5, 3, 1))}
    worse = {"probes": tuple(probe(ProbeOutcome.DB_DOWN, ago_s=s) for s in (35, 3, 1))}
    decisions = lifetime(
        (0, {**UP, **GOOD}), (10, {**UP, **bad}), (20, {**UP, **worse}), (30, {**UP, **GOOD})
    )
    assert [d.state.phase for d in decisions] == [Phase.RUNNING, Phase.RUNNING, Phase.SICK, Phase.RUNNING]
    assert all(d.command is None for d in decisions)


def test_a_crashed_vm_is_started_again_at_once_and_a_second_crash_waits() -> None:
    crash = report(
        VmStatus.DOWN, exit_code=1, exit_reason=ExitReason.LOST_QEMU, exit_message="Lost connection"
    )
    down = {"vm": seen(VmView(report=crash))}
    _, first, _, second = lifetime((0, {**UP, **GOOD}), (10, down), (20, {**UP, **GOOD}), (40, down))
    assert first.command == CleanVdsmEntry(VM_ID)
    assert first.state.last_end is not None
    assert first.state.last_end.detail == "Lost connection"
    assert second.command is None
    assert second.state.not_before == NOW + 50_000
    assert second.wake_at == NOW + 50_000


def test_a_start_that_lost_the_race_for_the_lease_goes_back_to_standby_and_waits_30_s() -> None:
    lost = report(
        VmStatus.DOWN,
        exit_code=1,
        exit_reason=ExitReason.GENERIC_ERROR,
        exit_message="Failed to acquire lock: Lease is held by another host",
    )
    launch = {"vm": seen(VmView(report=report(VmStatus.WAIT_FOR_LAUNCH)))}
    _, after = lifetime((0, launch), (5, {"vm": seen(VmView(report=lost))}))
    assert after.state.phase is Phase.STANDBY
    assert after.state.last_end is not None
    assert after.state.last_end.end is End.LOCK_FAILED
    assert after.state.not_before == NOW + 35_000


def test_failed_starts_back_off_and_end_in_cooldown_with_score_0_but_never_give_up() -> None:
    state, at_s, pauses = JOINED, 0.0, []
    failed = report(
        VmStatus.DOWN, exit_code=1, exit_reason=ExitReason.START_FAILED, exit_message="no such network"
    )
    for _ in range(5):
        state = decide(
            aged(startable(vm=seen(VmView(report=report(VmStatus.WAIT_FOR_LAUNCH)))), at_s),
            state,
            later_s=at_s,
        ).state
        at_s += 1
        decided = decide(aged(startable(vm=seen(VmView(report=failed))), at_s), state, later_s=at_s)
        state = decided.state
        pauses.append((state.not_before - NOW) / 1000 - at_s)
        at_s += pauses[-1]
    assert pauses == [10, 30, 60, 120, 120]
    assert state.phase is Phase.COOLDOWN
    decided = decide(aged(startable(vm=seen(VmView(report=failed))), at_s), state, later_s=at_s)
    assert isinstance(decided.command, CleanVdsmEntry)


def test_after_failed_starts_another_definition_waits_no_longer_than_10_s() -> None:
    started = snapshot.Command(
        number=1, kind="StartVm", given_at=NOW, done_at=NOW, ok=False, definition_sha256="d" * 64
    )
    state = JOINED
    for number in (1, 2, 3):
        state = decide(startable(command=replace(started, number=number)), state).state
    assert state.not_before - NOW == 60_000
    other = aged(startable(definition=seen(definition(sha256="e" * 64))), 11)
    assert decide(other, state).wake_at == NOW + 10_000
    assert decide(other, state, later_s=9).command is None
    assert isinstance(decide(other, state, later_s=11).command, StartVm)
    assert decide(aged(startable(), 11), state, later_s=11).command is None


def test_a_vm_that_migrated_away_is_not_started_before_40_s() -> None:
    gone = report(VmStatus.DOWN, exit_code=0, exit_reason=ExitReason.MIGRATION_SUCCEEDED)
    _, away, later = lifetime(
        (0, {**UP, **GOOD}), (5, {"vm": seen(VmView(report=gone))}), (50, {"vm": seen(VmView(report=gone))})
    )
    assert away.state.phase is Phase.AWAY
    assert away.command is None
    assert isinstance(later.command, CleanVdsmEntry)


def test_a_dropped_command_is_no_failed_start() -> None:
    dropped = snapshot.Command(
        number=1, kind="StartVm", given_at=NOW, done_at=NOW, ok=False, refused=True, detail="owner 2"
    )
    decided = decide(startable(command=dropped))
    assert decided.state.attempts == ()
    assert decided.command is None


@pytest.mark.parametrize(
    ("message", "is_lock"),
    [
        ("Failed to acquire lock: error -243", True),
        ("internal error: Failed to acquire lock: Lease is held by another host", True),
        ("qemu: Is another process using the image?", True),
        ("qemu: Is another process using the image [/rhev/x]?", True),
        ("Lost connection with qemu process", False),
        (None, False),
    ],
)
def test_lock_failures_are_known_by_their_endings(message: str | None, is_lock: bool) -> None:
    assert health.is_lock_failure(message) is is_lock


# Totality: any well-typed evidence gives a decision, and a start only where every condition holds.

# mostly fresh and good, so that many examples come close to a start
ages = st.sampled_from([1_000] * 12 + [-5_000, 16_000, 70_000, None])


@st.composite
def readings(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Evidence[Any]:
    age = draw(ages)
    problem = draw(st.sampled_from([None, "broken"]))
    return Evidence(draw(values), None if age is None else model.MonotonicMs(NOW - age), problem)


reports = st.one_of(
    st.none(),
    st.builds(
        report,
        st.sampled_from(VmStatus),
        exit_reason=st.one_of(st.none(), st.sampled_from(ExitReason)),
        exit_code=st.sampled_from([None, 0, 1]),
        exit_message=st.sampled_from([None, "x", "Failed to acquire lock: error -243"]),
    ),
)
snapshots = st.builds(
    startable,
    global_maintenance=readings(st.sampled_from([False] * 6 + [True, None])),
    local_maintenance=readings(st.sampled_from([False] * 6 + [True, None])),
    own_ha_lease=readings(
        st.sampled_from([True] * 4 + [False]).map(lambda held: OwnLease(held=held, since=NOW, detail=""))
    ),
    sd_hosts=readings(
        st.dictionaries(
            st.integers(1, 3), st.builds(host, st.sampled_from(HostFlag), generation=st.integers(1, 2))
        )
    ),
    slots=readings(
        st.dictionaries(st.integers(1, 3), st.just(0)).flatmap(
            lambda ids: st.fixed_dictionaries(
                {
                    i: st.builds(
                        slot,
                        st.just(i),
                        claims_vm=st.booleans(),
                        readable=st.booleans(),
                        changed_ago_s=st.sampled_from([None, 1, 70, 300]),
                    )
                    for i in ids
                }
            )
        )
    ),
    definition=readings(st.sampled_from([definition()] * 4 + [None, definition(leases=())])),
    vm=readings(reports.map(lambda r: VmView(report=r))),
    vm_leases=readings(
        st.builds(
            LeaseView,
            owners=st.sampled_from([()] * 4 + [None, (1,), (2,), (2, 3)]),
            is_leaf=st.sampled_from([True] * 4 + [None, False]),
        )
    ).map(lambda e: {DISK: e}),
    probes=st.lists(st.builds(probe, st.sampled_from(ProbeOutcome))).map(tuple),
)


@given(st.lists(snapshots, min_size=1, max_size=4))
def test_any_history_gives_decisions_and_a_start_only_with_every_witness(
    history: list[snapshot.Snapshot],
) -> None:
    state = State()
    for snap in history:
        decided = decide(snap, state)
        again = decide(snap, decided.state)
        assert again.state == decided.state  # a call without news changes nothing
        assert again.command == decided.command
        state = decided.state
        event("commanded" if decided.command else "waited")
        if decided.command is not None:
            view = snap.vm.known(NOW, snapshot.VM_LIMIT_MS)
            owners = snap.vm_leases[DISK].known(NOW, snapshot.LEASE_OWNERS_LIMIT_MS)
            hosts = {host_id: seen_.flag for host_id, seen_ in (snap.sd_hosts.value or {}).items()}
            assert snap.global_maintenance.known(NOW, snapshot.GLOBAL_FLAGS_LIMIT_MS) is False
            assert snap.local_maintenance.known(NOW, snapshot.LOCAL_FILE_LIMIT_MS) is False
            assert view is not None
            assert view.report is None or view.report.status is VmStatus.DOWN
            assert owners is not None
            assert owners.is_leaf
            assert owners.owners is not None
            assert all(hosts.get(owner) is HostFlag.DEAD for owner in owners.owners)
            assert snap.definition.value is not None
            assert snap.definition.value.leases
            assert not any(
                s.claims_vm and s.readable and s.host_id != 1 and s.changed_at == NOW - 1000
                for s in (snap.slots.value or {}).values()
            )
