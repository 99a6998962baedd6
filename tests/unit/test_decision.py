"""The decision as a whole, for any evidence and any state: total, idempotent, and safe.

S1, S2 and so on are the safety rules as they show in one decision: what is commanded,
and what every witness said at that moment.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ovirt_he_agent.core import decision, model, rules, snapshot, whereabouts
from ovirt_he_agent.core.commands import CleanVdsmEntry, DestroyVm, ShutdownVm, StartVm
from ovirt_he_agent.core.model import ExitReason, HostFlag, ProbeOutcome, VmStatus
from ovirt_he_agent.core.snapshot import Evidence, LeaseView, OwnLease, Request, RequestKind, VmView
from ovirt_he_agent.core.state import Attempt, End, Phase, State, Stop, StopCause
from ovirt_he_agent.core.whereabouts import Memory, Place
from ovirt_he_agent.core.whiteboard import VmWord
from tests.snapshots import (
    DISK,
    JOINED,
    NOW,
    aged,
    ago,
    decide,
    definition,
    host,
    probe,
    report,
    slot,
    startable,
)

# Any evidence. Mostly fresh and good, so that many examples come close to a command.

EARLIER = replace(DISK, volume_id="earlier")
AGES_MS = (-5_000, 8_000, 16_000, 70_000, None)


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * (6 * len(others)) + list(others))


@st.composite
def readings(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Evidence[Any]:
    value = draw(values)
    if draw(mostly(True, False)):
        return Evidence(value, ago(1))
    age_ms = draw(st.sampled_from(AGES_MS))
    problem = draw(st.sampled_from([None, "broken"]))
    return Evidence(value, None if age_ms is None else model.MonotonicMs(NOW - age_ms), problem)


reports = st.builds(
    report,
    st.sampled_from([*VmStatus, *[VmStatus.UP] * 12, *[VmStatus.DOWN] * 6, *[VmStatus.PAUSED] * 4]),
    exit_reason=st.one_of(st.none(), st.sampled_from(ExitReason)),
    exit_code=st.sampled_from([None, 0, 1]),
    exit_message=st.sampled_from([None, "x", "Failed to acquire lock: error -243"]),
    guest_agent_alive=st.sampled_from([None, True, False]),
    guest_active=st.sampled_from([None, True, False]),
)
slots = st.builds(
    slot,
    claims_vm=st.sampled_from([False, False, True]),
    readable=mostly(True, False),
    stopped=mostly(False, True),
    ours=st.booleans(),
    local_maintenance=mostly(False, True, None),
    score=mostly(3400, 0, 2000, None),
    state=mostly("EngineDown", "EngineUp", "LocalMaintenance", ""),
    others_first=mostly(False, True),
    engine_seen_ago_s=mostly(None, 0, 20, 40),
    engine_detail=mostly("Up", "Migration Source"),
    changed_ago_s=mostly(1, None, 8, 70, 300),
    first_seen_ago_s=st.sampled_from([600, 30, 5]),
)
others = st.sets(st.integers(2, 4), max_size=3)


def by_host(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[int, Any]]:
    return others.flatmap(lambda ids: st.fixed_dictionaries(dict.fromkeys(sorted(ids), values)))


hosts = by_host(
    st.builds(
        host,
        mostly(HostFlag.LIVE, *HostFlag),
        generation=mostly(1, 2),
        renewed_ago_s=mostly(1, 70),
    )
)
lease_views = readings(
    st.builds(
        LeaseView,
        owners=st.sampled_from([*[()] * 8, None, (1,), *[(2,)] * 4, (2, 3)]),
        is_leaf=mostly(True, None, False),
    )
)
probe_rows = st.lists(st.tuples(st.sampled_from(ProbeOutcome), st.sampled_from([0, 3, 10])), max_size=5).map(
    lambda row: tuple(
        probe(outcome, ago_s=1 + sum(gap for _, gap in row[i:])) for i, (outcome, gap) in enumerate(row)
    )
)
requests = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.builds(Request, number=st.integers(1, 3), kind=st.sampled_from(RequestKind), force=st.booleans()),
)
snapshots = st.builds(
    startable,
    global_maintenance=readings(mostly(False, True, None)),
    local_maintenance=readings(mostly(False, True, None)),
    own_ha_lease=readings(mostly(True, False).map(lambda held: OwnLease(held=held, since=NOW, detail=""))),
    domain=readings(st.just(startable().domain.value)),
    ha_hosts=readings(hosts),
    sd_hosts=readings(hosts),
    slots=readings(by_host(slots).map(lambda found: {i: replace(s, host_id=i) for i, s in found.items()})),
    definition=readings(
        mostly(definition(), None, definition(leases=()), definition(other_leases=(EARLIER,)))
    ),
    vm=readings(st.one_of(st.none(), reports).map(lambda r: VmView(report=r))),
    vm_leases=st.one_of(
        lease_views.map(lambda read: {DISK: read}),
        st.tuples(lease_views, lease_views).map(lambda two: {DISK: two[0], EARLIER: two[1]}),
        st.just({}),
    ),
    probes=probe_rows,
    page_good_at=st.sampled_from([None, ago(1), ago(14), ago(16), ago(400)]),
    own_slot=readings(st.just(1)),
    network=readings(st.sampled_from([1.0, 1.0, 1.0, 0.0, 0.0, 0.5])),
    bridge_up=readings(mostly(True, False)),
    cpu_load=readings(mostly(0.1, 1.0)),
    memory_free_mib=readings(mostly(65536, 100)),
    config_up_to_date=mostly(True, False),
    request=requests,
    leaving=mostly(False, False, False, True),
)

# Any state

past = st.sampled_from([0, 1, 5, 14, 16, 35, 60, 130, 160, 700, 2000]).map(ago)
maybe = st.one_of(st.none(), past)
stops = st.builds(
    Stop,
    cause=st.sampled_from(StopCause),
    why=st.just("why"),
    since=past,
    told_at=maybe,
    kill=st.booleans(),
    kills=st.integers(0, 2),
    killed_at=maybe,
)
attempts = st.lists(
    st.builds(
        Attempt, past, mostly(End.START_FAILED, *End), st.just("why"), st.sampled_from([None, "d" * 64])
    ),
    max_size=4,
).map(lambda found: tuple(sorted(found, key=lambda a: a.at)))
states = st.builds(
    State,
    phase=st.sampled_from(Phase),
    phase_since=past,
    memory=st.builds(
        Memory,
        claimed=st.frozensets(st.integers(2, 4), max_size=2),
        unprotected=st.frozensets(st.integers(2, 4), max_size=1),
        owners=st.frozensets(st.integers(1, 4), max_size=2),
        generations=st.sampled_from([(), ((2, 1),)]),
        rises=st.sampled_from([(), ((2, ago(50), 140_000),)]),
        migrated_at=maybe,
    ),
    told_vm=st.sampled_from([VmWord.UP, VmWord.DOWN, VmWord.DOWN_MISSING, VmWord.DOWN_UNEXPECTED]),
    was_here=st.booleans(),
    here_since=past,
    started_from=st.sampled_from([None, "d" * 64]),
    was_good=st.booleans(),
    rebooting=mostly(False, True),
    bad_ms=st.sampled_from([0, 0, 14_000, 70_000, 10**6]),
    bad_until=past,
    usual_boot_ms=st.sampled_from([None, 100_000]),
    stop=st.one_of(st.none(), stops),
    network_lost_since=maybe,
    twin=st.sampled_from([None, 2]),
    twin_owner_seen=maybe,
    last_runner=st.sampled_from([None, 1, 2]),
    nowhere_since=maybe,
    not_before=mostly(ago(700), ago(0), ago(-20)),
    favoured=st.booleans(),
    others_first_until=mostly(ago(700), ago(-20)),
    attempts=attempts,
    last_end=st.one_of(st.none(), attempts.filter(bool).map(lambda found: found[-1])),
    seen_request=st.integers(0, 2),
    global_was_on=mostly(False, True),
    has_joined=mostly(True, False),
).map(lambda state: replace(state, was_here=True, was_good=True) if state.bad_ms else state)


# What must hold of one decision


def is_stop(decided: decision.Decision) -> bool:
    return isinstance(decided.command, ShutdownVm | DestroyVm)


def assert_it_can_be_told(decided: decision.Decision) -> None:
    assert decided.reason
    assert decided.trace
    assert decided.wake_at is None or decided.wake_at > decided.scene.now
    assert isinstance(decided.waits_for, tuple)
    assert isinstance(decided.alarms, tuple)
    said, wants = decided.published, decided.wants
    if decided.phase is Phase.CUT:
        assert said is None
    view = decided.scene.view
    there = view is not None and view.report is not None and view.report.status is not VmStatus.DOWN
    if said is not None and said.engine.vm is VmWord.UP:  # S9
        assert there
    if wants.domain_monitor is False:  # S6
        assert view is not None
        assert not there


def assert_a_call_without_news_changes_nothing(decided: decision.Decision) -> None:
    """S11. That an operator was heard is news once."""
    scene = decided.scene
    again = decision.decide(decided.state, scene.snap, scene.now)
    if decided.heard is not None:
        assert again.heard is None
        decided, again = again, decision.decide(again.state, scene.snap, scene.now)
    assert again.state == decided.state
    assert again.command == decided.command
    assert again.heard is None


def assert_it_is_safe(decided: decision.Decision) -> None:
    match decided.command:
        case StartVm() | CleanVdsmEntry():
            assert_the_start_is_safe(decided)
        case ShutdownVm() | DestroyVm():
            assert_the_stop_is_safe(decided)


def assert_the_start_is_safe(decided: decision.Decision) -> None:
    """S1, S5, S13: every witness was heard a moment ago, and none of them objects."""
    snap, now = decided.scene.snap, decided.scene.now
    forced = decided.before.seen_request < (snap.request.number if snap.request else 0) and snap.request
    on = snap.global_maintenance.known(now, 15_000)
    assert on is False or (on and forced and forced.force and forced.kind is RequestKind.START)
    assert snap.local_maintenance.known(now, 15_000) is False
    lease = snap.own_ha_lease.known(now, 15_000)
    assert lease is not None
    assert lease.held
    domain = snap.domain.known(now, 25_000)
    assert domain is not None
    assert domain.acquired
    view = snap.vm.known(now, 25_000)
    assert view is not None
    assert view.report is None or view.report.status is VmStatus.DOWN
    assert isinstance(decided.command, StartVm) is (view.report is None)
    assert snap.command is None or snap.command.done_at is not None
    found = snap.definition.known(now, 60_000)
    assert found is not None
    assert found.leases
    flags = {host_id: seen_.flag for host_id, seen_ in (snap.sd_hosts.known(now, 20_000) or {}).items()}
    for ref in snap.leases():
        read = snap.vm_leases[ref].known(now, 15_000)
        assert read is not None
        assert read.owners is not None
        assert all(flags.get(owner) is HostFlag.DEAD for owner in read.owners)
        assert read.is_leaf or ref not in snap.opened()
    known_slots = snap.slots.known(now, 60_000)
    assert known_slots is not None
    for found_slot in known_slots.values():
        speaks = found_slot.changed_at is not None and now - found_slot.changed_at <= 60_000
        assert not (found_slot.claims_vm and found_slot.readable and speaks and not found_slot.stopped)
    assert decided.phase not in rules.NO_COMMAND


def assert_the_stop_is_safe(decided: decision.Decision) -> None:
    snap, now, stop = decided.scene.snap, decided.scene.now, decided.state.stop
    assert stop is not None
    view = snap.vm.known(now, 25_000)
    assert view is not None
    status = view.report.status if view.report is not None else VmStatus.DOWN
    assert status is not VmStatus.MIGRATION_DESTINATION
    asked = stop.cause is StopCause.ASKED
    if status is VmStatus.DOWN:  # our start was accepted, and VDSM has not been asked since
        assert asked
        assert decided.verdict.place is Place.HERE_PENDING
    assert snap.command is None or snap.command.done_at is not None  # S11
    if decided.scene.global_maintenance is not False and (
        decided.scene.global_maintenance or decided.before.global_was_on
    ):  # S2
        assert asked
        assert decided.heard is not None
        assert snap.request is not None
        assert snap.request.force
    if snap.local_maintenance.known(now, 15_000):  # S14
        assert asked
    if status is VmStatus.MIGRATION_SOURCE:  # R7
        assert asked
        assert isinstance(decided.command, DestroyVm)
    well = snap.page_good_at is not None and now - snap.page_good_at <= 15_000
    if well and status is not VmStatus.PAUSED:  # S4
        assert stop.cause in (StopCause.ASKED, StopCause.NETWORK_LOST, StopCause.TWIN)
    if stop.cause is StopCause.TWIN:  # R28
        for ref in snap.opened():
            read = snap.vm_leases[ref].known(now, 15_000)
            assert read is not None
            assert read.owners == (decided.state.twin,)
    if isinstance(decided.command, ShutdownVm) and stop.cause is StopCause.NETWORK_LOST:  # S10
        assert snap.network.known(now, 60_000) == 0.0
        rivals = decided.scene.field.rivals
        assert rivals
        assert rivals[0].score - decided.scene.able_while_running.points >= 800


def check(decided: decision.Decision) -> None:
    event(type(decided.command).__name__ if decided.command else "no command")
    event(f"row {decided.rule.name}")
    assert_it_is_safe(decided)
    assert_it_can_be_told(decided)
    assert_a_call_without_news_changes_nothing(decided)


@given(snapshots, states)
def test_any_state_with_any_evidence_gives_a_safe_decision_once(
    snap: snapshot.Snapshot, state: State
) -> None:
    check(decide(snap, state))


@dataclass(frozen=True)
class Step:
    """Time that passes, what is seen then, and how far the command that was given before has come."""

    after_s: int
    snap: snapshot.Snapshot
    flies: bool
    ok: bool | None
    refused: bool


steps = st.builds(
    Step,
    after_s=st.sampled_from([0, 1, 5, 10, 10, 20, 61, 700]),
    snap=snapshots,
    flies=mostly(False, True),
    ok=mostly(True, False, None),
    refused=st.booleans(),
)


def lived(history: list[Step], state: State = JOINED) -> Iterator[decision.Decision]:
    """A history in which commands are carried out: in flight for a while, then ended in some way."""
    given_: snapshot.Command | None = None
    at_s = 0
    for step in history:
        at_s += step.after_s
        now = ago(-at_s)
        if given_ is not None and given_.done_at is None and not step.flies:
            refused = step.refused and step.ok is False
            given_ = replace(given_, done_at=now, ok=step.ok, refused=refused)
        snap = replace(aged(step.snap, at_s), command=given_)
        decided = decision.decide(state, snap, now)
        yield decided
        state = decided.state
        if decided.command is not None:
            number = given_.number + 1 if given_ is not None else 1
            given_ = snapshot.Command(number=number, kind=type(decided.command).__name__, given_at=now)


@given(st.lists(steps, min_size=1, max_size=6))
def test_any_history_gives_safe_decisions(history: list[Step]) -> None:
    for decided in lived(history):
        check(decided)


@given(st.lists(steps, min_size=1, max_size=5))
def test_the_act_step_decides_the_same_again_on_the_same_evidence(history: list[Step]) -> None:
    """It asks from the state before, with no command on the board."""
    for decided in lived(history):
        scene = decided.scene
        if decided.command is None or scene.snap.command is not None:
            continue
        again = decision.decide(decided.before, scene.snap, scene.now)
        assert again.command == decided.command


# Evidence taken away


EVIDENCE = [f.name for f in fields(snapshot.Snapshot) if isinstance(getattr(startable(), f.name), Evidence)]
RESOURCES = ("network", "bridge_up", "cpu_load", "memory_free_mib")
"""They rank hosts and permit nothing: where a poor reading let others go first, no reading lets this host go,
and where a poor network excused the engine, an unknown one does not."""


@pytest.mark.parametrize("name", [n for n in EVIDENCE if n not in RESOURCES])
@given(snapshots, states)
def test_a_reading_that_is_taken_away_is_never_a_reason_for_a_command(
    name: str, snap: snapshot.Snapshot, state: State
) -> None:
    before = decide(replace(snap, request=None), state)
    if before.scene.global_maintenance:  # it was known before it was taken away
        state = replace(state, global_was_on=True)
    read: Evidence[Any] = getattr(snap, name)
    taken: dict[str, Any] = {name: Evidence(problem=read.problem)}  # why it fails is evidence, too
    after = decide(replace(snap, request=None, **taken), state)
    if isinstance(after.command, StartVm | CleanVdsmEntry):
        assert before.command == after.command
        assert name in ("ha_hosts", "own_slot", "sd_hosts")
    if is_stop(after):
        assert is_stop(before)


@given(snapshots, states)
def test_leases_that_are_not_read_are_never_a_reason_for_a_command(
    snap: snapshot.Snapshot, state: State
) -> None:
    before = decide(replace(snap, request=None), state)
    after = decide(replace(snap, request=None, vm_leases={}), state)
    assert not isinstance(after.command, StartVm | CleanVdsmEntry)
    assert is_stop(before) or not is_stop(after)


@given(snapshots, states, st.integers(26, 10_000))
def test_after_a_jump_of_the_clock_nothing_is_commanded(
    snap: snapshot.Snapshot, state: State, jump_s: int
) -> None:
    """S13: suspended, or stopped for a while."""
    decided = decide(snap, state, later_s=jump_s + 5)
    assert decided.command is None
    assert decided.verdict.place in (Place.UNCLEAR, Place.HERE_PENDING)


@given(snapshots, states)
def test_only_evidence_since_a_moment_permits_a_start(snap: snapshot.Snapshot, state: State) -> None:
    """What the act step asks for."""
    decided = decide(snapshot.only_since(snap, ago(0.5)), state)
    assert not isinstance(decided.command, StartVm | CleanVdsmEntry)


@given(snapshots, states)
def test_a_command_in_flight_lets_no_second_one_out(snap: snapshot.Snapshot, state: State) -> None:
    """S11."""
    for kind in ("StartVm", "CleanVdsmEntry", "ShutdownVm", "DestroyVm"):
        flying = snapshot.Command(number=1, kind=kind, given_at=ago(5))
        assert decide(replace(snap, command=flying), state).command is None


@given(snapshots, states, slots)
def test_a_slot_full_of_anything_touches_what_is_thought_of_its_own_host_only(
    snap: snapshot.Snapshot, state: State, anything: snapshot.PeerSlot
) -> None:
    """S12."""
    known = snap.slots.known(NOW, snapshot.SLOT_LIMIT_MS)
    if known is None:
        return
    changed = {**known, 9: replace(anything, host_id=9)}
    there, beside = (
        decide(snap, state),
        decide(replace(snap, slots=replace(snap.slots, value=changed)), state),
    )
    for other in known:
        if other != snap.host_id:
            assert there.scene.peers[other].kind is beside.scene.peers[other].kind


def test_the_memory_of_a_look_that_teaches_nothing_is_the_same_object() -> None:
    state = decide(startable()).state
    assert decide(startable(), state).state is state
    assert whereabouts.remember(state.memory, startable(), NOW) is state.memory
