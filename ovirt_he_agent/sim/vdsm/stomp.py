"""VDSM's STOMP subset as its server reads and writes it. Pure bytes, no socket.

Models vdsm: lib/yajsonrpc/stomp.py, quirks included, and nothing else: it must
never be shared with the client's codec, or a test between the two would agree
on the same mistake.
"""

import re
from dataclasses import dataclass, field

CONNECT = "CONNECT"
CONNECTED = "CONNECTED"
SEND = "SEND"
SUBSCRIBE = "SUBSCRIBE"
UNSUBSCRIBE = "UNSUBSCRIBE"
DISCONNECT = "DISCONNECT"
MESSAGE = "MESSAGE"
RECEIPT = "RECEIPT"
ERROR = "ERROR"

DETECTABLE = (CONNECT, CONNECTED, SEND, SUBSCRIBE, UNSUBSCRIBE, MESSAGE, RECEIPT, ERROR, DISCONNECT)
DETECTION_BYTES = max(len(command) for command in DETECTABLE)
"""So many first bytes VDSM wants to see before it decides what protocol this is."""

HEART_BEAT = b"\n"

_DECODE = {b"\\\\": b"\\", b"\\r": b"\r", b"\\n": b"\n", b"\\c": b":"}
_ENCODE = {b"\\": b"\\\\", b"\r": b"\\r", b"\n": b"\\n", b":": b"\\c"}
_ESCAPE = re.compile(rb"\\(.)")
_SPECIAL = re.compile(rb"[\r\n\\:]")


class Broken(Exception):
    """Bytes that make VDSM's parser raise: it closes the connection without a word."""


@dataclass(slots=True)
class Frame:
    """One frame; a body of None means that no content-length is written."""

    command: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def encode(self) -> bytes:
        if self.body is not None:
            self.headers["content-length"] = str(len(self.body))
        lines = [_encode(self.command)]
        lines += [_encode(name) + b":" + _encode(value) for name, value in self.headers.items()]
        return b"\n".join([*lines, b"", self.body or b""]) + b"\0"


def looks_like_stomp(first: bytes) -> bool:
    """VDSM's protocol detection; ``first`` holds at least DETECTION_BYTES bytes."""
    return first.startswith(tuple(command.encode() for command in DETECTABLE))


def _encode(text: str) -> bytes:
    return _SPECIAL.sub(lambda found: _ENCODE[found[0]], text.encode())


def _decode(raw: bytes) -> str:
    if b":" in raw:
        raise Broken(f"raw colon in {raw!r}")
    try:
        return _ESCAPE.sub(lambda found: _DECODE[found[0]], raw).decode()
    except (KeyError, UnicodeDecodeError) as e:
        raise Broken(f"bad escape or encoding in {raw!r}") from e


class Parser:
    """Feed bytes, get the frames that are complete. Raises ``Broken``; dead after that."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._frame: Frame | None = None
        self._length: int | None = None

    def feed(self, data: bytes) -> list[Frame]:
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        while self._frame is None or self._length is None:
            line = self._take_until(b"\n")
            if line is None:
                return None
            self._take_line(line.removesuffix(b"\r"))
        if self._length < 0:
            body = self._take_until(b"\0")
            if body is None:
                return None
        else:
            if len(self._buffer) <= self._length:
                return None
            if self._buffer[self._length] != 0:
                raise Broken("the byte after the body is not NUL")
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length + 1]
        frame, self._frame, self._length = self._frame, None, None
        frame.body = body
        return frame

    def _take_line(self, line: bytes) -> None:
        if self._frame is None:
            if line:  # empty lines between frames are heart-beats
                self._frame = Frame(_decode(line))
            return
        if line:
            name, colon, value = line.partition(b":")
            if not colon:
                raise Broken(f"header line without a colon: {line!r}")
            self._frame.headers.setdefault(_decode(name), _decode(value))  # the first one wins
            return
        try:
            self._length = max(int(self._frame.headers.get("content-length", -1)), -1)
        except ValueError as e:
            raise Broken("content-length is no number") from e

    def _take_until(self, end: bytes) -> bytes | None:
        at = self._buffer.find(end, self._scanned)
        if at < 0:
            self._scanned = len(self._buffer)
            return None
        taken = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        self._scanned = 0
        return taken
