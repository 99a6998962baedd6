"""Scenarios of a generated domain: which addresses of the last run are kept."""

import pytest

from tests import generated
from tests.generated import domain, image, nic, pci, with_disks
from tests.golden_ovf import S02, S03, data

ENGINE = generated.spec(data(S02))
Q35 = generated.spec(data(S03))


def test_addresses_of_the_last_run_are_all_kept() -> None:
    made = domain(ENGINE)
    for path, place in (
        ("controller[@type='usb']", ("0x00", "0x01", "0x2")),
        ("controller[@type='ide']", ("0x00", "0x01", "0x1")),
        ("controller[@type='scsi']", ("0x00", "0x04", "0x0")),
        ("video", ("0x00", "0x02", "0x0")),
        ("interface", ("0x00", "0x03", "0x0")),
        ("disk[@device='disk']", ("0x00", "0x06", "0x0")),
    ):
        assert made.device(path).address == place


def test_of_addresses_that_collide_only_those_of_nics_are_kept() -> None:
    made = domain(with_disks(image(address=pci("0x03"))))
    assert made.device("interface").address == ("0x00", "0x03", "0x0")
    for path in ("disk[@device='disk']", "video", "controller[@type='scsi']", "controller[@type='usb']"):
        assert made.device(path).address is None
    assert made.says("Two devices have one address", "only those of the NICs")
    twice = ENGINE.nics[0].but(mac="00:16:3e:5d:1f:89", id=None)
    made = domain(ENGINE.but(nics=(*ENGINE.nics, twice)))
    assert [card.address for card in made.nics()] == [None, None]
    assert made.says("none is kept")


@pytest.mark.parametrize(
    "address",
    [
        pci("0x00"),
        pci("0x01"),
        pci("0x20"),
        pci("0x05", bus="0x01"),
        pci("6x"),
        pci("0x0a", function="0x3"),
        {"type": "ccw", "cssid": "0xfe", "ssid": "0x0", "devno": "0x0001"},
        {},
        {**pci("0x0a"), "domain": "0x0001"},
    ],
)
def test_address_that_the_machine_does_not_have_is_left_out_alone(address: dict[str, str]) -> None:
    made = domain(with_disks(image(address=address)))
    assert made.disks()[0].address is None
    assert made.says("Disk disk0", "address is left out")
    assert made.device("interface").address == ("0x00", "0x03", "0x0")


def test_functions_of_one_slot_are_kept_together() -> None:
    vm = with_disks(image(address=pci("0x0a")), image(1, address=pci("0x0a", function="0x1")))
    first, second = domain(vm).disks()
    assert first.get("address", "multifunction") == "on"
    assert second.address == ("0x00", "0x0a", "0x1")


def test_q35_has_a_root_port_for_every_bus_in_use() -> None:
    made = domain(Q35.but(nics=nic(Q35, address=pci("0x00", bus="0x14"))))
    assert made.nics()[0].address == ("0x14", "0x00", "0x0")
    ports = made.all("devices/controller[@model='pcie-root-port']")
    assert [port["index"] for port in ports] == [str(index) for index in range(1, 0x15)]
    made = domain(Q35.but(nics=nic(Q35, address=pci("0x03", bus="0x14"))))
    assert made.nics()[0].address is None


def test_the_video_devices_slot_is_its_own() -> None:
    devices = tuple(d.but(address=None) if d.kind == "video" else d for d in ENGINE.devices)
    vm = with_disks(image(address=pci("0x02"))).but(devices=devices)
    assert domain(vm).says("Disk disk0", "video device's")


def test_s390x_has_channels_instead() -> None:
    address = {"type": "ccw", "cssid": "0xfe", "ssid": "0x0", "devno": "0x0001"}
    made = domain(with_disks(image(address=address)).but(os="rhel_8x64_s390x"))
    found = made.disks()[0].element.find("address")
    assert found is not None
    assert {key: found.get(key) for key in address} == address
    assert made.device("interface").address is None
