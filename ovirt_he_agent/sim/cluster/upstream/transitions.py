"""The old agent's transitions: rows of state, conditions in order, next state, delay, action.

Pure: what shall be done goes out as a row. Each row is a transition of he-ha's
agent/states.py; the order of the tests is that of its decorators (state_decorators.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ovirt_he_agent.sim.cluster.upstream.machine import (
    HOST_ALIVE_S,
    LOOP_S,
    RESTART_THRESHOLD,
    TIMERS,
    Action,
    Data,
    Standing,
    State,
    score_of,
)

Condition = Callable[[Data, Standing], bool]
"""Of the fresh data and of the standing before it."""


def otherwise(data: Data, before: Standing) -> bool:
    return True


def global_maintenance(data: Data, before: Standing) -> bool:
    return data.collected.global_maintenance


def local_maintenance(data: Data, before: Standing) -> bool:
    return data.collected.local.maintenance


def vm_unknown(data: Data, before: Standing) -> bool:
    return data.vm == "unknown"


def timer_ended(data: Data, before: Standing) -> bool:
    start_s = data.timeout_start_s
    return start_s is not None and start_s + TIMERS[before.state] < data.collected.finish_s


def vm_up(data: Data, before: Standing) -> bool:
    return data.vm == "up"


def vm_not_up(data: Data, before: Standing) -> bool:
    return data.vm != "up"


def vm_up_and_good(data: Data, before: Standing) -> bool:
    return data.vm == "up" and data.status("health") == "good"


def vm_down(data: Data, before: Standing) -> bool:
    return data.vm == "down"


def vm_down_unexpected(data: Data, before: Standing) -> bool:
    return data.vm == "down_unexpected"


def health_bad(data: Data, before: Standing) -> bool:
    return data.status("health") == "bad"


def paused(data: Data, before: Standing) -> bool:
    return data.status("detail") == "Paused"


def best_up(data: Data, before: Standing) -> bool:
    return data.best_status is not None and data.best_status.get("vm") == "up"


def best_not_up(data: Data, before: Standing) -> bool:
    return not best_up(data, before)


def best_up_here(data: Data, before: Standing) -> bool:
    return best_up(data, before) and data.best_host_id == data.host_id


def best_elsewhere(data: Data, before: Standing) -> bool:
    return data.best_host_id != data.host_id


def too_little_history(data: Data, before: Standing) -> bool:
    """With the present included, 60 s are enough; to see others alive it takes more, without it [Q]."""
    return not data.history or data.history[0][1] - data.history[-1][1] < HOST_ALIVE_S


def nobody_better(data: Data, before: Standing) -> bool:
    return data.best_score is None or data.best_score.score <= before.score


def somebody_much_better(data: Data, before: Standing) -> bool:
    return data.best_score is not None and data.best_score.score >= before.score + RESTART_THRESHOLD


def not_asked_yet(data: Data, before: Standing) -> bool:
    return data.timeout_start_s is None


# --- rows

WAIT, NOWAIT = LOOP_S, 0


@dataclass(frozen=True, slots=True)
class Row:
    state: State
    condition: Condition
    next: State
    delay_s: int = WAIT
    action: Action | None = None
    failed: State | None = None
    """Where a failed action leads."""


Short = tuple[Condition, State] | tuple[Condition, State, int] | Row
"""A row without its own state."""

_GM = (global_maintenance, State.GLOBAL)
_LM = (local_maintenance, State.LOCAL)
_NO_WORD = (vm_unknown, State.UNKNOWN)
_UP_ROWS: tuple[Short, ...] = (
    _GM,
    _NO_WORD,
    (vm_down, State.MAYBE_AWAY),
    (vm_down_unexpected, State.UNEXPECTED),
    (best_not_up, State.MAYBE_AWAY, NOWAIT),
    (best_elsewhere, State.STOP),
    (somebody_much_better, State.STOP),
    (health_bad, State.BAD_HEALTH),
    (otherwise, State.UP),
)

_TABLE: Mapping[State, Sequence[Short]] = {
    State.START_STATE: [(otherwise, State.REINITIALIZE)],
    State.REINITIALIZE: [
        _GM,
        _NO_WORD,
        _LM,
        (vm_up, State.STARTING, NOWAIT),
        (otherwise, State.DOWN),
    ],
    State.GLOBAL: [_GM, _LM, (otherwise, State.REINITIALIZE)],
    State.LOCAL: [_LM, (otherwise, State.REINITIALIZE)],
    State.UNKNOWN: [_GM, _NO_WORD, _LM, (otherwise, State.REINITIALIZE, NOWAIT)],
    State.DOWN: [
        _GM,
        _NO_WORD,
        _LM,
        (best_up_here, State.STARTING, NOWAIT),
        (best_up, State.DOWN),
        (too_little_history, State.DOWN),
        (nobody_better, State.START, NOWAIT),
        (otherwise, State.DOWN),
    ],
    State.START: [
        _GM,
        _NO_WORD,
        _LM,
        Row(State.START, otherwise, State.STARTING, WAIT, Action.START_VM, State.DOWN),
    ],
    State.STARTING: [
        (timer_ended, State.STOP),
        _GM,
        _NO_WORD,
        _LM,
        (vm_up_and_good, State.UP),
        (vm_up, State.STARTING),
        (vm_down, State.FORCE_STOP, NOWAIT),
        (otherwise, State.MAYBE_AWAY, NOWAIT),
    ],
    State.UP: [*_UP_ROWS],
    State.BAD_HEALTH: [(timer_ended, State.STOP), *_UP_ROWS],
    State.STOP: [
        (timer_ended, State.FORCE_STOP),
        _GM,
        _LM,
        _NO_WORD,
        (vm_not_up, State.DOWN),
        (paused, State.FORCE_STOP, NOWAIT),
        Row(State.STOP, not_asked_yet, State.STOP, WAIT, Action.STOP_VM, State.REINITIALIZE),
        (otherwise, State.STOP),
    ],
    State.FORCE_STOP: [
        _GM,
        _LM,
        _NO_WORD,
        Row(State.FORCE_STOP, otherwise, State.DOWN, WAIT, Action.FORCE_STOP_VM, State.REINITIALIZE),
    ],
    State.MAYBE_AWAY: [
        (timer_ended, State.UNEXPECTED, NOWAIT),
        _GM,
        _NO_WORD,
        _LM,
        (vm_down, State.DOWN),
        (vm_down_unexpected, State.UNEXPECTED),
        (vm_up, State.UP),
        (best_up, State.DOWN),
        (otherwise, State.MAYBE_AWAY),
    ],
    State.UNEXPECTED: [
        (timer_ended, State.DOWN),
        _GM,
        _NO_WORD,
        _LM,
        (best_up_here, State.UP),
        (otherwise, State.UNEXPECTED),
    ],
}

ROWS: Mapping[State, tuple[Row, ...]] = {
    state: tuple(row if isinstance(row, Row) else Row(state, *row) for row in rows)
    for state, rows in _TABLE.items()
}


def choose(before: Standing, data: Data) -> Row:
    """The row that decides. Raises Uncaught."""
    for row in ROWS[before.state]:
        if row.condition(data, before):
            return row
    raise AssertionError(before.state)  # the last row of a state always matches


def take(before: Standing, data: Data, row: Row, ok: bool = True) -> Standing:
    """Where ``row`` leads; ``ok``: its action, if it has one, succeeded."""
    after = row.next if ok or row.failed is None else row.failed
    timeout_start_s = data.timeout_start_s
    if before.state in TIMERS:
        if row.condition is timer_ended or after is not before.state:
            timeout_start_s = None
        elif timeout_start_s is None:
            timeout_start_s = data.collected.finish_s
    if row.action is Action.START_VM:
        data = replace(
            data,
            timeout_start_s=timeout_start_s,
            retry_s=data.collected.finish_s,
            retry_count=0 if ok else data.retry_count + 1,
        )
    elif timeout_start_s != data.timeout_start_s:
        data = replace(data, timeout_start_s=timeout_start_s)
    return Standing(after, data, score_of(after, data))
