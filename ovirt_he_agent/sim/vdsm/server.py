"""The port: TLS, protocol detection, frames in and out, heart-beats.

Models vdsm: lib/vdsm/protocoldetector.py, lib/vdsm/sslutils.py and the
dispatcher of lib/yajsonrpc/stomp.py. Image transfer over HTTP, which shares the
port on a host, is not emulated: such a connection is closed.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import NoReturn

from ovirt_he_agent.sim.vdsm import broker, stomp

HANDSHAKE_TIMEOUT_S = 10.0
DETECTION_TIMEOUT_S = 10.0
READ_BYTES = 65536

log = logging.getLogger(__name__)


class Silence:
    """While it lasts the server neither reads nor writes, as if its process were stopped."""

    def __init__(self) -> None:
        self._over = asyncio.Event()
        self._over.set()

    @property
    def lasts(self) -> bool:
        return not self._over.is_set()

    async def over(self) -> None:
        await self._over.wait()

    async def keep(self, seconds: float) -> None:
        self._over.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._over.set()


class Connection:
    """One client: an ``Outlet`` for the broker, and the loops that move bytes."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        messages: broker.Broker,
        silence: Silence,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._silence = silence
        self._session = broker.Session(messages, self)
        self._outbox: asyncio.Queue[stomp.Frame] = asyncio.Queue()
        self._send_every_s = 0.0
        self._expect_every_s = 0.0
        self._send_agreed = asyncio.Event()
        self._expect_agreed = asyncio.Event()
        self._last_in = 0.0
        self._last_out = 0.0

    def queue(self, frame: stomp.Frame) -> None:
        self._outbox.put_nowait(frame)

    def set_heart_beat(self, *, send_ms: int, expect_ms: int) -> None:
        now = asyncio.get_running_loop().time()
        self._last_out = now
        self._send_every_s = send_ms / 1000
        if send_ms:
            self._send_agreed.set()
        else:
            self._send_agreed.clear()
        if expect_ms:  # VDSM leaves an earlier expectation in force
            self._last_in = now
            self._expect_every_s = expect_ms / 1000
            self._expect_agreed.set()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def flush(self) -> None:
        """Wait until everything queued so far went to the kernel."""
        await self._outbox.join()

    async def serve(self) -> None:
        """Until the client leaves or breaks a rule."""
        try:
            async with asyncio.timeout(DETECTION_TIMEOUT_S):
                first = await self._reader.readexactly(stomp.DETECTION_BYTES)
            if not stomp.looks_like_stomp(first):
                log.info("unrecognized protocol: %r", first)
                return
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._write())
                loops.create_task(self._beat())
                loops.create_task(self._watch())
                await self._read(first)
                raise _Gone  # takes the other loops along
        except* (_Gone, TimeoutError, OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except* stomp.Broken as broken:
            log.info("closing a connection: %s", broken.exceptions[0])
        finally:
            self._session.close()
            self.abort()

    async def _read(self, data: bytes) -> None:
        parser = stomp.Parser()
        while data:
            # as in VDSM, frames that arrived together with a broken one are lost with it
            for frame in parser.feed(data):
                self._session.handle(frame)
            self._last_in = asyncio.get_running_loop().time()
            data = await self._reader.read(READ_BYTES)
            await self._silence.over()

    async def _write(self) -> NoReturn:
        while True:
            frame = await self._outbox.get()
            await self._silence.over()
            self._writer.write(frame.encode())
            await self._writer.drain()
            self._last_out = asyncio.get_running_loop().time()
            self._outbox.task_done()

    async def _beat(self) -> NoReturn:
        """Write a newline after the agreed time without output."""
        while True:
            await self._send_agreed.wait()
            now = asyncio.get_running_loop().time()
            due = self._last_out + self._send_every_s
            if now < due:
                await asyncio.sleep(due - now)
                continue
            await self._silence.over()
            self._writer.write(stomp.HEART_BEAT)
            self._last_out = asyncio.get_running_loop().time()

    async def _watch(self) -> NoReturn:
        """Hang up on a client that is silent for longer than it announced: without any tolerance."""
        await self._expect_agreed.wait()
        while True:
            if self._silence.lasts:
                await self._silence.over()
                await asyncio.sleep(0.1)  # what the client sent meanwhile is read first
            left = self._last_in + self._expect_every_s - asyncio.get_running_loop().time()
            if left <= 0:
                raise stomp.Broken(f"no byte for {self._expect_every_s} s")
            await asyncio.sleep(left)


class _Gone(Exception):
    """The client left."""


class Server:
    """Accepts connections until it is cancelled."""

    def __init__(
        self,
        listener: socket.socket,
        messages: broker.Broker,
        *,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """``tls`` makes a context for each connection, so that renewed files take effect."""
        self._listener = listener
        self._messages = messages
        self._tls = tls
        self.silence = Silence()
        self.connections: set[Connection] = set()

    async def serve(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                client, _ = await loop.sock_accept(self._listener)
                tasks.create_task(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            await self.silence.over()
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                client,
                ssl=self._tls() if self._tls else None,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._tls else None,
            )
        except (OSError, ssl.SSLError) as e:  # a failed handshake ends this client only
            log.info("no connection: %s", e)
            client.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        connection = Connection(reader, writer, self._messages, self.silence)
        self.connections.add(connection)
        try:
            await connection.serve()
        except Exception:
            # one broken connection must not end the others
            log.exception("a connection ended in an error")
        finally:
            self.connections.discard(connection)

    async def flush(self) -> None:
        """Wait (shortly) until all replies queued so far are on their way."""
        try:
            async with asyncio.timeout(1.0):
                for connection in tuple(self.connections):
                    await connection.flush()
        except TimeoutError:
            pass  # a client that does not read holds up nobody

    def drop(self) -> None:
        """Close every client connection, as a restart of VDSM would."""
        for connection in tuple(self.connections):
            connection.abort()
