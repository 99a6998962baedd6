"""What would change the decision: single changes of the evidence, each tried by deciding again.

Nothing is claimed that ``decide`` did not answer: a change stands here only if the VM would be started, or
sooner, with it. Where no single one is enough, all that are needed together are named.
"""

from collections.abc import Iterator
from dataclasses import replace

from ovirt_he_agent.core import admission, aftermath, decision, rules, score, sickness
from ovirt_he_agent.core.commands import CleanVdsmEntry, StartVm
from ovirt_he_agent.core.decision import Decision
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.snapshot import Evidence, Snapshot
from ovirt_he_agent.core.state import State
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.words import neighbours, not_chosen, obstacles, prospects, tested
from ovirt_he_agent.core.words.figures import host, left, sentence
from ovirt_he_agent.core.words.obstacles import Change


def what_would_change(d: Decision) -> tuple[str, ...]:
    """The smallest changes that would make this host start the VM, or no longer start it, or stop it."""
    if isinstance(d.command, StartVm | CleanVdsmEntry):
        return tuple(_not_chosen(d))
    return tuple(_stopped(d.scene)) if d.scene.is_here else (*_started(d), *_others(_figures(d.scene)))


# The VM is not here: what would start it


def _started(d: Decision) -> Iterator[str]:
    s = tested.scene_of(d)
    wait_ms = _start_in(s, s.snap, s.state)
    if wait_ms is not None:
        yield sentence(f"if nothing changes, this host starts the VM in {left(wait_ms)}")
    changes = (*obstacles.all_of(s), *_ahead(s))
    enough = False
    for change in changes:
        sooner_ms = _start_in(s, *change.make(s.snap, s.state))
        if sooner_ms is not None and (wait_ms is None or sooner_ms < wait_ms):
            enough = True
            when = "at once" if sooner_ms == 0 else f"in {left(sooner_ms)}"
            yield sentence(f"if {change.clause}, this host would start the VM {when}")
    if enough or wait_ms is not None:
        return
    needed = _smallest(s, changes)
    if needed:
        clauses = "; ".join(change.clause for change in needed)
        yield sentence(f"this host would start the VM only if all of this came true: {clauses}")


def _smallest(s: Scene, changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Changes that together lead to a start, none of which can be left out; empty: there are none."""
    kept = changes
    if _start_in(s, *_all_made(s, kept)) is None:
        return ()
    for change in changes:
        without = tuple(c for c in kept if c is not change)
        if _start_in(s, *_all_made(s, without)) is not None:
            kept = without
    return kept


def _all_made(s: Scene, changes: tuple[Change, ...]) -> tuple[Snapshot, State]:
    snap, state = s.snap, s.state
    for change in changes:
        snap, state = change.make(snap, state)
    return snap, state


def _start_in(s: Scene, snap: Snapshot, state: State) -> int | None:
    """Milliseconds until this host would start the VM if time alone went on; None: it would not."""
    d = decision.decide(state, snap, s.now, rules_of=s.rules, weights=s.weights)
    if isinstance(d.command, StartVm | CleanVdsmEntry):
        return 0
    if d.scene.is_here or d.scene.busy or d.phase in rules.NO_COMMAND:
        return None
    if aftermath.is_cooling_down(d.scene) and d.scene.field.rivals:
        return None
    if any(condition not in admission.WAITS for condition, _ in admission.lacking(d.scene)):
        return None
    return max(1, prospects.start_at(d.scene) - s.now)


def _ahead(s: Scene) -> Iterator[Change]:
    """What would bring this host before a better one: its own penalties, the other's points."""
    yield from _penalties(s)
    own = s.field.own
    for rival in s.field.rivals[: s.field.rank]:
        needed = neighbours.score_needed(own, rival)
        if needed:
            clause = f"{host(s, rival.host_id)} had at most {needed - 1} points (it has {rival.score})"
            yield _with_score(clause, rival.host_id, needed - 1)


def _with_score(clause: str, host_id: int, points: int) -> Change:
    def make(snap: Snapshot, state: State) -> tuple[Snapshot, State]:
        slots = dict(snap.slots.value or {})
        slots[host_id] = replace(slots[host_id], score=points)
        return replace(snap, slots=replace(snap.slots, value=slots)), state

    return Change(clause, make)


def _penalties(s: Scene) -> Iterator[Change]:
    """For each penalty here that can be lifted: by how much, so that this host goes first."""
    now, inputs = s.now, s.inputs
    if not s.field.rank:
        return
    short_mib = score.shortage_mib(inputs)
    needed_mib = inputs.memory_needed_mib
    if short_mib is not None and needed_mib is not None:
        clause = f"{short_mib} MiB more memory were free here ({inputs.memory_free_mib} MiB are)"
        yield _fact(clause, memory_free_mib=Evidence(needed_mib, now))
    elif needed_mib is not None and inputs.memory_free_mib is None:
        clause = f"{needed_mib} MiB of memory were known to be free here"
        yield _fact(clause, memory_free_mib=Evidence(needed_mib, now))
    if inputs.network is not None and inputs.network < 1.0:
        for percent in range(int(inputs.network * 100) + 1, 101):
            if percent == 100 or _is_first(s, replace(inputs, network=percent / 100)):
                clause = f"{percent} % of the network probes succeeded here ({inputs.network:.0%} do)"
                yield _fact(clause, network=Evidence(percent / 100, now))
                break
    if inputs.cpu_load:
        for percent in range(int(inputs.cpu_load * 100), -1, -1):
            if percent == 0 or _is_first(s, replace(inputs, cpu_load=percent / 100)):
                clause = f"the CPU load here were {percent} % ({inputs.cpu_load:.0%} now)"
                yield _fact(clause, cpu_load=Evidence(percent / 100, now))
                break
    if inputs.bridge_up is False:
        yield _fact("the management network's bridge were up here", bridge_up=Evidence(True, now))
    if not inputs.config_up_to_date:
        yield _fact("hosted-engine.conf named a configuration archive and no pool", config_up_to_date=True)


def _fact(clause: str, **facts: object) -> Change:
    return Change(clause, lambda snap, state: (replace(snap, **facts), state))  # type: ignore[arg-type]


def _is_first(s: Scene, inputs: score.Inputs) -> bool:
    points = score.of(inputs, s.weights, memory_rule=True).points
    own = s.field.own._replace(score=points)
    return all(own.order < rival.order for rival in s.field.rivals)


# The VM is being started here: what would bring another host first


def _not_chosen(d: Decision) -> Iterator[str]:
    s = d.scene
    field = s.field
    is_asked_for = admission.is_asked_for(tested.scene_of(d))  # then nobody's turn counts
    figures = {} if is_asked_for else _figures(s)
    for rival in field.rivals if not is_asked_for else ():
        if rival.order < field.own.order or rival.host_id in figures:
            continue
        needed = neighbours.score_needed(field.own, rival)
        if needed is not None:
            yield sentence(
                f"with {needed - rival.score} points more, {needed} in place of {rival.score}, "
                f"{host(s, rival.host_id)} would go first"
            )
    for host_id in sorted(s.peers):
        peer = s.peers[host_id]
        reason = not_chosen.why_unable(peer)
        if reason is not None and host_id not in figures:
            yield sentence(
                f"{host(s, host_id)} could go first only if it were able to start the VM: {reason}"
            )
    yield from _others(figures)
    if s.global_maintenance is False:
        yield sentence("global maintenance would keep every host from starting it")


def _figures(s: Scene) -> dict[int, str]:
    """Of each other host whose own figures keep it from going first: which, while the VM is to be started."""
    if s.verdict.place not in not_chosen.TO_BE_STARTED:
        return {}
    found = ((host_id, not_chosen.of(s, s.peers[host_id])) for host_id in sorted(s.peers))
    return {host_id: text for host_id, text in found if text}


def _others(figures: dict[int, str]) -> Iterator[str]:
    for host_id, text in figures.items():
        yield sentence(f"host {host_id} was not chosen: {text}")


# The VM is here: what would stop it


def _stopped(s: Scene) -> Iterator[str]:
    if s.global_maintenance is not False:
        yield sentence(
            "while global maintenance is on or unknown, only an operator's "
            "`ovirt-he-agent vm shutdown --force` or `vm poweroff --force` stops the VM here"
        )
        return
    if s.local_maintenance is not False:
        yield sentence(
            "while local maintenance is on or unknown, the VM is stopped here only if an operator asks for it"
        )
        return
    if s.state.stop is not None:
        yield sentence(
            "the stop would be given up if maintenance began"
            + ("" if s.state.stop.kills else ", or if its engine were seen good twice while the VM is up")
        )
        return
    if s.verdict.place is not Place.HERE:
        return
    grace = s.grace
    after = [
        (grace.no_answer_ms, "the engine's page did not answer"),
        (grace.db_down_ms, "the engine's page said that the database is down"),
    ]
    report = s.view.report if s.view is not None else None
    if report is not None and report.guest_agent_alive is not None:
        after.append((grace.guest_dead_ms, "the engine's page did not answer and the guest agent were gone"))
    if s.state.was_good:
        for grace_ms, what in after:
            yield sentence(
                f"if {what} for {left(grace_ms + sickness.CONFIRMED_MS)}, and no other host saw it good, "
                "the VM would be stopped here"
            )
    if s.rules.move_when_network_lost:
        yield sentence(
            f"if this host lost its network for {left(s.rules.network_lost_ms)}, and another host had "
            f"{rules.SCORE_GAP} points more and nobody saw the engine, the VM would be stopped here"
        )
    yield sentence("a better score elsewhere alone does not stop it: that is a reason to migrate, no more")
