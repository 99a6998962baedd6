"""The whiteboard volume: slot 0 and the slots that are in use, read and written past the page cache.

Only slots of hosts that the caller or an earlier read knows of are read each
time; all 2001 are looked at when a volume is new to us and every ``SCAN_MS``.
A slot is written whole, in one aligned write; nothing around it is touched.
The volume is opened each time: an open file would keep VDSM from tearing
the image down, and would go stale with its mount. A hung disk costs the one
thread of its volume (``blocking.Worker``).
"""

import errno
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.blocking import Stuck, Worker
from ovirt_he_agent.core import model, snapshot, whiteboard
from ovirt_he_agent.core.whiteboard import MAX_HOST_ID, SLOT_BYTES
from ovirt_he_agent.directio import DirectFile, DirectWriter
from ovirt_he_agent.errors import BadInput, Retryable

SCAN_MS = 300_000
"""A host must hold its id in sanlock's lockspace before it writes its slot, so a caller that passes the
ids of the lockspace misses nobody; the scan is for the slots of hosts that are long gone."""
NEAR = 16
"""Slots at most this far apart are read in one go (64 KiB)."""
MAX_RUN = 256
"""Slots in one read (1 MiB)."""

_REMEDIES = {
    errno.ENOENT: "VDSM has not prepared this image, or it was torn down: it is prepared again, see vdsm.log",
    errno.EACCES: "this user must be able to read and write it (vdsm:kvm)",
    errno.EPERM: "this user must be able to read and write it (vdsm:kvm)",
    errno.EISDIR: "check metadata_image_UUID and metadata_volume_UUID in hosted-engine.conf",
    errno.ENODATA: "check metadata_image_UUID and metadata_volume_UUID in hosted-engine.conf",
}


@dataclass(eq=False)
class VolumeFailed(Retryable):
    """Below it, what failed: reading or writing."""

    path: Path
    number: int
    """Of errno."""
    reason: str

    @property
    def remedy(self) -> str:
        return _REMEDIES.get(self.number, "check the storage server, the mount or device and the kernel log")


class VolumeUnreadable(VolumeFailed):
    msg: ClassVar[str] = "the whiteboard {self.path} cannot be read: {self.reason}; {self.remedy}"


class VolumeUnwritable(VolumeFailed):
    """The block may have been written all the same: writing it again mends that."""

    msg: ClassVar[str] = "the whiteboard {self.path} cannot be written: {self.reason}; {self.remedy}"


@dataclass(eq=False)
class VolumeTooShort(BadInput):
    """Nothing was written: a volume must not grow by it."""

    path: Path
    size_bytes: int
    host_id: int
    """0: global maintenance."""
    msg: ClassVar[str] = (
        "the whiteboard {self.path} ends at byte {self.size_bytes}, before the end of slot {self.host_id}, "
        "which was not written: check host_id, metadata_image_UUID and metadata_volume_UUID in "
        "hosted-engine.conf"
    )


@dataclass(eq=False)
class NoSuchSlot(BadInput):
    host_id: int
    msg: ClassVar[str] = (
        "host id {self.host_id} has no slot on the whiteboard, they are 1 to 2000: "
        "check host_id in hosted-engine.conf"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WhiteboardReading:
    """Slot 0 and every slot in use, damaged ones too, as of ``read_at``."""

    global_maintenance: whiteboard.GlobalFlags
    slots: Mapping[int, snapshot.PeerSlot]
    read_at: model.MonotonicMs
    """When the read began."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """One slot as it was last, to notice a change."""

    block: bytes
    peer: snapshot.PeerSlot


class Whiteboard:
    """Reads and writes the volume at the path that each call names, one call after the other."""

    def __init__(
        self,
        *,
        clock: Callable[[], model.MonotonicMs],
        timeout_s: float,
        decode: Callable[[int, bytes], whiteboard.Slot] = whiteboard.decode_slot,
    ) -> None:
        """``decode``: a simulated cluster remembers what many hosts read of the same bytes."""
        self._clock = clock
        self._decode = decode
        self._timeout_s = timeout_s
        self._path: Path | None = None
        self._worker = Worker("whiteboard")
        self._seen: dict[int, _Seen] = {}
        self._seen_global: tuple[bytes, whiteboard.GlobalFlags] | None = None
        self._scanned_at: model.MonotonicMs | None = None

    def close(self) -> None:
        """Let the thread end; does not wait for it."""
        self._worker.close()

    async def read(self, path: Path, known_ids: Collection[int], *, scan: bool = False) -> WhiteboardReading:
        """Slot 0, the slots of ``known_ids`` and those in use before; now and then, or with ``scan``, all.

        Numbers that are no host id (1..2000) are ignored. Raises ``VolumeUnreadable``, ``Stuck``.
        """
        worker = self._worker_of(path)
        began = self._clock()
        scan = scan or self._scanned_at is None or began - self._scanned_at >= SCAN_MS
        wanted = range(MAX_HOST_ID + 1) if scan else sorted({0, *_host_ids(known_ids), *self._seen})
        blocks = await self._blocks(worker, path, wanted)
        slot_0 = blocks.pop(0)
        self._learn(wanted, blocks)
        if scan:
            self._scanned_at = began
        return WhiteboardReading(
            global_maintenance=self._global(slot_0),
            slots={number: self._seen[number].peer for number in sorted(self._seen)},
            read_at=began,
        )

    async def read_some(self, path: Path, host_ids: Collection[int]) -> Mapping[int, snapshot.PeerSlot]:
        """Those slots of ``host_ids`` that are in use, now, and nothing else; ``read`` remembers them.

        Numbers that are no host id are ignored. Raises ``VolumeUnreadable``, ``Stuck``.
        """
        wanted = sorted(_host_ids(host_ids))
        if wanted:
            self._learn(wanted, await self._blocks(self._worker_of(path), path, wanted))
        return {number: self._seen[number].peer for number in wanted if number in self._seen}

    async def read_global(self, path: Path) -> whiteboard.GlobalFlags:
        """Slot 0 alone, now. Raises ``VolumeUnreadable``, ``Stuck``."""
        blocks = await self._blocks(self._worker_of(path), path, [0])
        return self._global(blocks[0])

    async def write_slot(self, path: Path, host_id: int, block: bytes) -> None:
        """Write the 4096 bytes of ``host_id``, 1..2000; it is on the disk when this returns.

        safety: whoever calls this holds the host id in the HA lockspace. Raises ``NoSuchSlot``,
        ``VolumeTooShort``, and with the block perhaps written, now or later, ``VolumeUnwritable``, ``Stuck``.
        """
        if not 1 <= host_id <= MAX_HOST_ID:
            raise NoSuchSlot(host_id)
        await self._write(path, host_id, block)

    async def write_global(self, path: Path, block: bytes) -> None:
        """Write the 4096 bytes of slot 0; any host may, and the last one wins. Raises as ``write_slot``."""
        await self._write(path, 0, block)

    async def rewrite_slot(self, path: Path, host_id: int, last: bytes | None) -> None:
        """Write what stands in the slot of ``host_id`` once more: whether the volume takes it.

        Is that damaged or gone, the block that was written ``last`` takes its place. Who may, and what it
        raises: as ``write_slot``, and ``VolumeUnreadable``.
        """
        blocks = await self._blocks(self._worker_of(path), path, [host_id])
        stands = blocks.get(host_id, bytes(SLOT_BYTES))
        if last is not None and not isinstance(self._decode(host_id, stands), whiteboard.HostSlot):
            stands = last
        await self.write_slot(path, host_id, stands)

    async def _write(self, path: Path, number: int, block: bytes) -> None:
        if len(block) != SLOT_BYTES:
            raise ValueError(f"a slot has {SLOT_BYTES} bytes, not {len(block)}")
        worker = self._worker_of(path)
        what = f"write of slot {number} of {path}"
        try:
            await worker.call(_write, path, number, block, timeout_s=self._timeout_s, what=what)
        except OSError as e:
            raise VolumeUnwritable(path, e.errno or 0, e.strerror or str(e)) from e

    def _global(self, block: bytes) -> whiteboard.GlobalFlags:
        """Slot 0 seldom changes."""
        if self._seen_global is None or self._seen_global[0] != block:
            self._seen_global = block, whiteboard.decode_global(block)
        return self._seen_global[1]

    def _learn(self, wanted: Collection[int], blocks: Mapping[int, bytes]) -> None:
        """Note what stands now in the slots ``wanted`` (and beside them, as it was read); none is empty."""
        now = self._clock()
        # a slot that was empty before our eyes and is not now has changed; in a new volume nobody can tell
        appeared = now if self._scanned_at is not None else None
        for number in [n for n in self._seen if n not in blocks and n in wanted]:
            del self._seen[number]
        for number, block in blocks.items():
            before = self._seen.get(number)
            if before is not None and before.block == block:
                continue
            slot = self._decode(number, block)
            if isinstance(slot, whiteboard.EmptySlot):
                self._seen.pop(number, None)
                continue
            first_seen_at = before.peer.first_seen_at if before is not None else now
            changed_at = now if before is not None else appeared
            self._seen[number] = _Seen(block, _peer(number, slot, first_seen_at, changed_at))

    def _worker_of(self, path: Path) -> Worker:
        """The thread for this volume: one that hangs on another volume must not stand in its way."""
        if path is not self._path and path != self._path:
            self._worker.close()
            self._worker = Worker(f"whiteboard {path}")
            self._path, self._scanned_at = path, None
        return self._worker

    async def _blocks(self, worker: Worker, path: Path, numbers: Iterable[int]) -> dict[int, bytes]:
        try:
            return await worker.call(
                _read, path, list(runs(numbers)), timeout_s=self._timeout_s, what=f"read of {path}"
            )
        except OSError as e:
            self._scanned_at = None  # what stands there next time may be another volume
            raise VolumeUnreadable(path, e.errno or 0, e.strerror or str(e)) from e
        except Stuck:
            self._scanned_at = None
            raise


def _read(path: Path, wanted: list[tuple[int, int]]) -> dict[int, bytes]:
    """The slots in ``wanted`` runs that do not begin with NUL, and slot 0. Blocks; raises ``OSError``."""
    blocks: dict[int, bytes] = {}
    with DirectFile(path) as volume:
        for first, count in wanted:
            data = volume.pread(count * SLOT_BYTES, first * SLOT_BYTES)
            for at in range(0, len(data), SLOT_BYTES):
                if data[at] or first + at == 0:
                    blocks[first + at // SLOT_BYTES] = data[at : at + SLOT_BYTES]
            if len(data) < count * SLOT_BYTES:
                break  # a short volume is fine: what is missing is empty
    if wanted[0][0] == 0 and len(blocks.get(0, b"")) < SLOT_BYTES:
        raise OSError(errno.ENODATA, "it is too short for its first slot: it is no whiteboard")
    return blocks


def _write(path: Path, number: int, block: bytes) -> None:
    """Blocks; raises ``OSError``, ``VolumeTooShort``."""
    with DirectWriter(path) as volume:
        size_bytes = volume.size()
        if size_bytes < (number + 1) * SLOT_BYTES:
            raise VolumeTooShort(path, size_bytes, number)
        volume.overwrite(block, number * SLOT_BYTES)


def _host_ids(numbers: Collection[int]) -> set[int]:
    return {number for number in numbers if 1 <= number <= MAX_HOST_ID}


def _peer(
    number: int,
    slot: whiteboard.BadSlot | whiteboard.HostSlot,
    first_seen_at: model.MonotonicMs,
    changed_at: model.MonotonicMs | None,
) -> snapshot.PeerSlot:
    place = f"slot {number} of the whiteboard (byte {number * SLOT_BYTES})"
    if isinstance(slot, whiteboard.BadSlot):
        return snapshot.PeerSlot(
            host_id=number,
            readable=False,
            problem=f"{place}: {slot.reason}",
            first_seen_at=first_seen_at,
            changed_at=changed_at,
        )
    # safety: whoever says of the VM what nobody understands must not count as saying "not here"
    claim = slot.claims_vm
    problem = f"{place}: its word on the engine VM is {slot.engine_status_text[:80]!r}"
    status = slot.engine_status
    return snapshot.PeerSlot(
        host_id=number,
        readable=claim is not None,
        claims_vm=claim is True,
        stopped=slot.stopped is True,
        local_maintenance=slot.local_maintenance,
        score=slot.score,
        host_name=slot.host_name,
        state=slot.state or "",
        vm_word=status.vm.value if status is not None else "",
        engine_health=status.health.value if status is not None and status.health is not None else "",
        engine_detail=status.detail or "" if status is not None else "",
        ours=slot.ours,
        others_first=slot.others_first,
        policy_hash=slot.policy_hash,
        engine_seen_ago_s=slot.engine_seen_ago_s,
        conf_on_shared_storage=slot.conf_on_shared_storage,
        figures=slot.figures,
        timestamp_s=slot.timestamp,
        problem=problem if claim is None else "",
        first_seen_at=first_seen_at,
        changed_at=changed_at,
    )


def runs(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    """(first, count) of neighbouring slots, small gaps included; ``numbers`` ascend."""
    first = last = -1
    for number in numbers:
        if first < 0:
            first = number
        elif number - last > NEAR or number - first >= MAX_RUN:
            yield first, last - first + 1
            first = number
        last = number
    if first >= 0:
        yield first, last - first + 1
