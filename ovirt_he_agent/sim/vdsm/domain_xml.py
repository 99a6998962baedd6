"""What VDSM demands of a libvirt domain XML and what it changes in it before the start.

Facts: vdsm: lib/vdsm/virt/domain_descriptor.py, metadata.py, domxml_preprocess.py,
vmdevices/{storagexml,storage,drivename,network,lease,graphics}.py, API.py. Two stages, as
in VDSM: ``read`` fails the call, ``prepare`` fails the launch and its text
becomes the VM's exit message. What libvirt itself would refuse is marked so.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field

from ovirt_he_agent.sim import guest
from ovirt_he_agent.sim.vdsm import quiet_faults, refusals

SHARED_WORDS = ("true", "false", "none", "exclusive", "shared", "transient")
SOURCE_ATTRIBUTE = {"file": "file", "block": "dev", "network": "name"}
INTERFACE_OF_PREFIX = {"hd": "ide", "sd": "scsi", "vd": "virtio", "fd": "fdc"}
SYSINFO = {
    "product": ("OS-NAME:", "RHEL"),
    "version": ("OS-VERSION:", "9.4-1.el9"),
    "serial": ("HOST-SERIAL:", "4c4c4544-0000-2010-8020-80c04f202020"),
}


class LaunchFailed(Exception):
    """The VM goes Down with this text."""


@dataclass(frozen=True, slots=True)
class Image:
    """The four ids that make a disk a VDSM image."""

    pool_id: str
    domain_id: str
    image_id: str
    volume_id: str


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """What VDSM's ``prepareImage`` told the launch."""

    path: str
    lease_path: str
    lease_offset: int


@dataclass(frozen=True, slots=True)
class Domain:
    """The part of the definition that the call itself needs."""

    xml: str
    id: str
    name: str | None
    destroy_on_reboot: bool
    devices: tuple[dict[str, str], ...]
    """Metadata of devices: attributes and plain values together."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What libvirt would get."""

    xml: str
    name: str
    leases: tuple[guest.Lease, ...]
    displays: tuple[str, ...]
    memory_mib: int
    vcpus: int
    images: tuple[Image, ...] = field(default=())


# first stage: inside VM.create


def read(xml: object) -> Domain:
    """Parse as ``VM.create`` does. Raises ``Refused`` (100)."""
    if not isinstance(xml, str):
        raise refusals.general(f"a bytes-like object is required, not {type(xml).__name__!r}")
    try:
        root = ET.fromstring(xml)
        vm_id = root.findtext("uuid")
    except (ET.ParseError, ValueError) as e:
        raise refusals.general(e) from e
    return Domain(
        xml=xml,
        id=vm_id or "None",
        name=root.findtext("name"),
        destroy_on_reboot=root.findtext(".//on_reboot") == "destroy" or _metadata_flag(root),
        devices=(),
    )


def check_call(domain: Domain) -> Domain:
    """The rest of VM.create's own checks, after the id was found to be new. Raises ``Refused`` (9, 16)."""
    root = ET.fromstring(domain.xml)
    for graphics in root.iter("graphics"):
        if graphics.get("type") == "vnc" and not graphics.get("passwdValidTo"):
            raise refusals.cannot_create_vm()
    try:
        devices = _device_metadata(root)
        if root.find(".//devices") is None:
            raise TypeError("no devices")
    except (TypeError, ValueError) as e:
        raise refusals.unexpected() from e
    return Domain(domain.xml, domain.id, domain.name, domain.destroy_on_reboot, devices)


def _vm_metadata(root: ET.Element) -> ET.Element | None:
    return root.find(f"metadata/{quiet_faults.OVIRT}vm")


def _metadata_flag(root: ET.Element) -> bool:
    vm = _vm_metadata(root)
    flags = [] if vm is None else [e for e in vm if _local(e) == "destroy_on_reboot"]
    return any((e.text or "").strip().lower() == "true" for e in flags)


def _local(element: ET.Element) -> str:
    return element.tag.removeprefix(quiet_faults.OVIRT)


def _value(element: ET.Element) -> str:
    """A metadata leaf: its type must fit its text (ValueError otherwise, as in VDSM)."""
    text = element.text or ""
    match element.get("type"):
        case "int":
            int(text)
        case "float":
            float(text)
    return text


def _device_metadata(root: ET.Element) -> tuple[dict[str, str], ...]:
    vm = _vm_metadata(root)
    if vm is None:
        return ()
    for child in vm:
        if len(child) == 0:
            _value(child)
    return tuple(
        dict(device.attrib) | {_local(child): _value(child) for child in device if len(child) == 0}
        for device in vm.findall(f"{quiet_faults.OVIRT}device")
    )


# second stage: the launch


def prepare(domain: Domain, image: Callable[[Image], PreparedImage]) -> Prepared:
    """Check, prepare the images by ``image`` and fill in paths. Raises ``LaunchFailed``."""
    root = ET.fromstring(domain.xml)
    devices = root.find(".//devices")
    assert devices is not None  # check_call
    disks = [_Disk(element, domain.devices) for element in devices.findall("disk")]
    prepared: dict[int, PreparedImage] = {}
    for disk in disks:
        if disk.image is not None:
            prepared[id(disk)] = image(disk.image)
    for disk in disks:
        disk.check()
    _check_leases(devices)
    for interface in devices.findall("interface"):
        _check_interface(interface, domain.devices)
    for graphics in devices.iter("graphics"):
        if graphics.find(".//listen") is None:
            raise LaunchFailed(f"({graphics!r}, 'listen')")
    if faults := list(quiet_faults.of(root, domain.devices)):
        raise LaunchFailed(f"the emulator refuses what VDSM would not: {'; '.join(faults)}")
    for gone in root.findall("on_reboot"):
        root.remove(gone)
    _fill_sysinfo(root)
    for disk in disks:
        disk.update(prepared.get(id(disk)))
    _fill_leases(devices, disks, prepared)
    return _defined(root, devices, tuple(disk.image for disk in disks if disk.image is not None))


def redefine(prepared: Prepared, xml: str) -> Prepared:
    """The definition after a before_vm_start hook rewrote it. Raises ``LaunchFailed``."""
    try:
        root = ET.fromstring(xml)
    except ET.ParseError as e:
        raise LaunchFailed(str(e)) from e
    devices = root.find(".//devices")
    if devices is None:
        raise LaunchFailed("'NoneType' object is not iterable")
    return _defined(root, devices, prepared.images)


class _Disk:
    """One disk element with its metadata."""

    def __init__(self, element: ET.Element, metadata: tuple[dict[str, str], ...]) -> None:
        self.element = element
        self.device = element.get("device") or element.tag
        target = element.find(".//target")
        self.dev = None if target is None else target.get("dev")
        self.metadata = _unique(metadata, devtype="disk", name=self.dev)
        ids = [self.metadata.get(key) for key in ("poolID", "domainID", "imageID", "volumeID")]
        self.image = None
        if self.device in ("disk", "cdrom") and all(ids):
            self.image = Image(*(one for one in ids if one))

    def check(self) -> None:
        """What building VDSM's Drive object needs."""
        if self.dev is None:
            raise LaunchFailed("Unrecognized device name: None")
        if self.dev[:2] not in INTERFACE_OF_PREFIX:
            raise LaunchFailed(f"('Unrecognized device name: %s', {self.dev!r})")
        kind = self.element.get("type") or self.element.tag
        if kind not in SOURCE_ATTRIBUTE:
            reason = {"reason": f"Unsupported diskType {kind!r}"}
            raise LaunchFailed(f"Operation not supported: {reason}")
        shared = self.metadata.get("shared", "false").lower()
        if shared not in SHARED_WORDS:
            raise LaunchFailed(f"Unknown shared value {shared}")

    def update(self, prepared: PreparedImage | None) -> None:
        """Write the prepared path."""
        source = self.element.find(".//source")
        if source is None:
            raise LaunchFailed(f"({self.element!r}, 'source')")
        if self.element.find(".//driver") is None:
            raise LaunchFailed(f"({self.element!r}, 'driver')")
        if prepared is not None:
            source.set(SOURCE_ATTRIBUTE[self.element.get("type", "file")], prepared.path)


def _unique(metadata: tuple[dict[str, str], ...], **attributes: str | None) -> dict[str, str]:
    found = [m for m in metadata if all(m.get(key) == value for key, value in attributes.items())]
    if len(found) > 1:
        raise LaunchFailed("Failed to uniquely identify one device using the given attributes")
    return found[0] if found else {}


def _check_interface(interface: ET.Element, metadata: tuple[dict[str, str], ...]) -> None:
    mac = interface.find(".//mac")
    address = None if mac is None else mac.get("address")
    if not address:
        raise LaunchFailed("'Interface' object has no attribute 'macAddr'")
    _unique(metadata, mac_address=address)


def _check_leases(devices: ET.Element) -> None:
    for lease in devices.findall("lease"):
        for tag in ("key", "lockspace"):
            if lease.find(f".//{tag}") is None:
                raise LaunchFailed(f"({lease!r}, '{tag}')")
        target = lease.find(".//target")
        for attribute in ("path", "offset"):
            if target is None or target.get(attribute) is None:
                raise LaunchFailed(f"'{attribute}'")


def _fill_sysinfo(root: ET.Element) -> None:
    for entry in root.findall(".//sysinfo/system/entry"):
        if entry.get("name") not in SYSINFO:
            continue
        placeholder, value = SYSINFO[entry.get("name", "")]
        if entry.text is None:
            raise LaunchFailed("'NoneType' object has no attribute 'startswith'")
        if entry.text.startswith(placeholder):
            entry.text = value


def _fill_leases(devices: ET.Element, disks: list[_Disk], prepared: dict[int, PreparedImage]) -> None:
    """Only leases of a prepared disk's volume get real values; any other is taken for a VM lease."""
    known = {
        (disk.image.domain_id, disk.image.volume_id): prepared[id(disk)]
        for disk in disks
        if disk.image is not None
    }
    for lease in devices.findall("lease"):
        image = known.get((lease.findtext(".//lockspace") or "", lease.findtext(".//key") or ""))
        target = lease.find(".//target")
        assert target is not None  # _check_leases
        if image is None:
            continue
        for attribute, placeholder, value in (
            ("path", "LEASE-PATH", image.lease_path),
            ("offset", "LEASE-OFFSET", str(image.lease_offset)),
        ):
            if target.get(attribute, "").startswith(placeholder):
                target.set(attribute, value)


def _defined(root: ET.Element, devices: ET.Element, images: tuple[Image, ...]) -> Prepared:
    """What libvirt itself checks, and the numbers that VDSM reads."""
    name = root.findtext("name")
    if not name:
        raise LaunchFailed("An error occurred, but the cause is unknown: missing name")
    memory, vcpu = root.find("memory"), root.find("vcpu")
    if memory is None or not (memory.text or "").strip().isdigit():
        raise LaunchFailed(
            "XML error: Memory size must be specified via <memory> or in the <numa> configuration"
        )
    if vcpu is None:
        raise LaunchFailed("Element vcpu not found in domain XML")
    return Prepared(
        xml=ET.tostring(root, encoding="unicode"),
        name=name,
        leases=tuple(_lease(lease) for lease in devices.findall("lease")),
        displays=tuple(graphics.get("type", "") for graphics in devices.iter("graphics")),
        memory_mib=int(memory.text or 0) // 1024,  # VDSM ignores the unit and takes KiB
        vcpus=int(vcpu.get("current") or vcpu.text or 1),
        images=images,
    )


def _lease(lease: ET.Element) -> guest.Lease:
    target = lease.find(".//target")
    assert target is not None  # _check_leases
    offset = target.get("offset", "")
    if not offset.isdigit():
        raise LaunchFailed(
            f"XML error: Invalid value for attribute 'offset' in element 'target': '{offset}'. "
            "Expected non-negative integer value"
        )
    return guest.Lease(
        lockspace=lease.findtext(".//lockspace") or "",
        resource=lease.findtext(".//key") or "",
        path=target.get("path", ""),
        offset=int(offset),
    )
