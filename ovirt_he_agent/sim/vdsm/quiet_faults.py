"""What VDSM lets pass without a word although the VM then is not what was asked for: here it is refused.

The one place where the emulator is stricter than VDSM, on purpose: a test whose
VM starts unprotected, or without its disk, would otherwise be green. The
facts: vdsm: lib/vdsm/virt/vmdevices/{storage,storagexml,drivename,lease,network}.py,
virt/{domain_descriptor,metadata}.py.
"""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

OVIRT = "{http://ovirt.org/vm/1.0}"
PREFIX_OF_BUS = {"ide": "hd", "scsi": "sd", "virtio": "vd", "fdc": "fd", "sata": "sd"}
IDS = ("poolID", "domainID", "imageID", "volumeID")
SHARED_ON_PURPOSE = ("shared", "true")

Metadata = Sequence[Mapping[str, str]]
"""Of the devices: attributes and plain values together."""


def of(root: ET.Element, metadata: Metadata) -> Iterator[str]:
    """One sentence for each; ``metadata`` is of the devices."""
    if not root.findtext("uuid"):
        yield "there is no uuid, so VDSM calls the VM None"
    memory = root.find("memory")
    if memory is not None and memory.get("unit") not in (None, "KiB", "k"):
        yield f"memory is in {memory.get('unit')}, which VDSM takes for KiB"
    yield from _of_launch_paused(root)
    yield from _of_disks(root, metadata)
    yield from _of_leases(root, metadata)
    for interface in root.findall("devices/interface"):
        source = interface.find("source")
        if interface.get("type") == "bridge" and (source is None or not source.get("bridge")):
            yield "an interface has no source bridge: VDSM puts it on a dummy one"


def _of_launch_paused(root: ET.Element) -> Iterator[str]:
    vm = root.find(f"metadata/{OVIRT}vm")
    words = [e.text for e in vm if e.tag.removeprefix(OVIRT) == "launchPaused"] if vm is not None else []
    if len(set(words)) > 1:
        yield f"launchPaused is there {len(words)} times, and VDSM obeys the last"


def _of_disks(root: ET.Element, metadata: Metadata) -> Iterator[str]:
    held = {(lease.findtext("lockspace"), lease.findtext("key")) for lease in root.findall("devices/lease")}
    names = []
    for disk in root.findall("devices/disk"):
        target = disk.find("target")
        dev, bus = (target.get("dev"), target.get("bus")) if target is not None else (None, None)
        if dev is None:
            continue  # VDSM says so itself
        names.append(dev)
        if PREFIX_OF_BUS.get(bus or "", "hd") != dev[:2]:
            yield f"disk {dev} is on bus {bus}: VDSM renames it, does not find it again and leaves it alone"
        if disk.get("device", "disk") in ("disk", "lun"):
            yield from _of_protection(dev, disk, _of(metadata, dev), held)
    for dev, count in Counter(names).items():
        if count > 1:
            yield f"{count} disks are called {dev}"


def _of(metadata: Metadata, dev: str) -> Mapping[str, str]:
    return next((m for m in metadata if m.get("devtype") == "disk" and m.get("name") == dev), {})


def _of_protection(
    dev: str, disk: ET.Element, known: Mapping[str, str], held: set[tuple[str | None, str | None]]
) -> Iterator[str]:
    if known.get("GUID"):
        return  # a LUN has neither mark nor lease
    if not all(known.get(name) for name in IDS):
        yield f"disk {dev} has no metadata with all of {', '.join(IDS)}: VDSM does not prepare it"
        return
    word = known.get("shared", "false").lower()
    if word == "exclusive":
        if (known["domainID"], known["volumeID"]) not in held:
            yield f"disk {dev} is exclusive and has no lease: VDSM adds none and starts it unprotected"
    elif word not in SHARED_ON_PURPOSE or disk.find("shareable") is None:
        yield f"disk {dev} is neither exclusive nor shareable: VDSM starts it unprotected"


def _of_leases(root: ET.Element, metadata: Metadata) -> Iterator[str]:
    leaves = {(m.get("domainID"), m.get("volumeID")) for m in metadata if m.get("devtype") == "disk"}
    leases = [
        (lease.findtext("lockspace"), lease.findtext("key"))
        for lease in root.findall("devices/lease")
        if lease.findtext("lockspace") and lease.findtext("key")
    ]
    for lease, count in Counter(leases).items():
        if count > 1:
            yield f"there are {count} leases of {lease[1]}"
        if lease not in leaves and lease[1] != root.findtext("uuid"):
            yield f"a lease is of {lease[1]}, no disk's leaf volume: VDSM takes it for a VM lease"
