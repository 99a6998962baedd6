"""Putting one document into an archive: all else keeps its bytes, and as little as can be is written."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.ovf import archive, store_change
from tests import golden_ovf

MTIME_S = 1_700_000_000
NAMES = [f"{digit * 8}-0000-4000-8000-000000000000.ovf" for digit in "abcdef"]
VM = NAMES[0]


def document(text: str) -> bytes:
    return f"<?xml version='1.0'?><Envelope>{text}</Envelope>".encode()


def store(entries: dict[str, bytes], record: int = 10240) -> bytes:
    return golden_ovf.tar({"info.json": b"{}", **entries}, record=record)


def put(before: bytes, name: str, data: bytes, padding: int = 10240) -> store_change.Change:
    return store_change.put(
        lambda offset, length: before[offset : offset + length],
        len(before),
        name,
        data,
        mtime_s=MTIME_S,
        padding=padding,
    )


def after(before: bytes, change: store_change.Change) -> bytes:
    content = bytearray(before.ljust(change.length, b"\0"))
    for offset, piece in change.writes:
        content[offset : offset + len(piece)] = piece
    return bytes(content[: change.length])


def entries_of(packed: bytes) -> dict[str, bytes]:
    """As our reader and Python's see them, who have to agree."""
    ours = {}
    for found in archive.survey(lambda offset, length: packed[offset : offset + length], len(packed)):
        assert found.damage is None
        assert found.data is not None
        ours[found.entry.name] = found.data
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for member in tar.getmembers():
            taken = tar.extractfile(member)
            assert taken is not None
            assert ours[member.name] == taken.read()
        assert len(tar.getmembers()) == len(ours)
    return ours


texts = st.text("ab<>", max_size=3000)


@given(
    others=st.dictionaries(st.sampled_from(NAMES[1:]), texts, max_size=4),
    old=st.none() | texts,
    new=texts,
    first=st.booleans(),
    record=st.sampled_from([512, 10240]),
)
def test_the_document_is_in_and_every_other_entry_as_it_was(
    others: dict[str, str], old: str | None, new: str, first: bool, record: int
) -> None:
    mine = {} if old is None else {VM: document(old)}
    rest = {name: document(text) for name, text in others.items()}
    before = store(mine | rest if first else rest | mine, record)
    change = put(before, VM, document(new), record)
    packed = after(before, change)
    assert entries_of(packed) == entries_of(before) | {VM: document(new)}
    assert change.old_document == mine.get(VM)
    assert len(packed) == change.length
    assert change.length % record == 0
    assert list(entries_of(packed)) == list(entries_of(before)) + [VM] * (old is None)


def test_a_document_of_as_many_blocks_moves_nothing() -> None:
    before = store({NAMES[1]: document("x" * 900), VM: document("a" * 700), NAMES[2]: document("y" * 900)})
    change = put(before, VM, document("b" * 720))
    (at_first, header), (at_entry, entry) = change.writes
    assert (at_first, len(header)) == (0, 512)
    assert len(entry) == 512 + 1024
    assert before[at_entry : at_entry + 36].decode() == VM.removesuffix(".ovf")
    assert change.length == len(before)


def test_only_blocks_that_change_are_written() -> None:
    old = document("a" * 20_000)
    new = old[:100] + b"b" + old[101:-100] + b"b" + old[-99:]
    before = store({VM: old})
    change = put(before, VM, new)
    assert sum(len(data) for _, data in change.writes) == 4 * 512  # two headers, two blocks
    assert entries_of(after(before, change))[VM] == new


def test_a_second_change_within_one_second_shows_in_the_first_block_too() -> None:
    before = store({NAMES[1]: document("x"), VM: document("a")})
    once = after(before, put(before, VM, document("b")))
    twice = after(once, put(once, VM, document("c")))
    assert once[:512] != twice[:512]


def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    before = store({NAMES[1]: document("x" * 900), VM: document("a")})
    (tmp_path / "store").write_bytes(after(before, put(before, VM, document("b" * 5000))))
    listed = subprocess.run(
        ["tar", "-xOf", tmp_path / "store", VM], capture_output=True, check=True, stdin=subprocess.DEVNULL
    )
    assert (listed.stdout, listed.stderr) == (document("b" * 5000), b"")


def test_the_first_block_names_the_copy_while_a_store_is_under_change() -> None:
    before = store({VM: document("a")})
    marked = store_change.under_change(before[:512], "0f" * 32)
    assert store_change.copy_of(marked) == "0f" * 32
    assert store_change.copy_of(store_change.under_change(before[:512])) is None
    assert store_change.copy_of(before[:512]) is None


def test_what_stands_before_a_longer_document_is_not_written() -> None:
    before = store({NAMES[1]: document("x" * 900), VM: document("a"), NAMES[2]: document("y" * 900)})
    change = put(before, VM, document("b" * 5000))
    assert [offset for offset, _ in change.writes] == [0, before.index(VM.encode())]


def test_the_first_block_tells_a_reader_that_the_store_is_another() -> None:
    before = store({NAMES[1]: document("x"), VM: document("a")})
    packed = after(before, put(before, VM, document("b")))
    assert packed[:512] != before[:512]
    assert packed[512:1024] == before[512:1024]
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getmember("info.json").mtime == MTIME_S


def test_the_same_document_is_no_change() -> None:
    before = store({VM: document("a")})
    change = put(before, VM, document("a"))
    assert (change.is_none, change.length) == (True, len(before))


def test_a_damaged_archive_is_not_touched() -> None:
    before = store({NAMES[1]: document("x"), VM: document("a")})
    with pytest.raises(archive.Damaged):
        put(before[:1024] + b"?" * 512 + before[1536:], VM, document("b"))


def test_a_store_under_change_is_good_for_no_reader_and_known_to_us() -> None:
    before = store({VM: document("a")})
    marked = store_change.under_change(before[:512]) + before[512:]
    assert store_change.is_under_change(marked[:512])
    assert not store_change.is_under_change(before[:512])
    with pytest.raises(archive.Damaged):
        list(archive.survey(lambda offset, length: marked[offset : offset + length], len(marked)))
    with pytest.raises(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(marked)):
        pass


def test_headers_are_those_of_the_engines_library() -> None:
    mine = store_change.header(VM, 1234, 1_610_727_900)
    theirs = golden_ovf.STORE["entries"]
    first = (golden_ovf.HERE / "ovf_store.tar").read_bytes()[:512]
    assert len(theirs) > 1
    same = [*range(100, 124), *range(156, 157), *range(257, 265)]  # mode, owner, type, magic
    assert [mine[at] for at in same] == [first[at] for at in same]
