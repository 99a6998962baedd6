"""The whiteboard volume: slot 0 and the slots that are in use, read past the page cache.

Only slots of hosts that sanlock or an earlier read knows of are read each time;
all 2001 are looked at when the volume is opened and every ``SCAN_MS`` after.
A hung disk costs the one thread of this volume (``blocking.Worker``).
"""

import errno
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent import directio
from ovirt_he_agent.blocking import Stuck, Worker
from ovirt_he_agent.core import model, snapshot, whiteboard
from ovirt_he_agent.core.whiteboard import MAX_HOST_ID, SLOT_BYTES
from ovirt_he_agent.errors import Retryable

SCAN_MS = 300_000
NEIGHBOURS = 16
"""Slots this close to each other are read in one go."""


@dataclass(eq=False)
class VolumeUnreadable(Retryable):
    path: Path
    reason: str
    msg: ClassVar[str] = (
        "the whiteboard {self.path} cannot be read: {self.reason}; check the storage domain's mount or "
        "device and that this user may read it (vdsm:kvm)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WhiteboardReading:
    """Every slot in use, damaged ones too, and slot 0; all read at one time."""

    global_maintenance: whiteboard.GlobalFlags
    slots: dict[int, snapshot.PeerSlot]
    scanned: bool
    """All possible slots were looked at."""


@dataclass(slots=True)
class _Seen:
    """One slot as it was last, to notice a change."""

    block: bytes
    first_seen_at: model.MonotonicMs
    changed_at: model.MonotonicMs | None = None


class Whiteboard:
    """Reads the volume at the path that each call names; reopens it when that changes or fails."""

    def __init__(self, *, clock: Callable[[], model.MonotonicMs], timeout_s: float) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._worker = Worker("whiteboard")
        self._file: directio.DirectFile | None = None
        self._seen: dict[int, _Seen] = {}
        self._scanned_at: model.MonotonicMs | None = None

    def close(self) -> None:
        """Let the thread end; does not wait for it, nor close a file that it may hang on."""
        self._worker.close()
        if self._file is not None and self._worker.stuck is None:
            self._file.close()
            self._file = None

    async def read(self, path: Path, known_ids: Collection[int]) -> WhiteboardReading:
        """Slot 0, the slots of ``known_ids`` and those in use before.

        Raises ``VolumeUnreadable``, ``Stuck``.
        """
        scan = self._scanned_at is None or self._clock() - self._scanned_at >= SCAN_MS
        wanted = range(MAX_HOST_ID + 1) if scan else sorted({0, *known_ids, *self._seen})
        blocks = await self._read_blocks(path, list(_runs(wanted)))
        now = self._clock()
        if scan:
            self._scanned_at = now
        return WhiteboardReading(
            global_maintenance=whiteboard.decode_global(blocks.pop(0)),
            slots={n: s for n, block in blocks.items() if (s := self._slot(n, block, now)) is not None},
            scanned=scan,
        )

    async def read_global(self, path: Path) -> whiteboard.GlobalFlags:
        """Slot 0 alone. Raises ``VolumeUnreadable``, ``Stuck``."""
        return whiteboard.decode_global((await self._read_blocks(path, [(0, 1)]))[0])

    async def _read_blocks(self, path: Path, runs: list[tuple[int, int]]) -> dict[int, bytes]:
        """Slot number -> its bytes, for runs of (first slot, count)."""
        try:
            return await self._worker.call(
                self._pread, path, runs, timeout_s=self._timeout_s, what=f"read of {path}"
            )
        except OSError as e:
            self._scanned_at = None  # another volume may stand there next time
            raise VolumeUnreadable(path, e.strerror or str(e)) from e
        except Stuck:
            self._scanned_at = None
            raise

    def _pread(self, path: Path, runs: list[tuple[int, int]]) -> dict[int, bytes]:
        """In the thread. A file that failed once is opened anew: a mount may have come back under it."""
        if self._file is None or self._file.path != path:
            if self._file is not None:
                self._file.close()
            self._file = directio.DirectFile(path)
        blocks: dict[int, bytes] = {}
        try:
            for first, count in runs:
                data = self._file.pread(count * SLOT_BYTES, first * SLOT_BYTES)
                for n in range(count):
                    blocks[first + n] = data[n * SLOT_BYTES : (n + 1) * SLOT_BYTES]
        except OSError:
            self._file.close()
            self._file = None
            raise
        if not blocks.get(0, b"\0"):
            raise OSError(errno.ENODATA, "the volume is empty")
        return blocks

    def _slot(self, number: int, block: bytes, now: model.MonotonicMs) -> snapshot.PeerSlot | None:
        decoded = whiteboard.decode_slot(number, block)
        if isinstance(decoded, whiteboard.EmptySlot):
            self._seen.pop(number, None)
            return None
        seen = self._seen.setdefault(number, _Seen(block, now))
        if seen.block != block:
            seen.block, seen.changed_at = block, now
        match decoded:
            case whiteboard.BadSlot():
                problem = f"slot {number} (byte {number * SLOT_BYTES}): {decoded.reason}"
                return snapshot.PeerSlot(
                    host_id=number,
                    readable=False,
                    problem=problem,
                    first_seen_at=seen.first_seen_at,
                    changed_at=seen.changed_at,
                )
            case whiteboard.HostSlot():
                return snapshot.PeerSlot(
                    host_id=number,
                    readable=True,
                    claims_vm=decoded.claims_vm,
                    stopped=decoded.stopped is True,
                    local_maintenance=decoded.local_maintenance,
                    score=decoded.score,
                    host_name=decoded.host_name,
                    state=decoded.state or "",
                    first_seen_at=seen.first_seen_at,
                    changed_at=seen.changed_at,
                )


def _runs(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    """(first, count) of neighbouring numbers, small gaps included; ``numbers`` ascend."""
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = number
        elif number - last > NEIGHBOURS:
            yield first, last - first + 1
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last - first + 1
