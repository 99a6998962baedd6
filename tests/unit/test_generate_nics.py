"""Scenarios of a generated domain: NICs, and those that a host cannot build."""

from typing import Any

import pytest

from ovirt_he_agent.ovf import host_facts, refusals, vmspec
from tests import generated
from tests.generated import HOST, NIC_WITHOUT_MAC, domain, nic, refusal
from tests.golden_ovf import S02, S03, S06, data

ENGINE = generated.spec(data(S02))
Q35 = generated.spec(data(S03))
ORDINARY = generated.spec(data(S06))


def test_nic_is_complete() -> None:
    made = domain(ENGINE)
    card = made.device("interface")
    assert card.get("mac", "address") == "00:16:3e:5d:1f:88"
    assert (card.get("model", "type"), card.get("source", "bridge")) == ("virtio", "ovirtmgmt")
    assert card.get("link", "state") == "up"
    assert card.get("alias", "name") == "ua-1293f130-f7f2-458c-99a0-b3e84cf5963d"
    assert card.address == ("0x00", "0x03", "0x0")
    assert made.root.find(f".//{generated.OVIRT_VM}device[@mac_address='00:16:3e:5d:1f:88']") is not None
    assert made.says("vNIC profile", "NIC vnet0")


def test_mac_is_written_as_libvirt_gives_it_back() -> None:
    made = domain(ENGINE, nics=nic(ENGINE, mac="56:6F:1C:00:00:0A"))
    assert made.nics()[0].get("mac", "address") == "56:6f:1c:00:00:0a"
    assert made.root.find(f".//{generated.OVIRT_VM}device[@mac_address='56:6f:1c:00:00:0a']") is not None


def test_network_is_the_hosts_bridge() -> None:
    made = domain(Q35)
    assert [card.get("source", "bridge") for card in made.nics()] == ["ovirtmgmt", "on5f3c1a77e9b2"]
    assert [card.get("link", "state") for card in made.nics()] == ["up", "down"]


def test_unknown_networks_are_taken_by_name_and_said() -> None:
    made = domain(Q35, host_facts.UNKNOWN)
    assert [card.get("source", "bridge") for card in made.nics()] == ["ovirtmgmt", "сеть хранения"]
    assert made.says("nic1", "ovirtmgmt", "not known here")
    assert made.says("nic2", "generated name")


def test_no_network_is_no_link() -> None:
    card = domain(ORDINARY).nics()[1]
    assert (card.get("source", "bridge"), card.get("link", "state")) == (";vdsmdummy;", "down")


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "network": ({"network": "dmz"}, "no network 'dmz'"),
    "mac": ({"mac": None}, "no MAC address"),
    "bad mac": ({"mac": "00:16:3e"}, "'00:16:3e'"),
    "multicast": ({"mac": "01:16:3e:00:00:01"}, "none of a NIC"),
    "SR-IOV": ({"model": vmspec.NicModel.PCI_PASSTHROUGH}, "SR-IOV"),
    "hostdev": ({"device": "hostdev"}, "SR-IOV"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nic_that_the_host_cannot_build_is_refused_or_left_out_by_choice(fault: str) -> None:
    changes, words = FAULTS[fault]
    vm = ENGINE.but(nics=nic(ENGINE, **changes))
    assert words in refusal(vm)
    made = domain(vm, HOST.but(without_missing_nics=True))
    assert made.nics() == []
    assert made.says("NIC vnet0 is left out", words)
    assert domain(vm.but(nics=nic(vm, plugged=False))).nics() == []


def test_every_nic_that_only_this_host_lacks_is_named_together() -> None:
    with pytest.raises(refusals.NicsMissing) as caught:
        domain(Q35, HOST.but(bridges={}))
    assert isinstance(caught.value, refusals.NotStartableHere)
    for words in ("NIC nic1: the host has no network 'ovirtmgmt'", "NIC nic2: the host has no network"):
        assert words in str(caught.value)


def test_sample_without_macs_starts_only_by_choice() -> None:
    vm = generated.spec(data(NIC_WITHOUT_MAC))
    assert "no MAC" in refusal(vm)
    assert domain(vm, HOST.but(without_missing_nics=True)).leases


def test_two_nics_of_one_mac_are_one_to_vdsm() -> None:
    made = domain(ENGINE.but(nics=ENGINE.nics * 2))
    assert len(made.nics()) == 2
    assert len(made.root.findall(f".//{generated.OVIRT_VM}device[@mac_address]")) == 1
    assert made.says("MAC address of another NIC")


@pytest.mark.parametrize(
    ("model", "os", "written", "said"),
    [
        (vmspec.NicModel.RTL8139_PV, "other_linux", "virtio", True),
        (vmspec.NicModel.RTL8139_PV, "windows_2022", "rtl8139", True),
        (vmspec.NicModel.E1000E, "other_linux", "e1000e", False),
        (None, "other_linux", "virtio", True),
    ],
)
def test_model_of_a_nic(model: vmspec.NicModel | None, os: str, written: str, said: bool) -> None:
    made = domain(ENGINE.but(nics=nic(ENGINE, model=model), os=os))
    assert made.device("interface").get("model", "type") == written
    assert made.says("NIC vnet0", "taken as") == said


def test_queues_vhost_and_send_buffer() -> None:
    card = domain(ENGINE, multi_queues=True).device("interface")
    assert (card.get("driver", "name"), card.get("driver", "queues")) == ("vhost", "4")
    properties = {"vhost": "ovirtmgmt:false,lab:true", "sndbuf": "1024"}
    card = domain(ENGINE, custom_properties=properties).device("interface")
    assert card.get("driver", "name") == "qemu"
    assert card.element.findtext("tune/sndbuf") == "1024"
    made = domain(ENGINE, custom_properties={"vhost": "what", "sndbuf": "big"})
    assert made.says("vhost", "what")
    assert made.says("sndbuf", "big")


def test_nics_own_properties_are_for_the_hooks() -> None:
    made = domain(ENGINE.but(nics=nic(ENGINE, custom_properties={"a": "b", "2": "c"})))
    assert (
        made.root.findtext(f".//{generated.OVIRT_VM}device/{generated.OVIRT_VM}custom/{generated.OVIRT_VM}a")
        == "b"
    )
    assert made.says("NIC vnet0", "'2'")
