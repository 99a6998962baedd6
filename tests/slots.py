"""Whiteboard blocks as upstream writes them, built here: no code of ours stands on both sides of a test."""

import binascii
from collections.abc import Sequence

UP = '{"vm": "up", "health": "good", "detail": "Up"}'
DOWN = '{"vm": "down", "health": "bad", "detail": "unknown", "reason": "vm not running on this host"}'


def tokens(
    host_id: int = 2,
    *,
    timestamp: object = 1000,
    score: object = 3400,
    engine: str = DOWN,
    host_name: str = "node-b.example.org",
    maintenance: object = 0,
    stopped: object = 0,
    conf: object = 1,
    conf_timestamp: object = 990,
    extra: Sequence[str] = (),
) -> list[str]:
    """The twelve tokens and ``extra``; the checksum is still to be filled in."""
    values = (1, 1, timestamp, host_id, score, engine, host_name, maintenance, stopped, "00000000")
    return [*map(str, values), str(conf), str(conf_timestamp), *extra]


def block(text: str | Sequence[str], human: str = "", *, checksum: bool = True) -> bytes:
    """A whole slot: tokens (their checksum filled in unless told otherwise) and the lines for people."""
    if not isinstance(text, str):
        parts = list(text)
        if checksum and len(parts) > 9:
            parts[9] = "00000000"
            parts[9] = f"{binascii.crc32('|'.join(parts).encode()):08x}"
        text = "|".join(parts)
    first = text.encode()
    assert len(first) <= 512
    return (first.ljust(512, b"\0") + human.encode()).ljust(4096, b"\0")
