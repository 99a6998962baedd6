"""VDSM's STOMP 1.2 subset: five client frames to bytes, bytes to four server frames.

No socket, no clock. VDSM's parser and writer: vdsm: lib/yajsonrpc/stomp.py,
lib/yajsonrpc/stompserver.py. It wants ``accept-version`` to be exactly 1.2,
escapes header values in every frame, and ignores ``receipt`` but on DISCONNECT.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ovirt_he_agent.errors import Retryable

HEART_BEAT = b"\n"

MAX_HEAD_BYTES = 64 * 1024
"""Command and headers of one frame; VDSM's are below 300 bytes."""
MAX_BODY_BYTES = 256 * 1024 * 1024
"""VDSM knows no limit; 32 MiB replies were seen."""

_COMMANDS = {b"CONNECTED", b"MESSAGE", b"ERROR", b"RECEIPT"}
_LONGEST_LINE = max(map(len, _COMMANDS)) + len(b"\r")
_ESCAPES = {b"\\": b"\\\\", b"\r": b"\\r", b"\n": b"\\n", b":": b"\\c"}
_UNESCAPES = {escape: char for char, escape in _ESCAPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The session stands."""

    version: str
    server_sends_ms: int
    """The server writes something at least this often; 0: it does not promise to."""
    server_wants_ms: int
    """The server drops a client that is silent for this long; 0: it does not care."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A reply or an event."""

    destination: str
    subscription: str
    """The id given in SUBSCRIBE."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """A frame of ours was refused; VDSM does not say which."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    receipt_id: str


Frame = Connected | Message | Error | Receipt


@dataclass(eq=False)
class BadFrame(Retryable):
    """The bytes are none of VDSM's frames; the stream cannot be read any further."""

    reason: str
    frames: tuple[Frame, ...] = ()
    """Whole frames that came before the damage in the same ``feed``."""
    msg: ClassVar[str] = "not a STOMP frame of VDSM: {self.reason}; check that VDSM listens on that port"


# Client frames, byte for byte as VDSM's own client writes them.


def connect(*, client_sends_ms: int, client_wants_ms: int) -> bytes:
    return _encode(
        "CONNECT", ("accept-version", "1.2"), ("heart-beat", f"{client_sends_ms},{client_wants_ms}")
    )


def subscribe(destination: str, subscription: str) -> bytes:
    return _encode("SUBSCRIBE", ("destination", destination), ("ack", "auto"), ("id", subscription))


def unsubscribe(subscription: str) -> bytes:
    return _encode("UNSUBSCRIBE", ("id", subscription))


def send(destination: str, *, reply_to: str, body: bytes, flow_id: str | None = None) -> bytes:
    """``flow_id`` stands with the call in vdsm.log."""
    headers = [("destination", destination), ("content-type", "application/json"), ("reply-to", reply_to)]
    if flow_id is not None:
        headers.append(("ovirtCorrelationId", flow_id))
    headers.append(("content-length", str(len(body))))
    return _encode("SEND", *headers, body=body)


def disconnect(receipt: str) -> bytes:
    return _encode("DISCONNECT", ("receipt", receipt))


def _encode(command: str, *headers: tuple[str, str], body: bytes = b"") -> bytes:
    lines = [command.encode()]
    lines += [_escape(name) + b":" + _escape(value) for name, value in headers]
    return b"\n".join((*lines, b"", body)) + b"\0"


def _escape(text: str) -> bytes:
    return re.sub(rb"[\\\r\n:]", lambda match: _ESCAPES[match[0]], text.encode())


def _unescape(raw: bytes) -> str:
    try:
        if b"\\" in raw:
            raw = re.sub(rb"\\.?", lambda match: _UNESCAPES[match[0]], raw, flags=re.DOTALL)
        return raw.decode()
    except KeyError as e:
        raise BadFrame(f"unknown escape {e} in a header") from None
    except UnicodeDecodeError:
        raise BadFrame("a header is not UTF-8") from None


class Decoder:
    """Bytes in, whole frames out; keeps what is left of a frame until the rest comes.

    Linear in the bytes fed, however they are cut. Heart-beats vanish.
    """

    def __init__(self, *, max_head_bytes: int = MAX_HEAD_BYTES, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_head = max_head_bytes
        self._max_body = max_body_bytes
        self._buffer = bytearray()
        self._start = 0  # the part of the buffer that has been dealt with
        self._scanned = 0  # no line end (in a head) or NUL (in a body) before this
        self._broken: str | None = None
        self._expect_frame()

    def _expect_frame(self) -> None:
        self._command: bytes | None = None
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._in_body = False
        self._body_bytes: int | None = None  # None: up to the first NUL

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes.

        Raises ``BadFrame`` as soon as it is certain that the stream is damaged, and from then on.
        """
        if self._broken is not None:
            raise BadFrame(self._broken)
        self._buffer += data
        frames: list[Frame] = []
        try:
            while (frame := self._next()) is not None:
                frames.append(frame)
        except BadFrame as e:
            self._broken = e.reason
            self._buffer.clear()
            raise BadFrame(e.reason, tuple(frames)) from None
        del self._buffer[: self._start]  # CPython moves the start, not the bytes
        self._scanned -= self._start
        self._start = 0
        return frames

    def _next(self) -> Frame | None:
        while not self._in_body:
            line = self._line()
            if line is None:
                return None
            self._take_line(line)
        body = self._sized_body() if self._body_bytes is not None else self._open_body()
        if body is None:
            return None
        command, headers = self._command, self._headers
        self._expect_frame()
        return _frame(command, headers, body)

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            pending = self._scanned - self._start
            if self._command is None and pending > _LONGEST_LINE:
                raise BadFrame(f"unknown command {bytes(self._buffer[self._start : self._start + 16])!r}")
            self._limit_head(pending)
            return None
        line = bytes(self._buffer[self._start : end])
        self._start = self._scanned = end + 1
        return line.removesuffix(b"\r")

    def _limit_head(self, pending: int) -> None:
        if self._head_bytes + pending > self._max_head:
            raise BadFrame(f"headers of more than {self._max_head} bytes")

    def _take_line(self, line: bytes) -> None:
        if self._command is None:
            if line in _COMMANDS:
                self._command = line
            elif line:  # an empty one is a heart-beat
                raise BadFrame(f"unknown command {line[:16]!r}")
            return
        self._limit_head(len(line) + 1)
        self._head_bytes += len(line) + 1
        if not line:
            self._in_body = True
            self._body_bytes = self._content_length()
            return
        name, colon, value = line.partition(b":")
        if not colon or b"\0" in line:
            raise BadFrame(f"{line[:32]!r} is no header")
        self._headers.setdefault(_unescape(name), _unescape(value))  # repeated: the first wins

    def _content_length(self) -> int | None:
        text = self._headers.get("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()):
            raise BadFrame(f"content-length {text[:32]!r}")
        if len(text) > 18 or int(text) > self._max_body:
            raise BadFrame(f"a body of {text[:32]} bytes, the limit is {self._max_body}")
        return int(text)

    def _sized_body(self) -> bytes | None:
        assert self._body_bytes is not None
        end = self._start + self._body_bytes
        if len(self._buffer) <= end:
            return None
        if self._buffer[end] != 0:
            raise BadFrame("no NUL byte where content-length says that the body ends")
        return self._body_until(end)

    def _open_body(self) -> bytes | None:
        end = self._buffer.find(b"\0", self._scanned)
        length = (end if end >= 0 else len(self._buffer)) - self._start
        if length > self._max_body:
            raise BadFrame(f"a body of more than {self._max_body} bytes")
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        return self._body_until(end)

    def _body_until(self, end: int) -> bytes:
        with memoryview(self._buffer) as view:
            body = bytes(view[self._start : end])
        self._start = self._scanned = end + 1
        return body


def _frame(command: bytes | None, headers: Mapping[str, str], body: bytes) -> Frame:
    def need(name: str) -> str:
        value = headers.get(name)
        if value is None:
            raise BadFrame(f"{command.decode() if command else ''} without header {name}")
        return value

    match command:
        case b"CONNECTED":
            sends, wants = _heart_beat(headers.get("heart-beat", "0,0"))
            return Connected(version=need("version"), server_sends_ms=sends, server_wants_ms=wants)
        case b"MESSAGE":
            return Message(destination=need("destination"), subscription=need("subscription"), body=body)
        case b"RECEIPT":
            return Receipt(receipt_id=need("receipt-id"))
        case _:
            return Error(text=body.decode(errors="replace") or headers.get("message", ""))


def _heart_beat(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,9}),([0-9]{1,9})", text)
    if match is None:
        raise BadFrame(f"heart-beat {text[:32]!r}")
    return int(match[1]), int(match[2])
