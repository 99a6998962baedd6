"""The health page probe against a real server on a real socket, good and bad."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ovirt_he_agent.adapters.monitors import liveliness
from ovirt_he_agent.agent import ports
from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import ProbeOutcome
from tests.waiting import eventually

PATH = "/ovirt-engine/services/health"
GOOD = b"DB Up!Welcome to Health Status!"

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n\r\n" + body


class Server:
    """Answers each connection's first request with what ``answer`` writes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[str] = []
        self.url = f"http://127.0.0.1:{port}{PATH}"


@asynccontextmanager
async def serving(answer: bytes | Answer, port: int = 0) -> AsyncIterator[Server]:
    under_way = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way
        under_way += 1
        try:
            server.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass  # the client has seen enough
        finally:
            writer.close()
            under_way -= 1

    listening = await asyncio.start_server(serve, "127.0.0.1", port)
    server = Server(listening.sockets[0].getsockname()[1])
    async with listening:
        yield server
        await eventually(lambda: under_way == 0)


def clock() -> model.MonotonicMs:
    return model.MonotonicMs(42)


async def probe(url: str, *, timeout_s: float = 10, **options: Any) -> model.HealthProbe:
    async with liveliness.HealthPage(url, timeout_s=timeout_s, clock=clock, **options) as page:
        return await page.probe()


def test_it_is_the_agents_port() -> None:
    port: ports.Health = liveliness.HealthPage("http://x", timeout_s=1, clock=clock)
    assert port is not None


async def test_a_good_page_is_good() -> None:
    async with serving(http(GOOD)) as server:
        assert await probe(server.url) == model.HealthProbe(
            at=clock(), outcome=ProbeOutcome.GOOD, reason="DB Up"
        )
    assert server.requests[0].startswith(f"GET {PATH} HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}" in server.requests[0]


async def test_a_page_in_pieces_is_good() -> None:
    async def in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in http(GOOD):
            writer.write(bytes([byte]))
            await writer.drain()

    async with serving(in_pieces) as server:
        assert (await probe(server.url)).outcome is ProbeOutcome.GOOD


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (http(b"DB Down!", "500 Internal Server Error"), ProbeOutcome.DB_DOWN, "its database does not"),
        (http(b"DB Down!"), ProbeOutcome.DB_DOWN, "its database does not"),
        (http(GOOD, "503 Service Unavailable"), ProbeOutcome.HTTP_ERROR, "HTTP status 503"),
        (
            http(b"not here", "404 Not Found"),
            ProbeOutcome.HTTP_ERROR,
            "HTTP status 404, no word of the database",
        ),
        (http(b""), ProbeOutcome.HTTP_ERROR, "HTTP status 200, no word of the database"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ProbeOutcome.HTTP_ERROR, "no HTTP"),
        (b"", ProbeOutcome.NO_ANSWER, "disconnected"),
        (http(GOOD)[:50], ProbeOutcome.NO_ANSWER, ""),
        (http(b"x" * (1 << 20) + GOOD), ProbeOutcome.HTTP_ERROR, "no word of the database"),
    ],
)
async def test_other_answers_are_what_they_are(answer: bytes, outcome: ProbeOutcome, reason: str) -> None:
    async with serving(answer) as server:
        seen = await probe(server.url)
    assert (seen.outcome, reason in seen.reason) == (outcome, True), seen
    assert "\n" not in seen.reason


async def test_an_endless_page_is_read_no_further_than_the_limit() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()

    async with serving(endless) as server:
        assert (await probe(server.url)).outcome is ProbeOutcome.HTTP_ERROR


async def test_a_redirection_is_not_followed() -> None:
    async with serving(http(GOOD)) as elsewhere:
        moved = http(b"", "302 Found", f"Location: {elsewhere.url}")
        async with serving(moved) as server:
            seen = await probe(server.url)
    assert seen.outcome is ProbeOutcome.HTTP_ERROR
    assert "HTTP status 302, a redirection that is not followed" in seen.reason
    assert elsewhere.requests == []


async def test_a_server_that_says_nothing_is_no_answer_after_the_limit() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as server:
        seen = await probe(server.url, timeout_s=0.2)
    assert (seen.outcome, seen.reason) == (ProbeOutcome.NO_ANSWER, f"{server.url}: no answer within 0.2 s")


async def test_a_page_that_never_ends_its_body_is_no_answer_after_the_limit() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(GOOD)[:-3])
        await writer.drain()
        await reader.read()

    async with serving(half) as server:
        assert (await probe(server.url, timeout_s=0.2)).outcome is ProbeOutcome.NO_ANSWER


async def test_nobody_listening_is_no_answer() -> None:
    async with serving(b"") as server:
        pass
    seen = await probe(server.url)
    assert seen.outcome is ProbeOutcome.NO_ANSWER
    assert "Connect" in seen.reason


async def test_each_probe_is_a_connection_of_its_own_on_one_session() -> None:
    async with (
        serving(http(GOOD)) as server,
        liveliness.HealthPage(server.url, timeout_s=10, clock=clock) as page,
    ):
        outcomes = [(await page.probe()).outcome for _ in range(3)]
    assert outcomes == [ProbeOutcome.GOOD] * 3
    assert len(server.requests) == 3


async def test_a_page_that_comes_back_is_good_again() -> None:
    async with serving(http(GOOD)) as server:
        pass
    async with liveliness.HealthPage(server.url, timeout_s=10, clock=clock) as page:
        assert (await page.probe()).outcome is ProbeOutcome.NO_ANSWER
        async with serving(http(GOOD), server.port):
            assert (await page.probe()).outcome is ProbeOutcome.GOOD


# names


async def test_a_name_is_looked_up_by_the_system() -> None:
    async with serving(http(GOOD)) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        assert (await probe(url)).outcome is ProbeOutcome.GOOD


async def test_a_name_is_looked_up_anew_for_each_probe() -> None:
    asked = []

    def resolve(host: str, port: int, *rest: Any) -> list[tuple[Any, ...]]:
        asked.append((host, threading.current_thread().name))
        return socket.getaddrinfo("127.0.0.1", port, *rest)

    async with serving(http(GOOD)) as server:
        url = f"http://engine.example.org:{server.port}{PATH}"
        async with liveliness.HealthPage(url, timeout_s=10, clock=clock, resolve=resolve) as page:
            for _ in range(2):
                assert (await page.probe()).outcome is ProbeOutcome.GOOD
    assert asked == [("engine.example.org", "name look-up")] * 2
    assert f"Host: engine.example.org:{server.port}" in server.requests[0]


async def test_a_name_without_an_address_is_told_from_no_answer() -> None:
    def resolve(*_: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    seen = await probe("http://engine.example.org/", resolve=resolve)
    assert seen.outcome is ProbeOutcome.NO_RESOLUTION
    assert seen.reason == "http://engine.example.org/: no address for its name: Name or service not known"


async def test_a_look_up_that_hangs_is_no_resolution_and_is_not_repeated_until_it_returns() -> None:
    answered, asked = threading.Event(), []

    def resolve(host: str, port: int, *rest: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        assert answered.wait(30)
        return socket.getaddrinfo("127.0.0.1", port, *rest)

    async with serving(http(GOOD)) as server:
        url = f"http://engine.example.org:{server.port}{PATH}"
        async with liveliness.HealthPage(url, timeout_s=1, clock=clock, resolve=resolve) as page:
            for _ in range(3):
                seen = await page.probe()
                assert seen.outcome is ProbeOutcome.NO_RESOLUTION
                assert "the look-up of engine.example.org has not returned for" in seen.reason
            assert len(asked) == 1
            answered.set()

            async def good() -> bool:
                return (await page.probe()).outcome is ProbeOutcome.GOOD

            await eventually(good)
