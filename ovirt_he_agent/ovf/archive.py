"""The tar archive in an OVF_STORE volume, read piece by piece from a callable.

Format: ustar as Apache commons-compress writes it: regular files only, whole
names, no extensions, two zero blocks at the end. Beyond that end, and between
two updates, a volume holds remains of older archives with valid headers. So:
nothing is read past the archive's size, nothing is looked for past its end,
and a header that is not valid before the end is damage.

Python's tarfile is not used because it takes an invalid header for the end of
the archive and returns a shorter list without a word, and follows links and
extended headers that have no business here. GNU tar fails when something
*after* the wanted entry is torn.
"""

import functools
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from ovirt_he_agent.errors import BadInput
from ovirt_he_agent.ovf import safe_xml

BLOCK = 512
PIECE = 1 << 20
"""Bytes per read; a multiple of every block size, so a header never lies across two pieces."""
MAX_BYTES = 128 << 20
"""Nothing is read past this, whatever a size field says: an OVF_STORE has 128 MiB."""

Read = Callable[[int, int], bytes | memoryview]
"""``read(offset, length)`` gives up to ``length`` bytes, fewer only at the end of the volume; they
need not outlive the next read."""

_ZEROS = bytes(BLOCK)
_BLOCK = struct.Struct(f"{BLOCK}s").unpack_from
_BEGIN = 8
_FIELDS = struct.Struct(f"{_BEGIN}s116x12s12x8sc100x5s250x").unpack
"""Begin of the name, size, checksum, type flag and magic word of a header."""
_REGULAR = (b"0", b"\0")
_WITHOUT_DATA = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))  # links, devices, directories
_WHITE = b"\0 \t\r\n"


@dataclass(eq=False)
class BadArchive(BadInput):
    """The archive does not give what was asked; whoever knows the volume names it."""

    msg: ClassVar[str] = "{self.what}; {self.remedy}"
    fault: ClassVar[str]
    remedy: ClassVar[str]

    @property
    def what(self) -> str:
        """What is wrong, without what to do about it."""
        return self.fault.format(self=self)


@dataclass(eq=False)
class Damaged(BadArchive):
    """Cut or torn at ``offset`` (bytes from the start of the volume)."""

    offset: int
    reason: str
    fault = "damaged at byte {self.offset}: {self.reason}"
    remedy = "read the domain's other OVF_STORE, the engine writes this one again within the hour"


@dataclass(eq=False)
class Empty(BadArchive):
    """No entry at all: never written, or emptied for an update that runs."""

    remedy = (
        "the engine fills an OVF_STORE within an hour and empties it for a moment when it writes it: read "
        "the domain's other OVF_STORE, or try again"
    )
    fault = "there is no archive in it"


@dataclass(eq=False)
class NoEntry(BadArchive):
    """The archive is whole up to its end and has no entry of this name."""

    name: str
    entries: int
    remedy = "check the VM's id, and that a disk of the VM is on this storage domain"
    fault = "none of its {self.entries} entries is {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A header. Offsets are bytes from the start of the volume."""

    name: str
    offset: int
    data_offset: int
    size: int
    mtime: int | None
    """Seconds since 1970."""
    is_file: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry of a survey, its data unless it is damaged, and what is wrong with it alone."""

    entry: Entry
    data: bytes | None
    damage: Damaged | None


@dataclass(frozen=True, slots=True)
class Document:
    """The data of one entry and its offset, in bytes from the start of the volume."""

    data: bytes
    offset: int


_Header = tuple[bytes, int, int]
"""Block, offset of the data, size."""


def find(read: Read, name: str, limit: int) -> Document:
    """The document in the entry ``name``, as it is; ``limit`` is the archive's or the volume's size in bytes.

    Stops at the entry, so a second one of its name is not noticed here:
    ``survey`` reads all and does. Raises ``BadArchive``.
    """
    pieces = _Pieces(read, limit)
    for block, data_offset, size in _headers(pieces, name.encode() + b"\0"):
        if block[156:157] in _REGULAR and not _prefix(block):
            data = _data(pieces, name, data_offset, size)
            _check_document(data, data_offset)
            return Document(data, data_offset)
    raise NoEntry(name, pieces.headers)


def survey(read: Read, limit: int) -> Iterator[Found]:
    """Every entry with its data, in order.

    Damage of one entry comes with it; damage that hides what follows is raised
    (``Damaged``), and so is ``Empty``.
    """
    names: set[str] = set()
    pieces = _Pieces(read, limit)
    for block, data_offset, size in _headers(pieces):
        entry = Entry(
            name=_name(block),
            offset=data_offset - BLOCK,
            data_offset=data_offset,
            size=size,
            mtime=_octal(block[136:148]),
            is_file=block[156:157] in _REGULAR,
        )
        data, damage = None, None
        try:
            data = _checked(pieces, entry, names)
        except Damaged as e:
            damage = e
        yield Found(entry=entry, data=data, damage=damage)


class _Pieces:
    """One piece in memory at a time, on a grid of ``PIECE`` bytes, never past the limit."""

    def __init__(self, read: Read, limit: int) -> None:
        self._read = read
        self.limit = min(limit, MAX_BYTES)
        self.start = -PIECE
        self.view = memoryview(b"")
        self.headers = 0
        """How many there are, known once the end was reached."""

    def load(self, offset: int) -> None:
        """Have the piece around ``offset`` in ``view``; short only at the end."""
        start = offset - offset % PIECE
        if start != self.start:
            length = min(PIECE, self.limit - start)
            self.view = memoryview(self._read(start, length) if length > 0 else b"")
            self.start = start

    def take(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``; fewer only at the end."""
        parts: list[bytes] = []
        while size > 0:
            self.load(offset)
            at = offset - self.start
            part = bytes(self.view[at : at + size])
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)


def _headers(pieces: _Pieces, wanted: bytes = b"") -> Iterator[_Header]:
    """The headers up to the two zero blocks that begin with ``wanted``; what lies between is skipped.

    Every header on the way is verified. A store of thousands of VMs goes
    through this loop, so it calls nothing that it can do without.
    """
    offset, count, limit, adler32 = 0, 0, pieces.limit, zlib.adler32
    begin = wanted[:_BEGIN]
    while True:
        pieces.load(offset)
        view, start = pieces.view, pieces.start
        last = start + len(view) - BLOCK
        if offset > last:
            if offset == 0:
                raise Empty
            raise Damaged(offset, "it ends without the two blocks of zeros that close an archive")
        while offset <= last:
            (block,) = _BLOCK(view, offset - start)
            name, size_field, checksum_field, flag, magic = _FIELDS(block)
            # 512 ASCII bytes add up to less than Adler-32's modulus: its low half is their sum plus one.
            total = (adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)
            size = _octal(size_field)
            if size is None or magic != b"ustar" or total != _total(checksum_field):
                if block != _ZEROS:
                    raise Damaged(offset, "there is no valid header here: it was cut or partly overwritten")
                if pieces.take(offset + BLOCK, BLOCK) != _ZEROS:
                    raise Damaged(
                        offset, "one block of zeros where there should be a header, or two at the end"
                    )
                if offset == 0:
                    raise Empty
                pieces.headers = count
                return
            data_offset = offset + BLOCK
            offset = data_offset if flag in _WITHOUT_DATA else data_offset + (size + BLOCK - 1 & -BLOCK)
            if offset > limit:
                raise Damaged(
                    data_offset - BLOCK,
                    f"entry {_name(block)!r} of {size} bytes goes on past the end at byte {limit}",
                )
            count += 1
            if not wanted or (name == begin and block.startswith(wanted)):
                yield block, data_offset, size
                if pieces.start != start:  # the data was taken, which moved the window
                    break


@functools.lru_cache(maxsize=4096)  # a store of thousands has the same few thousand numbers
def _octal(field: bytes) -> int | None:
    digits = field.strip(b"\0 ")
    try:
        return int(digits, 8) if digits.isdigit() else None
    except ValueError:  # the digits 8 and 9
        return None


@functools.lru_cache(maxsize=4096)
def _total(field: bytes) -> int | None:
    """What a header's bytes must add up to: its checksum is taken with blanks in its own field."""
    checksum = _octal(field)
    return checksum - 8 * 32 + sum(field) if checksum is not None else None


def _prefix(block: bytes) -> bytes:
    """The directory part that ustar keeps apart; GNU's variant has other things there."""
    return block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""


def _name(block: bytes) -> str:
    name, prefix = block[:100].partition(b"\0")[0], _prefix(block)
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "backslashreplace")


def _data(pieces: _Pieces, name: str, data_offset: int, size: int) -> bytes:
    if size > safe_xml.MAX_BYTES:
        raise Damaged(data_offset - BLOCK, f"entry {name!r} has {size} bytes, no OVF is that large")
    data = pieces.take(data_offset, size)
    if len(data) < size:
        raise Damaged(data_offset - BLOCK, f"entry {name!r} is cut after {len(data)} of {size} bytes")
    return data


def _check_document(data: bytes, data_offset: int) -> None:
    """Tar has no checksum over data: see that it is not something else's remains, roughly."""
    if not data.startswith(b"<?xml"):
        raise Damaged(data_offset, "the entry does not begin with <?xml, so this is not the document")
    if not data.rstrip(_WHITE).endswith(b"Envelope>"):
        raise Damaged(
            data_offset + len(data), "the entry does not end with </...Envelope>: its end is missing"
        )


def _checked(pieces: _Pieces, entry: Entry, names: set[str]) -> bytes:
    if not entry.is_file or "/" in entry.name:
        raise Damaged(entry.offset, f"entry {entry.name!r} is no plain file; engines write nothing else")
    if entry.name in names:
        raise Damaged(entry.offset, f"a second entry {entry.name!r}; engines write one of each name")
    names.add(entry.name)
    data = _data(pieces, entry.name, entry.data_offset, entry.size)
    if entry.name.endswith(".ovf"):
        _check_document(data, entry.data_offset)
    return data
