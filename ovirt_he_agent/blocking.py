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


@dataclass
class _Request:
    call: Callable[[], Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


def _finish(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():  # the caller gave up: nobody waits for this any more
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class Worker:
    """Runs blocking calls one at a time in one daemon thread named ``name``."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._turn = asyncio.Lock()
        self._running: str | None = None
        self._running_since = 0.0

    @property
    def stuck(self) -> Stuck | None:
        """The call that has outlived its caller, if any."""
        if self._running is None or self._turn.locked():
            return None
        return Stuck(self.name, self._running, self._clock() - self._running_since)

    async def call(self, function: Callable[..., T], *args: Any, timeout_s: float, what: str = "") -> T:
        """Run ``function(*args)`` in the thread and return what it returns.

        Raises ``Stuck`` when it does not come back within ``timeout_s`` seconds
        or while an earlier call has not; else whatever the function raises.
        """
        what = what or getattr(function, "__name__", repr(function))
        try:
            async with asyncio.timeout(timeout_s):
                async with self._turn:
                    if self._running is not None:
                        raise Stuck(self.name, self._running, self._clock() - self._running_since)
                    return await self._run(function, args, what)
        except TimeoutError:
            since = self._clock() - self._running_since if self._running is not None else timeout_s
            raise Stuck(self.name, self._running or what, since) from None

    async def _run(self, function: Callable[..., T], args: tuple[Any, ...], what: str) -> T:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._running, self._running_since = what, self._clock()
        self._requests.put(_Request(lambda: function(*args), future, loop))
        return await future

    def close(self) -> None:
        """Let the thread end after what it does now; does not wait for it."""
        if self._thread is not None:
            self._requests.put(None)
            self._thread = None

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            result, error = None, None
            try:
                result = request.call()
            except BaseException as e:  # noqa: BLE001 handed to the caller, whatever it is
                error = e
            self._running = None
            try:
                request.loop.call_soon_threadsafe(_finish, request.future, result, error)
            except RuntimeError:
                return  # the loop is closed: the daemon has gone on without this call
            del request, result, error
