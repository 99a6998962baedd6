"""The reader of OVF_STORE archives: every rule on what is live, what is damage and what is never read."""

import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovirt_he_agent.ovf import archive
from tests import golden_ovf

A = "11111111-1111-4111-8111-111111111111.ovf"
B = "22222222-2222-4222-8222-222222222222.ovf"
C = "33333333-3333-4333-8333-333333333333.ovf"


def ovf(text: str = "", size: int = 0) -> bytes:
    body = f"<?xml version='1.0'?><ovf:Envelope>{text}".encode()
    return body + b"x" * max(0, size - len(body) - 15) + b"</ovf:Envelope>"


class Volume:
    """Bytes behind a ``read`` that remembers what was asked of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    def __call__(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return self.data[offset : offset + length]

    @property
    def end_of_reads(self) -> int:
        return max((offset + length for offset, length in self.reads), default=0)


def find(data: bytes, name: str, limit: int | None = None) -> bytes:
    return archive.find(Volume(data), name, len(data) if limit is None else limit).data


def survey(data: bytes, limit: int | None = None) -> tuple[list[archive.Found], list[archive.BadArchive]]:
    """Everything found, and all damage: of entries and what ended the survey."""
    found: list[archive.Found] = []
    damage: list[archive.BadArchive] = []
    try:
        for one in archive.survey(Volume(data), len(data) if limit is None else limit):
            found.append(one)
            if one.damage is not None:
                damage.append(one.damage)
    except archive.BadArchive as e:
        damage.append(e)
    return found, damage


def with_checksum(header: bytes) -> bytes:
    header = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


# The sample store


def test_sample_store_lists_every_entry_in_order() -> None:
    found, damage = survey(golden_ovf.data("ovf_store.tar"))
    assert [one.entry.name for one in found] == golden_ovf.STORE["entries"]
    assert damage == []


@pytest.mark.parametrize("kind", ["tar", "volume", "torn", "truncated"])
def test_engine_vm_is_found_in_every_sample_store(kind: str) -> None:
    document = find(golden_ovf.data(f"ovf_store.{kind}"), f"{golden_ovf.S04_VM}.ovf")
    assert document == golden_ovf.data(golden_ovf.S04)


def test_stale_entry_beyond_the_end_is_never_returned() -> None:
    volume = golden_ovf.data("ovf_store.volume")
    assert b"HostedEngine-STALE" in volume
    found, damage = survey(volume)
    assert [one.entry.name for one in found] == golden_ovf.STORE["entries"]
    assert damage == []
    assert not any(b"HostedEngine-STALE" in (one.data or b"") for one in found)


def test_torn_store_reports_the_cut_entry_and_that_the_rest_is_gone() -> None:
    found, damage = survey(golden_ovf.data("ovf_store.torn"))
    assert [one.entry.name for one in found] == golden_ovf.STORE["entries"][:11]
    assert [found[10].damage is not None, found[9].damage is not None] == [True, False]
    assert len(damage) == 2
    assert "no valid header" in str(damage[1])


def test_truncated_store_reports_where_it_is_cut() -> None:
    found, damage = survey(golden_ovf.data("ovf_store.truncated"))
    assert [one.entry.name for one in found] == golden_ovf.STORE["entries"][:10]
    assert len(damage) == 1
    assert "goes on past the end at byte 130000" in str(damage[0])


# What is read


def test_finding_stops_at_the_wanted_entry() -> None:
    volume = Volume(golden_ovf.tar({A: ovf("a"), B: ovf(size=3 << 20), C: ovf("c", size=5 << 20)}))
    assert archive.find(volume, A, len(volume.data)).data == ovf("a")
    assert volume.reads == [(0, archive.PIECE)]


def test_nothing_is_read_past_the_size_of_the_archive() -> None:
    data = golden_ovf.tar({A: ovf("a"), B: ovf("b")})
    volume = Volume(data + golden_ovf.data("ovf_store.tar"))
    with pytest.raises(archive.NoEntry):
        archive.find(volume, C, len(data))
    assert volume.end_of_reads <= len(data)


def test_nothing_is_read_past_128_mib_whatever_the_volume_says() -> None:
    reads: list[tuple[int, int]] = []
    document = ovf(size=8 << 20)
    entries = golden_ovf.tar({A: document})[: 512 + len(document)]

    def endless(offset: int, length: int) -> bytes:
        reads.append((offset, length))
        at = offset % len(entries)
        return (entries[at:] + entries * (length // len(entries) + 1))[:length]

    with pytest.raises(archive.Damaged, match="goes on past the end at byte 134217728"):
        archive.find(endless, C, 1 << 50)
    assert max(offset + length for offset, length in reads) <= 128 << 20


def test_data_of_an_unwanted_large_entry_is_skipped_by_offset() -> None:
    volume = Volume(golden_ovf.tar({A: ovf(size=7 << 20), B: ovf("b")}))
    assert archive.find(volume, B, len(volume.data)).data == ovf("b")
    assert len(volume.reads) == 2


def test_reads_come_in_whole_pieces_of_one_mib() -> None:
    volume = Volume(golden_ovf.tar({A: ovf(size=3 << 20), B: ovf(size=2 << 20)}))
    for _ in archive.survey(volume, len(volume.data)):
        pass
    assert all(offset % archive.PIECE == 0 and length <= archive.PIECE for offset, length in volume.reads)


def test_entry_across_pieces_is_returned_whole() -> None:
    document = ovf("text", size=(2 << 20) + 77)
    assert find(golden_ovf.tar({A: ovf(size=1_000_000), B: document}), B) == document


# The end


def test_empty_volume_and_zeros_are_no_archive() -> None:
    for data in (b"", bytes(100), bytes(512), bytes(1024), bytes(1 << 20)):
        with pytest.raises(archive.BadArchive) as caught:
            find(data, A)
        assert isinstance(caught.value, archive.Empty) or len(data) == 512


def test_padding_of_older_and_newer_engines_is_good() -> None:
    for record in (512, 10240):
        found, damage = survey(golden_ovf.tar({A: ovf("a")}, record=record))
        assert (len(found), damage) == (1, [])


def test_archive_without_its_closing_zeros_is_damaged() -> None:
    whole = golden_ovf.tar({A: ovf("a")}, record=512)
    for cut in (1024, 512, 100):
        _, damage = survey(whole[:-cut])
        assert len(damage) == 1, cut


def test_size_that_ends_before_the_archive_does_is_damage_and_not_a_shorter_list() -> None:
    whole = golden_ovf.tar({A: ovf("a"), B: ovf("b")}, record=512)
    found, damage = survey(whole, limit=1024)
    assert [one.entry.name for one in found] == [A]
    assert len(damage) == 1


def test_single_zero_block_between_entries_is_damage() -> None:
    first = golden_ovf.tar({A: ovf("a")}, record=512)[:-1024]
    second = golden_ovf.tar({B: ovf("b")}, record=512)
    with pytest.raises(archive.Damaged, match="one block of zeros"):
        find(first + bytes(512) + second, B)


def test_invalid_header_before_the_end_is_damage_and_not_the_end() -> None:
    data = bytearray(golden_ovf.tar({A: ovf("a"), B: ovf("b"), C: ovf("c")}, record=512))
    second = data.index(B.encode())
    data[second + 400] ^= 0xFF
    with pytest.raises(archive.Damaged, match="no valid header"):
        find(bytes(data), C)
    assert find(bytes(data), A) == ovf("a")
    # the reason why the standard library's reader is not used
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as theirs:
        assert theirs.getnames() == [A]


@pytest.mark.parametrize(
    "field",
    [(0, b"\xff" * 40), (124, b"\xff" * 12), (148, b"0000000\0"), (257, b"nottar"), (300, b"changed")],
)
def test_any_altered_header_field_is_noticed(field: tuple[int, bytes]) -> None:
    data = bytearray(golden_ovf.tar({A: ovf("a")}))
    at, value = field
    data[at : at + len(value)] = value
    with pytest.raises(archive.Damaged):
        find(bytes(data), A)


@pytest.mark.parametrize(
    "size", [b"\x80" + b"\xff" * 11, b"99999999999\0", b"77777777777\0", b"-0000000001\0"]
)
def test_size_field_that_lies_is_damage_even_with_a_good_checksum(size: bytes) -> None:
    data = golden_ovf.tar({A: ovf("a")})
    header = with_checksum(data[:124] + size + data[136:512])
    with pytest.raises(archive.Damaged):
        find(header + data[512:], A)


def test_header_of_bytes_above_127_has_an_exact_checksum() -> None:
    data = golden_ovf.tar({A: ovf("a")})
    header = with_checksum(data[:400] + b"\xff" * 112)
    assert find(header + data[512:], A) == ovf("a")
    wrong = bytearray(header)
    wrong[400:402] = b"\xfe\xff"
    with pytest.raises(archive.Damaged):
        find(bytes(wrong) + data[512:], A)


# What is taken


def test_whole_names_are_compared() -> None:
    data = golden_ovf.tar(
        {f"x/{A}": ovf("path"), f"{A}.bak": ovf("tail"), A.upper(): ovf("case"), A: ovf("it")}
    )
    assert find(data, A) == ovf("it")
    with pytest.raises(archive.NoEntry, match="none of its 4 entries"):
        find(data, A[1:])


def tar_with(change: Callable[[tarfile.TarInfo], None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        odd = tarfile.TarInfo(A)
        change(odd)
        tar.addfile(odd)
        good = tarfile.TarInfo(A)
        good.size = len(ovf("file"))
        tar.addfile(good, io.BytesIO(ovf("file")))
    return buffer.getvalue()


def _symlink(info: tarfile.TarInfo) -> None:
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/shadow"


def _hardlink(info: tarfile.TarInfo) -> None:
    info.type, info.linkname = tarfile.LNKTYPE, B


def _directory(info: tarfile.TarInfo) -> None:
    info.type = tarfile.DIRTYPE


@pytest.mark.parametrize("change", [_symlink, _hardlink, _directory])
def test_links_and_directories_are_never_taken_and_are_reported(
    change: Callable[[tarfile.TarInfo], None],
) -> None:
    data = tar_with(change)
    assert find(data, A) == ovf("file")
    found, damage = survey(data)
    assert not found[0].entry.is_file
    assert "no plain file" in str(damage[0])


def test_name_with_ustar_prefix_is_another_name() -> None:
    prefix = "d" * 90
    data = golden_ovf.tar({f"{prefix}/{A}": ovf("deep")})
    with pytest.raises(archive.NoEntry):
        find(data, A)
    assert survey(data)[0][0].entry.name == f"{prefix}/{A}"


def test_second_entry_of_a_name_is_damage_in_a_survey() -> None:
    first = golden_ovf.tar({A: ovf("1")}, record=512)[:-1024]
    data = first + golden_ovf.tar({A: ovf("2")}, record=512)
    found, damage = survey(data)
    assert len(found) == 2
    assert "a second entry" in str(damage[0])
    assert find(data, A) == ovf("1")


@pytest.mark.parametrize("document", [b"", b"garbage", b"<?xml cut", b"x<?xml </ovf:Envelope>", bytes(600)])
def test_entry_that_is_no_document_is_damage(document: bytes) -> None:
    with pytest.raises(archive.Damaged):
        find(golden_ovf.tar({A: document}), A)


def test_zeros_and_white_space_after_the_document_are_no_damage() -> None:
    document = ovf("a") + b"\n \0\0\0"
    assert find(golden_ovf.tar({A: document}), A) == document


def test_entry_larger_than_any_document_is_not_read() -> None:
    volume = Volume(golden_ovf.tar({A: ovf(size=9 << 20)}))
    with pytest.raises(archive.Damaged, match="no OVF is that large"):
        archive.find(volume, A, len(volume.data))
    assert len(volume.reads) == 1


def test_volume_that_shrinks_while_it_is_read_is_damage() -> None:
    data = golden_ovf.tar({A: ovf(size=3 << 20)})

    def shrinking(offset: int, length: int) -> bytes:
        return data[offset : offset + length] if offset < 2 << 20 else b""

    with pytest.raises(archive.Damaged, match="is cut after"):
        archive.find(shrinking, A, len(data))


# Any bytes


@given(st.binary(max_size=5000), st.integers(min_value=0, max_value=1 << 40))
def test_any_bytes_end_in_a_typed_error_without_a_read_past_the_limit(data: bytes, limit: int) -> None:
    volume = Volume(data)
    try:
        archive.find(volume, A, limit)
    except archive.BadArchive:
        pass  # anything else fails this test
    assert volume.end_of_reads <= min(limit, archive.MAX_BYTES)
    survey(data, limit)


@settings(max_examples=200)
@given(
    st.lists(st.integers(min_value=0, max_value=3000), min_size=1, max_size=6),
    st.data(),
)
def test_cut_or_altered_archive_gives_the_document_or_an_error(sizes: list[int], data: st.DataObject) -> None:
    names = [f"{i:08d}-1111-4111-8111-111111111111.ovf" for i in range(len(sizes))]
    documents = {name: ovf(name, size=size) for name, size in zip(names, sizes, strict=True)}
    whole = golden_ovf.tar(documents, record=512)
    assert [one.data for one in survey(whole)[0]] == list(documents.values())
    cut = whole[: data.draw(st.integers(min_value=0, max_value=len(whole) - 1))]
    name = data.draw(st.sampled_from(names))
    try:
        assert find(cut, name) == documents[name]
    except archive.BadArchive:
        pass  # cut before its end
    assert survey(cut)[1]
    at = data.draw(st.integers(min_value=0, max_value=len(whole) - 1))
    altered = whole[:at] + data.draw(st.binary(min_size=1, max_size=700)) + whole[at + 1 :]
    try:
        find(altered, name)
    except archive.BadArchive:
        pass
