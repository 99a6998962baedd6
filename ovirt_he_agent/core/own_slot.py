"""This host's slot of the whiteboard and slot 0, from values to bytes: upstream's format exactly.

Upstream agents die of what they cannot read (he-ha: lib/metadata.py,
lib/util.py ``engine_status_score``): one byte that is no text stops the readers
of a whole cluster. So whatever the values are, what comes out is plain ASCII,
with whole numbers and JSON where upstream wants them, and never too long.
"""

import functools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ovirt_he_agent.core import host_figures, whiteboard
from ovirt_he_agent.core.whiteboard import HealthWord, VmWord

HUMAN_BYTES = whiteboard.SLOT_BYTES - whiteboard.TOKENS_BYTES
WORD_CHARS = 64
"""VDSM's and upstream's longest word for a state has 22; longer ones are cut, as are the texts of times."""

_NOT_PLAIN = re.compile(r"[^ -~]")
_NOT_OF_A_KEY = re.compile(r"[^A-Za-z0-9_.-]")
_POLICY_HASH = re.compile(r"[0-9a-f]{8}")
_NO_POLICY = "00000000"
_NOT_OF_A_NOTE = frozenset({"engine_seen", *host_figures.KEYS})
_LARGEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSlot:
    """What this host says of itself. Numbers beyond 64 bits are cut to the largest."""

    host_id: int
    host_name: str
    timestamp_s: int
    """This host's CLOCK_MONOTONIC_RAW: others look for change only, so it must grow with each write."""
    score: int
    engine: whiteboard.EngineStatus
    """A health of None, and any but good of a VM that is up, is written so that upstream can rank it."""
    state: str
    """Upstream's state name."""
    local_maintenance: bool
    stopped: bool
    conf_on_shared_storage: bool
    conf_refreshed_s: int
    """As ``timestamp_s``."""
    others_first: bool
    """This host asks better hosts to start the VM before it does so itself."""
    engine_seen_s: int | None
    """When this host saw the engine's page good, as ``timestamp_s``; None: never."""
    policy_hash: str
    """Of the rules it goes by, eight lower-case hex digits; any other text is written as zeros."""
    figures: host_figures.HostFigures = host_figures.NONE
    """Behind the score; what is unknown has no line."""
    notes: tuple[tuple[str, str], ...] = ()
    """Further lines for people; keys that have a meaning already are left out."""
    time_text: str
    """``timestamp_s`` and ``conf_refreshed_s`` as wall-clock time."""
    conf_refreshed_text: str


def encode(slot: OwnSlot) -> bytes:
    """The slot's 4096 bytes, to be written at once; never raises."""
    block = tokens(slot, (_own_token(slot),)).encode().ljust(whiteboard.TOKENS_BYTES, b"\0")
    return (block + human(slot).encode()).ljust(whiteboard.SLOT_BYTES, b"\0")


def encode_global(on: bool) -> bytes:
    """Slot 0's 4096 bytes: global maintenance."""
    return (b"maintenance=1" if on else b"maintenance=0").ljust(whiteboard.SLOT_BYTES, b"\0")


def tokens(slot: OwnSlot, extra: Sequence[str]) -> str:
    """The first block's text, at most 512 characters: upstream's twelve tokens and ``extra``.

    The reason of the engine's status is shortened first, then the host name;
    ``extra`` (up to 32 characters, written as it is) always fits.
    """
    name, reason = _token_text(slot.host_name), slot.engine.reason
    parts = _list(slot, "", None if reason is None else "", extra)
    least = len("|".join(parts))
    if reason is not None:
        reason = _fitting(_token_text(reason), whiteboard.TOKENS_BYTES - least - len(name))
        least += _json_length(reason)
        parts[5] = _engine(slot.engine, reason)
    parts[6] = name[: whiteboard.TOKENS_BYTES - least]
    parts[9] = whiteboard.checksum(parts)
    return "|".join(parts)


def human(slot: OwnSlot) -> str:
    """The lines for people, at most 3584 characters of them: upstream's, then ours."""
    text = "".join([f"{line}\n" for line in _lines(slot)])
    return text if len(text) <= HUMAN_BYTES else text[: text.rindex("\n", 0, HUMAN_BYTES) + 1]


def _list(slot: OwnSlot, name: str, reason: str | None, extra: Sequence[str]) -> list[str]:
    return [
        str(whiteboard.PARSE_VERSION),
        str(whiteboard.FEATURE_VERSION),
        _number(slot.timestamp_s),
        _number(slot.host_id),
        _number(slot.score),
        _engine(slot.engine, reason),
        name,
        _flag(slot.local_maintenance),
        _flag(slot.stopped),
        "00000000",
        _flag(slot.conf_on_shared_storage),
        _number(slot.conf_refreshed_s),
        *extra,
    ]


def _own_token(slot: OwnSlot) -> str:
    bits = whiteboard.OTHERS_FIRST_BIT if slot.others_first else 0
    policy = slot.policy_hash if _POLICY_HASH.fullmatch(slot.policy_hash) else _NO_POLICY
    return f"he1:{bits:x}:{policy}"


@functools.lru_cache(maxsize=32)
def _engine(status: whiteboard.EngineStatus, reason: str | None) -> str:
    """The JSON text, keys in upstream's order; scripts search it for ``"vm": "up"`` with the blank."""
    health = status.health or HealthWord.UNKNOWN
    if status.vm is VmWord.UP and health is not HealthWord.GOOD:
        health = HealthWord.BAD  # upstream's ranking dies of any other word beside "up"
    detail = "unknown" if status.detail is None else _token_text(status.detail)[:WORD_CHARS]
    fields = {"vm": status.vm.value, "health": health.value, "detail": detail}
    if reason is not None:
        fields["reason"] = reason
    return json.dumps(fields)


def _lines(slot: OwnSlot) -> Iterator[str]:
    timestamp, refreshed = _number(slot.timestamp_s), _number(slot.conf_refreshed_s)
    fields = {
        "metadata_parse_version": str(whiteboard.PARSE_VERSION),
        "metadata_feature_version": str(whiteboard.FEATURE_VERSION),
        "timestamp": f"{timestamp} ({_word(slot.time_text)})",
        "host-id": _number(slot.host_id),
        "score": _number(slot.score),
        "vm_conf_refresh_time": f"{refreshed} ({_word(slot.conf_refreshed_text)})",
        "conf_on_shared_storage": str(slot.conf_on_shared_storage),
        "maintenance": str(slot.local_maintenance),
        "state": _word(slot.state),
        "stopped": str(slot.stopped),
    }
    if slot.engine_seen_s is not None:
        fields["engine_seen"] = _number(slot.engine_seen_s)
    fields.update(host_figures.lines(slot.figures))
    for key, value in fields.items():
        yield f"{key}={value}"
    for key, value in slot.notes:
        key = _NOT_OF_A_KEY.sub("_", key)
        if (
            key not in fields and key not in _NOT_OF_A_NOTE
        ):  # a reader must not take a note for the real thing
            yield f"{key}={_plain(value)}"


def _number(value: int) -> str:
    return str(int(max(-_LARGEST, min(value, _LARGEST))))


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _plain(text: str) -> str:
    """Printable ASCII on one line."""
    return text if text.isascii() and text.isprintable() else _NOT_PLAIN.sub("?", text)


def _word(text: str) -> str:
    return _plain(text)[:WORD_CHARS]


def _token_text(text: str) -> str:
    """Upstream knows no escape for the bar: it would shift all tokens that follow."""
    return _plain(text).replace("|", "/")


def _json_length(text: str) -> int:
    """Of plain text within JSON's quotes."""
    return len(text) + text.count('"') + text.count("\\")


def _fitting(text: str, room: int) -> str:
    """The beginning of plain ``text`` that takes at most ``room`` characters within JSON's quotes."""
    text = text[: max(0, room)]
    while _json_length(text) > room and text:
        text = text[:-1]
    return text
