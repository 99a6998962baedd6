"""Keeps a session with VDSM: opens it, opens it again when it ends, and tells the reader of the news."""

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable

from ovirt_he_agent.adapters.vdsm import session as sessions
from ovirt_he_agent.adapters.vdsm.endpoint import Endpoint
from ovirt_he_agent.adapters.vdsm.failures import VdsmAway
from ovirt_he_agent.adapters.vdsm.news import News

log = logging.getLogger(__name__)


class Connection:
    """``run`` is a task of the owner's; ``stop`` ends it within about a second."""

    def __init__(
        self, endpoint: Endpoint, news: News, timing: sessions.Timing, clock: Callable[[], float]
    ) -> None:
        self._endpoint = endpoint
        self._news = news
        self._timing = timing
        self._clock = clock
        self._session: sessions.Session | None = None
        self._absence: VdsmAway | None = None  # both None: an attempt is under way
        self._settled = asyncio.Event()
        self._stop = asyncio.Event()

    async def session(self) -> sessions.Session:
        """The session; waits (the caller limits how long) for an attempt under way.

        Raises ``VdsmAway`` at once while there is none and the next attempt is yet to come.
        """
        while self._session is None:
            if self._absence is not None:
                raise dataclasses.replace(self._absence)
            await self._settled.wait()
        return self._session

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Until ``stop``, which ends a session in order, or cancellation, which just closes it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                keeper = tasks.create_task(self._keep(), name="vdsm-connection")
                await self._stop.wait()
                if self._session is not None:
                    await self._session.farewell()
                keeper.cancel()
        finally:
            self._settle(self._away("this agent closed it", "start the agent"))

    def _away(self, reason: str, remedy: str) -> VdsmAway:
        return VdsmAway(str(self._endpoint), reason, remedy)

    def _settle(self, result: sessions.Session | VdsmAway) -> None:
        self._session, self._absence = None, None
        if isinstance(result, VdsmAway):
            self._absence = result
        else:
            self._session = result
        self._settled.set()

    async def _keep(self) -> None:
        failures, said = 0, ""
        while True:
            try:
                session = await sessions.open_session(
                    self._endpoint, news=self._news, timing=self._timing, clock=self._clock
                )
            except VdsmAway as e:
                self._settle(e)
                failures += 1
                if e.reason != said:  # a repeated failure is logged once
                    log.warning("%s", e)
                    said = e.reason
            else:
                log.info("session with VDSM at %s opened, %d failed tries before", self._endpoint, failures)
                failures, said = 0, ""
                await self._live(session)
            pause_s = self._timing.retry_first_s * 2.0 ** min(max(failures - 1, 0), 10)
            await asyncio.sleep(min(pause_s * random.uniform(1.0, 1.5), self._timing.retry_max_s))
            self._settled.clear()
            self._absence = None

    async def _live(self, session: sessions.Session) -> None:
        self._settle(session)
        self._news.gap()  # nothing is replayed: read the state again
        reason = "this agent ended it"
        try:
            reason = await session.run()
            log.warning("the session with VDSM at %s ended: %s", self._endpoint, reason)
        finally:
            self._settle(self._away(f"it ended: {reason}", "it will be opened again in a moment"))
            await session.shut()
