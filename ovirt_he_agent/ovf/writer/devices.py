"""The devices of a vm.conf, but for its disks, as hardware items of an OVF; see ``document``."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lxml import etree

from ovirt_he_agent.ovf import record, vmspec
from ovirt_he_agent.ovf.vmconf.reader import BadVmConf
from ovirt_he_agent.ovf.vmparams_devices import NIC_MODELS
from ovirt_he_agent.ovf.writer import disks as disk_elements
from ovirt_he_agent.ovf.writer.elements import MAPS, Device, add_item, add_record, flag, is_true

_MODEL_NUMBERS = {
    word: str(number)
    for number, model in enumerate(
        (
            vmspec.NicModel.RTL8139_PV,
            vmspec.NicModel.RTL8139,
            vmspec.NicModel.E1000,
            vmspec.NicModel.VIRTIO,
            vmspec.NicModel.SPAPR_VLAN,
            vmspec.NicModel.PCI_PASSTHROUGH,
            vmspec.NicModel.E1000E,
        )
    )
    for word in (model.value, NIC_MODELS.get(model, model.value))
}
_DISPLAY_TYPES = {"cirrus": "0", "qxl": "1", "vga": "2"}


class Devices:
    """Raises ``BadVmConf`` for what no OVF can describe."""

    def __init__(self, devices: Sequence[Any], vm_id: str, vm_name: str, warnings: list[str]) -> None:
        for device in devices:
            if not isinstance(device, Mapping):
                raise BadVmConf(f"{record.shown(str(device))} describes no device", key="devices")
        self._vm_id = vm_id
        self._warnings = warnings
        known = [_cleaned(device) for device in devices]
        disks = [d for d in known if _kind(d) == "disk"]
        self.disks = disk_elements.Disks(disks, vm_name)
        self._nics = [d for d in known if _kind(d) == "interface"]
        self._video = [d for d in known if _kind(d) == "video"]
        self._graphics = [d for d in known if _kind(d) == "graphics"]
        self._cds = [d for d in known if _kind(d) == "cdrom"]
        shown = [*disks, *self._nics, *self._video, *self._graphics, *self._cds]
        leases = [d for d in known if _kind(d) == "lease" and d.get("lease_id") == vm_id]
        self._others = [d for d in known if not any(d is other for other in (*shown, *leases))]
        self.lease_domain_id = leases[0].get("sd_id") if leases else None

    @property
    def networks(self) -> list[str]:
        return list(dict.fromkeys(nic["network"] for nic in self._nics if "network" in nic))

    def display_type(self, display: str | None) -> str:
        """The engine's number of the first video device, else of what ``display`` stood for."""
        device = next((video.get("device") for video in self._video), _video_of(display))
        return _DISPLAY_TYPES.get(device or "", "2")

    def add_items(self, section: etree._Element, display: str | None) -> None:
        self.disks.add_items(section)
        for number, nic in enumerate(self._nics, start=1):
            self._add_nic(section, nic, number)
        for video in self._video or self._assumed("video", _video_of(display)):
            self._add_video(section, video)
        for graphics in self._graphics or self._assumed("graphics", _graphics_of(display)):
            self._add_device(section, graphics, "26", "Graphical Framebuffer", "graphics")
        for cd in self._cds:
            self._add_device(section, cd, "15", "CDROM", "cdrom")
        for other in self._others:
            self._add_device(section, other, "0", other.get("type", ""), _kind(other))

    def _assumed(self, kind: str, device: str | None) -> Iterator[Device]:
        """The device that VDSM once added by ``display`` alone."""
        if device is not None:
            self._warnings.append(f"there is no {kind} device; {device} was taken, as display says")
            yield {"type": kind, "device": device}

    def _add_nic(self, section: etree._Element, nic: Device, number: int) -> None:
        network, model = nic.get("network", ""), nic.get("nicModel", NIC_MODELS[vmspec.NicModel.VIRTIO])
        if model not in _MODEL_NUMBERS:
            raise BadVmConf(f"nicModel is {record.shown(model)}, which is not known", key="devices")
        item = add_item(
            section,
            Caption=f"Ethernet adapter on {network}",
            InstanceId=self._device_id(nic, f"interface {number}"),
            ResourceType="10",
            OtherResourceType=network,
            ResourceSubType=_MODEL_NUMBERS[model],
            Connection=network,
            Linked=flag(is_true(nic.get("linkActive", "true"))),
            Name=f"vnet{number - 1}",
            ElementName=f"vnet{number - 1}",
            MACAddress=nic.get("macAddr", ""),
        )
        add_record(item, nic, "interface", nic.get("device", "bridge"))

    def _add_video(self, section: etree._Element, video: Device) -> None:
        heads = record.number(video.get("specParams", {}).get("heads", "1"))
        item = add_item(
            section,
            Caption="Graphical Controller",
            InstanceId=self._device_id(video, f"video {len(section)}"),
            ResourceType="20",
            VirtualQuantity=str(heads or 1),
            SinglePciQxl="false",
        )
        add_record(item, video, "video", video.get("device", "vga"))

    def _add_device(
        self, section: etree._Element, device: Device, resource: str, caption: str, kind: str
    ) -> None:
        number = len(section)
        item = add_item(
            section,
            Caption=caption,
            InstanceId=self._device_id(device, f"{kind} {number}"),
            ResourceType=resource,
        )
        name = device.get("device") or device.get("type", "")
        if kind == "controller" and name == "scsi" and device.get("model", "virtio-scsi") == "virtio-scsi":
            name = "virtio-scsi"
        add_record(item, device, "disk" if kind in ("cdrom", "floppy") else kind, name)

    def _device_id(self, device: Device, place: str) -> str:
        """As given if it is a UUID; else one that is always the same for this place in this VM."""
        given = device.get("deviceId", "")
        return given if record.is_uuid(given) else str(uuid.uuid5(uuid.UUID(self._vm_id), place))


def _cleaned(device: Device) -> Device:
    """Texts that are texts and maps that hold texts; upstream wrote Python's None where one was missing."""
    cleaned: dict[str, Any] = {}
    for name, value in device.items():
        if isinstance(value, Mapping) and name in MAPS:
            cleaned[name] = {inner: text for inner, text in value.items() if isinstance(text, str)}
        elif isinstance(value, str) and name not in MAPS and value not in ("None", ""):
            cleaned[name] = value
    return cleaned


def _kind(device: Device) -> str:
    kind = device.get("type", "")
    if kind == "disk" and device.get("device") in ("cdrom", "floppy"):
        return str(device["device"])
    return str(kind)


def _video_of(display: str | None) -> str | None:
    return {"vnc": "cirrus", "qxl": "qxl", "qxlnc": "qxl"}.get(display or "")


def _graphics_of(display: str | None) -> str | None:
    return {"vnc": "vnc", "qxl": "spice", "qxlnc": "vnc"}.get(display or "")
