"""A thread of its own for everything that can hang: one disk, one sanlock client.

A read on a dead mount cannot be cancelled. A ``Worker`` owns one daemon thread
and lets at most one request in flight; when a request exceeds its limit the
caller goes on, the worker is ``Stuck`` until that request returns, and the
process can still exit: the thread is abandoned, never joined.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from ovirt_he_agent.errors import Retryable

T = TypeVar("T")


@dataclass(eq=False)
class Stuck(Retryable):
    """A blocking call did not return within its limit, or an earlier one still has not."""

    worker: str
    what: str
    since_s: float
    msg: ClassVar[str] = (
        "{self.worker}: {self.what} has not returned for {self.since_s:.0f} s; "
        "the storage or daemon behind it hangs, check it (the call is left behind, not repeated)"
    )


class _Request:
    """One call: made in the loop, run in the thread, which alone writes its outcome."""

    def __init__(
        self,
        call: Callable[[], Any],
        what: str,
        *,
        started_s: float,
        deadline_s: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.what = what
        self.started_s = started_s
        self.deadline_s = deadline_s
        self.loop = loop
        self.told: asyncio.Future[None] = loop.create_future()
        """Done in the loop once ``finished``; carries no outcome, so that nobody has to fetch it."""
        self.finished = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._call = call

    def run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as e:  # noqa: BLE001 handed to the caller, whatever it is
            self.error = e
        self.finished = True
        try:
            self.loop.call_soon_threadsafe(self._tell)
        except RuntimeError:
            pass  # the loop is closed: nobody waits for this any more

    def _tell(self) -> None:
        if not self.told.done():
            self.told.set_result(None)


class Worker:
    """Runs blocking calls one at a time, in the order asked for, in one daemon thread named ``name``."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()  # first come, first served
        self._last: _Request | None = None
        self._closed = False

    @property
    def stuck(self) -> Stuck | None:
        """The call that has outlived its limit, if any."""
        if self._last is None or self._last.finished or self._clock() < self._last.deadline_s:
            return None
        return self._stuck_at(self._last)

    async def call(self, function: Callable[..., T], *args: Any, timeout_s: float, what: str = "") -> T:
        """Run ``function(*args)`` in the thread and return what it returns.

        Raises ``Stuck`` when it does not come back within ``timeout_s`` seconds,
        the wait for earlier callers included, or at once while an earlier call
        has outlived its own limit; else whatever the function raises. A call
        whose caller is cancelled runs on, and the next one waits for its end.
        """
        what = what or getattr(function, "__name__", repr(function))
        deadline_s = self._clock() + timeout_s
        request: _Request | None = None
        try:
            async with asyncio.timeout(timeout_s), self._my_turn():
                await self._end_of_the_last()
                request = self._start(lambda: function(*args), what, deadline_s)
                await asyncio.shield(request.told)
        except TimeoutError:
            if request is None or not request.finished:
                raise self._stuck_at(self._last, what, timeout_s) from None
        assert request is not None
        if self._last is request:
            self._last = None  # keep no result or traceback alive
        if request.error is not None:
            try:
                raise request.error
            finally:
                del request  # or the error's traceback, this frame and the request keep each other alive
        result: T = request.result
        return result

    def close(self) -> None:
        """Let the thread end after what it does now; does not wait for it. No more calls after this."""
        self._closed = True
        if self._thread is not None:
            self._requests.put(None)

    def _my_turn(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # a lock belongs to one loop
            self._loop, self._turn = loop, asyncio.Lock()
        return self._turn

    async def _end_of_the_last(self) -> None:
        """Wait for a call whose caller has gone, no longer than that caller would have: TimeoutError then."""
        last = self._last
        if last is None or last.finished:
            return
        left_s = last.deadline_s - self._clock()
        if last.loop is not self._loop or left_s <= 0:
            raise TimeoutError
        async with asyncio.timeout(left_s):
            await asyncio.shield(last.told)

    def _start(self, call: Callable[[], Any], what: str, deadline_s: float) -> _Request:
        if self._closed:
            raise RuntimeError(f"worker {self.name!r} is closed, {what} came too late")
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        request = _Request(call, what, started_s=self._clock(), deadline_s=deadline_s, loop=loop)
        self._last = request
        self._requests.put(request)
        return request

    def _stuck_at(self, last: _Request | None, what: str = "", since_s: float = 0.0) -> Stuck:
        """For the call that is under way, or else for ``what``, which did not get that far."""
        if last is not None and not last.finished:
            what, since_s = last.what, self._clock() - last.started_s
        return Stuck(self.name, what, since_s)

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            request.run()
            del request  # not kept alive while waiting for the next
