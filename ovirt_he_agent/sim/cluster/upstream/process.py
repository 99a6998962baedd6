"""Blocking code in virtual time: a generator that yields the milliseconds that it sleeps."""

from collections.abc import Callable, Generator

from ovirt_he_agent import errors
from ovirt_he_agent.sim.cluster.upstream.surroundings import Cancel, Timeline

Work = Generator[int, None, None]
"""Yields milliseconds to sleep. It holds no ``finally``: who is killed has no last words."""


class Process:
    """One thread of a daemon. ``ended`` gets the error that ended it, or None."""

    def __init__(
        self, timeline: Timeline, work: Work, ended: Callable[[errors.HeAgentError | None], None]
    ) -> None:
        self._timeline = timeline
        self._work = work
        self._ended = ended
        self._dead = False
        self._sleep: Cancel = timeline.at(timeline.now_ms(), self._resume)

    @property
    def alive(self) -> bool:
        return not self._dead

    def wake(self) -> None:
        """End its sleep now. It goes on by the timeline, not within this call."""
        if not self._dead:
            self._sleep.cancel()
            self._sleep = self._timeline.at(self._timeline.now_ms(), self._resume)

    def kill(self) -> None:
        self._dead = True
        self._sleep.cancel()

    def _resume(self) -> None:
        if self._dead:
            return
        error: errors.HeAgentError | None = None
        ms = None
        try:
            ms = next(self._work)
        except StopIteration:
            pass
        except errors.HeAgentError as e:
            error = e
        if self._dead:  # it killed itself
            return
        if ms is None:
            self._dead = True
            self._ended(error)
        else:
            self._sleep = self._timeline.at(self._timeline.now_ms() + ms, self._resume)
