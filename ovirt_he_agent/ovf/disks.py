"""Disk section and disk items to disks: one per disk, whatever number of volumes its chain has.

The OVF lists volumes. A disk with snapshots is several ``Disk`` elements and
several items of one image, in no useful order; what runs is the leaf, the
volume that is nobody's parent.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from lxml import etree

from ovirt_he_agent.ovf import known, problems, record, vmspec
from ovirt_he_agent.ovf.problems import named
from ovirt_he_agent.ovf.record import RASD, Record
from ovirt_he_agent.ovf.value import Value

_BUSES = {
    "VirtIO": vmspec.Bus.VIRTIO,
    "VirtIO_SCSI": vmspec.Bus.SCSI,
    "SPAPR_VSCSI": vmspec.Bus.SCSI,
    "IDE": vmspec.Bus.IDE,
    "SATA": vmspec.Bus.SATA,
}
_FORMATS = {
    "RAW": vmspec.VolumeFormat.RAW,
    "COW": vmspec.VolumeFormat.COW,
    "Unassigned": vmspec.VolumeFormat.UNASSIGNED,
}


class _Volume(Value):
    """One volume: its hardware item and its ``Disk`` element."""

    volume_id: str
    image_id: str
    parent_id: str | None
    item: Record
    element: etree._Element
    disk: Record


def read(
    section: etree._Element | None,
    items: Sequence[tuple[etree._Element, Record]],
    namespace: str,
    warnings: problems.Warnings,
) -> tuple[vmspec.ImageDisk | vmspec.LunDisk, ...]:
    """The disks in the order of each one's first ``Disk`` element.

    ``items`` are the hardware items of disks. Raises ``problems.BadDocument``
    for an item without a ``Disk`` element, a chain without exactly one leaf,
    an unknown interface or format.
    """
    elements = _disk_elements(section, namespace, warnings)
    by_item = {item.instance_id(): item for _, item in items}
    chains: dict[str, list[_Volume]] = {}
    parent_ids: set[str | None] = set()
    image_of: dict[str, str] = {}
    for volume in _volumes(items, elements):
        if volume.volume_id in image_of:
            raise problems.BadDocument(f"two disk items have the volume {named(volume.volume_id)}")
        image_of[volume.volume_id] = volume.image_id
        parent_ids.add(volume.parent_id)
        chains.setdefault(volume.image_id, []).append(volume)
    disks: list[vmspec.ImageDisk | vmspec.LunDisk] = []
    for disk_id, disk in elements.items():
        if disk.text("lun_id"):
            disks.append(_lun(disk_id, disk, by_item.get(disk_id)))
        elif disk_id not in image_of:
            disk.warn("no disk item in the hardware section names this volume; it is left out")
        elif chain := chains.pop(image_of[disk_id], None):
            disks.append(_image(chain, parent_ids))
    return tuple(disks)


def _disk_named(texts: Mapping[str, str], disk_id: str) -> str:
    return f"Disk element of {named(texts.get('disk-alias')) or 'a disk'} ({named(disk_id)})"


def _disk_elements(
    section: etree._Element | None, namespace: str, warnings: problems.Warnings
) -> dict[str, Record]:
    elements: dict[str, Record] = {}
    if section is not None:
        record.report_unknown((child.tag for child in section), known.DISK_SECTION, "disk section", warnings)
    for element in record.elements(section, "Disk", at_most=record.MOST_DEVICES):
        texts = record.attributes(element, namespace)
        disk_id = texts.get("diskId", "")
        disk = Record(texts, _disk_named(texts, disk_id), warnings)
        for name in texts.keys() - known.DISK_ATTRIBUTES:
            warnings.unknown("Disk element", f"the attribute {name}")
        record.report_unknown((child.tag for child in element), known.DISK, "Disk element", warnings)
        if not disk_id:
            if disk.text("lun_id"):
                raise problems.BadDocument(f"{disk.what}: diskId is not given")
            disk.warn("diskId is not given; it is left out")
        elif disk_id in elements:
            raise problems.BadDocument(f"two Disk elements have the diskId {named(disk_id)}")
        else:
            elements[disk_id] = disk
    return elements


def _volumes(
    items: Iterable[tuple[etree._Element, Record]], elements: dict[str, Record]
) -> Iterable[_Volume]:
    for element, item in items:
        volume_id = item.instance_id()
        item.what = f"disk item {named(item.text(RASD + 'Caption'))} ({named(volume_id)})"
        disk = elements.get(volume_id or "")
        if disk is None or volume_id is None:
            if (item.text(RASD + "ResourceType") or "").strip() == "17" or item.text(RASD + "HostResource"):
                raise problems.BadDocument(
                    f"{item.what}: there is no Disk element with this diskId, so its interface and format "
                    "are unknown"
                )
            item.warn("a record of the engine without an image volume; it is left out")
            continue
        if disk.text("lun_id"):
            continue
        image_id, _, named_volume_id = (item.text(RASD + "HostResource") or "").partition("/")
        if not image_id:
            raise problems.BadDocument(f"{item.what}: HostResource does not name an image")
        if named_volume_id != volume_id:
            item.warn(f"HostResource names another volume, {record.shown(named_volume_id)}")
        yield _Volume(
            volume_id=volume_id,
            image_id=image_id,
            parent_id=item.text(RASD + "Parent"),
            item=item,
            element=element,
            disk=disk,
        )


def _lun(disk_id: str, disk: Record, item: Record | None) -> vmspec.LunDisk:
    read_only = disk.boolean("read-only", default=False)
    if item is not None:
        read_only = item.boolean("IsReadOnly", default=False) or read_only
    return vmspec.LunDisk(
        alias=disk.text("disk-alias"),
        disk_id=disk_id,
        lun_id=disk.text("lun_id") or "",
        interface=disk.decisive("disk-interface", _BUSES),
        boot=disk.boolean("boot", default=False),
        plugged=disk.boolean("plugged", default=True),
        read_only=read_only,
        shareable=disk.boolean("shareable", default=False),
        boot_order=item.boot_order() if item is not None else None,
        pass_discard=disk.boolean("pass-discard", default=False),
        scsi_reservation=disk.boolean("scsi_reservation", default=False),
        address=item.address() if item is not None else None,
    )


def _leaf_and_rest(chain: list[_Volume], parent_ids: Collection[str | None]) -> tuple[_Volume, list[_Volume]]:
    """The leaf, and the volumes below it with the base first.

    safety: ``parent_ids`` are those of the whole document. A volume that another image's
    volume builds on must not run either: what it writes would destroy that one.
    """
    by_id = {volume.volume_id: volume for volume in chain}
    leaves = [volume for volume in chain if volume.volume_id not in parent_ids]
    image_id = chain[0].image_id
    if len(leaves) != 1:
        raise problems.BadDocument(
            f"image {named(image_id)} has {len(leaves)} volumes that are nobody's parent, where exactly one "
            "can run"
        )
    rest: list[_Volume] = []
    below = by_id.get(leaves[0].parent_id or "")
    while below is not None and len(rest) < len(chain):
        rest.append(below)
        below = by_id.get(below.parent_id or "")
    if len(rest) != len(chain) - 1:
        raise problems.BadDocument(f"the volumes of image {named(image_id)} are no single chain of parents")
    return leaves[0], rest[::-1]


def _image(chain: list[_Volume], parent_ids: Collection[str | None]) -> vmspec.ImageDisk:
    leaf, rest = _leaf_and_rest(chain, parent_ids)
    item, disk = leaf.item, leaf.disk
    domain_ids = tuple(child.text for child in leaf.element.iterchildren(RASD + "StorageId") if child.text)
    if not domain_ids:
        item.warn("StorageId is not given: the storage domain of this disk is unknown")
    volume_format = disk.decisive("volume-format", _FORMATS)
    if volume_format is vmspec.VolumeFormat.UNASSIGNED:
        disk.warn("volume-format is Unassigned")
    return vmspec.ImageDisk(
        alias=disk.text("disk-alias"),
        image_id=leaf.image_id,
        volume_id=leaf.volume_id,
        backing_volume_ids=tuple(volume.volume_id for volume in rest),
        domain_id=domain_ids[0] if domain_ids else None,
        domain_ids=domain_ids,
        pool_id_in_ovf=item.text(RASD + "StoragePoolId"),
        interface=disk.decisive("disk-interface", _BUSES),
        format=volume_format,
        size_gib=disk.count("size"),
        boot=disk.boolean("boot", default=False),
        boot_order=item.boot_order(),
        plugged=item.boolean("IsPlugged", default=True),
        read_only=disk.boolean("read-only", default=False) | item.boolean("IsReadOnly", default=False),
        shareable=disk.boolean("shareable", default=False),
        pass_discard=disk.boolean("pass-discard", default=False),
        address=item.address(),
        device_alias=item.word("Alias"),
        snapshot_id=item.word("SnapshotId"),
        custom_properties=item.properties("CustomProperties"),
    )
