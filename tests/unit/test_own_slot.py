"""The own slot's codec: upstream's bytes exactly, and any values without harm to an upstream reader."""

import binascii
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import host_figures, own_slot, whiteboard
from ovirt_he_agent.core.own_slot import OwnSlot
from ovirt_he_agent.core.whiteboard import EngineStatus, HealthWord, HostSlot, VmWord
from tests import own_slots
from tests.own_slots import NOT_HERE, UP

GOLDEN = Path(__file__).parents[1] / "golden" / "whiteboard"
LARGEST = (1 << 63) - 1


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.bin").read_bytes()


def decoded(slot: OwnSlot) -> HostSlot:
    there = whiteboard.decode_slot(2, own_slot.encode(slot))
    assert isinstance(there, HostSlot), there
    return there


def first_block(slot: OwnSlot) -> list[str]:
    return own_slot.encode(slot)[:512].rstrip(b"\0").decode("ascii").split("|")


# upstream's bytes


EXAMPLES = {
    "slot1-standby": own_slots.own_slot(
        host_id=1, host_name="node-a.example.org", timestamp_s=8127, conf_refreshed_s=8121
    ),
    "slot2-runs-the-engine": own_slots.own_slot(engine=UP, state="EngineUp", engine_seen_s=None),
    "slot3-maintenance-stopped": own_slots.own_slot(
        host_id=3,
        host_name="node-c.example.org",
        timestamp_s=777,
        score=0,
        local_maintenance=True,
        stopped=True,
        conf_refreshed_s=700,
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_tokens_are_upstreams_to_the_byte(name: str) -> None:
    assert own_slot.tokens(EXAMPLES[name], ()).encode().ljust(512, b"\0") == golden(name)[:512]


def test_the_lines_for_people_are_upstreams_to_the_byte() -> None:
    name = "slot2-runs-the-engine"
    assert own_slot.encode(EXAMPLES[name])[512:] == golden(name)[512:]


def test_slot_0_is_upstreams_to_the_byte() -> None:
    assert own_slot.encode_global(True) == golden("slot0-maintenance-on")
    assert own_slot.encode_global(False) == b"maintenance=0".ljust(4096, b"\0")
    assert whiteboard.decode_global(own_slot.encode_global(False)).value is False


def test_what_is_ours_follows_what_is_upstreams() -> None:
    slot = own_slots.own_slot(notes=(("phase", "standby"), ("why", "host 1 has it")))
    block = own_slot.encode(slot)
    assert block[:512].rstrip(b"\0").endswith(b"|1|51230|he1:1:0123abcd")
    lines = block[512:].rstrip(b"\0")
    assert lines.endswith(b"\nstopped=False\nengine_seen=51229\nphase=standby\nwhy=host 1 has it\n")


@pytest.mark.parametrize(("others_first", "token"), [(True, "he1:1:0123abcd"), (False, "he1:0:0123abcd")])
def test_the_token_that_tells_what_it_can_do(others_first: bool, token: str) -> None:
    assert first_block(own_slots.own_slot(others_first=others_first))[12] == token


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        (UP, '{"vm": "up", "health": "good", "detail": "Up"}'),
        (
            EngineStatus(vm=VmWord.UP, health=HealthWord.BAD, detail="Paused", reason="bad vm status"),
            '{"vm": "up", "health": "bad", "detail": "Paused", "reason": "bad vm status"}',
        ),
        (NOT_HERE, golden("slot1-standby").split(b"|")[5].decode()),
        (
            EngineStatus(vm=VmWord.UP, health=None, detail=None, reason=None),
            '{"vm": "up", "health": "bad", "detail": "unknown"}',
        ),
        (
            EngineStatus(vm=VmWord.UP, health=HealthWord.UNKNOWN, detail="", reason=""),
            '{"vm": "up", "health": "bad", "detail": "", "reason": ""}',
        ),
        (
            EngineStatus(vm=VmWord.UNKNOWN, health=None, detail="unknown", reason="failed to getVmStats"),
            '{"vm": "unknown", "health": "unknown", "detail": "unknown", "reason": "failed to getVmStats"}',
        ),
    ],
)
def test_the_engines_status_is_json_that_upstream_can_rank(engine: EngineStatus, text: str) -> None:
    assert first_block(own_slots.own_slot(engine=engine))[5] == text


# what would harm readers


def test_bars_control_characters_and_what_is_not_ascii_are_replaced() -> None:
    engine = EngineStatus(vm=VmWord.DOWN, health=HealthWord.BAD, detail="a|b", reason='\n"\\\0\xe9|\ud800')
    slot = own_slots.own_slot(
        engine=engine,
        host_name="n\xf6de|\x1b[2J",
        state="Engine\nUp",
        notes=(("a b=\n", "x\ny\0z"),),
        time_text="1\r\n2",
    )
    there = decoded(slot)
    assert there.engine_status == EngineStatus(
        vm=VmWord.DOWN, health=HealthWord.BAD, detail="a/b", reason='?"\\??/?'
    )
    assert (there.host_name, there.state) == ("n?de/?[2J", "Engine?Up")
    lines = own_slot.human(slot).splitlines()
    assert lines[2] == "timestamp=51234 (1??2)"
    assert lines[-1] == "a_b__=x?y?z"


@pytest.mark.parametrize(
    "key", ["state", "engine_seen", "engine seen", "timestamp", "host-id", *host_figures.KEYS]
)
@pytest.mark.parametrize("seen_s", [None, 51000])
def test_a_note_cannot_be_taken_for_what_has_a_meaning(key: str, seen_s: int | None) -> None:
    there = decoded(own_slots.own_slot(notes=((key, "51234"),), engine_seen_s=seen_s, state=""))
    assert (there.state, there.engine_seen_ago_s) == (None, None if seen_s is None else 234)
    assert there.figures == host_figures.NONE


@pytest.mark.parametrize("policy", ["", "0123ABCD", "0123abcde", "x|y", "\xe9" * 8, "0123abcd\n"])
def test_a_policy_that_is_no_hash_agrees_with_nobodys(policy: str) -> None:
    there = decoded(own_slots.own_slot(policy_hash=policy))
    assert (there.ours, there.policy_hash) == (True, "00000000")


def test_numbers_are_cut_to_64_bits() -> None:
    there = decoded(own_slots.own_slot(timestamp_s=10**5000, score=-(10**5000)))
    assert (there.timestamp, there.score) == (LARGEST, -LARGEST)


# what would be too long


def engine(reason: str) -> EngineStatus:
    return EngineStatus(vm=VmWord.DOWN_UNEXPECTED, health=HealthWord.BAD, detail="Down", reason=reason)


def test_a_long_reason_is_shortened_and_the_block_is_full() -> None:
    slot = own_slots.own_slot(engine=engine("r" * 600))
    block = own_slot.encode(slot)
    assert len(block[:512].rstrip(b"\0")) == 512
    there = decoded(slot)
    assert there.engine_status is not None
    assert there.engine_status.reason == "r" * len(there.engine_status.reason or "")
    assert there.host_name == slot.host_name


@pytest.mark.parametrize("character", ['"', "\\"])
def test_a_reason_is_not_cut_within_an_escape(character: str) -> None:
    for before in ("", "x"):
        tokens = first_block(own_slots.own_slot(engine=engine(before + character * 600)))
        assert 510 < len("|".join(tokens)) <= 512
        assert set(json.loads(tokens[5])["reason"]) <= {"x", character}


def test_the_host_name_gives_way_when_no_reason_is_left() -> None:
    slot = own_slots.own_slot(engine=engine("r" * 600), host_name="h" * 600)
    there = decoded(slot)
    assert there.engine_status is not None
    assert there.engine_status.reason == ""
    assert 250 < len(there.host_name) < 400
    assert there.ours


def test_a_name_as_long_as_names_get_leaves_room_for_upstreams_longest_reason() -> None:
    reason = "Storage of VM is locked. Is another host already starting the VM?"
    there = decoded(own_slots.own_slot(engine=engine(reason), host_name="h" * 253))
    assert there.engine_status is not None
    assert (len(there.host_name), there.engine_status.reason) == (253, reason)


def test_lines_for_people_end_with_the_last_that_fits() -> None:
    notes = tuple((f"note{n}", "x" * 90) for n in range(100))
    text = own_slot.human(own_slots.own_slot(notes=notes))
    assert 3584 - 100 < len(text) <= 3584
    assert text.endswith("x" * 90 + "\n")
    assert "stopped=False\nengine_seen=51229\nnote0=" in text
    assert own_slot.human(own_slots.own_slot(notes=(("long", "x" * 4000),))) == own_slot.human(
        own_slots.own_slot()
    )


# any values at all


def plain(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def cleaned(text: str) -> str:
    return plain(text).replace("|", "/")


def in_64_bits(number: int) -> int:
    return max(-LARGEST, min(number, LARGEST))


@given(own_slots.own_slots)
def test_the_rules_of_the_whiteboard_hold_for_any_values(slot: OwnSlot) -> None:
    block = own_slot.encode(slot)
    assert len(block) == 4096
    assert block.isascii()
    text = block[:512].rstrip(b"\0")
    assert b"\0" not in text
    parts = text.decode().split("|")
    assert len(parts) == 13
    assert all(part.isprintable() for part in parts)
    for index in (0, 1, 2, 3, 4, 7, 8, 10, 11):
        assert str(int(parts[index])) == parts[index]
    assert parts[:2] == ["1", "1"]
    crc, parts[9] = parts[9], "00000000"
    assert crc == f"{binascii.crc32('|'.join(parts).encode()):08x}"
    status = json.loads(parts[5])
    assert {"vm", "health", "detail"} <= set(status) <= {"vm", "health", "detail", "reason"}
    assert status["vm"] != "up" or status["health"] in ("good", "bad")
    assert ('"vm": "up"' in parts[5]) is (slot.engine.vm is VmWord.UP)
    lines = block[512:].rstrip(b"\0").decode()
    assert lines.endswith("\n")
    assert all(line.isprintable() for line in lines[:-1].split("\n"))


@given(st.integers(1, 2000), own_slots.own_slots)
def test_what_was_written_is_read_again(host_id: int, slot: OwnSlot) -> None:
    there = whiteboard.decode_slot(host_id, own_slot.encode(slot))
    assert isinstance(there, HostSlot), there
    assert there.host_id == host_id
    assert there.timestamp == in_64_bits(slot.timestamp_s)
    assert there.score == in_64_bits(slot.score)
    assert there.local_conf_timestamp == in_64_bits(slot.conf_refreshed_s)
    assert there.local_maintenance is slot.local_maintenance
    assert there.stopped is slot.stopped
    assert there.conf_on_shared_storage is slot.conf_on_shared_storage
    assert there.claims_vm is (slot.engine.vm is VmWord.UP)
    assert (there.ours, there.others_first) == (True, slot.others_first)
    is_hash = len(slot.policy_hash) == 8 and set(slot.policy_hash) <= set("0123456789abcdef")
    assert there.policy_hash == (slot.policy_hash if is_hash else "00000000")
    assert cleaned(slot.host_name).startswith(there.host_name)
    if len(slot.host_name) <= 150:
        assert there.host_name == cleaned(slot.host_name)
    assert there.state == (plain(slot.state)[:64].strip() or None)
    ago_s = None if slot.engine_seen_s is None else there.timestamp - in_64_bits(slot.engine_seen_s)
    known = ago_s is not None and 0 <= ago_s <= 86_400 and (slot.engine_seen_s or 0) >= 0
    assert there.engine_seen_ago_s == (ago_s if known else None)
    assert host_figures.lines(there.figures) == host_figures.lines(slot.figures)
    status, wanted = there.engine_status, slot.engine
    assert status is not None
    assert status.vm is wanted.vm
    if wanted.vm is VmWord.UP:
        assert status.health is (HealthWord.GOOD if wanted.health is HealthWord.GOOD else HealthWord.BAD)
    else:
        assert status.health is (wanted.health or HealthWord.UNKNOWN)
    assert status.detail == ("unknown" if wanted.detail is None else cleaned(wanted.detail)[:64])
    assert (status.reason is None) is (wanted.reason is None)
    assert cleaned(wanted.reason or "").startswith(status.reason or "")
    if len(slot.host_name) + 2 * len(wanted.reason or "") <= 150:
        assert status.reason == (None if wanted.reason is None else cleaned(wanted.reason))
