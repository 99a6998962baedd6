"""The one place that decides: ``decide(state, snapshot, now) -> Decision``. Total, pure, deterministic.

Rules are rows: the first whose guard holds says the phase. A command is given
only where every condition of ``admission`` holds. A guard's docstring is its
label. These are one host's rules: ranking between hosts is not here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ovirt_he_agent.core import admission, aftermath, health, model, snapshot, whereabouts
from ovirt_he_agent.core.admission import Check, Scene
from ovirt_he_agent.core.state import End, Phase, State
from ovirt_he_agent.core.whereabouts import Place

SICK_AFTER_MS = 15_000
STORAGE_FAILING_MS = 20_000
VDSM_GONE_MS = 5_000
MIGRATED_AWAY_MS = 40_000
COOLDOWN_FAILURES = 3


@dataclass(frozen=True, slots=True)
class StartVm:
    """Start the engine VM by its UUID with the definition of this hash."""

    vm_id: str
    definition_sha256: str


@dataclass(frozen=True, slots=True)
class CleanVdsmEntry:
    """Let VDSM forget the VM's Down record; touches nothing that runs."""

    vm_id: str


VmCommand = StartVm | CleanVdsmEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    state: State
    verdict: whereabouts.Verdict
    command: VmCommand | None
    reason: str
    """One sentence: why this phase, and why no command if there is none."""
    waits_for: tuple[str, ...]
    """What has to change before the VM may start here; empty while it runs or is being started."""
    trace: tuple[Check, ...]
    wake_at: model.MonotonicMs | None
    """Decide again at this time even without news."""


# Phases: what a host may be doing. The order of the rows is the order of what matters more.


def _evidence_is_coming(s: Scene) -> bool:
    """just started: the first evidence is still being gathered"""
    first = (s.snap.vm, s.snap.domain, s.snap.own_ha_lease, s.snap.slots, s.snap.local_maintenance)
    if any(read.problem for read in first):
        return False
    return not s.state.has_joined or any(read.at is None for read in first)


def _cut_off(s: Scene) -> bool:
    """not in local maintenance, and our host id or the storage was lost"""
    if s.snap.local_maintenance.known(s.now, snapshot.LOCAL_FILE_LIMIT_MS):
        return False
    lease = s.snap.own_ha_lease.known(s.now, snapshot.OWN_LEASE_LIMIT_MS)
    storage = s.snap.slots
    failing = storage.problem is not None and storage.known(s.now, STORAGE_FAILING_MS) is None
    return lease is None or not lease.held or failing


def _frozen(s: Scene) -> bool:
    """global maintenance is on, or unknown after it was on"""
    on = s.snap.global_maintenance.known(s.now, snapshot.GLOBAL_FLAGS_LIMIT_MS)
    return on is True or (on is None and s.state.global_was_on)


def _blind(s: Scene) -> bool:
    """the VM's status on this host is unknown"""
    read = s.snap.vm
    failing = read.problem is not None and read.known(s.now, VDSM_GONE_MS) is None
    return failing or read.known(s.now, snapshot.VM_LIMIT_MS) is None


def _local_without_vm(s: Scene) -> bool:
    """local maintenance is on and the VM is not here"""
    on = s.snap.local_maintenance.known(s.now, snapshot.LOCAL_FILE_LIMIT_MS)
    view = s.snap.vm.known(s.now, snapshot.VM_LIMIT_MS)
    return on is True and view is not None and whereabouts.here(view) is None


def _here(s: Scene) -> bool:
    """the VM is on this host"""
    return s.verdict.place in (Place.HERE, Place.HERE_PENDING, Place.INCOMING, Place.OUTGOING)


def _starting(s: Scene) -> bool:
    """the VM is here and its engine has not been good in this life"""
    return _here(s) and not s.state.was_good


def _sick(s: Scene) -> bool:
    """the VM is here and its engine has not been good for 15 s"""
    return _here(s) and s.engine.bad_for_ms(s.now) >= SICK_AFTER_MS


def _migrated_away(s: Scene) -> bool:
    """the VM migrated away from here and has not shown up elsewhere"""
    view = s.snap.vm.known(s.now, snapshot.VM_LIMIT_MS)
    return (
        view is not None
        and view.report is not None
        and view.report.exit_reason is model.ExitReason.MIGRATION_SUCCEEDED
        and s.verdict.place is not Place.ELSEWHERE
        and s.state.last_end is not None
        and s.now - s.state.last_end.at < MIGRATED_AWAY_MS
    )


def _cooling_down(s: Scene) -> bool:
    """three starts failed within ten minutes and the next pause is not over"""
    failures = [a for a in s.state.attempts if a.end is End.START_FAILED]
    return len(failures) >= COOLDOWN_FAILURES and s.now < s.state.not_before


def _otherwise(s: Scene) -> bool:
    """the VM is not here"""
    return True


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    guard: Callable[[Scene], bool]
    phase: Phase


RULES: tuple[Rule, ...] = (
    Rule("local-without-vm", _local_without_vm, Phase.LOCAL),
    Rule("evidence-is-coming", _evidence_is_coming, Phase.INIT),
    Rule("cut-off", _cut_off, Phase.CUT),
    Rule("frozen", _frozen, Phase.FROZEN),
    Rule("blind", _blind, Phase.BLIND),
    Rule("starting", _starting, Phase.STARTING),
    Rule("sick", _sick, Phase.SICK),
    Rule("here", _here, Phase.RUNNING),
    Rule("migrated-away", _migrated_away, Phase.AWAY),
    Rule("cooling-down", _cooling_down, Phase.COOLDOWN),
    Rule("otherwise", _otherwise, Phase.STANDBY),
)

_NO_START = {Phase.INIT, Phase.CUT, Phase.FROZEN, Phase.BLIND, Phase.LOCAL, Phase.AWAY}


def decide(state: State, snap: snapshot.Snapshot, now: model.MonotonicMs) -> Decision:
    """What to be and what to do, from ``state`` and the evidence; a call without news changes nothing."""
    state = replace(state, memory=whereabouts.remember(state.memory, snap, now))
    verdict = whereabouts.locate(state.memory, snap, now)
    view = snap.vm.known(now, snapshot.VM_LIMIT_MS)
    engine = health.judge(view.report if view else None, snap.probes)
    state = aftermath.learn(Scene(state, snap, now, verdict, engine))
    scene = Scene(state, snap, now, verdict, engine)

    trace = []
    rule = RULES[-1]
    for row in RULES:
        holds = row.guard(scene)
        trace.append(Check(row.name, holds, (row.guard.__doc__ or "").strip()))
        if holds:
            rule = row
            break
    checks = tuple(condition(scene) for condition in admission.CONDITIONS)
    trace.extend(checks)
    if state.phase is not rule.phase:
        state = replace(state, phase=rule.phase, phase_since=now)

    command: VmCommand | None = None
    running = _here(scene)
    lacking = [
        (condition, check)
        for condition, check in zip(admission.CONDITIONS, checks, strict=True)
        if not check.holds
    ]
    # safety: a start needs every condition of admission known to hold, whatever the phase says
    if not lacking and rule.phase not in _NO_START and not running:
        if view is not None and view.report is not None:
            command = CleanVdsmEntry(snap.vm_id)  # safety: here() made sure that it is Down
        elif snap.definition.value is not None:
            command = StartVm(snap.vm_id, snap.definition.value.sha256)
    missing = tuple(
        f"{(condition.__doc__ or '').strip()}: {check.detail}"
        for condition, check in lacking
        # in local maintenance nothing is looked at: what is unknown then is not what it waits for
        if check.holds is False or rule.phase is not Phase.LOCAL
    )
    missing = (*_failing(scene, rule), *missing)
    return Decision(
        state=state,
        verdict=verdict,
        command=command,
        reason=_reason(scene, rule, command, missing),
        waits_for=() if running or command else missing,
        trace=tuple(trace),
        wake_at=_wake_at(scene),
    )


def _failing(s: Scene, rule: Rule) -> tuple[str, ...]:
    """The evidence whose failure made the phase, while it is still young enough for every condition."""
    if rule.phase is Phase.BLIND and s.snap.vm.known(s.now, snapshot.VM_LIMIT_MS) is not None:
        return (f"the VM's status on this host: {s.snap.vm.why_unknown(s.now)}",)
    slots = s.snap.slots
    if rule.phase is Phase.CUT and slots.problem and slots.known(s.now, snapshot.SLOT_LIMIT_MS) is not None:
        return (f"the whiteboard: {slots.problem}",)
    return ()


def _reason(s: Scene, rule: Rule, command: VmCommand | None, missing: tuple[str, ...]) -> str:
    label = (rule.guard.__doc__ or "").strip()
    match command:
        case StartVm():
            return "the VM runs nowhere and every condition for a start holds: start it here"
        case CleanVdsmEntry():
            return "the VM may start here: clear VDSM's record of its last life first"
        case None:
            pass
    if _here(s):
        return f"{label}: {'; '.join(s.verdict.reasons)}; engine: {s.engine.detail}"
    return f"{label}; a start here needs {missing[0]}" if missing else label


def _wake_at(s: Scene) -> model.MonotonicMs | None:
    times = [admission.pause_until(s)]
    if s.engine.bad_since is not None:
        times.append(model.MonotonicMs(s.engine.bad_since + SICK_AFTER_MS))
    return min((t for t in times if t > s.now), default=None)
