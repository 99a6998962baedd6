#!/usr/bin/env python3
"""Our read of the engine VM's OVF against ``dd bs=4k if=VOLUME | tar -xOf - NAME``.

A store of 5000 VMs, 20 KiB each, on a volume of 128 MiB; the engine VM is in
the middle. All are run in turn; medians are compared. CPU time is user and
system time, of threads and children too.

The verdict is against the reference with the volume in the page cache, where it
reads memory and ours the disk. A first read meets a page cache without the
volume: the reference's figure for that ("cold") is shown beside it. "Plain
direct reads" is what the disk takes for the same bytes.

    python bench/ovf_store.py [--rounds 15] [--directory /var/tmp]
"""

import argparse
import asyncio
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from ovirt_he_agent import directio  # noqa: E402 the repository's own, without an installation
from ovirt_he_agent.adapters.ovfstore import search  # noqa: E402
from ovirt_he_agent.core import model  # noqa: E402

SAMPLE = REPOSITORY / "tests/golden/ovf/s02-v42-engine-xml-with-lease.ovf"
VM_ID = "b6bd28c6-cb69-431f-ad65-37efa6931f8c"
DOMAIN_ID = "76a79a20-8ce3-432d-8c1e-112b88ef9510"
VMS = 5000
DOCUMENT_BYTES = 20 << 10
VOLUME_BYTES = 128 << 20
UNCHANGED_CHECKS = 50


@dataclass(frozen=True)
class Cost:
    wall_s: float
    cpu_s: float


def build(path: Path) -> int:
    """Write the volume; the length of its archive in bytes."""
    document = SAMPLE.read_bytes()
    padding = b"x" * (DOCUMENT_BYTES - len(document))
    document = document.replace(b"<Comment></Comment>", b"<Comment>" + padding + b"</Comment>", 1)
    assert len(document) == DOCUMENT_BYTES
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        add("info.json", b"{}")
        for number in range(VMS):
            vm_id = VM_ID if number == VMS // 2 else f"{number:08d}-0000-4000-8000-000000000000"
            add(f"{vm_id}.ovf", document.replace(VM_ID.encode(), vm_id.encode()))
        add("metadata.json", b"{}")
    content = buffer.getvalue()
    with path.open("wb") as volume:
        volume.write(content)
        volume.write(bytes(VOLUME_BYTES - len(content)))
        os.fsync(volume.fileno())
    return len(content)


class Catalog:
    """One volume, as VDSM describes it."""

    def __init__(self, path: Path, archive_bytes: int) -> None:
        self.path = path
        self.description = json.dumps(
            {
                "Updated": True,
                "Size": archive_bytes,
                "Last Updated": "Fri Jan 15 16:45:00 UTC 2021",
                "Storage Domains": [{"uuid": DOMAIN_ID}],
                "Disk Description": "OVF_STORE",
            }
        )

    async def image_ids(self, domain_id: str) -> tuple[str, ...]:
        return ("image",)

    async def volume_ids(self, domain_id: str, image_id: str) -> tuple[str, ...]:
        return ("volume",)

    async def volume_info(self, domain_id: str, image_id: str, volume_id: str) -> model.VolumeInfo:
        return model.VolumeInfo(
            domain_id=domain_id,
            image_id=image_id,
            volume_id=volume_id,
            is_leaf=True,
            description=self.description,
            disk_type="OVFS",
            apparent_size_bytes=VOLUME_BYTES,
            lease=None,
        )

    async def prepare_image(self, domain_id: str, image_id: str, volume_id: str) -> Path:
        return self.path


def cpu_s() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def forget(path: Path) -> None:
    """Drop the volume from the page cache."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def plain_direct_reads(path: Path) -> Cost:
    """The volume up to the middle of the archive, in the same pieces as ours."""
    cpu, start = cpu_s(), time.perf_counter()
    with directio.DirectFile(path) as volume:
        for offset in range(0, VMS // 2 * (DOCUMENT_BYTES + 512), 1 << 20):
            volume.view(1 << 20, offset)
    return Cost(time.perf_counter() - start, cpu_s() - cpu)


def reference(path: Path) -> tuple[Cost, bytes]:
    cpu, start = cpu_s(), time.perf_counter()
    with (
        subprocess.Popen(
            ["dd", "bs=4k", f"if={path}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as dd,
        subprocess.Popen(
            ["tar", "-xOf", "-", f"{VM_ID}.ovf"], stdin=dd.stdout, stdout=subprocess.PIPE
        ) as tar,
    ):
        assert dd.stdout
        dd.stdout.close()
        out, _ = tar.communicate()
    return Cost(time.perf_counter() - start, cpu_s() - cpu), out


class Ours:
    """A store that is checked, under a clock that we move."""

    def __init__(self, path: Path, archive_bytes: int) -> None:
        self.now_ms = 0
        self.store = search.OvfStore(
            Catalog(path, archive_bytes),
            domain_id=DOMAIN_ID,
            vm_id=VM_ID,
            clock=lambda: model.MonotonicMs(self.now_ms),
        )

    async def check(self) -> tuple[Cost, search.StoreReading]:
        cpu, start = cpu_s(), time.perf_counter()
        reading = await self.store.check()
        return Cost(time.perf_counter() - start, cpu_s() - cpu), reading


processes: list[str] = []


def watch_processes(event: str, _: tuple[object, ...]) -> None:
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec"):
        processes.append(event)


@dataclass(frozen=True)
class Costs:
    cold: list[Cost] = field(default_factory=list)
    warm: list[Cost] = field(default_factory=list)
    plain: list[Cost] = field(default_factory=list)
    first: list[Cost] = field(default_factory=list)
    unchanged: list[Cost] = field(default_factory=list)


async def measure(path: Path, archive_bytes: int, rounds: int) -> bool:
    costs = Costs()
    children = 0
    for _ in range(rounds):
        forget(path)
        cost, out = reference(path)
        costs.cold.append(cost)
        cost, out = reference(path)
        costs.warm.append(cost)
        costs.plain.append(plain_direct_reads(path))
        ours = Ours(path, archive_bytes)
        processes.clear()
        cost, reading = await ours.check()
        costs.first.append(cost)
        assert reading.document == out
        ours.now_ms += search.SETTLE_MS
        _, reading = await ours.check()
        assert reading.settled
        for _ in range(UNCHANGED_CHECKS):
            ours.now_ms += 1_000
            cost, reading = await ours.check()
            assert not reading.changed
            costs.unchanged.append(cost)
        children += len(processes)
        ours.store.close()
    return report(costs, children)


def wall(costs: list[Cost]) -> float:
    """Median in ms."""
    return statistics.median(cost.wall_s for cost in costs) * 1000


def cpu(costs: list[Cost]) -> float:
    """Median in ms."""
    return statistics.median(cost.cpu_s for cost in costs) * 1000


def report(costs: Costs, children: int) -> bool:
    rows = (
        ("first read, wall", wall(costs.first), wall(costs.warm), wall(costs.cold), 2 / 3),
        ("first read, CPU", cpu(costs.first), cpu(costs.warm), cpu(costs.cold), 1 / 10),
        ("unchanged check, wall", wall(costs.unchanged), wall(costs.warm), wall(costs.cold), 1 / 300),
    )
    good = children == 0
    print(
        f"{'':22}{'ours':>10}{'dd | tar':>12}{'ratio':>9}{'limit':>9}{'':8}{'cold dd | tar':>14}{'ratio':>9}"
    )
    for name, ours, warm, cold, limit in rows:
        good &= ours / warm <= limit
        verdict = "PASS" if ours / warm <= limit else "FAIL"
        print(
            f"{name:22}{ours:7.2f} ms{warm:9.1f} ms{ours / warm:9.4f}{limit:9.4f}  {verdict}  "
            f"{cold:11.1f} ms{ours / cold:9.4f}"
        )
    print(f"{'child processes':22}{children:10}{'':30}  {'PASS' if children == 0 else 'FAIL'}")
    print(
        f"plain direct reads of these bytes: wall {wall(costs.plain):.1f} ms, CPU {cpu(costs.plain):.1f} ms"
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="OVF_STORE: our read against dd | tar")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on a disk with direct I/O")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as root:
        path = Path(root) / "volume"
        archive_bytes = build(path)
        with directio.DirectFile(path) as volume:
            how = "direct I/O" if volume.direct else "no direct I/O here: cached reads, pages dropped first"
        print(f"{VMS} VMs, archive {archive_bytes >> 20} MiB, {options.rounds} rounds, {how}")
        sys.addaudithook(watch_processes)
        return 0 if asyncio.run(measure(path, archive_bytes, options.rounds)) else 1


if __name__ == "__main__":
    sys.exit(main())
