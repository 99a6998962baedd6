"""Why an embedded domain of ours cannot be sent, not even repaired: one sentence for each fault.

What VDSM refuses, and what is worse: what it skips without a word (a disk
whose metadata does not name it starts unprepared, a lease of another volume is
taken for a VM lease). Of such a domain nothing more is used; one is generated
from the OVF. Facts: vdsm: lib/vdsm/virt/{domain_descriptor,metadata,libvirtxml}.py,
virt/vmdevices/{storagexml,drivename,network,lease}.py.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from lxml import etree

from ovirt_he_agent.ovf import embedded, engine_xml, record, vmspec
from ovirt_he_agent.ovf.problems import named

_PREFIXES = {"ide": "hd", "scsi": "sd", "virtio": "vd", "fdc": "fd", "sata": "sd"}
_OTHER_PREFIX = "hd"
"""VDSM's for every other bus."""
_SHARED_WORDS = ("true", "false", "none", "exclusive", "shared", "transient")
_DRIVERS = {vmspec.VolumeFormat.RAW: "raw", vmspec.VolumeFormat.COW: "qcow2"}
_SMBIOS = ("product", "version", "serial")
_KIB = (None, "KiB", "k")


def reasons(
    spec: vmspec.VmSpec, root: etree._Element, disks: Sequence[embedded.Disk], nics: Sequence[embedded.Nic]
) -> list[str]:
    """Empty: the domain may go, as it is or repaired. ``disks`` and ``nics`` are those of ``root``."""
    if root.find("devices") is None:
        return ["it has no devices"]
    return [
        *_of_the_whole(root),
        *_of_elements(disks),
        *_of_identity(spec, disks),
        *_of_leases(spec, root),
        *_of_nics(spec, nics),
    ]


def _of_the_whole(root: etree._Element) -> Iterable[str]:
    if not root.findtext("name"):
        yield "it has no name"
    if root.find("vcpu") is None:
        yield "it has no vcpu"
    memory = root.find("memory")
    if memory is None or not record.number(memory.text or ""):
        yield "it has no size of memory"
    elif memory.get("unit") not in _KIB:
        yield f"its memory is given in {memory.get('unit')}, which VDSM takes for KiB"
    for entry in root.iterfind("sysinfo/system/entry"):
        if entry.get("name") in _SMBIOS and not entry.text:
            yield f"its SMBIOS {entry.get('name')} is empty"
    for name, kind, text in embedded.typed_values(root):
        if not _fits(kind, text):
            yield f"its metadata {name} is {record.shown(text)}, not of type {kind}"


def _fits(kind: str, text: str) -> bool:
    try:
        match kind:
            case "int":
                int(text)
            case "float":
                float(text)
    except ValueError:
        return False
    return True


def _of_elements(disks: Sequence[embedded.Disk]) -> Iterable[str]:
    """What VDSM needs of each ``disk`` element, CD-ROMs too."""
    for disk in disks:
        if disk.dev is None:
            yield "a disk has no target name"
        elif _PREFIXES.get(disk.bus or "", _OTHER_PREFIX) != disk.dev[:2]:
            yield f"{disk.what} is on bus {named(disk.bus)}: VDSM would rename it and then skip it"
        for name in ("driver", "source"):
            if disk.element.find(name) is None:
                yield f"{disk.what} has no {name}"
        if not disk.element.get("type"):
            yield f"{disk.what} has no type"
        if len(disk.metadata) > 1:
            yield f"{disk.what} is in the metadata twice"
        for metadata in disk.metadata[:1]:
            word = (engine_xml.leaf(metadata, "shared") or "false").lower()
            if word not in _SHARED_WORDS:
                yield f"{disk.what} is shared {record.shown(word)}, a word that VDSM does not know"
            elif word == "transient":
                # safety: marked exclusive instead, it would write into a volume that others build on
                yield f"{disk.what} is transient: it is a snapshot that was attached for a while"
    for dev, count in Counter(disk.dev for disk in disks if disk.dev).items():
        if count > 1:
            yield f"{count} disks are called {dev}"


def _of_identity(spec: vmspec.VmSpec, disks: Sequence[embedded.Disk]) -> Iterable[str]:
    """Its disks are the OVF's, one by one, or a disk would be opened whose protection nobody looked at."""
    images = {(d.domain_id, d.image_id, d.volume_id): d for d in spec.plugged_images}
    luns = {d.lun_id for d in spec.disks if isinstance(d, vmspec.LunDisk) and d.plugged}
    found: Counter[tuple[str | None, str | None, str | None]] = Counter()
    found_luns: Counter[str] = Counter()
    for disk in disks:
        if not disk.is_drive:
            continue
        if disk.volume_id is not None:
            ids = (disk.domain_id, disk.image_id, disk.volume_id)
            found[ids] += 1
            if ids not in images:
                yield f"{disk.what} is volume {disk.volume_id}, which the OVF does not start the VM with"
            else:
                yield from _of_image(disk, images[ids])
        elif disk.lun_id is not None:
            found_luns[disk.lun_id] += 1
            if disk.lun_id not in luns:
                yield f"{disk.what} is LUN {disk.lun_id}, which the OVF does not start the VM with"
        else:
            yield f"{disk.what} is not identified by the metadata, so VDSM would not prepare it"
    for ids, image in images.items():
        if image.domain_id is None:
            yield f"the OVF names no storage domain of disk {named(image.alias)}"
        elif found[ids] != 1:
            yield f"volume {image.volume_id} of disk {named(image.alias)} is in it {_times(found[ids])}"
    for lun_id in sorted(luns):
        if found_luns[lun_id] != 1:
            yield f"LUN {lun_id} is in it {_times(found_luns[lun_id])}"


def _of_image(disk: embedded.Disk, image: vmspec.ImageDisk) -> Iterable[str]:
    """safety: VDSM believes the format that is written, and a guest that sees a qcow2 as raw destroys it."""
    driver = disk.element.find("driver")
    written = driver.get("type") if driver is not None else None
    right = _DRIVERS.get(image.format)
    if right is not None and written != right:
        yield f"{disk.what} is read as {named(written) or 'nothing'}, and the OVF says that it is {right}"
    if image.snapshot_id is not None:
        yield f"{disk.what} is a snapshot that was attached for a while"
    if disk.element.find("shareable") is not None and not image.shareable:
        yield f"{disk.what} is shareable, and the OVF says that it is not"


def _times(count: int) -> str:
    return f"{count} times" if count else "not at all"


def _of_leases(spec: vmspec.VmSpec, root: etree._Element) -> Iterable[str]:
    """VDSM fills in the places of the disks' leaves only; any other lease it takes for a VM lease."""
    leaves = {(image.volume_id, image.domain_id) for image in spec.plugged_images}
    seen = set()
    for lease in engine_xml.leases_of(root):
        if not lease.key or not lease.lockspace:
            yield "a lease has no key or no lockspace"
            continue
        if lease.key != spec.vm_id and (lease.key, lease.lockspace) not in leaves:
            yield f"a lease is of {lease.key} on {lease.lockspace}, which is no disk's leaf volume"
        if (lease.key, lease.lockspace) in seen:
            yield f"the lease of {lease.key} is in it twice"
        seen.add((lease.key, lease.lockspace))


def _of_nics(spec: vmspec.VmSpec, nics: Sequence[embedded.Nic]) -> Iterable[str]:
    for nic in nics:
        if nic.mac is None:
            yield "a NIC has no MAC address"
        elif nic.element.get("type") == "bridge" and (nic.source is None or not nic.source.get("bridge")):
            yield f"{nic.what} names no bridge, so VDSM would connect it to nothing"
        if len(nic.metadata) > 1:
            yield f"{nic.what} is in the metadata twice"
    macs = Counter(nic.mac for nic in nics)
    plugged = [nic for nic in spec.nics if nic.plugged]
    for wanted in plugged:
        if wanted.mac is not None and macs[wanted.mac.lower()] != 1:
            yield f"NIC {named(wanted.name)} ({wanted.mac}) is in it {_times(macs[wanted.mac.lower()])}"
    if len(nics) < len(plugged):
        yield f"it has {len(nics)} of the {len(plugged)} NICs"
