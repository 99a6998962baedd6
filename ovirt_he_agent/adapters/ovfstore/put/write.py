"""One store is written, read back past the page cache, and compared.

A regular file is replaced as a whole: a reader finds the old store or the new
one. A device is changed where it lies; until that is complete its first block
is no valid header, so that no reader takes a mixture for a document.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ovirt_he_agent import atomic_file, directio
from ovirt_he_agent.adapters.ovfstore.put import copy, failures, plan, store
from ovirt_he_agent.ovf import archive, store_change

WRITE_BYTES = 1 << 20


def keep_copy(planned: plan.Plan, copies: Path) -> str | None:
    """Of what an in-place write could lose, before it begins; the copy's sha256. Raises ``StoreProblem``."""
    target = planned.store
    if target.copy is not None:
        return target.copy.stem
    if not planned.in_place or not target.is_good:
        return None
    with failures.told(target.path, "cannot be read"), directio.DirectFile(target.path) as volume:
        content = volume.pread(target.end, 0)
    return copy.keep(copies, target.path, content)


def write(planned: plan.Plan, name: str, copies: Path, copy_sha256: str | None) -> None:
    """Raises ``WriteFailed``, ``StoreProblem``, ``atomic_file.CannotWrite``."""
    if planned.in_place:
        _write_in_place(planned, copy_sha256)
    else:
        _replace(planned)
    path = planned.store.path
    with failures.told(path, "cannot be read back"), directio.DirectFile(path) as volume:
        if volume.view(len(planned.archive), 0) != planned.archive:
            raise failures.WriteFailed(path, "what was read back is not what was written")
    seen = store.look(path, name, copies)
    if not seen.is_good:
        raise failures.WriteFailed(path, f"what was read back is no good store: {seen.damage}")


def _replace(planned: plan.Plan) -> None:
    target, change = planned.store, planned.change
    with failures.told(target.path, "cannot be read"):
        now = os.stat(target.path)
        content = bytearray(planned.archive)
        if target.is_good and not target.is_exact:  # what lies behind the archive stays there
            with directio.DirectFile(target.path) as volume:
                content += volume.pread(max(0, now.st_size - change.end), change.end)
        content += bytes(max(0, change.length - len(content)))
        if store.stamp_of(os.stat(target.path)) != target.stamp:
            raise _changed_meanwhile(target.path)
    mode, owner = stat.S_IMODE(now.st_mode), (now.st_uid, now.st_gid)
    atomic_file.replace(target.path.resolve(), bytes(content), mode=mode, owner=owner)


def _write_in_place(planned: plan.Plan, copy_sha256: str | None) -> None:
    target, change = planned.store, planned.change
    try:
        with directio.DirectWriter(target.path) as volume:
            first_block = volume.pread(archive.BLOCK, 0)
            if first_block != target.first_block:
                raise _changed_meanwhile(target.path)
            *before, last = in_place(first_block, change, copy_sha256 or "")
            for offset, data in before:
                volume.pwrite(data, offset)
            if target.is_exact or not target.is_good:
                volume.truncate(change.length)
            volume.pwrite(last[1], last[0])
    except OSError as e:
        raise failures.WriteFailed(target.path, f"cannot be written: {e.strerror or e}") from e


def in_place(
    first_block: bytes, change: store_change.Change, copy_sha256: str = ""
) -> Iterator[tuple[int, bytes]]:
    """The writes of ``change`` in an order that can be cut off anywhere; each is on the disk before the next.

    The first block is no header from the first write on until the last one.
    """
    final = first_block
    data_writes = []
    for offset, data in change.writes:
        if offset == 0:
            final = data[: archive.BLOCK]
            offset, data = archive.BLOCK, data[archive.BLOCK :]
        data_writes += [(offset + at, data[at : at + WRITE_BYTES]) for at in range(0, len(data), WRITE_BYTES)]
    yield 0, store_change.under_change(final, copy_sha256)
    yield from data_writes
    yield 0, final


def _changed_meanwhile(path: Path) -> failures.StoreProblem:
    return failures.StoreProblem(path, "it was changed meanwhile (by the engine?); run it again")
