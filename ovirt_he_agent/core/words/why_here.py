"""Why the engine VM is here, how its engine is, and when it is stopped: clauses of ``why``."""

from collections.abc import Callable, Mapping

from ovirt_he_agent.core import rules, sickness
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.state import Stop, StopCause
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.words.figures import host, left, span
from ovirt_he_agent.core.words.prospects import in_phase, place


def _incoming(s: Scene) -> tuple[str, ...]:
    return (
        place(s),
        f"{'; '.join(s.verdict.reasons)}, and it is left alone until it has come",
    )


def _stop_why(s: Scene) -> str:
    return s.state.stop.why if s.state.stop is not None else "a stop is under way"


def _killing(s: Scene) -> tuple[str, ...]:
    stop = s.state.stop
    head = f"the engine VM is being powered off here: {_stop_why(s)}"
    if s.busy and s.snap.command is not None:
        return head, f"{s.snap.command.kind} was sent {span(s.now - s.snap.command.given_at)} ago"
    if stop is None or stop.killed_at is None:
        return head, "VDSM is told now"
    ago = f"{span(s.now - stop.killed_at)} ago"
    accepted = f"VDSM accepted that {stop.kills} {'time' if stop.kills == 1 else 'times'}, last {ago}"
    return (
        head,
        f"{accepted if stop.kills else f'VDSM did not accept that {ago}'}, and the VM is still here",
        f"next try in {left((rules.kill_again_at(stop) or s.now) - s.now)}",
    )


def _paused_and_taken(s: Scene) -> tuple[str, ...]:
    head, *others = _killing(s)
    return head, "another host has taken its lease meanwhile", *others


def _lost(s: Scene) -> tuple[str, ...]:
    head, *others = _killing(s)
    return head, "its guest cannot be asked to shut down", *others


def _stopping(s: Scene) -> tuple[str, ...]:
    stop = s.state.stop
    head = f"the engine VM is being shut down here: {_stop_why(s)}"
    if stop is None:
        return (head,)
    if stop.told_at is None:
        return head, _not_told(s, stop)
    asked = f"the guest was asked {span(s.now - stop.told_at)} ago"
    left_s = left(stop.told_at + rules.SHUTDOWN_LIMIT_MS - s.now)
    if stop.cause is StopCause.ASKED:
        return head, asked, f"if it does not follow within {left_s}, it goes on running"
    return head, asked, f"if it is not down in {left_s}, it is powered off"


def _not_told(s: Scene, stop: Stop) -> str:
    if s.busy and s.snap.command is not None:
        return f"{s.snap.command.kind} was sent {span(s.now - s.snap.command.given_at)} ago"
    if s.verdict.place is Place.OUTGOING:
        return "not before its migration has ended"
    good_at = s.snap.page_good_at
    if stop.cause not in (StopCause.ASKED, StopCause.NETWORK_LOST) and (
        good_at is not None and s.now - good_at <= rules.GOOD_MS
    ):
        return f"held back, because its page was good {span(s.now - good_at)} ago"
    return "the guest is asked now"


def _starting(s: Scene) -> tuple[str, ...]:
    if not s.state.was_here:
        return place(s), "; ".join(s.verdict.reasons)
    is_still_here = s.verdict.place in (Place.HERE, Place.HERE_PENDING)
    head = "the engine VM has been starting here" if is_still_here else place(s)
    took_ms = s.now - s.state.here_since
    usual = s.state.usual_boot_ms
    known = f" (the last boot took {span(usual)})" if usual is not None else ""
    clauses = [f"{head} for {span(took_ms)}{known}, and its engine has not been good yet ({s.engine.detail})"]
    excuse = sickness.excuse_of_others(s)
    if s.local_maintenance is not False:
        clauses.append("it is not stopped for that while local maintenance is on or unknown")
    elif excuse is not None:
        clauses.append(f"it is not stopped for that now: {excuse}")
    elif is_still_here:
        limit_ms = sickness.start_limit_ms(s)
        clauses.append(f"if it is not good in {left(limit_ms - took_ms)}, it is shut down here")
    return tuple(clauses)


def _sick(s: Scene) -> tuple[str, ...]:
    finding = sickness.examine(s)
    bad_ms = max(s.state.bad_ms, s.engine.bad_for_ms(s.now))
    if finding is None:
        return (
            f"{place(s)} and its engine is not good for {span(bad_ms)}: {s.engine.detail}",
            "it is watched",
        )
    head = f"{place(s)} and its engine is sick: {finding.kind.value}, for {span(bad_ms)}"
    if finding.excuse is not None:
        return head, f"it is not stopped for that now: {finding.excuse}"
    if s.local_maintenance is not False:
        return head, "it is not stopped for that while local maintenance is on or unknown"
    if s.verdict.place is not Place.HERE:
        return head, "it is not stopped for that while it migrates"
    way = "powered off" if sickness.is_lost(s, finding) else "shut down"
    left_ms = sickness.grace_ms(s, finding) - s.state.bad_ms
    good_at = s.snap.page_good_at
    if left_ms <= 0 and good_at is not None:
        return head, f"it is {way} here if it stays so, but not within 15 s of a good page"
    return head, f"if it stays so, it is {way} here in {left(left_ms)}"


def _here(s: Scene) -> tuple[str, ...]:
    clauses = [_how_it_is(s)]
    if s.state.twin is not None:
        clauses.append(
            f"{host(s, s.state.twin)} says that it runs it, too: it is powered off here only when that host "
            f"has owned its lease for {rules.TWIN_MS // 1000} s"
        )
    if s.state.network_lost_since is not None:
        clauses.append(f"this host has lost its network for {span(s.now - s.state.network_lost_since)}")
    if s.local_maintenance is True:
        clauses.append("local maintenance is on: the engine may migrate it away, it is not stopped here")
    return tuple(clauses)


def _how_it_is(s: Scene) -> str:
    if s.engine.good:
        return f"{place(s)} and its engine has been good for {in_phase(s)}"
    bad_ms = s.engine.bad_for_ms(s.now)
    if s.engine.bad_since is None or s.verdict.place is not Place.HERE:
        return f"{place(s)}, and its engine was good before ({s.engine.detail})"
    return (
        f"{place(s)}, and its engine has not been good for {span(bad_ms)} ({s.engine.detail}): "
        f"it counts as sick in {left(sickness.CONFIRMED_MS - bad_ms)}"
    )


CLAUSES: Mapping[str, Callable[[Scene], tuple[str, ...]]] = {
    "asked-to-shut-down": _stopping,
    "asked-to-power-off": _killing,
    "incoming": _incoming,
    "killing": _killing,
    "stopping": _stopping,
    "twin-owns-the-lease": _killing,
    "paused-and-taken": _paused_and_taken,
    "start-takes-too-long": _stopping,
    "lost": _lost,
    "sick-too-long": _stopping,
    "network-is-lost-here": _stopping,
    "starting": _starting,
    "sick": _sick,
    "here": _here,
}
"""By the name of the rule that decided."""
