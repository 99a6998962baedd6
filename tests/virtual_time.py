"""A clock and event queue in virtual time, for tests of what is simulated."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Event:
    act: Callable[[], None] | None

    def cancel(self) -> None:
        self.act = None


@dataclass(slots=True)
class VirtualTime:
    """Events of one time happen in the order in which they were planned."""

    after_each: Callable[[], None] = lambda: None
    """Called after every event."""
    _now_ms: int = 0
    _queue: list[tuple[int, int, Event]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def now_ms(self) -> int:
        return self._now_ms

    def at(self, ms: int, act: Callable[[], None]) -> Event:
        assert ms >= self._now_ms
        event = Event(act)
        heapq.heappush(self._queue, (ms, next(self._numbers), event))
        return event

    def run_until(self, ms: int) -> None:
        while self._queue and self._queue[0][0] <= ms:
            at_ms, _, event = heapq.heappop(self._queue)
            if event.act is not None:
                self._now_ms = at_ms
                event.act()
                self.after_each()
        self._now_ms = ms

    def run_for(self, seconds: float) -> None:
        self.run_until(self._now_ms + round(seconds * 1000))

    def when(self, condition: Callable[[], bool], within_s: float) -> float:
        """Let time go by until ``condition`` holds, seen every 0.1 s: the seconds that it took."""
        start_ms = self._now_ms
        while not condition():
            assert self._now_ms - start_ms <= within_s * 1000, f"not within {within_s} s"
            self.run_for(0.1)
        return (self._now_ms - start_ms) / 1000
