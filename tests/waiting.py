"""Wait for a condition with a deadline; never for luck."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], *, within_s: float = ..., every_s: float = ...
) -> T: ...
@overload
async def eventually(condition: Callable[[], T], *, within_s: float = ..., every_s: float = ...) -> T: ...
async def eventually(condition: Callable[[], Any], *, within_s: float = 10.0, every_s: float = 0.02) -> Any:
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
