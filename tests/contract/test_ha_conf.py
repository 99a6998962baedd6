"""ha.conf set while others read, lock and write it, as upstream's writer does."""

import asyncio
import fcntl
import os
import stat
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ovirt_he_agent import atomic_file
from ovirt_he_agent.adapters import ha_conf
from ovirt_he_agent.adapters.ha_conf import LOCAL, MANUAL, HaConf
from ovirt_he_agent.core.model import LocalMode
from tests.waiting import eventually

OFF = "local_maintenance=False\nlocal_maintenance_manual=False\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "ha.conf"
    found.write_text(OFF)
    return found


@pytest.fixture
async def conf(path: Path) -> AsyncIterator[HaConf]:
    conf = HaConf(path)
    yield conf
    conf.close()


def content(path: Path) -> str:
    return path.read_text()


def write(path: Path, what: str | bytes) -> None:
    path.write_bytes(what.encode() if isinstance(what, str) else what)


def inode(path: Path) -> int:
    return path.stat().st_ino


def owner_and_mode(path: Path) -> tuple[int, int, int]:
    seen = path.stat()
    return seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)


class UpstreamsWriter:
    """The steps of another program that sets one key (he-ha: env/config_file.py), one at a time."""

    def __init__(self, path: Path, key: str, value: str) -> None:
        self._path = path
        self._change = (key, value)
        self._file = path.open("r+")

    def lock(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def write(self) -> None:
        """What has the name now, with the change, goes into what was opened."""
        values = dict(line.split("=", 1) for line in self._path.read_text().splitlines())
        key, values[key] = self._change[0], self._change[1]
        self._file.write("".join(f"{k}={v}\n" for k, v in values.items()))
        self._file.truncate()
        self._file.close()


@pytest.mark.parametrize(
    ("mode", "written"),
    [
        (LocalMode.LOCAL, "local_maintenance=True\nlocal_maintenance_manual=False\n"),
        (LocalMode.LOCAL_MANUAL, "local_maintenance=True\nlocal_maintenance_manual=True\n"),
    ],
)
async def test_it_is_set_and_ended(conf: HaConf, path: Path, mode: LocalMode, written: str) -> None:
    await conf.set(mode, True)
    assert content(path) == written
    assert conf.read().value is True
    await conf.set(mode, False)
    assert content(path) == OFF
    assert os.listdir(path.parent) == ["ha.conf"]


async def test_the_engines_switch_leaves_the_operators(conf: HaConf, path: Path) -> None:
    await conf.set(LocalMode.LOCAL_MANUAL, True)
    await conf.set(LocalMode.LOCAL, False)
    assert conf.read().value is True


async def test_owner_permissions_and_the_lines_of_others_stay(conf: HaConf, path: Path) -> None:
    owner = (123, 124) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    write(path, "# mine\n" + OFF + "other=1\n")
    os.chmod(path, 0o640)
    os.chown(path, *owner)
    await conf.set(LocalMode.LOCAL, True)
    assert owner_and_mode(path) == (*owner, 0o640)
    assert content(path) == "# mine\n" + OFF.replace("False", "True", 1) + "other=1\n"


async def test_a_missing_file_is_made_as_shipped(conf: HaConf, path: Path) -> None:
    os.unlink(path)
    umask = os.umask(0o077)
    try:
        await conf.set(LocalMode.LOCAL, True)
    finally:
        os.umask(umask)
    assert content(path) == OFF.replace("False", "True", 1)
    assert owner_and_mode(path)[2] == 0o644


@pytest.mark.parametrize("broken", [b"", b"\xff\xfe", b"local_maintenance=?\n", b"\n\0\0"])
async def test_what_could_not_be_read_is_mended(conf: HaConf, path: Path, broken: bytes) -> None:
    write(path, broken)
    assert conf.read().value is None
    await conf.set(LocalMode.LOCAL, False)
    assert conf.read().value is False


async def test_without_its_directory_it_says_so(tmp_path: Path) -> None:
    lost = HaConf(tmp_path / "gone" / "ha.conf")
    with pytest.raises(ha_conf.CannotOpen, match="No such file"):
        await lost.set(LocalMode.LOCAL, True)
    lost.close()


async def test_what_cannot_be_written_is_left_as_it_was(conf: HaConf, path: Path) -> None:
    (path.parent / ".ha.conf.new" / "in the way").mkdir(parents=True)
    with pytest.raises(atomic_file.CannotWrite):
        await conf.set(LocalMode.LOCAL, True)
    assert content(path) == OFF


async def test_readers_never_see_a_part_of_it(conf: HaConf, path: Path) -> None:
    seen, ended = set(), threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.add(conf.read().value)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for on in (True, False) * 20:
            await conf.set(LocalMode.LOCAL, on)
        await eventually(lambda: len(seen) == 2)
    finally:
        ended.set()
        reader.join()
    assert seen == {True, False}


# with upstream's writer


async def test_who_has_the_lock_or_the_file_open_goes_first(conf: HaConf, path: Path) -> None:
    theirs = [UpstreamsWriter(path, MANUAL, "True"), UpstreamsWriter(path, "other", "1")]
    theirs[0].lock()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(conf.set(LocalMode.LOCAL, True))
        await asyncio.sleep(0.05)  # it waits: for nothing, if it is slower than that
        theirs[0].write()
        await asyncio.sleep(0.05)
        theirs[1].lock()
        theirs[1].write()
    assert content(path) == "local_maintenance=True\nlocal_maintenance_manual=True\nother=1\n"


async def test_who_writes_into_the_replaced_file_is_not_lost(
    conf: HaConf, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    theirs = UpstreamsWriter(path, MANUAL, "True")
    opened = inode(path)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(conf.set(LocalMode.LOCAL, True))
        await eventually(lambda: inode(path) != opened)
        theirs.lock()
        theirs.write()
    assert content(path) == "local_maintenance=True\nlocal_maintenance_manual=True\n"


async def test_who_sets_the_same_at_the_same_time_has_the_last_word_and_we_say_so(
    conf: HaConf, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    theirs = UpstreamsWriter(path, LOCAL, "no")
    opened = inode(path)

    async def set_and_see() -> None:
        with pytest.raises(ha_conf.ChangedAgain, match="set to True, and another program set it to no"):
            await conf.set(LocalMode.LOCAL, True)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(set_and_see())
        await eventually(lambda: inode(path) != opened)
        theirs.lock()
        theirs.write()
    assert conf.read().value is False


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if they had opened the file only when we were about to replace it."""
    monkeypatch.setattr(HaConf, "_is_my_turn", lambda *given: True)


async def test_a_lock_that_stays_changes_nothing(
    conf: HaConf, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ha_conf, "PATIENCE_S", 0.2)
    held = UpstreamsWriter(path, LOCAL, "False")
    held.lock()
    with pytest.raises(ha_conf.Locked, match=r"held its lock for 0.2 s, nothing was changed"):
        await conf.set(LocalMode.LOCAL, True)
    held.write()
    assert content(path) == OFF
    await conf.set(LocalMode.LOCAL, True)  # and nothing is stuck


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
async def test_a_file_that_an_editor_made_roots_is_taken_over() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ha.conf"
        write(path, OFF)
        os.chmod(path, 0o644)
        os.chown(name, 123, 124)
        conf = HaConf(path)
        os.setegid(124)
        os.seteuid(123)
        try:
            await conf.set(LocalMode.LOCAL, True)
        finally:
            os.seteuid(0)
            os.setegid(0)
            conf.close()
        assert conf.read().value is True
        assert owner_and_mode(path) == (123, 124, 0o644)
