"""Where the VM is: each row of the table, and what has to be remembered for it between two looks."""

from dataclasses import replace
from typing import Any

import pytest

from ovirt_he_agent.core import decision, snapshot
from ovirt_he_agent.core.commands import StartVm
from ovirt_he_agent.core.model import ExitReason, HostFlag, VmStatus
from ovirt_he_agent.core.snapshot import Evidence, LeaseView, VmView
from ovirt_he_agent.core.state import State
from ovirt_he_agent.core.whereabouts import Memory, Place
from tests.snapshots import (
    ABSENT,
    DISK,
    JOINED,
    NOW,
    UP,
    aged,
    ago,
    command,
    decide,
    definition,
    down,
    free,
    host,
    lifetime,
    neighbours,
    owned_by,
    report,
    seen,
    slot,
    startable,
    vm,
)

CLAIM = slot(claims_vm=True)
OLD_CLAIM = slot(claims_vm=True, changed_ago_s=300)
STALE = slot(changed_ago_s=300)


WATCHFUL = replace(JOINED, memory=Memory(generations=((1, 1), (2, 1), (3, 1))))
"""It has been there for long enough to know the others' generations."""


def place(state: State = WATCHFUL, **facts: Any) -> Place:
    return decide(startable(**facts), state).verdict.place


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (VmStatus.WAIT_FOR_LAUNCH, Place.HERE_PENDING),
        (VmStatus.POWERING_UP, Place.HERE),
        (VmStatus.UP, Place.HERE),
        (VmStatus.REBOOT_IN_PROGRESS, Place.HERE),
        (VmStatus.POWERING_DOWN, Place.HERE),
        (VmStatus.PAUSED, Place.HERE),
        (VmStatus.RESTORING_STATE, Place.HERE),
        (VmStatus.SAVING_STATE, Place.HERE),
        (VmStatus.OTHER, Place.HERE),
        (VmStatus.MIGRATION_SOURCE, Place.OUTGOING),
        (VmStatus.MIGRATION_DESTINATION, Place.INCOMING),
        (VmStatus.DOWN, Place.NOWHERE),
    ],
)
def test_vdsms_word_on_the_vm_here_comes_first(status: VmStatus, expected: Place) -> None:
    assert place(**vm(status)) is expected
    if status is not VmStatus.DOWN:
        assert place(**vm(status), **neighbours(CLAIM), vm_leases=owned_by(2)) is expected


def test_every_status_of_vdsms_has_a_place() -> None:
    assert all(place(**vm(status)) is not None for status in VmStatus)


def test_our_own_start_in_flight_is_the_vm_here() -> None:
    assert place(**command("StartVm", done_at=None, ok=None)) is Place.HERE_PENDING
    assert place(**command("CleanVdsmEntry", done_at=None, ok=None)) is Place.NOWHERE


def test_a_fresh_claim_is_the_vm_elsewhere_whatever_the_leases_say() -> None:
    for leases in (free(), owned_by(3), {}):
        decided = decide(startable(**neighbours(CLAIM), vm_leases=leases))
        assert (decided.verdict.place, decided.verdict.host_id) == (Place.ELSEWHERE, 2)


@pytest.mark.parametrize(
    ("slot_", "flag", "expected"),
    [
        (slot(), HostFlag.LIVE, Place.ELSEWHERE),  # ALIVE
        (STALE, HostFlag.LIVE, Place.ELSEWHERE),  # SILENT
        (slot(changed_ago_s=None, first_seen_ago_s=10), HostFlag.FAIL, Place.ELSEWHERE),  # UNKNOWN
        (slot(), HostFlag.FAIL, Place.ELSEWHERE),  # its agent speaks
        (STALE, HostFlag.UNKNOWN, Place.ELSEWHERE),
        (STALE, HostFlag.FREE, Place.ELSEWHERE),  # not dead: until VDSM itself drops it as owner
        (STALE, HostFlag.FAIL, Place.NOWHERE_SOON),
        (STALE, HostFlag.DEAD, Place.NOWHERE),
        (OLD_CLAIM, HostFlag.DEAD, Place.NOWHERE),
    ],
)
def test_a_lease_belongs_to_its_owner_until_sanlock_calls_it_dead(
    slot_: snapshot.PeerSlot, flag: HostFlag, expected: Place
) -> None:
    assert place(**neighbours(slot_, sd2=flag), vm_leases=owned_by(2)) is expected


def test_a_dying_owner_owns() -> None:
    hosts = {1: host(), 2: host(renewed_ago_s=70)}
    facts = {**neighbours(STALE), "sd_hosts": seen(hosts)}
    assert place(**facts, vm_leases=owned_by(2)) is Place.ELSEWHERE


def test_an_owner_that_no_lockspace_knows_owns() -> None:
    assert place(vm_leases=owned_by(7)) is Place.ELSEWHERE
    unknown: Evidence[Any] = Evidence()
    assert place(vm_leases=owned_by(7), sd_hosts=unknown) is Place.ELSEWHERE


def test_a_lease_that_is_ours_while_vdsm_knows_no_vm_is_unclear() -> None:
    decided = decide(startable(vm_leases=owned_by(1)))
    assert decided.verdict.place is Place.UNCLEAR
    assert "this host" in decided.verdict.reasons[0]


def test_a_failing_owner_is_counted_down_to_its_death() -> None:
    hosts = {1: host(), 2: host(HostFlag.FAIL, io_timeout_s=5, renewed_ago_s=70)}
    verdict = decide(
        startable(**{**neighbours(STALE), "sd_hosts": seen(hosts)}, vm_leases=owned_by(2))
    ).verdict
    assert (verdict.place, verdict.host_id) == (Place.NOWHERE_SOON, 2)
    assert verdict.free_at == ago(70) + 100_000  # 8 x 5 s + 60 s
    assert "30 s" in verdict.reasons[0]


def test_of_two_failing_owners_the_later_one_counts_and_one_that_lives_counts_most() -> None:
    failing = {i: host(HostFlag.FAIL, renewed_ago_s=80 + i) for i in (2, 3)}
    both = startable(
        **{**neighbours(STALE, slot(3, changed_ago_s=300)), "sd_hosts": seen({1: host(), **failing})},
        vm_leases=owned_by(2, 3),
    )
    assert decide(both).verdict.host_id == 2
    lives = replace(both, sd_hosts=seen({1: host(), 2: failing[2], 3: host()}))
    assert decide(lives).verdict.place is Place.ELSEWHERE
    assert decide(lives).verdict.host_id == 3


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        ({"vm": Evidence(problem="VDSM is gone")}, "VDSM is gone"),
        ({"slots": Evidence(problem="storage is gone")}, "storage is gone"),
        ({"vm_leases": {}}, "not read yet"),
        ({"vm_leases": {DISK: seen(LeaseView(owners=None, is_leaf=True))}}, "does not say who owns it"),
        ({"vm_leases": free(ago_s=16)}, "16 s ago"),
        ({"slots": seen({2: OLD_CLAIM})}, "old claim"),
    ],
)
def test_what_is_missing_makes_it_unclear_and_is_named(facts: dict[str, Any], missing: str) -> None:
    decided = decide(startable(**facts))
    assert decided.verdict.place is Place.UNCLEAR
    assert missing in " ".join(decided.verdict.reasons)
    assert decided.command is None


def test_a_failing_owners_own_claim_does_not_make_it_unclear_and_an_unknown_lease_does() -> None:
    failing = {**neighbours(OLD_CLAIM, sd2=HostFlag.FAIL), "vm_leases": owned_by(2)}
    assert place(**failing) is Place.NOWHERE_SOON
    other = definition(other_leases=(replace(DISK, volume_id="v"),))
    assert place(**failing, definition=seen(other)) is Place.UNCLEAR


@pytest.mark.parametrize(
    ("slot_", "flag"),
    [
        (None, HostFlag.FREE),  # GONE
        (slot(stopped=True, changed_ago_s=300), HostFlag.FREE),  # LEFT
        (STALE, HostFlag.DEAD),  # DEAD
        (slot(), HostFlag.LIVE),  # says that it is not there
        (STALE, HostFlag.LIVE),
        (slot(readable=False), HostFlag.LIVE),  # damaged, and it never claimed
        (slot(claims_vm=True, stopped=True), HostFlag.LIVE),  # its agent stopped; the leases know better
    ],
)
def test_with_every_lease_free_and_nobody_claiming_it_runs_nowhere(
    slot_: snapshot.PeerSlot | None, flag: HostFlag
) -> None:
    assert place(**neighbours(*[slot_] if slot_ else [], sd2=flag)) is Place.NOWHERE


# Every lease counts


EARLIER = replace(DISK, volume_id="11111111-2222-4333-8444-555555555555")
"""Another volume of the same disk."""


def test_the_deployed_disks_lease_counts_although_the_definition_has_another_one() -> None:
    snap = startable(definition=seen(definition(leases=(EARLIER,))))
    assert decide(snap).command is None
    both_free = {**free(), EARLIER: seen(LeaseView(owners=(), is_leaf=True))}
    assert isinstance(decide(replace(snap, vm_leases=both_free)).command, StartVm)


@pytest.mark.parametrize(
    ("view", "starts"),
    [
        (LeaseView(owners=(), is_leaf=True), True),
        (LeaseView(owners=(), is_leaf=False), True),
        (LeaseView(owners=(2,), is_leaf=True), False),
        (LeaseView(owners=None, is_leaf=True), False),
        (None, False),
    ],
    ids=["free", "free, in the middle of its chain", "held by another host", "owner unknown", "unknown"],
)
def test_a_vm_may_run_from_an_earlier_definition_whose_disk_was_another_volume(
    view: LeaseView | None, starts: bool
) -> None:
    leases = free() | ({} if view is None else {EARLIER: seen(view)})
    snap = startable(definition=seen(definition(other_leases=(EARLIER,))), vm_leases=leases)
    assert isinstance(decide(snap).command, StartVm) is starts


# Old claims


def watch(
    later_s: float, state: State = WATCHFUL, slot_: snapshot.PeerSlot = OLD_CLAIM, **facts: Any
) -> decision.Decision:
    return decide(aged(startable(**{**neighbours(slot_), **facts}), later_s), state, later_s=later_s)


def test_an_old_claim_is_void_only_after_the_leases_were_seen_free_for_20_s() -> None:
    first = watch(0)
    assert first.verdict.place is Place.UNCLEAR
    after_10 = watch(10, first.state)
    assert after_10.command is None
    after_19 = watch(19, after_10.state)
    assert after_19.command is None
    assert isinstance(watch(20, after_19.state).command, StartVm)


@pytest.mark.parametrize(
    "between",
    [
        {"vm_leases": owned_by(2)},
        {"vm_leases": {DISK: seen(LeaseView(owners=None, is_leaf=True))}},
        {"vm_leases": {}},
    ],
    ids=["owned", "unknown", "not read"],
)
def test_the_row_of_free_reads_begins_anew_after_any_other_read(between: dict[str, Any]) -> None:
    state = watch(15, watch(10, watch(0).state).state, **between).state
    assert watch(25, state).command is None
    state = watch(35, watch(25, state).state).state
    assert isinstance(watch(45, state).command, StartVm)


def test_two_free_reads_with_a_long_time_without_reads_between_them_are_no_row() -> None:
    """The process was stopped: the VM may have run and ended in that time."""
    state = watch(0).state
    assert watch(300, state).command is None
    state = watch(310, watch(300, state).state).state
    assert isinstance(watch(320, state).command, StartVm)


def test_a_claim_ends_at_once_with_a_word_to_the_contrary() -> None:
    state = watch(0).state
    assert isinstance(watch(5, state, slot(changed_ago_s=-4)).command, StartVm)


def test_a_damaged_slot_keeps_the_claim_that_stood_there_before() -> None:
    state = decide(startable(**neighbours(CLAIM)), WATCHFUL).state
    damaged = slot(readable=False, problem="checksum", changed_ago_s=-9)
    decided = watch(10, state, damaged)
    assert decided.verdict.place is Place.UNCLEAR
    assert "damaged now: checksum" in " ".join(decided.verdict.reasons)
    assert isinstance(watch(20, watch(15, decided.state, damaged).state, damaged).command, StartVm)


def test_a_damaged_slot_of_a_host_that_never_claimed_hinders_nobody() -> None:
    assert isinstance(watch(0, WATCHFUL, slot(readable=False, problem="checksum")).command, StartVm)


# A VM without a lease


def claiming(later_s: float, changed_s: float, state: State, **facts: Any) -> decision.Decision:
    return watch(later_s, state, slot(claims_vm=True, changed_ago_s=-changed_s), **facts)


def unprotected() -> State:
    """Host 2 has claimed the VM anew for 35 s, while every lease was free."""
    state = WATCHFUL
    for later_s in (0, 10, 20, 30, 36):
        state = claiming(later_s, later_s - 1, state).state
    return state


def test_a_claim_written_anew_30_s_after_the_leases_were_free_is_of_a_vm_without_a_lease() -> None:
    assert unprotected().memory.unprotected == frozenset({2})
    state = WATCHFUL
    for later_s in (0, 10, 20):
        state = claiming(later_s, later_s - 1, state).state
    assert state.memory.unprotected == frozenset()


def test_so_is_one_whose_lease_another_host_owns() -> None:
    """The simulator had two VMs: upstream's host started its own beside ours, which held the lease."""
    state = WATCHFUL
    for later_s in (0, 10, 20, 30, 40):
        state = claiming(later_s, later_s - 1, state, vm_leases=owned_by(3)).state
    assert state.memory.unprotected == frozenset({2})
    for later_s in (110, 120, 130, 140):  # the other VM has ended, and host 2 has lost its voice
        decided = claiming(later_s, 39, state)
        assert decided.command is None
        state = decided.state


def test_a_lease_that_changes_hands_says_nothing_of_a_claim_for_30_s() -> None:
    state = WATCHFUL
    for later_s, owner in ((0, 2), (10, 2), (20, 3), (30, 3), (40, 3)):
        state = claiming(later_s, later_s - 1, state, vm_leases=owned_by(owner)).state
    assert state.memory.unprotected == frozenset()


def test_a_vm_without_a_lease_is_believed_to_run_until_its_host_is_dead() -> None:
    """safety: its agent may have died alone."""
    state = unprotected()
    for later_s in (100, 110, 120, 130, 140):
        decided = claiming(later_s, 35, state)
        assert decided.command is None
        state = decided.state
    assert "only its death ends that claim" in " ".join(decided.verdict.reasons)
    assert isinstance(
        claiming(150, 35, state, **{"sd_hosts": seen({1: host(), 2: host(HostFlag.DEAD)})}).command, StartVm
    )


def test_a_host_that_lags_behind_its_vms_end_does_not_block_when_it_dies_afterwards() -> None:
    state = WATCHFUL
    for later_s in (0, 10, 20):
        state = claiming(later_s, later_s - 1, state).state
    for later_s in (30, 40, 50, 60, 70, 80):
        state = claiming(later_s, 19, state).state
    assert isinstance(claiming(90, 19, state).command, StartVm)


def test_an_orderly_stop_of_its_agent_does_not_end_a_vm_without_a_lease() -> None:
    left = slot(claims_vm=True, stopped=True, changed_ago_s=-40)
    decided = watch(41, unprotected(), left)
    assert decided.command is None
    for later_s in (50, 60, 70, 80):
        decided = watch(later_s, decided.state, left)
        assert decided.command is None
    gone = {"sd_hosts": seen({1: host()})}
    assert isinstance(watch(90, decided.state, left, **gone).command, StartVm)


def test_who_cleans_the_slot_of_such_a_vm_does_not_end_it() -> None:
    """The simulator had two VMs: upstream's host lived on and its damaged slot was cleaned."""
    cleaned = {**neighbours(), "sd_hosts": seen({1: host(), 2: host()})}
    state = unprotected()
    for later_s in range(40, 200, 10):
        decided = watch(later_s, state, **cleaned)
        assert decided.command is None
        state = decided.state
    dead = {**neighbours(), "sd_hosts": seen({1: host(), 2: host(HostFlag.DEAD)})}
    assert isinstance(watch(200, state, **dead).command, StartVm)


def test_that_claim_ends_when_its_host_left_the_storage_domain_and_the_leases_are_free_for_20_s() -> None:
    gone = {**neighbours(), "sd_hosts": seen({1: host()})}
    state = watch(40, unprotected(), **{**gone, "vm_leases": {}}).state  # the leases are unknown for a moment
    for later_s in (45, 55, 64):
        decided = watch(later_s, state, **gone)
        assert decided.command is None
        state = decided.state
    assert isinstance(watch(65, state, **gone).command, StartVm)


def test_a_cleaned_claim_ends_where_its_host_owns_the_lease() -> None:
    """The lease tells of that VM; and a second look at the same evidence concludes the same."""
    cleaned = {**neighbours(), "sd_hosts": seen({1: host(), 2: host()}), "vm_leases": owned_by(2)}
    first = watch(40, unprotected(), **cleaned)
    assert first.state.memory.claimed == first.state.memory.unprotected == frozenset()
    assert watch(40, first.state, **cleaned).state == first.state


def test_a_vm_that_was_seen_to_own_its_lease_is_protected() -> None:
    state = claiming(40, 39, unprotected(), vm_leases=owned_by(2)).state
    assert state.memory.unprotected == frozenset()
    for later_s in (110, 120, 130):
        state = claiming(later_s, 39, state).state
    assert isinstance(claiming(140, 39, state).command, StartVm)


# A sanlock that came back


OWNED = {**neighbours(STALE), "vm_leases": owned_by(2), "sd_hosts": seen({1: host(), 2: host(generation=4)})}
BACK = {"sd_hosts": seen({1: host(), 2: host(generation=5)})}


def test_a_lease_freed_by_its_owners_sanlock_coming_back_proves_nothing_for_140_s() -> None:
    state = decide(startable(**OWNED)).state
    decided = watch(5, state, STALE, **BACK)
    assert decided.verdict.place is Place.UNCLEAR
    assert any("came back" in reason for reason in decided.verdict.reasons)
    state = decided.state
    for later_s in range(15, 146, 10):
        decided = watch(later_s, state, STALE, **BACK)
        assert decided.command is None
        state = decided.state
    assert isinstance(watch(146, state, STALE, **BACK).command, StartVm)


def test_that_host_may_say_itself_that_the_vm_is_not_there() -> None:
    state = watch(5, decide(startable(**OWNED)).state, STALE, **BACK).state
    before_the_rise = watch(8, state, slot(changed_ago_s=-4), **BACK)
    assert before_the_rise.command is None
    assert watch(10, state, slot(changed_ago_s=-9), **BACK).verdict.place is Place.NOWHERE


def test_a_host_that_cannot_tell_of_the_vm_does_not_say_that_it_is_not_there() -> None:
    """The simulator had two VMs: sanlock was killed and VDSM restarting on one host."""
    state = watch(5, decide(startable(**OWNED)).state, STALE, **BACK).state
    cannot_tell = slot(vm_word="unknown", changed_ago_s=-9)
    assert watch(10, state, cannot_tell, **BACK).verdict.place is Place.UNCLEAR


def test_a_claim_outlives_its_hosts_knowledge_of_the_vm() -> None:
    """Another one with two VMs: the claim of a VM without a lease was gone with its host's VDSM."""
    state = unprotected()
    for later_s in (40, 50, 60):
        decided = watch(later_s, state, slot(vm_word="unknown", changed_ago_s=-later_s))
        assert decided.verdict.place is Place.UNCLEAR
        state = decided.state


def test_a_host_that_is_seen_for_the_first_time_may_have_come_back_just_now() -> None:
    """The simulator had two VMs: the only witness was switched on when it was over."""
    state = JOINED
    for later_s in range(0, 139, 10):
        decided = watch(later_s, state, OLD_CLAIM)
        assert decided.command is None
        state = decided.state
    assert isinstance(watch(141, state, OLD_CLAIM).command, StartVm)


def test_a_lease_that_it_owns_after_that_is_one_of_its_new_life() -> None:
    state = watch(0, JOINED, OLD_CLAIM).state
    assert 2 in [host_id for host_id, _, _ in state.memory.rises]
    state = watch(10, state, OLD_CLAIM, vm_leases=owned_by(2)).state
    assert 2 not in [host_id for host_id, _, _ in state.memory.rises]


def test_the_sanlock_of_a_host_that_never_had_the_vm_may_come_back() -> None:
    state = decide(startable(**{**OWNED, "vm_leases": free()})).state
    assert isinstance(watch(5, state, STALE, **BACK).command, StartVm)


def test_a_rise_while_the_host_was_in_no_lockspace_is_a_rise() -> None:
    state = decide(startable(**OWNED)).state
    away = {"sd_hosts": seen({1: host()}), "vm_leases": owned_by(2)}
    state = watch(10, state, STALE, **away).state
    assert watch(20, state, STALE, **BACK).command is None


# Others


def test_unknown_hosts_hinder_a_start_only_when_some_other_host_has_had_the_vm() -> None:
    unknown: Evidence[Any] = Evidence(problem="sanlock has just joined")
    assert isinstance(decide(startable(sd_hosts=unknown)).command, StartVm)
    assert decide(startable(sd_hosts=unknown, vm_leases=owned_by(2))).command is None
    after_an_owner = decide(startable(vm_leases=owned_by(2))).state
    assert decide(startable(sd_hosts=unknown), after_an_owner).command is None


def test_who_ran_the_vm_last_is_remembered() -> None:
    elsewhere, here, nowhere = lifetime(
        (0, {**neighbours(CLAIM), "vm_leases": owned_by(2)}), (10, UP), (20, down(ExitReason.LOST_QEMU))
    )
    assert elsewhere.state.last_runner == 2
    assert here.state.last_runner == 1
    assert nowhere.state.last_runner == 1
    assert here.state.memory.owners == frozenset({1})


def test_a_jump_of_the_clock_makes_all_evidence_unknown() -> None:
    """S13."""
    decided = decide(startable(), later_s=3600)
    assert decided.verdict.place is Place.UNCLEAR
    assert decided.command is None


def test_a_reading_from_the_future_is_unknown() -> None:
    assert place(vm=Evidence(VmView(report=report()), ago(-1))) is Place.UNCLEAR


def test_the_time_of_nowhere_counts_from_when_it_was_found_out() -> None:
    decisions = lifetime((0, ABSENT), (5, ABSENT), (10, {"vm_leases": owned_by(2)}), (20, ABSENT))
    assert [d.state.nowhere_since for d in decisions] == [NOW, NOW, None, NOW + 20_000]
