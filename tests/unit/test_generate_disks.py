"""Scenarios of a generated domain: disks, their names and places, and what is booted from."""

from typing import Any

import pytest

from ovirt_he_agent.ovf import host_facts, vmspec
from tests import generated
from tests.generated import BLOCK_DOMAIN, domain, drive, image, lun, nic, pci, refusal, with_disks
from tests.golden_ovf import S02, S03, S06, data

ENGINE = generated.spec(data(S02))
Q35 = generated.spec(data(S03))
ORDINARY = generated.spec(data(S06))
IDE, SATA, SCSI, VIRTIO = vmspec.Bus.IDE, vmspec.Bus.SATA, vmspec.Bus.SCSI, vmspec.Bus.VIRTIO


def names(vm: vmspec.VmSpec) -> list[str | None]:
    return [disk.get("target", "dev") for disk in domain(vm).disks()]


def test_names_are_counted_per_bus_and_leave_the_cdrom_its_own() -> None:
    vm = with_disks(*(image(i, interface=bus) for i, bus in enumerate((VIRTIO, IDE, IDE, IDE, VIRTIO, SCSI))))
    assert names(vm) == ["vda", "hda", "hdb", "hdd", "vdb", "sda"]
    assert domain(vm).device("disk[@device='cdrom']").get("target", "dev") == "hdc"


def test_scsi_and_sata_share_their_letters() -> None:
    vm = with_disks(*(image(i, interface=(SCSI, SATA)[i % 2]) for i in range(5)), vm=Q35)
    assert names(vm) == ["sda", "sdb", "sdd", "sde", "sdf"]
    assert domain(vm).device("disk[@device='cdrom']").get("target", "dev") == "sdc"
    assert names(vm.but(cdrom=False, devices=())) == ["sda", "sdb", "sdc", "sdd", "sde"]


def test_name_after_the_26th() -> None:
    vm = with_disks(*(image(i) for i in range(28)))
    assert names(vm)[25:] == ["vdz", "vdaa", "vdab"]


def test_every_drive_has_a_place_of_its_own_and_kept_ones_come_first() -> None:
    vm = with_disks(
        image(0, interface=SCSI), image(1, interface=SCSI, address=drive(unit="0")), image(2, interface=SCSI)
    )
    places = [disk.address for disk in domain(vm).disks()]
    assert places == [("0", "0", "0", "1"), ("0", "0", "0", "0"), ("0", "0", "0", "2")]


@pytest.mark.parametrize(
    ("bus", "address"),
    [
        (IDE, pci("0x06")),
        (IDE, drive(bus="2")),
        (IDE, drive(unit="x")),
        (SATA, drive(unit="6")),
        (SCSI, drive(controller="3")),
        (VIRTIO, drive()),
    ],
)
def test_address_that_does_not_fit_the_bus_is_left_out_and_said(
    bus: vmspec.Bus, address: dict[str, str]
) -> None:
    made = domain(with_disks(image(interface=bus, address=address)))
    assert made.says("Disk disk0", "address is left out")
    if bus is VIRTIO:
        assert made.disks()[0].address is None
    else:
        assert made.disks()[0].address == ("0", "0", "0", "0")


def test_ide_takes_four_drives_and_q35_has_none() -> None:
    four = tuple(image(i, interface=IDE) for i in range(4))
    assert "on IDE" in refusal(with_disks(*four))
    assert domain(with_disks(*four[:3])).disks()[2].address == ("0", "1", "0", "1")
    made = domain(with_disks(*four, vm=Q35))
    assert {disk.get("target", "bus") for disk in made.disks()} == {"sata"}
    assert made.says("no IDE", "SATA")
    assert "does not have" in refusal(with_disks(four[0], vm=ENGINE.but(os="rhel_8x64_s390x")))


# Disks: what they are


def test_disk_is_complete() -> None:
    made = domain(ENGINE)
    disk = made.device("disk[@device='disk']")
    image_id = "75413438-ca10-48f6-925b-537723a60606"
    assert made.one("devices/disk[@device='disk']") == {"type": "file", "device": "disk", "snapshot": "no"}
    assert made.one("devices/disk[@device='disk']/driver") == {
        "name": "qemu",
        "type": "raw",
        "cache": "none",
        "io": "threads",
        "error_policy": "stop",
    }
    assert (disk.element.findtext("serial"), disk.get("alias", "name")) == (image_id, f"ua-{image_id}")
    assert disk.get("boot", "order") == "1"
    assert disk.address == ("0x00", "0x06", "0x0")
    known = made.root.find(f".//{generated.OVIRT_VM}device[@name='vda']")
    assert known is not None
    assert {str(child.tag).removeprefix(generated.OVIRT_VM): child.text for child in known} == {
        "poolID": "00000000-0000-0000-0000-000000000000",
        "domainID": "76a79a20-8ce3-432d-8c1e-112b88ef9510",
        "imageID": image_id,
        "volumeID": "e2831e18-ce81-4abd-bab7-ae470b5b61a6",
        "shared": "exclusive",
    }


def test_block_storage_is_known_by_its_domain() -> None:
    made = domain(with_disks(image(domain_id=BLOCK_DOMAIN), image(1)))
    block, file = made.disks()
    assert (block.element.get("type"), block.get("driver", "io")) == ("block", "native")
    assert (block.get("source", "dev") or "").endswith("-000000000002")
    assert (file.element.get("type"), file.get("driver", "io")) == ("file", "threads")
    assert not made.says("block devices")
    assert domain(ENGINE, host_facts.UNKNOWN).says("files or block devices is not known")


def test_leaf_of_a_chain_is_what_runs() -> None:
    disk = domain(ORDINARY).device("disk[@device='disk']")
    assert (disk.get("source", "file") or "").endswith("/66f6b7b8-62c6-4436-8e56-7e32bd157234")
    assert disk.get("driver", "type") == "qcow2"


def test_flags_of_a_disk() -> None:
    made = domain(with_disks(image(), image(1, shareable=True, pass_discard=True), image(2, read_only=True)))
    plain, shared, fixed = made.disks()
    assert shared.has("shareable")
    assert shared.get("driver", "discard") == "unmap"
    assert fixed.has("readonly")
    assert not plain.has("shareable")
    assert not plain.has("readonly")
    marks = made.root.findall(f".//{generated.OVIRT_VM}shared")
    assert [mark.text for mark in marks] == ["exclusive", "shared", "exclusive"]
    assert [lease.key[:8] for lease in made.leases] == ["00000000", "00000002"]


def test_cache_of_the_vm_is_for_virtio_disks_of_its_own() -> None:
    disks = (image(domain_id=BLOCK_DOMAIN), image(1, shareable=True), image(2, interface=SCSI))
    made = domain(with_disks(*disks), custom_properties={"viodiskcache": "writethrough"})
    assert [disk.get("driver", "cache") for disk in made.disks()] == ["writethrough", "none", "none"]
    assert made.disks()[0].get("driver", "io") == "threads"
    assert domain(ENGINE, custom_properties={"viodiskcache": "fast"}).says("viodiskcache", "fast")


def test_io_threads_go_round_among_virtio_disks() -> None:
    vm = with_disks(*(image(i) for i in range(3)), image(3, interface=SCSI)).but(iothreads=2)
    made = domain(vm)
    assert [disk.get("driver", "iothread") for disk in made.disks()] == ["1", "2", "1", None]
    assert made.device("controller[@type='scsi']").get("driver", "iothread") == "1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"domain_id": None}, "storage domain of Disk disk0"),
        ({"domain_id": None, "shareable": True}, "storage domain of Disk disk0"),
        ({"format": vmspec.VolumeFormat.UNASSIGNED}, "format of Disk disk0"),
        ({"interface": IDE, "read_only": True}, "read-only"),
    ],
)
def test_disk_that_cannot_be_had_safely_is_no_start(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(with_disks(image(**changes)))


def test_unplugged_and_lent_disks_stay_out() -> None:
    made = domain(with_disks(image(), image(1, plugged=False), image(2, snapshot_id="4c94c3c0")))
    assert len(made.disks()) == len(made.leases) == 1
    assert made.says("Disk disk2", "snapshot")
    assert not made.says("disk1")


def test_lun_is_a_block_device_that_vdsm_knows_by_its_guid() -> None:
    made = domain(with_disks(image(), lun(scsi_reservation=True)))
    san = made.disks()[1]
    assert (san.element.get("type"), san.element.get("device")) == ("block", "lun")
    assert san.get("source", "dev") == "/dev/mapper/36001405a"
    assert san.get("source/reservations", "managed") == "yes"
    assert made.root.findtext(f".//{generated.OVIRT_VM}GUID") == "36001405a"
    assert made.says("LUN san", "no lease")
    assert domain(with_disks(image(), lun())).disks()[1].element.get("device") == "disk"


# Boot order


def test_flagged_disk_boots_if_none_has_an_order() -> None:
    disks = (image(0, boot=False, boot_order=None), image(1, boot=True))
    assert [disk.get("boot", "order") for disk in domain(with_disks(*disks)).disks()] == [None, "1"]
    made = domain(with_disks(*disks).but(nics=nic(ENGINE, boot_order=1)))
    assert [device.get("boot", "order") for device in (*made.nics(), *made.disks())] == ["1", None, "2"]
    assert domain(with_disks(image(boot=False, boot_order=None))).says("No disk is marked to boot")


def test_one_order_of_two_devices_is_counted_anew() -> None:
    made = domain(with_disks(image(boot_order=2), image(1, boot_order=2)).but(nics=nic(ENGINE, boot_order=1)))
    assert [device.get("boot", "order") for device in (*made.nics(), *made.disks())] == ["1", "2", "3"]
    assert made.says("boot order")


def test_disk_goes_before_the_nic_and_the_cdrom_of_the_same_order() -> None:
    cdrom = tuple(d.but(boot_order=1) if d.kind == "cdrom" else d for d in ENGINE.devices)
    made = domain(with_disks(image(boot_order=1)).but(nics=nic(ENGINE, boot_order=1), devices=cdrom))
    drives = (*made.disks(), *made.nics(), made.device("disk[@device='cdrom']"))
    assert [device.get("boot", "order") for device in drives] == ["1", "2", "3"]
