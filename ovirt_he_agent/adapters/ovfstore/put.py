"""A document put into the OVF_STOREs of a domain so that a good store can be read at any moment.

A regular file is replaced as a whole: a reader finds the old store or the new
one. A block device is changed where it lies, and only while another store is
good; as long as that lasts its first block is no valid header, so that no
reader takes a mixture for a document. The next store is begun when the one
before was read back and found good. Everything here blocks.
"""

import contextlib
import dataclasses
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent import atomic_file, directio
from ovirt_he_agent.errors import BadInput, Refused, Retryable
from ovirt_he_agent.ovf import archive, document, problems, store_change

WRITE_BYTES = 1 << 20
MAX_ARCHIVE_BYTES = archive.MAX_BYTES


@dataclass(eq=False)
class StoreProblem(BadInput):
    """The store cannot be used; nothing was written to it."""

    path: Path
    reason: str
    msg: ClassVar[str] = "{self.path}: {self.reason}"


@dataclass(eq=False)
class NotSafe(Refused):
    """Writing would risk the only good copy, or an older definition over a newer one."""

    path: Path
    reason: str
    msg: ClassVar[str] = "{self.path}: {self.reason}; nothing was written to it"


@dataclass(eq=False)
class WriteFailed(Retryable):
    """The store may be damaged now; the others are as they were."""

    path: Path
    reason: str
    msg: ClassVar[str] = (
        "{self.path}: {self.reason}; this store may be damaged now, the domain's other store was not "
        "touched: mend the storage and run the same command again"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store as it was found. Sizes in bytes."""

    path: Path
    is_device: bool
    volume_bytes: int
    damage: str | None
    """Why it is no good store; None: every entry is whole."""
    under_change: bool
    """An earlier put was cut off while it wrote here."""
    end: int
    """Of the archive, the closing blocks included; 0 if it is damaged."""
    mtime_s: int
    """When it was written, by its first header."""
    generation: int | None
    """Of the VM's document in it; None: no document, or no number in it."""

    @property
    def is_exact(self) -> bool:
        """The file ends with the archive's padding, as a file domain's volume does after an update."""
        return self.is_good and not self.is_device and self.volume_bytes - self.end < store_change.RECORD

    @property
    def padding(self) -> int:
        """Of what the archive's length is a multiple; the least where the volume does not tell."""
        return store_change.padding_of(self.volume_bytes) if self.is_exact else archive.BLOCK

    @property
    def is_good(self) -> bool:
        return self.damage is None

    def room_bytes(self, described_bytes: int | None) -> int:
        """How long the archive may become while the description stays: what readers may be bounded by."""
        if described_bytes is not None:
            return min(described_bytes, self.volume_bytes)
        return self.volume_bytes if self.is_exact else self.end


def look(path: Path, name: str) -> Store:
    """The store at ``path`` and what it holds as entry ``name``. Raises ``StoreProblem``."""
    with _told(path, "cannot be read"):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            raise StoreProblem(path, "neither a file nor a block device; give the volume of an OVF_STORE")
        with directio.DirectFile(path) as volume:
            return _look(path, volume, name, is_device=stat.S_ISBLK(mode))


def _look(path: Path, volume: directio.DirectFile, name: str, *, is_device: bool) -> Store:
    size, first = volume.size(), volume.pread(archive.BLOCK, 0)
    end, mtime_s, generation, damage = 0, 0, None, None
    try:
        for found in archive.survey(_reader(volume), size):
            if found.damage is not None:
                raise found.damage
            entry = found.entry
            end = entry.data_offset + entry.size + -entry.size % archive.BLOCK + 2 * archive.BLOCK
            mtime_s = max(mtime_s, entry.mtime or 0)
            if entry.name == name and found.data is not None:
                generation = document.identify(found.data).generation
    except archive.BadArchive as e:
        damage, end = str(e), 0
    except problems.BadDocument as e:
        damage, end = f"entry {name!r}: {e}", 0
    return Store(
        path=path,
        is_device=is_device,
        volume_bytes=size,
        damage=damage,
        under_change=store_change.is_under_change(first),
        end=end,
        mtime_s=mtime_s,
        generation=generation,
    )


def in_turn(stores: Sequence[Store]) -> list[Store]:
    """In which order to write: what is damaged first, the newest last, as the engine does it."""
    return sorted(stores, key=lambda store: (store.is_good, store.generation or -1, store.mtime_s))


def prepare(
    store: Store, good: Sequence[Store], name: str, data: bytes, *, mtime_s: int, room_bytes: int | None
) -> store_change.Change:
    """What has to be written into ``store``; a damaged one gets the entries of a good one.

    ``good``: the other stores that are good at this moment. ``room_bytes``: what the archive may not
    outgrow, None if its description is going to be set. Raises ``NotSafe``, ``StoreProblem``,
    ``store_change.TooLarge``.
    """
    source = store
    if not store.is_good:
        if not good:
            what = (
                "a put into it was cut off" if store.under_change else f"it is no good store: {store.damage}"
            )
            raise StoreProblem(store.path, f"{what}; give the domain's other OVF_STORE too (--store twice)")
        source = good[-1]
    if store.is_device and not good:
        raise NotSafe(
            store.path,
            "a block device is changed where it lies, which would leave no good store if it were cut off; "
            "give the domain's other OVF_STORE too (--store twice)",
        )
    padding = archive.BLOCK if room_bytes is not None else store.padding
    with _told(source.path, "cannot be read"), directio.DirectFile(source.path) as volume:
        read = _reader(volume)
        change = store_change.put(read, source.end, name, data, mtime_s=mtime_s, padding=padding)
        if source is not store:
            change = _as_whole(change, read)
    if room_bytes is not None and change.end > room_bytes:
        raise store_change.TooLarge(store.path, change.end, room_bytes)
    most = min(MAX_ARCHIVE_BYTES, store.volume_bytes) if store.is_device else MAX_ARCHIVE_BYTES
    if change.length > most:
        raise NotSafe(store.path, f"the archive would have {change.length} bytes, its volume holds {most}")
    if room_bytes is not None and store.is_exact:
        change = dataclasses.replace(change, length=store.volume_bytes)
    return change


def _as_whole(change: store_change.Change, read: archive.Read) -> store_change.Change:
    """The same archive written from its first byte on: for a store that holds something else."""
    whole = bytearray(change.length)
    at = 0
    while at < change.end:
        part = bytes(read(at, min(archive.PIECE, change.end - at)))
        if not part:
            break
        whole[at : at + len(part)] = part
        at += len(part)
    for offset, data in change.writes:
        whole[offset : offset + len(data)] = data
    return store_change.Change(
        writes=((0, bytes(whole)),),
        length=change.length,
        end=change.end,
        old_document=change.old_document,
    )


def write(store: Store, change: store_change.Change, name: str) -> None:
    """Write it, read it back past the page cache, and compare. Raises ``WriteFailed``, ``StoreProblem``."""
    if store.is_device:
        _write_in_place(store.path, change)
    else:
        _replace(store, change)
    _compare(store.path, change)
    seen = look(store.path, name)
    if not seen.is_good:
        raise WriteFailed(store.path, f"what was read back is no good store: {seen.damage}")


def _replace(store: Store, change: store_change.Change) -> None:
    with _told(store.path, "cannot be read"):
        before = os.stat(store.path)
        with directio.DirectFile(store.path) as volume:
            content = bytearray(volume.pread(before.st_size, 0))
        if store.is_exact or not store.is_good:
            content[change.end :] = b""
        content.extend(bytes(max(0, change.length - len(content))))
        for offset, piece in change.writes:
            content[offset : offset + len(piece)] = piece
        now = os.stat(store.path)
    if (now.st_ino, now.st_mtime_ns, now.st_size) != (before.st_ino, before.st_mtime_ns, before.st_size):
        raise StoreProblem(store.path, "it was changed meanwhile (by the engine?); run it again")
    mode, owner = stat.S_IMODE(before.st_mode), (before.st_uid, before.st_gid)
    atomic_file.replace(store.path.resolve(), bytes(content), mode=mode, owner=owner)


def _write_in_place(path: Path, change: store_change.Change) -> None:
    try:
        with DirectWriter(path) as volume:
            for offset, piece in in_place(volume.pread(archive.BLOCK, 0), change):
                volume.pwrite(piece, offset)
    except OSError as e:
        raise WriteFailed(path, f"cannot be written: {e.strerror or e}") from e


def in_place(first_block: bytes, change: store_change.Change) -> Iterator[tuple[int, bytes]]:
    """The writes of ``change`` in an order that can be cut off anywhere; each is on the disk before the next.

    The first block is no header from the first write on until the last one.
    """
    pieces = [(offset + at, piece[at : at + WRITE_BYTES]) for offset, piece in change.writes
              for at in range(0, len(piece), WRITE_BYTES)]  # fmt: skip
    final = next((piece[: archive.BLOCK] for offset, piece in pieces if offset == 0), first_block)
    yield 0, store_change.under_change(final)
    for offset, piece in pieces:
        skipped = archive.BLOCK if offset == 0 else 0
        if piece[skipped:]:
            yield offset + skipped, piece[skipped:]
    yield 0, final


class DirectWriter(directio.DirectFile):
    """A volume opened for writing as well, past the page cache; one write is on the disk when it returns."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_SYNC | (os.O_DIRECT if self.direct else 0)
            self._write_fd = os.open(path, flags)
        except BaseException:
            super().close()
            raise

    def pwrite(self, data: bytes, offset: int) -> None:
        """Any offset and length; the rest of the ``directio.BLOCK`` at each end is written back as it is."""
        start = offset - offset % directio.BLOCK
        stop = offset + len(data)
        stop += -stop % directio.BLOCK
        with mmap.mmap(-1, stop - start, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as buffer:
            for block in {start, stop - directio.BLOCK}:
                old = self.pread(directio.BLOCK, block)
                buffer[block - start : block - start + len(old)] = old
            buffer[offset - start : offset - start + len(data)] = data
            done = 0
            with memoryview(buffer) as view:
                while done < len(view):
                    with view[done:] as rest:
                        done += os.pwritev(self._write_fd, [rest], start + done)
        os.fsync(self._write_fd)

    def close(self) -> None:
        super().close()
        if self._write_fd >= 0:
            os.close(self._write_fd)
            self._write_fd = -1


def _compare(path: Path, change: store_change.Change) -> None:
    with _told(path, "cannot be read back"), directio.DirectFile(path) as volume:
        for offset, piece in change.writes:
            if bytes(volume.view(len(piece), offset)) != piece:
                raise WriteFailed(path, f"what was read back at byte {offset} is not what was written")


def _reader(volume: directio.DirectFile) -> archive.Read:
    return lambda offset, length: volume.view(length, offset)


@contextlib.contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise StoreProblem(path, f"{what}: {e.strerror or e}; check the path and its permissions") from e
    except archive.BadArchive as e:
        raise StoreProblem(path, str(e)) from e
