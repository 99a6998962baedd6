"""May the VM be started here? Every condition of a start, each with what it looked at.

A condition's docstring is its label for people: what a start needs. ``holds`` None means that it
cannot be told: evidence is missing, and that is no.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ovirt_he_agent.core import aftermath, snapshot, state
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.whereabouts import Place


@dataclass(frozen=True, slots=True)
class Check:
    """One tested rule or condition. ``holds`` None: cannot be told, evidence is missing."""

    name: str
    holds: bool | None
    detail: str


OTHER_DEFINITION_PAUSE_MS = 10_000
"""The longest pause after a failed start when the next one uses another definition."""
LOCK_PAUSE_MS = 30_000
"""The least pause after a lock failure, when the evidence has changed since."""
_IT_IS_ON = "it is on; hosted-engine --set-maintenance --mode=none ends it"


def is_asked_for(s: Scene) -> bool:
    """An operator wants the start now: no pause, no turn to wait for."""
    return s.request is not None and s.request.kind is snapshot.RequestKind.START


def _global_maintenance_is_known_off(s: Scene) -> Check:
    """global maintenance known to be off"""
    on = s.global_maintenance
    if on and is_asked_for(s) and s.request is not None and s.request.force:
        return Check("global-maintenance-off", True, "it is on, and an operator starts the VM all the same")
    if on is None:
        return Check("global-maintenance-off", None, s.snap.global_maintenance.why_unknown(s.now))
    return Check("global-maintenance-off", not on, _IT_IS_ON if on else "off")


def _local_maintenance_is_known_off(s: Scene) -> Check:
    """local maintenance known to be off"""
    on = s.local_maintenance
    if on is None:
        return Check("local-maintenance-off", None, s.snap.local_maintenance.why_unknown(s.now))
    return Check("local-maintenance-off", not on, _IT_IS_ON if on else "off")


def _ha_lease_is_held(s: Scene) -> Check:
    """this host's id held in lockspace hosted-engine"""
    lease = s.snap.own_ha_lease.known(s.now, snapshot.OWN_LEASE_LIMIT_MS)
    if lease is None:
        return Check("ha-lease-held", None, s.snap.own_ha_lease.why_unknown(s.now))
    return Check("ha-lease-held", lease.held, lease.detail)


def _domain_lease_is_acquired(s: Scene) -> Check:
    """the storage domain monitored by VDSM, with the host id acquired there"""
    vitals = s.snap.domain.known(s.now, snapshot.DOMAIN_LIMIT_MS)
    if vitals is None:
        return Check("domain-lease-acquired", None, s.snap.domain.why_unknown(s.now))
    if not vitals.acquired:
        return Check("domain-lease-acquired", False, "VDSM has not acquired the host id in the domain yet")
    if vitals.actual and not vitals.valid:
        return Check("domain-lease-acquired", False, f"VDSM finds the domain invalid (code {vitals.code})")
    return Check("domain-lease-acquired", True, "acquired")


def _definition_carries_leases(s: Scene) -> Check:
    """a definition with a lease for every exclusive disk"""
    definition = s.snap.definition.known(s.now, snapshot.DEFINITION_LIMIT_MS)
    if definition is None:
        return Check("definition-with-lease", None, s.snap.definition.why_unknown(s.now))
    if definition.vm_id != s.snap.vm_id:
        return Check("definition-with-lease", False, f"it defines VM {definition.vm_id}, not {s.snap.vm_id}")
    if not definition.leases:
        return Check("definition-with-lease", False, "it has no lease: two hosts could start the VM")
    return Check("definition-with-lease", True, definition.source)


def _leases_are_on_leaves(s: Scene) -> Check:
    """every lease on a volume that is the end of its chain"""
    for ref in s.snap.opened():
        read = s.snap.vm_leases.get(ref, _NEVER_READ)
        view = read.known(s.now, snapshot.LEASE_OWNERS_LIMIT_MS)
        if view is None or view.is_leaf is None:
            why = read.why_unknown(s.now) if view is None else "VDSM does not say so"
            return Check("leases-on-leaves", None, f"volume {ref.volume_id}: {why}")
        if not view.is_leaf:
            return Check(
                "leases-on-leaves",
                False,
                f"volume {ref.volume_id} is not the leaf of its chain: another volume carries the disk now",
            )
    return Check("leases-on-leaves", True, "all are leaves")


_NEVER_READ: snapshot.Evidence[snapshot.LeaseView] = snapshot.Evidence()


def _vm_is_nowhere(s: Scene) -> Check:
    """the VM running nowhere"""
    place = s.verdict.place
    holds = True if place is Place.NOWHERE else None if place is Place.UNCLEAR else False
    return Check("vm-nowhere", holds, "; ".join(s.verdict.reasons))


def _no_stop_is_under_way(s: Scene) -> Check:
    """no stop of the VM here under way"""
    return Check("no-stop", s.state.stop is None, s.state.stop.why if s.state.stop else "none")


def _pause_is_over(s: Scene) -> Check:
    """the end of the pause after the last end or failed try"""
    left_ms = pause_until(s) - s.now
    end = s.state.last_end
    if left_ms <= 0:
        return Check("pause-over", True, "no pause")
    last = f" after: {end.end.value}, {end.detail}" if end else ""
    if s.dropped_until is not None and s.snap.command is not None:
        last = f" after: {s.snap.command.kind} was dropped"
    return Check("pause-over", False, f"{-(-left_ms // 1000)} s left{last}")


def pause_until(s: Scene) -> MonotonicMs:
    """No start before."""
    if is_asked_for(s):
        return s.now
    until = _pause_after_the_end(s)
    return max(until, s.dropped_until or until)


def _pause_after_the_end(s: Scene) -> MonotonicMs:
    """Shorter when what failed will not be tried again as it was."""
    end, definition = s.state.last_end, s.snap.definition.value
    until = s.state.not_before
    if end is None:
        return until
    if end.end is state.End.LOCK_FAILED:
        since = s.state.nowhere_since
        if since is not None and since > end.at:  # somebody had it meanwhile: the evidence is another one
            until = min(until, MonotonicMs(end.at + LOCK_PAUSE_MS))
    elif (
        end.end is state.End.START_FAILED
        and definition is not None
        and end.definition_sha256 not in (None, definition.sha256)
    ):
        until = min(until, MonotonicMs(end.at + OTHER_DEFINITION_PAUSE_MS))
    return until


SETTLED_MS = 3_000


def _others_have_heard_of_us(s: Scene) -> Check:
    """three seconds on the whiteboard, so that hosts that come together know of each other"""
    left_ms = settled_at(s) - s.now
    if is_asked_for(s) or left_ms <= 0:
        return Check("settled", True, "it has been there for longer")
    return Check("settled", False, f"{-(-left_ms // 1000)} s left")


def settled_at(s: Scene) -> MonotonicMs:
    return MonotonicMs(s.state.joined_at + SETTLED_MS)


def _it_is_our_turn(s: Scene) -> Check:
    """no better host that should start it first"""
    if is_asked_for(s):
        return Check("our-turn", True, "an operator asked for it here")
    field = s.field
    if not field.rivals:
        return Check("our-turn", True, "no other host may start it")
    first = field.rivals[0]
    if aftermath.is_cooling_down(s):
        return Check(
            "our-turn", False, f"starts failed here repeatedly, and host {first.host_id} may start it"
        )
    if not field.rank:
        return Check("our-turn", True, "this host goes first")
    left_ms = turn_at(s) - s.now
    goes_first = f"host {first.host_id} goes first (score {first.score}, here {field.own.score})"
    if left_ms <= 0:
        return Check("our-turn", True, f"{goes_first} and did not start it")
    return Check("our-turn", False, f"{goes_first}; {-(-left_ms // 1000)} s left for better hosts")


def turn_at(s: Scene) -> MonotonicMs:
    """When better hosts have had their time."""
    since = s.state.nowhere_since if s.state.nowhere_since is not None else s.now
    since = max(since, s.state.joined_at)  # before that this host knew of nobody
    return MonotonicMs(since + s.field.rank * s.rules.rank_step_ms)


def _no_command_in_flight(s: Scene) -> Check:
    """the end of the VM command in flight"""
    return Check(
        "no-command-in-flight", not s.busy, s.snap.command.kind if s.busy and s.snap.command else "none"
    )


CONDITIONS: tuple[Callable[[Scene], Check], ...] = (
    _global_maintenance_is_known_off,
    _local_maintenance_is_known_off,
    _ha_lease_is_held,
    _domain_lease_is_acquired,
    _definition_carries_leases,
    _leases_are_on_leaves,
    _vm_is_nowhere,
    _no_stop_is_under_way,
    _pause_is_over,
    _others_have_heard_of_us,
    _it_is_our_turn,
    _no_command_in_flight,
)


Lacking = tuple[Callable[[Scene], Check], Check]


def lacking(s: Scene) -> tuple[Lacking, ...]:
    """The conditions that do not hold, each with what it found; looked at once."""
    if s.lacking is None:
        found = ((condition, condition(s)) for condition in CONDITIONS)
        s.lacking = tuple((condition, check) for condition, check in found if not check.holds)
    return s.lacking


WAITS = frozenset((_pause_is_over, _others_have_heard_of_us, _it_is_our_turn, _no_command_in_flight))
"""Conditions that time alone fulfils."""
