"""The libvirt domain embedded for the engine's own VM: is it ours, and is the VM protected in it?

Facts: VDSM takes the VM's id from this text and ignores the one beside it;
it adds no lease by itself, and a disk without ``exclusive`` gets none looked at
(vdsm: lib/vdsm/virt/metadata.py, virt/vmdevices/lease.py). It reads a metadata
leaf with or without the namespace; the last of two counts.
"""

from collections.abc import Iterable, Sequence

from lxml import etree

from ovirt_he_agent.ovf import problems, record, safe_xml, vmspec
from ovirt_he_agent.ovf.problems import named

OVIRT_VM = "{http://ovirt.org/vm/1.0}"


def examine(
    text: str, vm_id: str, disks: Sequence[vmspec.ImageDisk], warnings: problems.Warnings
) -> vmspec.EngineXml:
    """What the EngineXml ``text`` of the VM ``vm_id`` says; ``disks`` are its plugged image disks."""
    try:
        root = safe_xml.parse_text(text)
    except problems.BadDocument as e:
        warnings.add(f"EngineXml: it is left aside: {e.reason}")
        return _foreign(text, uuid=None, well_formed=False)
    uuid = root.findtext("uuid") or None
    if root.tag != "domain":
        warnings.add(f"EngineXml: its root is {record.shown(root.tag)} and no domain with the VM's uuid")
        return _foreign(text, uuid=uuid, well_formed=True)
    if uuid != vm_id:
        warnings.add(
            f"EngineXml: its uuid {record.shown(uuid or '')} is not the VM's, {vm_id}; it is left aside"
        )
        return _foreign(text, uuid=uuid, well_formed=True)
    return _ours(text, root, vm_id, disks, warnings)


def _foreign(text: str, *, uuid: str | None, well_formed: bool) -> vmspec.EngineXml:
    return vmspec.EngineXml(
        text=text,
        well_formed=well_formed,
        uuid=uuid,
        ours=False,
        exclusive_volume_ids=(),
        leases=(),
        console_alias=None,
        min_guaranteed_mib=None,
        missing=(),
        unprotected=(),
    )


def _ours(
    text: str,
    root: etree._Element,
    vm_id: str,
    disks: Sequence[vmspec.ImageDisk],
    warnings: problems.Warnings,
) -> vmspec.EngineXml:
    metadata = root.find(f"metadata/{OVIRT_VM}vm")
    exclusive = _exclusive_volume_ids(metadata)
    leases = tuple(leases_of(root))
    held = {(lease.key, lease.lockspace) for lease in leases}
    missing: set[vmspec.Missing] = set()
    unprotected: list[str] = []
    for disk in disks:
        if disk.shareable:
            continue
        lacks = []
        if disk.volume_id not in exclusive:
            missing.add(vmspec.Missing.EXCLUSIVE)
            lacks.append("is not marked exclusive")
        if disk.domain_id is None or (disk.volume_id, disk.domain_id) not in held:
            missing.add(vmspec.Missing.VOLUME_LEASE)
            lacks.append(f"has no lease on storage domain {named(disk.domain_id) or 'unknown'}")
        if lacks:
            unprotected.append(
                f"volume {named(disk.volume_id)} of disk {named(disk.alias)} {' and '.join(lacks)}"
            )
    if not leases:
        missing.add(vmspec.Missing.VOLUME_LEASE)
        if not unprotected:
            unprotected.append("it has no lease at all")
    if missing:
        warnings.add(f"EngineXml: it cannot be sent as it is: {'; '.join(unprotected)}")
    console = root.find("devices/console/alias")
    return vmspec.EngineXml(
        text=text,
        well_formed=True,
        uuid=vm_id,
        ours=True,
        exclusive_volume_ids=tuple(sorted(exclusive)),
        leases=leases,
        console_alias=(console.get("name") or None) if console is not None else None,
        min_guaranteed_mib=_min_guaranteed(metadata, warnings),
        missing=tuple(word for word in vmspec.Missing if word in missing),
        unprotected=tuple(unprotected),
    )


def leaf(element: etree._Element, name: str) -> str | None:
    """A metadata value as VDSM reads it: with or without the namespace, the last of several."""
    texts = [child.text for child in element if child.tag in (name, OVIRT_VM + name) and not len(child)]
    return texts[-1] or None if texts else None


def _exclusive_volume_ids(metadata: etree._Element | None) -> set[str]:
    devices = metadata.findall(OVIRT_VM + "device") if metadata is not None else []
    volumes = [
        leaf(device, "volumeID")
        for device in devices
        if device.get("devtype") == "disk" and leaf(device, "shared") == "exclusive"
    ]
    return {volume_id for volume_id in volumes if volume_id is not None}


def leases_of(root: etree._Element) -> Iterable[vmspec.Lease]:
    """Every ``lease`` element of a domain, as written."""
    for element in root.iterfind("devices/lease"):
        target = element.find("target")
        offset = target.get("offset") if target is not None else None
        yield vmspec.Lease(
            key=element.findtext("key") or "",
            lockspace=element.findtext("lockspace") or "",
            path=(target.get("path") or None) if target is not None else None,
            offset_bytes=record.number(offset or ""),
        )


def _min_guaranteed(metadata: etree._Element | None, warnings: problems.Warnings) -> int | None:
    text = leaf(metadata, "minGuaranteedMemoryMb") if metadata is not None else None
    if text is None:
        return None
    value = record.number(text)
    if value is None:
        warnings.add(f"EngineXml: minGuaranteedMemoryMb is {record.shown(text)}, not a number")
    return value
