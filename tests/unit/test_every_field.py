"""Each sample, each field in turn with another legal value: the change is in the output and nowhere else.

A row says where a fact stands in the document, two texts for it with what
each is shown as (the one that is not there already is taken), and which other
facts follow from it. ``test_every_fact_has_a_row`` keeps the table whole.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lxml import etree

from ovirt_he_agent.ovf import document, facts
from tests import golden_ovf
from tests.golden_ovf import S01, S02, S03, S04, S05, S06

RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
OVIRT_VM = "{http://ovirt.org/vm/1.0}"
U1, U2 = "12345678-1111-4111-8111-123456789abc", "12345678-2222-4222-8222-123456789abc"
ODD = "a <b> & \"c\" 'd' ü {e}"
YES_NO = (("true", True), ("false", False))
TEXTS = ((ODD, ODD), ("x", "x"))
NUMBERS = (("4097", 4097), ("5000", 5000))

Facts = dict[str, Any]
Root = etree._Element
Key = str | int


# The documents


def complete() -> bytes:
    """S03 with what no sample has: a LUN, NUMA nodes, a device of every single kind."""
    numa = (
        '<Section xsi:type="ovf:NumaNodeSection_Type"><NumaNode><id>x</id><Index>0</Index>'
        "<cpuIdList>0,1</cpuIdList><vdsNumaNodeList>0</vdsNumaNodeList><MemTotal>1024</MemTotal>"
        "<NumaTuneMode>strict</NumaTuneMode></NumaNode></Section>"
    )
    lun = (
        f'<Disk ovf:diskId="{U2}" ovf:disk-alias="lun" ovf:disk-interface="VirtIO_SCSI" ovf:boot="false" '
        'ovf:read-only="false" ovf:shareable="false" ovf:plugged="true" ovf:lun_id="36001405abc" '
        'ovf:scsi_reservation="false"/>'
    )
    text = golden_ovf.data(S03).decode()
    text = text.replace("</Content>", numa + "</Content>").replace(
        "</Disk></Section>", f"</Disk>{lun}</Section>", 1
    )
    return text.encode()


DOCUMENTS = {name: golden_ovf.data(name) for name in (S01, S02, S03, S04, S05, S06)} | {
    "complete": complete()
}


def shown(data: bytes) -> Facts:
    value: Facts = json.loads(json.dumps(facts.of(document.read(data))))
    return value


SHOWN = {name: shown(data) for name, data in DOCUMENTS.items()}


# Where things stand


def content(root: Root) -> Root:
    found = root.find("Content")
    assert found is not None
    return found


def section(root: Root, kind: str) -> Root:
    return next(s for s in root.iter("Section") if s.get(XSI_TYPE) == f"ovf:{kind}Section_Type")


def ovf(root: Root, name: str) -> str:
    return f"{{{etree.QName(root).namespace}}}{name}"


def put(parent: Root, name: str, text: str) -> None:
    """The text of a child, which is made if there is none."""
    child = parent.find(name)
    if child is None:
        child = etree.SubElement(parent, name)
    child.text = text


def items(root: Root, **texts: str) -> list[Root]:
    """Hardware items by the texts of rasd children (with an underscore) or of their record."""
    names = {
        RASD + name.removeprefix("_") if name.startswith("_") else name: text for name, text in texts.items()
    }
    return [
        item
        for item in section(root, "VirtualHardware").iterchildren("Item")
        if all(item.findtext(name) == text for name, text in names.items())
    ]


def item_of(root: Root, kind: str) -> Root:
    """The first item of a record's type, which is made if there is none."""
    found = items(root, Type=kind)
    if found:
        return found[0]
    item = etree.SubElement(section(root, "VirtualHardware"), "Item")
    put(item, RASD + "ResourceType", "0")
    put(item, "Type", kind)
    put(item, "Device", kind)
    return item


def disk_element(root: Root, disk_id: str) -> Root:
    return next(d for d in root.iter("Disk") if d.get(ovf(root, "diskId")) == disk_id)


def spec_params(item: Root) -> Root:
    found = item.find("SpecParams")
    return etree.SubElement(item, "SpecParams") if found is None else found


def everywhere(old: str, new: str) -> Callable[[Root], None]:
    """An id in every text and attribute, but in no embedded domain."""

    def change(root: Root) -> None:
        for element in root.iter():
            if element.tag != "EngineXml" and element.text:
                element.text = element.text.replace(old, new)
            for name, value in element.attrib.items():
                element.set(name, str(value).replace(old, new))

    return change


def in_engine_xml(change: Callable[[Root], None]) -> Callable[[Root], None]:
    def edit(root: Root) -> None:
        element = content(root).find("EngineXml")
        assert element is not None
        assert element.text
        domain = etree.fromstring(element.text.encode())
        change(domain)
        element.text = etree.tostring(domain, encoding="unicode")

    return edit


# The table


@dataclass(frozen=True)
class Row:
    """One fact in one place."""

    path: tuple[Key, ...]
    edit: Callable[[Root, str], None]
    values: tuple[tuple[str, Any], ...]
    follows: tuple[str, ...] = ()
    """Other facts that may change with it, as patterns of the path; ``[0]`` is written ``[]``."""


def of_vm(key: str, element: str, values: tuple[tuple[str, Any], ...], *follows: str) -> Row:
    return Row((key,), lambda root, text: put(content(root), element, text), values, follows)


WARNINGS = r"warnings(\[\])?"
BOOT = ("boot_disk_volume_id", "must_not_boot_volume_ids")
PROTECTION = ("engine_xml_usable", "legacy_path_must_add", WARNINGS)
ENGINE_XML = (r"(has_)?engine_xml\w*(\.\w+)?", "legacy_path_must_add", WARNINGS)
DEVICE = r"devices(\[\]\.\w+(\.\w+)?)?"

VM_ROWS = (
    of_vm("name", "Name", TEXTS),
    of_vm("description", "Description", (("", ""), (" a\n\tb ", " a\n\tb "))),
    of_vm("origin", "Origin", (("3", 3), ("5", 5)), "hosted_engine"),
    of_vm("generation", "Generation", NUMBERS),
    of_vm("export_date", "ExportDate", TEXTS),
    of_vm("cluster_version", "CustomCompatibilityVersion", (("4.2", "4.2"), ("4.6", "4.6"))),
    of_vm("guaranteed_memory_mib", "MinAllocatedMem", NUMBERS),
    of_vm("max_memory_mib", "MaxMemorySizeMb", NUMBERS),
    of_vm("machine", "CustomEmulatedMachine", TEXTS),
    of_vm("cpu", "CustomCpuName", TEXTS),
    of_vm("host_cpu_passthrough", "UseHostCpu", YES_NO),
    of_vm(
        "bios",
        "BiosType",
        (("1", "q35-seabios"), ("0", "i440fx-seabios"), ("2", "q35-uefi"), ("3", "q35-uefi-secure-boot")),
    ),
    of_vm("iothreads", "NumOfIoThreads", NUMBERS),
    of_vm("boot_menu", "IsBootMenuEnabled", YES_NO),
    of_vm("start_paused", "IsRunAndPause", YES_NO),
    of_vm("stateless", "IsStateless", YES_NO),
    of_vm("serial_number_policy", "SerialNumberPolicy", (("1", 1), ("2", 2), ("0", 0))),
    of_vm("custom_serial_number", "CustomSerialNumber", TEXTS),
    of_vm("cpu_pinning", "CpuPinning", (("0#1_1#2", "0#1_1#2"), ("0#3", "0#3"))),
    of_vm(
        "custom_properties", "UserDefinedProperties", ((f"k={ODD}", {"k": ODD}),), r"custom_properties\.\w+"
    ),
    of_vm(
        "custom_properties",
        "PredefinedProperties",
        (("p=1;q", {"p": "1", "q": ""}),),
        r"custom_properties\.\w+",
    ),
    of_vm("lease_domain_id", "LeaseDomainId", ((U1, U1),)),
    of_vm("default_display_type_raw", "DefaultDisplayType", (("3", 3), ("4", 4))),
    of_vm("vnc_keymap", "VncKeyboardLayout", (("none", "none"), ("de", "de"))),
    of_vm("time_zone", "TimeZone", (("Etc/GMT", "Etc/GMT"), ("Europe/Berlin", "Europe/Berlin"))),
    of_vm("resume_behavior", "ResumeBehavior", (("KILL", "kill"), ("LEAVE_PAUSED", "leave_paused"))),
    of_vm("boot_devices", "default_boot_sequence", (("3", ["disk", "cdrom", "network"]), ("2", ["network"]))),
    of_vm("kernel", "kernel_url", TEXTS),
    of_vm("initrd", "initrd_url", TEXTS),
    of_vm("kernel_parameters", "kernel_params", TEXTS),
    of_vm("spice_file_transfer", "IsSpiceFileTransferEnabled", YES_NO),
    of_vm("spice_copy_paste", "IsSpiceCopyPasteEnabled", YES_NO),
    of_vm("multi_queues", "MultiQueuesEnabled", YES_NO),
    of_vm("virtio_scsi_multi_queues", "VirtioScsiMultiQueuesEnabled", YES_NO),
    of_vm("balloon_enabled", "BalloonEnabled", YES_NO),
    of_vm("cpu_policy", "CpuPinningPolicy", (("3", "dedicated"), ("0", "none"))),
)


def of_item(key: str, resource: str, element: str, values: tuple[tuple[str, Any], ...], *follows: str) -> Row:
    return Row(
        (key,),
        lambda root, text: put(items(root, _ResourceType=resource)[0], RASD + element, text),
        values,
        follows,
    )


def _uuid_of_vm(root: Root, text: str) -> None:
    section(root, "OperatingSystem").set(ovf(root, "id"), text)


def _queues(root: Root, text: str) -> None:
    put(content(root), "VirtioScsiMultiQueuesEnabled", "true")
    element = content(root).find("VirtioScsiMultiQueuesEnabled")
    assert element is not None
    element.set(ovf(root, "queues"), text)


def _active_snapshot(root: Root, text: str) -> None:
    active = [s for s in root.iter("Snapshot") if s.findtext("Type") == "ACTIVE"]
    if not active:
        snapshots = etree.SubElement(content(root), "Section", {XSI_TYPE: "ovf:SnapshotsSection_Type"})
        active = [etree.SubElement(snapshots, "Snapshot")]
        put(active[0], "Type", "ACTIVE")
    active[0].set(ovf(root, "id"), text)


def _usb(root: Root, text: str) -> None:
    put(items(root, _ResourceType="23")[0], RASD + "UsbPolicy", text)


def _toggled(kind: str) -> Callable[[Root, str], None]:
    def edit(root: Root, text: str) -> None:
        if text == "yes":
            item_of(root, kind)
        else:
            for item in items(root, Type=kind):
                section(root, "VirtualHardware").remove(item)

    return edit


def _cdrom(root: Root, text: str) -> None:
    cdroms = items(root, _ResourceType="15")
    if text == "yes":
        put(item_of(root, "disk2"), RASD + "ResourceType", "15")
    else:
        for item in cdroms:
            section(root, "VirtualHardware").remove(item)


def _in_spec(kind: str, name: str) -> Callable[[Root, str], None]:
    return lambda root, text: put(spec_params(item_of(root, kind)), name, text)


def _device_of(kind: str) -> Callable[[Root, str], None]:
    return lambda root, text: put(item_of(root, kind), "Device", text)


def _os(root: Root, text: str) -> None:
    put(section(root, "OperatingSystem"), "Description", text)


def _more_graphics(root: Root, text: str) -> None:
    item = etree.SubElement(section(root, "VirtualHardware"), "Item")
    put(item, RASD + "ResourceType", "26")
    put(item, "Type", "graphics")
    put(item, "Device", text)


def _more_numa(root: Root, text: str) -> None:
    kind = {XSI_TYPE: "ovf:NumaNodeSection_Type"}
    found = [s for s in root.iter("Section") if s.get(XSI_TYPE) == kind[XSI_TYPE]]
    numa = found[0] if found else etree.SubElement(content(root), "Section", kind)
    put(etree.SubElement(numa, "NumaNode"), "Index", text)


PRESENT = (("yes", True), ("no", False))

OTHER_ROWS = (
    Row(("vm_id",), _uuid_of_vm, ((U1, U1),), ENGINE_XML),
    Row(("os",), _os, TEXTS),
    of_item("memory_mib", "4", "VirtualQuantity", NUMBERS),
    of_item("sockets", "3", "num_of_sockets", (("7", 7), ("8", 8)), "vcpus"),
    of_item("cores_per_socket", "3", "cpu_per_socket", (("7", 7), ("8", 8)), "vcpus"),
    of_item("threads_per_core", "3", "threads_per_cpu", (("7", 7), ("8", 8)), "vcpus"),
    of_item("max_vcpus", "3", "max_num_of_vcpus", NUMBERS),
    Row(("virtio_scsi_queues",), _queues, (("3", 3), ("5", 5)), ("virtio_scsi_multi_queues",)),
    Row(("active_snapshot_id",), _active_snapshot, ((U1, U1),)),
    Row(("usb",), _usb, (("DISABLED", False), ("ENABLED_NATIVE", True))),
    Row(("tpm",), _toggled("tpm"), PRESENT, (DEVICE,)),
    Row(("balloon",), _toggled("balloon"), PRESENT, (DEVICE,)),
    Row(("smartcard",), _toggled("smartcard"), PRESENT, (DEVICE,)),
    Row(("cdrom",), _cdrom, PRESENT, (DEVICE,)),
    Row(("rng",), _in_spec("rng", "source"), (("hwrng", "hwrng"), ("random", "random")), (DEVICE,)),
    Row(
        ("console",),
        _in_spec("console", "consoleType"),
        (("sclp", "sclp"), ("serial", "serial")),
        (DEVICE,),
    ),
    Row(("console_socket",), _in_spec("console", "enableSocket"), YES_NO, (DEVICE, "console")),
    Row(("sound",), _device_of("sound"), (("ac97", "ac97"), ("odd", "odd")), (DEVICE,)),
    Row(
        ("watchdog",),
        _in_spec("watchdog", "action"),
        (("poweroff", {"action": "poweroff"}), ("none", {"action": "none"})),
        (DEVICE, r"watchdog\.\w+"),
    ),
    Row(("controllers",), _device_of("controller"), (("odd", ["odd"]),), (DEVICE, r"controllers\[\]")),
    Row(("graphics",), _more_graphics, (("vnc", ["spice", "vnc"]),), (DEVICE, r"graphics\[\]")),
    Row(("numa_cells",), _more_numa, (("1", None),)),
)
SOME_OF_A_MAP = {"custom_properties", "watchdog", "controllers", "graphics", "numa_cells"}
"""Here the value of a row is but a part of the fact, which is looked at on its own."""


def disk_rows(i: int, disk: Facts) -> Iterator[Row]:
    key: str = disk.get("volume_id") or disk["disk_id"]

    def attribute(name: str, fact: str, values: tuple[tuple[str, Any], ...], *follows: str) -> Row:
        return Row(
            ("disks", i, fact),
            lambda root, text: disk_element(root, key).set(ovf(root, name), text),
            values,
            follows,
        )

    def element(name: str, fact: str, values: tuple[tuple[str, Any], ...], *follows: str) -> Row:
        return Row(
            ("disks", i, fact),
            lambda root, text: put(items(root, _InstanceId=key)[0], name, text),
            values,
            follows,
        )

    yield attribute("disk-alias", "alias", TEXTS, WARNINGS)
    yield attribute(
        "disk-interface",
        "interface",
        (
            ("VirtIO", "virtio"),
            ("VirtIO_SCSI", "scsi"),
            ("IDE", "ide"),
            ("SATA", "sata"),
            ("SPAPR_VSCSI", "scsi"),
        ),
    )
    yield attribute("boot", "boot", YES_NO, *BOOT)
    yield attribute("shareable", "shareable", YES_NO, *PROTECTION)
    yield attribute("read-only", "read_only", YES_NO)
    yield attribute("pass-discard", "pass_discard", YES_NO)
    if disk["storage"] == "lun":
        yield attribute("plugged", "plugged", YES_NO)
        yield attribute("lun_id", "lun_id", TEXTS)
        yield attribute("scsi_reservation", "scsi_reservation", YES_NO)
        yield Row(("disks", i, "disk_id"), lambda root, text: everywhere(key, text)(root), ((U1, U1),))
        return
    yield attribute("volume-format", "format", (("RAW", "raw"), ("COW", "cow")))
    yield attribute("size", "size_gib", NUMBERS)
    yield element("BootOrder", "boot_order", (("7", 7), ("0", None)), *BOOT)
    yield element("IsPlugged", "plugged", YES_NO, *BOOT, *PROTECTION)
    yield element("IsReadOnly", "read_only", YES_NO)
    yield element("Alias", "device_alias", TEXTS)
    yield element("SnapshotId", "snapshot_id", ((U1, U1),))
    yield element("CustomProperties", "custom_properties", (("a=b=c;d", {"a": "b=c", "d": ""}),))
    yield element(RASD + "StoragePoolId", "pool_id_in_ovf", ((U1, U1),))
    yield element(RASD + "StorageId", "domain_id", ((U1, U1),), r"disks\[\]\.domain_ids(\[\])?", *PROTECTION)
    yield element(
        RASD + "Address",
        "address",
        (("{type=x, a=0x1}", {"type": "x", "a": "0x1"}), ("", None)),
        r"disks\[\]\.address\.\w+",
    )
    yield Row(
        ("disks", i, "image_id"), lambda root, text: everywhere(disk["image_id"], text)(root), ((U1, U1),),
        (r"disks\[\]\.device_alias", DEVICE, *PROTECTION),
    )  # fmt: skip
    yield Row(
        ("disks", i, "volume_id"), lambda root, text: everywhere(key, text)(root), ((U1, U1),),
        (r"boot_disk_volume_id", r"must_not_boot_volume_ids\[\]", *PROTECTION),
    )  # fmt: skip


def nic_rows(i: int, nic: Facts) -> Iterator[Row]:
    def element(name: str, fact: str, values: tuple[tuple[str, Any], ...], *follows: str) -> Row:
        return Row(
            ("nics", i, fact),
            lambda root, text: put(items(root, _InstanceId=nic["id"])[0], name, text),
            values,
            follows,
        )

    yield element(RASD + "InstanceId", "id", ((U1, U1),))
    yield element(RASD + "Name", "name", TEXTS)
    yield element(RASD + "MACAddress", "mac", (("00:16:3e:00:00:01", "00:16:3e:00:00:01"),))
    yield element(RASD + "Connection", "network", (*TEXTS, ("", None)))
    yield element(RASD + "OtherResourceType", "profile", (*TEXTS, ("", None)))
    yield element(
        RASD + "ResourceSubType",
        "model",
        (
            ("0", "rtl8139_pv"),
            ("1", "rtl8139"),
            ("2", "e1000"),
            ("4", "spapr-vlan"),
            ("5", "pci-passthrough"),
        ),
    )
    yield element(RASD + "Linked", "linked", YES_NO)
    yield element("IsPlugged", "plugged", YES_NO)
    yield element("BootOrder", "boot_order", (("7", 7), ("0", None)))
    yield element("Device", "device", (("hostdev", "hostdev"),))
    yield element("Alias", "alias", TEXTS)
    yield element("CustomProperties", "custom_properties", (("a=b", {"a": "b"}),))
    yield element(
        RASD + "Address", "address", (("{type=x}", {"type": "x"}), ("", None)), r"nics\[\]\.address\.\w+"
    )


ELSEWHERE = (
    r"(video|rng|console|console_socket|sound|watchdog|controllers|graphics|tpm|balloon|cdrom|smartcard|headless)"
    r"(\[\])?(\.\w+)*"
)
"""The facts that are taken out of device records."""


def device_rows(i: int, device: Facts) -> Iterator[Row]:
    def element(name: str, fact: str, values: tuple[tuple[str, Any], ...], *follows: str) -> Row:
        return Row(
            ("devices", i, fact),
            lambda root, text: put(items(root, _InstanceId=device["id"])[0], name, text),
            values,
            follows,
        )

    yield element(RASD + "InstanceId", "id", ((U1, U1),))
    if device["kind"] != "graphics":
        yield element("Device", "device", (("odd", "odd"),), ELSEWHERE)
    yield element("Alias", "alias", TEXTS)
    yield element("BootOrder", "boot_order", (("7", 7), ("0", None)))
    yield element("IsPlugged", "plugged", YES_NO)
    yield element("IsReadOnly", "read_only", YES_NO)
    yield element("CustomProperties", "custom_properties", (("a=b", {"a": "b"}),))
    yield element(
        RASD + "Address", "address", (("{type=x}", {"type": "x"}), ("", None)), r"devices\[\]\.address\.\w+"
    )
    yield Row(
        ("devices", i, "spec"),
        lambda root, text: put(spec_params(items(root, _InstanceId=device["id"])[0]), "new", text),
        (("1", {**device["spec"], "new": "1"}),),
        (r"devices\[\]\.spec\.new", r"(video\[\]\.spec|watchdog)\.new"),
    )


def numa_rows(i: int) -> Iterator[Row]:
    for name, fact, values in (
        ("Index", "index", (("7", 7),)),
        ("cpuIdList", "cpus", (("5,4,9", [5, 4, 9]),)),
        ("MemTotal", "memory_mib", NUMBERS),
        ("vdsNumaNodeList", "host_nodes", (("2,1", [2, 1]),)),
        ("NumaTuneMode", "tune_mode", (("preferred", "preferred"),)),
    ):
        yield Row(
            ("numa_cells", i, fact),
            lambda root, text, name=name: put(root.findall(".//NumaNode")[i], name, text),  # type: ignore[misc]
            values,
        )


def engine_xml_rows(before: Facts) -> Iterator[Row]:
    def row(key: str, change: Callable[[Root], None], value: Any, *follows: str) -> Row:
        return Row((key,), lambda root, text: in_engine_xml(change)(root), (("", value),), follows)

    def set_console(domain: Root) -> None:
        alias = domain.find("devices/console/alias")
        assert alias is not None
        alias.set("name", "ua-other")

    def set_guaranteed(domain: Root) -> None:
        for element in domain.iter("minGuaranteedMemoryMb", OVIRT_VM + "minGuaranteedMemoryMb"):
            element.text = "77"

    def set_uuid(domain: Root) -> None:
        put(domain, "uuid", U1)

    def set_shared(domain: Root) -> None:
        for element in domain.iter("shared", OVIRT_VM + "shared"):
            element.text = "none"

    def lease(key: str, **target: str) -> Callable[[Root], None]:
        def change(domain: Root) -> None:
            devices = domain.find("devices")
            assert devices is not None
            element = etree.SubElement(devices, "lease")
            put(element, "key", key)
            put(element, "lockspace", U2)
            etree.SubElement(element, "target", target)

        return change

    def cut(root: Root, text: str) -> None:
        element = content(root).find("EngineXml")
        assert element is not None
        element.text = (element.text or "")[:-5]

    def remove(root: Root, text: str) -> None:
        element = content(root).find("EngineXml")
        assert element is not None
        content(root).remove(element)

    if before["engine_xml_console_alias"] is not None:
        yield row("engine_xml_console_alias", set_console, "ua-other")
    yield row("engine_xml_min_guaranteed_mib", set_guaranteed, 77)
    yield row("engine_xml_uuid", set_uuid, U1, *ENGINE_XML)
    if before["engine_xml_exclusive_disks"]:
        yield row("engine_xml_exclusive_disks", set_shared, [], *PROTECTION)
    yield row(
        "engine_xml_volume_leases",
        lease("zz"),
        [*before["engine_xml_volume_leases"], {"key": "zz", "lockspace": U2}],
        WARNINGS,
    )
    yield row(
        "engine_xml_vm_lease",
        lease(before["vm_id"], path="/a", offset="1048576"),
        {"key": before["vm_id"], "lockspace": U2, "path": "/a", "offset": 1048576},
        WARNINGS,
    )
    yield Row(("engine_xml_well_formed",), cut, (("", False),), ENGINE_XML)
    yield Row(("has_engine_xml",), remove, (("", False),), ENGINE_XML)


def rows(before: Facts) -> Iterator[Row]:
    yield from VM_ROWS
    yield from OTHER_ROWS
    for i, disk in enumerate(before["disks"]):
        yield from disk_rows(i, disk)
    for i, nic in enumerate(before["nics"]):
        yield from nic_rows(i, nic)
    for i, device in enumerate(before["devices"]):
        yield from device_rows(i, device)
    for i in range(len(before["numa_cells"])):
        yield from numa_rows(i)
    if before["has_engine_xml"]:
        yield from engine_xml_rows(before)


# The tests


def at(value: Any, path: tuple[Key, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def differences(a: Any, b: Any, path: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            if key in a and key in b:
                yield from differences(a[key], b[key], (*path, key))
            else:
                yield (*path, key)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differences(x, y, (*path, i))
    elif a != b:
        yield path


def written(path: tuple[Key, ...]) -> str:
    return "".join("[]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_is_shown_where_it_belongs_and_nowhere_else(name: str) -> None:
    before = SHOWN[name]
    for row in rows(before):
        text, expected = next(
            ((text, value) for text, value in row.values if value != at(before, row.path)), (None, None)
        )
        if text is None:
            continue
        root = etree.fromstring(DOCUMENTS[name])
        row.edit(root, text)
        after = shown(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))
        if row.path[-1] not in SOME_OF_A_MAP:
            assert at(after, row.path) == expected, row.path
        changed = set(differences(before, after))
        assert any(path[: len(row.path)] == row.path for path in changed), (row.path, changed)
        for path in changed:
            assert path[: len(row.path)] == row.path or any(
                re.fullmatch(pattern, written(path)) for pattern in row.follows
            ), (row.path, path)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("custom_properties", "k=a=b", {"k": "a=b"}),
        ("watchdog", "poweroff", {"action": "poweroff"}),
        ("controllers", "odd", ["odd"]),
        ("graphics", "vnc", ["vnc"]),
    ],
)
def test_fact_of_several_parts_has_the_new_part(key: str, text: str, expected: Any) -> None:
    row = next(row for row in (*VM_ROWS, *OTHER_ROWS) if row.path == (key,))
    root = etree.fromstring(DOCUMENTS[S06])
    row.edit(root, text)
    value = shown(etree.tostring(root))[key]
    assert expected.items() <= value.items() if isinstance(expected, dict) else set(expected) <= set(value)


DERIVED = {
    "hosted_engine", "ovf_namespace", "vcpus", "headless", "warnings", "engine_xml_usable",
    "legacy_path_must_add", "boot_disk_volume_id", "must_not_boot_volume_ids", "non_leaf_volume_ids",
    "disks.storage", "disks.chain_length", "disks.domain_ids", "devices.kind", "video.device", "video.spec",
}  # fmt: skip
"""Facts that follow from others (looked at in the tests of their modules)."""


def test_every_fact_has_a_row() -> None:
    covered = {
        ".".join(str(key) for key in row.path if not isinstance(key, int))
        for before in SHOWN.values()
        for row in rows(before)
    }
    there: set[str] = set()
    for before in SHOWN.values():
        for key, value in before.items():
            if isinstance(value, list) and key in {"disks", "nics", "devices", "video", "numa_cells"}:
                there |= {f"{key}.{name}" for record in value for name in record}
            else:
                there.add(key)
    assert there - covered == DERIVED
    assert covered - there <= {"numa_cells"}
