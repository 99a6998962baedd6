"""The whiteboard as the old daemons read and write it (he-ha: lib/metadata.py, broker/storage_broker.py).

What they survive, what ends their monitoring loop and what stops every broker at
once is the point of this module; our own reading is ``core.whiteboard``.
"""

import functools
import json
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from ovirt_he_agent import errors
from ovirt_he_agent.core.whiteboard import MAX_HOST_ID, SLOT_BYTES, TOKENS_BYTES

Status = Mapping[str, str]
"""Engine status, token 5: ``vm``, ``health``, ``detail``, perhaps ``reason``, or whatever a host wrote."""


class Uncaught(errors.HeAgentError):
    """An exception that nobody catches there: it ends the agent's monitoring loop."""

    msg = "{self.what}: what the old agent cannot read ends its monitoring loop"

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what


class Undecodable(errors.HeAgentError):
    """The volume as a whole is no UTF-8: the broker stops."""

    msg = "the whiteboard holds bytes that are no UTF-8: write the slot anew that holds them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one other host says of itself."""

    host_id: int
    timestamp: int
    score: int
    status: Status | None
    rank: int | None
    """None: ranking this status raises."""
    host_name: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """The outcome of one slot."""

    record: Record | None = None
    """None: an empty record, of a host that is never alive."""
    too_new: bool = False
    """The host is left out."""
    uncaught: str = ""
    """Not empty: reading it raises."""


MALFORMED = Parsed()


def rank(status: Status | None) -> int | None:
    """Orders engine statuses, the best is highest (lib/util.py: engine_status_score); None: it raises."""
    if status is None or "vm" not in status:
        return None
    vm = status["vm"]
    if vm == "unknown":
        return 0
    if vm in ("down", "down_unexpected", "down_missing"):
        return 1
    if vm == "up":
        if "detail" not in status:
            return None
        if status["detail"] == "Paused":
            return 2
    return {"bad": 3, "good": 4}.get(status.get("health", ""))


def parse(host_id: int, text: str) -> Parsed:
    """One slot's text; the order of the checks is the order in which upstream's raise."""
    if len(text) < TOKENS_BYTES:
        return MALFORMED
    head = text[:TOKENS_BYTES].rstrip("\0")
    version = re.match(r"\d+", head)
    if version is None:
        return MALFORMED
    if int(version[0]) > 1:
        return Parsed(too_new=True)
    tokens = head.split("|")
    if len(tokens) < 7:
        return MALFORMED
    try:
        if int(tokens[1]) < 1:
            return MALFORMED
    except ValueError:
        return MALFORMED
    try:
        timestamp, score = int(tokens[2]), int(tokens[4])
        for flag in tokens[7:9]:
            int(flag)
        if len(tokens) >= 10 and tokens[9] != checksum(tokens):
            return MALFORMED
        if len(tokens) >= 12:
            int(tokens[10]), int(tokens[11])
    except ValueError as e:
        return Parsed(uncaught=f"slot {host_id}: {e}")
    status = read_status(tokens[5])
    return Parsed(
        Record(
            host_id=host_id,
            timestamp=timestamp,
            score=score,
            status=status,
            rank=rank(status),
            host_name=tokens[6],
        )
    )


@functools.lru_cache(maxsize=256)  # the same few texts come every 10 s
def read_status(text: str) -> Status | None:
    """Token 5, or what a monitor says (agent/hosted_engine.py: engine_status)."""
    if text == "None":
        return None
    try:
        return {str(key): str(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError):
        return {"vm": "unknown", "health": "unknown", "detail": "serialization error"}


def parse_global(text: str) -> bool:
    """Slot 0: whether it says global maintenance. Raises Uncaught."""
    if len(text) < SLOT_BYTES:
        return False
    maintenance = False
    for line in text[:SLOT_BYTES].rstrip("\0").split("\n"):
        key, sign, value = line.partition("=")
        if not sign or key != "maintenance":
            continue  # logged, each time
        first = value.lower()[:1]
        if first not in tuple("ty1fn0"):
            raise Uncaught(f"slot 0: {value!r} is no boolean")
        maintenance = first in tuple("ty1")
    return maintenance


def global_block(on: bool) -> bytes:
    return f"maintenance={int(on)}".encode().ljust(SLOT_BYTES, b"\0")


def segments(blocks: Mapping[int, bytes]) -> dict[int, bytes]:
    """The slots as the broker cuts them: one text of the whole volume, 4096 *characters* to a slot.

    A character of two bytes moves everything after it. Raises Undecodable.
    """
    numbers = sorted(blocks)
    for number in numbers:
        if not blocks[number].isascii():
            break
    else:
        return {number: blocks[number] for number in numbers if blocks[number][:1] not in (b"", b"\0")}
    # the rest of the volume is NUL: of it so much that the last slot stays whole however far it is moved
    volume = bytearray(SLOT_BYTES * min(numbers[-1] + 1 + len(numbers), MAX_HOST_ID + 1))
    for number in numbers:
        volume[number * SLOT_BYTES : (number + 1) * SLOT_BYTES] = blocks[number].ljust(SLOT_BYTES, b"\0")
    try:
        text = volume.decode()
    except UnicodeDecodeError as e:
        raise Undecodable from e
    return {
        start // SLOT_BYTES: text[start : start + SLOT_BYTES].encode()
        for start in range(0, len(text), SLOT_BYTES)
        if text[start] != "\0"
    }


def checksum(tokens: list[str]) -> str:
    return f"{zlib.crc32('|'.join([*tokens[:9], '00000000', *tokens[10:]]).encode()):08x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSlot:
    """What the agent publishes. Times are seconds of the host's monotonic clock."""

    host_id: int
    host_name: str
    timestamp_s: int
    score: int
    status: Status | None
    state: str
    local_maintenance: bool
    stopped: bool
    definition_read_s: int
    timeout_s: int | None
    """When the state's timer ends, if it runs."""


def encode(slot: OwnSlot) -> bytes:
    """The slot's 4096 bytes (agent/hosted_engine.py: _generate_local_blocks).

    Raises Uncaught if the tokens do not fit.
    """
    tokens = [
        *("1", "1", str(slot.timestamp_s), str(slot.host_id), str(slot.score)),
        json.dumps(None if slot.status is None else dict(slot.status)),
        *(slot.host_name, str(int(slot.local_maintenance)), str(int(slot.stopped)), "00000000", "1"),
        str(slot.definition_read_s),
    ]
    tokens[9] = checksum(tokens)
    head = "|".join(tokens)
    if len(head) > TOKENS_BYTES:
        raise Uncaught(f"own slot: {len(head)} characters of tokens")
    lines = [
        "metadata_parse_version=1",
        "metadata_feature_version=1",
        f"timestamp={slot.timestamp_s} ({_date(slot.timestamp_s)})",
        f"host-id={slot.host_id}",
        f"score={slot.score}",
        f"vm_conf_refresh_time={slot.definition_read_s} ({_date(slot.definition_read_s)})",
        "conf_on_shared_storage=True",
        f"maintenance={slot.local_maintenance}",
        f"state={slot.state}",
        f"stopped={slot.stopped}",
    ]
    if slot.timeout_s:
        lines.append(f"timeout={_date(slot.timeout_s)}")
    text = head.ljust(TOKENS_BYTES, "\0") + "\n".join(lines) + "\n"
    return text.encode().ljust(SLOT_BYTES, b"\0")


def _date(seconds: int) -> str:
    """Monotonic seconds shown as a date in 1970, as upstream does."""
    return time.asctime(time.gmtime(seconds))
