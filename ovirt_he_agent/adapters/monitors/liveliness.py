"""The engine's health page, as ``hosted-engine --check-liveliness`` asks it (ha f)."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp

from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import ProbeOutcome

BODY_LIMIT_BYTES = 64 * 1024
GOOD_TEXT = b"DB Up"
DOWN_TEXT = b"DB Down"


class HealthPage:
    """Asynchronous context manager; ``probe`` gives an outcome and never an exception of the network."""

    def __init__(self, url: str, *, timeout_s: float, clock: Callable[[], model.MonotonicMs]) -> None:
        self._url = url
        self._clock = clock
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def probe(self) -> model.HealthProbe:
        outcome, reason = await self._ask()
        return model.HealthProbe(at=self._clock(), outcome=outcome, reason=reason)

    async def _ask(self) -> tuple[ProbeOutcome, str]:
        assert self._session is not None, "entered"
        try:
            async with self._session.get(self._url, allow_redirects=False) as answer:
                body = await _limited(answer.content)
        except aiohttp.ClientConnectorDNSError as e:
            return ProbeOutcome.NO_RESOLUTION, f"{self._url}: no address for its name: {e.os_error}"
        except TimeoutError:
            return ProbeOutcome.NO_ANSWER, f"{self._url}: no answer within {self._timeout_s:g} s"
        except aiohttp.ClientError as e:
            return ProbeOutcome.NO_ANSWER, f"{self._url}: {str(e) or type(e).__name__}"
        if GOOD_TEXT in body:
            return ProbeOutcome.GOOD, "DB Up"
        if DOWN_TEXT in body:
            return ProbeOutcome.DB_DOWN, "DB Down: the engine runs, its database does not"
        return ProbeOutcome.HTTP_ERROR, f"{self._url}: HTTP status {answer.status}, no word of the database"


async def _limited(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) >= BODY_LIMIT_BYTES:
            break
        await asyncio.sleep(0)
    return bytes(body)
