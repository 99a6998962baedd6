"""Volumes are read and written past the page cache: other hosts do so, too.

O_DIRECT with page-aligned buffers where the file system has it; elsewhere
buffered reads that drop the cached pages first (posix_fadvise DONTNEED).
All calls block: run them in a ``blocking.Worker``.
"""

import errno
import mmap
import os
import stat
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

BLOCK = 4096
"""Alignment that serves both 512 and 4096 byte sectors, in bytes."""

_HUGE_PAGE = 2 << 20
_LARGE_READ = 256 << 10


def _buffer(size: int) -> memoryview:
    """Page-aligned memory of at least ``size`` bytes.

    Large ones lie in huge pages where the system has them. The pages of a read
    are pinned and described to the disk one by one: 1 MiB in huge pages is one
    piece instead of 256, which took half the wall time and a third of the CPU
    time (bench/ovf_store.py). Where a mapping starts is up to the system, but
    the one huge page that it may cut short at each end is left outside.
    """
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    if size < _LARGE_READ:
        return memoryview(mmap.mmap(-1, size, flags=private))
    space = mmap.mmap(-1, size + 2 * _HUGE_PAGE, flags=private)
    try:
        space.madvise(mmap.MADV_HUGEPAGE)
    except OSError as e:
        if e.errno != errno.EINVAL:  # a kernel without huge pages
            raise
    return memoryview(space)[_HUGE_PAGE : _HUGE_PAGE + size]


_scratch = threading.local()
"""One block per thread, for reads that are copied at once."""


def _aligned(length: int, offset: int) -> int:
    """Bytes of the whole blocks around ``length`` bytes at ``offset``."""
    wanted = offset % BLOCK + length
    return wanted + -wanted % BLOCK


class DirectFile:
    """A volume opened for reading. ``direct`` says whether the page cache is bypassed."""

    def __init__(self, path: Path) -> None:
        """Open ``path``; raises ``OSError`` as ``open`` does."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
            self.direct = True
        except OSError as e:
            if e.errno != errno.EINVAL:  # that is how a file system without direct I/O refuses it
                raise
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.direct = False
        self._buffer = memoryview(b"")

    def size(self) -> int:
        """Bytes in the volume now (a file domain's volume shrinks and grows during an update)."""
        return os.lseek(self._fd, 0, os.SEEK_END)

    def pread(self, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer only at the end of the volume."""
        if length + offset % BLOCK > BLOCK:
            return bytes(self.view(length, offset))
        if not hasattr(_scratch, "block"):  # a mapping of its own costs as much as a small read
            _scratch.block = _buffer(BLOCK)
        return bytes(self._fill(_scratch.block, length, offset))

    def view(self, length: int, offset: int) -> memoryview:
        """As ``pread``, but without a copy: what it shows changes with the next read.

        Any offset and length will do; the read itself is aligned to ``BLOCK``. Raises ``OSError``.
        """
        aligned = _aligned(length, offset)
        if len(self._buffer) < aligned:
            self._buffer = _buffer(aligned)  # whoever still has a view of the old one keeps that alive
        return self._fill(self._buffer, length, offset)

    def _fill(self, buffer: memoryview, length: int, offset: int) -> memoryview:
        if length <= 0:
            return memoryview(b"")
        start = offset - offset % BLOCK
        wanted = offset - start + length
        aligned = _aligned(length, offset)
        if not self.direct:
            os.posix_fadvise(self._fd, start, aligned, os.POSIX_FADV_DONTNEED)
        done = 0
        while done < wanted:
            got = os.preadv(self._fd, [buffer[done:aligned]], start + done)
            if got == 0:
                break
            done += got
            if done % BLOCK:  # a direct read is short only at the end
                break
        return buffer[offset - start : min(done, wanted)].toreadonly()

    def close(self) -> None:
        self._buffer = memoryview(b"")
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class DirectWriter(DirectFile):
    """A volume opened for writing as well, past the page cache; a write is on the disk when it returns."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_SYNC | (os.O_DIRECT if self.direct else 0)
            self._write_fd = os.open(path, flags)
        except BaseException:
            super().close()
            raise

    def pwrite(self, data: bytes, offset: int) -> None:
        """Any offset and length; the rest of the ``BLOCK`` at each end is written back as it is.

        A regular file grows to the end of ``data`` if it is shorter. Raises ``OSError``.
        """
        if not data:
            return
        start = offset - offset % BLOCK
        length = _aligned(len(data), offset)
        buffer = _buffer(length)
        for block in {0, length - BLOCK}:
            old = self.pread(BLOCK, start + block)
            buffer[block : block + len(old)] = old
        buffer[offset - start : offset - start + len(data)] = data
        file_size = self._file_size()
        done = 0
        while done < length:
            done += os.pwritev(self._write_fd, [buffer[done:length]], start + done)
        if file_size is not None and start + length > max(file_size, offset + len(data)):
            os.ftruncate(self._write_fd, max(file_size, offset + len(data)))  # no zeros of ours at its end
        os.fsync(self._write_fd)

    def overwrite(self, data: bytes, offset: int) -> None:
        """Put whole blocks over what is there, in one write, and read nothing first.

        Both numbers are multiples of ``BLOCK``. Raises ``OSError``, also when only a part was written.
        """
        if len(data) % BLOCK or offset % BLOCK:
            raise ValueError(f"{len(data)} bytes at {offset} are no whole blocks of {BLOCK}")
        buffer = _buffer(len(data))
        buffer[: len(data)] = data
        done = os.pwritev(self._write_fd, [buffer[: len(data)]], offset)
        if done < len(data):
            raise OSError(errno.EIO, f"only {done} of {len(data)} bytes were written")

    def truncate(self, size: int) -> None:
        """Let a regular file have ``size`` bytes; anything else keeps its own."""
        if self._file_size() is not None:
            os.ftruncate(self._write_fd, size)
            os.fsync(self._write_fd)

    def _file_size(self) -> int | None:
        """None: it is no regular file."""
        status = os.fstat(self._write_fd)
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def close(self) -> None:
        super().close()
        if self._write_fd >= 0:
            os.close(self._write_fd)
            self._write_fd = -1
