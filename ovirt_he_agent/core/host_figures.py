"""The figures behind a host's score, as lines for people on its slot of the whiteboard.

They are for the words of ``explain`` alone: whoever chooses goes by the score, no rule reads these.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LARGEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFigures:
    """None: the host does not know it, or what it tells cannot be read. Meanings as in ``score.Inputs``."""

    memory_free_mib: int | None = None
    memory_needed_mib: int | None = None
    """The engine VM's, in the definition that this host would start."""
    network: float | None = None
    """0..1"""
    bridge_up: bool | None = None
    cpu_load: float | None = None
    """0..1"""
    failed_starts: int | None = None


NONE = HostFigures()
"""A host that tells nothing, as those of upstream do."""

KEYS = ("free_memory_mib", "memory_needed_mib", "network", "bridge", "cpu_load", "failed_starts")
"""Of the lines, in their order."""


def lines(figures: HostFigures) -> tuple[tuple[str, str], ...]:
    """Keys and plain texts. What is unknown has no line, nor has what no host could mean."""
    texts = (
        _count(figures.memory_free_mib),
        _count(figures.memory_needed_mib),
        _share(figures.network),
        None if figures.bridge_up is None else _BRIDGE[figures.bridge_up],
        _share(figures.cpu_load),
        _count(figures.failed_starts),
    )
    return tuple((key, text) for key, text in zip(KEYS, texts, strict=True) if text is not None)


def decode(human: bytes) -> HostFigures:
    """From the lines for people; never raises. Of each key the first line counts that can be a value at all.

    A line without its end is none: of a number that was cut off the beginning is another number.
    """
    found = _LINES.findall(b"\n" + human)
    if not found:
        return NONE
    facts: dict[str, Any] = {}
    for key, text in reversed(found):
        name, meaning = _FIELDS[key]
        facts[name] = meaning(text)
    return HostFigures(**facts)


def _count(value: int | None) -> str | None:
    return None if value is None or not 0 <= value <= _LARGEST else str(int(value))


def _share(value: float | None) -> str | None:
    """The shortest text that is read as the same number: others count the same points from it."""
    return None if value is None or not 0.0 <= value <= 1.0 else repr(abs(float(value)))


def _read_count(text: bytes) -> int | None:
    value = int(text) if text.isdigit() else _LARGEST + 1
    return value if value <= _LARGEST else None


def _read_share(text: bytes) -> float | None:
    value = float(text) if _SHARE.fullmatch(text) else 2.0
    return value if value <= 1.0 else None


_BRIDGE = {True: "up", False: "down"}
_BRIDGE_WORDS = {word.encode(): up for up, word in _BRIDGE.items()}
_SHARE = re.compile(rb"[0-9](\.[0-9]{1,20})?(e-[0-9]{1,3})?")
_LINES = re.compile(rb"\n(%b)=([0-9a-z.-]{1,30})(?=\n)" % "|".join(KEYS).encode())
_FIELDS: dict[bytes, tuple[str, Callable[[bytes], object]]] = {
    b"free_memory_mib": ("memory_free_mib", _read_count),
    b"memory_needed_mib": ("memory_needed_mib", _read_count),
    b"network": ("network", _read_share),
    b"bridge": ("bridge_up", _BRIDGE_WORDS.get),
    b"cpu_load": ("cpu_load", _read_share),
    b"failed_starts": ("failed_starts", _read_count),
}
