"""The disks of a vm.conf as references, ``Disk`` elements and hardware items; see ``document``."""

import uuid
from collections.abc import Sequence

from lxml import etree

from ovirt_he_agent.ovf import record
from ovirt_he_agent.ovf.vmconf.reader import BadVmConf
from ovirt_he_agent.ovf.vmparams_devices import BLANK_ID
from ovirt_he_agent.ovf.writer.elements import (
    OVF,
    Device,
    add_item,
    add_record,
    boot_order,
    child,
    flag,
    is_true,
)

_INTERFACES = {
    "virtio": "VirtIO",
    "scsi": "VirtIO_SCSI",
    "virtio_scsi": "VirtIO_SCSI",  # so upstream's converter called it
    "spapr_vscsi": "SPAPR_VSCSI",
    "ide": "IDE",
    "sata": "SATA",
}
_FORMATS = {"raw": "RAW", "cow": "COW", "qcow2": "COW"}
_FORMAT_URL = "http://www.vmware.com/specifications/vmdk.html#sparse"


class Disks:
    """In the order of the vm.conf. Raises ``BadVmConf`` for a disk that no OVF can describe."""

    def __init__(self, disks: Sequence[Device], vm_name: str) -> None:
        self._disks = disks
        self._vm_name = vm_name

    def add_references(self, references: etree._Element) -> None:
        for disk in self._disks:
            ids = _Ids(disk)
            attributes = {
                "href": ids.file,
                "id": ids.disk,
                "size": "0",
                "description": "Hosted Engine Image",
                "disk_storage_type": "LUN" if ids.is_lun else "IMAGE",
                "cinder_volume_type": "",
            }
            child(references, "File", "", {OVF + name: text for name, text in attributes.items()})

    def add_disks(self, section: etree._Element) -> None:
        boot = min(
            (disk for disk in self._disks if boot_order(disk) > 0), key=boot_order, default=None
        ) or next(iter(self._disks), None)
        for number, disk in enumerate(self._disks, start=1):
            ids = _Ids(disk)
            attributes = {
                "diskId": ids.disk,
                "size": "0",
                "actual_size": "0",
                "parentRef": "",
                "fileRef": ids.file,
                "format": _FORMAT_URL,
                "volume-format": _FORMATS.get(disk.get("format", ""), "Unassigned"),
                "volume-type": "Unassigned",
                "disk-interface": _interface(disk),
                "read-only": flag(is_true(disk.get("readonly"))),
                "shareable": flag(disk.get("shared") in ("shared", "true")),
                "boot": flag(disk is boot),
                "pass-discard": flag(is_true(disk.get("discard"))),
                "disk-alias": f"{self._vm_name}_Disk{number}",
                "disk-description": "Hosted Engine Image",
                "wipe-after-delete": "false",
            }
            if ids.is_lun:
                attributes |= {"lun_id": disk["GUID"], "plugged": "true"}
            child(section, "Disk", "", {OVF + name: text for name, text in attributes.items()})

    def add_items(self, section: etree._Element) -> None:
        """A LUN has none: its ``Disk`` element says all of it."""
        for number, disk in enumerate(self._disks, start=1):
            if not _Ids(disk).is_lun:
                self._add_item(section, disk, number)

    def _add_item(self, section: etree._Element, disk: Device, number: int) -> None:
        ids = _Ids(disk)
        domain_id = disk.get("domainID", "")
        if not record.is_uuid(domain_id):
            raise BadVmConf(f"disk {ids.disk}: domainID is {record.shown(domain_id)}, no UUID", key="devices")
        item = add_item(
            section,
            Caption=f"{self._vm_name}_Disk{number}",
            InstanceId=ids.disk,
            ResourceType="17",
            HostResource=ids.file,
            Parent=BLANK_ID,
            Template=BLANK_ID,
            ApplicationList="",
            StorageId=domain_id,
            StoragePoolId=disk.get("poolID", BLANK_ID),
        )
        add_record(item, disk, "disk", "disk", read_only=is_true(disk.get("readonly")))


class _Ids:
    """What names a disk: its volume, or the LUN that it is."""

    def __init__(self, disk: Device) -> None:
        self.is_lun = "GUID" in disk
        if self.is_lun:
            given = disk.get("deviceId", "")
            named = uuid.uuid5(uuid.NAMESPACE_URL, disk["GUID"])
            self.disk = self.file = given if record.is_uuid(given) else str(named)
            return
        for name in ("imageID", "volumeID"):
            if not record.is_uuid(disk.get(name, "")):
                raise BadVmConf(
                    f"a disk without image and volume on a storage domain ({name} is "
                    f"{record.shown(disk.get(name, ''))}), which no OVF can describe",
                    key="devices",
                )
        self.disk = disk["volumeID"]
        self.file = f"{disk['imageID']}/{disk['volumeID']}"


def _interface(disk: Device) -> str:
    word = disk.get("iface", "")
    if word not in _INTERFACES:
        raise BadVmConf(f"disk iface is {record.shown(word)}, which is not known", key="devices")
    return _INTERFACES[word]
