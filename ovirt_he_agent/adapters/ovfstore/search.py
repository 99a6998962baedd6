"""The OVF_STORE of a storage domain: which volume is the current one, and the VM's document in it.

Found through VDSM's verbs, read past the page cache, because another host
writes it. Two stores are kept by the engine and written one after the other;
while one is written, and after a failed update, it is torn. So: every store of
the domain is a candidate, the newest good one counts, and what was wrong with
each other one is told. Only as much is read as is needed: up to the wanted
entry, and one small block of each store per check while nothing changes. The
engine writes the older store first: a new definition appears there.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovirt_he_agent import directio
from ovirt_he_agent.adapters.ovfstore import failures, one_store
from ovirt_he_agent.adapters.ovfstore.listing import Listing, Store, VolumeCatalog
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import Retryable
from ovirt_he_agent.ovf import stored

SETTLE_MS = 10_000
"""An equal second full read at least this much later makes a fingerprint trustworthy: an update
caught midway shows a new first block and old entries. Until then every check reads in full."""
READ_TIMEOUT_S = 60.0
"""Limit of one read up to the wanted entry; a disk that takes longer is left to its thread."""
FINGERPRINT_TIMEOUT_S = 10.0
OTHERS_TIMEOUT_S = 3.0
"""The store that counts does not wait longer for the first block of the others."""
ATTEMPTS = 3
"""How often a check begins anew when a store is updated while it reads."""


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
    read_ms: model.MonotonicMs
    """When the document was read in full."""
    checked_ms: model.MonotonicMs
    """When the store was last seen to hold it."""
    settled: bool
    """Read twice, ``SETTLE_MS`` apart, with the same result, and so were the first blocks of the others."""
    changed: bool
    """The document is not the one of the check before (the first one is a change)."""
    candidates: tuple[failures.Candidate, ...]
    """Every store of the last scan with its verdict, the taken one too."""
    damaged: tuple[str, ...]
    """One text for each store that should have been better than this one and could not be used."""


@dataclass(frozen=True, slots=True)
class _Watched:
    """A store's first block. ``fingerprint`` None: it could not be read."""

    store: Store
    path: Path | None
    fingerprint: stored.Fingerprint | None


@dataclass(frozen=True, slots=True)
class _Found:
    """What a search has come to."""

    stores: list[Store]
    store: Store
    path: Path
    content: stored.Content
    others: "dict[str, _Watched]"
    verdicts: tuple[failures.Candidate, ...]
    damaged: tuple[str, ...]


@dataclass(slots=True)
class _Taken:
    """The store that counts, and out of which ones it was taken; only ``reading`` is renewed."""

    stores: list[Store]
    store: Store
    content: stored.Content
    others: "dict[str, _Watched]"
    """The stores that do not count, by volume: one that is written again becomes the newer one."""
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
        self._listing = Listing(catalog, domain_id, clock)
        self._domain_id = domain_id
        self._vm_id = vm_id.lower()
        self._clock = clock
        self._open_volume = open_volume
        self._read_timeout_s = read_timeout_s
        self._workers: dict[str, Worker] = {}
        self._taken: _Taken | None = None
        self._document: bytes | None = None

    def close(self) -> None:
        """Let the reading threads end; does not wait for them."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    async def check(self) -> StoreReading:
        """The current document; one small read of each store if none has changed.

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
        return before.reading.settled and self._listing.is_young()

    async def _is_unchanged(self, before: _Taken) -> bool:
        """By one small read of each store; those that were being written are asked for their description."""
        async with asyncio.TaskGroup() as group:
            taken = group.create_task(self._fingerprint(before.store, before.reading.path))
            others = [group.create_task(self._is_as_watched(other)) for other in before.others.values()]
        return taken.result() == before.content.fingerprint and all(other.result() for other in others)

    async def _is_as_watched(self, other: _Watched) -> bool:
        if other.path is not None:
            now = await self._fingerprint(other.store, other.path, OTHERS_TIMEOUT_S)
            if now != other.fingerprint:
                return False
        if other.store.description.updated:
            return True
        try:
            return await self._listing.described(other.store) == other.store
        except Retryable:
            return True  # the next scan tells

    async def _fingerprint(
        self, store: Store, path: Path, timeout_s: float = FINGERPRINT_TIMEOUT_S
    ) -> stored.Fingerprint | None:
        """One small read; None if it fails: the search that follows a change says what is wrong."""
        try:
            return await self._worker(store.volume_id).call(
                lambda: one_store.fingerprint(path, open_volume=self._open_volume),
                timeout_s=timeout_s,
                what="read of the first block",
            )
        except (OSError, Retryable):
            return None

    async def _watch(self, store: Store) -> _Watched:
        try:
            path = await self._listing.prepare(store)
        except Retryable:
            return _Watched(store, None, None)
        return _Watched(store, path, await self._fingerprint(store, path, OTHERS_TIMEOUT_S))

    async def _still_holds(self, before: _Taken) -> bool:
        """After a scan without news: the settled store is where it was, and as it was."""
        if not before.reading.settled:
            return False
        try:
            path = await self._listing.prepare(before.store)
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
        began = self._clock()
        stores = await self._listing.stores(before.stores if before is not None else [])
        verdicts = list(self._listing.foreign)
        if before is not None and before.stores == stores and await self._still_holds(before):
            return self._confirmed(before)
        good: list[tuple[Store, Path, stored.Content]] = []
        broken: list[Retryable] = []
        damaged: list[str] = []
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
                verdict = e.reason if isinstance(e, failures.StoreError) else str(e)
                damaged.append(f"volume {store.volume_id}: {verdict}")
                verdicts.append(store.candidate(verdict))
        if not good:
            raise (
                broken[0]
                if len(broken) == 1
                else failures.NoGoodStore(self._domain_id, self._vm_id, tuple(verdicts), _remedies(broken))
            )
        best, path, found = max(good, key=lambda read: read[2].identity.newness)
        for store, _, its_content in good:
            verdict = "taken" if store is best else "good, but not newer than the one taken"
            verdicts.append(store.candidate(f"{verdict} (generation {its_content.identity.generation})"))
        others = {store.volume_id: await self._watch(store) for store in stores if store is not best}
        what = _Found(stores, best, path, found, others, tuple(verdicts), tuple(damaged))
        return self._take(what, before, began)

    async def _read(self, store: Store) -> tuple[Path, stored.Content]:
        path = await self._listing.prepare(store)
        content = await self._worker(store.volume_id).call(
            lambda: one_store.read(
                path, self._vm_id, store.description.size_bytes, open_volume=self._open_volume
            ),
            timeout_s=self._read_timeout_s,
            what=f"read of {path}",
        )
        if await self._listing.described(store) != store:
            raise failures.StoreChanging(store.volume_id)
        return path, content

    def _take(self, found: _Found, before: _Taken | None, began: model.MonotonicMs) -> _Taken:
        now = self._clock()
        store, content = found.store, found.content
        first_read_ms = now
        if before is not None and (before.stores, before.store, before.content, before.others) == (
            found.stores,
            store,
            content,
            found.others,
        ):
            first_read_ms = before.first_read_ms
        reading = StoreReading(
            domain_id=self._domain_id,
            image_id=store.image_id,
            volume_id=store.volume_id,
            path=found.path,
            updated=store.description.updated,
            last_updated=store.description.last_updated,
            document=content.data,
            generation=content.identity.generation,
            export_date=content.identity.export_date,
            read_ms=now,
            checked_ms=now,
            settled=store.description.updated and began - first_read_ms >= SETTLE_MS,
            changed=content.data != self._document,
            candidates=found.verdicts,
            damaged=found.damaged,
        )
        return _Taken(found.stores, store, content, found.others, first_read_ms, reading)


def _remedies(broken: Sequence[Retryable]) -> tuple[str, ...]:
    """Without the advice to read the other store: that was done."""
    texts = (
        e.remedy
        if isinstance(e, failures.EntryMissing | failures.StoreUnreadable)
        else "a running engine writes its OVF_STOREs again within the hour"
        for e in broken
    )
    return tuple(dict.fromkeys(texts))
