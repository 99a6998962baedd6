"""Waiting for news or for a time, whichever comes first, many times a second without a fuss.

``asyncio.timeout`` around ``Event.wait`` does the same by cancelling and raising, which costs
several times as much: it is most of what an idle agent does, and of what a simulated one does.
"""

import asyncio


class Wakeup:
    """``set`` it from the loop's thread; one task at a time waits."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._wake()

    def clear(self) -> None:
        self._is_set = False

    async def wait(self, limit_s: float) -> bool:
        """True: it is set; False: ``limit_s`` passed. It stays set until ``clear``."""
        if self._is_set:
            return True
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(limit_s, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        return self._is_set

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
