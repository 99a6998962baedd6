"""``ovf put``: whatever is cut off and whenever, a good store is there; and what VDSM is told."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovirt_he_agent.adapters.ovfstore import put
from ovirt_he_agent.ovf import archive
from tests import golden_ovf
from tests.golden_ovf import S02, S02_VM, S04, S04_VM

ROOT = Path(__file__).parents[2]
NAME = f"{S02_VM}.ovf"
OTHER = f"{S04_VM}.ovf"
OLD = golden_ovf.data(S02)
NEW = golden_ovf.altered(S02, ("<Generation>12<", "<Generation>13<"), ("<Comment>", "<Comment>" + "x" * 3000))
SAME_SIZE = golden_ovf.altered(S02, ("<Generation>12<", "<Generation>13<"))
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


def cuts(volume: bytes, writes: Iterator[tuple[int, bytes]]) -> Iterator[bytes]:
    """The volume after each block of 512 bytes of each write."""
    content = bytearray(volume)
    for offset, data in writes:
        for at in range(0, len(data), 512):
            content[offset + at : offset + at + 512] = data[at : at + 512]
            yield bytes(content)


@pytest.mark.parametrize("new_document", [NEW, SAME_SIZE])
def test_whichever_write_of_two_stores_is_cut_a_good_one_is_there(
    tmp_path: Path, new_document: bytes
) -> None:
    volume = STORE + random.Random(1).randbytes(40_000)  # remains of a longer archive
    before = entries(STORE)
    wanted = {name: {data} for name, data in before.items()} | {NAME: {OLD, new_document}}
    stores = [volume, volume]
    seen_cuts = 0
    for turn in (0, 1):
        path = tmp_path / "volume"
        path.write_bytes(stores[turn])
        found = put.look(path, NAME)
        change = put.prepare(found, [found], NAME, new_document, mtime_s=1_700_000_000, room_bytes=60_000)
        for content in cuts(stores[turn], put.in_place(stores[turn][:512], change)):
            seen_cuts += 1
            good = []
            for store in (content, stores[1 - turn]):
                try:
                    good.append(entries(store))
                except archive.BadArchive:
                    continue
            assert good, "no store can be read"
            for one in good:
                assert one.keys() == wanted.keys()
                assert all(one[name] in wanted[name] for name in wanted)
            stores_after = content
        stores[turn] = stores_after
        assert entries(stores[turn]) == before | {NAME: new_document}
    assert seen_cuts > 2 * len(new_document) // 512


def test_a_process_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path: Path, new: Path) -> None:
    path = tmp_path / "volume"
    for number in range(6):
        path.write_bytes(STORE + bytes(30 * 10240))
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "ovirt_he_agent",
                "ovf",
                "put",
                str(new),
                "--store",
                str(path),
                "--size",
                "99999",
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        time.sleep(0.05 * number)  # any moment will do
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert entries(path.read_bytes()) in (entries(STORE), entries(STORE) | {NAME: NEW})
    assert run(new, "--store", path, "--size", "99999")[0] == 0
    assert entries(path.read_bytes())[NAME] == NEW


# The command


def test_a_file_gets_the_document_and_keeps_all_else(roomy: Path, new: Path) -> None:
    os.chmod(roomy, 0o640)
    before = roomy.read_bytes()
    code, out, err = run(new, "--store", roomy, "--size", str(len(STORE) + 20_480))
    assert (code, err) == (0, "")
    assert "written and read back" in out
    assert entries(roomy.read_bytes()) == entries(before) | {NAME: NEW}
    assert roomy.stat().st_mode & 0o777 == 0o640
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


def test_a_torn_store_is_made_again_from_the_good_one(roomy: Path, new: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.write_bytes(STORE[:9000])
    assert run(new, "--store", roomy, "--store", torn, "--size", str(len(STORE) + 20_480))[0] == 0
    for path in (roomy, torn):
        assert entries(path.read_bytes()) == entries(STORE) | {NAME: NEW}


# Block devices


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two loop devices with the same store; a machine that has none cannot show this."""
    made = []
    try:
        for number in range(2):
            file = tmp_path / f"disk{number}"
            file.write_bytes((STORE + random.Random(2).randbytes(40_000)).ljust(1 << 20, b"\0"))
            done = subprocess.run(["losetup", "-f", "--show", str(file)], capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"no loop device: {done.stderr.decode().strip()}")
            made.append(Path(done.stdout.decode().strip()))
        yield made[0], made[1]
    finally:
        for device in made:
            subprocess.run(["losetup", "-d", str(device)], check=True)


def test_a_device_is_only_changed_beside_another_good_one(devices: tuple[Path, Path], new: Path) -> None:
    one, two = devices
    size = ("--size", str(len(STORE) + 20_480))
    before = one.read_bytes()
    code, _, err = run(new, "--store", one, *size)
    assert code == 5
    assert "--store twice" in err
    assert one.read_bytes() == before
    assert run(new, "--store", one, "--store", two, *size)[0] == 0
    for device in devices:
        assert entries(device.read_bytes()) == entries(STORE) | {NAME: NEW}
    # an interrupted one is mended from the other
    content = bytearray(one.read_bytes())
    content[257:263] = b"heput\0"
    content[4096:8192] = bytes(4096)
    one.write_bytes(content)
    code, _, err = run(new, "--store", one, *size)
    assert code == 1
    assert "cut off" in err
    code, out, err = run(new, "--store", one, "--store", two, *size)
    assert (code, err) == (0, "")
    assert "unchanged" in out
    assert entries(one.read_bytes()) == entries(STORE) | {NAME: NEW}
