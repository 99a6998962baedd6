"""The one place that decides: ``decide(state, snapshot, now) -> Decision``. Total, pure, deterministic.

The rows of ``rules`` say the phase, ``admission`` whether the VM may be started. A call
without news changes nothing. What people are told is put into words only when it is
asked for, from the same scene.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ovirt_he_agent.core import (
    admission,
    aftermath,
    candidates,
    health,
    model,
    peers,
    policy,
    publication,
    rules,
    score,
    sickness,
    snapshot,
    whereabouts,
)
from ovirt_he_agent.core.admission import Check
from ovirt_he_agent.core.commands import CleanVdsmEntry, DestroyVm, ShutdownVm, StartVm, VmCommand
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.core.rules import Rule
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.snapshot import RequestKind
from ovirt_he_agent.core.state import Phase, State, StopCause
from ovirt_he_agent.core.whereabouts import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What became of an operator's request: heard once, granted or not."""

    number: int
    granted: bool
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What the rules need of those who observe and hold; levels, not events."""

    alert: bool
    """Look often: something is about to be decided, or the engine is not known to be good."""
    lease_owners: bool
    """Who owns the VM's leases matters."""
    count_down: bool
    """A host is about to be called dead, or nobody can tell where the VM is: look at the lockspaces often."""
    domain_monitor: bool | None
    """VDSM should monitor the storage domain; None: leave it as it is."""
    watch: int | None
    """The host whose word on the VM everything hangs on: look at its slot often."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    before: State
    """What ``decide`` was given: the act step decides again from it."""
    scene: Scene
    rule: Rule
    command: VmCommand | None
    heard: Heard | None

    @property
    def state(self) -> State:
        return self.scene.state

    @property
    def phase(self) -> Phase:
        return self.scene.state.phase

    @property
    def verdict(self) -> whereabouts.Verdict:
        return self.scene.verdict

    @property
    def published(self) -> publication.Published | None:
        """What this host says of itself now; None: it cannot."""
        return publication.of(self.scene)

    @property
    def wants(self) -> Wants:
        return _wants(self.scene)

    @property
    def reason(self) -> str:
        """One sentence: why this phase, and why no command if there is none."""
        return _reason(self)

    @property
    def waits_for(self) -> tuple[str, ...]:
        """What has to change before the VM may start here; empty while it runs or is being started."""
        return () if self.scene.is_here or self.command is not None else _missing(self)

    @property
    def trace(self) -> tuple[Check, ...]:
        """Every rule that was tested, in order, then every condition of a start."""
        return _trace(self)

    @property
    def wake_at(self) -> MonotonicMs | None:
        """Decide again at this time even without news."""
        return _wake_at(self.scene)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What an operator should know of although the agent does nothing about it."""
        return _alarms(self.scene)


_POLICY = policy.Policy()
_WEIGHTS = score.Weights()


def decide(
    state: State,
    snap: snapshot.Snapshot,
    now: MonotonicMs,
    *,
    rules_of: policy.Policy = _POLICY,
    weights: score.Weights = _WEIGHTS,
) -> Decision:
    """What to be and what to do, from ``state`` and the evidence; a call without news changes nothing."""
    before = state
    memory = whereabouts.remember(state.memory, snap, now)
    if memory is not state.memory:
        state = replace(state, memory=memory)
    found = peers.look(
        snap,
        now,
        claimed=memory.claimed,
        unprotected=memory.unprotected,
        free_for_ms=memory.free_for_ms,
    )
    view = snap.vm.known(now, snapshot.VM_LIMIT_MS)
    scene = Scene(
        state,
        snap,
        now,
        rules=rules_of,
        weights=weights,
        peers=found,
        verdict=whereabouts.locate(memory, snap, found, now),
        engine=health.judge(view.report if view else None, snap.probes, now),
    )
    state = aftermath.learn(scene)
    if state is not scene.state:
        scene = scene.with_state(state)

    heard = _hear_of_failure(before, scene)
    if heard is not None:
        state = replace(state, seen_request=heard.number)
        scene = scene.with_state(state)
    rule = _rule(scene)
    changes: dict[str, object] = {}
    if state.phase is not rule.phase:
        changes = {"phase": rule.phase, "phase_since": now}
    if rule.stop is not None:
        stop, before_it = rule.stop(scene), state.stop
        if before_it is not None and before_it.cause is stop.cause is not StopCause.ASKED:
            stop = replace(before_it, kill=stop.kill)  # the same one, tried again
        changes["stop"] = stop
    elif state.stop is not None and rule.phase in (Phase.RUNNING, Phase.SICK, Phase.STARTING):
        changes["stop"] = None  # given up: nothing of it may be left when the next one begins
    command = None
    if rule.command is not None:
        acting = scene.with_state(replace(state, **changes)) if changes else scene  # type: ignore[arg-type]
        command = rule.command(acting)
    elif not scene.is_here and rule.phase not in rules.NO_COMMAND:
        command = _start(scene)
    if heard is None and (heard := _hear(scene, command)) is not None:
        changes["seen_request"] = heard.number
    if changes:
        lacking = scene.lacking
        scene = scene.with_state(replace(state, **changes))  # type: ignore[arg-type]
        scene.lacking = lacking
    return Decision(before, scene, rule, command, heard)


def _rule(s: Scene) -> Rule:
    for row in rules.RULES:
        if row.guard(s):
            return row
    raise AssertionError("the last row's guard holds always")


def _start(s: Scene) -> VmCommand | None:
    """safety: a start needs every condition of admission known to hold, whatever the phase says."""
    if s.verdict.place is not Place.NOWHERE or admission.lacking(s):
        return None
    if s.view is not None and s.view.report is not None:
        return CleanVdsmEntry(s.snap.vm_id)  # safety: here() made sure that it is Down
    definition = s.snap.definition.value
    return StartVm(s.snap.vm_id, definition.sha256) if definition is not None else None


def _hear_of_failure(before: State, s: Scene) -> Heard | None:
    """An operator's start ends with a first step that failed; else it would be tried without a pause."""
    command, request = s.snap.command, s.request
    if command is None or request is None or request.kind is not RequestKind.START:
        return None
    if command.kind != "CleanVdsmEntry" or command.ok or s.state.seen_command == before.seen_command:
        return None
    answer = f"VDSM did not forget the VM's last life: {command.detail}"
    return Heard(number=request.number, granted=False, answer=answer)


def _hear(s: Scene, command: VmCommand | None) -> Heard | None:
    request = s.request
    if request is None or s.busy:
        return None
    match request.kind, command:
        case RequestKind.START, CleanVdsmEntry():
            return None  # the record of its last life goes first
        case RequestKind.START, StartVm():
            return Heard(number=request.number, granted=True, answer="the VM is being started here")
        case RequestKind.SHUTDOWN, ShutdownVm():
            answer = "the guest was asked to shut down"
            return Heard(number=request.number, granted=True, answer=f"{answer}; {_AGAIN}")
        case RequestKind.POWER_OFF, DestroyVm():
            return Heard(number=request.number, granted=True, answer=f"the VM is being powered off; {_AGAIN}")
    return Heard(number=request.number, granted=False, answer=_why_not(s, request))


_AGAIN = "without global maintenance it is started again"


def _why_not(s: Scene, request: snapshot.Request) -> str:
    if request.kind is RequestKind.START:
        if s.is_here:
            return f"the VM is on this host already: {'; '.join(s.verdict.reasons)}"
        lacking = [f"{(c.__doc__ or '').strip()}: {check.detail}" for c, check in admission.lacking(s)]
        return f"a start here needs {'; '.join(lacking)}" if lacking else "this host may not start it now"
    if not s.is_here:
        where = "; ".join(s.verdict.reasons)
        return f"the VM is not on this host ({s.verdict.place.value}: {where}); ask the host that runs it"
    if s.global_maintenance is not False and not request.force:
        on = "on" if s.global_maintenance else "unknown"
        return f"global maintenance is {on}; --force does it all the same"
    return f"this host is {s.state.phase.value} and commands nothing now"


def _wants(s: Scene) -> Wants:
    phase, place = s.state.phase, s.verdict.place
    calm = phase in (Phase.FROZEN, Phase.LOCAL) or place is Place.ELSEWHERE
    if phase is Phase.RUNNING:
        calm = s.engine.good and s.state.twin is None
    paused = (
        place is Place.HERE
        and s.view is not None
        and s.view.report is not None
        and s.view.report.status is model.VmStatus.PAUSED
    )
    return Wants(
        alert=not calm,
        # busy: the act step reads them again before the command that is under way leaves
        lease_owners=not s.is_here or s.busy or s.state.twin is not None or paused,
        count_down=place in (Place.NOWHERE_SOON, Place.UNCLEAR),
        domain_monitor=_domain_monitor(s),
        watch=s.verdict.host_id if place is Place.ELSEWHERE else None,
    )


def _domain_monitor(s: Scene) -> bool | None:
    """safety: stopping the monitor kills a VM here, so only when VDSM says that there is none."""
    if s.state.phase is Phase.LOCAL:
        return False
    return None if s.local_maintenance else True


def _label(condition: Callable[[Scene], Check]) -> str:
    return (condition.__doc__ or "").strip()


def _missing(d: Decision) -> tuple[str, ...]:
    s = d.scene
    missing = tuple(
        f"{_label(condition)}: {check.detail}"
        for condition, check in admission.lacking(s)
        # in local maintenance nothing is looked at: what is unknown then is not what it waits for
        if check.holds is False or s.state.phase is not Phase.LOCAL
    )
    return (*_failing(s), *missing)


def _failing(s: Scene) -> tuple[str, ...]:
    """The evidence whose failure made the phase, while it is still young enough for every condition."""
    if s.state.phase is Phase.BLIND and s.view is not None:
        return (f"the VM's status on this host: {s.snap.vm.why_unknown(s.now)}",)
    if s.state.phase is Phase.CUT:
        for read, what in ((s.snap.slots, "the whiteboard"), (s.snap.own_slot, "this host's own slot")):
            if read.problem and read.known(s.now, snapshot.SLOT_LIMIT_MS) is not None:
                return (f"{what}: {read.problem}",)
    return ()


def _cut_by(s: Scene) -> tuple[str, ...]:
    out = []
    lease = s.snap.own_ha_lease.known(s.now, snapshot.OWN_LEASE_LIMIT_MS)
    if lease is None or not lease.held:
        why = lease.detail if lease is not None else s.snap.own_ha_lease.why_unknown(s.now)
        out.append(f"this host's id: {why}")
    if s.snap.slots.problem:
        out.append(f"the whiteboard: {s.snap.slots.problem}")
    if s.snap.own_slot.problem:
        out.append(f"this host's own slot: {s.snap.own_slot.problem}")
    return tuple(out)


def _reason(d: Decision) -> str:
    s, label = d.scene, d.rule.label
    match d.command:
        case StartVm():
            return "the VM runs nowhere and every condition for a start holds: start it here"
        case CleanVdsmEntry():
            return "the VM may start here: clear VDSM's record of its last life first"
        case ShutdownVm(why=why):
            return f"{label}: {why}; shut it down"
        case DestroyVm(why=why):
            return f"{label}: {why}; power it off"
        case None:
            pass
    if s.is_here:
        stop = f"{s.state.stop.why}; " if s.state.stop is not None else ""
        here = f"{stop}{'; '.join(s.verdict.reasons)}; engine: {s.engine.detail}"
        cut = f" ({'; '.join(_cut_by(s))})" if s.state.phase is Phase.CUT else ""
        return f"{label}{cut}: {here}"
    if s.verdict.place in (Place.ELSEWHERE, Place.NOWHERE_SOON) and d.rule.name in ("elsewhere", "soon"):
        return f"{label}: {'; '.join(s.verdict.reasons)}"
    missing = _missing(d)
    return f"{label}; a start here needs {missing[0]}" if missing else label


def _trace(d: Decision) -> tuple[Check, ...]:
    tested = []
    for row in rules.RULES:
        tested.append(Check(row.name, row is d.rule, row.label))
        if row is d.rule:
            break
    return (*tested, *(condition(d.scene) for condition in admission.CONDITIONS))


def _wake_at(s: Scene) -> MonotonicMs | None:
    state, now = s.state, s.now
    times: list[int] = []
    if s.is_here:
        if s.engine.bad_since is not None:
            times.append(s.engine.bad_since + sickness.CONFIRMED_MS)
        finding = sickness.examine(s) if state.bad_ms else None
        if finding is not None and finding.excuse is None:
            times.append(now + sickness.grace_ms(s, finding) - state.bad_ms)
        if state.stop is not None and state.stop.told_at is not None:
            times.append(state.stop.told_at + rules.SHUTDOWN_LIMIT_MS)
        if state.stop is not None and (again_at := rules.kill_again_at(state.stop)) is not None:
            times.append(again_at)
        if not state.was_good:
            times.append(state.here_since + sickness.start_limit_ms(s))
        if (move_at := sickness.network_move_at(s)) is not None:
            times.append(move_at)
    else:
        times.append(admission.pause_until(s))
        times.append(admission.settled_at(s))
        if state.phase is Phase.AWAY and state.last_end is not None:
            times.append(state.last_end.at + rules.MIGRATED_AWAY_MS)
        if s.verdict.place is Place.ELSEWHERE:
            peer = s.peers.get(s.verdict.host_id or 0)
            if peer is not None and peer.slot is not None and peer.slot.changed_at is not None:
                times.append(peer.slot.changed_at + peers.FRESH_MS + 1)
        if s.verdict.place is Place.NOWHERE:
            times.append(admission.turn_at(s))
        if s.verdict.free_at is not None:
            times.append(s.verdict.free_at)
    return MonotonicMs(min((t for t in times if t > now), default=0)) or None


def _alarms(s: Scene) -> tuple[str, ...]:
    out = []
    if s.state.twin is not None:
        out.append(
            f"host {s.state.twin} says that it runs the VM, too; it is powered off here only when that "
            "host owns its lease"
        )
    if s.state.stop is not None and s.state.stop.kills:
        out.append(f"VDSM was told {s.state.stop.kills} times to power the VM off, and it is still here")
    if s.verdict.place is Place.HERE and s.state.phase is Phase.RUNNING:
        rivals = s.field.rivals if s.able_while_running.penalties else ()
        if rivals and rivals[0].score - s.able_while_running.points >= rules.SCORE_GAP:
            out.append(
                f"host {rivals[0].host_id} would serve the VM better ({_penalties(s.able_while_running)}): "
                "migrate it from the engine; it is not stopped for that"
            )
    return tuple(out)


def _penalties(points: score.Score) -> str:
    return "; ".join(f"{p.name}: {p.reason}" for p in points.penalties)


def ranking(d: Decision) -> candidates.Field:
    """This host among those that may start the VM."""
    return d.scene.field
