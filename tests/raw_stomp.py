"""A client that writes VDSM's wire by hand, byte for byte, for tests of the emulator.

It shares nothing with the project's own codec, so that a mistake of one side
cannot hide in the other.
"""

import asyncio
import json
import ssl
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TIMEOUT_S = 20.0


def client_tls(directory: Path, *, with_certificate: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(directory / "ca.pem")
    if with_certificate:
        context.load_cert_chain(directory / "client.pem", directory / "client.key")
    return context


class VdsmError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class RawClient:
    """``async with RawClient(port) as c``: ``send`` and ``read`` bytes, or ``call`` verbs after ``hello``."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._tls = tls
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._reply_to = f"test-{uuid.uuid4()}"

    async def __aenter__(self) -> Self:
        self.reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._tls, limit=1 << 26
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # it was broken anyway

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def read(self, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readexactly(length)

    async def closed(self) -> bool:
        """Whether the server hangs up; what it sent before is ignored."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while await self.reader.read(4096):
                    pass
        except ConnectionError:
            pass
        return True

    async def frame(self) -> tuple[str, dict[str, str], bytes]:
        """The next frame; heart-beats are skipped."""
        async with asyncio.timeout(TIMEOUT_S):
            while (line := await self.reader.readline()) == b"\n":
                pass
            if not line:
                raise ConnectionResetError("the server closed the connection")
            headers: dict[str, str] = {}
            while (header := await self.reader.readline()) != b"\n":
                name, _, value = header.decode().rstrip("\n").partition(":")
                headers[name] = value.replace("\\c", ":").replace("\\\\", "\\")
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            assert await self.reader.readexactly(1) == b"\0"
            return line.decode().rstrip("\n"), headers, body

    # verbs

    async def hello(self) -> None:
        """Connect, and subscribe to replies and events."""
        self.send(b"CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0")
        command, _, _ = await self.frame()
        assert command == "CONNECTED"
        for number, destination in enumerate((self._reply_to, "jms.queue.events")):
            self.send(f"SUBSCRIBE\ndestination:{destination}\nid:s{number}\nack:auto\n\n\0".encode())

    def request(self, body: bytes) -> None:
        head = f"SEND\ndestination:jms.topic.vdsm_requests\nreply-to:{self._reply_to}\n"
        self.send(head.encode() + b"content-length:%d\n\n" % len(body) + body + b"\0")

    async def call(self, method: str, /, **params: Any) -> Any:
        """The result; raises ``VdsmError``. Events that arrive meanwhile go to ``events``."""
        request_id = str(uuid.uuid4())
        self.request(
            json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": request_id}).encode()
        )
        while True:
            message = await self._message()
            if message.get("id") == request_id:
                if "error" in message:
                    raise VdsmError(**message["error"])
                return message["result"]

    async def error(self, method: str, /, **params: Any) -> int:
        """The code of the error that the call must end in."""
        try:
            result = await self.call(method, **params)
        except VdsmError as e:
            return e.code
        raise AssertionError(f"{method} gave {result!r}, not an error")

    async def until(
        self, good: Callable[[Any], object], method: str, /, *, within_s: float = 20.0, **params: Any
    ) -> Any:
        """Call again and again until ``good(result)``; that result."""
        async with asyncio.timeout(within_s):
            while not good(result := await self.call(method, **params)):
                await asyncio.sleep(0.05)
        return result

    async def _message(self) -> dict[str, Any]:
        command, _, body = await self.frame()
        assert command == "MESSAGE", (command, body)
        message: dict[str, Any] = json.loads(body)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    async def status_event(self, vm_id: str, status: str) -> dict[str, Any]:
        """Wait for (or find among those that came) the event with this status; forgets the ones before it."""
        while True:
            while self.events:
                name, params = self.events.pop(0)
                if name == f"|virt|VM_status|{vm_id}" and params[vm_id]["status"] == status:
                    assert isinstance(params["notify_time"], int)
                    found: dict[str, Any] = params[vm_id]
                    return found
            await self._message()
