"""What the end of a VM's life, or of a try to start it, teaches: its kind and the pause that follows.

Exit reasons: vdsm: lib/vdsm/virt/vmexitreason.py.
"""

from dataclasses import replace

from ovirt_he_agent.core import admission, health, model, snapshot, whereabouts
from ovirt_he_agent.core.state import Attempt, End, State

RECENT_MS = 600_000
REFUSED_PAUSE_MS = 2_000
START_BACKOFF_MS = (10_000, 30_000, 60_000, 120_000)
LOCK_BACKOFF_MS = (30_000, 60_000, 120_000)
ENDED_DELAY_MS = {
    # how the VM ended -> how long this host waits before it starts it again
    model.ExitReason.USER_SHUTDOWN: 10_000,
    model.ExitReason.ADMIN_SHUTDOWN: 12_000,
    model.ExitReason.HOST_SHUTDOWN: 120_000,
}


def learn(s: admission.Scene) -> State:
    """The state after what the snapshot tells of commands, ends and flags."""
    state, snap, now = s.state, s.snap, s.now
    on = snap.global_maintenance.known(now, snapshot.GLOBAL_FLAGS_LIMIT_MS)
    if on is not None:
        state = replace(state, global_was_on=on)
    own_lease = snap.own_ha_lease.known(now, snapshot.OWN_LEASE_LIMIT_MS)
    if own_lease is not None and own_lease.held:
        state = replace(state, has_joined=True)
    state = replace(state, attempts=tuple(a for a in state.attempts if now - a.at < RECENT_MS))
    command = snap.command
    if command is not None and command.done_at is not None and command.number > state.seen_command:
        state = replace(state, seen_command=command.number)
        if command.kind == "StartVm" and command.ok:
            started_from = command.definition_sha256
            state = replace(state, was_here=True, was_good=False, started_from=started_from)
        elif command.refused:  # its cause is in the evidence now; only do not spin
            state = replace(state, not_before=model.MonotonicMs(now + REFUSED_PAUSE_MS))
        elif command.ok is not True:
            state = replace(state, started_from=command.definition_sha256)
            state = _ended(state, now, End.START_FAILED, f"{command.kind}: {command.detail}")
            state = replace(state, started_from=None)
    view = snap.vm.known(now, snapshot.VM_LIMIT_MS)
    if view is None:
        return state
    if command is not None and command.done_at is not None and (snap.vm.at or 0) < command.done_at:
        return state  # what VDSM said before the command ended says nothing of this life
    if whereabouts.here(view) is not None:
        good = s.engine.good_twice or (s.engine.good and not state.was_here)
        return replace(state, was_here=True, was_good=state.was_good or good)
    if not state.was_here:
        return state
    ended = _life_ended(state, view.report, now)
    return replace(ended, was_here=False, was_good=False, started_from=None)


def _life_ended(state: State, report: model.VmReport | None, now: model.MonotonicMs) -> State:
    if report is None:
        return _ended(state, now, End.ENDED, "VDSM does not know the VM any more")
    message = report.exit_message or "no exit message"
    reason = report.exit_reason
    if health.is_lock_failure(report.exit_message):
        return _ended(state, now, End.LOCK_FAILED, message)
    if reason is model.ExitReason.MIGRATION_SUCCEEDED:
        return _ended(state, now, End.ENDED, "it migrated away", delay_ms=0)
    if not state.was_good and (reason is model.ExitReason.START_FAILED or report.exit_code):
        return _ended(state, now, End.START_FAILED, message)
    delay_ms = ENDED_DELAY_MS.get(reason) if reason is not None else None
    return _ended(state, now, End.ENDED, message, delay_ms=delay_ms)


def _ended(
    state: State, now: model.MonotonicMs, end: End, detail: str, *, delay_ms: int | None = None
) -> State:
    """Note an end; the pause grows with the ends of the same kind within ten minutes."""
    before = sum(a.end is end for a in state.attempts)
    if delay_ms is None:
        match end:
            case End.LOCK_FAILED:
                delay_ms = LOCK_BACKOFF_MS[min(before, len(LOCK_BACKOFF_MS) - 1)]
            case End.START_FAILED:
                delay_ms = START_BACKOFF_MS[min(before, len(START_BACKOFF_MS) - 1)]
            case End.ENDED:  # one restart at once (3.1: crash), then as failed starts
                delay_ms = (0, *START_BACKOFF_MS)[min(before, len(START_BACKOFF_MS))]
    attempt = Attempt(now, end, detail, state.started_from)
    return replace(
        state,
        attempts=(*state.attempts, attempt),
        last_end=attempt,
        not_before=model.MonotonicMs(now + delay_ms),
    )
