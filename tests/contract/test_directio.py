"""Reads past the page cache give the file's bytes, whatever is asked for."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovirt_he_agent import directio

pytestmark = pytest.mark.real("direct-io")

CONTENT = bytes(range(256)) * 40 + b"the end"  # no multiple of a block


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("volumes") / "volume"
    path.write_bytes(CONTENT)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(min_value=0, max_value=20_000), st.integers(min_value=0, max_value=30_000))
def test_any_range_is_read_like_the_file(volume: Path, offset: int, length: int) -> None:
    with directio.DirectFile(volume) as file:
        assert file.direct
        assert file.pread(length, offset) == CONTENT[offset : offset + length]
        assert bytes(file.view(length, offset)) == CONTENT[offset : offset + length]
        assert file.size() == len(CONTENT)


def test_large_read_is_whole(tmp_path: Path) -> None:
    content = bytes(range(251)) * 20_000
    (tmp_path / "volume").write_bytes(content)
    with directio.DirectFile(tmp_path / "volume") as file:
        assert file.view(len(content), 0) == content
        assert file.view(3 << 20, 1 << 20) == content[1 << 20 : 4 << 20]


def test_view_can_outlive_its_file_and_cannot_be_written(volume: Path) -> None:
    file = directio.DirectFile(volume)
    view = file.view(100, 10)
    file.view(10_000, 0)  # a larger buffer
    file.close()
    assert bytes(view) == CONTENT[10:110]
    assert view.readonly


def test_small_reads_of_two_files_in_one_thread_do_not_mix(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"o" * 4096)
    with directio.DirectFile(volume) as one, directio.DirectFile(tmp_path / "other") as other:
        first, second = one.pread(16, 0), other.pread(16, 0)
    assert (first, second) == (CONTENT[:16], b"o" * 16)


def test_change_by_another_writer_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.write_bytes(b"a" * 8192)
    with directio.DirectFile(path) as file:
        assert file.pread(1, 5000) == b"a"
        path.write_bytes(b"b" * 8192)
        assert file.pread(1, 5000) == b"b"
