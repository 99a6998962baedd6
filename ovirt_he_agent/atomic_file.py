"""A file is replaced as a whole: a reader, and whoever comes after a crash, finds the old one or the new one.

All calls block: run them in a ``blocking.Worker`` where somebody waits.
"""

import os
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


def replace(path: Path, data: bytes, *, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Let ``path`` hold ``data``, on the disk when this returns; ``mode``: its permissions (no umask).

    ``owner``: user and group that it is given to; None: whoever runs this.

    The new content stands in a hidden file ``.NAME.new`` beside it until it is
    complete; one that a crash left behind is replaced. A symbolic link at ``path``
    is replaced, not followed. Raises ``CannotWrite``.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                if owner is not None and owner != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, *owner)
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.rename(new, path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as e:
        raise CannotWrite(path, e.strerror or str(e)) from e


def sync_directory(path: Path) -> None:
    """A new name survives a crash only when its directory was written too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
