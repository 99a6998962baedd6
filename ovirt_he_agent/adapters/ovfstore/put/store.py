"""A store as ``ovf put`` finds it: good or not, what it holds of the VM, and how long it may become."""

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ovirt_he_agent import directio
from ovirt_he_agent.adapters.ovfstore.put import copy, failures
from ovirt_he_agent.ovf import archive, document, problems, store_change

TRACES_BYTES = 1 << 20
"""So much of a store is searched for what tells that it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Sizes in bytes."""

    path: Path
    is_device: bool
    volume_bytes: int
    stamp: tuple[int, int, int]
    """Of a regular file: another one tells that it was written since."""
    first_block: bytes
    damage: str | None
    """Why it is no good store; None: every entry is whole."""
    under_change: bool
    """An earlier put was cut off while it wrote here."""
    copy: Path | None
    """The store as it was before an earlier put that was cut off; on this host."""
    end: int
    """Of the archive, the closing blocks included; 0 if it is damaged."""
    mtime_s: int
    """When it was written, by its headers."""
    document: bytes | None
    """The VM's."""
    generation: int | None
    """Of the document; None: no document, or no number in it."""
    is_familiar: bool
    """An OVF_STORE by its content: empty, cut off by a put, or with an entry's header near its start."""

    @property
    def is_good(self) -> bool:
        return self.damage is None

    @property
    def is_exact(self) -> bool:
        """The file ends with the archive's padding, as a file domain's volume does after an update."""
        return self.is_good and not self.is_device and self.volume_bytes - self.end < store_change.RECORD

    def room_bytes(self, described_bytes: int | None) -> int:
        """How long the archive may become while the description stays: what readers may be bounded by."""
        if described_bytes is not None:
            return min(described_bytes, self.volume_bytes)
        return self.volume_bytes if self.is_exact else self.end

    def not_updated(self, new_document: bytes) -> Self:
        """The same when its description says ``Updated`` false.

        A file is emptied before an update, so what is whole there is complete. On
        a device the old bytes follow the new ones, and entries of the same length
        hide that: such a store is only good if our own put was cut off before the
        first write (its copy is still equal) or after the last one (it holds the
        document).
        """
        if not self.is_device or not self.is_good or self.copy is not None or self.document == new_document:
            return self
        return replace(self, damage="its description says that its last update did not end", end=0)


def look(path: Path, name: str, copies: Path) -> Store:
    """The store at ``path`` and what it holds as entry ``name``. Raises ``StoreProblem``."""
    with failures.told(path, "cannot be read"):
        status = os.stat(path)
        is_device = stat.S_ISBLK(status.st_mode)
        if not stat.S_ISREG(status.st_mode) and not is_device:
            raise failures.StoreProblem(
                path, "neither a file nor a block device; give the volume of an OVF_STORE"
            )
        with directio.DirectFile(path) as volume:
            return _look(path, volume, name, copies, stamp_of(status), is_device=is_device)


def _look(
    path: Path,
    volume: directio.DirectFile,
    name: str,
    copies: Path,
    stamp: tuple[int, int, int],
    *,
    is_device: bool,
) -> Store:
    size, first_block = volume.size(), volume.pread(archive.BLOCK, 0)
    end, mtime_s, generation, data, damage = 0, 0, None, None, None
    try:
        for found in archive.survey(reader(volume), size):
            if found.damage is not None:
                raise found.damage
            entry = found.entry
            end = entry.data_offset + entry.size + -entry.size % archive.BLOCK + 2 * archive.BLOCK
            mtime_s = max(mtime_s, entry.mtime or 0)
            if entry.name == name and found.data is not None:
                data, generation = found.data, document.identify(found.data).generation
    except archive.BadArchive as e:
        damage, end = e.what, 0
    except problems.BadDocument as e:
        damage, end = f"entry {name!r}: {e.reason}", 0
    sha256 = store_change.copy_of(first_block)
    if damage is None and copy.exists_any(copies):
        sha256 = hashlib.sha256(volume.view(end, 0)).hexdigest()
    return Store(
        path=path,
        is_device=is_device,
        volume_bytes=size,
        stamp=stamp,
        first_block=first_block,
        damage=damage,
        under_change=store_change.is_under_change(first_block),
        copy=copy.find(copies, sha256),
        end=end,
        mtime_s=mtime_s,
        document=data,
        generation=generation,
        is_familiar=store_change.is_under_change(first_block)
        or store_change.has_traces(volume.view(TRACES_BYTES, 0)),
    )


def refuse_stranger(found: Store) -> None:
    """safety: what is written to must be a store: a slip of the hand names a VM's disk or another archive.

    For a store that VDSM does not know as one. Raises ``NotSafe``.
    """
    if not found.is_familiar:
        raise failures.NotSafe(
            found.path,
            "nothing in it looks like an OVF_STORE, and VDSM does not say that it is one; check the path; if "
            "it is right, run this where VDSM answers, or put the document into the other store only",
        )


def in_turn(stores: Sequence[Store]) -> list[Store]:
    """In which order to write: what is damaged first, the newest last, as the engine does it."""
    return sorted(stores, key=lambda store: (store.is_good, store.generation or -1, store.mtime_s))


def stamp_of(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def reader(volume: directio.DirectFile) -> archive.Read:
    return lambda offset, length: volume.view(length, offset)
