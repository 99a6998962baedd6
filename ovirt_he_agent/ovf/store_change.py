"""One document put into an OVF_STORE's archive: which bytes have to be written, and nothing is written here.

What stands before the entry is left alone, and so is what follows it if the
new document takes as many blocks as the old one. Every other entry keeps its
bytes, ``info.json`` too; only the date in the header of the first one is
renewed, because readers tell an updated store by its first block. The engine writes such an archive
with Apache commons-compress (ovirt-engine: bll/storage/ovfstore).
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.errors import Refused
from ovirt_he_agent.ovf import archive

RECORD = 10240
"""Engines up to 4.5.0 pad an archive to whole records of this many bytes, later ones to ``archive.BLOCK``."""
_END = 2 * archive.BLOCK
_MAGIC = slice(257, 263)
_UNDER_CHANGE = b"heput\0"
"""In place of ``ustar`` and a zero in the first header while a store is changed where it lies."""
_COPY = slice(345, 500)
"""The prefix of a name, which engines leave empty: then it holds the sha256 of the store as it was."""
_NAMES = (b".ovf", b".json")
"""How the names of entries end."""
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_MTIME, _CHECKSUM = slice(136, 148), slice(148, 156)
_NEAR = 8 * archive.BLOCK
"""Unchanged bytes between two changes that are not worth a second write."""


@dataclass(eq=False)
class TooLarge(Refused):
    """The archive would outgrow what the store's description says of it."""

    path: Path
    need_bytes: int
    room_bytes: int
    msg: ClassVar[str] = (
        "{self.path}: with this document the archive needs {self.need_bytes} bytes, and readers stop after "
        "{self.room_bytes}, its Size as far as that is known; nothing was written. Give --size if the "
        "description says more, or put it in while VDSM can set the description (storage pool connected, "
        "this host its SPM)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The archive before and after. Bytes from the volume's start.

    ``writes`` are whole blocks, in ascending order and apart; after them the first ``length`` bytes are the
    new archive, padding included.
    """

    writes: tuple[tuple[int, bytes], ...]
    length: int
    end: int
    """Where the two blocks of zeros that close it end: the least that ``Size`` may say."""
    old_document: bytes | None
    """None: the VM had no entry."""

    @property
    def is_none(self) -> bool:
        return not self.writes


def put(read: archive.Read, limit: int, name: str, document: bytes, *, mtime_s: int, padding: int) -> Change:
    """The change that makes ``document`` the entry ``name`` of the archive that ``read`` gives.

    ``limit`` is the archive's or the volume's size in bytes, ``padding`` the bytes of which its length is a
    multiple. The archive must be whole: raises ``archive.BadArchive``.
    """
    found, others, end = None, [], 0
    for one in archive.survey(read, limit):
        if one.damage is not None:
            raise one.damage
        end = one.entry.data_offset + _padded(one.entry.size, archive.BLOCK)
        if one.entry.name == name:
            found = one
        else:
            others.append(one.entry)
    old = found.data if found is not None else None
    if old == document:
        return Change(writes=(), length=_padded(end + _END, padding), end=end + _END, old_document=old)
    entry = header(name, len(document), mtime_s) + document.ljust(
        _padded(len(document), archive.BLOCK), b"\0"
    )
    start = found.entry.offset if found is not None else end
    after = found.entry.data_offset + _padded(found.entry.size, archive.BLOCK) if found is not None else end
    if start + len(entry) == after:
        tail, new_end = entry, end + _END
        length = _padded(new_end, padding)
    else:
        rest = _bytes(read, after, end - after)
        new_end = start + len(entry) + len(rest) + _END
        length = _padded(new_end, padding)
        tail = (entry + rest).ljust(length - start, b"\0")
    writes = list(_changed(read, start, tail))
    if start > 0:
        writes.insert(0, (0, _with_mtime(_bytes(read, 0, archive.BLOCK), mtime_s)))
    return Change(writes=tuple(writes), length=length, end=new_end, old_document=old)


def content(read: archive.Read, change: Change) -> bytes:
    """The archive up to its end as it is after ``change``; ``read`` is that of ``put``."""
    whole = bytearray(_up_to(read, 0, change.end).ljust(change.end, b"\0"))
    for offset, data in change.writes:
        whole[offset : offset + len(data)] = data
    return bytes(whole[: change.end])


def has_traces(start: bytes | memoryview) -> bool:
    """Whether a volume that starts so is, was or may become an OVF_STORE: zeros, or an entry's header."""
    data = bytes(start)
    if not data.strip(b"\0"):
        return True
    blocks = (data[at : at + archive.BLOCK] for at in range(0, len(data), archive.BLOCK))
    return any(
        block[_MAGIC].startswith(b"ustar") and block[:100].rstrip(b"\0").endswith(_NAMES) for block in blocks
    )


def as_whole(change: Change, new: bytes) -> Change:
    """The same, but written from the first byte on, for a store that holds something else: ``content``."""
    padded = new.ljust(change.length, b"\0")
    return Change(
        writes=((0, padded),), length=change.length, end=change.end, old_document=change.old_document
    )


def padding_of(size_bytes: int) -> int:
    """What an archive of that length (as the file's size or the description gives it) is padded to."""
    return archive.BLOCK if size_bytes % RECORD else RECORD


def header(name: str, size: int, mtime_s: int) -> bytes:
    """A ustar header as engines have it: a regular file, mode 0100644, nobody's."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, mtime_s, 0o100644
    return info.tobuf(tarfile.USTAR_FORMAT)


def under_change(first_block: bytes, copy_sha256: str = "") -> bytes:
    """The first block of a store that is being changed: no reader takes the store for a good one.

    ``copy_sha256``: of a copy of the store as it was, if there is one.
    safety: a mixture of an old and a new document can be well formed.
    """
    block = bytearray(first_block)
    block[_MAGIC] = _UNDER_CHANGE
    block[_COPY] = copy_sha256.encode().ljust(_COPY.stop - _COPY.start, b"\0")
    return bytes(block)


def is_under_change(first_block: bytes) -> bool:
    """A change of this store was begun and not ended: take none of it."""
    return first_block[_MAGIC] == _UNDER_CHANGE


def copy_of(first_block: bytes) -> str | None:
    """The sha256 of the copy of a store that is under change."""
    found = _SHA256.match(first_block[_COPY])
    return found[0].decode() if found is not None and is_under_change(first_block) else None


def _with_mtime(block: bytes, mtime_s: int) -> bytes:
    """The header with another date, even in the second of the old one; its name, size and owner stay."""
    date = b"%011o\0" % mtime_s
    if block[_MTIME] == date:
        date = b"%011o\0" % (mtime_s + 1)
    changed = bytearray(block)
    changed[_MTIME], changed[_CHECKSUM] = date, b" " * 8
    changed[_CHECKSUM] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def _changed(read: archive.Read, offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Those blocks of ``data`` that are not at ``offset`` already."""
    old = _up_to(read, offset, len(data))
    begin = stop = None
    for at in range(0, len(data), archive.BLOCK):
        if data[at : at + archive.BLOCK] == old[at : at + archive.BLOCK]:
            continue
        if begin is None or stop is None:
            begin = at
        elif at - stop > _NEAR:
            yield offset + begin, data[begin:stop]
            begin = at
        stop = at + archive.BLOCK
    if begin is not None:
        yield offset + begin, data[begin:stop]


def _bytes(read: archive.Read, offset: int, length: int) -> bytes:
    found = _up_to(read, offset, length)
    if len(found) < length:
        raise archive.Damaged(offset + len(found), "it ends before the archive does")
    return found


def _up_to(read: archive.Read, offset: int, length: int) -> bytes:
    """Fewer bytes at the end of the volume."""
    parts = []
    while length > 0:
        part = bytes(read(offset, min(length, archive.PIECE)))
        if not part:
            break
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)


def _padded(size: int, unit: int) -> int:
    return size + -size % unit
