"""What a played story looked like over time: one row a host, one for the VM; kept whether or not words are.

A row is a list of times from which on something was so. ``VM`` is the row of the VM and its engine,
a host's row has its number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

VM = 0
OFF = "off"
NO_AGENT = "no agent"
NOWHERE = "nowhere"
"""No qemu process has the disk open."""
TWICE = "twice"
"""More than one may write to it."""
GOOD = "good"


@dataclass(frozen=True, slots=True)
class Span:
    """``state`` from ``begins_s`` to ``ends_s``."""

    begins_s: float
    ends_s: float
    state: str


@dataclass
class Timeline:
    """``note`` in the order of time."""

    _rows: dict[int, list[tuple[int, str]]] = field(default_factory=dict)

    def note(self, ms: int, row: int, state: str) -> None:
        """From ``ms`` on ``state`` holds in ``row``; what holds already is not noted again."""
        marks = self._rows.setdefault(row, [])
        if marks and marks[-1][1] == state:
            return
        if marks and marks[-1][0] == ms:
            marks[-1] = (ms, state)
            return
        marks.append((ms, state))

    def rows(self, ends_s: float) -> Mapping[int, tuple[Span, ...]]:
        """Every row, up to ``ends_s``."""
        return {row: tuple(_spans(marks, ends_s)) for row, marks in sorted(self._rows.items())}


def _spans(marks: list[tuple[int, str]], ends_s: float) -> list[Span]:
    ends = [*(ms / 1000 for ms, _ in marks[1:]), ends_s]
    return [Span(ms / 1000, end, state) for (ms, state), end in zip(marks, ends, strict=True)]


def lasts_s(spans: tuple[Span, ...], state: str, begins_s: float, ends_s: float) -> float:
    """How long ``state`` held between two times."""
    return sum(
        max(0.0, min(span.ends_s, ends_s) - max(span.begins_s, begins_s))
        for span in spans
        if span.state == state
    )
