"""What the models of this package are given: the world's clock and each host's way to the storage."""

from collections.abc import Callable
from typing import Protocol


class Cancel(Protocol):
    """A planned event; to cancel one that has happened does nothing."""

    def cancel(self) -> None: ...


class Timeline(Protocol):
    """The world's clock and event queue."""

    def now_ms(self) -> int: ...

    def at(self, ms: int, act: Callable[[], None]) -> Cancel:
        """Call ``act`` at ``ms``, after ``at`` has returned."""


class Disk(Protocol):
    """A host's way to the shared storage."""

    def works(self) -> bool:
        """False: every read and write of this host fails, or hangs, now."""
