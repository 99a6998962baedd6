"""Changes to an input that keep most of its form, so that what lies behind the parser is reached too.

Plain random bytes hardly ever stay well-formed XML, and never get a tar header
with a good checksum. Everything here is determined by the ``random.Random`` given.
"""

import html
import random
import re

_TOKEN = re.compile(r"<[^>]*>|[^<]+")
_ATTRIBUTE = re.compile(r'([\w:-]+)="([^"]*)"')
_EMBEDDED = re.compile(r"(<EngineXml>)(.*?)(</EngineXml>)", re.DOTALL)
_NAME = re.compile(r"</?([\w:.-]+)")
_VALUES = (
    "", "null", "true", "false", "0", "1", "-1", "3", "6", "17", "4294967296", "9" * 19,
    "99999999999999999999", "a=b;c=d", "=;=", "{type=pci, slot=0x06, bus=0x00}", "{", "}", "/", "x/y",
    "COW", "RAW", "Unassigned", "VirtIO", "VirtIO_SCSI", "IDE", "SATA", "spice", "vnc", "disk", "cdrom",
    "exclusive", "shared", "serial", "urandom", "LEASE-PATH:a:b", "\u0661", "\ud7ff\U0001f600", " ", "\n",
    "\t1", "byte * 2^20", "GigaBytes", "4.7", "10.10", "00000000-0000-0000-0000-000000000000", "&lt;a&gt;",
    "&#10;", "ACTIVE", "0,1,2", "1-3,^2", "{}", "%s", "i440fx;q35",
)  # fmt: skip
_BLOCK = 512


def xml(data: bytes, rng: random.Random) -> bytes:
    """A document with one to four changes to values, elements or their order."""
    text = data.decode("utf-8", "surrogateescape")
    for _ in range(rng.randint(1, 4)):
        embedded = _EMBEDDED.search(text)
        if embedded and rng.random() < 0.3:
            inner = _changed(html.unescape(embedded[2]), rng)
            text = text[: embedded.start(2)] + html.escape(inner, quote=False) + text[embedded.end(2) :]
        else:
            text = _changed(text, rng)
    return text.encode("utf-8", "surrogatepass" if rng.random() < 0.01 else "replace")


def _changed(text: str, rng: random.Random) -> str:
    tokens = _TOKEN.findall(text)
    if len(tokens) < 4:
        return text
    at = rng.randrange(len(tokens))
    match rng.randrange(7):
        case 0 | 1:
            return _other_value(tokens, at, rng)
        case 2:
            start, end = _element(tokens, at)
            return "".join(tokens[:start] + tokens[end:])
        case 3:
            start, end = _element(tokens, at)
            copies = 1 if rng.random() < 0.95 else rng.randint(2, 40)
            return "".join(tokens[:end] + tokens[start:end] * copies + tokens[end:])
        case 4:
            start, end = _element(tokens, at)
            to, _ = _element(tokens, rng.randrange(len(tokens)))
            moved = tokens[start:end]
            if start <= to < end:
                return "".join(tokens)
            return "".join(tokens[:to] + moved + tokens[to:])
        case 5:
            return _renamed(tokens, at, rng)
    return _other_attribute(tokens, at, rng)


def _other_value(tokens: list[str], at: int, rng: random.Random) -> str:
    others = [t for t in tokens if not t.startswith("<")]
    value = rng.choice(others) if others and rng.random() < 0.4 else rng.choice(_VALUES)
    texts = [i for i, t in enumerate(tokens) if not t.startswith("<")]
    if texts and rng.random() < 0.8:
        tokens[rng.choice(texts)] = value
    else:
        tokens.insert(at, value)
    return "".join(tokens)


def _element(tokens: list[str], at: int) -> tuple[int, int]:
    """The tokens of the element that begins at or after ``at``, as far as that can be seen."""
    while at < len(tokens) and (not tokens[at].startswith("<") or tokens[at][1:2] in "/?!"):
        at += 1
    depth = 0
    for i in range(at, len(tokens)):
        token = tokens[i]
        if token.startswith("</"):
            depth -= 1
        elif token.startswith("<") and not token.endswith("/>"):
            depth += 1
        if depth <= 0:
            return at, i + 1
    return at, at


def _renamed(tokens: list[str], at: int, rng: random.Random) -> str:
    start, end = _element(tokens, at)
    names = [m[1] for m in map(_NAME.match, tokens) if m]
    if end - start < 2 or not names:
        return "".join(tokens)
    name = rng.choice(names)
    tokens[start] = _NAME.sub(f"<{name}", tokens[start], count=1)
    tokens[end - 1] = f"</{name}>"
    return "".join(tokens)


def _other_attribute(tokens: list[str], at: int, rng: random.Random) -> str:
    carriers = [i for i, t in enumerate(tokens) if t.startswith("<") and '="' in t]
    if not carriers:
        return "".join(tokens)
    i = rng.choice(carriers)
    found = list(_ATTRIBUTE.finditer(tokens[i]))
    if not found:
        return "".join(tokens)
    one = rng.choice(found)
    if rng.random() < 0.3:
        tokens[i] = tokens[i][: one.start()] + tokens[i][one.end() :]
    else:
        value = rng.choice(_VALUES).replace('"', "").replace("<", "")
        tokens[i] = f"{tokens[i][: one.start(2)]}{value}{tokens[i][one.end(2) :]}"
    return "".join(tokens)


_FIELDS = (
    (0, 100),
    (100, 108),
    (124, 136),
    (136, 148),
    (148, 156),
    (156, 157),
    (157, 257),
    (257, 265),
    (345, 500),
)
_SIZES = (0, 1, 511, 512, 513, 1024, 8 << 20, (8 << 20) + 1, 8**11 - 1)


def tar(data: bytes, rng: random.Random) -> bytes:
    """An archive with one to three changes to headers (their checksums made good), blocks or its length."""
    blocks = [data[i : i + _BLOCK] for i in range(0, len(data), _BLOCK)]
    for _ in range(rng.randint(1, 3)):
        headers = [i for i, b in enumerate(blocks) if b[257:262] == b"ustar" and len(b) == _BLOCK]
        choice = rng.randrange(6)
        at = rng.choice(headers) if headers else 0
        if choice <= 1 and headers:
            blocks[at] = _header(blocks[at], rng)
        elif choice == 2 and blocks:
            i, j = rng.randrange(len(blocks)), rng.randrange(len(blocks))
            blocks[i], blocks[j] = blocks[j], blocks[i]
        elif choice == 3 and blocks:
            i = rng.randrange(len(blocks))
            blocks[i:i] = blocks[at : at + rng.randint(1, 4)]
        elif choice == 4 and blocks:
            del blocks[rng.randrange(len(blocks))]
        else:
            blocks.insert(rng.randint(0, len(blocks)), bytes(_BLOCK))
    changed = b"".join(blocks)
    return changed[: rng.randint(0, len(changed))] if rng.random() < 0.1 else changed


def _header(block: bytes, rng: random.Random) -> bytes:
    start, end = rng.choice(_FIELDS)
    width = end - start
    match rng.randrange(4):
        case 0:
            value = rng.randbytes(width)
        case 1:
            value = bytes(width)
        case 2:
            value = rng.randbytes(1) * rng.randint(1, width)
        case _:
            value = b"%011o\0" % rng.choice(_SIZES)
            start, width = 124, 12
    block = block[:start] + value[:width].ljust(width, b"\0") + block[start + width :]
    if rng.random() < 0.9:
        block = block[:148] + b" " * 8 + block[156:]
        block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    return block
