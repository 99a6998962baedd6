"""The embedded domain's devices with their metadata, matched as VDSM matches them.

Facts: vdsm: lib/vdsm/virt/metadata.py, virt/vmdevices/{common,storagexml,network}.py.
"""

from collections.abc import Iterable, Mapping, Sequence

from lxml import etree

from ovirt_he_agent.ovf import engine_xml
from ovirt_he_agent.ovf.engine_xml import OVIRT_VM
from ovirt_he_agent.ovf.problems import named
from ovirt_he_agent.ovf.value import Value

DUMMY_BRIDGE = ";vdsmdummy;"
"""VDSM's bridge for a NIC that is connected to nothing."""
_IDS = ("poolID", "domainID", "imageID", "volumeID")


class Disk(Value):
    """A ``disk`` element; ids are those of its metadata and None if VDSM takes it for no image of its own."""

    element: etree._Element
    device: str
    dev: str | None
    bus: str | None
    metadata: Sequence[etree._Element]
    """What the metadata says of a disk of this name; more than one stops VDSM."""
    domain_id: str | None
    image_id: str | None
    volume_id: str | None
    lun_id: str | None

    @property
    def what(self) -> str:
        return f"disk {named(self.dev) or 'without a name'}"

    @property
    def is_drive(self) -> bool:
        """Neither a CD-ROM nor a floppy."""
        return self.device in ("disk", "lun")


class Nic(Value):
    element: etree._Element
    mac: str | None
    """In lower case."""
    source: etree._Element | None
    metadata: Sequence[etree._Element]

    @property
    def what(self) -> str:
        return f"NIC {named(self.mac) or 'without a MAC address'}"

    @property
    def bridge(self) -> str | None:
        """None: it is on no bridge, or on VDSM's dummy one."""
        name = self.source.get("bridge") if self.source is not None else None
        return None if name == DUMMY_BRIDGE else name or None


def metadata_of(root: etree._Element) -> etree._Element | None:
    return root.find(f"metadata/{OVIRT_VM}vm")


def disks(root: etree._Element) -> tuple[Disk, ...]:
    records = _records(root, "name", devtype="disk")
    return tuple(_disk(element, records) for element in root.iterfind("devices/disk"))


def _disk(element: etree._Element, records: Mapping[str, Sequence[etree._Element]]) -> Disk:
    target = element.find("target")
    dev = target.get("dev") if target is not None else None
    mine = records.get(dev or "", ())
    texts = {name: engine_xml.leaf(mine[0], name) if mine else None for name in (*_IDS, "GUID")}
    is_image = all(texts[name] for name in _IDS)
    return Disk(
        element=element,
        device=element.get("device") or "disk",
        dev=dev,
        bus=target.get("bus") if target is not None else None,
        metadata=mine,
        domain_id=texts["domainID"] if is_image else None,
        image_id=texts["imageID"] if is_image else None,
        volume_id=texts["volumeID"] if is_image else None,
        lun_id=texts["GUID"],
    )


def nics(root: etree._Element) -> tuple[Nic, ...]:
    records = _records(root, "mac_address")
    return tuple(_nic(element, records) for element in root.iterfind("devices/interface"))


def _nic(element: etree._Element, records: Mapping[str, Sequence[etree._Element]]) -> Nic:
    address = element.find("mac")
    mac = address.get("address") if address is not None else None
    return Nic(
        element=element,
        mac=mac.lower() if mac else None,
        source=element.find("source"),
        metadata=records.get(mac or "", ()),
    )


def _records(root: etree._Element, key: str, **attributes: str) -> Mapping[str, Sequence[etree._Element]]:
    """Metadata of devices by their attribute ``key``; those without it belong to none."""
    metadata = metadata_of(root)
    found: dict[str, list[etree._Element]] = {}
    for record in metadata.findall(OVIRT_VM + "device") if metadata is not None else ():
        name = record.get(key)
        if name and all(record.get(other) == value for other, value in attributes.items()):
            found.setdefault(name, []).append(record)
    return found


def typed_values(root: etree._Element) -> Iterable[tuple[str, str, str]]:
    """(name, type, text) of every metadata value that declares a type."""
    metadata = metadata_of(root)
    for element in metadata.iter() if metadata is not None else ():
        kind = element.get("type")
        if kind and not len(element):
            yield element.tag.rpartition("}")[2], kind, element.text or ""


def remove(element: etree._Element) -> None:
    """Take it out of its tree."""
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)
