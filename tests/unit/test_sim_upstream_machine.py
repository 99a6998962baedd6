"""The model of the old agent's state machine: every transition, timers, liveness, ranking, score."""

from dataclasses import dataclass, replace

import pytest

from ovirt_he_agent.sim.cluster.upstream import machine, slots, transitions
from ovirt_he_agent.sim.cluster.upstream.machine import Action, Data, Standing, State
from ovirt_he_agent.sim.cluster.upstream.transitions import Row

HOST = 1
NOW_S = 10_000


def record(host_id: int = 2, *, score: int = 3400, timestamp: int = 1, **status: str) -> slots.Record:
    shown = {"vm": "down", "health": "bad", "detail": "unknown"} | status
    return slots.Record(
        host_id=host_id,
        timestamp=timestamp,
        score=score,
        status=shown,
        rank=slots.rank(shown),
        host_name=f"node-{host_id}",
    )


def local(vm: str | None = "down", health: str = "bad", detail: str = "Down", **facts: bool) -> machine.Local:
    return machine.Local(
        status=None if vm is None else {"vm": vm, "health": health, "detail": detail},
        network=1.0,
        bridge=True,
        memory_free_mib=64_000,
        cpu_load=None,
        maintenance=facts.get("lm", False),
        memory_needed_mib=4096,
    )


@dataclass(frozen=True, kw_only=True)
class Facts:
    vm: str = "down"
    health: str = "bad"
    detail: str = "Down"
    gm: bool = False
    lm: bool = False
    best_vm: str | None = None
    """Another host has the best engine status, with this ``vm``."""
    best_score: int | None = None
    history_s: int = 100
    timer_s: int | None = None
    """The state's timer runs so long."""

    def data(self) -> Data:
        now = machine.Collected(
            start_s=NOW_S,
            finish_s=NOW_S,
            global_maintenance=self.gm,
            hosts={},
            local=local(self.vm, self.health, self.detail, lm=self.lm),
        )
        then_s = NOW_S - self.history_s
        return Data(
            host_id=HOST,
            now=now,
            history=((NOW_S, NOW_S, None, {}), (then_s, then_s, None, {})),
            timeout_start_s=None if self.timer_s is None else NOW_S - self.timer_s,
            best_status=now.local.status if self.best_vm is None else {"vm": self.best_vm},
            best_host_id=HOST if self.best_vm is None else 2,
            best_score=None if self.best_score is None else record(score=self.best_score),
        )


UP = Facts(vm="up", health="good", detail="Up")
GM, LM, NO_WORD = Facts(gm=True), Facts(lm=True), Facts(vm="unknown", health="unknown", detail="unknown")
S = State
TESTED_ALIKE = {
    S.REINITIALIZE: (GM, NO_WORD, LM),
    S.UNKNOWN: (GM, LM),
    S.DOWN: (GM, NO_WORD, LM),
    S.START: (GM, NO_WORD, LM),
    S.STARTING: (GM, NO_WORD, LM),
    S.UP: (GM, NO_WORD),
    S.BAD_HEALTH: (GM, NO_WORD),
    S.STOP: (GM, NO_WORD, LM),
    S.FORCE_STOP: (GM, NO_WORD, LM),
    S.MAYBE_AWAY: (GM, NO_WORD, LM),
    S.UNEXPECTED: (GM, NO_WORD, LM),
    S.GLOBAL: (GM, LM),
    S.LOCAL: (LM,),
}
WHERE_TO = {GM: S.GLOBAL, NO_WORD: S.UNKNOWN, LM: S.LOCAL}

Case = (
    tuple[State, Facts, State, int]
    | tuple[State, Facts, State, int, Action]
    | tuple[State, Facts, State, int, Action, State]
)
CASES: list[Case] = [
    *((state, facts, WHERE_TO[facts], 10) for state, many in TESTED_ALIKE.items() for facts in many),
    (S.START_STATE, Facts(), S.REINITIALIZE, 10),
    (S.REINITIALIZE, UP, S.STARTING, 0),
    (S.REINITIALIZE, Facts(), S.DOWN, 10),
    (S.GLOBAL, Facts(), S.REINITIALIZE, 10),
    (S.LOCAL, Facts(), S.REINITIALIZE, 10),
    (S.UNKNOWN, NO_WORD, S.UNKNOWN, 10),
    (S.UNKNOWN, Facts(), S.REINITIALIZE, 0),
    (S.DOWN, UP, S.STARTING, 0),
    (S.DOWN, Facts(best_vm="up"), S.DOWN, 10),
    (S.DOWN, Facts(history_s=59), S.DOWN, 10),
    (S.DOWN, Facts(history_s=60), S.START, 0),
    (S.DOWN, Facts(best_score=3400), S.START, 0),
    (S.DOWN, Facts(best_score=3401), S.DOWN, 10),
    (S.START, Facts(), S.STARTING, 10, Action.START_VM, S.DOWN),
    (S.STARTING, replace(GM, timer_s=601), S.STOP, 10),
    (S.STARTING, replace(UP, timer_s=600), S.UP, 10),
    (S.STARTING, Facts(vm="up"), S.STARTING, 10),
    (S.STARTING, Facts(), S.FORCE_STOP, 0),
    (S.STARTING, Facts(vm="down_unexpected"), S.MAYBE_AWAY, 0),
    (S.STOP, replace(GM, timer_s=301), S.FORCE_STOP, 10),
    (S.STOP, Facts(), S.DOWN, 10),
    (S.STOP, Facts(vm="up", detail="Paused"), S.FORCE_STOP, 0),
    (S.STOP, UP, S.STOP, 10, Action.STOP_VM, S.REINITIALIZE),
    (S.STOP, replace(UP, timer_s=300), S.STOP, 10),
    (S.FORCE_STOP, UP, S.DOWN, 10, Action.FORCE_STOP_VM, S.REINITIALIZE),
    (S.MAYBE_AWAY, replace(GM, timer_s=41), S.UNEXPECTED, 0),
    (S.MAYBE_AWAY, Facts(), S.DOWN, 10),
    (S.MAYBE_AWAY, Facts(vm="down_unexpected"), S.UNEXPECTED, 10),
    (S.MAYBE_AWAY, UP, S.UP, 10),
    (S.MAYBE_AWAY, Facts(vm="down_missing", best_vm="up"), S.DOWN, 10),
    (S.MAYBE_AWAY, Facts(vm="down_missing", timer_s=40), S.MAYBE_AWAY, 10),
    (S.UNEXPECTED, replace(GM, timer_s=561), S.DOWN, 10),
    (S.UNEXPECTED, UP, S.UP, 10),
    (S.UNEXPECTED, Facts(best_vm="up", timer_s=560), S.UNEXPECTED, 10),
    (S.BAD_HEALTH, replace(GM, timer_s=301), S.STOP, 10),
    *(
        case
        for state in (S.UP, S.BAD_HEALTH)
        for case in (
            (state, Facts(lm=True, vm="down"), S.MAYBE_AWAY, 10),
            (state, Facts(vm="down_unexpected"), S.UNEXPECTED, 10),
            (state, Facts(vm="down_missing"), S.MAYBE_AWAY, 0),
            (state, replace(UP, best_vm="up"), S.STOP, 10),
            (state, replace(UP, best_score=4200), S.STOP, 10),
            (state, replace(UP, best_score=4199, lm=True), S.UP, 10),
            (state, Facts(vm="up"), S.BAD_HEALTH, 10),
        )
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2]}")
def test_transition(case: Case) -> None:
    state, facts, after, delay_s, *action = case
    before = Standing(state, Data(host_id=HOST), 3400)
    data = facts.data()
    row = transitions.choose(before, data)
    assert (row.next, row.delay_s) == (after, delay_s)
    assert transitions.take(before, data, row).state is after
    if action:
        assert row.action is action[0]
        assert transitions.take(before, data, row, ok=False).state is action[1]
    else:
        assert row.action is None


def test_no_row_is_without_a_case() -> None:
    hit: set[Row] = {
        transitions.choose(Standing(case[0], Data(host_id=HOST), 3400), case[1].data()) for case in CASES
    }
    assert hit == {row for rows in transitions.ROWS.values() for row in rows}


def test_a_timer_starts_with_the_first_step_that_stays() -> None:
    before = Standing(S.UP, Data(host_id=HOST), 3400)
    sick = Facts(vm="up").data()
    entered = transitions.take(before, sick, transitions.choose(before, sick))
    assert (entered.state, entered.data.timeout_start_s) == (S.BAD_HEALTH, None)
    stayed = transitions.take(entered, sick, transitions.choose(entered, sick))
    assert (stayed.state, stayed.data.timeout_start_s) == (S.BAD_HEALTH, NOW_S)
    well = replace(UP.data(), timeout_start_s=NOW_S)
    assert transitions.take(stayed, well, transitions.choose(stayed, well)).data.timeout_start_s is None


def collected(
    start_s: int, *hosts: slots.Record, vm: str | None = "down", finish_s: int | None = None
) -> machine.Collected:
    return machine.Collected(
        start_s=start_s,
        finish_s=start_s if finish_s is None else finish_s,
        global_maintenance=False,
        hosts={host.host_id: host for host in hosts},
        local=local(vm),
    )


def follow(*rounds: machine.Collected) -> Data:
    data = Data(host_id=HOST)
    for one in rounds:
        data = machine.refresh(data, one)
    return data


def test_a_host_is_alive_if_its_timestamp_changed_since_more_than_60_s_ago() -> None:
    first = collected(0, record(2, timestamp=1), record(3, timestamp=1))
    assert follow(first, collected(60, record(2, timestamp=2))).alive == ()
    later = follow(first, collected(61, record(2, timestamp=2), record(3, timestamp=1), record(4)))
    assert later.alive == (2, 4)


def test_history_goes_back_15_minutes() -> None:
    data = follow(*(collected(seconds) for seconds in range(0, 2001, 10)))
    assert [data.history[0][0], data.history[-1][0]] == [2000, 1110]


def test_the_first_of_equals_is_best_and_here_comes_before_elsewhere() -> None:
    up = record(3, vm="up", health="good", detail="Up", score=100)
    data = follow(collected(0), collected(100, record(4), up, record(2)))
    assert (data.best_host_id, data.best_status) == (3, up.status)
    assert data.best_score == record(4)
    assert follow(collected(0), collected(100, record(4))).best_host_id == HOST
    assert follow(collected(0), collected(100, record(4, score=0))).best_score is None


def test_a_paused_vm_ranks_below_one_with_bad_health() -> None:
    ranks = [
        {"vm": "unknown"},
        {"vm": "down_missing"},
        {"vm": "up", "detail": "Paused"},
        {"vm": "up", "health": "bad", "detail": "Up"},
        {"vm": "nonsense", "health": "good"},
    ]
    assert [slots.rank(status) for status in ranks] == [0, 1, 2, 3, 4]
    for odd in (None, {}, {"vm": "up", "health": "good"}, {"vm": "up", "detail": "Up", "health": "unknown"}):
        assert slots.rank(odd) is None


@pytest.mark.parametrize("odd", [record(vm="up", health="unknown"), record(vm="odd", health="unknown")])
def test_a_status_that_cannot_be_ranked_raises_if_its_host_is_alive(odd: slots.Record) -> None:
    follow(collected(0, odd), collected(100, odd))
    with pytest.raises(slots.Uncaught):
        follow(collected(0), collected(100, odd))


def test_health_without_a_value_raises_where_it_is_looked_at() -> None:
    data = follow(collected(0, vm=None))
    start = machine.begin(HOST)
    assert transitions.choose(start, data).next is S.REINITIALIZE
    with pytest.raises(slots.Uncaught):
        transitions.choose(Standing(S.REINITIALIZE, data, 0), data)
    with pytest.raises(slots.Uncaught):
        machine.refresh(data, collected(100, record(2), vm=None))


def test_the_retry_counter_never_gets_beyond_one() -> None:
    standing = Standing(S.START, Data(host_id=HOST), 3400)
    scores = []
    for _again in range(4):
        data = machine.refresh(standing.data, collected(0))
        scores.append(data.retry_count)
        failed = transitions.take(Standing(S.START, data, 0), data, transitions.ROWS[S.START][-1], ok=False)
        scores.append(failed.score)
        standing = failed
    assert scores == [0, 3350] * 4


@pytest.mark.parametrize(
    ("facts", "state", "score"),
    [
        ({}, S.DOWN, 3400),
        ({"network": 0.8}, S.DOWN, 3400 - 319),  # 1.0 - 0.8 is a little less than 0.2
        ({"network": 0.0, "bridge": False}, S.DOWN, 1200),
        ({"memory_free_mib": 4095.0}, S.DOWN, 3000),
        ({"memory_free_mib": None}, S.DOWN, 3000),
        ({"memory_free_mib": 4095.0}, S.UP, 3400),
        ({"memory_free_mib": 4095.0}, S.GLOBAL, 3400),
        ({}, S.LOCAL, 0),
        ({}, S.UNEXPECTED, 0),
        ({}, S.REINITIALIZE, 0),
        ({"cpu_load": 0.7}, S.DOWN, 2801),
        ({"cpu_load": 0.95}, S.DOWN, 2400),
        ({"cpu_load": 0.4}, S.DOWN, 3400),
        ({"cpu_load": 1.0, "network": 0.0, "bridge": False, "memory_free_mib": 0.0}, S.DOWN, 0),
    ],
)
def test_score(facts: dict[str, float | None], state: State, score: int) -> None:
    rounds = [
        replace(collected(seconds), local=replace(local(), **facts))  # type: ignore[arg-type]
        for seconds in (0, 10, 20)
    ]
    assert machine.score_of(state, follow(*rounds)) == score


def test_cpu_load_is_averaged_over_15_minutes() -> None:
    busy = replace(local(), cpu_load=0.9)
    calm = replace(local(), cpu_load=0.1)
    rounds = [replace(collected(s), local=busy if s <= 100 else calm) for s in range(0, 900, 10)]
    assert machine.score_of(S.DOWN, follow(*rounds)) == 3400
    rounds = [replace(collected(s), local=busy if s <= 600 else calm) for s in range(0, 900, 10)]
    assert machine.score_of(S.DOWN, follow(*rounds)) == 3400 - 487
    rounds = [replace(collected(s), local=busy if s <= 600 else calm) for s in range(0, 2000, 10)]
    assert machine.score_of(S.DOWN, follow(*rounds)) == 3400
