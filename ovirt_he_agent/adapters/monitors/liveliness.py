"""The engine's health page, as ``hosted-engine --check-liveliness`` asks it."""

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp
import aiohttp.abc

from ovirt_he_agent.adapters.monitors import names
from ovirt_he_agent.blocking import Stuck
from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import ProbeOutcome

BODY_LIMIT_BYTES = 64 * 1024
GOOD_TEXT = b"DB Up"
DOWN_TEXT = b"DB Down"


class HealthPage:
    """Asynchronous context manager; ``probe`` gives an outcome and never an exception of the network.

    Each probe looks the name up and connects anew: a connection or an address
    of the VM's last life says nothing of this one. Half of ``timeout_s`` is for the name.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        clock: Callable[[], model.MonotonicMs],
        resolve: names.Resolve = socket.getaddrinfo,
    ) -> None:
        self._url = url
        self._clock = clock
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._resolver: _Resolver | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._resolver = _Resolver(self._resolve, self._timeout_s / 2)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None),  # ours covers all of it
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._session is not None and self._resolver is not None:
            await self._session.close()
            await self._resolver.close()
            self._session = self._resolver = None

    async def probe(self) -> model.HealthProbe:
        """One look; ``at`` is when its outcome was known."""
        outcome, reason = await self._ask()
        return model.HealthProbe(at=self._clock(), outcome=outcome, reason=reason)

    async def _ask(self) -> tuple[ProbeOutcome, str]:
        assert self._session is not None, "entered"
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._session.get(self._url, allow_redirects=False) as answer:
                    return self._judge(answer, await _limited(answer.content))
        except TimeoutError:
            return ProbeOutcome.NO_ANSWER, f"{self._url}: no answer within {self._timeout_s:g} s"
        except Stuck as e:
            return ProbeOutcome.NO_RESOLUTION, f"{self._url}: {e.what} has not returned for {e.since_s:.0f} s"
        except aiohttp.ClientConnectorError as e:
            if isinstance(e.os_error, names.NoAddress):
                return ProbeOutcome.NO_RESOLUTION, f"{self._url}: no address for its name: {e.os_error}"
            return ProbeOutcome.NO_ANSWER, f"{self._url}: {e.os_error.strerror or e}"
        except aiohttp.ClientResponseError as e:
            return ProbeOutcome.HTTP_ERROR, f"{self._url}: the answer is no HTTP: {_line(e.message)}"
        except aiohttp.ClientError as e:
            return ProbeOutcome.NO_ANSWER, f"{self._url}: {_line(str(e)) or type(e).__name__}"

    def _judge(self, answer: aiohttp.ClientResponse, body: bytes) -> tuple[ProbeOutcome, str]:
        if answer.status == 200 and GOOD_TEXT in body:
            return ProbeOutcome.GOOD, "DB Up"
        if DOWN_TEXT in body:
            return ProbeOutcome.DB_DOWN, "DB Down: the engine runs, its database does not"
        reason = f"{self._url}: HTTP status {answer.status}"
        if 300 <= answer.status < 400:
            return ProbeOutcome.HTTP_ERROR, f"{reason}, a redirection that is not followed"
        return ProbeOutcome.HTTP_ERROR, f"{reason}, no word of the database"


class _Resolver(aiohttp.abc.AbstractResolver):
    """``names.Names`` as aiohttp wants it."""

    def __init__(self, resolve: names.Resolve, timeout_s: float) -> None:
        self._names = names.Names(resolve, timeout_s)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        rows = await self._names.look_up(host, port, family)
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=row_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for row_family, _, protocol, _, address in rows
        ]

    async def close(self) -> None:
        self._names.close()


async def _limited(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    while len(body) < BODY_LIMIT_BYTES and (piece := await content.read(BODY_LIMIT_BYTES - len(body))):
        body += piece
    return bytes(body)


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
