"""A file that an operator names: an OVF document, or a store's volume or tar; its content tells which."""

import contextlib
import datetime
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent import directio
from ovirt_he_agent.errors import BadInput
from ovirt_he_agent.ovf import archive, problems, safe_xml, stored


@dataclass(eq=False)
class BadFile(BadInput):
    """The file does not give what was asked; ``reason`` says what to do as well."""

    path: Path
    reason: str
    msg: ClassVar[str] = "{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OvfFile:
    """A file opened for reading. Its methods raise ``BadFile``."""

    path: Path
    volume: directio.DirectFile
    is_store: bool

    def document(self) -> bytes:
        """The whole file, which is a document."""
        with _named(self.path):
            if self.volume.size() > safe_xml.MAX_BYTES:
                raise problems.Hostile(f"the document is larger than {safe_xml.MAX_BYTES >> 20} MiB")
            return self.volume.pread(safe_xml.MAX_BYTES, 0)

    def document_of(self, vm_id: str) -> bytes:
        """One VM's document in a store."""
        with _named(self.path):
            return stored.read(self._read, self.volume.size(), vm_id, None).data

    def survey(self) -> Iterator[archive.Found]:
        """All entries of a store; raises ``archive.Damaged`` as ``archive.survey`` does."""
        with _named(self.path, but=archive.Damaged):
            yield from archive.survey(self._read, self.volume.size())

    def _read(self, offset: int, length: int) -> memoryview:
        return self.volume.view(length, offset)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[OvfFile]:
    """``path`` for reading. A document that is refused inside the block ends in a ``BadFile`` too."""
    with _named(path):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            raise BadFile(path, "neither a file nor a block device; give an OVF document or an OVF_STORE")
        volume = directio.DirectFile(path)
    with volume:
        with _named(path):
            is_store = _is_store(path, volume)
        try:
            yield OvfFile(path=path, volume=volume, is_store=is_store)
        except problems.BadDocument as e:
            raise BadFile(path, str(e)) from e


@contextlib.contextmanager
def _named(path: Path, *, but: type[Exception] | None = None) -> Iterator[None]:
    """Errors of reading ``path`` get its name; those of writing our output are not inside."""
    try:
        yield
    except OSError as e:
        raise BadFile(path, f"cannot be read: {e.strerror or e}; check the path and its permissions") from e
    except (archive.BadArchive, problems.BadDocument) as e:
        if but is not None and isinstance(e, but):
            raise
        raise BadFile(path, str(e)) from e


def _is_store(path: Path, volume: directio.DirectFile) -> bool:
    head = volume.pread(archive.BLOCK, 0)
    if head[257:262] == b"ustar" or (head and not head.strip(b"\0")):
        return True
    if not head or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return False
    raise BadFile(
        path,
        "neither an OVF document (XML) nor an OVF_STORE (a tar archive from its first byte on); give one of "
        "these, not the disk of a VM",
    )


def utc(seconds: int | None) -> str | None:
    """A moment as text, 2021-01-15T16:45:00Z; None if there is none or it cannot be."""
    if seconds is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return None
