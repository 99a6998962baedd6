"""The shared storage of a simulated cluster: whiteboard, the VM's volumes, and each host's way to them.

A write is on the disk a moment after it was asked for; a host that dies in that moment
leaves the first sectors of it, for only 512 bytes are atomic.
"""

import asyncio
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.adapters import volumes
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.core import model, whiteboard
from ovirt_he_agent.core.whiteboard import SLOT_BYTES
from ovirt_he_agent.errors import Retryable

SECTOR = 512
EMPTY = bytes(SLOT_BYTES)


@dataclass(eq=False)
class IoFailed(Retryable):
    msg: ClassVar[str] = "simulated storage: input/output error; it heals when the story lets it"


class SharedStorage:
    """What all hosts see once it is written."""

    def __init__(self) -> None:
        self.slots: dict[int, bytes] = {0: EMPTY}
        self.decode = functools.lru_cache(maxsize=256)(whiteboard.decode_slot)
        """Every host decodes the same bytes."""
        self.leaves: dict[str, bool] = {}
        """Volumes of the VM's disk; False: another one builds on it."""
        self.before = EMPTY
        """What stood where was written last."""
        self.written: Callable[[int | None, int, bytes], None] = lambda writer, number, block: None
        """Told of every write: by the host of which number (None: by the story), which slot, what."""
        self.asked: Callable[[int, int, bytes], None] = lambda writer, number, block: None
        """Told when a host of ours asks for a write: on storage that hangs it is done much later."""

    def write(self, writer: int | None, number: int, block: bytes) -> None:
        self.before = self.slots.get(number, EMPTY)
        self.slots[number] = block
        self.written(writer, number, block)

    def write_torn(self, number: int, block: bytes, sectors: int) -> None:
        old = self.slots.get(number, EMPTY)
        torn = block[: sectors * SECTOR] + old[sectors * SECTOR :]
        self.slots[number] = torn


@dataclass
class Way:
    """A host's way to the shared storage: whole, failing, hanging, slow, or read-only."""

    up: bool = True
    hangs: bool = False
    """I/O does not fail but does not come back."""
    read_only: bool = False
    latency_s: float = 0.0
    write_s: float = 0.002
    healed_ms: int = 0
    healed: asyncio.Event = field(default_factory=asyncio.Event)

    def works(self) -> bool:
        return self.up and not self.hangs

    def is_whole(self) -> bool:
        """``io`` would return at once."""
        return self.up and not self.hangs and not self.latency_s

    async def io(self) -> None:
        """One read, or the way of a write. Raises ``IoFailed``; while it hangs it does not come back."""
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        while self.hangs:
            self.healed.clear()
            await self.healed.wait()
        if not self.up:
            raise IoFailed


class SimWhiteboard(volumes.Whiteboard):
    """The real reader and writer of the whiteboard, with the simulated storage instead of a volume."""

    def __init__(
        self,
        storage: SharedStorage,
        way: Way,
        writer: int,
        *,
        clock: Callable[[], model.MonotonicMs],
        timeout_s: float,
    ) -> None:
        super().__init__(clock=clock, timeout_s=timeout_s, decode=storage.decode)
        self._storage = storage
        self._way = way
        self._writer = writer
        self._limit_s = timeout_s
        self._in_flight: tuple[int, bytes] | None = None

    def tear(self, sectors: int) -> None:
        """The host dies: of a write that is under way so many sectors come to the disk."""
        if self._in_flight is not None:
            self._storage.write_torn(*self._in_flight, sectors)

    async def _blocks(self, worker: Worker, path: Path, numbers: Iterable[int]) -> dict[int, bytes]:
        if not self._way.is_whole():
            await self._io(path, volumes.VolumeUnreadable)
        slots = self._storage.slots
        if isinstance(numbers, range):  # all of them
            numbers = sorted(slots)
        return {n: block for n in numbers if (block := slots.get(n)) is not None and (block[0] or n == 0)}

    async def _write(self, path: Path, number: int, block: bytes) -> None:
        way = self._way
        self._storage.asked(self._writer, number, block)
        if way.read_only:
            raise volumes.VolumeUnwritable(path, 30, "read-only file system")
        if not way.is_whole():
            await self._io(path, volumes.VolumeUnwritable)
        self._in_flight = number, block
        try:
            await asyncio.sleep(way.write_s)
        finally:
            self._in_flight = None
        if not way.works():
            raise volumes.VolumeUnwritable(path, 5, "Input/output error")
        self._storage.write(self._writer, number, block)

    async def _io(self, path: Path, failed: type[volumes.VolumeFailed]) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                await self._way.io()
        except TimeoutError:
            self._scanned_at = None
            raise failed(path, 110, "it does not come back") from None
        except IoFailed as e:
            self._scanned_at = None
            raise failed(path, 5, "Input/output error") from e
