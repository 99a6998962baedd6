"""Why a host does not go first: exact sentences, and that deciding again bears them out."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ovirt_he_agent.core import decision, score, snapshot
from ovirt_he_agent.core.commands import StartVm
from ovirt_he_agent.core.host_figures import HostFigures
from ovirt_he_agent.core.model import HostFlag
from ovirt_he_agent.core.snapshot import Evidence, Request, RequestKind
from ovirt_he_agent.core.state import Attempt, End, Phase, State
from ovirt_he_agent.core.words import explain, not_chosen
from tests.snapshots import (
    JOINED,
    NOW,
    UP,
    ago,
    decide,
    definition,
    neighbours,
    owned_by,
    running,
    seen,
    slot,
    startable,
)

NEEDED_MIB = 4096
ALL_GOOD: dict[str, Any] = {
    "memory_free_mib": 65536,
    "memory_needed_mib": NEEDED_MIB,
    "network": 1.0,
    "bridge_up": True,
    "cpu_load": 0.1,
    "failed_starts": 0,
}
SMALL: dict[str, Any] = {"definition": seen(definition(memory_mib=NEEDED_MIB))}
SHORT: dict[str, Any] = {"memory_free_mib": 3900}
RAN_LAST = replace(JOINED, last_runner=3)
HALF_LOADED: dict[str, Any] = {"cpu_load": seen(0.5)}
"""This host has 3201 points, with which no other one ties."""


def points(facts: dict[str, Any], *, config_up_to_date: bool = True, memory_rule: bool = True) -> int:
    inputs = score.Inputs(config_up_to_date=config_up_to_date, **facts)
    return score.of(inputs, score.Weights(), memory_rule=memory_rule).points


def told(host_id: int = 3, *, config_up_to_date: bool = True, **facts: Any) -> snapshot.PeerSlot:
    """A host of ours with these figures and the score that they give."""
    figures = ALL_GOOD | facts
    return slot(
        host_id,
        ours=True,
        policy_hash=score.policy_hash(score.Weights()),
        conf_on_shared_storage=config_up_to_date,
        figures=HostFigures(**figures),
        score=points(figures, config_up_to_date=config_up_to_date),
    )


def look(*slots: snapshot.PeerSlot, state: State = JOINED, **facts: Any) -> decision.Decision:
    return decide(startable(**(SMALL | facts), **neighbours(*slots)), state)


def first(decided: decision.Decision) -> int:
    """The host that goes first."""
    field = decided.scene.field
    return field.rivals[0].host_id if field.rank else decided.scene.snap.host_id


def of(decided: decision.Decision, host_id: int = 3) -> str:
    return not_chosen.of(decided.scene, decided.scene.peers[host_id])


# One figure


def test_free_memory_alone() -> None:
    decided = look(told(**SHORT), state=RAN_LAST)
    assert isinstance(decided.command, StartVm)
    assert explain.what_would_change(decided) == (
        "Host 3 was not chosen: free memory 3900 MiB < 4096 MiB; with 196 MiB more it would be.",
        "Global maintenance would keep every host from starting it.",
    )
    assert explain.sentences(decided)[-1].endswith(
        "; it goes after this host (score 3000, here 3400); "
        "it is not chosen: free memory 3900 MiB < 4096 MiB; with 196 MiB more it would be."
    )
    assert [first(look(told(memory_free_mib=3900 + more), state=RAN_LAST)) for more in (195, 196)] == [1, 3]


def test_free_memory_of_this_host() -> None:
    decided = look(told(), memory_free_mib=seen(3900))
    assert decided.command is None
    assert explain.sentences(decided)[2] == (
        "This host was not chosen: free memory 3900 MiB < 4096 MiB; with 196 MiB more it would be."
    )
    assert [first(look(told(), memory_free_mib=seen(3900 + more))) for more in (195, 196)] == [3, 1]


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"cpu_load": 0.95}, "CPU load 95 % costs 1000 points; below 49 % it would go first"),
        ({"cpu_load": 0.604}, "CPU load 60.4 % costs 407 points; below 49 % it would go first"),
        ({"network": 0.8}, "network 80 % costs 319 points; from 88 % on it would go first"),
        ({"bridge_up": False}, "bridge down costs 600 points; with the bridge up it would go first"),
        (
            {"failed_starts": 3, "cpu_load": 0.45},
            "CPU load 45 % costs 99 points and 3 failed starts within 600 s cost 150 points; "
            "with a CPU load below 42 % or at most 1 failed start within 600 s it would go first",
        ),
        (
            {"failed_starts": 4},
            "4 failed starts within 600 s cost 3400 points; with at most 3 it would go first",
        ),
        (
            {"memory_free_mib": None},
            "free memory unknown, 4096 MiB needed; with 4096 MiB known to be free it would go first",
        ),
        (
            {"config_up_to_date": False},
            "hosted-engine.conf that is not up to date costs 1000 points; with one that is it would go first",
        ),
    ],
)
def test_each_figure(facts: dict[str, Any], text: str) -> None:
    decided = look(told(**facts), **HALF_LOADED)
    assert of(decided) == text
    assert f"Host 3 was not chosen: {text}." in explain.what_would_change(decided)


def test_a_single_failed_start_is_one() -> None:
    text = "1 failed start within 600 s costs 50 points; with none it would go first"
    assert of(look(told(failed_starts=1), state=RAN_LAST)) == text


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"cpu_load": seen(0.6)}, "CPU load 60 % costs 399 points; below 40 % it would go first"),
        ({"network": seen(0.5)}, "network 50 % costs 800 points; with a network of 100 % it would go first"),
        ({"bridge_up": seen(False)}, "bridge down costs 600 points; with the bridge up it would go first"),
        (
            {"memory_free_mib": Evidence(problem="VDSM is away")},
            "free memory unknown, 4096 MiB needed; with 4096 MiB known to be free it would go first",
        ),
    ],
)
def test_each_figure_of_this_host(facts: dict[str, Any], text: str) -> None:
    decided = look(told(), **facts)
    assert f"This host was not chosen: {text}." in explain.sentences(decided)


# More than one, and not enough


def test_several_of_which_one_is_enough() -> None:
    decided = look(told(**SHORT, cpu_load=0.42), cpu_load=seen(0.6))
    assert of(decided) == (
        "CPU load 42 % costs 39 points and free memory 3900 MiB < 4096 MiB; "
        "with 196 MiB more free memory it would go first"
    )


def test_several_that_are_needed_together() -> None:
    decided = look(told(network=0.8, bridge_up=False, failed_starts=2), **HALF_LOADED)
    assert of(decided) == (
        "network 80 % costs 319 points, bridge down costs 600 points and 2 failed starts within 600 s cost "
        "100 points; with a network of 100 % and the bridge up it would go first"
    )


@pytest.mark.parametrize(
    ("state", "others", "reason"),
    [
        (JOINED, (), "this host has as many and the lower id"),
        (replace(JOINED, last_runner=1), (), "this host has as many and ran the VM last"),
        (RAN_LAST, (replace(told(2), score=3500),), "host 2 (host2) has 3500"),
        (replace(JOINED, favoured=True), (), "the VM's last end favours this host"),
    ],
)
def test_nothing_is_promised_where_figures_are_not_what_decides(
    state: State, others: tuple[snapshot.PeerSlot, ...], reason: str
) -> None:
    decided = look(told(**SHORT), *others, state=state)
    assert of(decided) == (
        "free memory 3900 MiB < 4096 MiB; with 196 MiB more free memory it would have 3400 points "
        f"and not go first all the same: {reason}"
    )
    assert first(look(told(), *others, state=state)) != 3


def test_a_host_that_lets_others_go_first_would_do_so_with_more_memory() -> None:
    decided = look(replace(told(**SHORT), others_first=True), state=RAN_LAST)
    assert of(decided).endswith(": it lets others go first")


def test_a_start_that_an_operator_asked_for_needs_no_comparison() -> None:
    asked = Request(number=1, kind=RequestKind.START, force=False)
    decided = look(told(2), told(**SHORT), state=RAN_LAST, request=asked, **HALF_LOADED)
    assert isinstance(decided.command, StartVm)
    assert explain.what_would_change(decided) == (
        "Global maintenance would keep every host from starting it.",
    )


# Where nothing is said


@pytest.mark.parametrize(
    "facts",
    [
        {"ours": False},
        {"policy_hash": "0123abcd"},
        {"figures": HostFigures()},
        {"figures": HostFigures(**(ALL_GOOD | SHORT | {"cpu_load": 0.5}))},
        {"score": 2999},
        {"conf_on_shared_storage": None},
        {"state": "LocalMaintenance"},
        {"local_maintenance": True},
        {"changed_ago_s": 83},
    ],
)
def test_figures_that_do_not_explain_the_score_are_not_told(facts: dict[str, Any]) -> None:
    changed = {"changed_at": ago(83)} if "changed_ago_s" in facts else facts
    decided = look(replace(told(**SHORT), **changed), state=RAN_LAST)
    assert of(decided) == ""
    assert not any("was not chosen" in text for text in explain.what_would_change(decided))
    check_words(decided)


def test_a_host_without_figures_is_spoken_of_in_points() -> None:
    upstreams, ours = look(slot(3, score=3000)), look(told(**SHORT))
    tail = "it goes after this host (score 3000, here 3400); with 401 points more it would go first."
    assert explain.sentences(upstreams)[-1].endswith(tail)
    assert not explain.sentences(ours)[-1].endswith(tail)
    assert explain.what_would_change(upstreams)[0] == (
        "With 401 points more, 3401 in place of 3000, host 3 (host3) would go first."
    )


def test_nothing_is_said_of_the_host_that_goes_first_nor_of_one_without_a_penalty() -> None:
    decided = look(told(2), told(3), cpu_load=seen(0.6))
    assert (of(decided, 2), of(decided, 3)) == ("", "")
    assert of(look(told(3, cpu_load=0.5), cpu_load=seen(0.6))) == ""


def test_a_host_that_cools_down_tells_its_failed_starts() -> None:
    waits = replace(told(failed_starts=3), state="EngineUnexpectedlyDown", score=0)
    reason = "its state is EngineUnexpectedlyDown (3 failed starts within 600 s)"
    decided = look(waits)
    assert explain.sentences(decided)[-1].endswith(f"; it is not chosen: {reason}.")
    assert f"Host 3 (host3) could go first only if it were able to start the VM: {reason}." in (
        explain.what_would_change(decided)
    )


def test_this_host_is_spoken_of_only_while_the_order_is_all_that_it_waits_for() -> None:
    short: dict[str, Any] = {"memory_free_mib": seen(3900)}
    failing = {**neighbours(told(), sd2=HostFlag.FAIL), "vm_leases": owned_by(2)}
    soon = decide(startable(**(SMALL | short | failing)))
    assert not_chosen.of_this_host(soon.scene) == (
        "free memory 3900 MiB < 4096 MiB; with 196 MiB more it would be"
    )
    three = tuple(Attempt(ago(s), End.START_FAILED, "no") for s in (300, 200, 100))
    for decided in (
        look(told(), **short, definition=Evidence(problem="torn")),
        look(told(), **short, global_maintenance=seen(True)),
        look(told(), **short, local_maintenance=seen(True)),
        look(told(), **short, vm_leases={}),
        look(told(), **short, state=replace(JOINED, attempts=three)),
        look(replace(told(), claims_vm=True), **short),
        look(told(), **short, state=replace(JOINED, nowhere_since=ago(60), has_joined=True)),
        look(**short),
    ):
        assert not any("was not chosen" in text for text in explain.sentences(decided)), decided.rule.name


def test_where_the_vm_runs_its_memory_is_not_missing() -> None:
    decided = look(told(**SHORT), memory_free_mib=seen(100), state=running(), **UP)
    assert decided.phase is Phase.RUNNING
    assert explain.sentences(decided)[-1].endswith(
        "; it goes after this host (score 3000, here 3400); it is not chosen: free memory 3900 MiB < "
        "4096 MiB; with 196 MiB more free memory it would have 3400 points and not go first all the same: "
        "this host has as many and ran the VM last."
    )


def test_a_host_that_runs_the_vm_has_no_memory_rule() -> None:
    runs = replace(told(**SHORT, cpu_load=0.95), claims_vm=True, state="EngineUp", score=2400)
    assert of(look(runs)).startswith("CPU load 95 % costs 1000 points; ")


# Whatever the figures are


shares = st.sampled_from([0.0, 0.2, 0.4, 0.45, 0.5, 0.6, 0.65, 0.9, 0.95, 1.0]) | st.floats(0, 1)
figures = st.fixed_dictionaries(
    {
        "memory_free_mib": st.sampled_from([None, 0, 3900, 4095, 4096, 65536]),
        "memory_needed_mib": st.just(NEEDED_MIB),
        "network": st.none() | st.sampled_from([1.0, 1.0]) | shares,
        "bridge_up": st.sampled_from([None, True, True, False]),
        "cpu_load": st.none() | shares,
        "failed_starts": st.sampled_from([0, 0, 0, 1, 2, 3, 4]),
    }
)
ALONE = (
    (r"; with (\d+) MiB more it would be$", "memory"),
    (r"; below (\d+) % it would go first$", "load"),
    (r"; from (\d+) % on it would go first$", "network"),
    (r"; with at most (\d+) it would go first$", "starts"),
    (r"; with none it would go first$", "no start"),
)
"""The shapes in which one figure alone is enough, and is said to be the least that is."""
PHRASES: tuple[tuple[str, str, Callable[[float, float], float]], ...] = (
    (r"(\d+) MiB more free memory", "memory_free_mib", lambda n, before: int(before + n)),
    (r"(\d+) MiB known to be free", "memory_free_mib", lambda n, _: int(n)),
    (r"a CPU load below ([\d.]+) %", "cpu_load", lambda n, _: math.nextafter(n / 100, 0.0)),
    (r"a network of at least (\d+) %", "network", lambda n, _: n / 100),
    (r"a network of (100) %", "network", lambda n, _: n / 100),
    (r"()the bridge up", "bridge_up", lambda _n, _: True),
    (r"()no failed start", "failed_starts", lambda _n, _: 0),
    (r"at most (\d+) failed starts? within 600 s", "failed_starts", lambda n, _: int(n)),
)


def changed(phrase: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The figure that ``phrase`` speaks of, changed so."""
    for shape, name, change in PHRASES:
        found = re.fullmatch(shape, phrase)
        if found:
            return {name: change(float(found[1] or 0), facts[name] or 0)}
    raise AssertionError(phrase)


def assert_it_is_so(text: str, facts: dict[str, Any], goes_first: Callable[..., bool]) -> None:
    """``goes_first``: with these figures changed, what does a decision say?"""
    for shape, kind in ALONE:
        found = re.search(shape, text)
        if found is None:
            continue
        event(kind)
        figure = int(found[1]) if found.groups() else 0
        match kind:
            case "memory":
                free = facts["memory_free_mib"] + figure
                assert goes_first(memory_free_mib=free)
                assert not goes_first(memory_free_mib=free - 1)
            case "load":
                assert goes_first(cpu_load=math.nextafter(figure / 100, 0.0))
                assert goes_first(cpu_load=0.0)
                assert not goes_first(cpu_load=(figure + 1) / 100)
            case "network":
                assert goes_first(network=figure / 100)
                assert not goes_first(network=(figure - 1) / 100)
            case _:
                assert goes_first(failed_starts=figure)
                assert not goes_first(failed_starts=figure + 1)
        return
    if "all the same: " in text:
        event("not enough")
        assert not goes_first(**ALL_GOOD)
        return
    whole = re.search("; with (.*) it would go first$", text)
    assert whole is not None, text
    if " or " in whole[1]:
        event("one of several")
        assert all(goes_first(**changed(phrase, facts)) for phrase in whole[1].split(" or "))
        return
    changes = [changed(phrase, facts) for phrase in re.split(", | and ", whole[1])]
    event(f"together: {len(changes)}")
    for without in [{}, *changes] if len(changes) > 1 else [{}]:
        made = {k: v for change in changes if change is not without for k, v in change.items()}
        assert goes_first(**made) is (without == {})


def what_is_here(facts: dict[str, Any]) -> dict[str, Any]:
    return {k: seen(facts[k]) for k in ("memory_free_mib", "network", "bridge_up", "cpu_load")}


@given(figures, st.lists(figures, min_size=1, max_size=2), st.sampled_from([None, 1, 2, 3]))
def test_what_is_promised_is_what_would_be_decided(
    own: dict[str, Any], others: list[dict[str, Any]], last_runner: int | None
) -> None:
    state, here = replace(JOINED, last_runner=last_runner), what_is_here(own)
    decided = look(*(told(i, **f) for i, f in enumerate(others, 2)), state=state, **here)
    check_words(decided)
    for host_id, facts in enumerate(others, 2):
        text = of(decided, host_id)
        if first(decided) == host_id or points(facts) == score.Weights().base_score:
            assert text == ""
            continue

        def goes_first(host_id: int = host_id, **changes: Any) -> bool:
            now = (told(n, **(f | changes if n == host_id else f)) for n, f in enumerate(others, 2))
            return first(look(*now, state=state, **here)) == host_id

        assert_it_is_so(text, facts, goes_first)


@given(figures, figures, st.sampled_from([None, 1, 2]))
def test_what_is_promised_of_this_host_is_what_would_be_decided(
    own: dict[str, Any], other: dict[str, Any], last_runner: int | None
) -> None:
    state = replace(JOINED, last_runner=last_runner)

    def decided(**changes: Any) -> decision.Decision:
        starts = (Attempt(ago(60), End.START_FAILED, "no"),) * (own | changes)["failed_starts"]
        return look(told(2, **other), state=replace(state, attempts=starts), **what_is_here(own | changes))

    text = not_chosen.of_this_host(decided().scene)
    if first(decided()) == 1 or decided().phase is Phase.COOLDOWN or points(own) == 3400:
        assert text == ""
    else:
        assert_it_is_so(text, own, lambda **changes: first(decided(**changes)) == 1)


def check_words(decided: decision.Decision) -> None:
    document = explain.document(decided)
    for text in (*document["sentences"], *document["what_would_change"]):
        assert text.endswith(".")
        assert text[0] == text[0].upper()
        assert "None" not in text
    assert decided.scene.now == NOW
