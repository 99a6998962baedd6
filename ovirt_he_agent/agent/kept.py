"""What is kept of definitions, in memory, and on disk as far as the disk lets us.

Memory is what rules are applied to; writing follows, and is tried again until it
is done. A disk that is full, read-only or hangs costs nobody but the history.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ovirt_he_agent.agent import ports
from ovirt_he_agent.core.definitions import choice, file
from ovirt_he_agent.core.definitions.record import Record, Request, Standing
from ovirt_he_agent.errors import BadInput


@dataclass(eq=False)
class Skipped(BadInput):
    """Files that are not good."""

    files: tuple[str, ...]
    msg: ClassVar[str] = "{self.text}"

    @property
    def text(self) -> str:
        return "; ".join(self.files)


class Kept:
    """Owned by ``Definitions``; changed from the event loop's thread only."""

    def __init__(self, history: ports.History) -> None:
        self._history = history
        self.is_read = False
        self.records: dict[str, Record] = {}
        self.standing = Standing()
        self._written: dict[int, Record] = {}
        self._standing_written = Standing()
        self._skipped: tuple[str, ...] = ()
        self._bad_request: str | None = None
        self._told = False
        self._dropped: str | None = None
        self._highest = 0
        self._writing = asyncio.Lock()

    def next_number(self) -> int:
        return max(self._highest, *(record.number for record in self.records.values()), 0) + 1

    async def read(self) -> None:
        """What an earlier process kept; what came since comes after it. Raises what the history raises."""
        found = await self._history.read()
        self._highest = found.highest
        mine, self.records = self.records, {record.sha256: record for record in found.records}
        for new in sorted(mine.values(), key=lambda r: r.number):
            old = self.records.get(new.sha256)
            self.records[new.sha256] = (
                replace(new, number=self.next_number())
                if old is None
                else replace(
                    old,
                    facts=new.facts,
                    domain_xml=new.domain_xml,
                    made=new.made,
                    made_because=new.made_because,
                    warnings=new.warnings,
                )
            )
        was = self.standing
        self.standing = Standing(
            head=found.standing.head or choice.newest(found.records) or was.head,
            life=was.life or found.standing.life,
            request_id=found.standing.request_id,
        )
        self._written = {record.number: record for record in found.records}
        self._standing_written = found.standing
        self._skipped = found.skipped
        self.is_read = True

    async def look_for_lost(self) -> None:
        """What somebody removed is written again, for memory still has it. Raises what the history raises."""
        there = await self._history.there()
        self._written = {number: old for number, old in self._written.items() if number in there.numbers}
        if not there.standing:
            self._standing_written = Standing()

    def put(self, record: Record) -> None:
        self.records[record.sha256] = record

    def prune(self, needed: set[str]) -> None:
        """Drop what is too old."""
        for record in choice.superfluous(tuple(self.records.values()), needed):
            del self.records[record.sha256]

    @property
    def is_written(self) -> bool:
        return not self._unwritten() and file.as_read_again(self.standing) == self._standing_written

    def _unwritten(self) -> Mapping[int, Record]:
        return {r.number: r for r in self.records.values() if self._written.get(r.number) != r}

    async def write(self) -> None:
        """Bring the disk to what memory holds; nothing before it was read. Raises what the history raises."""
        if not self.is_read:
            return
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        for number, record in self._unwritten().items():
            await self._history.write_record(record)
            self._written[number] = record
        standing = file.as_read_again(self.standing)
        if standing != self._standing_written:
            await self._history.write_standing(standing)
            self._standing_written = standing
        await self._drop_request_that_is_over()
        for number in self._written.keys() - {r.number for r in self.records.values()}:
            await self._history.remove(number)  # last: until then nothing that is named is missing
            del self._written[number]

    async def _drop_request_that_is_over(self) -> None:
        """safety: if the standing is lost one day, a request of long ago must not be heard again."""
        standing = self.standing
        over = None if standing.head is not None and standing.head.asked else standing.request_id
        if over is not None and over != self._dropped:
            await self._history.drop_request(over)
            self._dropped = over

    async def new_request(self) -> Request | None:
        """An operator's request that was not taken into account yet. Raises what the history raises."""
        request, self._bad_request = await self._history.new_request()
        if request is None or request.id == self.standing.request_id:
            return None
        return request

    async def check(self) -> None:
        """Raises ``Skipped`` for files that are passed over, at least once, and until they are mended."""
        if self._skipped and self._told:
            self._skipped = (await self._history.read()).skipped
        self._told = True
        problems = (*self._skipped, *((self._bad_request,) if self._bad_request else ()))
        if problems:
            raise Skipped(problems)
