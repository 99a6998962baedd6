"""The state's file: all that is durable comes back, and nothing of a damaged file or of another boot."""

import hashlib
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import decision, model, state_file
from ovirt_he_agent.core.state import Attempt, End, Phase, State, Stop, StopCause
from ovirt_he_agent.core.whereabouts import Memory, Reads
from tests.snapshots import NOW, UP, ago, lifetime, running, startable

BOOT = "2c1d0f0e-0000-4000-8000-000000000001"
times = st.integers(0, 2**53).map(model.MonotonicMs)
maybe_times = st.one_of(st.none(), times)
hosts = st.integers(1, 2000)
texts = st.text(max_size=40)
attempts = st.builds(Attempt, times, st.sampled_from(End), texts, st.one_of(st.none(), texts))
stops = st.builds(
    Stop,
    cause=st.sampled_from(StopCause),
    why=texts,
    since=times,
    told_at=maybe_times,
    kill=st.booleans(),
    kills=st.integers(0, 9),
    killed_at=maybe_times,
)
memories = st.builds(
    Memory,
    reads=st.one_of(st.none(), st.builds(Reads, st.frozensets(hosts), times, times)),
    claimed=st.frozensets(hosts),
    unprotected=st.frozensets(hosts),
    owners=st.frozensets(hosts),
    generations=st.lists(st.tuples(hosts, st.integers(0))).map(tuple),
    rises=st.lists(st.tuples(hosts, times, st.integers(0))).map(tuple),
    migrated_at=maybe_times,
)
states = st.builds(
    State,
    phase=st.sampled_from(Phase),
    phase_since=times,
    memory=memories,
    was_here=st.booleans(),
    here_since=times,
    started_from=st.one_of(st.none(), texts),
    was_good=st.booleans(),
    rebooting=st.booleans(),
    bad_ms=st.integers(0),
    bad_until=times,
    usual_boot_ms=st.one_of(st.none(), st.integers(0)),
    stop=st.one_of(st.none(), stops),
    network_lost_since=maybe_times,
    twin=st.one_of(st.none(), hosts),
    twin_owner_seen=maybe_times,
    last_runner=st.one_of(st.none(), hosts),
    nowhere_since=maybe_times,
    not_before=times,
    favoured=st.booleans(),
    others_first_until=times,
    attempts=st.lists(attempts, max_size=4).map(tuple),
    last_end=st.one_of(st.none(), attempts),
    seen_command=st.integers(0),
    seen_request=st.integers(0),
    global_was_on=st.booleans(),
    has_joined=st.booleans(),
)


@given(states)
def test_what_is_durable_comes_back(state: State) -> None:
    durable = state_file.durable(state)
    assert state_file.decode(state_file.encode(durable, BOOT), BOOT) == durable
    assert state_file.durable(durable) == durable


@given(states)
def test_the_file_is_plain_text(state: State) -> None:
    assert state_file.encode(state_file.durable(state), BOOT).isascii()


@given(states)
def test_of_another_boot_only_what_does_not_depend_on_time_is_kept(state: State) -> None:
    kept = state_file.decode(state_file.encode(state_file.durable(state), BOOT), "another")
    assert kept == State(usual_boot_ms=state.usual_boot_ms, last_runner=state.last_runner)


def test_a_state_with_nothing_in_it_is_a_state() -> None:
    assert state_file.decode(state_file.encode(State(), BOOT), BOOT) == State()


# Damage


GOOD = state_file.encode(state_file.durable(running()), BOOT)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_any_byte_that_was_altered_is_noticed(at: int, by: int) -> None:
    damaged = bytearray(GOOD)
    damaged[at] ^= by
    with pytest.raises(state_file.BadState):
        state_file.decode(bytes(damaged), BOOT)


@given(st.integers(0, len(GOOD) - 1))
def test_a_file_that_was_cut_is_noticed(length: int) -> None:
    with pytest.raises(state_file.BadState):
        state_file.decode(GOOD[:length], BOOT)


@given(st.binary(max_size=300))
def test_any_bytes_are_no_state(data: bytes) -> None:
    with pytest.raises(state_file.BadState):
        state_file.decode(data, BOOT)
    with pytest.raises(state_file.BadState):
        state_file.decode(GOOD + data + b"x", BOOT)


def checked(body: bytes) -> bytes:
    """``body`` with the right checksum: written whole, by somebody else."""
    return f"ovirt-he-agent state {state_file.FORMAT} {hashlib.sha256(body).hexdigest()}\n".encode() + body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"boot_id": "b", "state": {}}',
        b'{"boot_id": "b", "state": []}',
        b'{"boot_id": "b", "state": null}',
        b'{"boot_id": "b", "state": {"memory": {}, "stop": 7, "last_end": null}}',
        GOOD.partition(b"\n")[2].replace(b'"boot_id"', b'"boot"'),
        GOOD.partition(b"\n")[2].replace(b'"running"', b'"flying"'),
        GOOD.partition(b"\n")[2].replace(b'"was_here"', b'"was_there"'),
        GOOD.partition(b"\n")[2].replace(b'"attempts": []', b'"attempts": [7]'),
        GOOD.partition(b"\n")[2].replace(b'"rises": []', b'"rises": [7]'),
        b"[" * 100_000,
    ],
)
def test_a_whole_file_with_other_content_is_no_state(body: bytes) -> None:
    with pytest.raises(state_file.BadState, match="not understood"):
        state_file.decode(checked(body), BOOT)


def test_a_file_of_another_format_says_so() -> None:
    with pytest.raises(state_file.BadState, match="format 1"):
        state_file.decode(GOOD.replace(b"state 1", b"state 2"), BOOT)


# A restart


def restarted(state: State) -> State:
    return state_file.decode(state_file.encode(state_file.durable(state), BOOT), BOOT)


def test_a_restarted_agent_goes_on_with_its_running_vm() -> None:
    state = restarted(running())
    assert (state.phase, state.was_here, state.was_good) == (Phase.RUNNING, True, True)
    decided = lifetime((5, UP), state=state)[0]
    assert (decided.phase, decided.command) == (Phase.RUNNING, None)


def test_pauses_ends_and_global_maintenance_outlive_the_process() -> None:
    end = Attempt(ago(5), End.START_FAILED, "no")
    before = State(attempts=(end,), last_end=end, not_before=ago(-5), global_was_on=True, last_runner=3)
    after = restarted(before)
    assert after.attempts == (end,)
    assert (after.not_before, after.global_was_on, after.last_runner) == (NOW + 5000, True, 3)


def test_a_stop_under_way_outlives_the_process_and_its_commands_are_counted_anew() -> None:
    stop = Stop(cause=StopCause.SICK, why="sick", since=ago(9), told_at=ago(5))
    after = restarted(running(stop=stop, seen_command=7, seen_request=3))
    assert after.stop == stop
    assert (after.seen_command, after.seen_request) == (0, 0)


def test_claims_and_generations_outlive_the_process_and_the_time_of_free_leases_does_not() -> None:
    memory = Memory(
        reads=Reads(frozenset(), ago(100), ago(1)),
        claimed=frozenset({2}),
        unprotected=frozenset({3}),
        generations=((2, 5),),
    )
    after = restarted(State(memory=memory)).memory
    assert after == replace(memory, reads=None)


def test_every_field_is_durable_or_is_named_as_evidence() -> None:
    """A new field of the state has to be thought about."""
    durable = state_file.durable(State())
    names = {field.name for field in fields(State)}
    changed: dict[str, Any] = {
        "bad_ms": 7,
        "bad_until": NOW,
        "network_lost_since": NOW,
        "nowhere_since": NOW,
        "twin": 2,
        "twin_owner_seen": NOW,
        "seen_command": 7,
        "seen_request": 7,
        "has_joined": True,
    }
    assert set(changed) <= names
    assert state_file.durable(replace(State(), **changed)) == durable


def test_a_decision_from_any_durable_state_is_a_decision() -> None:
    decided = decision.decide(restarted(running()), startable(), NOW)
    assert decided.reason
