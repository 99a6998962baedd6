"""Which OVF_STORE counts and what is read of it, on real files past the page cache.

The catalog is a directory that stands for what VDSM tells: one folder per
image, in it the volume, and its description beside it.
"""

import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from ovirt_he_agent import directio
from ovirt_he_agent.adapters.ovfstore import failures, listing, one_store, search
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import Retryable
from tests import golden_ovf
from tests.golden_ovf import DOMAIN, S02, S02_VM
from tests.waiting import eventually

pytestmark = pytest.mark.real("direct-io")

OTHER_DOMAIN = "6e91ed96-c20b-4552-89d9-159597ea520d"
DAY = {"old": "Thu Jan 14 15:44:59 UTC 2021", "new": "Fri Jan 15 16:45:00 UTC 2021"}


@dataclass(eq=False)
class VdsmAway(Retryable):
    msg: ClassVar[str] = "VDSM does not answer"


def described(
    *, updated: bool = True, last: str | None = DAY["new"], domain: str = DOMAIN, size: int | None = None
) -> str:
    fields: dict[str, object] = {"Updated": updated}
    if size is not None:
        fields["Size"] = size
    fields |= {"Last Updated": last, "Storage Domains": [{"uuid": domain}], "Disk Description": "OVF_STORE"}
    return json.dumps(fields, separators=(",", ":"))


class DirectoryCatalog:
    """The port, on a directory; ``calls`` counts what was asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.away = False
        self.prepared_at: dict[str, Path] = {}
        self.unprepared: set[str] = set()
        self.when_asked: Callable[[str], None] = lambda volume_id: None

    def put(self, volume_id: str, content: bytes, description: str) -> Path:
        folder = self.root / f"image-of-{volume_id}"
        folder.mkdir(exist_ok=True)
        (folder / volume_id).write_bytes(content)
        (folder / "description").write_text(description)
        return folder / volume_id

    def _ask(self, verb: str) -> None:
        self.calls.append(verb)
        if self.away:
            raise VdsmAway

    async def image_ids(self, domain_id: str) -> tuple[str, ...]:
        self._ask("image_ids")
        return tuple(sorted(folder.name for folder in self.root.iterdir()))

    async def volume_ids(self, domain_id: str, image_id: str) -> tuple[str, ...]:
        self._ask("volume_ids")
        return tuple(file.name for file in (self.root / image_id).iterdir() if file.name != "description")

    async def volume_info(self, domain_id: str, image_id: str, volume_id: str) -> model.VolumeInfo:
        self._ask("volume_info")
        self.when_asked(volume_id)
        return model.VolumeInfo(
            domain_id=domain_id,
            image_id=image_id,
            volume_id=volume_id,
            is_leaf=True,
            description=(self.root / image_id / "description").read_text(),
            disk_type="OVFS",
            apparent_size_bytes=None,
            lease=None,
        )

    async def prepare_image(self, domain_id: str, image_id: str, volume_id: str) -> Path:
        self._ask("prepare_image")
        if volume_id in self.unprepared:
            raise VdsmAway
        return self.prepared_at.get(volume_id, self.root / image_id / volume_id)


class CountedFile(directio.DirectFile):
    """Notes every read of the process's stores."""

    reads: ClassVar[list[tuple[str, int, int]]] = []

    def _fill(self, buffer: memoryview, length: int, offset: int) -> memoryview:
        CountedFile.reads.append((self.path.name, offset, length))
        return super()._fill(buffer, length, offset)


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> model.MonotonicMs:
        return model.MonotonicMs(self.ms)


@pytest.fixture
def catalog(tmp_path: Path) -> DirectoryCatalog:
    root = tmp_path / "images"
    root.mkdir()
    CountedFile.reads.clear()
    return DirectoryCatalog(root)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(catalog: DirectoryCatalog, clock: Clock) -> AsyncIterator[search.OvfStore]:
    store = search.OvfStore(catalog, domain_id=DOMAIN, vm_id=S02_VM, clock=clock, open_volume=CountedFile)
    yield store
    store.close()


def document(generation: int = 12, *, exported: str = "2018/05/19 04:31:00") -> bytes:
    return golden_ovf.altered(
        S02,
        ("<Generation>12<", f"<Generation>{generation}<"),
        ("<ExportDate>2018/05/19 04:31:00<", f"<ExportDate>{exported}<"),
    )


def archive(engine_vm: bytes | None, *, mtime: int = 1_610_727_900, others: int = 3) -> bytes:
    entries = {"info.json": json.dumps({"Last Updated": mtime}).encode()}
    for number in range(others):
        vm_id = f"{number:08d}-0000-4000-8000-000000000000"
        entries[f"{vm_id}.ovf"] = golden_ovf.data(S02).replace(S02_VM.encode(), vm_id.encode())
    if engine_vm is not None:
        entries[f"{S02_VM}.ovf"] = engine_vm
    return golden_ovf.tar(entries, mtime=mtime)


def on_block_storage(content: bytes) -> bytes:
    """The archive at the start of a volume whose rest is an older archive's."""
    stale = archive(document(1))
    return content + stale + bytes(-(len(content) + len(stale)) % 4096)


def verdicts(reading: search.StoreReading | failures.NoGoodStore | failures.NoStore) -> dict[str, str]:
    return {candidate.volume_id: candidate.verdict for candidate in reading.candidates}


# Which one


async def test_only_store_is_read_past_the_page_cache(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    path = catalog.put("vol-a", on_block_storage(archive(document())), described())
    with CountedFile(path) as volume:
        assert volume.direct
    reading = await store.check()
    assert reading.document == document()
    assert (reading.volume_id, reading.path) == ("vol-a", path)
    assert (reading.generation, reading.export_date) == (12, "2018/05/19 04:31:00")
    assert (reading.updated, reading.last_updated) == (True, DAY["new"])
    assert (reading.changed, reading.settled) == (True, False)
    assert (reading.read_ms, reading.checked_ms) == (clock.ms, clock.ms)
    assert verdicts(reading) == {"vol-a": "taken (generation 12)"}


async def test_newer_of_two_stores_is_taken_wherever_it_is_listed(
    catalog: DirectoryCatalog, clock: Clock
) -> None:
    for new, old in (("vol-a", "vol-b"), ("vol-b", "vol-a")):
        catalog.put(new, archive(document(13)), described(last=DAY["new"]))
        catalog.put(old, archive(document(12)), described(last=DAY["old"]))
        store = search.OvfStore(catalog, domain_id=DOMAIN, vm_id=S02_VM, clock=clock)
        reading = await store.check()
        store.close()
        assert (reading.volume_id, reading.generation) == (new, 13)
        assert verdicts(reading)[old] == "not read: a better one is good"


async def test_store_being_written_is_passed_over(catalog: DirectoryCatalog, store: search.OvfStore) -> None:
    catalog.put("vol-a", archive(document(13)), described(updated=False, last=DAY["new"]))
    catalog.put("vol-b", archive(document(12)), described(last=DAY["old"]))
    reading = await store.check()
    assert (reading.volume_id, reading.updated) == ("vol-b", True)


async def test_store_whose_update_failed_is_taken_if_there_is_no_other(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document()), described(updated=False))
    reading = await store.check()
    assert (reading.volume_id, reading.updated) == ("vol-a", False)
    clock.ms += search.SETTLE_MS
    assert not (await store.check()).settled


async def test_equal_dates_are_decided_by_the_generation_in_the_documents(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    catalog.put("vol-a", archive(document(12)), described())
    catalog.put("vol-b", archive(document(13)), described())
    reading = await store.check()
    assert (reading.volume_id, reading.generation) == ("vol-b", 13)
    assert verdicts(reading)["vol-a"] == "good, but not newer than the one taken (generation 12)"


async def test_unclear_date_is_decided_by_the_documents_too(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    catalog.put("vol-a", archive(document(exported="2018/05/19 04:31:00")), described(last=DAY["new"]))
    unclear = described(last="Fri Jan 15 16:45:00 IST 2021")
    catalog.put("vol-b", archive(document(exported="2018/05/19 04:31:01")), unclear)
    assert (await store.check()).volume_id == "vol-b"


async def test_stores_of_other_domains_and_never_written_ones_are_no_candidates(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    catalog.put("foreign", archive(document(99)), described(domain=OTHER_DOMAIN))
    catalog.put("never", archive(document(99)), described(updated=False, last=None))
    catalog.put("disk", b"", '{"DiskAlias":"OVF_STORE","DiskDescription":"OVF_STORE"}')
    catalog.put("text", b"", "OVF_STORE")
    catalog.put("cut", archive(document(99)), described()[:-4])
    catalog.put("vol-a", archive(document()), described(last=DAY["old"]))
    reading = await store.check()
    assert reading.volume_id == "vol-a"
    assert verdicts(reading) == {
        "foreign": f"not this domain's, but of {OTHER_DOMAIN}",
        "never": "never written",
        "vol-a": "taken (generation 12)",
    }


async def test_nothing_past_size_or_the_wanted_entry_is_read(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    content = archive(document(), others=200)  # 4 MiB
    catalog.put("vol-a", on_block_storage(content), described(size=len(content)))
    await store.check()
    assert max(offset + length for _, offset, length in CountedFile.reads) <= len(content)
    CountedFile.reads.clear()
    first = golden_ovf.tar({f"{S02_VM}.ovf": document(), "x": bytes(5 << 20)})
    catalog.put("vol-a", first, described(size=len(first), last=DAY["old"]))
    await store.check()
    assert max(offset + length for _, offset, length in CountedFile.reads) <= 1 << 20


# Damage


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (b"", "no archive"),
        (bytes(1 << 16), "no archive"),
        (archive(document(13))[:30_000], "past the end"),
        (archive(document(13))[:30_000] + os.urandom(60_000), "no valid header"),
        (archive(None), "none of its 4 entries"),
        (archive(document(13)[:-1000]), "does not end with"),
        (archive(document(13).replace(b"<Content", b"<Kontent", 1)), "not well formed"),
        (archive(golden_ovf.data(golden_ovf.S04)), f"holds the OVF of VM {golden_ovf.S04_VM}"),
    ],
    ids=["emptied", "zeros", "truncated", "torn", "missing", "cut entry", "not well formed", "another VM"],
)
async def test_bad_newest_store_is_told_and_the_next_one_taken(
    catalog: DirectoryCatalog, store: search.OvfStore, broken: bytes, word: str
) -> None:
    catalog.put("vol-a", broken, described(last=DAY["new"]))
    catalog.put("vol-b", archive(document(12)), described(last=DAY["old"]))
    reading = await store.check()
    assert (reading.volume_id, reading.generation) == ("vol-b", 12)
    assert word in verdicts(reading)["vol-a"]
    (damaged,) = reading.damaged
    assert damaged.startswith("volume vol-a: ")
    assert word in damaged


async def test_sample_stores_of_both_kinds_of_storage_give_the_engine_vm(
    catalog: DirectoryCatalog, clock: Clock
) -> None:
    description = golden_ovf.STORE["description"]
    for kind in ("tar", "volume", "torn", "truncated"):
        catalog.put("vol-a", golden_ovf.data(f"ovf_store.{kind}"), description)
        store = search.OvfStore(catalog, domain_id=DOMAIN, vm_id=golden_ovf.S04_VM, clock=clock)
        assert (await store.check()).document == golden_ovf.data(golden_ovf.S04)
        store.close()


async def test_no_store_says_what_was_looked_at(catalog: DirectoryCatalog, store: search.OvfStore) -> None:
    catalog.put("disk", b"", "my disk")
    catalog.put("foreign", b"", described(domain=OTHER_DOMAIN))
    with pytest.raises(failures.NoStore) as caught:
        await store.check()
    for word in (DOMAIN, "2 volumes", "foreign", OTHER_DOMAIN, "hosted-engine.conf"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (bytes(4096), failures.StoreEmpty),
        (archive(document())[:20_000], failures.StoreDamaged),
        (archive(None), failures.EntryMissing),
    ],
)
async def test_the_only_store_being_bad_is_its_own_error(
    catalog: DirectoryCatalog, store: search.OvfStore, content: bytes, kind: type[failures.StoreError]
) -> None:
    path = catalog.put("vol-a", content, described())
    with pytest.raises(kind) as caught:
        await store.check()
    assert str(path) in str(caught.value)


async def test_several_bad_stores_are_told_one_by_one(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    catalog.put("vol-a", bytes(4096), described())
    catalog.put("vol-b", archive(None), described(last=DAY["old"]))
    with pytest.raises(failures.NoGoodStore) as caught:
        await store.check()
    assert set(verdicts(caught.value)) == {"vol-a", "vol-b"}
    assert S02_VM in str(caught.value)


async def test_volume_that_is_gone_from_the_host_is_unreadable_and_heals(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    catalog.put("vol-a", archive(document()), described())
    catalog.prepared_at["vol-a"] = catalog.root / "gone"
    with pytest.raises(failures.StoreUnreadable, match="No such file"):
        await store.check()
    catalog.prepared_at.clear()
    assert (await store.check()).document == document()


async def test_vdsm_away_is_its_own_error_and_the_check_goes_on_when_it_is_back(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    catalog.put("vol-a", archive(document()), described())
    catalog.away = True
    with pytest.raises(VdsmAway):
        await store.check()
    catalog.away = False
    assert (await store.check()).document == document()


async def test_volume_that_cannot_be_asked_about_hides_no_other(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    catalog.put("vol-a", archive(document()), described())
    catalog.put("vol-b", b"", "")

    def refuse(volume_id: str) -> None:
        if volume_id == "vol-b":
            raise VdsmAway

    catalog.when_asked = refuse
    assert (await store.check()).volume_id == "vol-a"
    catalog.put("vol-a", b"", "an ordinary disk")
    with pytest.raises(failures.NoStore, match="1 could not be asked about: VDSM does not answer"):
        await store.check()


# Changes


async def settle(store: search.OvfStore, clock: Clock) -> search.StoreReading:
    """Two full reads, far enough apart."""
    await store.check()
    clock.ms += search.SETTLE_MS
    return await store.check()


async def test_unchanged_stores_cost_one_small_read_each_and_no_call(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document(), others=200), described())
    catalog.put("vol-b", archive(document(), others=200), described(last=DAY["old"]))
    settled = await settle(store, clock)
    assert (settled.settled, settled.changed) == (True, False)
    for _ in range(3):
        CountedFile.reads.clear()
        catalog.calls.clear()
        clock.ms += 10_000
        reading = await store.check()
        assert sorted(CountedFile.reads) == [("vol-a", 0, 4096), ("vol-b", 0, 4096)]
        assert catalog.calls == []
        assert reading.document == document()
        assert (reading.changed, reading.checked_ms, reading.read_ms) == (False, clock.ms, settled.read_ms)


async def test_until_two_full_reads_ten_seconds_apart_were_equal_no_first_block_is_believed(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    # Caught midway on block storage: a new first block, but the entry is still the old one.
    catalog.put("vol-a", archive(document(12), mtime=2_000_000_000), described())
    assert (await store.check()).generation == 12
    catalog.put("vol-a", archive(document(13), mtime=2_000_000_000), described())
    clock.ms += 1_000
    reading = await store.check()
    assert (reading.generation, reading.changed, reading.settled) == (13, True, False)
    clock.ms += search.SETTLE_MS - 1
    assert not (await store.check()).settled
    clock.ms += 1
    assert (await store.check()).settled


async def test_a_store_that_is_marked_as_being_written_is_never_believed_by_its_first_block(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document(12)), described(updated=False))
    assert not (await settle(store, clock)).settled
    CountedFile.reads.clear()
    await store.check()
    assert any(length > 4096 for _, _, length in CountedFile.reads)


async def test_the_new_definition_is_found_where_the_engine_writes_it_first(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    """In the older store; the one that counts is written after it, or never."""
    catalog.put("vol-a", archive(document(12)), described(last=DAY["new"]))
    catalog.put("vol-b", archive(document(11)), described(last=DAY["old"]))
    await settle(store, clock)
    later = "Sat Jan 16 16:45:00 UTC 2021"
    torn = archive(document(13), mtime=1_700_000_000)[:30_000]
    catalog.put("vol-b", torn, described(updated=False, last=DAY["old"]))
    clock.ms += 1_000
    assert (await settle(store, clock)).volume_id == "vol-a"
    catalog.put("vol-b", torn[:4096] + archive(document(13))[4096:], described(updated=False))
    assert (await store.check()).volume_id == "vol-a"  # the same first block as at the end
    catalog.put("vol-b", archive(document(13), mtime=1_700_000_000), described(last=later))
    clock.ms += 1_000
    reading = await store.check()
    assert (reading.volume_id, reading.generation, reading.changed) == ("vol-b", 13, True)


async def test_update_is_noticed_at_the_next_check(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document(12)), described(last=DAY["old"]))
    await settle(store, clock)
    catalog.put("vol-a", archive(document(13), mtime=1_700_000_000), described(last=DAY["new"]))
    clock.ms += 1_000
    reading = await store.check()
    assert (reading.generation, reading.changed) == (13, True)
    assert reading.last_updated == DAY["new"]


async def test_update_of_other_vms_only_is_no_change_of_the_document(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document()), described(last=DAY["old"]))
    await settle(store, clock)
    catalog.put("vol-a", archive(document(), mtime=1_700_000_000, others=5), described())
    reading = await store.check()
    assert (reading.changed, reading.last_updated) == (False, DAY["new"])


async def test_other_store_that_becomes_the_newer_one_is_found_within_the_rescan_period(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document(12)), described(last=DAY["old"]))
    await settle(store, clock)
    catalog.put("vol-b", archive(document(13)), described(last=DAY["new"]))
    clock.ms += listing.RESCAN_MS
    reading = await store.check()
    assert (reading.volume_id, reading.generation, reading.changed) == ("vol-b", 13, True)


async def test_rescan_without_news_reads_one_small_block(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document(), others=100), described())
    catalog.put("vol-b", archive(document(), others=100), described())
    settled = await settle(store, clock)
    clock.ms += listing.RESCAN_MS
    CountedFile.reads.clear()
    reading = await store.check()
    assert sorted(CountedFile.reads) == [("vol-a", 0, 4096), ("vol-b", 0, 4096)]
    assert (reading.settled, reading.changed, reading.read_ms) == (True, False, settled.read_ms)


async def test_settled_store_that_is_gone_at_a_rescan_gives_way_to_the_other(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document(13)), described())
    catalog.put("vol-b", archive(document(12)), described(last=DAY["old"]))
    await settle(store, clock)
    catalog.unprepared.add("vol-a")
    clock.ms += listing.RESCAN_MS
    reading = await store.check()
    assert (reading.volume_id, reading.generation) == ("vol-b", 12)
    assert verdicts(reading)["vol-a"] == "VDSM does not answer"


async def test_update_that_runs_during_the_read_is_noticed_and_the_read_repeated(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    catalog.put("vol-a", archive(document(12)), described(last=DAY["old"]))
    asked: list[str] = []

    def update_after_the_first_answer(volume_id: str) -> None:
        asked.append(volume_id)
        if len(asked) == 2:
            catalog.put("vol-a", archive(document(13)), described(last=DAY["new"]))

    catalog.when_asked = update_after_the_first_answer
    reading = await store.check()
    assert (reading.generation, reading.last_updated) == (13, DAY["new"])
    assert len(asked) == 4


async def test_store_that_never_stops_changing_is_an_error_that_says_so(
    catalog: DirectoryCatalog, store: search.OvfStore
) -> None:
    catalog.put("vol-a", archive(document()), described())
    asked: list[str] = []

    def always_new(volume_id: str) -> None:
        asked.append(volume_id)
        catalog.put("vol-a", archive(document()), described(size=1_000_000 + len(asked)))

    catalog.when_asked = always_new
    with pytest.raises(failures.StoreChanging, match="vol-a"):
        await store.check()
    assert len(asked) == 2 * search.ATTEMPTS


async def test_older_store_is_what_is_left_while_the_newer_one_is_written(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document(13)), described())
    catalog.put("vol-b", archive(document(12)), described(last=DAY["old"]))
    assert (await settle(store, clock)).generation == 13
    # the engine begins to write the newer store: the older one is what is left
    catalog.put("vol-a", archive(document(14), mtime=1_700_000_000)[:30_000], described(updated=False))
    reading = await store.check()
    assert (reading.volume_id, reading.generation) == ("vol-b", 12)
    catalog.put("vol-a", archive(document(14), mtime=1_700_000_000), described())
    clock.ms += search.SETTLE_MS
    reading = await store.check()
    assert reading.generation == 14


async def test_file_that_is_emptied_for_an_update_is_noticed(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    path = catalog.put("vol-a", archive(document()), described())
    await settle(store, clock)
    path.write_bytes(b"")
    with pytest.raises(failures.StoreEmpty):
        await store.check()


async def test_first_check_after_an_error_looks_at_everything_anew(
    catalog: DirectoryCatalog, store: search.OvfStore, clock: Clock
) -> None:
    path = catalog.put("vol-a", archive(document()), described())
    await settle(store, clock)
    content = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(failures.StoreEmpty):
        await store.check()
    path.write_bytes(content)
    reading = await store.check()
    assert (reading.settled, reading.changed) == (False, False)


# A disk that hangs


async def test_hanging_volume_costs_its_thread_and_the_other_store_is_taken(
    catalog: DirectoryCatalog, clock: Clock
) -> None:
    catalog.put("vol-a", archive(document(13)), described())
    catalog.put("vol-b", archive(document(12)), described(last=DAY["old"]))
    fifo = catalog.root / "image-of-vol-a" / "vol-a"
    fifo.unlink()
    os.mkfifo(fifo)  # opening it blocks, like a dead mount
    store = search.OvfStore(catalog, domain_id=DOMAIN, vm_id=S02_VM, clock=clock, read_timeout_s=0.2)
    try:
        reading = await store.check()
        assert reading.volume_id == "vol-b"
        assert "has not returned" in verdicts(reading)["vol-a"]
        clock.ms += search.SETTLE_MS
        assert "has not returned" in verdicts(await store.check())["vol-a"]
    finally:
        store.close()
        mended = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)  # lets the thread go
        await eventually(lambda: not any("vol-a" in thread.name for thread in threading.enumerate()))
        os.close(mended)


def test_reading_offline_gives_the_document_or_an_error_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_bytes(archive(document()))
    assert one_store.read(path, S02_VM).data == document()
    with pytest.raises(failures.EntryMissing, match=str(path)):
        one_store.read(path, golden_ovf.S04_VM)
    with pytest.raises(failures.StoreUnreadable, match="nowhere"):
        one_store.read(tmp_path / "nowhere", S02_VM)
