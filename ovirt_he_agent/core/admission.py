"""May the VM be started here? Every condition of a start, each with what it looked at.

A condition's docstring is its label for people: what a start needs. ``holds`` None means that it
cannot be told: evidence is missing, and that is no.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ovirt_he_agent.core import health, model, snapshot, state, whereabouts
from ovirt_he_agent.core.whereabouts import Place


@dataclass(frozen=True, slots=True)
class Check:
    """One tested rule or condition. ``holds`` None: cannot be told, evidence is missing."""

    name: str
    holds: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a condition or guard may look at."""

    state: state.State
    snap: snapshot.Snapshot
    now: model.MonotonicMs
    verdict: whereabouts.Verdict
    engine: health.EngineHealth


OTHER_DEFINITION_PAUSE_MS = 10_000
"""The longest pause after a failed start when the next one uses another definition."""
_IT_IS_ON = "it is on; hosted-engine --set-maintenance --mode=none ends it"


def _known(name: str, off: bool | None, yes: str, no: str, unknown: str) -> Check:
    return Check(name, off, unknown if off is None else yes if off else no)


def _global_maintenance_is_known_off(s: Scene) -> Check:
    """global maintenance known to be off"""
    on = s.snap.global_maintenance.known(s.now, snapshot.GLOBAL_FLAGS_LIMIT_MS)
    why = s.snap.global_maintenance.why_unknown(s.now)
    return _known("global-maintenance-off", None if on is None else not on, "off", _IT_IS_ON, why)


def _local_maintenance_is_known_off(s: Scene) -> Check:
    """local maintenance known to be off"""
    on = s.snap.local_maintenance.known(s.now, snapshot.LOCAL_FILE_LIMIT_MS)
    why = s.snap.local_maintenance.why_unknown(s.now)
    return _known("local-maintenance-off", None if on is None else not on, "off", _IT_IS_ON, why)


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
        read = s.snap.vm_leases.get(ref, snapshot.Evidence())
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


def _vm_is_nowhere(s: Scene) -> Check:
    """the VM running nowhere"""
    holds = {Place.NOWHERE: True, Place.UNCLEAR: None}.get(s.verdict.place, False)
    return Check("vm-nowhere", holds, "; ".join(s.verdict.reasons))


def _pause_is_over(s: Scene) -> Check:
    """the end of the pause after the last end or failed try"""
    left_ms = pause_until(s) - s.now
    end = s.state.last_end
    if left_ms <= 0:
        return Check("pause-over", True, "no pause")
    last = f" after: {end.detail}" if end else ""
    return Check("pause-over", False, f"{-(-left_ms // 1000)} s left{last}")


def pause_until(s: Scene) -> model.MonotonicMs:
    """No start before; sooner if the next one uses another definition than the one that failed."""
    end, definition = s.state.last_end, s.snap.definition.value
    if end is None or definition is None or end.end is not state.End.START_FAILED:
        return s.state.not_before
    if end.definition_sha256 in (None, definition.sha256):
        return s.state.not_before
    return model.MonotonicMs(min(s.state.not_before, end.at + OTHER_DEFINITION_PAUSE_MS))


def _no_command_in_flight(s: Scene) -> Check:
    """the end of the VM command in flight"""
    busy = s.snap.command is not None and s.snap.command.done_at is None
    return Check("no-command-in-flight", not busy, s.snap.command.kind if busy and s.snap.command else "none")


CONDITIONS: tuple[Callable[[Scene], Check], ...] = (
    _global_maintenance_is_known_off,
    _local_maintenance_is_known_off,
    _ha_lease_is_held,
    _domain_lease_is_acquired,
    _definition_carries_leases,
    _leases_are_on_leaves,
    _vm_is_nowhere,
    _pause_is_over,
    _no_command_in_flight,
)
