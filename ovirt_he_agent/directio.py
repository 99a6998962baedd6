"""Volumes are read past the page cache: another host writes them.

O_DIRECT with page-aligned buffers where the file system has it; elsewhere
buffered reads that drop the cached pages first (posix_fadvise DONTNEED).
All calls block: run them in a ``blocking.Worker``.
"""

import errno
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Self

BLOCK = 4096
"""Alignment that serves both 512 and 4096 byte sectors, in bytes."""


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
        self._buffer: mmap.mmap | None = None

    def size(self) -> int:
        """Bytes in the volume now (a file domain's volume shrinks and grows during an update)."""
        return os.lseek(self._fd, 0, os.SEEK_END)

    def pread(self, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer only at the end of the volume.

        Any offset and length will do; the read itself is aligned to ``BLOCK``. Raises ``OSError``.
        """
        if length <= 0:
            return b""
        start = offset - offset % BLOCK
        wanted = offset - start + length
        aligned = wanted + -wanted % BLOCK
        if self._buffer is None or len(self._buffer) < aligned:
            if self._buffer is not None:
                self._buffer.close()
            self._buffer = mmap.mmap(-1, aligned)  # anonymous: page-aligned
        if not self.direct:
            os.posix_fadvise(self._fd, start, aligned, os.POSIX_FADV_DONTNEED)
        done = 0
        with memoryview(self._buffer) as view:
            while done < wanted:
                got = os.preadv(self._fd, [view[done:aligned]], start + done)
                if got == 0:
                    break
                done += got
                if done % BLOCK:  # a direct read is short only at the end
                    break
            return bytes(view[offset - start : min(done, wanted)])

    def close(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
