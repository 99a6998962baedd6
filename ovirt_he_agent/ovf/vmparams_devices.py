"""The devices of a ``VmSpec`` as the legacy parameters name them; see ``vmparams``."""

from collections.abc import Iterator, Mapping
from typing import Any

from ovirt_he_agent.ovf import vmspec

Params = dict[str, Any]

BLANK_ID = "00000000-0000-0000-0000-000000000000"
CD_INDEX = 2
"""The drive letter that is kept for the CD-ROM."""

NIC_MODELS = {
    vmspec.NicModel.VIRTIO: "pv",
    vmspec.NicModel.PCI_PASSTHROUGH: "pciPassthrough",
    vmspec.NicModel.SPAPR_VLAN: "spaprVlan",
}
"""The legacy words, where they are not libvirt's."""
_LETTERS = {vmspec.Bus.VIRTIO: "vd", vmspec.Bus.IDE: "hd", vmspec.Bus.SCSI: "sd", vmspec.Bus.SATA: "sd"}
_NO_LEGACY_FORM = {"channel", "redirdev", "memory", "other"}
_SPICE_ONLY = {"redir", "smartcard"}
_HOST_DEVICES = {"hostdev", "mdev"}


def of(spec: vmspec.VmSpec) -> list[Params]:
    """Disks, CD-ROM drive, NICs, all others in the order of the document, the VM lease."""
    nics = (_nic(nic) for nic in spec.nics if nic.plugged)
    return [*_disks(spec), *nics, *_devices(spec), *_lease(spec)]


def texts(values: Mapping[str, Any]) -> Params:
    """``values`` as texts, without those that are None or empty."""
    return {key: str(value) for key, value in values.items() if value is not None and value != ""}


def _flag(value: bool) -> str:
    return "true" if value else "false"


def cd_bus(machine: str | None) -> vmspec.Bus:
    """The interface of the CD-ROM drive on a machine of this type."""
    if machine is not None and "q35" in machine:
        return vmspec.Bus.SATA
    if machine is not None and machine.startswith(("pseries", "s390")):
        return vmspec.Bus.SCSI
    return vmspec.Bus.IDE


def _machine(spec: vmspec.VmSpec) -> str | None:
    """The machine type as far as the CD-ROM needs it."""
    if spec.machine is not None:
        return spec.machine
    if (spec.os or "").endswith("ppc64"):
        return "pseries"
    if (spec.os or "").endswith("s390x"):
        return "s390"
    return None if spec.bios in (None, vmspec.Bios.I440FX_SEABIOS) else "q35"


def _disks(spec: vmspec.VmSpec) -> Iterator[Params]:
    cds = [device for device in spec.devices if device.kind == "cdrom" and device.plugged]
    bus = cd_bus(_machine(spec))
    next_index = {"vd": 0, "hd": 0, "sd": 0}
    for disk in spec.disks:
        if not disk.plugged or (isinstance(disk, vmspec.ImageDisk) and disk.snapshot_id is not None):
            continue
        letters = _LETTERS[disk.interface]
        if cds and letters == _LETTERS[bus] and next_index[letters] == CD_INDEX:
            next_index[letters] += 1
        yield _disk(disk, next_index[letters], disk is spec.boot_disk)
        next_index[letters] += 1
    for cd in cds[:1]:
        yield _cd(cd, bus)


def _disk(disk: vmspec.ImageDisk | vmspec.LunDisk, index: int, boots: bool) -> Params:
    if isinstance(disk, vmspec.LunDisk):
        source = {"GUID": disk.lun_id, "deviceId": disk.disk_id, "format": "raw"}
        properties: Mapping[str, str] = {}
        alias = None
    else:
        known = disk.format is not vmspec.VolumeFormat.UNASSIGNED
        source = texts(
            {
                "poolID": BLANK_ID,  # the pool may not be connected when the engine VM starts
                "domainID": disk.domain_id,
                "imageID": disk.image_id,
                "volumeID": disk.volume_id,
                "deviceId": disk.image_id,
                "format": disk.format.value if known else None,
            }
        )
        properties, alias = disk.custom_properties, disk.device_alias
    address = disk.address if _fits(disk.address, disk.interface) else None
    return {
        "type": "disk",
        "device": "disk",
        "index": str(index),
        "iface": disk.interface.value,
        **source,
        "readonly": _flag(disk.read_only),
        "shared": "shared" if disk.shareable else "exclusive",
        "propagateErrors": "off",
        **({"discard": "true"} if disk.pass_discard else {}),
        **_details(alias, address, disk.boot_order or (1 if boots else None), properties),
    }


def _fits(address: Mapping[str, str] | None, bus: vmspec.Bus) -> bool:
    """libvirt refuses a disk at an address that its bus does not have."""
    kind = (address or {}).get("type")
    return kind in ("pci", "ccw") if bus is vmspec.Bus.VIRTIO else kind == "drive"


def _details(
    alias: str | None,
    address: Mapping[str, str] | None,
    boot_order: int | None,
    properties: Mapping[str, str],
    spec: Mapping[str, str] | None = None,
) -> Params:
    """What every kind of device may have."""
    details: Params = texts({"bootOrder": boot_order, "alias": alias})
    maps = {"address": address, "specParams": spec, "custom": properties}
    return details | {key: dict(texts) for key, texts in maps.items() if texts}


def _cd(cd: vmspec.Device, bus: vmspec.Bus) -> Params:
    return {
        "type": "disk",
        "device": "cdrom",
        "index": str(CD_INDEX),
        "iface": bus.value,
        "path": "",
        "readonly": "true",
        "shared": "false",
        **texts({"deviceId": cd.id}),
        **_details(
            cd.alias, cd.address if _fits(cd.address, bus) else None, cd.boot_order, cd.custom_properties
        ),
    }


def _nic(nic: vmspec.Nic) -> Params:
    passed_through = nic.model is vmspec.NicModel.PCI_PASSTHROUGH
    return {
        "type": "interface",
        "device": nic.device or ("hostdev" if passed_through else "bridge"),
        **texts(
            {
                "nicModel": NIC_MODELS.get(nic.model, nic.model.value) if nic.model else None,
                "macAddr": nic.mac,
                "network": nic.network,
            }
        ),
        "linkActive": _flag(nic.linked),
        **texts({"deviceId": nic.id}),
        **_details(nic.alias, nic.address, nic.boot_order, nic.custom_properties),
    }


def _devices(spec: vmspec.VmSpec) -> Iterator[Params]:
    spice = vmspec.Graphics.SPICE in spec.graphics
    for device in spec.devices:
        kind = "hostdev" if device.kind in _HOST_DEVICES else device.kind
        left_out = kind == "cdrom" or kind.startswith("disk ") or kind in _NO_LEGACY_FORM
        if left_out or not device.plugged or (kind in _SPICE_ONLY and not spice):
            continue
        if kind == "graphics" and device.device not in list(vmspec.Graphics):
            continue
        yield {
            "type": kind,
            **_device_and_model(kind, device),
            **texts({"deviceId": device.id}),
            **_details(
                device.alias, device.address, device.boot_order, device.custom_properties, device.spec
            ),
        }


def _device_and_model(kind: str, device: vmspec.Device) -> dict[str, str]:
    match kind, device.device:
        case "controller", "virtio-scsi":
            return {"device": "scsi", "model": "virtio-scsi"}
        case "rng", _:
            return {"device": "virtio", "model": "virtio"}
    return texts({"device": device.device})


def _lease(spec: vmspec.VmSpec) -> Iterator[Params]:
    """The VM lease; where it lies is known to VDSM only."""
    if spec.lease_domain_id is not None:
        yield {
            "type": "lease",
            "device": "lease",
            "lease_id": spec.vm_id,
            "sd_id": spec.lease_domain_id,
        }
