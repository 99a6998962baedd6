"""What a state of the old agent knows: liveness, ranking, history, retry counter, score.

Pure. Facts: he-ha's agent/state_machine.py and state_data.py, the score is its
states.py. Times are integer seconds of the host's monotonic clock.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ovirt_he_agent.sim.cluster.upstream.slots import Record, Status, Uncaught, rank

HOST_ALIVE_S = 60
RETRIES = 3
BAD_HEALTH_S = 300
STARTING_S = 600
AWAY_S = 40
UNEXPECTED_S = 560
HISTORY_S = 900
LOOP_S = 10
RESTART_THRESHOLD = 800
"""A host that is so much better gets the VM."""

BASE_POINTS = 3400
NETWORK_POINTS = 1600
BRIDGE_POINTS = 600
CPU_POINTS = 1000
MEMORY_POINTS = 400
RETRY_POINTS = 50
CPU_LOAD_MIN = 0.4
CPU_LOAD_MAX = 0.9


class State(enum.StrEnum):
    """Upstream's class names: people, scripts and the slot's lines have them."""

    START_STATE = "StartState"
    REINITIALIZE = "ReinitializeFSM"
    GLOBAL = "GlobalMaintenance"
    LOCAL = "LocalMaintenance"
    UNKNOWN = "UnknownLocalVmState"
    DOWN = "EngineDown"
    START = "EngineStart"
    STARTING = "EngineStarting"
    UP = "EngineUp"
    BAD_HEALTH = "EngineUpBadHealth"
    STOP = "EngineStop"
    FORCE_STOP = "EngineForceStop"
    MAYBE_AWAY = "EngineMaybeAway"
    UNEXPECTED = "EngineUnexpectedlyDown"
    STOPPED = "AgentStopped"


class Action(enum.StrEnum):
    START_VM = "start the VM"
    STOP_VM = "shut the VM down"
    FORCE_STOP_VM = "destroy the VM"


TIMERS = {
    State.STARTING: STARTING_S,
    State.BAD_HEALTH: BAD_HEALTH_S,
    State.STOP: BAD_HEALTH_S,
    State.MAYBE_AWAY: AWAY_S,
    State.UNEXPECTED: UNEXPECTED_S,
}
"""Started by the first step that stays in the state, not by entering it."""

SHOWN_TIMERS = {State.BAD_HEALTH, State.STOP, State.UNEXPECTED}
"""Their end stands in the slot's lines."""

_WORTHLESS = {State.START_STATE, State.REINITIALIZE, State.LOCAL, State.UNEXPECTED, State.STOPPED}
_MEMORY_DOES_NOT_COUNT = {State.UP, State.BAD_HEALTH, State.GLOBAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """What the host's own monitors say; None: no value yet, or none to be had."""

    status: Status | None
    network: float
    bridge: bool
    memory_free_mib: float | None
    cpu_load: float | None
    maintenance: bool
    memory_needed_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Everything that one refresh has gathered."""

    start_s: int
    finish_s: int
    global_maintenance: bool
    hosts: Mapping[int, Record | None]
    """In the order of the broker's answer, which settles ties; None: an empty record."""
    local: Local


Snapshot = tuple[int, int, float | None, Mapping[int, Record | None]]
"""What the history needs of a refresh: start and finish, CPU load, the hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What a state knows. ``now`` is None before the first refresh."""

    host_id: int
    now: Collected | None = None
    history: tuple[Snapshot, ...] = ()
    """Newest first."""
    busy_s: int | None = None
    """Start of the last refresh that saw a CPU load which costs points."""
    timeout_start_s: int | None = None
    retry_count: int = 0
    retry_s: int | None = None
    best_status: Status | None = None
    best_host_id: int | None = None
    best_score: Record | None = None
    """The alive other host with the highest score, if that is more than 0."""
    alive: tuple[int, ...] = ()

    @property
    def collected(self) -> Collected:
        if self.now is None:
            raise Uncaught("nothing was ever collected")
        return self.now

    @property
    def vm(self) -> str:
        status = self.collected.local.status
        if status is None:
            raise Uncaught("the engine's health has no value yet")
        return status["vm"]

    def status(self, key: str) -> str:
        status = self.collected.local.status
        return "" if status is None else status.get(key, "")


@dataclass(frozen=True, slots=True)
class Standing:
    """A state with what it knew when it was entered; its score is fixed then."""

    state: State
    data: Data
    score: int


def begin(host_id: int) -> Standing:
    return Standing(State.START_STATE, Data(host_id=host_id), 0)


# --- refresh


def is_fresh(data: Data, start_s: int) -> bool:
    """Nothing is collected in the same second again: the step then runs on old data."""
    return data.now is not None and start_s == data.now.finish_s


def refresh(old: Data, now: Collected) -> Data:
    """The data of the next step. Raises Uncaught where a host's status cannot be ranked."""
    alive = _alive(old.history, now)
    local = now.local.status
    best_status, best_host_id, best_score = local, old.host_id, None
    if alive:
        ranks = []
        for record in alive:
            if record.rank is None:
                raise Uncaught(f"slot {record.host_id}: its engine status cannot be ranked")
            ranks.append(record.rank)
        own = rank(local)
        if own is None:
            raise Uncaught("the engine's health has no value yet")
        best = max(ranks)
        if own < best:
            winner = alive[ranks.index(best)]
            best_status, best_host_id = winner.status, winner.host_id
        richest = max(alive, key=lambda record: record.score)
        best_score = richest if richest.score > 0 else None
    # The 600 s of the retry counter have always passed: upstream compares a monotonic time with wall time.
    retried = old.retry_s is not None
    oldest = now.start_s - HISTORY_S
    kept = len(old.history)
    while kept and old.history[kept - 1][0] <= oldest:
        kept -= 1
    busy = now.local.cpu_load is not None and now.local.cpu_load > CPU_LOAD_MIN
    return Data(
        host_id=old.host_id,
        now=now,
        history=((now.start_s, now.finish_s, now.local.cpu_load, now.hosts), *old.history[:kept]),
        busy_s=now.start_s if busy else old.busy_s,
        timeout_start_s=old.timeout_start_s,
        retry_count=0 if retried else old.retry_count,
        retry_s=None,
        best_status=best_status,
        best_host_id=best_host_id,
        best_score=best_score,
        alive=tuple(record.host_id for record in alive),
    )


def _alive(history: tuple[Snapshot, ...], now: Collected) -> list[Record]:
    """The hosts whose timestamp is another than more than 60 s ago; nobody while there is no such past."""
    past = next((snapshot for snapshot in history if snapshot[1] + HOST_ALIVE_S < now.start_s), None)
    if past is None:
        return []
    before = past[3]
    found = []
    for host_id, record in now.hosts.items():
        if record is None:
            continue
        then = before.get(host_id)
        if then is None or then.timestamp != record.timestamp:
            found.append(record)
    return found


# --- score


def score_of(state: State, data: Data) -> int:
    if state in _WORTHLESS:
        return 0
    local = data.collected.local
    score = BASE_POINTS
    if local.network < 1.0:
        score -= int((1.0 - local.network) * NETWORK_POINTS)
    if not local.bridge:
        score -= BRIDGE_POINTS
    if data.busy_s is not None and data.busy_s >= data.history[-1][0]:  # else no average is above the limit
        load = _load(data.history)
        points = int((load - CPU_LOAD_MIN) / (CPU_LOAD_MAX - CPU_LOAD_MIN) * CPU_POINTS)
        score -= max(0, min(CPU_POINTS, points))
    if state not in _MEMORY_DOES_NOT_COUNT and (local.memory_free_mib or 0) < local.memory_needed_mib:
        score -= MEMORY_POINTS
    if data.retry_count > RETRIES:
        return 0
    return max(0, score - RETRY_POINTS * data.retry_count)


def _load(history: tuple[Snapshot, ...]) -> float:
    """Average CPU load: trapezoids between neighbouring snapshots (agent/state_data.py: load_factor)."""
    area, seconds = 0.0, 0
    later_s, later_load = 0, None
    for start_s, _finish_s, load, _hosts in history:
        if load is not None and later_load is not None:
            area += (later_s - start_s) * (later_load + load) / 2.0
            seconds += later_s - start_s
        later_s, later_load = start_s, load
    return area / seconds if seconds else 0.0
