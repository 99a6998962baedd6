"""What has to be written into one store, and whether it may be."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ovirt_he_agent import directio
from ovirt_he_agent.adapters.ovfstore.put import failures, store
from ovirt_he_agent.ovf import archive, store_change


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    store: store.Store
    change: store_change.Change
    archive: bytes
    """The archive that is to be there, without padding."""
    source: Path
    """Where the other entries come from: the store itself, its copy, or another store."""
    in_place: bool
    """Not to be replaced as a whole: a device, or a file in a directory where no file can be made."""

    @property
    def written_bytes(self) -> int:
        return sum(len(data) for _, data in self.change.writes)

    @property
    def is_made_anew(self) -> bool:
        """The store was damaged: it gets the entries of another one."""
        return self.source not in (self.store.path, self.store.copy)


def prepare(
    target: store.Store,
    others: Sequence[store.Store],
    name: str,
    data: bytes,
    *,
    mtime_s: int,
    room_bytes: int | None,
    described_bytes: int | None = None,
) -> Plan:
    """The plan to make ``data`` the entry ``name`` of ``target``.

    ``others``: the other stores as they are now. ``room_bytes``: what the archive
    may not outgrow, None if its description is going to be set. ``described_bytes``:
    the length that the description gives now, which shows how it is padded.
    Raises ``NotSafe``, ``StoreProblem``, ``store_change.TooLarge``.
    """
    good = store.in_turn([other for other in others if other.is_good])
    source = _source(target, good)
    padding = _padding(target, described_bytes, room_bytes)
    with failures.told(source, "cannot be read"), directio.DirectFile(source) as volume:
        limit = target.end if source == target.path else volume.size()
        read = store.reader(volume)
        change = store_change.put(read, limit, name, data, mtime_s=mtime_s, padding=padding)
        content = store_change.content(read, change)
    if not target.is_good:
        change = store_change.as_whole(change, content)
    if room_bytes is not None and change.end > room_bytes:
        raise store_change.TooLarge(target.path, change.end, room_bytes)
    most = min(archive.MAX_BYTES, target.volume_bytes) if target.is_device else archive.MAX_BYTES
    if change.length > most:
        raise failures.NotSafe(
            target.path, f"the archive would have {change.length} bytes, its volume holds {most}"
        )
    if room_bytes is not None and target.is_exact:
        change = replace(change, length=target.volume_bytes)
    in_place = not change.is_none and (target.is_device or not _can_be_replaced(target.path))
    if in_place and not good:
        why = "a block device" if target.is_device else "a file where this user can make no other"
        raise failures.NotSafe(
            target.path,
            f"{why} is changed where it lies, which would leave no good store if it were cut off; give the "
            "domain's other OVF_STORE too (--store twice)",
        )
    return Plan(store=target, change=change, archive=content, source=source, in_place=in_place)


def _source(target: store.Store, good: Sequence[store.Store]) -> Path:
    if target.is_good:
        return target.path
    if target.copy is not None:
        return target.copy
    if good:
        return good[-1].path
    what = f"it is no good store: {target.damage}"
    if target.under_change:
        what = "a put into it was cut off"
    raise failures.StoreProblem(target.path, f"{what}; give the domain's other OVF_STORE too (--store twice)")


def _padding(target: store.Store, described_bytes: int | None, room_bytes: int | None) -> int:
    """As it was, where that is known; the least where it is not, or where no more fits."""
    known = described_bytes or (target.volume_bytes if target.is_exact else None)
    if known is None or (room_bytes is not None and room_bytes % store_change.RECORD):
        return archive.BLOCK
    return store_change.padding_of(known)


def _can_be_replaced(path: Path) -> bool:
    """Whether a file of the same owner can be made beside it."""
    path = path.resolve()
    owner = path.stat()
    probe = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)
            os.unlink(probe)
    except OSError:  # whatever the reason: then it is changed where it lies
        return False
    return True
