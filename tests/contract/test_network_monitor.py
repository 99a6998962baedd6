"""The network test against real sockets: ICMP, a resolver, a service, and nobody."""

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from ovirt_he_agent.adapters.monitors import network
from ovirt_he_agent.agent import ports
from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import NetworkTestKind
from tests.waiting import eventually

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NOBODY = "240.0.0.1"
"""Reserved: nobody has it."""


@asynccontextmanager
async def listening(serve: Serve, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Left only when the last connection has ended."""
    under_way = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way
        under_way += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        under_way -= 1

    server = await asyncio.start_server(handle, address, port)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.sleep(0)  # whoever connected has been accepted
        await eventually(lambda: under_way == 0)


async def asked(test: model.NetworkTest, **options: Any) -> model.NetworkAnswers:
    options = {"pause_s": 0.01, "limit_s": 2.0} | options
    with contextlib.closing(network.Network(test, **options)) as monitor:
        checked: ports.Network = monitor
        return await checked.test()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tcp(port: int, address: str = "127.0.0.1") -> model.NetworkTest:
    return model.NetworkTest(kind=NetworkTestKind.TCP, address=address, port=port)


ALL = model.NetworkAnswers(answered=5, asked=5, reason="")


# none, tcp


async def test_no_test_is_always_well() -> None:
    assert await asked(model.NetworkTest(kind=NetworkTestKind.NONE), pause_s=60) == ALL


async def test_a_service_that_listens_answers_every_probe_by_a_connection_of_its_own() -> None:
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(await reader.read())

    async with listening(serve) as port:
        assert await asked(tcp(port)) == ALL
    assert connections == [b""] * 5


async def test_a_service_that_is_away_is_told_once_with_the_number_of_probes() -> None:
    port = free_port()
    seen = await asked(tcp(port))
    assert (seen.answered, seen.share) == (0, 0.0)
    assert seen.reason == f"connection to 127.0.0.1 port {port}: 127.0.0.1: Connection refused (5 of 5)"


async def test_a_name_is_tried_at_each_of_its_addresses() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    def resolve(host: str, port: int, *rest: Any) -> list[tuple[Any, ...]]:
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    async with listening(serve) as port:
        assert await asked(tcp(port, "service.example.org"), resolve=resolve) == ALL


async def test_a_name_without_an_address_is_a_failed_probe() -> None:
    def resolve(*_: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    seen = await asked(tcp(1, "service.example.org"), resolve=resolve)
    assert seen.reason == (
        "connection to service.example.org port 1: "
        "no address for its name: Name or service not known (5 of 5)"
    )


async def test_a_look_up_that_hangs_is_a_failed_probe_and_does_not_keep_the_test() -> None:
    over = threading.Event()

    def resolve(*_: Any) -> list[tuple[Any, ...]]:
        assert over.wait(30)
        return []

    try:
        seen = await asked(tcp(1, "service.example.org"), resolve=resolve, limit_s=0.1)
    finally:
        over.set()
    assert seen.answered == 0
    assert "the look-up of service.example.org has not returned (5 of 5)" in seen.reason


async def test_probes_that_fail_differently_are_counted_apart() -> None:
    texts = iter(["first", "second", "second", None, "second"])
    port_of: list[int] = []

    def resolve(host: str, port: int, *rest: Any) -> list[tuple[Any, ...]]:
        if (text := next(texts)) is not None:
            raise OSError(0, text)
        return [(0, 0, 0, "", ("127.0.0.1", port_of[0]))]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(serve) as port:
        port_of.append(port)
        seen = await asked(tcp(port, "s"), resolve=resolve)
    assert (seen.answered, seen.asked, seen.share) == (1, 5, 0.2)
    assert seen.reason == (
        f"connection to s port {port}: no address for its name: second (3 of 5); "
        "no address for its name: first (1 of 5)"
    )


async def test_probes_do_not_overlap_and_have_a_pause_between() -> None:
    begins = []
    loop = asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begins.append(loop.time())
        await reader.read()

    async with listening(serve) as port:
        await asked(tcp(port), pause_s=0.1)
    assert len(begins) == 5
    assert all(later - earlier >= 0.09 for earlier, later in itertools.pairwise(begins))


# dns


def answering(rcode: dns.rcode.Rcode = dns.rcode.NOERROR, asked_for: list[str] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        query = dns.message.from_wire(await reader.readexactly(size))
        if asked_for is not None:
            asked_for.append(query.question[0].to_text())
        answer = dns.message.make_response(query)
        answer.set_rcode(rcode)
        wire = answer.to_wire()
        writer.write(struct.pack("!H", len(wire)) + wire)
        await writer.drain()

    return serve


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.fixture
def resolv_conf(tmp_path: Path) -> Path:
    return naming(tmp_path, "127.0.0.1")


def naming(directory: Path, *servers: str) -> Path:
    path = directory / "resolv.conf"
    path.write_text("search example.org\n" + "".join(f"nameserver {server}\n" for server in servers))
    return path


DNS = model.NetworkTest(kind=NetworkTestKind.DNS)


async def test_the_configured_resolver_is_asked_for_the_root(resolv_conf: Path) -> None:
    questions: list[str] = []
    async with listening(answering(asked_for=questions)) as port:
        assert await asked(DNS, resolv_conf=resolv_conf, dns_port=port) == ALL
    assert questions == [". IN NS"] * 5


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_an_answer_that_says_no_is_an_answer(resolv_conf: Path, rcode: dns.rcode.Rcode) -> None:
    async with listening(answering(rcode)) as port:
        assert (await asked(DNS, resolv_conf=resolv_conf, dns_port=port)).answered == 5


async def test_one_of_several_resolvers_is_enough(tmp_path: Path) -> None:
    resolv_conf = naming(tmp_path, "127.0.0.3", "127.0.0.1", "127.0.0.2")
    async with listening(answering()) as port, listening(silent, "127.0.0.2", port):
        assert await asked(DNS, resolv_conf=resolv_conf, dns_port=port) == ALL


async def test_a_resolver_that_says_nothing_is_late(resolv_conf: Path) -> None:
    async with listening(silent) as port:
        seen = await asked(DNS, resolv_conf=resolv_conf, dns_port=port, limit_s=0.05)
    assert seen == model.NetworkAnswers(
        answered=0, asked=5, reason="query of the resolvers: no answer within 0.05 s (5 of 5)"
    )


@pytest.mark.parametrize("answer", [b"", b"\x00", b"\x00\x03abc", b"\x00\x0c" + b"\xff" * 12])
async def test_something_else_than_an_answer_is_a_failed_probe(resolv_conf: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(answer)
        await writer.drain()

    async with listening(serve) as port:
        seen = await asked(DNS, resolv_conf=resolv_conf, dns_port=port)
    assert seen.answered == 0
    assert seen.reason.startswith("query of the resolvers: 127.0.0.1: ")
    assert seen.reason.endswith(" (5 of 5)")


async def test_resolvers_that_are_away_are_each_named(tmp_path: Path) -> None:
    resolv_conf = naming(tmp_path, "127.0.0.1", "127.0.0.2")
    seen = await asked(DNS, resolv_conf=resolv_conf, dns_port=free_port())
    assert seen.answered == 0
    assert all(f"{address}: " in seen.reason for address in ("127.0.0.1", "127.0.0.2"))


@pytest.mark.parametrize("there", [False, True])
async def test_no_resolver_is_a_failed_probe_that_names_the_file(tmp_path: Path, there: bool) -> None:
    path = naming(tmp_path) if there else tmp_path / "nothing"
    seen = await asked(DNS, resolv_conf=path)
    assert seen.reason == f"query of the resolvers: {path} cannot be read, or names no resolver (5 of 5)"


# ping


def ping(address: str) -> model.NetworkTest:
    return model.NetworkTest(kind=NetworkTestKind.PING, address=address)


@pytest.mark.real("icmp")
@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
async def test_a_host_that_is_there_answers_pings(address: str) -> None:
    assert await asked(ping(address)) == ALL


@pytest.mark.real("icmp")
async def test_nobody_is_told_by_address() -> None:
    seen = await asked(ping(NOBODY), limit_s=0.1)
    assert seen.answered == 0
    assert seen.reason.startswith(f"ping of {NOBODY}: ")


async def test_a_user_who_may_not_ping_learns_nothing_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(**_: Any) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", forbidden)
    with pytest.raises(
        network.PingNotAllowed, match=r"127\.0\.0\.1 cannot be pinged: .*net\.ipv4\.ping_group_range"
    ):
        await asked(ping("127.0.0.1"))
