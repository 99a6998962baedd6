"""The OVF_STOREs of a storage domain: which of its volumes they are, and what is said of each."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ovirt_he_agent.adapters.ovfstore import failures
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import Retryable
from ovirt_he_agent.ovf import description

RESCAN_MS = 300_000
"""How long the list of the domain's stores is trusted."""
CONCURRENT_CALLS = 4


class VolumeCatalog(Protocol):
    """What VDSM knows of volumes. Every method raises subclasses of ``errors.Retryable``."""

    async def image_ids(self, domain_id: str) -> tuple[str, ...]: ...

    async def volume_ids(self, domain_id: str, image_id: str) -> tuple[str, ...]: ...

    async def volume_info(self, domain_id: str, image_id: str, volume_id: str) -> model.VolumeInfo: ...

    async def prepare_image(self, domain_id: str, image_id: str, volume_id: str) -> Path:
        """Make the volume readable on this host; where it is then."""
        ...


@dataclass(frozen=True, slots=True)
class Store:
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


class Listing:
    """Which stores there are; their descriptions are asked for each time, the list only now and then."""

    def __init__(
        self, catalog: VolumeCatalog, domain_id: str, clock: Callable[[], model.MonotonicMs]
    ) -> None:
        self._catalog = catalog
        self._domain_id = domain_id
        self._clock = clock
        self._scanned_ms: model.MonotonicMs | None = None
        self.foreign: tuple[failures.Candidate, ...] = ()
        """Stores of the last scan that are out of the question."""

    def is_young(self) -> bool:
        return self._scanned_ms is not None and self._clock() - self._scanned_ms < RESCAN_MS

    async def stores(self, known: Sequence[Store]) -> list[Store]:
        """The domain's stores, best first: those ``known`` from a young list, or all that a scan finds.

        Raises ``NoStore``, and what the catalog raises.
        """
        if known and self.is_young():
            try:
                again = [await self.described(store) for store in known]
            except Retryable:
                again = [None]  # the scan says what is wrong
            if None not in again:
                return _ordered(store for store in again if store is not None)
        return await self._scan()

    async def described(self, store: Store) -> Store | None:
        """The store with its description of now; None: it is no store of this domain any more."""
        info = await self._catalog.volume_info(self._domain_id, store.image_id, store.volume_id)
        now = description.parse(info.description)
        if now is None or self._domain_id not in now.domain_ids or now.last_updated is None:
            return None
        return Store(store.image_id, store.volume_id, now)

    async def prepare(self, store: Store) -> Path:
        """Where it is on this host."""
        return await self._catalog.prepare_image(self._domain_id, store.image_id, store.volume_id)

    async def _scan(self) -> list[Store]:
        """Of all the domain's volumes; notes those that say they are stores and are none of this domain."""
        self._scanned_ms = self._clock()
        infos, unanswered = await self._infos()
        stores: list[Store] = []
        verdicts: list[failures.Candidate] = []
        for info in infos:
            described = description.parse(info.description)
            if described is None:
                continue
            store = Store(info.image_id, info.volume_id, described)
            if self._domain_id not in described.domain_ids:
                owners = ", ".join(described.domain_ids) or "no storage domain"
                verdicts.append(store.candidate(f"not this domain's, but of {owners}"))
            elif described.last_updated is None:
                verdicts.append(store.candidate("never written"))
            else:
                stores.append(store)
        self.foreign = tuple(verdicts)
        if not stores:
            raise failures.NoStore(self._domain_id, len(infos), tuple(verdicts), tuple(unanswered))
        return _ordered(stores)

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


def _ordered(stores: Iterable[Store]) -> list[Store]:
    return sorted(stores, key=lambda store: (*store.description.preference, store.volume_id))
