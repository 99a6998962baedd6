"""A file is replaced as a whole: a reader, and whoever comes after a crash, finds the old one or the new one.

All calls block: run them in a ``blocking.Worker`` where somebody waits.
"""

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.errors import Retryable


@dataclass(eq=False)
class CannotWrite(Retryable):
    """The file is as it was before."""

    path: Path
    reason: str
    msg: ClassVar[str] = (
        "{self.path}: cannot be written: {self.reason}; check that its directory is there, may be written by "
        "this user, and that its file system has room"
    )


def replace(path: Path, data: bytes, *, mode: int) -> None:
    """Let ``path`` hold ``data``, on the disk when this returns; ``mode``: its permissions (no umask).

    The new content stands in a hidden file ``.NAME.*.new`` beside it until it
    is complete; a crash may leave one behind. A symbolic link at ``path`` is
    replaced, not followed. Raises ``CannotWrite``.
    """
    try:
        descriptor, new = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.rename(new, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            raise
        _sync_directory(path.parent)
    except OSError as e:
        raise CannotWrite(path, e.strerror or str(e)) from e


def _sync_directory(path: Path) -> None:
    """A new name survives a crash only when its directory was written too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
