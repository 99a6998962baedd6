"""Own slots for tests: one with defaults, and any at all."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from ovirt_he_agent.core.host_figures import HostFigures
from ovirt_he_agent.core.own_slot import OwnSlot
from ovirt_he_agent.core.whiteboard import EngineStatus, HealthWord, VmWord

NOT_HERE = EngineStatus(
    vm=VmWord.DOWN, health=HealthWord.BAD, detail="unknown", reason="vm not running on this host"
)
UP = EngineStatus(vm=VmWord.UP, health=HealthWord.GOOD, detail="Up", reason=None)


def own_slot(**facts: Any) -> OwnSlot:
    return replace(
        OwnSlot(
            host_id=2,
            host_name="node-b.example.org",
            timestamp_s=51234,
            score=3400,
            engine=NOT_HERE,
            state="EngineDown",
            local_maintenance=False,
            stopped=False,
            conf_on_shared_storage=True,
            conf_refreshed_s=51230,
            others_first=True,
            engine_seen_s=51229,
            policy_hash="0123abcd",
            time_text="Thu Jan  1 14:13:54 1970",
            conf_refreshed_text="Thu Jan  1 14:13:50 1970",
        ),
        **facts,
    )


_NASTY = st.sampled_from(
    ['"', "\\", "|", "\n", "\0", "\r", "\x1b", "\x7f", "\u2028", "\xe9", "\ud800", "None", "='", "{}", "a"]
)
texts = st.one_of(
    st.text(max_size=30),
    st.lists(_NASTY, max_size=40).map("".join),
    st.builds(lambda part, times: part * times, _NASTY, st.integers(0, 5000)),
    st.sampled_from(
        ["", "None", "Up", "Paused", "Down", "engine_seen", "cpu_load", "state", "node.example.org"]
    ),
)
_numbers = st.one_of(
    st.integers(-5, 5000), st.integers(-(1 << 62), 1 << 62), st.sampled_from([1 << 80, -(1 << 80)])
)
engines = st.builds(
    EngineStatus,
    vm=st.sampled_from(VmWord),
    health=st.sampled_from([None, *HealthWord]),
    detail=st.none() | texts,
    reason=st.none() | texts,
)
_counts = st.none() | st.integers(0, (1 << 63) - 1)
_shares = st.none() | st.floats(0.0, 1.0)
host_figures = st.builds(
    HostFigures,
    memory_free_mib=_counts,
    memory_needed_mib=_counts,
    network=_shares,
    bridge_up=st.none() | st.booleans(),
    cpu_load=_shares,
    failed_starts=_counts,
)
"""Whatever a host can mean."""
_odd_counts = st.none() | _numbers
_odd_shares = st.none() | st.floats()
own_slots = st.builds(
    OwnSlot,
    host_id=st.one_of(st.integers(1, 2000), _numbers),
    host_name=texts,
    timestamp_s=_numbers,
    score=_numbers,
    engine=engines,
    state=texts,
    local_maintenance=st.booleans(),
    stopped=st.booleans(),
    conf_on_shared_storage=st.booleans(),
    conf_refreshed_s=_numbers,
    others_first=st.booleans(),
    engine_seen_s=st.none() | _numbers,
    policy_hash=st.one_of(st.text("0123456789abcdef", min_size=8, max_size=8), texts),
    figures=host_figures
    | st.builds(
        HostFigures,
        memory_free_mib=_odd_counts,
        memory_needed_mib=_odd_counts,
        network=_odd_shares,
        cpu_load=_odd_shares,
        failed_starts=_odd_counts,
    ),
    notes=st.lists(st.tuples(texts, texts), max_size=4).map(tuple),
    time_text=texts,
    conf_refreshed_text=texts,
)
"""Whatever the types allow."""
