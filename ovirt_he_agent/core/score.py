"""The score that this host shows: a base and named penalties; their difference is published, never below 0.

The rules, their order and their numbers are upstream's (he-ha: agent/states.py,
agent/constants.py.in): hosts of both kinds compare their scores.
"""

import hashlib
from dataclasses import dataclass, fields

from ovirt_he_agent.core.state import Phase

MAX_FAILED_STARTS = 3
"""With more than these in the window the score is 0."""
FAILED_STARTS_WINDOW_S = 600
"""How long a failed start counts, from its end on."""

_WORTHLESS = {
    Phase.INIT: "evidence is not complete",
    Phase.LOCAL: "local maintenance",
    Phase.COOLDOWN: "repeated failed starts",
    Phase.CUT: "cut off from the cluster",
    Phase.LEAVING: "the agent is stopping",
}
_MEMORY_IS_TAKEN = frozenset({Phase.RUNNING, Phase.SICK, Phase.FROZEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """``[score]`` of agent.conf, where these names have hyphens; all hosts of a cluster need the same.

    Points, but ``cpu_load_penalty_min`` and ``_max``: shares of the CPU time, between which load costs more
    and more.
    """

    base_score: int = 3400
    network_score_penalty: int = 1600
    not_uptodate_config_penalty: int = 1000
    mgmt_bridge_score_penalty: int = 600
    free_memory_score_penalty: int = 400
    cpu_load_score_penalty: int = 1000
    engine_retry_score_penalty: int = 50
    cpu_load_penalty_min: float = 0.4
    cpu_load_penalty_max: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the score is made of. None: unknown, and counts as each field says."""

    config_up_to_date: bool
    """hosted-engine.conf names the configuration archive and no pool."""
    network: float | None
    """Share of the probes that were answered. Unknown: 1.0."""
    bridge_up: bool | None
    """The management network's bridge. Unknown: up."""
    cpu_load: float | None
    """Share of all CPU time, without the engine VM's, averaged. Unknown: 0.0."""
    memory_free_mib: int | None
    """Unknown: 0."""
    memory_needed_mib: int | None
    """The engine VM's. Unknown: the rule is not applied."""
    failed_starts: int
    """Within ``FAILED_STARTS_WINDOW_S``."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """``reason`` is for people and has the figures."""

    name: str
    points: int
    reason: str


@dataclass(frozen=True, slots=True)
class Score:
    """``points`` is ``base`` less the penalties, at least 0; ``penalties`` are in the order of the rules."""

    points: int
    base: int
    penalties: tuple[Penalty, ...]


def of(inputs: Inputs, weights: Weights, *, memory_rule: bool, worthless: str | None = None) -> Score:
    """The score of a host.

    ``memory_rule``: free memory counts (``memory_counts``). ``worthless``: why the host shows 0 whatever its
    resources are (``worthless_in``); that is then the only penalty.
    """
    base = weights.base_score
    if worthless is not None:
        return Score(0, base, (Penalty("state", base, worthless),))
    found = []
    if not inputs.config_up_to_date and weights.not_uptodate_config_penalty:
        reason = "hosted-engine.conf names no configuration archive, or a storage pool"
        found.append(Penalty("configuration", weights.not_uptodate_config_penalty, reason))
    network = inputs.network
    if network is not None and network < 1.0 and (points := _of_network(network, weights)):
        found.append(Penalty("network", points, f"{1.0 - network:.0%} of the network probes failed"))
    if inputs.bridge_up is False and weights.mgmt_bridge_score_penalty:
        reason = "the management network's bridge is not up"
        found.append(Penalty("bridge", weights.mgmt_bridge_score_penalty, reason))
    if points := _of_load(inputs.cpu_load or 0.0, weights):
        found.append(Penalty("cpu load", points, _load_reason(inputs.cpu_load, weights)))
    if memory_rule and lacks_memory(inputs) and weights.free_memory_score_penalty:
        found.append(Penalty("memory", weights.free_memory_score_penalty, _memory_reason(inputs)))
    left = base - sum(penalty.points for penalty in found)
    if (starts := inputs.failed_starts) > MAX_FAILED_STARTS:
        reason = f"{starts} within {FAILED_STARTS_WINDOW_S} s, more than {MAX_FAILED_STARTS}"
        found.append(Penalty("failed starts", max(0, left), reason))
        left = 0
    elif starts > 0 and (points := weights.engine_retry_score_penalty * starts):
        found.append(Penalty("failed starts", points, f"{starts} within {FAILED_STARTS_WINDOW_S} s"))
        left -= points
    return Score(max(0, left), base, tuple(found))


def _of_network(network: float, weights: Weights) -> int:
    return int((1.0 - network) * weights.network_score_penalty)


def _of_load(load: float, weights: Weights) -> int:
    low, high, most = (
        weights.cpu_load_penalty_min,
        weights.cpu_load_penalty_max,
        weights.cpu_load_score_penalty,
    )
    if most <= 0:
        return 0
    if low == high:
        return 0 if load < low else most
    share = (load - low) / (high - low) * most
    return int(max(0.0, min(most, share)))  # the share is infinite where the range is next to nothing


def _load_reason(load: float | None, weights: Weights) -> str:
    shown = "the CPU load is unknown and counts as 0 %" if load is None else f"a CPU load of {load:.1%}"
    low, high = weights.cpu_load_penalty_min, weights.cpu_load_penalty_max
    return f"{shown} beside the engine VM; it costs from {low:.0%} on, all at {high:.0%}"


def lacks_memory(inputs: Inputs) -> bool:
    """The VM needs more than is free, or than is known to be."""
    return inputs.memory_needed_mib is not None and (inputs.memory_free_mib or 0) < inputs.memory_needed_mib


def _memory_reason(inputs: Inputs) -> str:
    free = inputs.memory_free_mib
    shown = "free memory is unknown and counts as 0 MiB" if free is None else f"{free} MiB are free"
    return f"{shown}, the engine VM needs {inputs.memory_needed_mib} MiB"


def shortage_mib(inputs: Inputs) -> int | None:
    """With so much more free memory there were no penalty for it; None: unknown, or there is enough."""
    if inputs.memory_free_mib is None or inputs.memory_needed_mib is None or not lacks_memory(inputs):
        return None
    return inputs.memory_needed_mib - inputs.memory_free_mib


def policy_hash(weights: Weights) -> str:
    """Eight hexadecimal digits: hosts with the same weights, and only they, show the same."""
    kinds = {field.name: float if field.type is float else int for field in fields(weights)}
    text = "\n".join(f"{name}={kinds[name](getattr(weights, name))!r}" for name in sorted(kinds))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def worthless_in(phase: Phase) -> str | None:
    """Why a host in ``phase`` shows 0: it may not run the VM, and today's daemons expect that."""
    return _WORTHLESS.get(phase)


def memory_counts(phase: Phase) -> bool:
    """Free memory says nothing where the VM has taken it already, nor while nobody may start it."""
    return phase not in _MEMORY_IS_TAKEN


def of_phase(phase: Phase) -> Score:
    """The score of a host in ``phase`` that has all it needs."""
    return of(_ALL_GOOD, Weights(), memory_rule=False, worthless=worthless_in(phase))


_ALL_GOOD = Inputs(
    config_up_to_date=True,
    network=1.0,
    bridge_up=True,
    cpu_load=0.0,
    memory_free_mib=None,
    memory_needed_mib=None,
    failed_starts=0,
)
