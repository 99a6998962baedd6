"""Why a host does not go first, with the figures that it tells of itself, and what of them would change that.

Nothing is claimed that the rules do not say: a change is tried by making the score anew from the changed
figures, and the order of the candidates from that score. Of a host whose figures do not give the score
that it shows nothing is said: it goes by other weights, or what stands there is wrong.
"""

import bisect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from ovirt_he_agent.core import admission, aftermath, candidates, score
from ovirt_he_agent.core.candidates import Candidate
from ovirt_he_agent.core.peers import Peer
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.score import Inputs, Weights
from ovirt_he_agent.core.snapshot import PeerSlot
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.words import prospects
from ovirt_he_agent.core.words.figures import host, listed

TO_BE_STARTED = frozenset({Place.NOWHERE, Place.NOWHERE_SOON})
_WITHOUT_MEMORY_RULE = frozenset(phase.published for phase in Phase if not score.memory_counts(phase))
_COOLDOWN = Phase.COOLDOWN.published


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lift:
    """What one penalty is for, and without it. ``alone`` and ``least`` are None where that is not enough."""

    fact: str
    alone: str | None
    """What follows the fact if there is no other."""
    least: str | None
    """The smallest change that is enough, after "with"."""
    whole: str
    """The change that takes the whole penalty away, after "with"."""
    changed: dict[str, Any]
    """The same, in fields of ``Inputs``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """A host that does not go first: what its score is made of, and its place with any other figures."""

    inputs: Inputs
    weights: Weights
    memory_rule: bool
    candidate: Callable[[Inputs], Candidate]
    first: Candidate
    """The best of all others."""
    always: str
    """Why it goes not first whatever its score is; empty: nothing."""

    def is_first(self, inputs: Inputs) -> bool:
        own = self.candidate(inputs)
        return not self.always and own.score > 0 and own.order < self.first.order

    def steps(self, steps: range, change: Callable[[int], dict[str, Any]]) -> int | None:
        """The first of ``steps``, each better than the one before, that brings it first; None: none does."""

        def is_enough(step: int) -> bool:
            return self.is_first(replace(self.inputs, **change(step)))

        at = bisect.bisect_left(steps, True, key=is_enough)
        return steps[at] if at < len(steps) else None


def of(s: Scene, peer: Peer) -> str:
    """Facts, and the least that would bring another host first; empty: it goes first, or they are unknown."""
    slot = peer.slot
    if slot is None:
        return ""
    weights, inputs = s.weights, _inputs(s, slot)
    memory_rule = slot.state not in _WITHOUT_MEMORY_RULE
    if inputs is None or score.of(inputs, weights, memory_rule=memory_rule).points != slot.score:
        return ""

    field = prospects.contest(s)
    rivals = [rival for rival in field.rivals if rival.host_id != peer.host_id]
    if s.state.phase.published in candidates.MAY_START:  # as the others see this host
        rivals.append(field.own)
    able = candidates.candidate(peer._replace(slot=replace(slot, score=1)), s.state.last_runner)
    if able is None or not rivals:
        return ""

    def candidate(changed: Inputs) -> Candidate:
        return able._replace(score=score.of(changed, weights, memory_rule=memory_rule).points)

    always = ""
    if not s.is_here and admission.is_asked_for(s):
        always = "an operator asked this host to start it"
    elif s.state.favoured:
        always = "the VM's last end favours this host"
    first = min(rivals, key=lambda rival: rival.order)
    return _text(
        s,
        _Trial(
            inputs=inputs,
            weights=weights,
            memory_rule=memory_rule,
            candidate=candidate,
            first=first,
            always=always,
        ),
    )


def of_this_host(s: Scene) -> str:
    """The same of this one; empty too where it is not only its place in the order that it waits for."""
    field = s.field
    if s.verdict.place not in TO_BE_STARTED or not field.rank or admission.is_asked_for(s):
        return ""
    if aftermath.is_cooling_down(s) or prospects.lacks(s) or not _are_sane(s.weights):
        return ""

    def candidate(changed: Inputs) -> Candidate:
        return field.own._replace(
            score=score.of(changed, s.weights, memory_rule=True).points,
            others_first=s.now < s.state.others_first_until or score.lacks_memory(changed),
        )

    return _text(
        s,
        _Trial(
            inputs=s.inputs,
            weights=s.weights,
            memory_rule=True,
            candidate=candidate,
            first=field.rivals[0],
            always="",
        ),
    )


def why_unable(peer: Peer) -> str | None:
    """``candidates.why_not``, with what the host tells of its failed starts while it cools down."""
    reason = candidates.why_not(peer)
    if reason is None or peer.slot is None or peer.slot.state != _COOLDOWN:
        return reason
    starts = peer.slot.figures.failed_starts
    return f"{reason} ({_failed_starts(starts)})" if starts else reason


def _are_sane(weights: Weights) -> bool:
    """Worse figures cost more: then what is enough can be named by one figure."""
    least = min(getattr(weights, field.name) for field in fields(weights))
    return least >= 0 and weights.cpu_load_penalty_min <= weights.cpu_load_penalty_max


def _inputs(s: Scene, slot: PeerSlot) -> Inputs | None:
    """None: it does not tell them, or makes a score of them by other weights than this host."""
    told = slot.figures
    if not slot.ours or slot.conf_on_shared_storage is None or told.failed_starts is None:
        return None
    if not _are_sane(s.weights) or slot.policy_hash != score.policy_hash(s.weights):
        return None
    return Inputs(
        config_up_to_date=slot.conf_on_shared_storage,
        network=told.network,
        bridge_up=told.bridge_up,
        cpu_load=told.cpu_load,
        memory_free_mib=told.memory_free_mib,
        memory_needed_mib=told.memory_needed_mib,
        failed_starts=told.failed_starts,
    )


def _text(s: Scene, trial: _Trial) -> str:
    if not trial.always and trial.is_first(trial.inputs):
        return ""
    lifts = tuple(_lifts(trial))
    if not lifts:
        return ""
    facts = listed(lift.fact for lift in lifts)
    if len(lifts) == 1 and lifts[0].alone is not None:
        return f"{facts}; {lifts[0].alone}"
    least = [lift.least for lift in lifts if lift.least is not None]
    if least:
        return f"{facts}; with {' or '.join(least)} it would go first"
    needed = _smallest(trial, lifts)
    if needed:
        return f"{facts}; with {listed(lift.whole for lift in needed)} it would go first"
    lifted = trial.candidate(_changed(trial.inputs, lifts))
    reason = trial.always or _still_after(s, lifted, trial.first)
    changes = listed(lift.whole for lift in lifts)
    return (
        f"{facts}; with {changes} it would have {lifted.score} points and not go first all the same: {reason}"
    )


def _smallest(trial: _Trial, lifts: tuple[_Lift, ...]) -> tuple[_Lift, ...]:
    """Those that bring it first together, none of which can be left out; empty: all are not enough."""
    kept = lifts
    if not trial.is_first(_changed(trial.inputs, kept)):
        return ()
    for lift in lifts:
        without = tuple(other for other in kept if other is not lift)
        if trial.is_first(_changed(trial.inputs, without)):
            kept = without
    return kept


def _changed(inputs: Inputs, lifts: tuple[_Lift, ...]) -> Inputs:
    for lift in lifts:
        inputs = replace(inputs, **lift.changed)
    return inputs


def _still_after(s: Scene, own: Candidate, first: Candidate) -> str:
    named = "this host" if first.host_id == s.snap.host_id else host(s, first.host_id)
    if own.score <= 0:
        return "a host without points is not chosen"
    if own.others_first and not first.others_first:
        return "it lets others go first"
    if own.score != first.score:
        return f"{named} has {first.score}"
    if own.ran_last != first.ran_last:
        return f"{named} has as many and ran the VM last"
    return f"{named} has as many and the lower id"


# One for each rule of the score


def _lifts(trial: _Trial) -> Iterator[_Lift]:
    found = score.of(trial.inputs, trial.weights, memory_rule=trial.memory_rule)
    for penalty in found.penalties:
        yield _LIFTS[penalty.name](trial, f"{penalty.points} points")


def _by_state(trial: _Trial, fact: str, change: str, **changed: Any) -> _Lift:
    """For what is so or is not."""
    is_enough = trial.is_first(replace(trial.inputs, **changed))
    return _Lift(
        fact=fact,
        alone=f"with {change} it would go first" if is_enough else None,
        least=change if is_enough else None,
        whole=change,
        changed=changed,
    )


def _configuration(trial: _Trial, points: str) -> _Lift:
    fact = f"hosted-engine.conf that is not up to date costs {points}"
    return _by_state(trial, fact, "one that is", config_up_to_date=True)


def _bridge(trial: _Trial, points: str) -> _Lift:
    return _by_state(trial, f"bridge down costs {points}", "the bridge up", bridge_up=True)


def _memory(trial: _Trial, points: str) -> _Lift:
    free, needed = trial.inputs.memory_free_mib, trial.inputs.memory_needed_mib or 0
    if free is None:
        fact, change = f"free memory unknown, {needed} MiB needed", f"{needed} MiB known to be free"
        return _by_state(trial, fact, change, memory_free_mib=needed)
    lift = _by_state(
        trial,
        f"free memory {free} MiB < {needed} MiB",
        f"{needed - free} MiB more free memory",
        memory_free_mib=needed,
    )
    return replace(lift, alone=f"with {needed - free} MiB more it would be") if lift.alone else lift


def _network(trial: _Trial, points: str) -> _Lift:
    fact = f"network {_percent(trial.inputs.network or 0.0)} costs {points}"
    whole = _by_state(trial, fact, "a network of 100 %", network=1.0)
    if whole.alone is None:
        return whole
    percent = trial.steps(range(1, 100), lambda percent: {"network": percent / 100})
    if percent is None:
        return whole
    return replace(
        whole,
        alone=f"from {percent} % on it would go first",
        least=f"a network of at least {percent} %",
    )


def _cpu_load(trial: _Trial, points: str) -> _Lift:
    fact = f"CPU load {_percent(trial.inputs.cpu_load or 0.0)} costs {points}"
    free = trial.weights.cpu_load_penalty_min
    change = f"a CPU load below {_percent(free)}" if free else "no CPU load"
    whole = _by_state(trial, fact, change, cpu_load=math.nextafter(free, 0.0))
    if whole.alone is None:
        return whole
    percent = trial.steps(range(100, 0, -1), lambda percent: {"cpu_load": math.nextafter(percent / 100, 0.0)})
    if percent is None:
        return whole
    return replace(
        whole,
        alone=f"below {percent} % it would go first",
        least=f"a CPU load below {percent} %",
    )


def _retries(trial: _Trial, points: str) -> _Lift:
    starts = trial.inputs.failed_starts
    fact = f"{_failed_starts(starts)} cost{'s' if starts == 1 else ''} {points}"
    whole = _by_state(trial, fact, "no failed start", failed_starts=0)
    if whole.alone is None:
        return whole
    most = min(starts, score.MAX_FAILED_STARTS + 1) - 1
    fewer = trial.steps(range(most, 0, -1), lambda fewer: {"failed_starts": fewer})
    if fewer is None:
        return replace(whole, alone="with none it would go first")
    return replace(
        whole,
        alone=f"with at most {fewer} it would go first",
        least=f"at most {_failed_starts(fewer)}",
    )


def _failed_starts(count: int) -> str:
    plural = "" if count == 1 else "s"
    return f"{count} failed start{plural} within {score.FAILED_STARTS_WINDOW_S} s"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


_LIFTS: dict[str, Callable[[_Trial, str], _Lift]] = {
    "configuration": _configuration,
    "network": _network,
    "bridge": _bridge,
    "cpu load": _cpu_load,
    "memory": _memory,
    "failed starts": _retries,
}
