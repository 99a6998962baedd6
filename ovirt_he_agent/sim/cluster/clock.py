"""An event loop in virtual time: the agent's real coroutines run on it as fast as the machine can.

Time stands still while something can run, and jumps to the next timer when nothing
can. The order is that of asking, so the same calls give the same history. Work
that belongs to an ``Owner`` waits while its owner is frozen: a process that was
stopped, or a host that is suspended.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")

STEPS_AT_ONCE = 20_000
"""So many steps at one instant are no work any more: something goes round without waiting for anything."""

OWNER: ContextVar["Owner | None"] = ContextVar("owner", default=None)
"""Whose work the current context is."""


class Livelock(RuntimeError):
    """The simulated time does not go on."""


class Owner:
    """A process whose work can be held back."""

    def __init__(self) -> None:
        self.frozen = False
        self.held_back: list[asyncio.Handle] = []


class VirtualLoop(asyncio.AbstractEventLoop):
    """What asyncio's tasks, timeouts and events need of a loop, and nothing of sockets or threads."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = 0
        self._ready: deque[tuple[asyncio.Handle, Owner | None]] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Owner | None]] = []
        self._stopping = False
        self.failures: list[BaseException] = []
        """What was raised where nobody could catch it."""

    # what the world uses

    def now_ms(self) -> int:
        return int(self._now * 1000 + 0.5)

    def at(self, ms: int, act: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``act`` at ``ms``; it belongs to nobody, so nothing holds it back."""
        return self._timer(ms / 1000, asyncio.TimerHandle(ms / 1000, act, (), self, _NOBODY), None)

    def thaw(self, owner: Owner) -> None:
        """Let ``owner`` go on; what came due meanwhile runs now, in its order."""
        owner.frozen = False
        held_back, owner.held_back = owner.held_back, []
        self._ready.extend((handle, owner) for handle in held_back)

    def run_until_ms(self, ms: int) -> None:
        """Run everything up to ``ms``, and leave the clock there.

        Raises ``Livelock``, and what nobody could catch.
        """
        until = ms / 1000
        timers, ready = self._timers, self._ready
        asyncio._set_running_loop(self)
        try:
            while not self.failures:
                steps = 0
                while ready:
                    handle, owner = ready.popleft()
                    steps += 1
                    if steps > STEPS_AT_ONCE:
                        ready.clear()
                        raise Livelock(f"more than {STEPS_AT_ONCE} steps at {self._now:.3f} s")
                    if handle._cancelled:
                        continue
                    if owner is not None and owner.frozen:
                        owner.held_back.append(handle)
                        continue
                    handle._run()
                if self.failures or not timers or timers[0][0] > until:
                    break
                self._now = max(self._now, timers[0][0])
                while timers and timers[0][0] <= self._now + 1e-9:
                    _, _, timer, owner = heapq.heappop(timers)
                    if not timer._cancelled:
                        ready.append((timer, owner))
        finally:
            asyncio._set_running_loop(None)
        if self.failures:
            raise self.failures[0]
        self._now = max(self._now, until)

    def start(self, work: Coroutine[Any, Any, Any], owner: Owner, *, name: str) -> "asyncio.Task[Any]":
        """A task of ``owner``, and with it all that it starts."""
        context = copy_context()
        context.run(OWNER.set, owner)
        return self.create_task(work, name=name, context=context)

    # asyncio's side

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: Unpack[Ts],
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((handle, _owner(context)))
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: Unpack[Ts],
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: Unpack[Ts],
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self._timer(when, asyncio.TimerHandle(when, callback, args, self, context), _owner(context))

    def _timer(self, when: float, handle: asyncio.TimerHandle, owner: Owner | None) -> asyncio.TimerHandle:
        self._order += 1
        heapq.heappush(self._timers, (when, self._order, handle, owner))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # passed over when it comes due

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failures.append(error if isinstance(error, BaseException) else RuntimeError(context["message"]))


_NOBODY = copy_context()


def _owner(context: Context | None) -> Owner | None:
    return OWNER.get() if context is None else context.get(OWNER)
