"""Assertions on the whiteboard's bytes: upstream reads what was meant, and what comes in is judged alone.

Each gives what it finds wrong, as text; nothing, without a fault. The other side is the model of
upstream's own parser (``sim.cluster.upstream.slots``), files that upstream wrote, and plain text.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ovirt_he_agent.core import own_slot, whiteboard
from ovirt_he_agent.core.whiteboard import EngineStatus, HealthWord, VmWord
from ovirt_he_agent.sim.cluster.upstream import slots as upstream
from tests import own_slots, slots

GOLDEN = Path(__file__).parents[1] / "golden" / "whiteboard"
NASTY = EngineStatus(vm=VmWord.UP, health=None, detail="Up|\xe9\n" * 40, reason='"\\|' * 300)


def upstream_reads_our_slots() -> Iterator[str]:
    """Whatever is said: its parser accepts it, its ranking does not raise, and it is what was meant."""
    for facts in (
        {},
        {"engine": own_slots.UP},
        {"engine": NASTY, "host_name": "a|b\xe9" * 90},
        {"engine": replace(NASTY, vm=VmWord.UP, health=HealthWord.UNKNOWN)},
        {"engine": replace(NASTY, vm=VmWord.UNKNOWN)},
        {"local_maintenance": True},
        {"stopped": True},
        {"timestamp_s": 1 << 80, "score": -(1 << 80), "others_first": False, "policy_hash": "|"},
        {"state": "a\nstopped=True", "notes": (("engine_seen", "1"), ("key", "\xe9" * 4000))},
    ):
        slot = own_slots.own_slot(**facts)
        block = own_slot.encode(slot)
        if len(block) != 4096 or not block.isascii():
            yield f"{facts}: {len(block)} bytes, ASCII: {block.isascii()}"
            continue
        parsed = upstream.parse(2, block.decode())
        if parsed.record is None or parsed.record.rank is None or parsed.uncaught:
            yield f"{facts}: upstream reads {parsed}"
            continue
        tokens = block[:512].decode().rstrip("\0").split("|")
        flags = str(int(slot.local_maintenance)), str(int(slot.stopped))
        if parsed.record.timestamp != min(slot.timestamp_s, (1 << 63) - 1) or tokens[3] != "2":
            yield f"{facts}: upstream reads time {parsed.record.timestamp} and host {tokens[3]}"
        if (tokens[7], tokens[8]) != flags or f'"vm": "{slot.engine.vm.value}"' not in tokens[5]:
            yield f"{facts}: upstream reads {tokens}"
        lines = block[512:].rstrip(b"\0").decode()
        if lines.count("\nstopped=") != 1 or not lines.endswith("\n"):
            yield f"{facts}: the lines for people are {lines[-200:]!r}"


def we_read_our_slots() -> Iterator[str]:
    slot = own_slots.own_slot()
    found = whiteboard.decode_slot(2, own_slot.encode(slot))
    if not isinstance(found, whiteboard.HostSlot):
        yield f"{found}"
        return
    said = (found.timestamp, found.score, found.host_name, found.state, found.others_first, found.ours)
    meant = (slot.timestamp_s, slot.score, slot.host_name, slot.state, True, True)
    if said != meant or found.policy_hash != slot.policy_hash or found.engine_seen_ago_s != 5:
        yield f"{found}"
    later = own_slot.encode(replace(slot, engine_seen_s=slot.timestamp_s + 7))
    after = whiteboard.decode_slot(2, later)
    if not isinstance(after, whiteboard.HostSlot) or after.engine_seen_ago_s is not None:
        yield f"seen in the future: {after}"


def we_read_upstreams_slots() -> Iterator[str]:
    golden = {int(path.name[4]): path.read_bytes() for path in GOLDEN.glob("slot*.bin")}
    if whiteboard.decode_global(golden[0]).value is not True:
        yield "slot 0 says that maintenance is on"
    for host_id, claims, stopped, maintenance in (
        (1, False, False, False),
        (2, True, False, False),
        (3, False, True, True),
    ):
        found = whiteboard.decode_slot(host_id, golden[host_id])
        said = isinstance(found, whiteboard.HostSlot) and (
            found.claims_vm,
            found.stopped,
            found.local_maintenance,
        )
        if said != (claims, stopped, maintenance):
            yield f"slot {host_id}: {found}"


def damage_is_damage() -> Iterator[str]:
    """Whatever lies in a slot: nothing raises, and only a whole slot says something."""
    chance = random.Random(1)
    good = slots.block(slots.tokens(engine=slots.UP))
    torn = [good[:at] + chance.randbytes(16) + good[at + 16 :] for at in range(1, 160, 7)]
    words = [
        slots.block(slots.tokens(engine="not json")),
        slots.block(slots.tokens(engine="[" * 400)),
        slots.block(slots.tokens(engine='{"vm": "sideways"}')),
    ]
    bad = [
        slots.block(slots.tokens(engine=slots.UP), checksum=False),
        slots.block(["2", *slots.tokens(engine=slots.UP)[1:]]),
        slots.block("1|1|5"),
        slots.block(slots.tokens(timestamp="x")),
        slots.block(slots.tokens(score="")),
        b"\xff" * 4096,
    ]
    for block in (*torn, *words, *bad, *(chance.randbytes(4096) for _ in range(20))):
        try:
            found = whiteboard.decode_slot(2, block)
            whiteboard.decode_global(block)
        except Exception as e:  # noqa: BLE001 - that is what must not be
            yield f"{block[:80]!r} raises {type(e).__name__}"
            continue
        if isinstance(found, whiteboard.HostSlot) and found.claims_vm is not None:
            yield f"{block[:80]!r} is believed"
    for block in bad:
        if not isinstance(whiteboard.decode_slot(2, block), whiteboard.BadSlot):
            yield f"{block[:80]!r} is not bad"
    if not isinstance(whiteboard.decode_slot(2, bytes(4096)), whiteboard.EmptySlot):
        yield "an empty slot is not empty"
    if not isinstance(whiteboard.decode_slot(999, b"\xff" * 4096), whiteboard.EmptySlot):
        yield "old garbage beyond the slots that deployment zeroes is taken for a host"


def slot_0_is_known_or_unknown() -> Iterator[str]:
    for block, value in (
        (own_slot.encode_global(True), True),
        (own_slot.encode_global(False), False),
        (upstream.global_block(True), True),
        (upstream.global_block(False), False),
        (b"maintenance=True".ljust(4096, b"\0"), True),
        (bytes(4096), False),
        (b"maintenance=0", None),
        (b"maintenance=01".ljust(4096, b"\0"), None),
        (b"garbage".ljust(4096, b"\0"), None),
    ):
        if (found := whiteboard.decode_global(block).value) is not value:
            yield f"{block[:20]!r} of {len(block)} bytes is {found}, not {value}"
    for on in (True, False):
        if upstream.parse_global(own_slot.encode_global(on).decode()) is not on:
            yield f"upstream does not read {on}"


def upstream_and_we_count_alike() -> Iterator[str]:
    """The checksum of texts whose CRC begins with zeros, too."""
    for timestamp in range(1000, 1400):
        tokens = slots.tokens(timestamp=timestamp)
        if whiteboard.checksum(tokens) != upstream.checksum(tokens):
            yield f"timestamp {timestamp}"


def kept_state_is_whole() -> Iterator[str]:
    """The state's file: of another boot no times, damaged not at all."""
    from ovirt_he_agent.core import state_file
    from ovirt_he_agent.core.model import MonotonicMs
    from ovirt_he_agent.core.state import Attempt, End, State

    attempt = Attempt(MonotonicMs(5), End.CRASH, "it crashed")
    state = State(not_before=MonotonicMs(7_000_000), attempts=(attempt,), last_end=attempt, last_runner=2)
    data = state_file.encode(state_file.durable(state), "this boot")
    if state_file.decode(data, "this boot") != state:
        yield "it does not come back"
    if state_file.decode(data, "another boot").not_before:
        yield "a time of another boot is believed"
    for damaged in (data[:-3], data.replace(b"7000000", b"8000000"), b"", data[10:]):
        try:
            state_file.decode(damaged, "this boot")
        except state_file.BadState:
            continue
        yield f"{damaged[:40]!r} is believed"


ASSERTIONS: dict[str, Callable[[], Iterator[str]]] = {
    assertion.__name__: assertion
    for assertion in (
        upstream_reads_our_slots,
        we_read_our_slots,
        we_read_upstreams_slots,
        damage_is_damage,
        slot_0_is_known_or_unknown,
        upstream_and_we_count_alike,
        kept_state_is_whole,
    )
}
