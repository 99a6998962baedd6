"""The agent's socket with clients that are not ours: curl, raw bytes, silence."""

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.control import client, server


@pytest.fixture
async def agent_socket(tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "run" / "agent.socket"
    methods = {"status": server.reading(lambda: {"state": "EngineUp"})}
    async with server.ControlServer(path, methods, mode=0o666, healthy=lambda: True):
        yield path


async def curl(path: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "curl",
        "--silent",
        "--max-time",
        "5",
        "--unix-socket",
        str(path),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return out.decode()


async def ask(path: Path, body: str) -> Any:
    return json.loads(await curl(path, "http://agent/", "--data-binary", body))


@pytest.mark.real("curl")
async def test_curl_gets_the_result_with_its_own_id(agent_socket: Path) -> None:
    answer = await ask(agent_socket, '{"jsonrpc": "2.0", "method": "status", "id": "x-1"}')
    assert answer == {"jsonrpc": "2.0", "id": "x-1", "result": {"state": "EngineUp"}}


@pytest.mark.real("curl")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("not json", server.PARSE_ERROR),
        ("[]", server.INVALID_REQUEST),
        ('{"method": "status", "id": 1}', server.INVALID_REQUEST),
        ('{"jsonrpc": "2.0", "method": "setMaintenance", "id": 1}', server.METHOD_NOT_FOUND),
        ('{"jsonrpc": "2.0", "method": ["status"], "id": 1}', server.METHOD_NOT_FOUND),
        ('{"jsonrpc": "2.0", "method": "status", "params": [1], "id": 1}', server.INVALID_PARAMS),
        ('{"jsonrpc": "2.0", "method": "status", "params": {"a": 1}, "id": 1}', server.INVALID_PARAMS),
        ("[" * 60_000, server.PARSE_ERROR),
        ("x" * 200_000, server.INVALID_REQUEST),
    ],
)
async def test_a_bad_request_gets_an_error_object(
    agent_socket: Path, body: str, code: int, tmp_path: Path
) -> None:
    file = tmp_path / "body"
    file.write_text(body)
    assert (await ask(agent_socket, f"@{file}"))["error"]["code"] == code


@pytest.mark.real("curl")
async def test_healthz_answers_get(agent_socket: Path) -> None:
    assert await curl(agent_socket, "http://agent/healthz") == "ok\n"


async def test_an_idle_client_keeps_nobody_waiting(agent_socket: Path) -> None:
    idle = [await asyncio.open_unix_connection(agent_socket) for _ in range(20)]
    worker = Worker("client")
    try:
        assert await worker.call(client.call, agent_socket, "status", timeout_s=5) == {"state": "EngineUp"}
    finally:
        worker.close()
        for _, writer in idle:
            writer.close()


async def test_our_client_says_what_the_agent_declined(agent_socket: Path) -> None:
    worker = Worker("client")
    with pytest.raises(client.Declined, match=r"no method 'nope'.*-32601"):
        await worker.call(client.call, agent_socket, "nope", timeout_s=5)
    worker.close()


def test_without_an_agent_the_client_says_so(tmp_path: Path) -> None:
    with pytest.raises(client.NoAgent, match="does not answer"):
        client.call(tmp_path / "agent.socket", "status")


async def test_a_second_agent_is_refused_and_a_stale_socket_is_replaced(
    agent_socket: Path, tmp_path: Path
) -> None:
    with pytest.raises(server.SocketTaken, match="another agent listens"):
        async with server.ControlServer(agent_socket, {}, mode=0o666, healthy=lambda: True):
            pass
    stale = tmp_path / "stale.socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    async with server.ControlServer(stale, {}, mode=0o660, healthy=lambda: True):
        assert stat.S_IMODE(stale.stat().st_mode) == 0o660
    assert not stale.exists()
