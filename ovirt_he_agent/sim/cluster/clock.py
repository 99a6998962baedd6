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
from typing import Any, TypeVarTuple

Ts = TypeVarTuple("Ts")

STEPS_AT_ONCE = 20_000
"""So many steps at one instant are no work any more: something goes round without waiting for anything."""

OWNER: ContextVar["Owner | None"] = ContextVar("owner", default=None)
"""Whose work the current context is."""


class Livelock(RuntimeError):
    """The simulated time does not go on."""


class Owner:
    """A process whose work can be held back: see ``VirtualLoop.freeze``."""

    def __init__(self) -> None:
        self.frozen = False
        self.held_back: list[_Handle] = []


class _Handle(asyncio.TimerHandle):
    """What asyncio's own handles are, less what only its debug mode and its repr need.

    A simulation makes some ten of them for each second of a host.
    """

    __slots__ = ("act", "args", "context", "off")

    def __init__(self, act: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self.act = act
        self.args = args
        self.context = context
        self.off = False

    def __repr__(self) -> str:
        return f"<{'cancelled ' if self.off else ''}call of {self.act}>"

    def cancel(self) -> None:
        self.off = True

    def cancelled(self) -> bool:
        return self.off


class VirtualLoop(asyncio.AbstractEventLoop):
    """What asyncio's tasks, timeouts and events need of a loop, and nothing of sockets or threads."""

    def __init__(self) -> None:
        self._now = 0.0
        self.ms = 0
        """As ``now_ms`` says, for those who ask very often."""
        self._order = 0
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._frozen: set[Owner] = set()
        self.failures: list[BaseException] = []
        """What was raised where nobody could catch it."""

    # what the world uses

    def now_ms(self) -> int:
        return self.ms

    def at(self, ms: int, act: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``act`` at ``ms``; it belongs to nobody, so nothing holds it back."""
        return self._timer(ms / 1000, _Handle(act, (), _NOBODY))

    def freeze(self, owner: Owner) -> None:
        """Hold back all that ``owner`` does, until ``thaw``."""
        owner.frozen = True
        self._frozen.add(owner)

    def thaw(self, owner: Owner) -> None:
        """Let ``owner`` go on; what came due meanwhile runs now, in its order."""
        owner.frozen = False
        self._frozen.discard(owner)
        held_back, owner.held_back = owner.held_back, []
        self._ready.extend(held_back)

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
                    handle = ready.popleft()
                    steps += 1
                    if steps > STEPS_AT_ONCE:
                        ready.clear()
                        raise Livelock(f"more than {STEPS_AT_ONCE} steps at {self._now:.3f} s")
                    if handle.off or (self._frozen and self._held_back(handle)):
                        continue
                    handle.context.run(handle.act, *handle.args)
                if self.failures or not timers or timers[0][0] > until:
                    break
                self._set(timers[0][0])
                due = self._now + 1e-9
                while timers and timers[0][0] <= due:
                    timer = heapq.heappop(timers)[2]
                    if not timer.off:
                        ready.append(timer)
        finally:
            asyncio._set_running_loop(None)
        if self.failures:
            raise self.failures[0]
        self._set(until)

    def _set(self, now: float) -> None:
        if now > self._now:
            self._now = now
            self.ms = int(now * 1000 + 0.5)

    def _held_back(self, handle: _Handle) -> bool:
        owner = handle.context.get(OWNER)
        if owner not in self._frozen:
            return False
        assert owner is not None
        owner.held_back.append(handle)
        return True

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
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, context if context is not None else copy_context())
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = _Handle(callback, args, context if context is not None else copy_context())
        self._order += 1
        heapq.heappush(self._timers, (self._now + delay, self._order, handle))
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self._timer(when, _Handle(callback, args, context if context is not None else copy_context()))

    def _timer(self, when: float, handle: _Handle) -> _Handle:
        self._order += 1
        heapq.heappush(self._timers, (when, self._order, handle))
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
