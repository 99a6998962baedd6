"""Volumes of the OVF to disks: chains and their leaf, LUNs, what is refused."""

import re

import pytest

from ovirt_he_agent.ovf import document, facts, problems, vmspec
from tests import golden_ovf
from tests.golden_ovf import S03, S06, altered

IMAGE = "ba2731ac-6f8f-4f17-a12b-b20d8d5d9c81"
LEAF = "66f6b7b8-62c6-4436-8e56-7e32bd157234"
BASE = "f5721993-5a48-40ca-bbb1-f82d0d806798"
MIDDLE = "aaaaaaaa-5a48-40ca-bbb1-f82d0d806798"
ZERO = "00000000-0000-0000-0000-000000000000"


def only_image(data: bytes) -> vmspec.ImageDisk:
    (disk,) = document.read(data).disks
    assert isinstance(disk, vmspec.ImageDisk)
    return disk


def refused(data: bytes, *words: str) -> None:
    with pytest.raises(problems.BadDocument) as caught:
        document.read(data)
    for word in words:
        assert word in str(caught.value)


def disk_element(volume_id: str) -> str:
    found = re.search(f'<Disk ovf:diskId="{volume_id}".*?</Disk>', golden_ovf.data(S06).decode())
    assert found
    return found[0]


def disk_item(volume_id: str) -> str:
    items = re.findall("<Item>.*?</Item>", golden_ovf.data(S06).decode())
    return str(next(item for item in items if f"<rasd:InstanceId>{volume_id}<" in item))


def with_middle_volume() -> bytes:
    """S06 with a chain of three volumes whose parts stand in no order."""
    leaf_item = disk_item(LEAF)
    middle_item = disk_item(BASE).replace(BASE, MIDDLE).replace(f"Parent>{ZERO}", f"Parent>{BASE}")
    return altered(
        S06,
        (disk_element(BASE), disk_element(BASE) + disk_element(BASE).replace(BASE, MIDDLE)),
        (leaf_item, leaf_item.replace(f"Parent>{BASE}", f"Parent>{MIDDLE}") + middle_item),
    )


# Chains


def test_chain_is_one_disk_whose_volume_is_the_leaf() -> None:
    disk = only_image(with_middle_volume())
    assert (disk.volume_id, disk.format) == (LEAF, vmspec.VolumeFormat.COW)
    assert disk.backing_volume_ids == (BASE, MIDDLE)
    shown = facts.of(document.read(with_middle_volume()))
    assert shown["disks"][0]["chain_length"] == 3
    assert shown["non_leaf_volume_ids"] == [BASE, MIDDLE]


def test_order_of_the_volumes_in_the_document_does_not_matter() -> None:
    data = altered(
        S06,
        (disk_element(LEAF) + disk_element(BASE), disk_element(BASE) + disk_element(LEAF)),
        (disk_item(LEAF) + disk_item(BASE), disk_item(BASE) + disk_item(LEAF)),
    )
    assert only_image(data) == only_image(golden_ovf.data(S06))


def test_two_leaves_are_refused() -> None:
    refused(altered(S06, (f"Parent>{BASE}", f"Parent>{ZERO}")), IMAGE, "2 volumes")


def test_circle_of_parents_is_refused() -> None:
    base = disk_item(BASE)
    refused(altered(S06, (base, base.replace(f"Parent>{ZERO}", f"Parent>{LEAF}"))), IMAGE, "0 volumes")


def test_volume_that_another_image_builds_on_never_runs() -> None:
    leaf = disk_item(LEAF)
    data = altered(S06, (leaf, leaf.replace(f"HostResource>{IMAGE}/", f"HostResource>{MIDDLE}/")))
    refused(data, IMAGE, "nobody's parent")


def test_volume_apart_from_the_chain_is_refused() -> None:
    # the middle volume and the base are each other's parents, the leaf stands alone
    text = with_middle_volume().decode()
    base = disk_item(BASE)
    text = text.replace(base, base.replace(f"Parent>{ZERO}", f"Parent>{MIDDLE}"))
    leaf = disk_item(LEAF).replace(f"Parent>{BASE}", f"Parent>{MIDDLE}")
    refused(
        text.replace(leaf, leaf.replace(f"Parent>{MIDDLE}", f"Parent>{ZERO}")).encode(), "no single chain"
    )


def test_disks_stand_in_the_order_of_their_first_disk_element() -> None:
    names = [disk.alias for disk in document.read(golden_ovf.data(S03)).disks]
    elements = re.findall("<Disk .*?</Disk>", golden_ovf.data(S03).decode())
    swapped = altered(S03, ("".join(elements), "".join(reversed(elements))))
    assert [disk.alias for disk in document.read(swapped).disks] == names[::-1]


# What joins items and Disk elements


def test_item_without_a_disk_element_is_refused() -> None:
    refused(altered(S06, (disk_element(LEAF), "")), LEAF, "no Disk element")


@pytest.mark.parametrize("resource_type", ["", "<rasd:ResourceType>0</rasd:ResourceType>"])
def test_item_that_names_an_image_is_a_disk_by_its_record_too(resource_type: str) -> None:
    known_by_record = ("<rasd:ResourceType>17</rasd:ResourceType>", resource_type)
    leaf_item = disk_item(LEAF).replace(*known_by_record)
    assert (
        document.read(altered(S06, (disk_item(LEAF), leaf_item))).disks
        == document.read(golden_ovf.data(S06)).disks
    )
    refused(
        altered(S06, (disk_item(LEAF), leaf_item), (disk_element(LEAF), "")),
        LEAF,
        "no Disk element",
    )


def test_disk_element_without_an_item_is_left_out_with_a_warning() -> None:
    extra = disk_element(LEAF).replace(LEAF, MIDDLE)
    spec = document.read(altered(S06, (disk_element(LEAF), disk_element(LEAF) + extra)))
    assert len(spec.disks) == 1
    assert any(MIDDLE in warning for warning in spec.warnings)


def test_doubled_disk_element_or_item_is_refused() -> None:
    refused(altered(S06, (disk_element(LEAF), disk_element(LEAF) * 2)), "two Disk elements", LEAF)
    refused(altered(S06, (disk_item(LEAF), disk_item(LEAF) * 2)), "two disk items", LEAF)


def test_item_that_names_no_image_is_refused() -> None:
    refused(altered(S06, (f"HostResource>{IMAGE}/{LEAF}", "HostResource>")), "HostResource")


def test_item_that_names_another_volume_is_a_warning() -> None:
    spec = document.read(altered(S06, (f"HostResource>{IMAGE}/{LEAF}", f"HostResource>{IMAGE}/{MIDDLE}")))
    assert spec.disks == document.read(golden_ovf.data(S06)).disks
    assert any("HostResource" in warning for warning in spec.warnings)


def test_disk_record_of_no_image_volume_is_a_warning() -> None:
    record = "<rasd:ResourceType>0</rasd:ResourceType><Type>disk</Type><Device>disk</Device>"
    spec = document.read(golden_ovf.with_items(S06, f"<rasd:InstanceId>{MIDDLE}</rasd:InstanceId>{record}"))
    assert len(spec.disks) == 1
    assert any(MIDDLE in warning for warning in spec.warnings)


# Values


@pytest.mark.parametrize(
    ("word", "bus"),
    [
        ("VirtIO", vmspec.Bus.VIRTIO),
        ("VirtIO_SCSI", vmspec.Bus.SCSI),
        ("SPAPR_VSCSI", vmspec.Bus.SCSI),
        ("IDE", vmspec.Bus.IDE),
        ("SATA", vmspec.Bus.SATA),
    ],
)
def test_interface_becomes_the_bus(word: str, bus: vmspec.Bus) -> None:
    assert only_image(altered(S06, ('disk-interface="VirtIO"', f'disk-interface="{word}"'))).interface is bus


@pytest.mark.parametrize("word", ["NVMe", "virtio_scsi", "2", "null"])
def test_unknown_interface_is_refused(word: str) -> None:
    refused(altered(S06, ('disk-interface="VirtIO"', f'disk-interface="{word}"')), "disk-interface", word)


def test_absent_interface_or_format_is_refused() -> None:
    refused(altered(S06, (' ovf:disk-interface="VirtIO"', "")), "disk-interface")
    refused(altered(S06, (' ovf:volume-format="COW"', "")), "volume-format")
    refused(altered(S06, ('volume-format="COW"', 'volume-format=""')), "volume-format")


def test_unassigned_format_is_a_warning_and_an_unknown_one_refused() -> None:
    data = altered(S06, ('volume-format="COW"', 'volume-format="Unassigned"'))
    assert only_image(data).format is vmspec.VolumeFormat.UNASSIGNED
    assert any("Unassigned" in warning for warning in document.read(data).warnings)
    refused(altered(S06, ('volume-format="COW"', 'volume-format="QED"')), "QED")
    refused(altered(S06, ('volume-format="COW"', 'volume-format="4"')), "volume-format")


def test_values_of_other_volumes_of_the_chain_do_not_matter() -> None:
    base = disk_element(BASE)
    odd = base.replace('disk-interface="VirtIO"', 'disk-interface="odd"').replace("RAW", "odd")
    assert only_image(altered(S06, (base, odd))) == only_image(golden_ovf.data(S06))


def test_size_is_a_number_or_none() -> None:
    assert only_image(altered(S06, (' ovf:size="20"', ""))).size_gib is None
    refused(altered(S06, (' ovf:size="20"', ' ovf:size="big"')), "size")


def test_absent_record_means_plugged_writable_and_no_boot_order() -> None:
    item = disk_item(LEAF)
    bare = item[: item.index("<Type>")] + "</Item>"
    disk = only_image(altered(S06, (item, bare)))
    assert (disk.plugged, disk.read_only, disk.boot_order, disk.address) == (True, False, None, None)


def test_attributes_that_old_engines_did_not_write_are_false() -> None:
    disk = only_image(
        altered(S06, (' ovf:read-only="false" ovf:shareable="false"', ""), (' ovf:pass-discard="false"', ""))
    )
    assert (disk.read_only, disk.shareable, disk.pass_discard) == (False, False, False)


@pytest.mark.parametrize(
    ("attribute", "element", "read_only"),
    [("true", "false", True), ("false", "true", True), ("false", "null", False), ("true", "null", True)],
)
def test_read_only_if_either_says_so(attribute: str, element: str, read_only: bool) -> None:
    item = disk_item(LEAF)
    data = altered(
        S06,
        ('read-only="false"', f'read-only="{attribute}"'),
        (item, item.replace("<IsReadOnly>false", f"<IsReadOnly>{element}")),
    )
    assert only_image(data).read_only is read_only


@pytest.mark.parametrize(("text", "order"), [("0", None), ("", None), ("null", None), ("3", 3), ("-1", None)])
def test_boot_order_zero_is_none(text: str, order: int | None) -> None:
    item = disk_item(LEAF)
    data = altered(S06, (item, item.replace("<BootOrder>1", f"<BootOrder>{text}")))
    assert only_image(data).boot_order == order


def test_storage_domains_are_all_listed_and_the_first_counts() -> None:
    item = disk_item(LEAF)
    storage = f"<rasd:StorageId>{golden_ovf.DOMAIN}</rasd:StorageId>"
    two = item.replace(storage, storage + f"<rasd:StorageId>{MIDDLE}</rasd:StorageId>")
    disk = only_image(altered(S06, (item, two)))
    assert (disk.domain_id, disk.domain_ids) == (golden_ovf.DOMAIN, (golden_ovf.DOMAIN, MIDDLE))
    spec = document.read(altered(S06, (item, item.replace(storage, ""))))
    assert isinstance(spec.disks[0], vmspec.ImageDisk)
    assert (spec.disks[0].domain_id, spec.disks[0].domain_ids) == (None, ())
    assert any("StorageId" in warning and LEAF in warning for warning in spec.warnings)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", None),
        ("null", None),
        ("{}", None),
        ("{slot=0x06,bus=0x00, type=pci}", {"slot": "0x06", "bus": "0x00", "type": "pci"}),
        ("{ type = spapr-vio , reg = 0x3000 }", {"type": "spapr-vio", "reg": "0x3000"}),
        ("type=drive, unit=0, flag", {"type": "drive", "unit": "0", "flag": ""}),
        ("{a=b=c}", {"a": "b=c"}),
    ],
)
def test_address_is_read_as_the_engine_reads_it(text: str, address: dict[str, str] | None) -> None:
    item = disk_item(LEAF)
    changed = re.sub("<rasd:Address>.*?</rasd:Address>", f"<rasd:Address>{text}</rasd:Address>", item)
    assert only_image(altered(S06, (item, changed))).address == address


# Booting


def test_boot_disk_is_the_lowest_order_else_the_first_marked() -> None:
    def spec(*changes: tuple[str, str]) -> vmspec.VmSpec:
        return document.read(altered(S03, *changes))

    os_disk, dwh = (disk.volume_id for disk in spec().plugged_images)
    both = ("<BootOrder>1</BootOrder>", "<BootOrder>7</BootOrder>"), ("<BootOrder>0<", "<BootOrder>2<")
    assert spec(*both).boot_disk == next(d for d in spec(*both).disks if getattr(d, "volume_id", "") == dwh)
    assert spec(*both).must_not_boot == ()
    by_flag = spec(("<BootOrder>1</BootOrder>", "<BootOrder>0</BootOrder>"))
    assert by_flag.boot_disk is not None
    assert by_flag.boot_disk.volume_id == os_disk
    assert [disk.volume_id for disk in by_flag.must_not_boot] == [dwh]
    neither = spec(("<BootOrder>1</BootOrder>", "<BootOrder></BootOrder>"), ('boot="true"', 'boot="false"'))
    assert neither.boot_disk is None
    assert len(neither.must_not_boot) == 2
    unplugged = spec(("<IsPlugged>true", "<IsPlugged>false"))
    assert unplugged.boot_disk is None
    assert [disk.volume_id for disk in unplugged.must_not_boot] == [dwh]


# LUNs

LUN = (
    '<Disk ovf:diskId="12121212-5a48-40ca-bbb1-f82d0d806798" ovf:disk-alias="lun" '
    'ovf:fileRef="12121212-5a48-40ca-bbb1-f82d0d806798" ovf:disk-interface="VirtIO_SCSI" ovf:boot="false" '
    'ovf:read-only="false" ovf:shareable="true" ovf:plugged="true" ovf:lun_id="36001405abc" '
    'ovf:scsi_reservation="false"><Connection ovf:connection="10.0.0.1"></Connection></Disk>'
)


def with_lun(lun: str = LUN) -> bytes:
    return altered(S06, (disk_element(LEAF), lun + disk_element(LEAF)))


def test_lun_is_a_disk_without_a_hardware_item() -> None:
    lun, image = document.read(with_lun()).disks
    assert lun == vmspec.LunDisk(
        alias="lun",
        disk_id="12121212-5a48-40ca-bbb1-f82d0d806798",
        lun_id="36001405abc",
        interface=vmspec.Bus.SCSI,
        boot=False,
        plugged=True,
        read_only=False,
        shareable=True,
        boot_order=None,
        pass_discard=False,
        scsi_reservation=False,
        address=None,
    )
    assert isinstance(image, vmspec.ImageDisk)
    shown = facts.of(document.read(with_lun()))
    assert shown["disks"][0]["storage"] == "lun"
    assert shown["boot_disk_volume_id"] == LEAF


def test_lun_values_are_held_to_the_same_rules() -> None:
    refused(with_lun(LUN.replace("VirtIO_SCSI", "odd")), "disk-interface")
    refused(with_lun(LUN.replace(' ovf:diskId="12121212-5a48-40ca-bbb1-f82d0d806798"', "")), "diskId")
    lun = document.read(with_lun(LUN.replace('plugged="true"', 'plugged="false"'))).disks[0]
    assert not lun.plugged
    old = document.read(with_lun(LUN.replace(' ovf:plugged="true"', ""))).disks[0]
    assert old.plugged


def test_lun_that_has_an_item_after_all_is_read_only_if_that_says_so() -> None:
    item = (
        "<Item><rasd:InstanceId>12121212-5a48-40ca-bbb1-f82d0d806798</rasd:InstanceId>"
        "<rasd:ResourceType>17</rasd:ResourceType><IsReadOnly>true</IsReadOnly></Item>"
    )
    data = altered(
        S06, (disk_element(LEAF), LUN + disk_element(LEAF)), (disk_item(LEAF), item + disk_item(LEAF))
    )
    assert document.read(data).disks[0].read_only
