"""The whiteboard codec: upstream's blocks, broken ones, and random bytes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import whiteboard
from ovirt_he_agent.core.host_figures import NONE
from ovirt_he_agent.core.whiteboard import BadSlot, EmptySlot, EngineStatus, HealthWord, HostSlot, VmWord
from tests import slots

GOLDEN = Path(__file__).parents[1] / "golden" / "whiteboard"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.bin").read_bytes()


def decoded(block: bytes, host_id: int = 2) -> HostSlot:
    slot = whiteboard.decode_slot(host_id, block)
    assert isinstance(slot, HostSlot), slot
    return slot


def refused(block: bytes, host_id: int = 2) -> str:
    slot = whiteboard.decode_slot(host_id, block)
    assert isinstance(slot, BadSlot), slot
    return slot.reason


# what upstream writes


def test_a_standby_host_is_read() -> None:
    assert decoded(golden("slot1-standby"), 1) == HostSlot(
        host_id=1,
        timestamp=8127,
        score=3400,
        engine_status=EngineStatus(
            vm=VmWord.DOWN, health=HealthWord.BAD, detail="unknown", reason="vm not running on this host"
        ),
        engine_status_text=slots.DOWN,
        host_name="node-a.example.org",
        local_maintenance=False,
        stopped=False,
        conf_on_shared_storage=True,
        local_conf_timestamp=8121,
        extra_tokens=(),
        ours=False,
        others_first=False,
        policy_hash=None,
        state=None,
        engine_seen_ago_s=None,
        figures=NONE,
    )


def test_the_host_that_runs_the_engine_claims_it_and_its_state_is_read() -> None:
    slot = decoded(golden("slot2-runs-the-engine"))
    assert slot.claims_vm is True
    assert slot.engine_status == EngineStatus(vm=VmWord.UP, health=HealthWord.GOOD, detail="Up", reason=None)
    assert (slot.timestamp, slot.local_conf_timestamp, slot.state) == (51234, 51230, "EngineUp")


def test_a_host_in_maintenance_that_stopped_is_read() -> None:
    slot = decoded(golden("slot3-maintenance-stopped"), 3)
    assert (slot.local_maintenance, slot.stopped, slot.score, slot.claims_vm) == (True, True, 0, False)


@pytest.mark.parametrize("vm", ["up", "down", "down_unexpected", "down_missing", "unknown"])
def test_every_word_for_the_vm_is_known_and_only_up_claims_it(vm: str) -> None:
    engine = f'{{"vm": "{vm}", "health": "bad", "detail": "Down", "reason": "bad vm status"}}'
    slot = decoded(slots.block(slots.tokens(engine=engine)))
    assert slot.engine_status is not None
    assert slot.engine_status.vm == vm
    assert slot.claims_vm is (vm == "up")


# odd ones that upstream accepts


def test_seven_tokens_without_checksum_are_enough() -> None:
    slot = decoded(slots.block(slots.tokens()[:7]))
    assert (slot.local_maintenance, slot.stopped, slot.conf_on_shared_storage) == (None, None, None)
    assert slot.local_conf_timestamp is None


def test_an_eleventh_token_alone_is_not_looked_at() -> None:
    slot = decoded(slots.block(slots.tokens(conf="rubbish")[:11]))
    assert slot.conf_on_shared_storage is None


def test_more_tokens_than_upstream_writes_are_kept() -> None:
    slot = decoded(slots.block(slots.tokens(extra=("he1:3:abcd", "x"))))
    assert slot.extra_tokens == ("he1:3:abcd", "x")


def test_a_negative_timestamp_is_a_timestamp() -> None:
    assert decoded(slots.block(slots.tokens(timestamp=-5))).timestamp == -5


def test_the_slot_number_counts_not_the_id_in_the_text() -> None:
    assert decoded(slots.block(slots.tokens(9)), 1).host_id == 1


def test_a_higher_feature_version_is_read() -> None:
    tokens = slots.tokens()
    tokens[1] = "7"
    assert decoded(slots.block(tokens)).score == 3400


def test_a_host_name_that_is_not_ascii_is_read_and_concerns_nobody_else() -> None:
    # upstream decodes all slots as one text: there it shifts every later slot by one character
    assert decoded(slots.block(slots.tokens(host_name="n\xf6de"))).host_name == "n\xf6de"


# what an agent of this kind adds


@pytest.mark.parametrize(("bits", "others_first"), [("0", False), ("1", True), ("2", False), ("ff", True)])
def test_the_thirteenth_token_tells_an_agent_of_this_kind(bits: str, others_first: bool) -> None:
    slot = decoded(slots.block(slots.tokens(extra=(f"he1:{bits}:0123abcd", "more"))))
    assert (slot.ours, slot.others_first, slot.policy_hash) == (True, others_first, "0123abcd")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "he1",
        "he1:",
        "he1::0123abcd",
        "he1:1",
        "he1:1:",
        "he1:1:0123abc",
        "he1:1:0123abcde",
        "he1:1:0123ABCD",
        "he1:A:0123abcd",
        "he1:-1:0123abcd",
        "he1:0x1:0123abcd",
        "he1:1:0123abcd:",
        "he1:1:0123abcd\n",
        "he1:\u0661:0123abcd",
        f"he1:{'1' * 17}:0123abcd",
        " he1:1:0123abcd",
        "he2:1:0123abcd",
        "HE1:1:0123abcd",
    ],
)
def test_a_thirteenth_token_that_is_not_exactly_so_is_another_agents(token: str) -> None:
    slot = decoded(slots.block(slots.tokens(extra=(token,))))
    assert (slot.ours, slot.others_first, slot.policy_hash) == (False, False, None)


def test_the_token_counts_in_its_place_only() -> None:
    assert not decoded(slots.block(slots.tokens(extra=("", "he1:1:0123abcd")))).ours
    assert not decoded(slots.block(slots.tokens(host_name="he1:1:0123abcd"))).ours


@pytest.mark.parametrize(
    ("human", "ago_s"),
    [
        ("engine_seen=990\n", 10),
        ("state=EngineDown\nengine_seen=1000\nengine_seen=5\n", 0),
        ("engine_seen=0\n", 1000),
        ("", None),
        ("engine_seen=1001\n", None),
        ("engine_seen=-1\n", None),
        ("engine_seen=990", None),
        ("engine_seen=99", None),
        ("engine_seen=\n", None),
        ("engine_seen= 990\n", None),
        ("engine_seen=9.5\n", None),
        ("engine_seen=9_0\n", None),
        ("engine_seen=\u0661\n", None),
        ("engine_seen=None\n", None),
        (f"engine_seen={'9' * 3000}\n", None),
        ("x engine_seen=990\n", None),
        ("not_engine_seen=990\n", None),
    ],
)
def test_when_it_saw_the_engine_last(human: str, ago_s: int | None) -> None:
    assert decoded(slots.block(slots.tokens(timestamp=1000), human)).engine_seen_ago_s == ago_s


def test_what_was_seen_more_than_a_day_ago_is_not_told() -> None:
    for timestamp, ago_s in ((86_400, 86_400), (86_401, None)):
        block = slots.block(slots.tokens(timestamp=timestamp), "engine_seen=0\n")
        assert decoded(block).engine_seen_ago_s == ago_s


@given(st.binary(max_size=3584), st.booleans())
def test_no_lines_for_people_harm_what_the_tokens_say(human: bytes, seen: bool) -> None:
    block = slots.block(slots.tokens())[:512] + (b"engine_seen=" * seen + human)[:3584].ljust(3584, b"\0")
    slot = decoded(block)
    assert slot.score == 3400
    assert slot.engine_seen_ago_s is None or 0 <= slot.engine_seen_ago_s <= 1000
    assert slot.state is None or slot.state.isprintable()


# engine status that cannot be read, or only in part: never "no"


@pytest.mark.parametrize(
    "engine",
    [
        "",
        "None",
        "down",
        "[]",
        '"up"',
        "{}",
        '{"health": "good"}',
        '{"vm": ["up"]}',
        '{"vm": "risen"}',
        "[" * 200,
    ],
)
def test_a_status_that_cannot_be_read_claims_neither(engine: str) -> None:
    slot = decoded(slots.block(slots.tokens(engine=engine)))
    assert slot.engine_status is None
    assert slot.claims_vm is None
    assert slot.engine_status_text == engine


@pytest.mark.parametrize("rest", ["", ', "health": "unknown"', ', "health": 7, "detail": null'])
def test_up_with_an_odd_rest_is_still_a_claim(rest: str) -> None:
    slot = decoded(slots.block(slots.tokens(engine=f'{{"vm": "up"{rest}}}')))
    assert slot.claims_vm is True
    assert slot.engine_status is not None
    assert slot.engine_status.detail is None


def test_control_characters_are_escaped() -> None:
    engine = '{"vm": "up", "detail": "\\u001b[2J\\ud800"}'
    slot = decoded(slots.block(slots.tokens(engine=engine, host_name="a\x1bb\nc"), "state=Engine\x07Up\n"))
    assert slot.engine_status is not None
    assert slot.engine_status.detail == "\\x1b[2J\\ud800"
    assert (slot.host_name, slot.state) == ("a\\x1bb\\nc", "Engine\\x07Up")


# what upstream refuses, or dies of


@pytest.mark.parametrize(
    ("tokens", "why"),
    [
        (["2", *slots.tokens()[1:]], "newer than 1"),
        (["0", "0", *slots.tokens()[2:]], "feature version 0 is older than 1"),
        (slots.tokens()[:6], "6 tokens, at least 7"),
        (["x", *slots.tokens()[1:]], "version number"),
        (["1", "x", *slots.tokens()[2:]], "token 1 (feature version) is 'x', not a whole number"),
        (["one", *slots.tokens()[1:]], "version number but with 'one|1|"),
        (slots.tokens(timestamp="5.5"), "token 2 (timestamp) is '5.5', not a whole number"),
        (slots.tokens(score=""), "token 4 (score)"),
        (slots.tokens(maintenance="yes"), "token 7 (local maintenance)"),
        (slots.tokens(stopped="no"), "token 8 (stopped)"),
        (slots.tokens(conf="True"), "token 10 (configuration on shared storage)"),
        (slots.tokens(conf_timestamp="today"), "token 11 (local configuration timestamp)"),
        # a bar in the reason shifts what follows it
        (
            slots.tokens(engine='{"vm": "down", "health": "bad", "detail": "x", "reason": "a|b"}'),
            "checksum is",
        ),
    ],
)
def test_a_broken_slot_says_what_is_wrong(tokens: list[str], why: str) -> None:
    assert why in refused(slots.block(tokens))


def test_a_checksum_in_upper_case_is_refused() -> None:
    block = golden("slot2-runs-the-engine")
    assert "checksum is '72BA0B1D', its text has 72ba0b1d" in refused(block.replace(b"72ba0b1d", b"72BA0B1D"))


def test_bytes_after_the_padding_are_covered_by_the_checksum() -> None:
    block = bytearray(golden("slot2-runs-the-engine"))
    block[500] = 65
    assert "checksum" in refused(bytes(block))


@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("byte", [4, 10, 60, 110])
def test_a_flipped_bit_is_noticed(byte: int, bit: int) -> None:
    block = bytearray(golden("slot2-runs-the-engine"))
    block[byte] ^= 1 << bit
    assert not isinstance(whiteboard.decode_slot(2, bytes(block)), HostSlot)


def test_bytes_that_are_no_text_are_named_by_their_place() -> None:
    block = golden("slot2-runs-the-engine")
    assert refused(block[:20] + b"\xff" + block[21:]) == "byte 20 is no text"


def test_half_a_character_in_the_lines_for_people_harms_nobody() -> None:
    block = slots.block(slots.tokens(), "state=EngineUp\nhost=")[:600] + b"\xc3\xff" * 10
    assert decoded(block).state == "EngineUp"


# empty, and beyond what deployment zeroes


def test_a_slot_that_begins_with_nul_is_empty_whatever_follows() -> None:
    assert whiteboard.decode_slot(2, bytes(4096)) == EmptySlot()
    assert whiteboard.decode_slot(2, b"\0" + b"rubbish" * 585) == EmptySlot()
    assert whiteboard.decode_slot(2, b"") == EmptySlot()


def test_garbage_beyond_the_zeroed_slots_is_empty_and_a_good_slot_there_is_read() -> None:
    assert refused(b"rubbish".ljust(4096, b"\0"), 255)
    assert whiteboard.decode_slot(256, b"rubbish".ljust(4096, b"\0")) == EmptySlot()
    assert whiteboard.decode_slot(2000, slots.block(["9", *slots.tokens()[1:]])) == EmptySlot()
    assert decoded(slots.block(slots.tokens(2000)), 2000).host_id == 2000


# slot 0


def test_global_maintenance_is_read_from_what_upstream_writes() -> None:
    flags = whiteboard.decode_global(golden("slot0-maintenance-on"))
    assert (flags.value, flags.raw) == (True, b"maintenance=1")
    for text, value in ((b"1", True), (b"True", True), (b"0", False), (b"False", False)):
        assert whiteboard.decode_global((b"maintenance=" + text).ljust(4096, b"\0")).value is value


def test_a_slot_0_that_was_never_written_is_known_to_be_off() -> None:
    flags = whiteboard.decode_global(bytes(4096))
    assert (flags.value, flags.raw) == (False, b"")
    assert "never written" in flags.reason


@pytest.mark.parametrize(
    "text",
    [
        b"maintenance=",
        b"maintenance=1\n",
        b"maintenance=yes",
        b"maintenance=2",
        b"Maintenance=1",
        b"x=1",
        b"maintenance=1maintenance=0",
        b"maintenance=1\nx=1",
        b"\xff",
    ],
)
def test_any_other_slot_0_is_unknown_and_the_reason_shows_it(text: bytes) -> None:
    flags = whiteboard.decode_global(text.ljust(4096, b"\0"))
    assert (flags.value, flags.raw) == (None, text)
    assert text.decode("ascii", "backslashreplace")[:12].strip() in flags.reason


@pytest.mark.parametrize("length", [0, 13, 512, 4095])
def test_a_slot_0_that_is_cut_short_is_unknown(length: int) -> None:
    flags = whiteboard.decode_global(golden("slot0-maintenance-on")[:length])
    assert flags.value is None
    assert f"{length} of 4096" in flags.reason


# any bytes at all


@given(
    st.integers(1, 2000),
    st.one_of(
        st.binary(max_size=4096),
        st.randoms(use_true_random=False).map(lambda r: r.randbytes(4096)),
        st.binary(max_size=600).map(lambda b: b"1|1|" + b),
        st.lists(st.text(max_size=12), max_size=16).map(
            lambda t: "|".join(["1", "1", *t]).encode(errors="replace")
        ),
    ),
)
def test_no_bytes_raise_or_leave_text_that_cannot_be_shown(host_id: int, block: bytes) -> None:
    slot = whiteboard.decode_slot(host_id, block)
    flags = whiteboard.decode_global(block)
    for text in (flags.reason, getattr(slot, "reason", ""), getattr(slot, "host_name", "")):
        assert text.isprintable()
    if isinstance(slot, HostSlot):
        assert slot.claims_vm in (True, False, None)


@given(st.integers(0, 4095), st.integers(1, 255))
def test_a_changed_byte_never_makes_another_host_out_of_a_slot(place: int, change: int) -> None:
    block = bytearray(golden("slot2-runs-the-engine"))
    block[place] ^= change
    before, after = decoded(golden("slot2-runs-the-engine")), whiteboard.decode_slot(2, bytes(block))
    if isinstance(after, HostSlot):
        # outside the tokens only the lines for people may differ; the own id in the text is not believed
        assert (after.timestamp, after.score, after.engine_status, after.host_name) == (
            before.timestamp,
            before.score,
            before.engine_status,
            before.host_name,
        )
