"""atomic_file on a real file system: whole or not at all, with the permissions asked for."""

import os
import stat
from pathlib import Path

import pytest

from ovirt_he_agent import atomic_file


def test_the_file_holds_the_new_content_and_permissions_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "vm.conf"
    path.write_bytes(b"old and longer than the new one")
    old_umask = os.umask(0o077)
    try:
        atomic_file.replace(path, b"new", mode=0o644)
    finally:
        os.umask(old_umask)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["vm.conf"]


def test_who_has_the_old_file_open_reads_the_old_content_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "vm.conf"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        atomic_file.replace(path, b"new", mode=0o600)
        assert reader.read() == b"old"


def test_a_symbolic_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "vm.conf"
    target.write_bytes(b"theirs")
    path.symlink_to(target)
    atomic_file.replace(path, b"ours", mode=0o600)
    assert target.read_bytes() == b"theirs"
    assert not path.is_symlink()


def test_what_cannot_be_written_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    (path / "inside").mkdir(parents=True)
    with pytest.raises(atomic_file.CannotWrite, match=f"^{path}: cannot be written: Is a directory; check"):
        atomic_file.replace(path, b"new", mode=0o600)
    assert [p.name for p in tmp_path.iterdir()] == ["directory"]
    with pytest.raises(atomic_file.CannotWrite, match="No such file or directory"):
        atomic_file.replace(tmp_path / "missing" / "vm.conf", b"new", mode=0o600)
