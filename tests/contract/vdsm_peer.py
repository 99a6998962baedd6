"""The other side of a VDSM client test: a script over raw bytes.

Nothing of our codec is in here. Frames are templates of what VDSM's own stack
wrote; what a client may choose (ids, its reply destination) is cut out of its
bytes by pattern, and everything else must match to the byte.
"""

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

VM_ID = "5fa1c0de-0000-4000-8000-00000000beef"

CONNECT = re.compile(rb"CONNECT\naccept-version:1\.2\nheart-beat:(\d+),(\d+)\n\n\0")
CONNECTED = b"CONNECTED\nversion:1.2\nheart-beat:%b\n\n\0"
SUBSCRIBE = re.compile(rb"SUBSCRIBE\ndestination:([^\n:]+)\nack:auto\nid:([^\n:]+)\n\n\0")
SEND = re.compile(
    rb"SEND\ndestination:jms\.topic\.vdsm_requests\ncontent-type:application/json\n"
    rb"reply-to:([^\n:]+)\novirtCorrelationId:[^\n:]+\ncontent-length:(\d+)\n\n([^\0]*)\0"
)
MESSAGE = (
    b"MESSAGE\ndestination:%b\ncontent-type:application/json\nsubscription:%b\ncontent-length:%d\n\n%b\0"
)
UNSUBSCRIBE = re.compile(rb"UNSUBSCRIBE\nid:([^\n:]+)\n\n\0")
DISCONNECT = re.compile(rb"DISCONNECT\nreceipt:([^\n:]+)\n\n\0")
RECEIPT = b"RECEIPT\nreceipt-id:%b\n\n\0"
ERROR = b"ERROR\ncontent-length:%d\n\n%b\0"

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
EVENT = (
    b'{"jsonrpc": "2.0", "method": "|virt|VM_status|%(vm)b", "params": {"%(vm)b": '
    b'{"status": "%(status)b"}, "notify_time": %(time)d}}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    id: str
    verb: str
    params: Any


class Line:
    """One connection as VDSM sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        """0 for the first connection that the peer got."""
        self.reply_to = b""
        self.replies_id = b""
        self.events_id = b""

    async def frame(self) -> bytes:
        """The next frame with its NUL; heart-beats before it are dropped."""
        return (await self.reader.readuntil(b"\0")).lstrip(b"\n")

    async def expect(self, pattern: re.Pattern[bytes]) -> tuple[bytes, ...]:
        raw = await self.frame()
        match = pattern.fullmatch(raw)
        assert match is not None, f"{raw!r} is not {pattern.pattern!r}"
        return tuple(match.groups())

    def send(self, *raw: bytes) -> None:
        """All of ``raw`` in one write."""
        self.writer.write(b"".join(raw))

    async def open(self, heart_beat: bytes | None = None) -> Self:
        """The golden start of a session; without ``heart_beat`` the client's is mirrored as VDSM does."""
        sends, wants = await self.expect(CONNECT)
        self.send(CONNECTED % (heart_beat or wants + b"," + sends))
        self.reply_to, self.replies_id = await self.expect(SUBSCRIBE)
        destination, self.events_id = await self.expect(SUBSCRIBE)
        assert destination == b"jms.queue.events"
        assert UUID.fullmatch(self.reply_to.decode())
        assert self.replies_id != self.events_id
        return self

    async def request(self) -> Request:
        reply_to, length, body = await self.expect(SEND)
        assert reply_to == self.reply_to
        assert int(length) == len(body)
        message = json.loads(body)
        assert list(message) == ["jsonrpc", "method", "params", "id"]
        assert message["jsonrpc"] == "2.0"
        assert isinstance(message["params"], dict)
        assert UUID.fullmatch(message["id"])
        return Request(id=message["id"], verb=message["method"], params=message["params"])

    def reply(self, body: bytes) -> bytes:
        return MESSAGE % (self.reply_to, self.replies_id, len(body), body)

    def answer(self, request: Request, result: bytes) -> bytes:
        return self.reply(b'{"jsonrpc": "2.0", "id": "%b", "result": %b}' % (request.id.encode(), result))

    def failure(self, request: Request, code: int, text: bytes) -> bytes:
        return self.reply(
            b'{"jsonrpc": "2.0", "id": "%b", "error": {"code": %d, "message": "%b"}}'
            % (request.id.encode(), code, text)
        )

    def event(self, status: bytes, time: int) -> bytes:
        body = EVENT % {b"vm": VM_ID.encode(), b"status": status, b"time": time}
        return MESSAGE % (b"jms.queue.events", self.events_id, len(body), body)

    async def serve(self, *results: bytes) -> None:
        """Answer one request after another with these, then expect the client to leave in order."""
        for result in results:
            self.send(self.answer(await self.request(), result))
        await self.farewell()

    async def farewell(self) -> None:
        assert await self.expect(UNSUBSCRIBE) == (self.events_id,)
        assert await self.expect(UNSUBSCRIBE) == (self.replies_id,)
        (receipt,) = await self.expect(DISCONNECT)
        self.send(RECEIPT % receipt)
        await self.gone()

    async def gone(self) -> bytes:
        """What the client still says until it closes the connection."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    def hang_up(self) -> None:
        self.writer.close()


Script = Callable[[Line], Awaitable[None]]


class Peer:
    """Listens on a free loopback port and runs the script for each connection, one task each.

    Leaving the block waits for the scripts and raises the first error in one.
    """

    def __init__(self, script: Script, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self.port = port
        self._tls = tls
        self._tasks: list[asyncio.Task[None]] = []
        self._errors: list[Exception] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls, limit=16 * 1024 * 1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=5)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
                self._errors.append(AssertionError(f"{len(late)} scripts did not end"))
        if kind is None and self._errors:
            raise self._errors[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        line = Line(reader, writer, self.connections)
        self.connections += 1
        try:
            await self._script(line)
        except Exception as e:  # noqa: BLE001 raised in the test when it leaves the block
            self._errors.append(e)
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass  # the client was faster
