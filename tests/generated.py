"""Domains generated from the samples, and ways to look into them."""

import functools
from typing import Any

import pytest
from lxml import etree

from ovirt_he_agent.ovf import document, generate, host_facts, refusals, vmspec
from tests import golden_ovf

NIC_WITHOUT_MAC = "b06-nic-without-mac.ovf"
OVIRT_VM = "{http://ovirt.org/vm/1.0}"
BLOCK_DOMAIN = "6e91ed96-c20b-4552-89d9-159597ea520d"

HOST = host_facts.UNKNOWN.but(
    bridges={"ovirtmgmt": "ovirtmgmt", "сеть хранения": "on5f3c1a77e9b2", "lab": "lab"},
    block_domain_ids=frozenset({BLOCK_DOMAIN}),
    utc_offset_s=7200,
    default_cpu="Haswell-noTSX,+spec-ctrl",
)
"""A host where everything is known; one of two storage domains of the samples is of block devices."""


class Domain:
    """A generated domain, taken apart."""

    def __init__(self, made: generate.Generated) -> None:
        self.xml = made.xml
        self.warnings = made.warnings
        self.leases = made.leases
        self.root = etree.fromstring(made.xml)

    def text(self, path: str) -> str | None:
        return self.root.findtext(path)

    def one(self, path: str) -> dict[str, str]:
        """The attributes of the only element there."""
        found = self.all(path)
        assert len(found) == 1, (path, found)
        return found[0]

    def all(self, path: str) -> list[dict[str, str]]:
        return [{str(k): str(v) for k, v in element.attrib.items()} for element in self.root.iterfind(path)]

    def metadata(self, name: str) -> str | None:
        return self.root.findtext(f"metadata/{OVIRT_VM}vm/{OVIRT_VM}{name}")

    def device(self, path: str) -> "Device":
        found = self.root.findall(f"devices/{path}")
        assert len(found) == 1, (path, len(found))
        return Device(found[0])

    def disks(self) -> "list[Device]":
        return [Device(disk) for disk in self.root.findall("devices/disk") if disk.get("device") != "cdrom"]

    def nics(self) -> "list[Device]":
        return [Device(nic) for nic in self.root.findall("devices/interface")]

    def says(self, *words: str) -> bool:
        """One warning has all the words."""
        return any(all(word in warning for word in words) for warning in self.warnings)


class Device:
    def __init__(self, element: etree._Element) -> None:
        self.element = element

    def get(self, child: str, attribute: str) -> str | None:
        found = self.element.find(child)
        return None if found is None else found.get(attribute)

    def has(self, child: str) -> bool:
        return self.element.find(child) is not None

    @property
    def address(self) -> tuple[str, ...] | None:
        """The numbers of a PCI or drive address in their usual order."""
        found = self.element.find("address")
        if found is None:
            return None
        keys = (
            ("bus", "slot", "function")
            if found.get("type") == "pci"
            else ("controller", "bus", "target", "unit")
        )
        return tuple(found.get(key, "") for key in keys)


def spec(data: bytes) -> vmspec.VmSpec:
    """The VM as if the document had no EngineXml."""
    return document.read(data).but(engine_xml=None)


@functools.cache
def _engine_vm() -> vmspec.VmSpec:
    return spec(golden_ovf.data(golden_ovf.S02))


def domain(data: bytes | vmspec.VmSpec, host: host_facts.HostFacts = HOST, **changes: Any) -> Domain:
    """What is generated of a document, or of a VM, with other values for some fields."""
    vm = data if isinstance(data, vmspec.VmSpec) else spec(data)
    return Domain(generate.generate(vm.but(**changes), host))


def sample_names() -> list[str]:
    """Every sample that is a VM with all that a start needs."""
    return [
        expected["file"]
        for expected in golden_ovf.expectations()
        if expected["expect"] != "refuse" and expected["file"] != NIC_WITHOUT_MAC
    ]


def disk(vm: vmspec.VmSpec, number: int = 0, **changes: Any) -> tuple[vmspec.ImageDisk | vmspec.LunDisk, ...]:
    """The VM's disks with other values for some fields of one."""
    disks = list(vm.disks)
    disks[number] = disks[number].but(**changes)
    return tuple(disks)


def nic(vm: vmspec.VmSpec, number: int = 0, **changes: Any) -> tuple[vmspec.Nic, ...]:
    nics = list(vm.nics)
    nics[number] = nics[number].but(**changes)
    return tuple(nics)


def refusal(vm: vmspec.VmSpec, host: host_facts.HostFacts = HOST) -> str:
    """Why nothing is generated."""
    with pytest.raises(refusals.NotStartable) as caught:
        domain(vm, host)
    return str(caught.value)


def image(number: int = 0, **changes: Any) -> vmspec.ImageDisk:
    """A disk of its own image; the first one boots."""
    first = _engine_vm().disks[0]
    assert isinstance(first, vmspec.ImageDisk)
    own = {
        "alias": f"disk{number}",
        "image_id": f"{number:08d}-0000-4000-8000-000000000001",
        "volume_id": f"{number:08d}-0000-4000-8000-000000000002",
        "boot": number == 0,
        "boot_order": 1 if number == 0 else None,
        "address": None,
    }
    return first.but(**(own | changes))


def lun(**changes: Any) -> vmspec.LunDisk:
    return vmspec.LunDisk(
        alias="san",
        disk_id="6e91ed96-c20b-4552-89d9-159597ea5200",
        lun_id="36001405a",
        interface=vmspec.Bus.SCSI,
        boot=False,
        plugged=True,
        read_only=False,
        shareable=False,
        boot_order=None,
        pass_discard=False,
        scsi_reservation=False,
        address=None,
    ).but(**changes)


def record(kind: str, device: str | None = None, **changes: Any) -> vmspec.Device:
    return vmspec.Device(
        kind=kind,
        device=device,
        id=None,
        alias=None,
        address=None,
        boot_order=None,
        plugged=True,
        read_only=False,
        spec={},
        custom_properties={},
    ).but(**changes)


def pci(slot: str, bus: str = "0x00", function: str = "0x0") -> dict[str, str]:
    return {"type": "pci", "domain": "0x0000", "bus": bus, "slot": slot, "function": function}


def drive(bus: str = "0", unit: str = "0", controller: str = "0") -> dict[str, str]:
    return {"type": "drive", "controller": controller, "bus": bus, "target": "0", "unit": unit}


def with_disks(*disks: vmspec.ImageDisk | vmspec.LunDisk, vm: vmspec.VmSpec | None = None) -> vmspec.VmSpec:
    """A VM with these disks, by default of the engine VM of a sample."""
    vm = vm or _engine_vm()
    return vm.but(disks=disks)
