"""Calls to VDSM: a deadline for each, few in flight, and nothing sent twice that may have arrived."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from ovirt_he_agent.adapters.vdsm import failures
from ovirt_he_agent.adapters.vdsm.connection import Connection
from ovirt_he_agent.adapters.vdsm.endpoint import Endpoint
from ovirt_he_agent.adapters.vdsm.news import News
from ovirt_he_agent.adapters.vdsm.session import Timing
from ovirt_he_agent.core import model

IN_FLIGHT = 8
"""VDSM has 8 workers for all its clients and answers 1100 when 80 more calls wait."""
LATER_FIRST_S = 0.25
LATER_MAX_S = 2.0


class Client:
    """An asynchronous context manager that owns the tasks of the connection.

    Entering does not wait for VDSM. Leaving ends the session in order, within about a second.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self._news = News()
        self._connection = Connection(endpoint, self._news, timing or Timing(), clock)
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.create_task(self._connection.run(), name="vdsm")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.stop()
        # not given the error: it leaves the block as it is, not in a group
        await self._tasks.__aexit__(None, None, None)

    async def next_news(self) -> model.VmReport | None:
        """The next report of any VM from VDSM's events; None: some may be lost, read the state again.

        None comes after each (re)connection and when too many waited. Waits without a limit; one reader.
        """
        return await self._news.next()

    async def call(self, verb: str, params: Mapping[str, Any] | None = None, *, timeout_s: float) -> Any:
        """The result of ``verb``, whatever JSON it is, within ``timeout_s`` in all.

        Sent again only when VDSM has answered that it did not look at it (recovering, queue
        full). Raises ``VdsmAway`` and ``NotSent``: VDSM never saw it; ``VdsmError``: VDSM says no;
        ``ConnectionLost``, ``NoAnswer`` and ``BadReply`` (``OutcomeUnknown``): it may have been done.
        """
        refusal: failures.VdsmError | None = None
        sent = connecting = False
        pause_s = LATER_FIRST_S
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    async with self._slots:
                        connecting = True
                        session = await self._connection.session()
                        connecting, sent = False, True
                        try:
                            return await session.call(verb, params or {})
                        except (failures.Recovering, failures.Busy) as e:
                            refusal, sent = e, False
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                    pause_s = min(pause_s * 2, LATER_MAX_S)
        except TimeoutError:
            if sent:
                raise failures.NoAnswer(verb, timeout_s) from None
            if refusal is not None:
                raise refusal from None
            if connecting:
                raise self.endpoint.silent(timeout_s) from None
            raise failures.NotSent(verb, timeout_s, IN_FLIGHT) from None
