"""The OVF of a VM that only a vm.conf describes: what the engine's reader requires, and the same VM again."""

import re
import uuid
from pathlib import Path
from typing import Any
from xml.dom import minidom
from xml.sax import saxutils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.ovf import document, vmparams
from ovirt_he_agent.ovf.vmconf import reader, writer
from ovirt_he_agent.ovf.writer import document as new_document
from ovirt_he_agent.ovf.writer import lost
from tests import golden_ovf

GOLDEN = Path(__file__).parents[1] / "golden" / "vmconf"
SAMPLES = (golden_ovf.S01, golden_ovf.S02, golden_ovf.S03, golden_ovf.S04, golden_ovf.S05, golden_ovf.S06)
BLANK = "00000000-0000-0000-0000-000000000000"
NOW = "2021/01/15 16:45:00"


def made_of(params: dict[str, Any]) -> new_document.NewDocument:
    return new_document.write(params, written_at=NOW)


def old_file(name: str) -> dict[str, Any]:
    return reader.read((GOLDEN / name).read_bytes())


def read_back(text: str) -> dict[str, Any]:
    spec = document.read(text.encode())
    return vmparams.of(spec, spec.engine_xml.text if spec.engine_xml else None)


# What ovirt-engine's reader does, by its own means: attributes by their literal name, texts by search.


def of_tag(parent: Any, tag: str) -> list[Any]:
    return [node for node in parent.childNodes if node.nodeName == tag]


def text_of(parent: Any, tag: str) -> str:
    """Of the first element of this name; a missing one is what the engine's reader would stumble over."""
    (node, *_) = of_tag(parent, tag)
    return "".join(child.data for child in node.childNodes)


def is_guid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def check_requirements(text: str) -> None:
    assert "\n" not in re.sub("<EngineXml>.*?</EngineXml>", "", text, flags=re.DOTALL)
    assert "<!DOCTYPE" not in text
    assert "<TemplateType>" not in text
    root = minidom.parseString(text.encode()).documentElement
    assert root is not None
    assert root.nodeName == "ovf:Envelope"
    assert root.getAttribute("ovf:version")
    (content,) = of_tag(root, "Content")
    name = re.search("<Name>(.*?)</Name>", text)
    assert name is not None
    first = saxutils.unescape(name[1])
    assert first == text_of(content, "Name"), "the store's scanner takes the first in the text"
    volumes = check_disks(root)
    for number in ("Generation", "Origin", "VmType", "default_boot_sequence", "DefaultDisplayType"):
        assert text_of(content, number).isdigit()
    for number in ("BiosType", "MinAllocatedMem", "MaxMemorySizeMb", "NumOfIoThreads"):
        assert text_of(content, number).isdigit()
    assert text_of(content, "Origin") == "6"
    assert re.fullmatch("[0-9]+[.][0-9]+", text_of(content, "ClusterCompatibilityVersion"))
    assert text_of(content, "TemplateId") == BLANK
    assert text_of(content, "TemplateName") == "Blank"
    assert text_of(content, "CreationDate") == NOW
    assert [of_tag(content, tag) for tag in ("CustomEmulatedMachine", "CustomCpuName")]
    sections = {node.getAttribute("xsi:type"): node for node in of_tag(content, "Section")}
    system = sections["ovf:OperatingSystemSection_Type"]
    assert is_guid(system.getAttribute("ovf:id"))
    assert text_of(system, "Description").startswith("other_linux")
    items = of_tag(sections["ovf:VirtualHardwareSection_Type"], "Item")
    for item in items:
        check_item(item, volumes)
    kinds = [text_of(item, "rasd:ResourceType") for item in items]
    assert kinds.count("3") == kinds.count("4") == 1
    for node in of_tag(sections.get("ovf:NumaNodeSection_Type", content), "NumaNode"):
        assert text_of(node, "Index").isdigit()
        assert text_of(node, "MemTotal").isdigit()
        assert all(cpu.isdigit() for cpu in text_of(node, "cpuIdList").split(","))


def check_disks(root: Any) -> set[str]:
    """References and disk section; the ids of the volumes."""
    (references,) = of_tag(root, "References")
    files = {}
    for file in of_tag(references, "File"):
        assert is_guid(file.getAttribute("ovf:href")[:36])
        assert file.hasAttribute("ovf:description")
        files[file.getAttribute("ovf:id")] = file
    (section,) = of_tag(root, "Section")
    assert section.getAttribute("xsi:type") == "ovf:DiskSection_Type"
    assert all(node.localName for node in section.childNodes), "a text between the elements has no name"
    disks = of_tag(section, "Disk")
    assert {disk.getAttribute("ovf:diskId") for disk in disks} == files.keys()
    for disk in disks:
        for name in ("size", "actual_size", "volume-format", "volume-type", "disk-interface", "boot"):
            assert disk.hasAttribute(f"ovf:{name}")
        assert disk.getAttribute("ovf:disk-interface") in ("VirtIO", "VirtIO_SCSI", "IDE", "SATA")
        assert disk.getAttribute("ovf:volume-format") in ("RAW", "COW", "Unassigned")
        assert is_guid(disk.getAttribute("ovf:fileRef")[:36])
    assert sum(disk.getAttribute("ovf:boot") == "true" for disk in disks) == (1 if disks else 0)
    return {name for name, file in files.items() if file.getAttribute("ovf:disk_storage_type") == "IMAGE"}


def check_item(item: Any, volumes: set[str]) -> None:
    kind = text_of(item, "rasd:ResourceType")
    if kind in ("3", "4"):
        assert int(text_of(item, "rasd:VirtualQuantity")) > 0
        if kind == "3":
            for name in ("num_of_sockets", "cpu_per_socket", "threads_per_cpu"):
                assert int(text_of(item, f"rasd:{name}")) > 0
        return
    assert is_guid(text_of(item, "rasd:InstanceId"))
    assert text_of(item, "Type")
    assert of_tag(item, "Device")
    assert int(text_of(item, "BootOrder")) >= 0
    if kind == "17":
        assert text_of(item, "rasd:InstanceId") in volumes
        assert (text_of(item, "Type"), text_of(item, "Device")) == ("disk", "disk")
        assert is_guid(text_of(item, "rasd:HostResource")[:36])
        assert text_of(item, "rasd:Parent") == BLANK
        assert is_guid(text_of(item, "rasd:StorageId"))
        assert is_guid(text_of(item, "rasd:StoragePoolId"))
    elif kind == "10":
        for name in ("Connection", "ResourceSubType", "Name", "MACAddress", "Linked", "OtherResourceType"):
            assert of_tag(item, f"rasd:{name}")
    elif kind == "20":
        assert text_of(item, "rasd:VirtualQuantity").isdigit()


@pytest.mark.parametrize("name", ["template.conf", "from-ovf.conf", "v34.conf", "s02.conf", "s03.conf"])
def test_an_old_file_becomes_an_ovf_that_the_engine_can_read(name: str) -> None:
    params = old_file(name)
    if name == "s03.conf":
        params["vmName"] = "движок <Name>x</Name> <TemplateType>"
    text = made_of(params).text
    check_requirements(text)
    assert document.read(text.encode()).hosted_engine


@pytest.mark.parametrize("name", SAMPLES)
def test_from_ovf_to_vm_conf_and_back_it_is_the_same_vm(name: str) -> None:
    spec = document.read(golden_ovf.data(name))
    params = vmparams.of(spec, spec.engine_xml.text if spec.engine_xml else None)
    made = made_of(params)
    check_requirements(made.text)
    assert read_back(made.text) == params
    again = document.read(made.text.encode())
    assert again.engine_xml is spec.engine_xml or (
        again.engine_xml is not None
        and spec.engine_xml is not None
        and again.engine_xml.text == spec.engine_xml.text
    )
    assert [d.volume_id for d in again.plugged_images] == [d.volume_id for d in spec.plugged_images]


def test_a_fresh_deployments_vm_loses_only_the_path_of_its_iso() -> None:
    params = old_file("template.conf")
    made = made_of(params)
    assert made.warnings == (
        "the cluster's compatibility version is not in a vm.conf; 4.2 was taken",
        "devices[0] (disk cdrom) path: '/var/tmp/cloud-init.iso' becomes ''",
    )
    spec = document.read(made.text.encode())
    assert (spec.vm_id, spec.name) == (params["vmId"], "HostedEngine")
    assert (spec.memory_mib, spec.vcpus, spec.max_vcpus, spec.machine) == (4096, 4, 16, "pc")
    assert (spec.origin, spec.generation, spec.cluster_version) == (6, 1, "4.2")
    assert spec.boot_disk is not None
    assert (spec.boot_disk.boot_order, spec.boot_disk.size_gib) == (1, 0)
    assert [nic.profile for nic in spec.nics] == ["ovirtmgmt"]


def test_the_first_releases_left_video_and_graphics_to_vdsm() -> None:
    made = made_of(old_file("v34.conf"))
    spec = document.read(made.text.encode())
    assert [video.device for video in spec.video] == ["cirrus"]
    assert spec.graphics == ("vnc",)
    assert any("poolID" in warning for warning in made.warnings)
    assert any("filter: 'vdsm-no-mac-spoofing' is not taken over" in warning for warning in made.warnings)


def test_what_upstream_wrote_where_a_text_was_missing_is_no_value() -> None:
    spec = document.read(made_of(old_file("from-ovf.conf")).text.encode())
    assert [nic.network for nic in spec.nics] == ["ovirtmgmt", None]
    assert {nic.address for nic in spec.nics} == {None}
    assert (spec.bios, spec.disks[0].interface) == ("q35-seabios", "scsi")


def test_level_name_and_firmware_are_taken_from_the_xml_where_there_is_one() -> None:
    params = old_file("s02.conf")
    del params["vmName"]
    params["emulatedMachine"] = "pc-q35-rhel8.6.0"
    params["xml"] = params["xml"].replace("</os>", '<loader secure="yes" type="pflash">/x</loader></os>')
    spec = document.read(made_of(params).text.encode())
    assert (spec.name, spec.cluster_version, spec.bios) == ("HostedEngine", "4.2", "q35-uefi-secure-boot")
    given = new_document.write(params, written_at=NOW, cluster_version="4.7")
    assert document.read(given.text.encode()).cluster_version == "4.7"


def test_the_same_file_gives_the_same_document() -> None:
    assert made_of(old_file("template.conf")) == made_of(old_file("template.conf"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vmId": "x"}, "key 'vmId': 'x' is not the UUID of a VM"),
        ({"vmName": ""}, "key 'vmName': the VM's name is not given"),
        ({"vmName": "a\0"}, r"key 'vmName': 'a\x00' holds a character that XML cannot"),
        ({"memSize": None}, "key 'memSize': the VM's memory in MiB is not given"),
        ({"memSize": "4G"}, "key 'memSize': '4G' is not a number of 1 or more"),
        ({"smp": "0"}, "key 'smp': '0' is not a number of 1 or more"),
        ({"devices": ["x"]}, "key 'devices': 'x' describes no device"),
        (
            {"devices": [{"type": "disk", "path": "/a"}]},
            "a disk without image and volume on a storage domain",
        ),
        ({"devices": [{"type": "interface", "nicModel": "ne2k"}]}, "nicModel is 'ne2k', which is not known"),
        ({"guestNumaNodes": [{"cpus": "0-1"}]}, "a node without nodeIndex and memory in numbers"),
        (
            {"guestNumaNodes": [{"nodeIndex": "0", "memory": "1", "cpus": "0-99999"}]},
            "not numbers and ranges",
        ),
        ({"cpuPinning": {"0": {}}}, "key 'cpuPinning': the CPUs of vcpu '0' are no list"),
    ],
)
def test_what_no_ovf_can_hold_is_an_error_that_names_the_key(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(reader.BadVmConf, match=re.escape(reason)):
        made_of(old_file("template.conf") | changes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"volumeID": "v"}, "volumeID is 'v'"),
        ({"domainID": ""}, "domainID is '', no UUID"),
        ({"iface": "floppy"}, "disk iface is 'floppy', which is not known"),
        ({"iface": {"a": "b"}}, "disk iface is '', which is not known"),
        ({"bootOrder": "-1"}, "bootOrder is '-1', not a number of 0 or more"),
    ],
)
def test_a_disk_that_no_ovf_can_hold_is_an_error(change: dict[str, Any], reason: str) -> None:
    params = old_file("template.conf")
    params["devices"][1] |= change
    with pytest.raises(reader.BadVmConf, match=re.escape(reason)):
        made_of(params)
    params["devices"][1] = params["devices"][1] | {"iface": "virtio"}


def test_two_disks_of_one_volume_are_no_vm() -> None:
    params = old_file("template.conf")
    params["devices"].append(params["devices"][1])
    with pytest.raises(reader.BadVmConf, match="no OVF can be made of it: two Disk elements"):
        made_of(params)


# A VM of an old deployment, with texts that hurt in XML as well as in vm.conf

IDS = st.uuids().map(str)
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp", "Cn", "Co", "Cf"]),
    min_size=1,
    max_size=8,
).filter(lambda text: text != "None" and not set(text) & set("#"))
NESTED = TEXT.filter(lambda text: not set(text) & set("{},=;") and text != "null")
NAMES = NESTED.filter(lambda text: ":" not in text)
ELEMENT_NAMES = st.from_regex("[a-z][a-zA-Z0-9]{0,5}", fullmatch=True)
COUNT = st.integers(1, 10**6).map(str)
PCI = st.fixed_dictionaries({"type": st.just("pci"), "slot": st.from_regex("0x0[1-9]", fullmatch=True)})
DRIVE = st.fixed_dictionaries({"type": st.just("drive"), "unit": st.sampled_from("0123")})


def device(kind: str, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    optional = {"alias": NESTED, "custom": st.dictionaries(NAMES, NESTED, min_size=1, max_size=2)}
    return st.fixed_dictionaries({"type": st.just(kind), **values}, optional=optional)


@st.composite
def disks(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    number_of = {"vd": 0, "sd": 0}
    boots = draw(st.integers(0, 2))
    for number in range(draw(st.integers(1, 3))):
        bus = draw(st.sampled_from(["virtio", "scsi", "sata"]))
        letters = "vd" if bus == "virtio" else "sd"
        image = draw(IDS)
        disk = draw(device("disk", volumeID=IDS, domainID=IDS, readonly=st.sampled_from(["true", "false"])))
        disk |= {"device": "disk", "index": str(number_of[letters]), "iface": bus, "imageID": image}
        disk |= {"deviceId": image, "poolID": BLANK, "propagateErrors": "off"}
        disk |= {"shared": draw(st.sampled_from(["exclusive", "shared"]))}
        disk |= {"format": draw(st.sampled_from(["raw", "cow"]))}
        disk |= {"address": draw(PCI if bus == "virtio" else DRIVE)} if draw(st.booleans()) else {}
        disk |= {"discard": "true"} if draw(st.booleans()) else {}
        disk |= {"bootOrder": "1"} if number == boots or (number == 0 and boots == 2) else {}
        number_of[letters] += 1
        found.append(disk)
    if not any("bootOrder" in disk for disk in found):
        found[0]["bootOrder"] = "1"
    return found


NICS = device(
    "interface",
    device=st.just("bridge"),
    nicModel=st.sampled_from(["pv", "rtl8139", "rtl8139_pv", "e1000", "e1000e", "spaprVlan"]),
    macAddr=st.from_regex("00:16:3e(:[0-9a-f]{2}){3}", fullmatch=True),
    network=NESTED,
    linkActive=st.sampled_from(["true", "false"]),
    deviceId=IDS,
)
OTHERS = st.one_of(
    device("controller", device=st.just("usb"), deviceId=IDS),
    device("controller", device=st.just("scsi"), model=st.just("virtio-scsi"), deviceId=IDS),
    device("video", device=st.sampled_from(["qxl", "vga"]), deviceId=IDS),
    device(
        "console",
        device=st.just("console"),
        deviceId=IDS,
        specParams=st.dictionaries(ELEMENT_NAMES, NESTED, min_size=1, max_size=2),
    ),
    device("rng", device=st.just("virtio"), model=st.just("virtio"), deviceId=IDS),
)
GENERAL = st.fixed_dictionaries(
    {"vmId": IDS, "vmName": TEXT, "memSize": COUNT, "smp": COUNT},
    optional={
        "maxVCpus": COUNT,
        "cpuType": TEXT,
        "emulatedMachine": TEXT.filter(lambda text: not text.startswith(("pseries", "s390"))),
        "numOfIoThreads": COUNT,
        "serial": TEXT,
        "bootMenuEnable": st.just("true"),
        "launchPaused": st.just("true"),
        "keyboardLayout": TEXT.filter(lambda text: text != "none"),
        "kernel": TEXT.filter(lambda text: text != "null"),
        "custom": st.dictionaries(NESTED, NESTED, min_size=1, max_size=3),
        "xml": st.text(
            st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1
        ).filter(lambda text: bool(text.strip())),
    },
)


@given(
    general=GENERAL,
    all_disks=disks(),
    nics=st.lists(NICS, max_size=2, unique_by=lambda nic: nic["macAddr"]),
    others=st.lists(OTHERS, max_size=3),
)
def test_any_old_deployments_vm_is_the_same_after_the_ovf(
    general: dict[str, Any], all_disks: list[Any], nics: list[Any], others: list[Any]
) -> None:
    graphics = {"type": "graphics", "device": "vnc", "deviceId": str(uuid.UUID(int=5))}
    params = general | {"display": "vnc", "devices": [*all_disks, *nics, graphics, *others]}
    if "video" not in {other["type"] for other in others}:
        params["devices"].append({"type": "video", "device": "vga", "deviceId": str(uuid.UUID(int=6))})
    written = writer.write(params)
    assert written.left_out == ()
    made = made_of(reader.parse(written.text))
    check_requirements(made.text)
    assert lost.between(params, read_back(made.text)) == []
    assert read_back(made.text)["devices"][: len(all_disks) + len(nics)] == [*all_disks, *nics]


@given(
    st.recursive(TEXT | st.just("1"), lambda v: st.dictionaries(TEXT, v, max_size=3), max_leaves=6), st.data()
)
def test_nothing_that_a_vm_conf_can_hold_ends_in_anything_but_a_document_or_that_error(
    value: Any, data: st.DataObject
) -> None:
    params = old_file("template.conf")
    where = data.draw(st.integers(-1, len(params["devices"]) - 1))
    target = params if where < 0 else params["devices"][where]
    keys = [*target, "cdrom", "specParams", "serial", "custom"]
    target[data.draw(st.sampled_from([key for key in keys if key != "devices"]))] = value
    if not isinstance(params.get("custom", {}), dict):
        del params["custom"]
    params["guestNumaNodes"] = data.draw(st.sampled_from([[], [value]]))
    text = writer.write(params).text
    try:
        made = made_of(reader.parse(text))
    except reader.BadVmConf:
        return
    document.read(made.text.encode())
