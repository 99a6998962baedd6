"""What a host may be doing: rows of guard, phase and command; the first row whose guard holds decides.

A guard's docstring is its label, in the trace, in docs/states.md and for people. The
order of the rows is the order of what matters more. What makes a start is not here but
in ``admission``: the rows only say which phase a host that may not start is in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ovirt_he_agent.core import admission, aftermath, model, sickness, snapshot
from ovirt_he_agent.core.commands import DestroyVm, ShutdownVm, VmCommand
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.state import Phase, Stop, StopCause
from ovirt_he_agent.core.whereabouts import Place

STORAGE_FAILING_MS = 20_000
VDSM_GONE_MS = 5_000
MIGRATED_AWAY_MS = 40_000
SHUTDOWN_DELAY_S = 120
"""How long VDSM lets the guest shut down before it gives up (upstream's --vm-shutdown)."""
SHUTDOWN_LIMIT_MS = 150_000
KILL_AGAIN_MS = (60_000, 120_000, 300_000)
KILL_FAILED_MS = 10_000
"""VDSM did not accept the power-off."""
GOOD_MS = 15_000
"""An engine that was good so lately is not killed, whatever was planned."""
SCORE_GAP = 800
"""So much better another host must be (upstream: agent.conf, vm-migration threshold in agent/states.py)."""
TWIN_MS = 20_000
_STOPPABLE = frozenset({Place.HERE, Place.HERE_PENDING})
"""A VM that migrates is left alone, but for an operator's power-off."""
NO_COMMAND = frozenset({Phase.INIT, Phase.CUT, Phase.BLIND, Phase.LOCAL, Phase.AWAY, Phase.LEAVING})
"""No start in these; in global maintenance only what an operator forces."""


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    guard: Callable[[Scene], bool]
    phase: Phase
    command: Callable[[Scene], VmCommand | None] | None = None
    """What is done to a VM that is here; None: nothing."""
    stop: Callable[[Scene], Stop] | None = None
    """A stop of the VM begins."""

    @property
    def label(self) -> str:
        return (self.guard.__doc__ or "").strip()


# Maintenance, evidence, trouble: rows that keep this host from doing anything to the VM


def _leaving(s: Scene) -> bool:
    """the agent was told to stop"""
    return s.snap.leaving


def _local_without_vm(s: Scene) -> bool:
    """local maintenance is on and the VM is not here"""
    return s.local_maintenance is True and s.view is not None and not s.is_here


def _evidence_is_coming(s: Scene) -> bool:
    """just started: the first evidence is still being gathered"""
    snap = s.snap
    first = (snap.vm, snap.domain, snap.own_ha_lease, snap.slots, snap.local_maintenance)
    if any(read.problem for read in first):
        return False
    return not s.state.has_joined or any(read.at is None for read in first)


def _hands_off(s: Scene) -> bool:
    # safety: it may be on; and what is stopped without knowing could not be started again either
    return s.local_maintenance is not False or s.global_maintenance is None


def _cut_off(s: Scene) -> bool:
    """not in local maintenance, and our host id or the storage was lost"""
    if s.local_maintenance:
        return False
    lease = s.snap.own_ha_lease.known(s.now, snapshot.OWN_LEASE_LIMIT_MS)
    return lease is None or not lease.held or _fails(s, s.snap.slots) or _fails(s, s.snap.own_slot)


def _fails(s: Scene, read: snapshot.Evidence[Any]) -> bool:
    return read.problem is not None and read.known(s.now, STORAGE_FAILING_MS) is None


def _frozen(s: Scene) -> bool:
    """global maintenance is on, or unknown after it was on"""
    on = s.global_maintenance
    return on is True or (on is None and s.state.global_was_on)


def _blind(s: Scene) -> bool:
    """the VM's status on this host is unknown"""
    read = s.snap.vm
    failing = read.problem is not None and read.known(s.now, VDSM_GONE_MS) is None
    return failing or s.view is None


# What an operator asks for


def _asked(s: Scene, kind: snapshot.RequestKind) -> bool:
    """safety: in global maintenance, and while that is unknown, only what is forced."""
    request = s.request
    if request is None or request.kind is not kind or not s.is_here or s.busy:
        return False
    if s.verdict.place is Place.INCOMING:
        return False
    if kind is snapshot.RequestKind.SHUTDOWN and s.verdict.place is Place.OUTGOING:
        return False
    return request.force or s.global_maintenance is False


def _asked_to_shut_down(s: Scene) -> bool:
    """an operator asked to shut the VM down"""
    return _asked(s, snapshot.RequestKind.SHUTDOWN)


def _asked_to_power_off(s: Scene) -> bool:
    """an operator asked to power the VM off"""
    return _asked(s, snapshot.RequestKind.POWER_OFF)


def _by_request(s: Scene) -> Stop:
    kill = s.request is not None and s.request.kind is snapshot.RequestKind.POWER_OFF
    return aftermath.new_stop(s, StopCause.ASKED, "an operator asked for it", kill=kill)


# The VM is here: it is stopped only for a reason that holds now


def _incoming(s: Scene) -> bool:
    """the VM is migrating in"""
    return s.verdict.place is Place.INCOMING


def _twin_owns_the_lease(s: Scene) -> bool:
    """another host runs the VM too, and owned its lease whenever that was read for 20 s"""
    seen = s.state.twin_owner_seen
    if s.verdict.place is not Place.HERE or s.state.twin is None or seen is None:
        return False
    if _hands_off(s):
        return False
    at = [
        r.at for ref in s.snap.opened() if (r := s.snap.vm_leases.get(ref)) is not None and r.at is not None
    ]
    return bool(at) and min(at) - seen >= TWIN_MS


def _twin_stop(s: Scene) -> Stop:
    why = f"host {s.state.twin} runs the VM with its lease: the VM here holds none"
    return aftermath.new_stop(s, StopCause.TWIN, why, kill=True)


def _paused_and_taken(s: Scene) -> bool:
    """the VM is paused here, and another host has taken its lease"""
    if not _is_paused(s) or _hands_off(s):
        return False
    views = [
        r.known(s.now, snapshot.LEASE_OWNERS_LIMIT_MS)
        for ref in s.snap.opened()
        if (r := s.snap.vm_leases.get(ref)) is not None
    ]
    return any(view is not None and view.owners and s.snap.host_id not in view.owners for view in views)


def _has_begun(s: Scene, stop: Stop) -> bool:
    """VDSM has been told, or is being told. Until then a stop is worth what its reason is worth now."""
    return stop.cause is StopCause.ASKED or stop.told_at is not None or stop.kills > 0 or s.busy


def _killing(s: Scene) -> bool:
    """a stop is under way, and the polite way is over"""
    stop = s.state.stop
    if stop is None or not s.is_here or not _has_begun(s, stop) or _is_well(s, stop):
        return False
    if stop.cause is StopCause.ASKED:
        return stop.kill
    if s.verdict.place not in _STOPPABLE:
        return False
    if stop.kill or stop.kills:
        return True
    return _is_paused(s) or (stop.told_at is not None and s.now - stop.told_at >= SHUTDOWN_LIMIT_MS)


def _is_paused(s: Scene) -> bool:
    report = s.view.report if s.view is not None else None
    return report is not None and report.status is model.VmStatus.PAUSED


def _is_well(s: Scene, stop: Stop) -> bool:
    """safety: an engine that was good a moment ago is left alone, whatever was planned."""
    # a host without network sees the page of its own VM, and beside a twin or a paused VM it is another's
    if stop.cause not in (StopCause.SICK, StopCause.START_TOO_LONG) or _is_paused(s):
        return False
    return s.snap.page_good_at is not None and s.now - s.snap.page_good_at <= GOOD_MS


def _stopping(s: Scene) -> bool:
    """a stop is under way"""
    stop = s.state.stop
    if stop is None or not s.is_here or not _has_begun(s, stop):
        return False
    # a shutdown that an operator asked for and the guest did not follow is the operator's to repeat
    return (
        stop.cause is not StopCause.ASKED or stop.told_at is None or s.now - stop.told_at < SHUTDOWN_LIMIT_MS
    )


def _start_takes_too_long(s: Scene) -> bool:
    """the engine has not become good since the VM's start, for too long"""
    if s.verdict.place not in (Place.HERE, Place.HERE_PENDING) or s.state.was_good or not s.state.was_here:
        return False
    if _hands_off(s) or sickness.excuse_of_others(s) is not None:
        return False
    return s.now - s.state.here_since >= sickness.start_limit_ms(s)


def _start_stop(s: Scene) -> Stop:
    took_s = (s.now - s.state.here_since) // 1000
    return aftermath.new_stop(
        s, StopCause.START_TOO_LONG, f"its engine was not good {took_s} s after the start"
    )


def _lost(s: Scene) -> bool:
    """the engine has been sick for too long, and its guest cannot be asked to shut down"""
    finding = sickness.examine(s)
    return finding is not None and sickness.is_lost(s, finding) and _sick_too_long(s)


def _sick_too_long(s: Scene) -> bool:
    """the engine has been sick for longer than this kind of sickness may last"""
    if s.verdict.place is not Place.HERE or _hands_off(s) or not s.state.bad_ms:
        return False
    finding = sickness.examine(s)
    if finding is None or finding.excuse is not None:
        return False
    if s.snap.page_good_at is not None and s.now - s.snap.page_good_at <= GOOD_MS:
        return False
    return s.state.bad_ms >= sickness.grace_ms(s, finding)


def _sick_stop(s: Scene) -> Stop:
    finding = sickness.examine(s)
    assert finding is not None
    why = f"{finding.kind.value}, for {s.state.bad_ms // 1000} s"
    return aftermath.new_stop(s, StopCause.SICK, why, kill=sickness.is_lost(s, finding))


def _network_is_lost_here(s: Scene) -> bool:
    """this host has lost the network, another one sees it, and nobody sees the engine"""
    move_at = sickness.network_move_at(s)
    if s.verdict.place is not Place.HERE or move_at is None or _hands_off(s):
        return False
    if not s.rules.move_when_network_lost or s.now < move_at:
        return False
    rivals = s.field.rivals
    gap = rivals[0].score - s.able_while_running.points if rivals else 0
    return gap >= SCORE_GAP and sickness.seen_good_by(s) is None


def _network_stop(s: Scene) -> Stop:
    rival = s.field.rivals[0]
    gap = rival.score - s.able_while_running.points
    why = f"the network is lost here for {(s.now - (s.state.network_lost_since or s.now)) // 1000} s"
    return aftermath.new_stop(
        s, StopCause.NETWORK_LOST, f"{why}, and host {rival.host_id} has {gap} points more"
    )


def _starting(s: Scene) -> bool:
    """the VM is here and its engine has not been good in this life"""
    return s.is_here and not s.state.was_good


def _sick(s: Scene) -> bool:
    """the VM is here and its engine has not been good for 15 s"""
    return s.is_here and (
        s.engine.bad_for_ms(s.now) >= sickness.CONFIRMED_MS or s.state.bad_ms >= sickness.CONFIRMED_MS
    )


def _here(s: Scene) -> bool:
    """the VM is on this host"""
    return s.is_here


# The VM is not here


def _migrated_away(s: Scene) -> bool:
    """the VM migrated away from here and has not shown up elsewhere"""
    view = s.view
    return (
        view is not None
        and view.report is not None
        and view.report.exit_reason is model.ExitReason.MIGRATION_SUCCEEDED
        and s.verdict.place is not Place.ELSEWHERE
        and s.state.last_end is not None
        and s.now - s.state.last_end.at < MIGRATED_AWAY_MS
    )


def _cooling_down(s: Scene) -> bool:
    """three starts failed here within ten minutes, the last one less than ten minutes ago"""
    return aftermath.is_cooling_down(s)


def _elsewhere(s: Scene) -> bool:
    """another host runs the VM or owns its lease"""
    return s.verdict.place is Place.ELSEWHERE


def _soon(s: Scene) -> bool:
    """the owner of the VM's lease is failing: it is waited for until sanlock calls it dead"""
    return s.verdict.place is Place.NOWHERE_SOON


def _unclear(s: Scene) -> bool:
    """nobody can tell where the VM is"""
    return s.verdict.place is Place.UNCLEAR


def _not_fit(s: Scene) -> bool:
    """the VM runs nowhere, and this host lacks something that a start needs"""
    return any(condition not in admission.WAITS for condition, _ in admission.lacking(s))


def _waiting(s: Scene) -> bool:
    """the VM runs nowhere, and its start here has to wait"""
    return bool(admission.lacking(s))


def _nowhere(s: Scene) -> bool:
    """the VM runs nowhere and every condition for a start holds"""
    return True


# Commands of rows


def _shut_down(s: Scene) -> VmCommand | None:
    """ask the guest to shut down"""
    stop = s.state.stop
    if _may_not_now(s) or stop is None or stop.told_at is not None or _is_well(s, stop):
        return None
    if s.verdict.place not in _STOPPABLE:
        return None
    return ShutdownVm(s.snap.vm_id, SHUTDOWN_DELAY_S, stop.why)


def _power_off(s: Scene) -> VmCommand | None:
    """power it off"""
    stop = s.state.stop
    if _may_not_now(s) or stop is None or _is_well(s, stop):
        return None
    if (again_at := kill_again_at(stop)) is not None and s.now < again_at:
        return None
    return DestroyVm(s.snap.vm_id, stop.why)


def kill_again_at(stop: Stop) -> model.MonotonicMs | None:
    """When a power-off that changed nothing is repeated; None: there was none."""
    if stop.killed_at is None:
        return None
    pause_ms = KILL_AGAIN_MS[min(stop.kills, len(KILL_AGAIN_MS)) - 1] if stop.kills else KILL_FAILED_MS
    return model.MonotonicMs(stop.killed_at + pause_ms)


def _may_not_now(s: Scene) -> bool:
    """A command is in flight, or one was just dropped, or nobody knows whether maintenance is on."""
    if s.busy:
        return True
    if s.request is not None:
        return False
    # safety: it may be on; and what is stopped now could not be started again
    return s.global_maintenance is None or s.dropped_until is not None


RULES: tuple[Rule, ...] = (
    Rule("leaving", _leaving, Phase.LEAVING),
    Rule("local-without-vm", _local_without_vm, Phase.LOCAL),
    Rule("evidence-is-coming", _evidence_is_coming, Phase.INIT),
    Rule("cut-off", _cut_off, Phase.CUT),
    Rule("asked-to-shut-down", _asked_to_shut_down, Phase.STOPPING, _shut_down, _by_request),
    Rule("asked-to-power-off", _asked_to_power_off, Phase.KILLING, _power_off, _by_request),
    Rule("frozen", _frozen, Phase.FROZEN),
    Rule("blind", _blind, Phase.BLIND),
    Rule("incoming", _incoming, Phase.STANDBY),
    Rule("killing", _killing, Phase.KILLING, _power_off),
    Rule("stopping", _stopping, Phase.STOPPING, _shut_down),
    Rule("twin-owns-the-lease", _twin_owns_the_lease, Phase.KILLING, _power_off, _twin_stop),
    Rule("paused-and-taken", _paused_and_taken, Phase.KILLING, _power_off, _sick_stop),
    Rule("start-takes-too-long", _start_takes_too_long, Phase.STOPPING, _shut_down, _start_stop),
    Rule("lost", _lost, Phase.KILLING, _power_off, _sick_stop),
    Rule("sick-too-long", _sick_too_long, Phase.STOPPING, _shut_down, _sick_stop),
    Rule("network-is-lost-here", _network_is_lost_here, Phase.STOPPING, _shut_down, _network_stop),
    Rule("starting", _starting, Phase.STARTING),
    Rule("sick", _sick, Phase.SICK),
    Rule("here", _here, Phase.RUNNING),
    Rule("migrated-away", _migrated_away, Phase.AWAY),
    Rule("cooling-down", _cooling_down, Phase.COOLDOWN),
    Rule("elsewhere", _elsewhere, Phase.STANDBY),
    Rule("soon", _soon, Phase.STANDBY),
    Rule("unclear", _unclear, Phase.STANDBY),
    Rule("not-fit", _not_fit, Phase.STANDBY),
    Rule("waiting", _waiting, Phase.STANDBY),
    Rule("nowhere", _nowhere, Phase.STANDBY),
)
