"""The whiteboard adapter on files read with direct I/O, and on a disk that fails or hangs."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ovirt_he_agent.adapters import volumes
from ovirt_he_agent.agent import ports
from ovirt_he_agent.blocking import Stuck
from ovirt_he_agent.core import model, own_slot
from ovirt_he_agent.core.host_figures import NONE, HostFigures
from tests import own_slots, slots
from tests.faulty_disk import FaultyDisk
from tests.waiting import eventually

pytestmark = pytest.mark.real("direct-io")

FIGURES = HostFigures(memory_free_mib=3900, cpu_load=0.95, failed_starts=1)
GLOBAL_ON = b"maintenance=1".ljust(4096, b"\0")
GLOBAL_OFF = b"maintenance=0".ljust(4096, b"\0")


class Clock:
    """Milliseconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> model.MonotonicMs:
        return model.MonotonicMs(self.now)

    def pass_s(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def board(clock: Clock) -> AsyncIterator[volumes.Whiteboard]:
    it = volumes.Whiteboard(clock=clock, timeout_s=10)
    yield it
    it.close()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """As deployment leaves it, but small: 1 MiB of zeros."""
    path = tmp_path / "whiteboard"
    path.write_bytes(bytes(1 << 20))
    return path


def write(path: Path, number: int, block: bytes) -> None:
    with path.open("r+b") as volume:
        volume.seek(number * 4096)
        volume.write(block)
        volume.flush()
        os.fsync(volume.fileno())


def fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def copied(path: Path) -> Path:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    return other


def moved(path: Path, to: Path) -> Path:
    return path.rename(to)


def content(path: Path) -> bytes:
    return path.read_bytes()


def host(number: int, *, engine: str = slots.DOWN, timestamp: int = 1, human: str = "") -> bytes:
    return slots.block(slots.tokens(number, engine=engine, timestamp=timestamp), human)


def test_it_is_the_agents_port(board: volumes.Whiteboard) -> None:
    port: ports.Whiteboard = board
    assert port is board


async def test_hosts_and_global_maintenance_are_read(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    write(volume, 0, GLOBAL_ON)
    write(volume, 1, host(1))
    write(volume, 2, host(2, engine=slots.UP, human="state=EngineUp\n"))
    reading = await board.read(volume, ())
    assert reading.global_maintenance.value is True
    assert reading.read_at == clock.now
    assert sorted(reading.slots) == [1, 2]
    assert (reading.slots[1].readable, reading.slots[1].claims_vm) == (True, False)
    assert (reading.slots[2].claims_vm, reading.slots[2].state) == (True, "EngineUp")
    assert reading.slots[2].host_name == "node-b.example.org"


async def test_a_board_that_nobody_wrote_yet_has_no_hosts_and_no_maintenance(
    board: volumes.Whiteboard, volume: Path
) -> None:
    reading = await board.read(volume, {1})
    assert (reading.global_maintenance.value, dict(reading.slots)) == (False, {})


async def test_all_possible_slots_in_use_are_read(board: volumes.Whiteboard, volume: Path) -> None:
    fill(volume, GLOBAL_OFF + b"".join(host(n) for n in range(1, 2001)))
    reading = await board.read(volume, ())
    assert sorted(reading.slots) == list(range(1, 2001))
    again = await board.read(volume, ())
    assert again.slots == reading.slots


async def test_what_a_host_says_of_the_engine_and_of_itself_is_read(
    board: volumes.Whiteboard, volume: Path
) -> None:
    write(volume, 1, host(1))
    write(volume, 2, own_slot.encode(own_slots.own_slot(engine=own_slots.UP, figures=FIGURES)))
    write(volume, 3, host(3, engine="None"))
    upstreams, ours, odd = (slot for _, slot in sorted((await board.read(volume, ())).slots.items()))
    assert (upstreams.vm_word, upstreams.engine_health, upstreams.engine_detail) == ("down", "bad", "unknown")
    assert (upstreams.ours, upstreams.others_first, upstreams.policy_hash) == (False, False, None)
    assert upstreams.engine_seen_ago_s is None
    assert upstreams.figures == NONE
    assert (ours.vm_word, ours.engine_health, ours.engine_detail) == ("up", "good", "Up")
    assert (ours.ours, ours.others_first, ours.policy_hash) == (True, True, "0123abcd")
    assert ours.engine_seen_ago_s == 5
    assert (ours.figures, ours.conf_on_shared_storage) == (FIGURES, True)
    assert (odd.vm_word, odd.engine_health, odd.engine_detail) == ("", "", "")


async def test_no_slot_stands_in_the_way_of_another(board: volumes.Whiteboard, volume: Path) -> None:
    # one byte that is no text stops all of upstream's readers, a character of two bytes shifts later slots
    bad = [
        b"\xff" * 4096,
        os.urandom(4096).replace(b"\0", b"x"),
        host(9, engine="\xe9"),
        b"2|1|",
        b"1|1|5.5|4|0|{}|h",
    ]
    for number in range(1, 40):
        write(volume, number, bad[number % len(bad)].ljust(4096, b"\0") if number % 2 else host(number))
    reading = await board.read(volume, ())
    good = {number for number, slot in reading.slots.items() if slot.readable}
    assert good == set(range(2, 40, 2))
    assert reading.global_maintenance.value is False


async def test_a_bad_slot_concerns_its_host_only_and_says_where_it_is(
    board: volumes.Whiteboard, volume: Path
) -> None:
    for number in (1, 2, 3):
        write(volume, number, host(number, engine=slots.UP))
    write(volume, 2, b"\xff" * 4096)
    reading = await board.read(volume, ())
    assert [s.readable for _, s in sorted(reading.slots.items())] == [True, False, True]
    assert reading.slots[2].problem == "slot 2 of the whiteboard (byte 8192): byte 0 is no text"


async def test_a_host_whose_word_on_the_vm_is_not_understood_is_not_readable(
    board: volumes.Whiteboard, volume: Path
) -> None:
    write(volume, 7, host(7, engine="None"))
    slot = (await board.read(volume, ())).slots[7]
    assert (slot.readable, slot.claims_vm, slot.score) == (False, False, 3400)
    assert "slot 7 of the whiteboard (byte 28672): its word on the engine VM is 'None'" in slot.problem


async def test_old_garbage_beyond_the_zeroed_slots_is_nobody(board: volumes.Whiteboard, volume: Path) -> None:
    fill(volume, bytes(1 << 20) + os.urandom(64 * 4096).replace(b"\0", b"x"))
    assert dict((await board.read(volume, {256, 300})).slots) == {}


# what changed, as seen from here


async def test_a_slot_that_was_there_before_us_has_not_changed_until_it_does(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    write(volume, 2, host(2, timestamp=1))
    first = (await board.read(volume, ())).slots[2]
    assert (first.first_seen_at, first.changed_at) == (clock.now, None)
    began = clock.now
    clock.pass_s(10)
    assert (await board.read(volume, ())).slots[2] == first
    clock.pass_s(10)
    write(volume, 2, host(2, timestamp=2))
    changed = (await board.read(volume, ())).slots[2]
    assert (changed.first_seen_at, changed.changed_at) == (began, clock.now)


async def test_a_slot_that_fills_before_our_eyes_has_changed(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    await board.read(volume, ())
    clock.pass_s(10)
    write(volume, 5, host(5))
    slot = (await board.read(volume, {5})).slots[5]
    assert (slot.first_seen_at, slot.changed_at) == (clock.now, clock.now)


async def test_a_slot_that_is_cleaned_is_gone(board: volumes.Whiteboard, volume: Path) -> None:
    write(volume, 5, host(5))
    assert 5 in (await board.read(volume, ())).slots
    write(volume, 5, bytes(4096))
    assert dict((await board.read(volume, {5})).slots) == {}


async def test_a_slot_that_is_damaged_before_our_eyes_has_changed(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    write(volume, 5, host(5))
    await board.read(volume, ())
    clock.pass_s(10)
    write(volume, 5, b"rubbish")
    slot = (await board.read(volume, ())).slots[5]
    assert (slot.readable, slot.changed_at) == (False, clock.now)


# what is read, and when


async def test_between_two_scans_only_known_slots_are_looked_at(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    write(volume, 1, host(1))
    await board.read(volume, ())
    write(volume, 200, host(200))
    clock.pass_s(volumes.SCAN_MS / 1000 - 1)
    assert sorted((await board.read(volume, ())).slots) == [1]
    assert sorted((await board.read(volume, {200})).slots) == [1, 200]
    write(volume, 100, host(100))
    clock.pass_s(1)
    assert sorted((await board.read(volume, ())).slots) == [1, 100, 200]


async def test_numbers_that_are_no_host_id_are_ignored(board: volumes.Whiteboard, volume: Path) -> None:
    await board.read(volume, ())
    assert dict((await board.read(volume, {-1, 0, 2001, 1 << 40})).slots) == {}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0], [(0, 1)]),
        ([0, 1, 2, 3], [(0, 4)]),
        ([0, 16], [(0, 17)]),
        ([0, 17], [(0, 1), (17, 1)]),
        ([0, 1, 250, 251], [(0, 2), (250, 2)]),
        (range(600), [(0, 256), (256, 256), (512, 88)]),
    ],
)
def test_neighbours_are_read_in_one_go(numbers: list[int], expected: list[tuple[int, int]]) -> None:
    assert list(volumes.runs(numbers)) == expected


# volumes that are not as they should be


async def test_a_short_volume_is_fine(board: volumes.Whiteboard, volume: Path) -> None:
    fill(volume, GLOBAL_OFF + host(1) + host(2)[:512])
    reading = await board.read(volume, {3, 1999})
    assert sorted(reading.slots) == [1, 2]
    assert reading.slots[2].readable


@pytest.mark.parametrize("size", [0, 100, 4095])
async def test_a_volume_without_a_whole_slot_0_is_no_whiteboard(
    board: volumes.Whiteboard, volume: Path, size: int
) -> None:
    fill(volume, GLOBAL_ON[:size])
    for read in (board.read(volume, ()), board.read_global(volume)):
        with pytest.raises(volumes.VolumeUnreadable, match=r"too short.*metadata_volume_UUID"):
            await read


async def test_a_missing_volume_is_named_and_read_when_it_is_there(
    board: volumes.Whiteboard, volume: Path
) -> None:
    away = moved(volume, volume.with_name("elsewhere"))
    with pytest.raises(volumes.VolumeUnreadable, match=r"whiteboard cannot be read: No such file.*vdsm\.log"):
        await board.read(volume, ())
    moved(away, volume)
    assert (await board.read(volume, ())).global_maintenance.value is False


async def test_a_directory_is_no_volume(board: volumes.Whiteboard, tmp_path: Path) -> None:
    with pytest.raises(volumes.VolumeUnreadable, match=r"Is a directory.*metadata_volume_UUID"):
        await board.read(tmp_path, ())


async def test_a_volume_that_was_replaced_under_its_path_is_read_anew(
    board: volumes.Whiteboard, volume: Path
) -> None:
    write(volume, 1, host(1, timestamp=1))
    await board.read(volume, ())
    other = copied(volume)
    write(other, 1, host(1, timestamp=2, engine=slots.UP))
    moved(other, volume)
    assert (await board.read(volume, ())).slots[1].claims_vm


async def test_another_path_is_scanned_and_what_is_new_there_has_not_changed_before_our_eyes(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    write(volume, 1, host(1))
    first = (await board.read(volume, ())).slots[1]
    other = copied(volume)
    write(other, 99, host(99))
    clock.pass_s(10)
    reading = await board.read(other, ())
    assert sorted(reading.slots) == [1, 99]
    assert reading.slots[1] == first
    assert reading.slots[99].changed_at is None


# some slots only


async def test_some_slots_are_read_now_and_no_others(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    for number in (1, 2, 200):
        write(volume, number, host(number, timestamp=1))
    await board.read(volume, ())
    clock.pass_s(10)
    for number in (1, 200):
        write(volume, number, host(number, timestamp=2))
    some = await board.read_some(volume, {200, 201})
    assert list(some) == [200]
    assert some[200].changed_at == clock.now
    clock.pass_s(10)
    reading = await board.read(volume, ())
    assert reading.slots[200] == some[200]
    assert reading.slots[1].changed_at == clock.now
    assert reading.slots[2].changed_at is None


async def test_a_slot_that_appears_or_goes_between_two_reads_of_all(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    write(volume, 2, host(2))
    await board.read(volume, ())
    clock.pass_s(1)
    write(volume, 2, bytes(4096))
    write(volume, 100, host(100))
    some = await board.read_some(volume, [2, 100])
    assert list(some) == [100]
    assert (some[100].first_seen_at, some[100].changed_at) == (clock.now, clock.now)
    assert sorted((await board.read(volume, ())).slots) == [100]


async def test_before_the_first_read_of_all_nobody_can_tell_what_has_changed(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    write(volume, 2, host(2))
    write(volume, 3, host(3))
    first = await board.read_some(volume, [2])
    assert first[2].changed_at is None
    clock.pass_s(1)
    reading = await board.read(volume, ())
    assert reading.slots[2] == first[2]
    assert reading.slots[3].changed_at is None


async def test_two_readers_at_a_time_lose_nothing(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    write(volume, 1, host(1))
    await board.read(volume, ())
    write(volume, 100, host(100))
    some, reading = await asyncio.gather(board.read_some(volume, [100]), board.read(volume, ()))
    assert sorted(reading.slots) == [1, 100]
    write(volume, 150, host(150))
    reading, some = await asyncio.gather(board.read(volume, ()), board.read_some(volume, [150]))
    assert list(some) == [150]
    assert sorted((await board.read(volume, ())).slots) == [1, 100, 150]


async def test_some_of_no_slots_or_of_none_that_can_be(
    board: volumes.Whiteboard, volume: Path, tmp_path: Path
) -> None:
    assert dict(await board.read_some(tmp_path / "missing", [0, -1, 2001])) == {}
    fill(volume, GLOBAL_OFF + host(1))
    assert list(await board.read_some(volume, [1, 2, 1999])) == [1]
    with pytest.raises(volumes.VolumeUnreadable, match="No such file"):
        await board.read_some(tmp_path / "missing", [1])


# writing


async def test_a_slot_is_written_and_nothing_around_it(
    board: volumes.Whiteboard, volume: Path, clock: Clock
) -> None:
    fill(volume, b"\xff" * (1 << 20))
    block = own_slot.encode(own_slots.own_slot())
    await board.write_slot(volume, 2, block)
    assert content(volume) == b"\xff" * 8192 + block + b"\xff" * ((1 << 20) - 3 * 4096)
    slot = (await board.read_some(volume, [2]))[2]
    assert (slot.ours, slot.score, slot.host_name) == (True, 3400, "node-b.example.org")


async def test_global_maintenance_is_written_and_what_stood_there_can_be_compared(
    board: volumes.Whiteboard, volume: Path
) -> None:
    before = await board.read_global(volume)
    assert (before.value, before.raw) == (False, b"")
    for on in (True, False):
        await board.write_global(volume, own_slot.encode_global(on))
        after = await board.read_global(volume)
        assert (after.value, after.raw) == (on, b"maintenance=%d" % on)
    assert content(volume)[4096:] == bytes((1 << 20) - 4096)


@pytest.mark.parametrize("host_id", [0, -1, 2001])
async def test_a_number_that_is_no_host_id_is_not_written(
    board: volumes.Whiteboard, volume: Path, host_id: int
) -> None:
    with pytest.raises(volumes.NoSuchSlot, match=r"1 to 2000: check host_id in hosted-engine\.conf"):
        await board.write_slot(volume, host_id, host(1))
    assert content(volume) == bytes(1 << 20)


@pytest.mark.parametrize("size", [0, 512, 4095, 4097, 8192])
async def test_only_a_whole_slot_is_written(board: volumes.Whiteboard, volume: Path, size: int) -> None:
    for call in (board.write_slot(volume, 1, bytes(size)), board.write_global(volume, bytes(size))):
        with pytest.raises(ValueError, match="4096 bytes"):
            await call


@pytest.mark.parametrize("size", [0, 3 * 4096, 4 * 4096 - 512])
async def test_a_short_volume_does_not_grow(board: volumes.Whiteboard, volume: Path, size: int) -> None:
    fill(volume, bytes(size))
    with pytest.raises(volumes.VolumeTooShort, match=rf"ends at byte {size}.*slot 3.*hosted-engine\.conf"):
        await board.write_slot(volume, 3, host(3))
    assert len(content(volume)) == size
    fill(volume, bytes(4 * 4096))
    await board.write_slot(volume, 3, host(3))
    assert content(volume)[3 * 4096 :] == host(3)


async def test_a_volume_that_is_not_there_is_not_made(board: volumes.Whiteboard, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(volumes.VolumeUnwritable, match=r"cannot be written: No such file.*vdsm\.log"):
        await board.write_slot(missing, 1, host(1))
    assert not missing.exists()
    with pytest.raises(volumes.VolumeUnwritable, match=r"Is a directory"):
        await board.write_global(tmp_path, GLOBAL_ON)


@pytest.fixture(params=[512, 4096])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A loop device with sectors of 512 or 4096 bytes; a machine that has none cannot show this."""
    file = tmp_path / "disk"
    fill(file, bytes(1 << 20))
    command = ["losetup", "-f", "--show", "--sector-size", str(request.param), str(file)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.decode().strip()}")
    path = Path(done.stdout.decode().strip())
    try:
        yield path
    finally:
        subprocess.run(["losetup", "-d", str(path)], check=True)


async def test_a_block_device_is_written_and_read_whatever_its_sectors(
    board: volumes.Whiteboard, device: Path
) -> None:
    block = own_slot.encode(own_slots.own_slot())
    await board.write_global(device, GLOBAL_ON)
    await board.write_slot(device, 255, block)
    reading = await board.read(device, ())
    assert reading.global_maintenance.value is True
    assert list(reading.slots) == [255]
    assert reading.slots[255].ours
    with pytest.raises(volumes.VolumeTooShort, match=r"ends at byte 1048576.*slot 256"):
        await board.write_slot(device, 256, block)


# slot 0 alone


async def test_slot_0_is_read_anew_each_time(board: volumes.Whiteboard, volume: Path) -> None:
    assert (await board.read_global(volume)).value is False
    write(volume, 0, GLOBAL_ON)
    assert (await board.read_global(volume)).value is True
    write(volume, 0, b"maintenance=perhaps")
    assert (await board.read_global(volume)).value is None


# disks that fail and hang


@pytest.mark.real("fuse")
async def test_a_failing_disk_is_reported_and_scanned_when_it_is_back(
    board: volumes.Whiteboard, tmp_path: Path
) -> None:
    with FaultyDisk(tmp_path / "disk", GLOBAL_OFF + host(1) + bytes(62 * 4096)) as disk:
        assert sorted((await board.read(disk.path, ())).slots) == [1]
        disk.fail(True)
        with pytest.raises(volumes.VolumeUnreadable, match=r"Input/output error.*storage server") as caught:
            await board.read(disk.path, ())
        assert caught.value.path == disk.path
        with pytest.raises(volumes.VolumeUnreadable):
            await board.read_global(disk.path)
        disk.fail(False)
        write(disk.path, 40, host(40))
        assert sorted((await board.read(disk.path, ())).slots) == [1, 40]


@pytest.mark.real("fuse")
async def test_a_hung_disk_is_stuck_and_another_path_is_not_held_up_by_it(
    clock: Clock, volume: Path, tmp_path: Path
) -> None:
    write(volume, 2, host(2))
    board = volumes.Whiteboard(clock=clock, timeout_s=0.5)
    with FaultyDisk(tmp_path / "disk", GLOBAL_OFF + host(1) + bytes(62 * 4096)) as disk:
        assert sorted((await board.read(disk.path, ())).slots) == [1]
        disk.hang()
        async with asyncio.timeout(20):
            for _ in range(3):
                with pytest.raises(Stuck, match=str(disk.path)):
                    await board.read(disk.path, ())
                with pytest.raises(Stuck, match=str(disk.path)):
                    await board.read_global(disk.path)
        assert sorted((await board.read(volume, ())).slots) == [2]
        disk.resume()

        async def back() -> list[int] | None:
            try:
                return sorted((await board.read(disk.path, ())).slots)
            except Stuck:
                return None

        assert await eventually(back) == [1]
        board.close()


@pytest.mark.real("fuse")
async def test_a_disk_that_fails_is_not_written_and_takes_the_block_when_it_is_back(
    board: volumes.Whiteboard, tmp_path: Path
) -> None:
    with FaultyDisk(tmp_path / "disk", GLOBAL_OFF + bytes(63 * 4096)) as disk:
        disk.fail(True)
        for write_block in (
            board.write_slot(disk.path, 2, host(2)),
            board.write_global(disk.path, GLOBAL_ON),
        ):
            with pytest.raises(
                volumes.VolumeUnwritable, match=r"Input/output error.*storage server"
            ) as caught:
                await write_block
            assert caught.value.path == disk.path
        disk.fail(False)
        await board.write_slot(disk.path, 2, host(2))
        reading = await board.read(disk.path, ())
        assert (list(reading.slots), reading.global_maintenance.value) == ([2], False)


@pytest.mark.real("fuse")
async def test_a_write_on_a_hung_disk_is_given_up_and_may_arrive_later(clock: Clock, tmp_path: Path) -> None:
    board = volumes.Whiteboard(clock=clock, timeout_s=0.5)
    with FaultyDisk(tmp_path / "disk", GLOBAL_OFF + bytes(63 * 4096)) as disk:
        disk.hang()
        async with asyncio.timeout(20):
            for number in (2, 3):
                with pytest.raises(Stuck, match=f"write of slot 2 of {disk.path}"):
                    await board.write_slot(disk.path, number, host(number))
            with pytest.raises(Stuck):
                await board.read(disk.path, ())
        disk.resume()

        async def arrived() -> list[int] | None:
            try:
                return list((await board.read(disk.path, ())).slots)
            except Stuck:
                return None

        assert await eventually(arrived) == [2]
        board.close()
