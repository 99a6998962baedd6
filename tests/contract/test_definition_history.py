"""The directory of what is kept, on a real file system: whole or not at all, and never fatal."""

import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovirt_he_agent.adapters import definition_history
from ovirt_he_agent.adapters.definition_history import HistoryFailed
from ovirt_he_agent.core.definitions import file
from ovirt_he_agent.core.definitions.record import Head, Life, Record, Standing
from tests import snapshots
from tests.unit.test_definition_choice import record as a_record

DOCUMENT = b"<ovf>\xff" + b"x" * 1000


def record(number: int = 1, document: bytes = DOCUMENT, **facts: Any) -> Record:
    made = replace(a_record(number, 12), document=document + b"%d" % number)
    return replace(made, facts=replace(made.facts, sha256=sha256(made.document)), **facts)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


STANDING = Standing(head=Head(sha256="a" * 64, floor=12), life=Life(sha256="b" * 64, since_s=5, up=True))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return definition_history.directory_of(tmp_path / "state", snapshots.VM_ID.upper())


def test_what_was_written_is_read_again_by_another_process(directory: Path) -> None:
    definition_history.write_record(directory, record(1))
    definition_history.write_record(directory, record(2))
    definition_history.write_standing(directory, STANDING)
    kept = definition_history.read(directory)
    assert sorted(kept.records, key=lambda r: r.number) == [record(1), record(2)]
    assert (kept.standing, kept.skipped, kept.highest) == (STANDING, (), 2)


def test_nothing_there_is_nothing_kept(directory: Path) -> None:
    assert definition_history.read(directory) == definition_history.NOTHING


def test_only_the_owner_may_read_documents(directory: Path) -> None:
    old = os.umask(0)
    try:
        definition_history.write_record(directory, record())
        definition_history.write_request(directory, "a" * 64, 1)
    finally:
        os.umask(old)
    for path in (directory, directory.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_cut_at_any_length_is_skipped_and_told(directory: Path) -> None:
    definition_history.write_record(directory, record(1))
    definition_history.write_record(directory, record(2, b"short"))
    path = directory / "000002.definition"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = definition_history.read(directory)
        assert kept.records == (record(1),)
        assert kept.highest == 2
        (told,) = kept.skipped
        assert str(path) in told


def test_a_crash_at_any_moment_of_a_write_leaves_the_old_or_the_new_one(directory: Path) -> None:
    old, new = record(1), record(1, failures=2)
    definition_history.write_record(directory, old)
    aside = directory / ".000001.definition.new"
    data = file.of_record(new)
    for length in range(0, len(data) + 1, 7):  # before the rename only the file aside is touched
        aside.write_bytes(data[:length])
        assert definition_history.read(directory).records == (old,)
        assert definition_history.read(directory).skipped == ()
    definition_history.write_record(directory, new)
    assert definition_history.read(directory).records == (new,)
    assert not aside.exists()


WRITER = """
import itertools, sys
from dataclasses import replace
from pathlib import Path
from ovirt_he_agent.adapters import definition_history
from ovirt_he_agent.core.definitions import file
one = file.record(Path(sys.argv[2]).read_bytes())
for n in itertools.count():
    definition_history.write_record(Path(sys.argv[1]), replace(one, failures=n))
    print(n, flush=True)
"""


def test_a_writer_that_is_killed_leaves_a_whole_file(directory: Path, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(file.of_record(record(1, b"x" * 200_000)))
    for said in (1, 3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(directory), str(seed)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(said):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        kept = definition_history.read(directory)
        assert [r.number for r in kept.records] == [1]
        assert kept.skipped == ()


def test_foreign_files_are_skipped_and_told(directory: Path) -> None:
    definition_history.write_record(directory, record(3))
    (directory / "notes.txt").write_text("mine")
    (directory / "000004.definition").write_bytes(b"something else")
    (directory / "000005.definition").write_bytes(file.of_record(record(9)))
    (directory / "000006.definition").write_bytes(file.of_record(replace(record(3), number=6)))
    of_another_vm = replace(record(10), facts=replace(record(10).facts, vm_id="another"))
    (directory / "000010.definition").write_bytes(file.of_record(of_another_vm))
    os.mkfifo(directory / "000007.definition")
    (directory / "000008.definition").symlink_to("/etc/passwd")
    (directory / "standing").write_bytes(b"\0" * 100)
    kept = definition_history.read(directory)
    assert (kept.records, kept.standing, kept.highest) == ((record(3),), Standing(), 10)
    told = "\n".join(kept.skipped)
    for name in ("notes.txt", *(f"{n:06}.definition" for n in (4, 5, 6, 7, 8, 10)), "standing"):
        assert name in told
    assert len(kept.skipped) == 8


@contextmanager
def full_disk() -> Iterator[None]:
    """The kernel refuses to write more than a few bytes, as it does without room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_that_says_where_and_what_to_do_and_harms_nothing(directory: Path) -> None:
    definition_history.write_record(directory, record(1))
    with full_disk(), pytest.raises(HistoryFailed) as failed:
        definition_history.write_record(directory, record(1, failures=1))
    assert "000001.definition: cannot be written" in str(failed.value)
    assert "has room" in str(failed.value)
    assert definition_history.read(directory).records == (record(1),)
    definition_history.write_record(directory, record(1, failures=1))  # and it goes on afterwards
    assert definition_history.read(directory).records == (record(1, failures=1),)


def test_a_file_in_place_of_the_directory_is_an_error_of_the_history_only(directory: Path) -> None:
    directory.parent.mkdir(parents=True)
    directory.write_text("")
    with pytest.raises(HistoryFailed, match="cannot be read: Not a directory"):
        definition_history.read(directory)
    with pytest.raises(HistoryFailed, match="cannot be written"):
        definition_history.write_standing(directory, STANDING)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_an_error_of_the_history_only(directory: Path) -> None:
    definition_history.write_record(directory, record(1))
    directory.chmod(0o500)
    with pytest.raises(HistoryFailed, match="cannot be written: Permission denied"):
        definition_history.write_record(directory, record(2))
    assert definition_history.read(directory).records == (record(1),)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_request_that_root_writes_is_the_agents(directory: Path) -> None:
    definition_history.write_record(directory, record(1))
    os.chown(directory, 36, 36)
    definition_history.write_request(directory, "a" * 64, 1)
    owner = (directory / "request").stat()
    assert (owner.st_uid, owner.st_gid) == (36, 36)


# through the agent's thread


async def test_a_request_is_heard_once_and_a_bad_one_is_told_until_it_is_gone(directory: Path) -> None:
    with closing(definition_history.History(directory)) as history:
        assert await history.new_request() == (None, None)
        written = definition_history.write_request(directory, "a" * 64, 7)
        assert await history.new_request() == (written, None)
        assert await history.new_request() == (None, None)
        (directory / "request").write_text("please")
        for _ in range(2):
            request, problem = await history.new_request()
            assert request is None
            assert "no request file of this agent" in (problem or "")
        (directory / "request").unlink()
        assert await history.new_request() == (None, None)


async def test_numbers_are_removed_and_their_absence_is_no_error(directory: Path) -> None:
    with closing(definition_history.History(directory)) as history:
        await history.write_record(record(1))
        await history.remove(1)
        await history.remove(1)
        assert (await history.read()).records == ()
