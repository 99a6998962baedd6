"""What VDSM runs (its client module, its hook) against agents that are good, bad and absent.

The agent's side is a real HTTP server on a real socket, scripted byte by byte,
and once the agent's own.
"""

import asyncio
import errno
import importlib.util
import json
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import pytest

from ovirt_he_agent import blocking, config
from ovirt_he_agent.control import codes, server
from ovirt_he_agent.errors import Retryable
from tests.asked_agent import WHY_NOBODY, RecordedRequests, serving

PLUGINS = Path(__file__).parents[2] / "vdsm_plugins"
HOOK = PLUGINS / "after_get_stats" / "50_ovirt_he_agent"
STATUS = {
    "configured": True,
    "active": True,
    "globalMaintenance": False,
    "localMaintenance": True,
    "score": 3400,
}


def load_client() -> ModuleType:
    path = PLUGINS / "ovirt_hosted_engine_ha" / "client" / "client.py"
    spec = importlib.util.spec_from_file_location("he_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


client = load_client()


class CannotBe(Retryable):
    msg = "it cannot be; so much"


Answer = Callable[[socket.socket, threading.Event], None]


def sends(body: bytes, head: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n") -> Answer:
    def answer(peer: socket.socket, ended: threading.Event) -> None:
        peer.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    return answer


def result(value: object) -> Answer:
    return sends(json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode())


def error(code: int, message: str) -> Answer:
    return sends(
        json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}).encode()
    )


def drips(first: bytes) -> Answer:
    """Never silent, never done: as long as the peer takes it."""

    def answer(peer: socket.socket, ended: threading.Event) -> None:
        peer.sendall(first)
        while not ended.wait(0.02):
            peer.sendall(b" ")

    return answer


def floods(peer: socket.socket, ended: threading.Event) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
    while not ended.is_set():
        peer.sendall(bytes(65536))


def hangs(peer: socket.socket, ended: threading.Event) -> None:
    ended.wait(30)


def raw(content: bytes) -> Answer:
    def answer(peer: socket.socket, ended: threading.Event) -> None:
        peer.sendall(content)

    return answer


class ScriptedAgent:
    """Listens on the agent's socket below ``root`` and gives everybody the same answer."""

    def __init__(self, root: Path, answer: Answer) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._ended = threading.Event()
        path = root / "run/ovirt-he-agent/agent.socket"
        path.parent.mkdir(parents=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(32)
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            request = b""
            while b"\r\n\r\n" not in request or not request.endswith(b"}"):
                request += peer.recv(65536)
            self.requests.append(request)
            try:
                self._answer(peer, self._ended)
            except OSError:
                pass  # the client had enough


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host on which Hosted Engine is deployed, as host 2."""
    monkeypatch.setenv("OVIRT_HE_ROOT", str(tmp_path))
    configure(tmp_path, "fqdn=engine.example.org\nhost_id=2\n")
    return tmp_path


def configure(root: Path, text: str) -> None:
    conf = root / "etc/ovirt-hosted-engine/hosted-engine.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(text)


def with_status(**changes: object) -> dict[str, Any]:
    return STATUS | changes


BAD_ANSWERS: dict[str, Answer] = {
    "drips in its head": drips(b"HTTP/1.1 200 OK\r\nX-Long: "),
    "drips in its body": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"),
    "drips without an end": drips(b"HTTP/1.0 200 OK\r\n\r\n"),
    "hangs": hangs,
    "closes": raw(b""),
    "no HTTP": raw(b"CONNECTED\nversion:1.2\n\n\0"),
    "half an answer": raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"jsonrpc": "2.0", '),
    "floods": floods,
    "endless interim answers": drips(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000),
    "huge": sends(b" " * 70000 + b"{}"),
    "no JSON": sends(b"<html>"),
    "no text": sends(b"\xff\xfe\0"),
    "too deep": sends(b"[" * 60000),
    "not found": sends(b"{}", b"HTTP/1.1 404 Not Found\r\n"),
    "a list": sends(b"[]"),
    "another id": sends(b'{"jsonrpc": "2.0", "id": 2, "result": null}'),
    "nothing": sends(b'{"jsonrpc": "2.0", "id": 1}'),
    "result is null": result(None),
    "member missing": result({k: v for k, v in STATUS.items() if k != "active"}),
    "number for a boolean": result(with_status(active=1)),
    "text for a boolean": result(with_status(globalMaintenance="false")),
    "boolean for a number": result(with_status(score=True)),
    "fraction": result(with_status(score=3400.5)),
    "null score": result(with_status(score=None)),
    "error": error(-32603, "internal error"),
}


# The client


def test_stats_are_what_vdsm_expects(root: Path) -> None:
    with ScriptedAgent(root, result(STATUS)) as agent:
        stats = client.HAClient().get_all_stats(timeout=5)
    assert stats == {0: {"maintenance": False}, 2: {"live-data": True, "score": 3400, "maintenance": True}}
    assert type(stats[2]["score"]) is int
    head, body = agent.requests[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST / HTTP/1.1\r\n")
    assert json.loads(body) == {"jsonrpc": "2.0", "method": "haStatus", "params": {}, "id": 1}


@pytest.mark.parametrize(("mode", "keys"), [("ALL", {0, 2}), ("HOST", {2}), ("GLOBAL", {0})])
def test_the_mode_chooses_the_stats(root: Path, mode: str, keys: set[int]) -> None:
    with ScriptedAgent(root, result(STATUS)):
        assert set(client.HAClient().get_all_stats(mode)) == keys


def test_many_threads_ask_at_once(root: Path) -> None:
    answers: list[object] = []
    with ScriptedAgent(root, result(STATUS)):
        threads = [
            threading.Thread(target=lambda: answers.append(client.HAClient().get_all_stats(timeout=20)))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 16
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_bad_answer_is_an_os_error_of_one_line_and_in_time(root: Path, answer: Answer) -> None:
    with ScriptedAgent(root, answer), pytest.raises(OSError) as caught:
        client.HAClient().get_all_stats(timeout=0.5)
    assert caught.value.errno != errno.ENOENT  # that means: absent
    assert "ovirt-he-agent" in str(caught.value) or "internal error" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_agent_is_file_not_found(root: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        client.HAClient().get_all_stats(timeout=5)
    assert caught.value.errno == errno.ENOENT


def test_a_socket_left_behind_is_file_not_found(root: Path) -> None:
    with ScriptedAgent(root, hangs):
        pass
    assert (root / "run/ovirt-he-agent/agent.socket").is_socket()
    with pytest.raises(FileNotFoundError) as caught:
        client.HAClient().get_all_stats(timeout=5)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("text", "host_id"),
    [
        ("host_id=2\n", 2),
        (" host_id = 7 \nconfigured=True\n", 7),
        ("host_id=1\nhost_id=3\n", 3),
        ("#host_id=1\n", None),
        ("host_id=1\nconfigured=False\n", None),
        ("host_id=\n", None),
        ("host_id=None\n", None),
        ("host_id=0\n", None),
        ("host_id=2001\n", None),
        ("", None),
        ("no key\n", None),
    ],
)
def test_the_host_id_comes_from_hosted_engine_conf(root: Path, text: str, host_id: int | None) -> None:
    configure(root, text)
    assert client.HAClient().get_local_host_id() == host_id
    assert hook_status(root)["ha_configured"] is (host_id is not None)


def test_a_host_without_hosted_engine_is_neither_configured_nor_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVIRT_HE_ROOT", str(tmp_path))
    assert client.HAClient().get_local_host_id() is None
    assert client.HAClient().is_deployed() is False


def test_deployed_is_a_configuration_with_something_in_it(root: Path) -> None:
    assert client.HAClient().is_deployed() is True
    configure(root, "")
    assert client.HAClient().is_deployed() is False


def test_maintenance_is_handed_on(root: Path) -> None:
    ha = client.HAClient
    with ScriptedAgent(root, result(None)) as agent:
        ha().set_maintenance_mode(ha.MaintenanceMode.GLOBAL, True, timeout=60)
        ha().set_maintenance_mode(mode=ha.MaintenanceMode.LOCAL, value=False)
    calls = [json.loads(r.split(b"\r\n\r\n")[1]) for r in agent.requests]
    assert [(c["method"], c["params"]) for c in calls] == [
        ("setMaintenance", {"mode": "GLOBAL", "enabled": True}),
        ("setMaintenance", {"mode": "LOCAL", "enabled": False}),
    ]


def test_the_agents_own_refusal_is_raised_as_it_is(root: Path) -> None:
    with (
        ScriptedAgent(root, error(5, "the VM is here")),
        pytest.raises(client.AgentError, match="VM is here"),
    ):
        client.HAClient().set_maintenance_mode("LOCAL", True)


@pytest.mark.parametrize(("mode", "value"), [("local", True), ("", True), ("LOCAL", "False"), ("LOCAL", 1)])
def test_an_unknown_maintenance_is_not_sent(root: Path, mode: str, value: object) -> None:
    with ScriptedAgent(root, result(None)) as agent, pytest.raises(ValueError):
        client.HAClient().set_maintenance_mode(mode, value)
    assert agent.requests == []


def test_the_client_works_on_the_bare_system_python(root: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(PLUGINS)!r}); "
        "from ovirt_hosted_engine_ha.client import client as c; ha = c.HAClient(); "
        "print(ha.get_local_host_id(), ha.get_all_stats(timeout=5), ha.is_deployed())"
    )
    with ScriptedAgent(root, result(STATUS)):
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-S", "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    stats = "{0: {'maintenance': False}, 2: {'live-data': True, 'score': 3400, 'maintenance': True}}"
    assert (done.stdout, done.stderr) == (f"2 {stats} True\n", "")


# The hook


def run_hook(root: Path, stats: bytes, **environ: str) -> bytes:
    """What the hook leaves of these stats; it may say nothing, fail never and leave no other file."""
    directory = root / "hook"
    directory.mkdir(exist_ok=True)
    path = directory / "stats"
    path.write_bytes(stats)
    path.chmod(0o640)
    done = subprocess.run(
        [HOOK],
        env={"OVIRT_HE_ROOT": str(root), "_hook_json": str(path), "PYTHONPATH": ":/nowhere"} | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert os.listdir(directory) == ["stats"]
    assert path.stat().st_mode & 0o7777 == 0o640
    return path.read_bytes()


def hook_status(root: Path) -> dict[str, Any]:
    """The haStatus that the hook adds; nothing else may change."""
    stats = {"memFree": 12345, "cpuLoad": "0.42", "text": "é\u2028", "haStats": {"score": 0}, "n": None}
    after = json.loads(run_hook(root, json.dumps(stats).encode()))
    status = after.pop("haStatus")
    assert after == stats
    assert isinstance(status, dict)
    return status


def test_the_hook_adds_the_agents_ha_status(root: Path) -> None:
    with ScriptedAgent(root, result(STATUS)) as agent:
        assert hook_status(root) == {
            "ha_configured": True,
            "ha_active": True,
            "ha_global_maintenance": False,
            "ha_local_maintenance": True,
            "ha_score": 3400,
        }
    head, body = agent.requests[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST / HTTP/1.0\r\n")
    assert json.loads(body) == {"jsonrpc": "2.0", "method": "haStatus", "params": {}, "id": 1}


UNKNOWN = {
    "ha_configured": True,  # by hosted-engine.conf
    "ha_active": False,
    "ha_global_maintenance": False,
    "ha_local_maintenance": False,
    "ha_score": 0,
}


# who never ends costs the hook its limit of a second each
HOOK_BAD_ANSWERS = [name for name in BAD_ANSWERS if name not in ("hangs", "drips in its head", "another id")]


@pytest.mark.parametrize("name", HOOK_BAD_ANSWERS)
def test_the_hook_takes_a_bad_answer_for_none(root: Path, name: str) -> None:
    with ScriptedAgent(root, BAD_ANSWERS[name]):
        assert hook_status(root) == UNKNOWN


def test_the_hook_without_an_agent_says_whether_the_host_is_configured(root: Path) -> None:
    assert hook_status(root) == UNKNOWN
    (root / "etc/ovirt-hosted-engine/hosted-engine.conf").unlink()
    assert hook_status(root) == UNKNOWN | {"ha_configured": False}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff"])
def test_the_hook_leaves_alone_what_is_no_stats(root: Path, content: bytes) -> None:
    assert run_hook(root, content) == content


def test_the_hook_without_a_file_to_work_on_does_nothing(root: Path) -> None:
    assert run_hook(root, b"{}", _hook_json=str(root / "absent")) == b"{}"


# Both against the agent's own server


@pytest.fixture
async def agents_server(root: Path) -> AsyncIterator[None]:
    methods = {"haStatus": server.reading(lambda: STATUS)}
    path = config.Paths(root=root).socket
    async with server.ControlServer(path, methods, mode=0o666, healthy=lambda: True):
        yield


@pytest.fixture
def vdsm_thread() -> Iterator[blocking.Worker]:
    worker = blocking.Worker("vdsm")
    yield worker
    worker.close()


@pytest.mark.usefixtures("agents_server")
async def test_client_and_hook_understand_the_agents_own_server(
    root: Path, vdsm_thread: blocking.Worker
) -> None:
    stats = await vdsm_thread.call(client.HAClient().get_all_stats, timeout_s=10)
    assert stats[2] == {"live-data": True, "score": 3400, "maintenance": True}
    assert (await vdsm_thread.call(hook_status, root, timeout_s=10))["ha_score"] == 3400


@pytest.mark.parametrize(
    ("mode", "request_name"), [("GLOBAL", "global"), ("LOCAL", "LOCAL"), ("LOCAL_MANUAL", "LOCAL_MANUAL")]
)
async def test_the_client_sets_maintenance_through_the_agents_own_server(
    root: Path, vdsm_thread: blocking.Worker, mode: str, request_name: str
) -> None:
    agent, ha = RecordedRequests(), client.HAClient()
    async with serving(config.Paths(root=root).socket, agent):
        for value in (True, False):
            await vdsm_thread.call(ha.set_maintenance_mode, mode, value, timeout_s=10)
        agent.failing[request_name] = CannotBe()
        with pytest.raises(client.AgentError, match=r"^it cannot be; so much$") as caught:
            await vdsm_thread.call(ha.set_maintenance_mode, mode, True, timeout_s=10)
    assert caught.value.code == codes.FAILED
    assert isinstance(caught.value, OSError)
    assert agent.asked == [(request_name, value) for value in (True, False, True)]


async def test_the_client_names_the_host_that_is_not_configured(
    root: Path, vdsm_thread: blocking.Worker
) -> None:
    async with serving(config.Paths(root=root).socket, None):
        with pytest.raises(client.AgentError, match=WHY_NOBODY) as caught:
            await vdsm_thread.call(client.HAClient().set_maintenance_mode, "GLOBAL", True, timeout_s=10)
    assert caught.value.code == codes.NOT_CONFIGURED


async def test_the_clients_limit_holds_for_maintenance_too(root: Path, vdsm_thread: blocking.Worker) -> None:
    async with serving(config.Paths(root=root).socket, RecordedRequests(takes=asyncio.Event().wait)):
        with pytest.raises(OSError, match=r"did not answer setMaintenance within 0\.2 s") as caught:
            await vdsm_thread.call(
                lambda: client.HAClient().set_maintenance_mode("GLOBAL", True, timeout=0.2), timeout_s=10
            )
    assert caught.value.errno == errno.ETIMEDOUT
