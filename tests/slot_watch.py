"""Every word that a host's slot of the whiteboard said during a test, and what must hold for all of them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from ovirt_he_agent.core import whiteboard
from ovirt_he_agent.core.whiteboard import HostSlot, VmWord
from tests.waiting import eventually

LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Word:
    """One content of the slot."""

    block: bytes
    at_s: float
    """When it was first seen, on ``time.monotonic``'s clock."""

    @property
    def slot(self) -> HostSlot:
        slot = whiteboard.decode_slot(1, self.block)
        assert isinstance(slot, HostSlot), slot
        return slot

    @property
    def state(self) -> str | None:
        return self.slot.state

    @property
    def vm(self) -> VmWord:
        status = self.slot.engine_status
        assert status is not None
        return status.vm

    def __str__(self) -> str:
        slot = self.slot
        return f"{slot.timestamp}|{slot.score}|{slot.engine_status_text} {slot.state}"


def read_slot(volume: Path, number: int) -> bytes:
    with volume.open("rb") as f:
        f.seek(number * whiteboard.SLOT_BYTES)
        return f.read(whiteboard.SLOT_BYTES)


class SlotWatch:
    """``words`` in their order; a look that finds the slot empty adds none."""

    def __init__(self, volume: Path, number: int, allowed: Callable[[], bool]) -> None:
        self._volume = volume
        self._number = number
        self._allowed = allowed
        self.words: list[Word] = []
        self.broken: list[str] = []

    @property
    def last(self) -> Word:
        return self.words[-1]

    async def until(self, good: Callable[[Word], object], *, within_s: float = 10.0) -> Word:
        """The newest word, once it is ``good``."""
        try:
            await eventually(lambda: bool(self.words) and good(self.last), within_s=within_s)
        except AssertionError:
            said = "\n".join(map(str, self.words[-8:]))
            raise AssertionError(f"not said within {within_s} s; last words:\n{said}") from None
        return self.last

    async def until_state(self, state: str, *, within_s: float = 10.0) -> Word:
        return await self.until(lambda word: word.state == state, within_s=within_s)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            block = read_slot(self._volume, self._number)
            if block[:1] != b"\0" and (not self.words or block != self.last.block):
                if not self._allowed():
                    self.broken.append("it was written without the host id held")
                self.words.append(Word(block, time.monotonic()))
            await asyncio.sleep(LOOK_S)

    def check(self) -> None:
        """What holds for every word, and from one to the next."""
        assert not self.broken, self.broken
        before = None
        for word in self.words:
            assert word.block.isascii()
            assert len(word.block) == whiteboard.SLOT_BYTES
            slot = word.slot
            assert slot.ours
            assert before is None or slot.timestamp > before, [str(w) for w in self.words]
            before = slot.timestamp


@contextlib.asynccontextmanager
async def watching(volume: Path, number: int, allowed: Callable[[], bool]) -> AsyncIterator[SlotWatch]:
    """``allowed``: whether the slot may be written; asked whenever a new word is seen."""
    watch = SlotWatch(volume, number, allowed)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watch.run())
        yield watch
        task.cancel()
    watch.check()
