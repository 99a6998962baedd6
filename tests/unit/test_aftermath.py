"""How a life of the VM ended and what follows from it: each kind of end, its pause, and who goes first."""

from dataclasses import replace
from typing import Any

import pytest

from ovirt_he_agent.core import decision
from ovirt_he_agent.core.commands import CleanVdsmEntry, StartVm
from ovirt_he_agent.core.model import ExitReason, ProbeOutcome, VmStatus
from ovirt_he_agent.core.state import Attempt, End, Phase, State, Stop, StopCause
from ovirt_he_agent.core.whereabouts import Place
from tests.snapshots import (
    ABSENT,
    GOOD,
    JOINED,
    NOW,
    UP,
    VM_ID,
    aged,
    ago,
    command,
    decide,
    down,
    every,
    free,
    lifetime,
    neighbours,
    owned_by,
    probe,
    running,
    seen,
    slot,
    startable,
    vm,
)

LOCKED = "internal error: Failed to acquire lock: Lease is held by another host"
RIVAL = neighbours(slot(score=3000))
"""A host that is worse than this one, as long as this one does not ask others first."""


def ended(facts: dict[str, Any], state: State | None = None) -> State:
    return decide(startable(**facts), state or running()).state


def favours(state: State) -> str:
    """Who goes first after this end."""
    if state.favoured:
        return "here"
    return "others" if state.others_first_until > NOW else "rank"


@pytest.mark.parametrize(
    ("facts", "end", "pause_s", "first"),
    [
        (down(ExitReason.DESTROYED_ON_REBOOT, code=0), End.GUEST_REBOOT, 0, "here"),
        (down(ExitReason.USER_SHUTDOWN, code=0), End.USER_SHUTDOWN, 10, "here"),
        (down(ExitReason.ENDED, code=0), End.USER_SHUTDOWN, 10, "here"),
        (down(ExitReason.SAVE_SUCCEEDED, code=0), End.USER_SHUTDOWN, 10, "here"),
        (down(ExitReason.ADMIN_SHUTDOWN, code=0), End.ADMIN_SHUTDOWN, 12, "others"),
        (down(ExitReason.HOST_SHUTDOWN, code=0), End.HOST_SHUTDOWN, 120, "others"),
        (down(ExitReason.GENERIC_ERROR), End.CRASH, 0, "here"),
        (down(ExitReason.LOST_QEMU), End.CRASH, 0, "here"),
        (down(ExitReason.DOMAIN_MISSING), End.CRASH, 0, "here"),
        (down(ExitReason.MIGRATION_FAILED), End.CRASH, 0, "here"),
        (down(ExitReason.POSTCOPY_FAILED), End.CRASH, 0, "here"),
        (down(None), End.CRASH, 0, "here"),
        (ABSENT, End.CRASH, 0, "here"),
        (down(ExitReason.DESTROYED_ON_PAUSE_TIMEOUT), End.STORAGE, 0, "others"),
        (down(ExitReason.MIGRATION_SUCCEEDED, code=0), End.MIGRATED, 0, "rank"),
        (down(ExitReason.GENERIC_ERROR, message=LOCKED), End.LOCK_FAILED, 30, "rank"),
    ],
)
def test_each_end_has_its_kind_its_pause_and_who_goes_first(
    facts: dict[str, Any], end: End, pause_s: int, first: str
) -> None:
    state = ended(facts)
    assert state.last_end is not None
    assert state.last_end.end is end
    assert state.not_before == NOW + pause_s * 1000
    assert favours(state) == first
    assert not state.was_here
    assert not state.was_good


@pytest.mark.parametrize("reason", list(ExitReason))
def test_every_exit_reason_is_an_end_of_some_kind(reason: ExitReason) -> None:
    assert ended(down(reason)).last_end is not None


@pytest.mark.parametrize("reason", [ExitReason.USER_SHUTDOWN, ExitReason.LOST_QEMU, ExitReason.ENDED])
def test_a_reboot_in_progress_just_before_makes_any_end_a_reboot(reason: ExitReason) -> None:
    state = decide(startable(**vm(VmStatus.REBOOT_IN_PROGRESS), **GOOD), running()).state
    assert state.rebooting
    after = ended(down(reason, code=0), state)
    assert after.last_end is not None
    assert after.last_end.end is End.GUEST_REBOOT


def test_a_down_before_the_engine_was_good_is_a_failed_start() -> None:
    starting = running(was_good=False, phase=Phase.STARTING)
    for reason in (ExitReason.START_FAILED, ExitReason.GENERIC_ERROR, ExitReason.LOST_QEMU):
        state = ended(down(reason), starting)
        assert state.last_end is not None
        assert state.last_end.end is End.START_FAILED
        assert favours(state) == "others"


def test_a_vm_that_was_never_here_does_not_end() -> None:
    assert ended(down(ExitReason.LOST_QEMU), JOINED).last_end is None


@pytest.mark.parametrize("ok", [True, None], ids=["accepted", "outcome unknown"])
@pytest.mark.parametrize("before", [ABSENT, down()])
def test_what_vdsm_said_before_the_start_ended_says_nothing_of_this_life(
    before: dict[str, Any], ok: bool | None
) -> None:
    """safety: the Down record of the last life must not be cleared over the new one."""
    early = {"vm": replace(before["vm"], at=ago(3))}
    decided = decide(startable(**early, **command("StartVm", ago_s=1, ok=ok)))
    assert decided.verdict.place is Place.HERE_PENDING
    assert decided.command is None
    assert decided.state.was_here is (ok is True)


# Crash


CRASH = down(ExitReason.LOST_QEMU, message="Lost connection")


def test_a_crashed_vm_is_started_again_here_at_once_and_a_second_crash_lets_others_go_first() -> None:
    _, first, _, second, last = lifetime(
        (0, UP), (10, CRASH), (20, UP), (40, CRASH), (51, CRASH), vm_leases=free(), **RIVAL
    )
    assert first.command == CleanVdsmEntry(VM_ID)
    assert first.state.last_end is not None
    assert first.state.last_end.detail == "Lost connection"
    assert second.command is None
    assert second.state.not_before == NOW + 50_000
    assert second.wake_at == NOW + 50_000
    assert last.command is None
    assert any("goes first" in text for text in last.waits_for)


def test_crashes_more_than_ten_minutes_apart_are_each_a_first_one() -> None:
    long_ago = (Attempt(ago(601), End.CRASH, ""),)
    assert favours(ended(CRASH, running(attempts=long_ago))) == "here"
    lately = (Attempt(ago(599), End.CRASH, ""),)
    assert favours(ended(CRASH, running(attempts=lately))) == "others"


@pytest.mark.parametrize("trouble", [{"network": seen(0.5)}, {"bridge_up": seen(False)}])
def test_a_crash_does_not_favour_a_host_with_trouble_of_its_own(trouble: dict[str, Any]) -> None:
    assert favours(ended({**CRASH, **trouble})) == "rank"
    assert decide(startable(**CRASH, **trouble, **neighbours(slot())), running()).command is None


# Shut down in the guest, reboots


@pytest.mark.parametrize(("before", "pause_s"), [(0, 10), (1, 30), (2, 60), (3, 120), (7, 120)])
def test_repeated_shutdowns_in_the_guest_wait_longer_and_are_never_given_up(
    before: int, pause_s: int
) -> None:
    earlier = tuple(Attempt(ago(1000), End.USER_SHUTDOWN, "") for _ in range(before))
    state = ended(down(ExitReason.USER_SHUTDOWN, code=0), running(attempts=earlier))
    assert state.not_before == NOW + pause_s * 1000
    assert favours(state) == "here"


@pytest.mark.parametrize(("before", "pause_s"), [(0, 0), (2, 0), (3, 10), (4, 30), (9, 120)])
def test_a_guest_in_a_reboot_loop_is_slowed_down(before: int, pause_s: int) -> None:
    earlier = tuple(Attempt(ago(300), End.GUEST_REBOOT, "") for _ in range(before))
    state = ended(down(ExitReason.DESTROYED_ON_REBOOT, code=0), running(attempts=earlier))
    assert state.not_before == NOW + pause_s * 1000


def test_a_guest_that_reboots_in_place_boots_like_one_that_was_started() -> None:
    """What its page said before the reboot does not count for it."""
    bad = {"probes": tuple(probe(ProbeOutcome.NO_ANSWER, ago_s=s) for s in range(20, 0, -3))}
    reboot, *booting, up = lifetime(
        (0, {**vm(VmStatus.REBOOT_IN_PROGRESS), **GOOD}),
        (20, {**UP, **bad}),
        (200, {**UP, **bad}),
        (500, {**UP, **bad}),
        (510, UP),
        state=running(),
    )
    assert reboot.phase is Phase.STARTING
    assert [d.phase for d in booting] == [Phase.STARTING] * 3
    assert all(d.command is None for d in booting)
    assert up.phase is Phase.RUNNING


# Failed starts


FAILED = down(ExitReason.START_FAILED, message="no such network")
LAUNCH = vm(VmStatus.WAIT_FOR_LAUNCH)


def tries(times: int, failure: dict[str, Any], **always: Any) -> tuple[State, list[float], float]:
    """State, pauses and time after so many starts, each given when its pause was over."""
    state, at_s, pauses = JOINED, 0.0, []
    for _ in range(times):
        state = decide(aged(startable(**LAUNCH, **always), at_s), state, later_s=at_s).state
        at_s += 1
        state = decide(aged(startable(**failure, **always), at_s), state, later_s=at_s).state
        pauses.append((state.not_before - NOW) / 1000 - at_s)
        at_s += pauses[-1]
    return state, pauses, at_s


def test_failed_starts_back_off_and_end_in_cooldown_with_score_0_but_never_give_up() -> None:
    state, pauses, at_s = tries(6, FAILED)
    assert pauses == [10, 30, 60, 120, 120, 120]
    assert state.phase is Phase.COOLDOWN
    decided = decide(aged(startable(**FAILED), at_s), state, later_s=at_s)
    assert isinstance(decided.command, CleanVdsmEntry)
    assert decided.published is not None
    assert decided.published.score == 0


def test_two_failed_starts_are_no_cooldown_and_three_are() -> None:
    assert tries(2, FAILED)[0].phase is Phase.STANDBY
    assert tries(3, FAILED)[0].phase is Phase.COOLDOWN


@pytest.mark.parametrize("ok", [False, None], ids=["refused by VDSM", "outcome unknown"])
@pytest.mark.parametrize("kind", ["StartVm", "CleanVdsmEntry"])
def test_a_command_that_failed_is_a_failed_start(kind: str, ok: bool | None) -> None:
    state = decide(
        startable(**command(kind, ok=ok, detail="cannot", definition_sha256="d" * 64)), JOINED
    ).state
    assert state.last_end == Attempt(NOW, End.START_FAILED, f"{kind}: cannot", "d" * 64)
    assert state.not_before == NOW + 10_000
    assert state.started_from is None


def test_a_result_is_taken_into_account_once() -> None:
    failed = startable(**command("StartVm", ok=False))
    state = decide(failed).state
    assert decide(aged(failed, 5), state, later_s=5).state.attempts == state.attempts
    assert len(decide(startable(**command("StartVm", number=2, ok=False)), state).state.attempts) == 2


def test_lock_failures_back_off_and_are_no_failed_starts() -> None:
    state, pauses, _ = tries(4, down(ExitReason.GENERIC_ERROR, message=LOCKED))
    assert pauses == [30, 60, 120, 120]
    assert state.phase is Phase.STANDBY
    assert [a.end for a in state.attempts] == [End.LOCK_FAILED] * 4


def test_a_start_that_lost_the_race_for_the_lease_goes_back_to_standby_and_destroys_nothing() -> None:
    lost = down(ExitReason.GENERIC_ERROR, message=LOCKED)
    _, after, held, freed = lifetime(
        (0, LAUNCH), (5, lost), (20, {**lost, "vm_leases": owned_by(2)}), (36, lost)
    )
    assert (after.phase, after.command) == (Phase.STANDBY, None)
    assert held.command is None
    assert freed.command == CleanVdsmEntry(VM_ID)  # the Down record, nothing that runs


# A start that works


def test_a_started_vm_is_starting_until_its_engine_was_good_twice_then_running() -> None:
    accepted = command("StartVm", ago_s=2, definition_sha256="d" * 64)
    once = {"probes": (probe(ProbeOutcome.NO_ANSWER, ago_s=2), probe(ago_s=1))}
    decisions = lifetime((0, LAUNCH), (2, UP | {"probes": ()}), (4, {**UP, **once}), (60, UP), **accepted)
    phases = [d.phase for d in decisions]
    assert phases == [Phase.STARTING, Phase.STARTING, Phase.STARTING, Phase.RUNNING]
    assert decisions[-1].state.usual_boot_ms == 60_000
    assert decisions[-1].state.others_first_until == 0


def test_a_vm_that_was_found_running_is_running_after_one_good_look() -> None:
    decided = decide(startable(**{**UP, "probes": (probe(),)}))
    assert decided.phase is Phase.RUNNING
    assert decided.state.usual_boot_ms is None


def test_our_start_counts_as_the_vm_here_from_its_acceptance() -> None:
    decided = decide(startable(**LAUNCH, **command("StartVm", ago_s=2, definition_sha256="x")))
    assert (decided.state.was_here, decided.state.started_from) == (True, "x")
    assert decided.phase is Phase.STARTING


def test_a_vm_that_vdsm_does_not_know_after_its_accepted_start_has_crashed() -> None:
    decided = decide(startable(**ABSENT, **command("StartVm", ago_s=2)))
    assert decided.state.last_end is not None
    assert decided.state.last_end.end is End.CRASH


# Migration


def test_a_vm_that_migrated_away_is_not_started_before_40_s() -> None:
    gone = down(ExitReason.MIGRATION_SUCCEEDED, code=0)
    _, away, still, later = lifetime((0, UP), (5, gone), (44, gone), (45, gone), vm_leases=free())
    assert (away.phase, away.command) == (Phase.AWAY, None)
    assert away.wake_at == NOW + 45_000
    assert still.phase is Phase.AWAY
    assert isinstance(later.command, CleanVdsmEntry)


def test_a_vm_that_migrated_away_and_shows_up_elsewhere_is_elsewhere() -> None:
    gone = down(ExitReason.MIGRATION_SUCCEEDED, code=0)
    _, found = lifetime((0, UP), (5, {**gone, "vm_leases": owned_by(2)}))
    assert found.phase is Phase.STANDBY
    assert found.rule.name == "elsewhere"


def test_a_migration_that_ends_during_a_stop_is_a_migration() -> None:
    stopping = running(stop=Stop(cause=StopCause.SICK, why="sick", since=ago(30), told_at=ago(30)))
    state = ended(down(ExitReason.MIGRATION_SUCCEEDED, code=0), stopping)
    assert state.last_end is not None
    assert state.last_end.end is End.MIGRATED
    assert state.stop is None


# After a stop of ours


def stopped(cause: StopCause, **facts: Any) -> State:
    stop = replace(Stop(cause=cause, why="why", since=ago(30), told_at=ago(30)), **facts)
    return running(stop=stop)


STOPPED = down(ExitReason.USER_SHUTDOWN, code=0)


@pytest.mark.parametrize(
    ("state", "end", "pause_s", "first"),
    [
        (stopped(StopCause.SICK), End.STOPPED_BY_US, 0, "here"),
        (stopped(StopCause.SICK, kill=True, told_at=None, kills=1), End.STOPPED_BY_US, 0, "others"),
        (stopped(StopCause.START_TOO_LONG), End.STOPPED_BY_US, 0, "others"),
        (stopped(StopCause.NETWORK_LOST), End.STOPPED_BY_US, 0, "others"),
        (stopped(StopCause.ASKED), End.ADMIN_SHUTDOWN, 12, "others"),
    ],
    ids=["sick", "paused or lost", "start too long", "network lost", "asked"],
)
def test_a_vm_that_we_stopped_for_being_sick_restarts_here_and_others_elsewhere(
    state: State, end: End, pause_s: int, first: str
) -> None:
    after = ended({**STOPPED, "network": seen(0.0)}, state)
    assert after.last_end is not None
    assert (after.last_end.end, after.last_end.detail) == (end, "why")
    assert after.not_before == NOW + pause_s * 1000
    assert favours(after) == first
    assert after.stop is None


def test_the_second_time_within_half_an_hour_a_sick_vm_restarts_elsewhere() -> None:
    again = replace(stopped(StopCause.SICK), attempts=(Attempt(ago(1700), End.STOPPED_BY_US, ""),))
    assert favours(ended(STOPPED, again)) == "others"
    later = replace(stopped(StopCause.SICK), attempts=(Attempt(ago(1900), End.STOPPED_BY_US, ""),))
    assert favours(ended(STOPPED, later)) == "here"


def test_who_asks_others_first_does_so_for_ten_minutes_or_until_it_ran_the_engine_well() -> None:
    state = ended(down(ExitReason.DESTROYED_ON_PAUSE_TIMEOUT))
    assert state.others_first_until == NOW + 600_000
    good = lifetime((20, LAUNCH), (30, UP), (40, UP), state=state)[-1].state
    assert good.others_first_until == 0


def test_ends_are_forgotten_after_half_an_hour() -> None:
    old = replace(JOINED, attempts=(Attempt(ago(1800), End.CRASH, ""), Attempt(ago(1799), End.CRASH, "")))
    assert len(decide(startable(), old).state.attempts) == 1


def test_a_single_host_never_gives_up() -> None:
    """L2: at most 120 s between two tries."""

    def last_try(decisions: list[decision.Decision]) -> bool:
        return isinstance(decisions[-1].command, StartVm | CleanVdsmEntry)

    for failure in (FAILED, down(ExitReason.GENERIC_ERROR, message=LOCKED)):
        state, pauses, at_s = tries(12, failure)
        assert max(pauses) <= 120
        assert last_try(every((at_s,), failure, state=state))
