"""The score as a sum: every penalty of upstream's, its truncation, and what an unknown counts as."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import score
from ovirt_he_agent.core.state import Phase

GOOD = score.Inputs(
    config_up_to_date=True,
    network=1.0,
    bridge_up=True,
    cpu_load=0.1,
    memory_free_mib=16384,
    memory_needed_mib=16384,
    failed_starts=0,
)
WEIGHTS = score.Weights()


def of(weights: score.Weights = WEIGHTS, *, memory_rule: bool = True, **changes: Any) -> score.Score:
    return score.of(replace(GOOD, **changes), weights, memory_rule=memory_rule)


def test_a_host_that_has_all_it_needs_has_the_base() -> None:
    assert of() == score.Score(3400, 3400, ())


@pytest.mark.parametrize(
    ("changes", "name", "points", "figure"),
    [
        ({"config_up_to_date": False}, "configuration", 1000, "hosted-engine.conf"),
        ({"network": 0.8}, "network", 319, "20%"),  # (1.0 - 0.8) * 1600 is 319.99...
        ({"network": 0.0}, "network", 1600, "100%"),
        ({"bridge_up": False}, "bridge", 600, "bridge"),
        ({"cpu_load": 0.65}, "cpu load", 500, "65.0%"),
        ({"cpu_load": 0.7}, "cpu load", 599, "70.0%"),  # 599.99...
        ({"cpu_load": 1.0}, "cpu load", 1000, "100.0%"),
        ({"memory_free_mib": 16383}, "memory", 400, "16383 MiB are free, the engine VM needs 16384 MiB"),
        ({"memory_free_mib": None}, "memory", 400, "unknown and counts as 0 MiB"),
        ({"failed_starts": 1}, "failed starts", 50, "1 within 600 s"),
        ({"failed_starts": 3}, "failed starts", 150, "3 within 600 s"),
    ],
)
def test_each_lack_costs_what_it_costs_upstream(
    changes: dict[str, Any], name: str, points: int, figure: str
) -> None:
    result = of(**changes)
    (penalty,) = result.penalties
    assert (penalty.name, penalty.points, result.points) == (name, points, 3400 - points)
    assert figure in penalty.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"network": None},
        {"bridge_up": None},
        {"cpu_load": None},
        {"cpu_load": 0.4},
        {"memory_needed_mib": None},
        {"network": 0.9999},  # int(0.16)
    ],
)
def test_what_counts_as_good_costs_nothing(changes: dict[str, Any]) -> None:
    assert of(**changes).penalties == ()


def test_more_than_three_failed_starts_take_all_that_is_left() -> None:
    result = of(failed_starts=4, bridge_up=False)
    assert [(p.name, p.points) for p in result.penalties] == [("bridge", 600), ("failed starts", 2800)]
    assert result.points == 0
    assert "more than 3" in result.penalties[-1].reason


def test_free_memory_counts_only_where_it_says_something() -> None:
    assert of(memory_free_mib=0, memory_rule=False).points == 3400
    taken = {phase for phase in Phase if not score.memory_counts(phase)}
    assert {phase.published for phase in taken} == {"EngineUp", "EngineUpBadHealth", "GlobalMaintenance"}


def test_penalties_stand_in_upstreams_order_and_the_score_stops_at_0() -> None:
    result = of(
        config_up_to_date=False,
        network=0.0,
        bridge_up=False,
        cpu_load=1.0,
        memory_free_mib=0,
        failed_starts=2,
    )
    assert [p.name for p in result.penalties] == [
        *("configuration", "network", "bridge", "cpu load", "memory", "failed starts")
    ]
    assert result.points == 0


def test_equal_limits_of_the_load_make_it_all_or_nothing() -> None:
    weights = replace(WEIGHTS, cpu_load_penalty_min=0.5, cpu_load_penalty_max=0.5)
    assert (of(weights, cpu_load=0.499).points, of(weights, cpu_load=0.5).points) == (3400, 2400)


def test_limits_of_the_load_next_to_each_other_are_as_equal_ones() -> None:
    weights = replace(WEIGHTS, cpu_load_penalty_min=0.0, cpu_load_penalty_max=1.1125369292536007e-308)
    assert (of(weights, cpu_load=0.0).points, of(weights, cpu_load=1.0).points) == (3400, 2400)


def test_an_unknown_load_is_named_where_even_none_costs() -> None:
    weights = replace(WEIGHTS, cpu_load_penalty_min=0.0, cpu_load_penalty_max=0.0)
    (penalty,) = of(weights, cpu_load=None).penalties
    assert "unknown and counts as 0 %" in penalty.reason


def test_a_worthless_host_shows_0_and_only_why() -> None:
    result = score.of(
        replace(GOOD, bridge_up=False), WEIGHTS, memory_rule=True, worthless="local maintenance"
    )
    assert result == score.Score(0, 3400, (score.Penalty("state", 3400, "local maintenance"),))


def test_phases_that_may_not_run_the_vm_show_0() -> None:
    zero = {phase for phase in Phase if score.of_phase(phase).points == 0}
    assert zero == {Phase.INIT, Phase.LOCAL, Phase.COOLDOWN, Phase.CUT, Phase.LEAVING}
    assert all(score.of_phase(phase).points == 3400 for phase in Phase if phase not in zero)


def test_the_shortage_says_what_would_end_the_penalty() -> None:
    short = replace(GOOD, memory_free_mib=16188)
    missing = score.shortage_mib(short)
    assert missing == 196
    assert of(memory_free_mib=16188 + missing).penalties == ()
    assert of(memory_free_mib=16188 + missing - 1).penalties != ()
    assert score.shortage_mib(GOOD) is None
    assert score.shortage_mib(replace(GOOD, memory_free_mib=None)) is None


shares = st.none() | st.floats(0, 1)
inputs = st.builds(
    score.Inputs,
    config_up_to_date=st.booleans(),
    network=shares,
    bridge_up=st.none() | st.booleans(),
    cpu_load=shares,
    memory_free_mib=st.none() | st.integers(0, 1 << 20),
    memory_needed_mib=st.none() | st.integers(0, 1 << 20),
    failed_starts=st.integers(0, 6),
)
weights_of_a_cluster = st.builds(
    score.Weights,
    base_score=st.integers(0, 10000),
    **{
        field.name: st.floats(0, 1) if field.type is float else st.integers(0, 3000)
        for field in fields(score.Weights)
        if field.name != "base_score"
    },
)


@given(inputs, weights_of_a_cluster, st.booleans())
def test_the_score_is_the_base_less_the_penalties(
    given_inputs: score.Inputs, weights: score.Weights, memory_rule: bool
) -> None:
    result = score.of(given_inputs, weights, memory_rule=memory_rule)
    assert result.points == max(0, result.base - sum(p.points for p in result.penalties))
    assert type(result.points) is int
    assert all(p.points >= 0 and p.reason for p in result.penalties)


def test_hosts_with_the_same_weights_show_the_same_hash_and_others_do_not() -> None:
    assert score.policy_hash(score.Weights()) == "a9e4b6bc"  # what a host of another version shows, too
    assert score.policy_hash(replace(WEIGHTS, cpu_load_penalty_min=0)) == score.policy_hash(
        replace(WEIGHTS, cpu_load_penalty_min=0.0)
    )
    changed = [replace(WEIGHTS, **{f.name: getattr(WEIGHTS, f.name) + 1}) for f in fields(WEIGHTS)]
    hashes = {score.policy_hash(weights) for weights in [WEIGHTS, *changed]}
    assert len(hashes) == len(changed) + 1
    assert all(len(text) == 8 and set(text) <= set("0123456789abcdef") for text in hashes)
