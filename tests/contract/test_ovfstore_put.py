"""``ovf put``: whatever is cut off and whenever, a good store is there; and what VDSM is told."""

import itertools
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ovirt_he_agent import directio
from ovirt_he_agent.adapters.ovfstore import failures as one_store_failures
from ovirt_he_agent.adapters.ovfstore import one_store
from ovirt_he_agent.adapters.ovfstore.put import failures, plan, store, write
from ovirt_he_agent.ovf import archive
from tests import golden_ovf
from tests.golden_ovf import S02, S02_VM, S04, S04_VM

ROOT = Path(__file__).parents[2]
NAME = f"{S02_VM}.ovf"
OTHER = f"{S04_VM}.ovf"
OLD = golden_ovf.data(S02)
NEW = golden_ovf.altered(S02, ("<Generation>12<", "<Generation>13<"), ("<Comment>", "<Comment>" + "x" * 3000))
SAME_SIZE = golden_ovf.altered(S02, ("<Generation>12<", "<Generation>13<"))
FAR_APART = golden_ovf.altered(
    S02, ("<Generation>12<", "<Generation>13<"), (">other_linux<", ">other_linuX<")
)
"""Of the old one's length, two blocks changed: with only one of them it is well formed, and wrong."""
THIRD = "aaaaaaaa-0000-4000-8000-000000000000.ovf"
THIRD_DOCUMENT = golden_ovf.data(S04)
STORE = golden_ovf.tar(
    {"info.json": b"{}", NAME: OLD, OTHER: golden_ovf.data(S04), "metadata.json": b'{"VM Status":{}}'}
)


def entries(content: bytes) -> dict[str, bytes]:
    """Of a good store; raises ``archive.BadArchive`` for any other."""
    found = {}
    for one in archive.survey(lambda offset, length: content[offset : offset + length], len(content)):
        if one.damage is not None:
            raise one.damage
        assert one.data is not None
        found[one.entry.name] = one.data
    return found


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "ovirt_he_agent", "ovf", "put", *map(str, arguments)],
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command keeps copies."""
    monkeypatch.setenv("OVIRT_HE_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "new.ovf").write_bytes(NEW)
    return tmp_path / "new.ovf"


@pytest.fixture
def roomy(tmp_path: Path) -> Path:
    """A regular file with the remains of something longer after its archive, as a volume has them."""
    (tmp_path / "store").write_bytes(STORE + b"\xaa" * 50_000)
    return tmp_path / "store"


# Cut off


@dataclass
class Devices:
    """Two stores that are changed where they lie: files that ``in_place`` and the reader take for devices."""

    directory: Path
    contents: list[bytes]

    @property
    def paths(self) -> list[Path]:
        return [self.directory / str(number) for number in range(len(self.contents))]

    def look(self) -> list[store.Store]:
        for path, content in zip(self.paths, self.contents, strict=True):
            path.write_bytes(content)
        copies = self.directory / "copies"
        return [replace(store.look(path, NAME, copies), is_device=True) for path in self.paths]

    def put(self, document: bytes) -> Iterator[tuple[int, bytes]]:
        """Every write of a put into both, (which, content after it), torn in the ways that a disk may."""
        for turn in [found.path for found in store.in_turn(self.look())]:
            stores = self.look()
            number = self.paths.index(turn)
            others = [other for other in stores if other.path != turn]
            planned = plan.prepare(
                stores[number], others, NAME, document, mtime_s=1_700_000_000, room_bytes=90_000
            )
            if planned.change.is_none:
                continue
            assert planned.in_place
            kept = write.keep_copy(planned, self.directory / "copies") or ""
            volume = self.contents[number]
            for offset, data in write.in_place(volume[: archive.BLOCK], planned.change, kept):
                for torn in tears(volume, offset, data):
                    yield number, torn
                volume = volume[:offset] + data + volume[offset + len(data) :]
                self.contents[number] = volume


def tears(volume: bytes, offset: int, data: bytes) -> Iterator[bytes]:
    """The volume when a write is cut off: the first sectors are there, or any of them."""
    order = list(range(0, len(data), 512))
    for sectors in (order, order[::-1], random.Random(len(data)).sample(order, len(order))):
        content = bytearray(volume)
        for at in sectors:
            content[offset + at : offset + at + 512] = data[at : at + 512]
            yield bytes(content)


MORE = golden_ovf.tar(
    {"info.json": b'{"n":2}', OTHER: golden_ovf.data(S04), NAME: OLD, THIRD: THIRD_DOCUMENT}
)


@pytest.fixture
def devices(tmp_path: Path) -> Devices:
    """They differ: a cut must not cost what only one of them holds."""
    remains = random.Random(1).randbytes(40_000)  # of longer archives
    return Devices(tmp_path, [STORE + remains, MORE + remains])


@pytest.mark.parametrize("document", [NEW, SAME_SIZE, FAR_APART], ids=["longer", "same size", "far apart"])
def test_whichever_write_of_two_stores_is_cut_a_good_one_is_there(devices: Devices, document: bytes) -> None:
    before = [entries(STORE), entries(MORE)]
    seen = 0
    for number, torn in devices.put(document):
        seen += 1
        good = 0
        for which, content in ((number, torn), (1 - number, devices.contents[1 - number])):
            try:
                found = entries(content)
            except archive.BadArchive:
                continue
            good += 1
            assert found.pop(NAME) in (OLD, document)
            assert found == {name: data for name, data in before[which].items() if name != NAME}
        assert good, "no store can be read"
        (devices.directory / "torn").write_bytes(torn)
        try:
            seen_by_agent = one_store.read(devices.directory / "torn", S02_VM).data
        except one_store_failures.StoreDamaged:
            continue
        assert seen_by_agent in (OLD, document)
    assert seen >= 2 * 3 * 3  # stores, writes, tears
    assert [entries(content) for content in devices.contents] == [one | {NAME: document} for one in before]


def test_whatever_was_cut_is_whole_after_the_same_put_again(devices: Devices) -> None:
    after = [entries(STORE) | {NAME: NEW}, entries(MORE) | {NAME: NEW}]
    writes = sum(1 for _ in Devices(devices.directory, list(devices.contents)).put(NEW))
    for cut in range(0, writes, 7):
        again = Devices(devices.directory, list(devices.contents))
        number, torn = next(itertools.islice(again.put(NEW), cut, None))
        again.contents[number] = torn
        for _ in again.put(NEW):
            pass
        assert [entries(content) for content in again.contents] == after


def test_a_copy_that_is_not_whole_is_none(devices: Devices) -> None:
    _, torn = next(itertools.islice(devices.put(NEW), 30, None))
    devices.contents[0] = torn
    assert devices.look()[0].copy is not None
    (kept,) = (devices.directory / "copies").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    assert devices.look()[0].copy is None


def test_a_device_whose_description_says_that_it_is_torn_is_no_good_store(devices: Devices) -> None:
    found = devices.look()[0]
    assert not found.not_updated(NEW).is_good
    assert found.not_updated(OLD).is_good, "this is what a put leaves that could not set the description"
    assert replace(found, is_device=False).not_updated(NEW).is_good, "a file is emptied before an update"
    planned = plan.prepare(found, [found], NAME, NEW, mtime_s=1_700_000_000, room_bytes=90_000)
    write.keep_copy(planned, devices.directory / "copies")
    assert devices.look()[0].not_updated(NEW).is_good, (
        "this is what a put leaves that was cut before it wrote"
    )


@pytest.mark.real("direct-io")
def test_a_file_is_changed_where_it_lies_where_none_can_be_made(tmp_path: Path) -> None:
    for name, content in (("one", STORE), ("two", STORE + bytes(10240))):
        (tmp_path / name).write_bytes(content)
    one, two = (store.look(tmp_path / name, NAME, tmp_path / "copies") for name in ("one", "two"))
    planned = plan.prepare(one, [two], NAME, NEW, mtime_s=1_700_000_000, room_bytes=None)
    planned = replace(planned, in_place=True)
    write.write(planned, NAME, tmp_path / "copies", write.keep_copy(planned, tmp_path / "copies"))
    content = (tmp_path / "one").read_bytes()
    assert entries(content) == entries(STORE) | {NAME: NEW}
    assert len(content) == planned.change.length
    assert len(content) % 10240 == 0
    again = store.look(tmp_path / "one", NAME, tmp_path / "copies")
    shorter = plan.prepare(again, [two], NAME, OLD, mtime_s=1_700_000_000, room_bytes=None)
    write.write(replace(shorter, in_place=True), NAME, tmp_path / "copies", None)
    assert entries((tmp_path / "one").read_bytes()) == entries(STORE)
    assert (tmp_path / "one").stat().st_size == len(STORE)


def test_what_was_written_since_it_was_looked_at_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_bytes(STORE)
    found = store.look(path, NAME, tmp_path / "copies")
    planned = plan.prepare(found, [], NAME, SAME_SIZE, mtime_s=1_700_000_000, room_bytes=None)
    by_the_engine = golden_ovf.tar({"info.json": b"{}", NAME: OLD}, mtime=1_710_000_000)
    path.write_bytes(by_the_engine)
    for in_place in (False, True):
        with pytest.raises(failures.StoreProblem, match="changed meanwhile"):
            write.write(replace(planned, in_place=in_place), NAME, tmp_path / "copies", None)
        assert path.read_bytes() == by_the_engine


@pytest.mark.parametrize("moment", ["started", "writing", "renamed"])
def test_a_process_that_is_killed_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, new: Path, moment: str
) -> None:
    path = tmp_path / "volume"
    path.write_bytes(STORE + bytes(2000 * 10240))
    inode = path.stat().st_ino
    moments: dict[str, Callable[[], bool]] = {
        "started": lambda: True,
        "writing": (tmp_path / ".volume.new").exists,
        "renamed": lambda: path.stat().st_ino != inode,
    }
    reached = moments[moment]
    arguments = [str(new), "--store", str(path), "--size", "99999"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ovirt_he_agent", "ovf", "put", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None and not reached():
        pass
    process.kill()
    process.wait(10)
    found = entries(path.read_bytes())
    assert found in (entries(STORE), entries(STORE) | {NAME: NEW})
    assert run(new, "--store", path, "--size", "99999")[0] == 0
    assert entries(path.read_bytes()) == entries(STORE) | {NAME: NEW}
    assert not (tmp_path / ".volume.new").exists()


# The command


def test_a_file_gets_the_document_and_keeps_all_else(roomy: Path, new: Path) -> None:
    os.chmod(roomy, 0o640)
    before = roomy.read_bytes()
    code, out, err = run(new, "--store", roomy, "--size", str(len(STORE) + 20_480))
    assert (code, err) == (0, "")
    assert "written and read back" in out
    assert entries(roomy.read_bytes()) == entries(before) | {NAME: NEW}
    assert roomy.stat().st_mode & 0o777 == 0o640
    assert len(roomy.read_bytes()) == len(before)
    assert roomy.read_bytes()[-30_000:] == before[-30_000:]
    assert [p.name for p in roomy.parent.iterdir() if p.name.startswith(".")] == []


def test_what_would_outgrow_its_size_is_refused_and_nothing_written(tmp_path: Path, new: Path) -> None:
    full = golden_ovf.tar({NAME: OLD}, record=512)
    for number, content in enumerate((full, STORE + b"\xaa" * 50_000)):
        path = tmp_path / str(number)
        path.write_bytes(content)
        before = path.stat()
        code, out, err = run(new, "--store", path)
        assert (code, out) == (5, "")
        assert "readers stop after" in err
        assert "nothing was written" in err
        assert path.read_bytes() == content
        assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_new_vm_is_added_where_there_is_room(tmp_path: Path, new: Path) -> None:
    path = tmp_path / "store"
    without = golden_ovf.tar({"info.json": b"{}", OTHER: golden_ovf.data(S04)})
    path.write_bytes(without)
    assert run(new, "--store", path)[0] == 5
    path.write_bytes(without + bytes(30_720))
    assert run(new, "--store", path, "--size", str(len(without) + 30_720))[0] == 0
    assert entries(path.read_bytes()) == entries(without) | {NAME: NEW}


def test_an_older_generation_is_refused_unless_asked_for(roomy: Path, new: Path, tmp_path: Path) -> None:
    size = ("--size", str(len(STORE) + 20_480))
    assert run(new, "--store", roomy, *size)[0] == 0
    old = tmp_path / "old.ovf"
    old.write_bytes(OLD)
    code, _, err = run(old, "--store", roomy, *size)
    assert code == 5
    assert "generation 13" in err
    assert "--older" in err
    assert run(old, "--store", roomy, *size, "--older")[0] == 0
    assert entries(roomy.read_bytes())[NAME] == OLD


def test_the_same_document_again_writes_nothing(roomy: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.ovf"
    old.write_bytes(OLD)
    before = roomy.stat()
    code, out, _ = run(old, "--store", roomy)
    assert code == 0
    assert "unchanged" in out
    assert roomy.stat().st_mtime_ns == before.st_mtime_ns


def test_bad_input_is_told_in_one_line(roomy: Path, new: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.write_bytes(STORE[:9000])
    template = tmp_path / "template.ovf"
    template.write_bytes(golden_ovf.data("b13-template-not-vm.ovf"))
    for arguments, word, expected in (
        ((new, "--store", torn), "the domain's other OVF_STORE", 1),
        ((new, "--store", tmp_path / "nothing"), "cannot be read", 1),
        ((roomy, "--store", roomy), "give the OVF document of one VM", 1),
        ((template, "--store", roomy), "template", 1),
        ((new, "--store", roomy, "--store", roomy), "given twice", 2),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (expected, "")
        assert word in err
        assert "Traceback" not in err


def test_a_vdsm_that_does_not_answer_is_one_line_of_warning(root: Path, new: Path, tmp_path: Path) -> None:
    (root / "etc/ovirt-he-agent").mkdir(parents=True)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and nobody listens
        port = nobody.getsockname()[1]
        options = f"vdsm: {{host: 127.0.0.1, port: {port}, tls: false}}\n"
        (root / "etc/ovirt-he-agent/ovirt-he-agent.yaml").write_text(options)
        store = tmp_path.joinpath(*(f"{n}aaaaaaa-0000-4000-8000-000000000000" for n in "123"))
        store.parent.mkdir(parents=True)
        store.write_bytes(STORE + b"\xaa" * 50_000)
        code, _, err = run(new, "--store", store, "--size", str(len(STORE) + 20_480))
    assert code == 0
    assert err.count("\n") == 1
    assert "warning: without VDSM" in err


def test_a_torn_store_is_made_again_from_the_good_one(roomy: Path, new: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.write_bytes(STORE[:9000])
    assert run(new, "--store", roomy, "--store", torn, "--size", str(len(STORE) + 20_480))[0] == 0
    for path in (roomy, torn):
        assert entries(path.read_bytes()) == entries(STORE) | {NAME: NEW}


@pytest.mark.parametrize(
    "start", [b"\xeb\x63\x90" + bytes(507) + b"\x55\xaa", bytes(1080) + b"\x53\xef", b"vmid=1\n"]
)
def test_what_is_no_store_is_never_overwritten(roomy: Path, new: Path, tmp_path: Path, start: bytes) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(start.ljust(2 << 20, b"\x01"))
    before = disk.read_bytes()
    code, out, err = run(new, "--store", roomy, "--store", disk, "--size", str(len(STORE) + 20_480))
    assert (code, out) == (5, "")
    assert "check the path" in err
    assert disk.read_bytes() == before
    assert entries(roomy.read_bytes()) == entries(STORE)


@pytest.mark.parametrize(
    "damaged", [b"", bytes(4096), b"\xff" * 512 + STORE[512:]], ids=["empty", "zeros", "head"]
)
def test_what_was_a_store_or_becomes_one_is_made_again(
    roomy: Path, new: Path, tmp_path: Path, damaged: bytes
) -> None:
    (tmp_path / "damaged").write_bytes(damaged)
    size = str(len(STORE) + 20_480)
    assert run(new, "--store", roomy, "--store", tmp_path / "damaged", "--size", size)[0] == 0
    assert entries((tmp_path / "damaged").read_bytes()) == entries(STORE) | {NAME: NEW}


def test_another_archive_is_no_store(new: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "configuration"
    configuration.write_bytes(golden_ovf.tar({"version": b"2.5.2", "vm.conf": b"vmId=1"}) + bytes(50_000))
    before = configuration.read_bytes()
    assert run(new, "--store", configuration, "--size", "90000")[0] == 5
    assert configuration.read_bytes() == before


def test_two_names_of_one_file_are_one_store(roomy: Path, new: Path, tmp_path: Path) -> None:
    (tmp_path / "again").hardlink_to(roomy)
    code, _, err = run(new, "--store", roomy, "--store", tmp_path / "again")
    assert code == 2
    assert "given twice" in err


def test_a_document_without_a_generation_is_told_as_such(roomy: Path, tmp_path: Path) -> None:
    nameless = tmp_path / "nameless.ovf"
    nameless.write_bytes(golden_ovf.altered(S02, ("<Generation>12</Generation>", "")))
    code, _, err = run(nameless, "--store", roomy)
    assert code == 5
    assert "the document says none" in err


def test_a_vm_that_the_store_did_not_hold_is_named(tmp_path: Path, new: Path) -> None:
    (tmp_path / "store").write_bytes(golden_ovf.tar({OTHER: golden_ovf.data(S04)}) + bytes(50_000))
    code, out, _ = run(new, "--store", tmp_path / "store", "--size", "90000")
    assert code == 0
    assert f"VM {S02_VM} was added, the store had none of it" in out


def test_a_link_to_a_store_stays_one(tmp_path: Path) -> None:
    same_size = tmp_path / "new.ovf"
    same_size.write_bytes(SAME_SIZE)
    (tmp_path / "link").symlink_to("volume")
    (tmp_path / "volume").write_bytes(STORE)
    assert run(same_size, "--store", tmp_path / "link")[0] == 0
    assert (tmp_path / "link").is_symlink()
    assert entries((tmp_path / "volume").read_bytes())[NAME] == SAME_SIZE


# Block devices


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two loop devices with stores that differ; a machine that has none cannot show this."""
    made = []
    try:
        for number, packed in enumerate((STORE, MORE)):
            file = tmp_path / f"disk{number}"
            file.write_bytes((packed + random.Random(2).randbytes(40_000)).ljust(1 << 20, b"\0"))
            done = subprocess.run(["losetup", "-f", "--show", str(file)], capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"no loop device: {done.stderr.decode().strip()}")
            made.append(Path(done.stdout.decode().strip()))
        yield made[0], made[1]
    finally:
        for device in made:
            subprocess.run(["losetup", "-d", str(device)], check=True)


SIZE = ("--size", str(len(MORE) + 20_480))


def test_a_device_is_only_changed_beside_another_good_one(
    disks: tuple[Path, Path], new: Path, root: Path
) -> None:
    one, two = disks
    before = one.read_bytes()
    code, _, err = run(new, "--store", one, *SIZE)
    assert code == 5
    assert "--store twice" in err
    assert one.read_bytes() == before
    code, out, err = run(new, "--store", one, "--store", two, *SIZE)
    assert (code, err) == (0, "")
    assert out.count("written and read back") == 2
    assert entries(one.read_bytes()) == entries(STORE) | {NAME: NEW}
    assert entries(two.read_bytes()) == entries(MORE) | {NAME: NEW}
    assert list((root / "var/lib/ovirt-he-agent/ovf-put").iterdir()) == []


def cut_off(device: Path, copies: Path) -> None:
    """A put into the device, up to somewhere in its middle."""
    found = store.look(device, NAME, copies)
    other = replace(found, path=device.parent / "other")
    planned = plan.prepare(found, [other], NAME, NEW, mtime_s=1_700_000_000, room_bytes=90_000)
    kept = write.keep_copy(planned, copies)
    with directio.DirectWriter(device) as volume:
        writes = list(write.in_place(found.first_block, planned.change, kept or ""))
        volume.pwrite(writes[0][1], writes[0][0])
        volume.pwrite(writes[1][1][:6000], writes[1][0])


def test_a_put_that_was_cut_off_is_mended_from_the_copy(
    disks: tuple[Path, Path], new: Path, root: Path
) -> None:
    one, two = disks
    copies = root / "var/lib/ovirt-he-agent/ovf-put"
    cut_off(two, copies)
    code, _, err = run(new, "--store", two, *SIZE)
    assert code == 5
    assert "--store twice" in err
    code, _, err = run(new, "--store", one, "--store", two, *SIZE)
    assert (code, err) == (0, "")
    assert entries(one.read_bytes()) == entries(STORE) | {NAME: NEW}
    assert entries(two.read_bytes()) == entries(MORE) | {NAME: NEW}
    assert list(copies.iterdir()) == []


def test_on_another_host_it_is_made_anew_from_the_other_store(
    disks: tuple[Path, Path], new: Path, tmp_path: Path
) -> None:
    one, two = disks
    cut_off(two, tmp_path / "another host")
    code, _, err = run(new, "--store", two, *SIZE)
    assert code == 1
    assert "cut off" in err
    code, _, err = run(new, "--store", one, "--store", two, *SIZE)
    assert code == 0
    assert f"{two} was no good store: it was made anew from {one}" in err
    for device in disks:
        assert entries(device.read_bytes()) == entries(STORE) | {NAME: NEW}
