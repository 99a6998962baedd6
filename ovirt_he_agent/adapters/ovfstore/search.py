"""The OVF_STORE of a storage domain: which volume is the current one, and the VM's document in it.

Found through VDSM's verbs, read past the page cache, because another host
writes it. Two stores are kept by the engine and written one after the other;
while one is written, and after a failed update, it is torn. So: every store of
the domain is a candidate, the newest good one counts, and what was wrong with
each other one is told. Only as much is read as is needed: up to the wanted
entry, and one small block per check while nothing changes.
"""

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ovirt_he_agent import directio
from ovirt_he_agent.adapters.ovfstore import failures, one_store
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import Retryable
from ovirt_he_agent.ovf import description, stored

RESCAN_MS = 300_000
"""How long the list of stores and their descriptions is trusted while the store does not change."""
SETTLE_MS = 10_000
"""An equal second full read at least this much later makes a fingerprint trustworthy: an update
caught midway shows a new first block and old entries."""
READ_TIMEOUT_S = 60.0
"""Limit of one read up to the wanted entry; a disk that takes longer is left to its thread."""
FINGERPRINT_TIMEOUT_S = 10.0
ATTEMPTS = 3
"""How often a check begins anew when a store is updated while it reads."""
CONCURRENT_CALLS = 4


class VolumeCatalog(Protocol):
    """What VDSM knows of volumes. Every method raises subclasses of ``errors.Retryable``."""

    async def image_ids(self, domain_id: str) -> tuple[str, ...]: ...

    async def volume_ids(self, domain_id: str, image_id: str) -> tuple[str, ...]: ...

    async def volume_info(self, domain_id: str, image_id: str, volume_id: str) -> model.VolumeInfo: ...

    async def prepare_image(self, domain_id: str, image_id: str, volume_id: str) -> Path:
        """Make the volume readable on this host; where it is then."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReading:
    """The VM's document, and where and when it was read."""

    domain_id: str
    image_id: str
    volume_id: str
    path: Path
    updated: bool
    """False: the last update of this store failed or runs; taken only for want of a better one."""
    last_updated: str | None
    document: bytes
    generation: int | None
    export_date: str | None
    older_than: int | None
    """The highest generation seen before, if this one is lower; None if it is not."""
    read_ms: model.MonotonicMs
    """When the document was read in full."""
    checked_ms: model.MonotonicMs
    """When the store was last seen to hold it."""
    settled: bool
    """Read twice, ``SETTLE_MS`` apart, with the same result."""
    changed: bool
    """The document is not the one of the check before (the first one is a change)."""
    candidates: tuple[failures.Candidate, ...]
    """Every store of the last scan with its verdict, the taken one too."""


@dataclass(frozen=True, slots=True)
class _Store:
    """A store of this domain as a scan saw it; equal means that its description is unchanged."""

    image_id: str
    volume_id: str
    description: description.StoreDescription

    def candidate(self, verdict: str) -> failures.Candidate:
        return failures.Candidate(
            image_id=self.image_id,
            volume_id=self.volume_id,
            updated=self.description.updated,
            last_updated=self.description.last_updated,
            verdict=verdict,
        )


@dataclass(slots=True)
class _Taken:
    """The store that counts, and out of which ones it was taken; only ``reading`` is renewed."""

    stores: list[_Store]
    store: _Store
    content: stored.Content
    first_read_ms: model.MonotonicMs
    reading: StoreReading


class OvfStore:
    """Checks one VM's document in one storage domain; one check at a time, by one owner."""

    def __init__(
        self,
        catalog: VolumeCatalog,
        *,
        domain_id: str,
        vm_id: str,
        clock: Callable[[], model.MonotonicMs],
        open_volume: one_store.OpenVolume = directio.DirectFile,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._catalog = catalog
        self._domain_id = domain_id
        self._vm_id = vm_id.lower()
        self._clock = clock
        self._open_volume = open_volume
        self._read_timeout_s = read_timeout_s
        self._workers: dict[str, Worker] = {}
        self._taken: _Taken | None = None
        self._scanned_ms = model.MonotonicMs(0)
        self._document: bytes | None = None
        self._highest: int | None = None

    def close(self) -> None:
        """Let the reading threads end; does not wait for them."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    async def check(self) -> StoreReading:
        """The current document; one small read if the store has not changed.

        Raises ``NoStore``, ``NoGoodStore``, ``StoreChanging``, the ``StoreError`` of
        the only store, or what the catalog raises. After an error all is looked at anew.
        """
        before, self._taken = self._taken, None  # forgotten unless this check succeeds
        if before is not None and self._may_be_brief(before) and await self._is_unchanged(before):
            self._taken = self._confirmed(before)
        else:
            self._taken = await self._search(before)
        self._document = self._taken.content.data
        return self._taken.reading

    def _may_be_brief(self, before: _Taken) -> bool:
        now = self._clock()
        if now - self._scanned_ms >= RESCAN_MS:
            return False
        return before.reading.settled or now - before.first_read_ms < SETTLE_MS

    async def _is_unchanged(self, before: _Taken) -> bool:
        """One small read; a failing one is a change, the search that follows says what is wrong."""
        try:
            seen = await self._worker(before.store.volume_id).call(
                lambda: one_store.fingerprint(before.reading.path, open_volume=self._open_volume),
                timeout_s=FINGERPRINT_TIMEOUT_S,
                what="read of the first block",
            )
        except (OSError, Retryable):
            return False
        return seen == before.content.fingerprint

    async def _still_holds(self, before: _Taken) -> bool:
        """After a scan without news: the settled store is where it was, and as it was."""
        if not before.reading.settled:
            return False
        try:
            path = await self._prepare(before.store)
        except Retryable:
            return False  # the search goes on with all stores and says why this one is out
        return path == before.reading.path and await self._is_unchanged(before)

    def _confirmed(self, before: _Taken) -> _Taken:
        before.reading = dataclasses.replace(before.reading, checked_ms=self._clock(), changed=False)
        return before

    def _worker(self, volume_id: str) -> Worker:
        if volume_id not in self._workers:
            self._workers[volume_id] = Worker(f"OVF_STORE {volume_id}")
        return self._workers[volume_id]

    async def _search(self, before: _Taken | None) -> _Taken:
        """As ``_search_once``, again when a store was updated meanwhile."""
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._search_once(before)
            except failures.StoreChanging:
                continue
        return await self._search_once(before)

    async def _search_once(self, before: _Taken | None) -> _Taken:
        stores, verdicts = await self._scan()
        if before is not None and before.stores == stores and await self._still_holds(before):
            return self._confirmed(before)
        good: list[tuple[_Store, Path, stored.Content]] = []
        broken: list[Retryable] = []
        for store in stores:
            if good and not store.description.rivals(good[0][0].description):
                verdicts.append(store.candidate("not read: a better one is good"))
                continue
            try:
                good.append((store, *await self._read(store)))
            except failures.StoreChanging:
                raise
            except Retryable as e:
                broken.append(e)
                verdicts.append(store.candidate(str(e)))
        if not good:
            raise (
                broken[0]
                if len(broken) == 1
                else failures.NoGoodStore(self._domain_id, self._vm_id, tuple(verdicts))
            )
        best, path, found = max(good, key=lambda read: read[2].identity.newness)
        for store, _, its_content in good:
            verdict = "taken" if store is best else "good, but not newer than the one taken"
            verdicts.append(store.candidate(f"{verdict} (generation {its_content.identity.generation})"))
        return self._take(stores, best, path, found, tuple(verdicts), before)

    async def _scan(self) -> tuple[list[_Store], list[failures.Candidate]]:
        """The stores of this domain, best first, and verdicts on others; raises ``NoStore``."""
        self._scanned_ms = self._clock()
        infos, unanswered = await self._infos()
        stores: list[_Store] = []
        verdicts: list[failures.Candidate] = []
        for info in infos:
            described = description.parse(info.description)
            if described is None:
                continue
            store = _Store(info.image_id, info.volume_id, described)
            if self._domain_id not in described.domain_ids:
                owners = ", ".join(described.domain_ids) or "no storage domain"
                verdicts.append(store.candidate(f"not this domain's, but of {owners}"))
            elif described.last_updated is None:
                verdicts.append(store.candidate("never written"))
            else:
                stores.append(store)
        stores.sort(key=lambda store: (*store.description.preference, store.volume_id))
        if not stores:
            raise failures.NoStore(self._domain_id, len(infos), tuple(verdicts), tuple(unanswered))
        return stores, verdicts

    async def _infos(self) -> tuple[list[model.VolumeInfo], list[Retryable]]:
        """Of every volume that VDSM can tell about, and its errors; raises if it can tell about none."""
        infos: list[model.VolumeInfo] = []
        unanswered: list[Retryable] = []
        turn = asyncio.Semaphore(CONCURRENT_CALLS)

        async def ask(image_id: str) -> None:
            async with turn:
                try:
                    for volume_id in await self._catalog.volume_ids(self._domain_id, image_id):
                        infos.append(await self._catalog.volume_info(self._domain_id, image_id, volume_id))
                except Retryable as e:  # a volume that was removed meanwhile must not hide the others
                    unanswered.append(e)

        image_ids = await self._catalog.image_ids(self._domain_id)
        async with asyncio.TaskGroup() as group:
            for image_id in image_ids:
                group.create_task(ask(image_id))
        if unanswered and not infos:
            raise unanswered[0]
        return infos, unanswered

    async def _prepare(self, store: _Store) -> Path:
        return await self._catalog.prepare_image(self._domain_id, store.image_id, store.volume_id)

    async def _read(self, store: _Store) -> tuple[Path, stored.Content]:
        path = await self._prepare(store)
        content = await self._worker(store.volume_id).call(
            lambda: one_store.read(
                path, self._vm_id, store.description.size_bytes, open_volume=self._open_volume
            ),
            timeout_s=self._read_timeout_s,
            what=f"read of {path}",
        )
        after = await self._catalog.volume_info(self._domain_id, store.image_id, store.volume_id)
        if description.parse(after.description) != store.description:
            raise failures.StoreChanging(store.volume_id)
        return path, content

    def _take(
        self,
        stores: list[_Store],
        store: _Store,
        path: Path,
        content: stored.Content,
        verdicts: tuple[failures.Candidate, ...],
        before: _Taken | None,
    ) -> _Taken:
        now = self._clock()
        first_read_ms = now
        if before is not None and before.store == store and before.content == content:
            first_read_ms = before.first_read_ms
        generation, highest = content.identity.generation, self._highest
        older = generation is not None and highest is not None and generation < highest
        if generation is not None and not older:
            self._highest = generation
        reading = StoreReading(
            domain_id=self._domain_id,
            image_id=store.image_id,
            volume_id=store.volume_id,
            path=path,
            updated=store.description.updated,
            last_updated=store.description.last_updated,
            document=content.data,
            generation=generation,
            export_date=content.identity.export_date,
            older_than=highest if older else None,
            read_ms=now,
            checked_ms=now,
            settled=store.description.updated and now - first_read_ms >= SETTLE_MS,
            changed=content.data != self._document,
            candidates=verdicts,
        )
        return _Taken(stores, store, content, first_read_ms, reading)
