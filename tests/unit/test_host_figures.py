"""Figures on the whiteboard: what is told is read again exactly, and what is no figure is unknown."""

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import host_figures, own_slot, whiteboard
from ovirt_he_agent.core.host_figures import NONE, HostFigures
from ovirt_he_agent.core.whiteboard import HostSlot
from tests import own_slots, slots

ALL = HostFigures(
    memory_free_mib=3900,
    memory_needed_mib=4096,
    network=0.8,
    bridge_up=False,
    cpu_load=0.95,
    failed_starts=1,
)
LINES = (
    "free_memory_mib=3900\nmemory_needed_mib=4096\nnetwork=0.8\nbridge=down\ncpu_load=0.95\nfailed_starts=1\n"
)


def decoded(block: bytes) -> HostSlot:
    slot = whiteboard.decode_slot(2, block)
    assert isinstance(slot, HostSlot), slot
    return slot


def read(human: str, *, token: str = "he1:0:0123abcd") -> HostFigures:
    return decoded(slots.block(slots.tokens(extra=(token,)), human)).figures


def test_the_lines_follow_those_of_upstream_and_when_the_engine_was_seen() -> None:
    slot = own_slots.own_slot(figures=ALL, notes=(("why", "host 1 has it"),))
    assert own_slot.human(slot).endswith(f"\nstopped=False\nengine_seen=51229\n{LINES}why=host 1 has it\n")
    assert decoded(own_slot.encode(slot)).figures == ALL


def test_what_is_unknown_has_no_line() -> None:
    assert host_figures.lines(NONE) == ()
    assert host_figures.lines(HostFigures(bridge_up=True, failed_starts=0)) == (
        ("bridge", "up"),
        ("failed_starts", "0"),
    )
    assert read("state=EngineDown\n") is NONE
    assert read("bridge=up\nfailed_starts=0\n") == HostFigures(bridge_up=True, failed_starts=0)


@given(own_slots.host_figures)
def test_what_is_told_is_read_again(figures: HostFigures) -> None:
    human = own_slot.human(own_slots.own_slot(figures=figures))
    assert host_figures.decode(human.encode("ascii")) == figures


@pytest.mark.parametrize(
    "odd",
    [
        {"memory_free_mib": -1},
        {"memory_needed_mib": 1 << 63},
        {"failed_starts": -(10**400)},
        {"network": math.nan},
        {"network": 1.5},
        {"cpu_load": -0.1},
        {"cpu_load": math.inf},
    ],
)
def test_what_no_host_could_mean_is_not_told(odd: dict[str, Any]) -> None:
    assert host_figures.lines(replace(ALL, **odd)) == host_figures.lines(replace(ALL, **dict.fromkeys(odd)))


@pytest.mark.parametrize("key", host_figures.KEYS)
@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", " 1", "1 ", "0x1", "1_0", "+1", "\u0661", "nan", "inf", "1e9", "Up", "None", "9" * 20],
)
def test_a_line_that_is_no_figure_is_unknown_and_harms_no_other(key: str, text: str) -> None:
    names = dict(zip(host_figures.KEYS, asdict(ALL), strict=True))
    lines = "".join(f"{k}={text if k == key else v}\n" for k, v in host_figures.lines(ALL))
    assert read(lines) == replace(ALL, **{names[key]: None})


@pytest.mark.parametrize("length", range(len(LINES)))
def test_a_line_that_was_cut_off_is_unknown(length: int) -> None:
    whole = LINES[:length].count("\n")
    assert read(LINES[:length]) == host_figures.decode("".join(LINES.splitlines(True)[:whole]).encode())
    assert host_figures.lines(read(LINES[:length])) == host_figures.lines(ALL)[:whole]


def test_the_first_of_several_counts_and_others_lines_are_none() -> None:
    assert read("cpu_load=0.5\ncpu_load=0.6\nx_failed_starts=1\nnetwork=0.5x\nbridge=up") == HostFigures(
        cpu_load=0.5
    )


@pytest.mark.parametrize("token", ["", "he1:0", "he2:0:0123abcd"])
def test_they_are_read_of_hosts_of_this_kind_only(token: str) -> None:
    assert read(LINES, token=token) is NONE


@given(st.binary(max_size=3584) | st.text("0123456789.e-=\nudnpcfr_", max_size=80).map(str.encode))
def test_no_bytes_raise(tail: bytes) -> None:
    for key in ("", *host_figures.KEYS):
        found = host_figures.decode(f"{key}=".encode() + tail)
        assert all(share is None or 0.0 <= share <= 1.0 for share in (found.network, found.cpu_load))
        counts = (found.memory_free_mib, found.memory_needed_mib, found.failed_starts)
        assert all(count is None or 0 <= count < 1 << 63 for count in counts)
