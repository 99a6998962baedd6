"""The whiteboard's slots, from bytes to values: upstream's format exactly (he-ha: lib/metadata.py).

Each slot is decoded alone: whatever a host wrote there, or whatever garbage
lies there, concerns that host only. Nothing here raises, for any bytes. What
this agent says beyond upstream stands where upstream does not look: in the
thirteenth token, and in lines for people.
"""

import enum
import functools
import json
import re
import zlib
from dataclasses import dataclass

from ovirt_he_agent.core import host_figures

SLOT_BYTES = 4096
TOKENS_BYTES = 512
"""The first block of a slot holds the tokens, the rest lines for people."""
MAX_HOST_ID = 2000
ZEROED_SLOTS = 256
"""Deployment zeroes slots 0..255; beyond them old garbage is normal on block storage."""
PARSE_VERSION = 1
FEATURE_VERSION = 1
MIN_TOKENS = 7
OWN_TOKEN = 12
"""Index of the token with which this agent makes itself known: ``he1:<bits, hex>:<policy hash>``."""
OTHERS_FIRST_BIT = 1
ENGINE_SEEN_LIMIT_S = 86_400


class VmWord(enum.StrEnum):
    """What a host says of the engine VM (lib/engine.py; ``unknown``: it cannot tell)."""

    UP = "up"
    DOWN = "down"
    DOWN_UNEXPECTED = "down_unexpected"
    DOWN_MISSING = "down_missing"
    UNKNOWN = "unknown"


class HealthWord(enum.StrEnum):
    """What a host says of the engine in its VM."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EmptySlot:
    """Never written, or cleaned: no such host."""


@dataclass(frozen=True, slots=True)
class BadSlot:
    """Something is written there that cannot be read; ``reason`` says what."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """Token 5. What is missing or no text that is known is None."""

    vm: VmWord
    health: HealthWord | None
    detail: str | None
    """VDSM's word for the VM's status, when the host knows it."""
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSlot:
    """What a host says of itself. Tokens that its version does not write are None."""

    host_id: int
    """The slot's number; the text's own is not believed."""
    timestamp: int
    """The writer's clock: only compared for change."""
    score: int
    engine_status: EngineStatus | None
    """None: token 5 is not JSON, or its ``vm`` is no word that is known."""
    engine_status_text: str
    """Token 5 as it stands there."""
    host_name: str
    local_maintenance: bool | None
    stopped: bool | None
    conf_on_shared_storage: bool | None
    local_conf_timestamp: int | None
    extra_tokens: tuple[str, ...]
    """Tokens after the twelve that upstream writes."""
    ours: bool
    """The writer is an agent of this kind: the thirteenth token says so. A damaged one is none."""
    others_first: bool
    """It asks better hosts to start the VM before it does so itself."""
    policy_hash: str | None
    """Of the rules that it goes by, eight lower-case hex digits; None: not ours."""
    state: str | None
    """``state=`` of the lines for people: upstream's state name."""
    engine_seen_ago_s: int | None
    """How long before ``timestamp`` it saw the engine's page good; None: not said, or more than a day."""
    figures: host_figures.HostFigures
    """Behind its score, for people; nothing is known if it is not ours."""

    @property
    def claims_vm(self) -> bool | None:
        """Whether it says that the VM is up there; None: what it says cannot be read."""
        # safety: upstream ranks a word that it does not know like "up"; here that is unknown, never "no"
        return None if self.engine_status is None else self.engine_status.vm is VmWord.UP


Slot = EmptySlot | BadSlot | HostSlot


@dataclass(frozen=True, slots=True)
class GlobalFlags:
    """Slot 0. ``value`` is global maintenance; None: unknown. ``reason`` says why, for people."""

    value: bool | None
    reason: str
    raw: bytes
    """What stands there without the padding: to compare before and after a write."""


def decode_slot(host_id: int, block: bytes) -> Slot:
    """The slot of ``host_id`` (1..2000) from its 4096 bytes; missing ones count as NUL."""
    if block[:1] in (b"", b"\0"):
        return EmptySlot()
    slot = _decode(host_id, block)
    if isinstance(slot, BadSlot) and host_id >= ZEROED_SLOTS:
        return EmptySlot()
    return slot


def decode_global(block: bytes) -> GlobalFlags:
    """Slot 0 from its 4096 bytes.

    A slot 0 that was never written (first byte NUL) is known to be off:
    deployment zeroes it, and whoever sets global maintenance writes it, so
    nobody ever did. Anything but upstream's own text, and a short read, is unknown.
    """
    text = block[:SLOT_BYTES].rstrip(b"\0")
    if len(block) < SLOT_BYTES:
        return GlobalFlags(
            None,
            f"slot 0 of the whiteboard is cut short ({len(block)} of {SLOT_BYTES} bytes): "
            f"check that the metadata volume is the right one and whole",
            text,
        )
    if block[0] == 0:
        return GlobalFlags(False, "slot 0 of the whiteboard was never written", text)
    match text:
        case b"maintenance=1" | b"maintenance=True":
            return GlobalFlags(True, "slot 0 of the whiteboard says so", text)
        case b"maintenance=0" | b"maintenance=False":
            return GlobalFlags(False, "slot 0 of the whiteboard says so", text)
        case _:
            return GlobalFlags(
                None,
                f"slot 0 of the whiteboard holds {_shown(text)}, not maintenance=0 or 1: set it anew "
                f"(hosted-engine --set-maintenance --mode=global, or none)",
                text,
            )


def checksum(tokens: list[str]) -> str:
    """CRC-32 of all tokens with the tenth as eight zeros; eight lower-case hex digits."""
    text = "|".join([*tokens[:9], "00000000", *tokens[10:]])
    return f"{zlib.crc32(text.encode()):08x}"


_NUMBERS = {
    1: "feature version",
    2: "timestamp",
    4: "score",
    7: "local maintenance",
    8: "stopped",
    10: "configuration on shared storage",
    11: "local configuration timestamp",
}
_CONF_TOKENS = 12
"""Tokens 10 and 11 count only together."""
_VERSION = re.compile(r"\d+")
_OURS = re.compile(r"he1:([0-9a-f]{1,16}):([0-9a-f]{8})")
_SECONDS = re.compile(rb"[0-9]{1,19}")
_VM_WORDS: dict[str, VmWord] = {word.value: word for word in VmWord}
_HEALTH_WORDS: dict[str, HealthWord] = {word.value: word for word in HealthWord}


def _decode(host_id: int, block: bytes) -> HostSlot | BadSlot:
    try:
        text = _without_padding(block[:TOKENS_BYTES]).decode()
    except UnicodeDecodeError as e:
        return BadSlot(f"byte {e.start} is no text")
    # the leading digits are the version whatever follows them: a later format may have another separator
    version = _VERSION.match(text)
    if version is None:
        return BadSlot(f"it does not start with a version number but with {_shown(text)}")
    if int(version[0]) > PARSE_VERSION:
        return BadSlot(f"its format {int(version[0])} is newer than {PARSE_VERSION}, which is known here")
    tokens = text.split("|")
    if len(tokens) < MIN_TOKENS:
        return BadSlot(f"{len(tokens)} tokens, at least {MIN_TOKENS} are needed")
    # before the numbers: of a damaged slot say that it is damaged, not what the damage looks like
    if len(tokens) > 9 and tokens[9] != (wanted := checksum(tokens)):
        return BadSlot(f"its checksum is {_shown(tokens[9])}, its text has {wanted}")
    numbers: dict[int, int] = {}
    for index, name in _NUMBERS.items():
        if index >= len(tokens) or (index >= 10 and len(tokens) < _CONF_TOKENS):
            continue
        try:
            numbers[index] = int(tokens[index])
        except ValueError:
            return BadSlot(f"token {index} ({name}) is {_shown(tokens[index])}, not a whole number")
    if numbers[1] < FEATURE_VERSION:
        return BadSlot(f"its feature version {numbers[1]} is older than {FEATURE_VERSION}")
    flags = {index: numbers[index] > 0 for index in (7, 8, 10) if index in numbers}
    ours = _OURS.fullmatch(tokens[OWN_TOKEN]) if len(tokens) > OWN_TOKEN else None
    human = _without_padding(block[TOKENS_BYTES:SLOT_BYTES])
    return HostSlot(
        host_id=host_id,
        timestamp=numbers[2],
        score=numbers[4],
        engine_status=_engine_status(tokens[5]),
        engine_status_text=_printable(tokens[5]),
        host_name=_printable(tokens[6]),
        local_maintenance=flags.get(7),
        stopped=flags.get(8),
        conf_on_shared_storage=flags.get(10),
        local_conf_timestamp=numbers.get(11),
        extra_tokens=tuple(map(_printable, tokens[12:])),
        ours=ours is not None,
        others_first=ours is not None and bool(int(ours[1], 16) & OTHERS_FIRST_BIT),
        policy_hash=ours[2] if ours else None,
        state=_state(human),
        engine_seen_ago_s=_engine_seen_ago_s(human, numbers[2]),
        figures=host_figures.decode(human) if ours is not None else host_figures.NONE,
    )


def _without_padding(data: bytes) -> bytes:
    """As ``rstrip`` of NUL, which looks at each of some thousand bytes."""
    end = data.find(b"\0")
    if end < 0 or data[end:] == _PADDING[: len(data) - end]:
        return data[:end] if end >= 0 else data
    return data.rstrip(b"\0")


_PADDING = bytes(SLOT_BYTES)


@functools.lru_cache(maxsize=128)
def _engine_status(text: str) -> EngineStatus | None:
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(status, dict):
        return None
    vm, health = status.get("vm"), status.get("health")
    if not isinstance(vm, str) or vm not in _VM_WORDS:
        return None
    return EngineStatus(
        vm=_VM_WORDS[vm],
        health=_HEALTH_WORDS.get(health) if isinstance(health, str) else None,
        detail=_text(status.get("detail")),
        reason=_text(status.get("reason")),
    )


def _text(value: object) -> str | None:
    return _printable(value) if isinstance(value, str) else None


def _state(human: bytes) -> str | None:
    line = _line(human, b"state=")
    return _printable(line.rstrip(b"\0\n").decode(errors="replace").strip()) or None if line else None


def _engine_seen_ago_s(human: bytes, timestamp: int) -> int | None:
    # with its end: of a number that was cut off the beginning is another number
    line = _line(human, b"engine_seen=")
    if line is None or not line.endswith(b"\n") or not _SECONDS.fullmatch(line, 0, len(line) - 1):
        return None
    ago_s = timestamp - int(line)
    return ago_s if 0 <= ago_s <= ENGINE_SEEN_LIMIT_S else None


def _line(human: bytes, key: bytes) -> bytes | None:
    """What follows ``key`` on the first line that begins with it, with the line's end if it has one."""
    at = 0
    if not human.startswith(key):
        at = human.find(b"\n" + key) + 1
        if at == 0:
            return None
    end = human.find(b"\n", at)
    return human[at + len(key) : end + 1 if end >= 0 else None]


def _printable(text: str) -> str:
    """Other hosts' text ends up in logs and on terminals: control characters and the like escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _shown(text: str | bytes) -> str:
    """The beginning of ``text``, quoted, for a message."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")  # every byte a character, which ``ascii`` shows by its number
    return ascii(text if len(text) <= 40 else text[:40] + "...")
