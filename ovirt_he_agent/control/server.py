"""The agent's socket: JSON-RPC 2.0 over HTTP, answered from memory (docs/control.md).

One request is one small JSON document; a slow or idle client keeps only itself
waiting, and so does a method that has to wait. Who asks is known by the kernel's
word (SO_PEERCRED); what that user may do is the method's matter.
"""

import json
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from aiohttp import web

from ovirt_he_agent.errors import HeAgentError

log = logging.getLogger(__name__)

REQUEST_LIMIT_BYTES = 64 * 1024
_PEERCRED = struct.Struct("3i")

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602


@dataclass(eq=False)
class SocketTaken(HeAgentError):
    path: Path
    msg: ClassVar[str] = (
        "another agent listens on {self.path}: stop it first (systemctl stop ovirt-he-agent), "
        "or use another root"
    )


@dataclass(eq=False)
class SocketFailed(HeAgentError):
    path: Path
    reason: str
    msg: ClassVar[str] = "cannot listen on {self.path}: {self.reason}; check that directory and its owner"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a local connection."""

    pid: int
    uid: int
    gid: int


@dataclass(eq=False)
class CallFailed(Exception):
    """An error answer: ``code`` and ``message`` reach the caller."""

    code: int
    message: str


Method = Callable[[Peer, Mapping[str, Any]], Awaitable[Any]]


class ControlServer:
    """Async context manager: listening inside, socket removed afterwards."""

    def __init__(
        self,
        path: Path,
        methods: Mapping[str, Method],
        *,
        mode: int,
        healthy: Callable[[], bool],
    ) -> None:
        """``methods`` by name; ``mode`` of the socket file; ``healthy`` answers GET /healthz."""
        self._path = path
        self._methods = methods
        self._mode = mode
        self._healthy = healthy
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=REQUEST_LIMIT_BYTES)
        app.router.add_post("/", self._post)
        app.router.add_get("/healthz", self._healthz)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            listener = _listen(self._path, self._mode)
        except OSError as e:
            await self._runner.cleanup()
            raise SocketFailed(self._path, e.strerror or str(e)) from e
        except SocketTaken:
            await self._runner.cleanup()
            raise
        await web.SockSite(self._runner, listener).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._path.unlink(missing_ok=True)

    async def _healthz(self, request: web.Request) -> web.Response:
        ok = self._healthy()
        return web.Response(text="ok\n" if ok else "not ok\n", status=200 if ok else 503)

    async def _post(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _answer(None, error=CallFailed(INVALID_REQUEST, f"over {REQUEST_LIMIT_BYTES} bytes"))
        try:
            call = json.loads(body)
        except (ValueError, RecursionError):
            return _answer(None, error=CallFailed(PARSE_ERROR, "the request is not JSON"))
        call_id = call.get("id") if isinstance(call, dict) else None
        try:
            return _answer(call_id, result=await self._call(_peer(request), call))
        except CallFailed as e:
            return _answer(call_id, error=e)

    async def _call(self, peer: Peer, call: Any) -> Any:
        if not isinstance(call, dict) or call.get("jsonrpc") != "2.0":
            raise CallFailed(INVALID_REQUEST, 'one JSON-RPC 2.0 object is expected ("jsonrpc": "2.0")')
        name, params = call.get("method"), call.get("params", {})
        if params == []:
            params = {}  # generic clients send no parameters as an empty list
        if not isinstance(name, str) or name not in self._methods:
            known = ", ".join(sorted(self._methods))
            raise CallFailed(METHOD_NOT_FOUND, f"this agent has no method {name!r}; it has: {known}")
        if not isinstance(params, dict):
            raise CallFailed(INVALID_PARAMS, "parameters are given by name")
        return await self._methods[name](peer, params)


def _answer(call_id: Any, *, result: Any = None, error: CallFailed | None = None) -> web.Response:
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": call_id}
    if error is not None:
        body["error"] = {"code": error.code, "message": error.message}
    else:
        body["result"] = result
    return web.json_response(body)


def _peer(request: web.Request) -> Peer:
    assert request.transport is not None
    connection: socket.socket = request.transport.get_extra_info("socket")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
    pid, uid, gid = _PEERCRED.unpack(raw)
    return Peer(pid, uid, gid)


def _listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at ``path``; a stale file of a dead agent is replaced, a live one refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(str(path))
            raise SocketTaken(path)
    except FileNotFoundError:
        pass
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)  # nobody listens: left over from a daemon that was killed
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        os.chmod(path, mode)
        listener.listen(64)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def reading(read: Callable[[], Any]) -> Method:
    """A method for everybody, without parameters, that answers ``read()``."""

    async def method(peer: Peer, params: Mapping[str, Any]) -> Any:
        if params:
            raise CallFailed(INVALID_PARAMS, f"takes no parameters, got {', '.join(sorted(params))}")
        return read()

    return method
