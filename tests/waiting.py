"""Wait for a condition with a deadline; never for luck."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    condition: Callable[[], Awaitable[T]] | Callable[[], T], *, within_s: float = 10.0, every_s: float = 0.02
) -> T:
    """The first true value of ``condition`` (sync or async); fails with its last value after ``within_s``."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s; last value: {value!r}")
        await asyncio.sleep(every_s)
