"""JSON-RPC as VDSM serves it: one parser, eight workers, eighty waiting calls.

Models vdsm: lib/yajsonrpc/__init__.py, lib/vdsm/rpc/bindingjsonrpc.py and
Bridge.py, with what a client must not do included: a notification, or a batch
without one valid call, ends the parser, and then nothing is answered any more
while heart-beats and connects go on. ``Sim.*`` calls are served whatever happens.
"""

import asyncio
import contextvars
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from ovirt_he_agent import blocking
from ovirt_he_agent.sim.vdsm import broker, faults, refusals

WORKERS = 8
MAX_WAITING = 80
CONTROL = "Sim."
NO_LIMIT_S = 3600.0
"""VDSM lets a stuck verb keep its worker; so long is as good as for ever."""

Verb = Callable[..., Any]
"""Parameters by their schema names. A coroutine function runs in the loop, another in the worker's thread."""

T = TypeVar("T")
log = logging.getLogger(__name__)

_thread: contextvars.ContextVar[blocking.Worker] = contextvars.ContextVar("thread")


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run a blocking function in the thread of the RPC worker that serves the current call."""
    return await _thread.get().call(function, *args, timeout_s=NO_LIMIT_S)


@dataclass(frozen=True, slots=True)
class _Request:
    id: object
    method: str
    params: list[object] | dict[str, object]


def _decode(raw: object) -> _Request:
    if not isinstance(raw, dict):
        raise refusals.internal()
    if raw.get("jsonrpc") != "2.0":
        raise refusals.invalid_request("Wrong protocol version", raw)
    if raw.get("method") is None:
        raise refusals.invalid_request("missing method header in method", raw)
    params = raw.get("params", [])
    if not isinstance(params, list | dict):
        raise refusals.invalid_request("wrong params type", raw)
    return _Request(raw.get("id"), str(raw["method"]), params)


def _response(request_id: object, result: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "result": True if result is None else result}


def _error(request_id: object, error: refusals.Refused) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": error.code, "message": str(error)}}


class _Undeliverable(Exception):
    """VDSM cannot send a list of responses, nor none: it raises where it tries to."""


@dataclass(slots=True)
class _Message:
    """What came in one SEND frame: the calls that wait, and the responses so far."""

    send: Callable[[dict[str, object]], None]
    waiting: dict[object, _Request] = field(default_factory=dict)
    responses: list[dict[str, object]] = field(default_factory=list)

    def done(self, response: dict[str, object]) -> None:
        self.waiting.pop(response["id"], None)
        self.responses.append(response)
        self.flush()

    def flush(self) -> None:
        if self.waiting:
            return
        if len(self.responses) != 1:
            raise _Undeliverable(f"{len(self.responses)} responses")
        self.send(self.responses[0])


class Rpc:
    def __init__(
        self, messages: broker.Broker, wrong: faults.Faults, drop_connections: Callable[[], None]
    ) -> None:
        self.verbs: dict[str, Verb] = {}
        self._broker = messages
        self._faults = wrong
        self._drop_connections = drop_connections
        self._queue: asyncio.Queue[tuple[_Message, _Request]] = asyncio.Queue(MAX_WAITING)
        self._control: asyncio.Queue[tuple[_Message, _Request]] = asyncio.Queue()
        self._parser_ended = False
        messages.on_request = self.receive

    def add(self, verbs: Mapping[str, Verb]) -> None:
        self.verbs |= verbs

    async def serve(self) -> NoReturn:
        async with asyncio.TaskGroup() as workers:
            for number in range(WORKERS):
                workers.create_task(self._work(self._queue, f"rpc/{number}"))
            workers.create_task(self._work(self._control, "rpc/control"))
        raise AssertionError("workers never end")

    def receive(self, body: bytes) -> None:
        """A request body as it came; answers go out through the broker."""
        try:
            parsed = json.loads(body)
        except ValueError:
            if not self._parser_ended:
                self._broker.reply(_error(None, refusals.parse_error()))
            return
        if self._parser_ended and not _is_control(parsed):
            return
        try:
            self._accept(parsed)
        except (_Undeliverable, TypeError) as e:  # TypeError: an id that is no scalar
            self._parser_ended = True
            log.error("the request parser has ended (%s), no request is answered any more: %r", e, body[:200])

    def _accept(self, parsed: object) -> None:
        message = _Message(self._broker.reply)
        if parsed == []:
            message.responses.append(_error(None, refusals.invalid_request("request batch is empty", [])))
            message.flush()
            return
        requests: list[_Request] = []
        for raw in parsed if isinstance(parsed, list) else [parsed]:
            try:
                requests.append(_decode(raw))
            except refusals.Refused as e:
                message.responses.append(_error(None, e))
        message.waiting = {request.id: request for request in requests if request.id is not None}
        message.flush()
        if not message.waiting:
            message.flush()  # so a refused request is answered twice, as in VDSM
        for request in requests:
            if request.method.startswith(CONTROL):
                self._control.put_nowait((message, request))
                continue
            try:
                self._queue.put_nowait((message, request))
            except asyncio.QueueFull:
                message.done(_error(request.id, refusals.too_many_tasks(MAX_WAITING)))

    async def _work(self, queue: "asyncio.Queue[tuple[_Message, _Request]]", name: str) -> NoReturn:
        thread = blocking.Worker(name)
        _thread.set(thread)
        try:
            while True:
                message, request = await queue.get()
                response = await self._answer(request)
                lost, drop = self._faults.swallows_reply(request.method)
                if drop:
                    self._drop_connections()
                if lost:
                    continue
                try:
                    message.done(response)
                except _Undeliverable as e:
                    log.warning("a batch is not answered: %s", e)
        finally:
            thread.close()

    async def _answer(self, request: _Request) -> dict[str, object]:
        code: int | None = None
        try:
            response = _response(request.id, await self._call(request))
            json.dumps(response)
        except refusals.Refused as e:
            code, response = e.code, _error(request.id, e)
        except Exception as e:
            # VDSM's own rule: any exception of a verb is an internal error for the client
            log.exception("%s failed", request.method)
            code, response = -32603, _error(request.id, refusals.internal(e))
        if not request.method.startswith(CONTROL):
            self._faults.calls.append({"method": request.method, "params": request.params, "code": code})
        return response

    async def _call(self, request: _Request) -> object:
        if not request.method.startswith(CONTROL):
            if self._faults.recovering:
                raise refusals.recovering()
            await self._faults.before(request.method)
        verb = self.verbs.get(request.method)
        if verb is None:
            raise refusals.no_such_method(request.method)
        arguments = _arguments(verb, request.params)
        if inspect.iscoroutinefunction(verb):
            running: Awaitable[object] = verb(**arguments)
        else:
            running = in_thread(lambda: verb(**arguments))
        return await running


def _arguments(verb: Verb, params: list[object] | dict[str, object]) -> dict[str, object]:
    """Positional ones get the schema's names; unknown names are ignored; missing ones fail in the call."""
    names = list(inspect.signature(verb).parameters)
    if isinstance(params, list):
        if len(params) > len(names):
            raise IndexError("list index out of range")
        return dict(zip(names, params, strict=False))
    return {name: value for name, value in params.items() if name in names}


def _is_control(parsed: object) -> bool:
    if isinstance(parsed, list):
        return any(_is_control(one) for one in parsed)
    return isinstance(parsed, dict) and str(parsed.get("method")).startswith(CONTROL)
