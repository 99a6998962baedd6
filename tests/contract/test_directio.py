"""DirectFile on a real file system, and on a disk that fails or hangs."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.blocking import Stuck, Worker
from ovirt_he_agent.directio import BLOCK, DirectFile, DirectWriter
from tests.faulty_disk import FaultyDisk
from tests.waiting import eventually

SIZE = 10 * BLOCK + 512
CONTENT = bytes(n * 7 % 251 for n in range(SIZE))


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("direct") / "volume"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.real("direct-io")
@given(offset=st.integers(0, SIZE + 2 * BLOCK), length=st.integers(0, SIZE + 2 * BLOCK))
def test_any_piece_is_read_whatever_its_alignment(volume: Path, offset: int, length: int) -> None:
    with DirectFile(volume) as file:
        assert file.direct
        assert file.pread(length, offset) == CONTENT[offset : offset + length]
        assert bytes(file.view(length, offset)) == CONTENT[offset : offset + length]


@pytest.mark.real("direct-io")
@given(length=st.integers(0, 3 * BLOCK), offset=st.integers(0, SIZE))
def test_any_piece_is_written_and_nothing_around_it(
    tmp_path_factory: pytest.TempPathFactory, length: int, offset: int
) -> None:
    data = b"\xff" * length
    path = tmp_path_factory.getbasetemp() / "written"
    path.write_bytes(CONTENT)
    with DirectWriter(path) as file:
        assert file.direct
        file.pwrite(data, offset)
    expected = CONTENT[:offset] + data + CONTENT[offset + len(data) :] if data else CONTENT
    assert path.read_bytes() == expected


@pytest.mark.real("direct-io")
def test_blocks_are_overwritten_whole_and_nothing_around_them(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.write_bytes(CONTENT)
    with DirectWriter(path) as file:
        assert file.direct
        file.overwrite(b"\xff" * 2 * BLOCK, 3 * BLOCK)
        for length, offset in ((BLOCK - 1, 0), (BLOCK, 512)):
            with pytest.raises(ValueError, match="no whole blocks"):
                file.overwrite(bytes(length), offset)
    assert path.read_bytes() == CONTENT[: 3 * BLOCK] + b"\xff" * 2 * BLOCK + CONTENT[5 * BLOCK :]


@pytest.mark.real("direct-io")
def test_a_file_is_cut_to_its_size(tmp_path: Path) -> None:
    (tmp_path / "volume").write_bytes(CONTENT)
    with DirectWriter(tmp_path / "volume") as file:
        file.truncate(1000)
        assert file.size() == 1000


@pytest.mark.real("direct-io")
@pytest.mark.parametrize("alignment", [512, 4096])
def test_both_sector_sizes_are_served_by_one_open_file(volume: Path, alignment: int) -> None:
    with DirectFile(volume) as file:
        for offset in range(0, SIZE, alignment):
            assert file.pread(alignment, offset) == CONTENT[offset : offset + alignment]
        assert file.size() == SIZE


@pytest.mark.real("direct-io")
def test_large_read_is_whole(tmp_path: Path) -> None:
    content = bytes(range(251)) * 20_000
    (tmp_path / "volume").write_bytes(content)
    with DirectFile(tmp_path / "volume") as file:
        assert file.view(len(content), 0) == content
        assert file.view(3 << 20, 1 << 20) == content[1 << 20 : 4 << 20]


@pytest.mark.real("direct-io")
def test_view_can_outlive_its_file_and_cannot_be_written(volume: Path) -> None:
    file = DirectFile(volume)
    view = file.view(100, 10)
    file.view(10_000, 0)  # a larger buffer
    file.close()
    assert bytes(view) == CONTENT[10:110]
    assert view.readonly


@pytest.mark.real("direct-io")
def test_small_reads_of_two_files_in_one_thread_do_not_mix(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"o" * 4096)
    with DirectFile(volume) as one, DirectFile(tmp_path / "other") as other:
        first, second = one.pread(16, 0), other.pread(16, 0)
    assert (first, second) == (CONTENT[:16], b"o" * 16)


@pytest.mark.real("direct-io")
def test_what_another_host_writes_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.write_bytes(bytes(2 * BLOCK))
    with DirectFile(path) as file:
        assert file.pread(4, 0) == bytes(4)
        with path.open("r+b") as other:
            other.write(b"news")
            other.flush()
            os.fsync(other.fileno())
        assert file.pread(4, 0) == b"news"


def test_a_file_system_without_direct_io_is_read_all_the_same(volume: Path) -> None:
    with DirectFile(Path("/proc/self/cmdline")) as file:
        assert not file.direct
        assert file.pread(1 << 16, 0) == Path("/proc/self/cmdline").read_bytes()


def test_a_missing_volume_is_the_errno_of_open(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DirectFile(tmp_path / "gone")


@pytest.mark.real("fuse")
def test_a_failing_disk_is_its_errno_and_heals(tmp_path: Path) -> None:
    with FaultyDisk(tmp_path / "disk", CONTENT[: 4 * BLOCK]) as disk, DirectFile(disk.path) as file:
        assert file.pread(BLOCK, 0) == CONTENT[:BLOCK]
        disk.fail(True)
        with pytest.raises(OSError) as caught:
            file.pread(BLOCK, 0)
        assert caught.value.errno == errno.EIO
        disk.fail(False)
        assert file.pread(3, 5) == CONTENT[5:8]


@pytest.mark.real("fuse")
async def test_a_hung_disk_costs_its_worker_and_nothing_else(tmp_path: Path) -> None:
    sick, well = Worker("sick"), Worker("well")
    (tmp_path / "other").write_bytes(CONTENT)

    def read(path: Path) -> bytes:
        with DirectFile(path) as file:
            return file.pread(BLOCK, BLOCK)

    with FaultyDisk(tmp_path / "disk", CONTENT[: 4 * BLOCK]) as disk:
        assert await sick.call(read, disk.path, timeout_s=10) == CONTENT[BLOCK : 2 * BLOCK]
        disk.hang()
        with pytest.raises(Stuck):
            await sick.call(read, disk.path, timeout_s=0.2, what="read of the sick disk")
        async with asyncio.timeout(10):
            with pytest.raises(Stuck, match="read of the sick disk"):
                await sick.call(read, disk.path, timeout_s=1000)
        assert await well.call(read, tmp_path / "other", timeout_s=10) == CONTENT[BLOCK : 2 * BLOCK]
        disk.resume()
        await eventually(lambda: sick.stuck is None)
        assert await sick.call(read, disk.path, timeout_s=10) == CONTENT[BLOCK : 2 * BLOCK]
        sick.close()
        well.close()
