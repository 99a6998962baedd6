"""What a look teaches: how a life of the VM or a try to start it ended, and how long something has been so.

Exit reasons: vdsm: lib/vdsm/virt/vmexitreason.py. Each kind of end has its pause and says
whether this host or the others should go first.
"""

from dataclasses import replace
from typing import Any

from ovirt_he_agent.core import health, model, sickness, snapshot, whereabouts
from ovirt_he_agent.core.model import ExitReason, MonotonicMs
from ovirt_he_agent.core.peers import PeerClass
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.state import Attempt, End, State, Stop, StopCause
from ovirt_he_agent.core.whereabouts import Place

KEPT_MS = 1_800_000
RECENT_MS = 600_000
"""Ends of one kind within this time make the next pause longer."""
START_BACKOFF_MS = (10_000, 30_000, 60_000, 120_000)
LOCK_BACKOFF_MS = (30_000, 60_000, 120_000)
USER_PAUSE_MS = (10_000, 30_000, 60_000, 120_000)
ADMIN_PAUSE_MS = 12_000
HOST_SHUTDOWN_PAUSE_MS = 120_000
ASKED_MS = 150_000
"""What an operator asked for and what has not happened by then is theirs to repeat."""
UNHEARD_MS = 300_000
"""A guest that was asked to shut down so long ago, and whose engine is good, has not heard it."""
COOLDOWN_FAILURES = 3
COOLDOWN_MS = 600_000
"""From the last failed start; upstream's hosts keep to as long (ENGINE_RETRY_EXPIRATION_SECS)."""


def learn(s: Scene) -> State:
    """The state after what the snapshot tells; the same object when it tells nothing new."""
    changes: dict[str, Any] = {}
    state = _of_commands(s, s.state)
    state = _of_the_vm(s, state)
    _of_flags(s, state, changes)
    _of_place(s, state, changes)
    _of_health(s, state, changes)
    _of_twin(s, state, changes)
    _of_stop(s, state, changes)
    changes["told_vm"] = s.told.memory
    changes = {name: value for name, value in changes.items() if getattr(state, name) != value}
    return replace(state, **changes) if changes else state


def _of_flags(s: Scene, state: State, changes: dict[str, Any]) -> None:
    if s.global_maintenance is not None:
        changes["global_was_on"] = s.global_maintenance
    own_lease = s.snap.own_ha_lease.known(s.now, snapshot.OWN_LEASE_LIMIT_MS)
    if own_lease is not None and own_lease.held:
        changes["has_joined"] = True
        if not state.has_joined:
            changes["joined_at"] = s.now
    if state.attempts and s.now - state.attempts[0].at >= KEPT_MS:
        changes["attempts"] = tuple(a for a in state.attempts if s.now - a.at < KEPT_MS)
    lost = s.network is not None and s.network <= 0.0
    if not lost:
        changes["network_lost_since"] = None
    elif state.network_lost_since is None:
        changes["network_lost_since"] = s.now


def _of_commands(s: Scene, state: State) -> State:
    command = s.snap.command
    if command is None or command.done_at is None or command.number <= state.seen_command:
        return state
    state = replace(state, seen_command=command.number)
    match command.kind:
        case "StartVm" if command.ok:
            return replace(
                state,
                was_here=True,
                here_since=s.now,
                was_good=False,
                bad_ms=0,
                rebooting=False,
                started_from=command.definition_sha256,
                favoured=False,
            )
        case "ShutdownVm" | "DestroyVm" if _is_an_operators(state.stop) and command.ok is False:
            return replace(state, stop=None)  # they were told, and it is theirs to ask again
        case "ShutdownVm" if state.stop is not None and not command.refused:
            # with an unknown outcome it may be on its way; if it failed, the guest cannot be asked
            deaf = command.ok is False
            return replace(state, stop=replace(state.stop, told_at=s.now, kill=state.stop.kill or deaf))
        case "DestroyVm" if state.stop is not None and not command.refused:
            kills = state.stop.kills + (command.ok is True)
            return replace(state, stop=replace(state.stop, kills=kills, killed_at=s.now))
        case "StartVm" | "CleanVdsmEntry" if command.ok is not True and not command.refused:
            state = replace(state, started_from=command.definition_sha256)
            state = _ended(state, s, End.START_FAILED, f"{command.kind}: {command.detail}")
            return replace(state, started_from=None)
    return state


def _is_an_operators(stop: Stop | None) -> bool:
    return stop is not None and stop.cause is StopCause.ASKED


def _of_the_vm(s: Scene, state: State) -> State:
    view, command = s.view, s.snap.command
    if view is None:
        return state
    if command is not None and command.done_at is not None and (s.snap.vm.at or 0) < command.done_at:
        return state  # what VDSM said before the command ended says nothing of this life
    place = whereabouts.here(view)
    if place is Place.INCOMING:
        return state  # it lives there until VDSM says otherwise
    if place is not None:
        assert view.report is not None
        was_here = state.was_here
        rebooting = view.report.status is model.VmStatus.REBOOT_IN_PROGRESS
        if state.was_here and state.rebooting == rebooting:
            return state
        state = replace(state, was_here=True, rebooting=rebooting, favoured=False)
        if rebooting:  # its engine has to boot as after a start
            return replace(state, here_since=s.now, was_good=False, bad_ms=0)
        return state if was_here else replace(state, here_since=s.now)
    if not state.was_here:
        return replace(state, stop=None) if state.stop is not None else state
    ended = _life_ended(s, state, view.report)
    return replace(
        ended, was_here=False, was_good=False, started_from=None, rebooting=False, bad_ms=0, stop=None
    )


def _life_ended(s: Scene, state: State, report: model.VmReport | None) -> State:
    if report is not None and report.exit_reason is ExitReason.MIGRATION_SUCCEEDED:
        return _ended(state, s, End.MIGRATED, report.exit_message or "no exit message", pause_ms=0)
    if state.stop is not None:
        first = not _recent(s, state, End.STOPPED_BY_US, KEPT_MS)
        if state.stop.cause is StopCause.ASKED:
            return _ended(
                state, s, End.ADMIN_SHUTDOWN, state.stop.why, pause_ms=ADMIN_PAUSE_MS, others_first=True
            )
        paused = state.stop.cause is StopCause.SICK and state.stop.kill and state.stop.told_at is None
        in_place = state.stop.cause is StopCause.SICK and first and not paused
        return _ended(
            state,
            s,
            End.STOPPED_BY_US,
            state.stop.why,
            pause_ms=0,
            favoured=in_place,
            others_first=not in_place,
        )
    if report is None:
        return _crashed(s, state, "VDSM does not know the VM any more")
    message = report.exit_message or "no exit message"
    if health.is_lock_failure(report.exit_message):
        return _ended(state, s, End.LOCK_FAILED, message)
    reason = report.exit_reason
    match reason:
        case ExitReason.DESTROYED_ON_REBOOT:
            return _rebooted(state, s, message)
        case ExitReason.ADMIN_SHUTDOWN:
            return _ended(state, s, End.ADMIN_SHUTDOWN, message, pause_ms=ADMIN_PAUSE_MS, others_first=True)
        case ExitReason.HOST_SHUTDOWN:
            return _ended(
                state, s, End.HOST_SHUTDOWN, message, pause_ms=HOST_SHUTDOWN_PAUSE_MS, others_first=True
            )
        case ExitReason.DESTROYED_ON_PAUSE_TIMEOUT:
            return _ended(state, s, End.STORAGE, message, pause_ms=0, others_first=True)
        case _ if state.rebooting:
            return _rebooted(state, s, message)
        case ExitReason.USER_SHUTDOWN:
            return _user_shutdown(s, state, message)
        case _ if not state.was_good and (reason is ExitReason.START_FAILED or report.exit_code):
            return _ended(state, s, End.START_FAILED, message)
        case ExitReason.ENDED | ExitReason.SAVE_SUCCEEDED:
            return _user_shutdown(s, state, message)
        case _:
            return _crashed(s, state, message)


def _rebooted(state: State, s: Scene, message: str) -> State:
    again = _recent(s, state, End.GUEST_REBOOT, RECENT_MS)
    pause_ms = 0 if again < 3 else START_BACKOFF_MS[min(again - 3, 3)]  # a guest in a reboot loop
    return _ended(state, s, End.GUEST_REBOOT, message, pause_ms=pause_ms, favoured=True)


def _user_shutdown(s: Scene, state: State, message: str) -> State:
    before = _recent(s, state, End.USER_SHUTDOWN, KEPT_MS)
    pause_ms = USER_PAUSE_MS[min(before, len(USER_PAUSE_MS) - 1)]
    return _ended(state, s, End.USER_SHUTDOWN, message, pause_ms=pause_ms, favoured=True)


def _crashed(s: Scene, state: State, message: str) -> State:
    """The first one is mended in place at once, if nothing else is wrong with this host; at the second
    within ten minutes others go first."""
    before = _recent(s, state, End.CRASH, RECENT_MS)
    if not before:
        connected = (s.network is None or s.network >= 1.0) and s.inputs.bridge_up is not False
        return _ended(state, s, End.CRASH, message, pause_ms=0, favoured=connected)
    pause_ms = START_BACKOFF_MS[min(before - 1, len(START_BACKOFF_MS) - 1)]
    return _ended(state, s, End.CRASH, message, pause_ms=pause_ms, others_first=True)


def _recent(s: Scene, state: State, end: End, within_ms: int) -> int:
    return sum(a.end is end and s.now - a.at < within_ms for a in state.attempts)


def _ended(
    state: State,
    s: Scene,
    end: End,
    detail: str,
    *,
    pause_ms: int | None = None,
    favoured: bool = False,
    others_first: bool = False,
) -> State:
    """Note an end; without ``pause_ms`` the pause grows with the ends of the same kind."""
    if pause_ms is None:
        steps = LOCK_BACKOFF_MS if end is End.LOCK_FAILED else START_BACKOFF_MS
        pause_ms = steps[min(_recent(s, state, end, RECENT_MS), len(steps) - 1)]
        others_first = end is End.START_FAILED
    attempt = Attempt(s.now, end, detail, state.started_from)
    until = MonotonicMs(s.now + RECENT_MS) if others_first else state.others_first_until
    return replace(
        state,
        attempts=(*state.attempts, attempt),
        last_end=attempt,
        not_before=MonotonicMs(s.now + pause_ms),
        favoured=favoured,
        others_first_until=until,
    )


def _of_place(s: Scene, state: State, changes: dict[str, Any]) -> None:
    match s.verdict.place:
        case Place.NOWHERE if s.global_maintenance is not False:
            changes["nowhere_since"] = None  # no turn of anybody's passes while nobody may
        case Place.NOWHERE:
            if state.nowhere_since is None:
                changes["nowhere_since"] = s.now
        case Place.HERE:
            changes["nowhere_since"] = None
            changes["last_runner"] = s.snap.host_id
        case Place.ELSEWHERE:
            changes["nowhere_since"] = None
            changes["favoured"] = False
            if s.verdict.host_id is not None:
                changes["last_runner"] = s.verdict.host_id
        case _:
            changes["nowhere_since"] = None


def _of_health(s: Scene, state: State, changes: dict[str, Any]) -> None:
    if not s.is_here or not state.was_here:
        if state.bad_ms:
            changes["bad_until"] = s.now
        return
    if not state.was_good and _is_good_in_this_life(s, state):
        changes["was_good"] = True
        if state.started_from is not None:
            changes["usual_boot_ms"] = s.now - state.here_since
    was_good = state.was_good or "was_good" in changes
    if was_good and s.engine.good_twice:
        changes["others_first_until"] = MonotonicMs(0)
    # until it was good it is starting, which has its own limit; a pause is none of a start
    finding = sickness.examine(s)
    if not was_good and (finding is None or finding.kind is not sickness.Sickness.PAUSED):
        finding = None
    if finding is None and s.engine.good:
        changes["bad_ms"] = 0
    elif finding is None or finding.excuse is not None:
        changes["bad_until"] = s.now  # nobody can tell, or it is excused: that time does not count
    else:
        since = state.bad_until
        if not state.bad_ms:
            since = max(since, s.engine.bad_since if s.engine.bad_since is not None else s.now)
        # a look at the page covers so much at most: a pause of this process before it is unknown time
        changes["bad_ms"] = max(1, state.bad_ms + min(s.now - since, health.PROBE_LIMIT_MS))
        changes["bad_until"] = s.now


def _is_good_in_this_life(s: Scene, state: State) -> bool:
    """Looks from before its start or reboot say nothing of it; of a VM found running one is enough."""
    if not s.state.was_here and state.started_from is None:
        return s.engine.good
    return s.engine.good_twice and s.snap.probes[-2].at >= state.here_since


def _of_stop(s: Scene, state: State, changes: dict[str, Any]) -> None:
    """A stop ends with the VM; it is given up when maintenance begins, or its reason is gone."""
    stop = state.stop
    if stop is None:
        return
    report = s.view.report if s.view is not None else None
    is_up = report is not None and report.status is model.VmStatus.UP and not stop.kills
    match stop.cause:
        case StopCause.ASKED:
            if s.now - stop.since >= ASKED_MS:
                changes["stop"] = None
            return
        case StopCause.SICK | StopCause.START_TOO_LONG:
            # VDSM may say for ever that the guest shuts down, although it did not hear
            unheard = stop.told_at is not None and s.now - stop.told_at >= UNHEARD_MS and not stop.kills
            is_over = (is_up or unheard) and s.engine.good_twice
        case StopCause.NETWORK_LOST:
            is_over = is_up and changes.get("network_lost_since", state.network_lost_since) is None
        case StopCause.TWIN:
            # safety: it is this host's VM that holds the lease, or nobody knows
            is_over = changes.get("twin_owner_seen", state.twin_owner_seen) is None
    if is_over or s.global_maintenance or s.local_maintenance:
        changes["stop"] = None


def _of_twin(s: Scene, state: State, changes: dict[str, Any]) -> None:
    """A living host claims with a fresh slot what is here, and no migration explains it."""
    twin = next((p for p in s.peers.values() if _is_twin(s, p.kind, p.slot)), None)
    if s.verdict.place is not Place.HERE or _migrated_lately(s):
        twin = None
    changes["twin"] = twin.host_id if twin is not None else None
    reads = [s.snap.vm_leases.get(ref) for ref in s.snap.opened()]
    views = [r.known(s.now, snapshot.LEASE_OWNERS_LIMIT_MS) if r is not None else None for r in reads]
    if twin is None or not all(view is not None and view.owners == (twin.host_id,) for view in views):
        changes["twin_owner_seen"] = None
        return
    read_at = min(r.at for r in reads if r is not None and r.at is not None)
    claimed_at = twin.slot.changed_at if twin.slot is not None and twin.slot.changed_at is not None else s.now
    if changes["twin"] != state.twin or state.twin_owner_seen is None:
        after_both = read_at >= max(claimed_at, state.here_since)
        changes["twin_owner_seen"] = read_at if after_both else None


def _is_twin(s: Scene, kind: PeerClass, slot: snapshot.PeerSlot | None) -> bool:
    return kind is PeerClass.ALIVE and slot is not None and slot.claims_vm and not slot.stopped


MIGRATION_MS = 60_000


def _migrated_lately(s: Scene) -> bool:
    at = s.state.memory.migrated_at
    return at is not None and s.now - at <= MIGRATION_MS


def is_cooling_down(s: Scene) -> bool:
    """Three starts have failed here within ten minutes, the last one less than ten minutes ago."""
    failures = [a.at for a in s.state.attempts if a.end is End.START_FAILED]
    if len(failures) < COOLDOWN_FAILURES or s.now - failures[-1] >= COOLDOWN_MS:
        return False
    return any(
        failures[i + COOLDOWN_FAILURES - 1] - failures[i] < RECENT_MS
        and failures[-1] - failures[i + COOLDOWN_FAILURES - 1] < COOLDOWN_MS
        for i in range(len(failures) - COOLDOWN_FAILURES + 1)
    )


def new_stop(s: Scene, cause: StopCause, why: str, *, kill: bool = False) -> Stop:
    return Stop(cause=cause, why=why, since=s.now, kill=kill)
