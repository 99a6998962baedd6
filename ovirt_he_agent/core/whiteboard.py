"""The whiteboard's slots, from bytes to values: upstream's format exactly.

Source: ovirt-hosted-engine-ha: lib/metadata.py. Each slot is decoded alone and
as bytes: whatever one host wrote, or whatever garbage lies there, concerns that
host only. Nothing here raises.
"""

import json
import re
import zlib
from dataclasses import dataclass

SLOT_BYTES = 4096
TOKENS_BYTES = 512
"""The first block holds the tokens, the rest lines for people."""
MAX_HOST_ID = 2000
ZEROED_AT_DEPLOYMENT = 256
"""Slots that deployment zeroes; beyond them old garbage is normal on block storage."""

_STATE = re.compile(rb"^state=(\w+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class EmptySlot:
    """Never written, or cleaned: no such host."""


@dataclass(frozen=True, slots=True)
class BadSlot:
    """Something is written there that cannot be read; ``reason`` says what."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """What a host says of the engine VM (ha f)."""

    vm: str
    health: str
    detail: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSlot:
    """What a host says of itself. ``host_id`` is the slot's number; the text's own is not believed."""

    host_id: int
    timestamp: int
    """The writer's clock: only compared for change."""
    score: int
    engine_status: EngineStatus | None
    """None: not the JSON object that it should be."""
    host_name: str
    local_maintenance: bool | None = None
    stopped: bool | None = None
    conf_on_shared_storage: bool | None = None
    local_conf_timestamp: int | None = None
    extra_tokens: tuple[str, ...] = ()
    state: str | None = None
    """From the lines for people."""

    @property
    def claims_vm(self) -> bool:
        """It says that the VM is up there; an unreadable status claims nothing."""
        return self.engine_status is not None and self.engine_status.vm == "up"


Slot = EmptySlot | BadSlot | HostSlot


@dataclass(frozen=True, slots=True)
class GlobalFlags:
    """Slot 0. ``value`` is global maintenance; None: unknown, for ``reason``."""

    value: bool | None
    reason: str


def decode_slot(host_id: int, block: bytes) -> Slot:
    """The slot of ``host_id`` (1..2000), from its 4096 bytes; fewer count as NUL."""
    if block[:1] in (b"", b"\0"):
        return EmptySlot()
    slot = _decode(host_id, block[:TOKENS_BYTES].rstrip(b"\0"), block[TOKENS_BYTES:])
    if isinstance(slot, BadSlot) and host_id >= ZEROED_AT_DEPLOYMENT:
        return EmptySlot()
    return slot


def _decode(host_id: int, tokens_bytes: bytes, rest: bytes) -> HostSlot | BadSlot:
    try:
        tokens = tokens_bytes.decode("ascii").split("|")
    except UnicodeDecodeError as e:
        return BadSlot(f"byte {e.start} is not ASCII")
    if not (version := re.match(r"\d+", tokens[0])):
        return BadSlot("it does not start with a version number")
    if int(version[0]) > 1:
        return BadSlot(f"its format version {int(version[0])} is newer than 1")
    if len(tokens) < 7:
        return BadSlot(f"{len(tokens)} fields, at least 7 are needed")
    numbers = {}
    for index, name in _NUMBERS.items():
        if index >= len(tokens):
            continue
        number = _integer(tokens[index])
        if number is None:
            return BadSlot(f"{name} is {tokens[index][:40]!r}, not a number")
        numbers[index] = number
    if numbers[1] < 1:
        return BadSlot(f"its feature version {numbers[1]} is older than 1")
    if len(tokens) > 9 and tokens[9] != (wanted := checksum(tokens)):
        return BadSlot(f"checksum {tokens[9][:16]!r}, its text has {wanted}")
    flags = {index: numbers[index] > 0 for index in (7, 8, 10) if index in numbers}
    return HostSlot(
        host_id=host_id,
        timestamp=numbers[2],
        score=numbers[4],
        engine_status=_engine_status(tokens[5]),
        host_name=tokens[6],
        local_maintenance=flags.get(7),
        stopped=flags.get(8),
        conf_on_shared_storage=flags.get(10),
        local_conf_timestamp=numbers.get(11),
        extra_tokens=tuple(tokens[12:]),
        state=_state(rest),
    )


_NUMBERS = {
    1: "feature version",
    2: "timestamp",
    4: "score",
    7: "local maintenance",
    8: "stopped",
    10: "configuration on shared storage",
    11: "configuration timestamp",
}


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text) else None


def checksum(tokens: list[str]) -> str:
    """CRC-32 of all tokens with the tenth as eight zeros, eight lower-case digits."""
    text = "|".join([*tokens[:9], "00000000", *tokens[10:]])
    return f"{zlib.crc32(text.encode()):08x}"


def _engine_status(text: str) -> EngineStatus | None:
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(status, dict):
        return None
    vm, health, detail = (status.get(key) for key in ("vm", "health", "detail"))
    reason = status.get("reason")
    if not (isinstance(vm, str) and isinstance(health, str) and isinstance(detail, str)):
        return None
    return EngineStatus(
        vm=vm, health=health, detail=detail, reason=reason if isinstance(reason, str) else None
    )


def _state(rest: bytes) -> str | None:
    found = _STATE.search(rest.split(b"\0", 1)[0])
    return found[1].decode("ascii", "replace") if found else None


def decode_global(block: bytes) -> GlobalFlags:
    """Slot 0 from its 4096 bytes.

    A slot that was never written is known to be off: deployment zeroes it and
    whoever sets global maintenance writes it. Anything else than upstream's
    text, and a short read, is unknown.
    """
    if len(block) < SLOT_BYTES:
        return GlobalFlags(None, f"slot 0 of the whiteboard is cut short: {len(block)} of {SLOT_BYTES} bytes")
    if block[:1] == b"\0":
        return GlobalFlags(False, "slot 0 was never written")
    text = block.rstrip(b"\0")
    match text:
        case b"maintenance=1" | b"maintenance=True":
            return GlobalFlags(True, "slot 0 says so")
        case b"maintenance=0" | b"maintenance=False":
            return GlobalFlags(False, "slot 0 says so")
        case _:
            shown = text[:40].decode("ascii", "backslashreplace")
            return GlobalFlags(
                None,
                f"slot 0 of the whiteboard holds {shown!r}; set it anew: "
                f"hosted-engine --set-maintenance --mode=none (or global)",
            )
