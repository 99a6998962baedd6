"""Every generated domain, after what VDSM makes of it, is one that libvirt defines."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovirt_he_agent.ovf import host_facts, refusals, vmspec
from tests import generated, golden_ovf, vdsm_substitutions
from tests.generated import image, lun, pci, with_disks
from tests.golden_ovf import S02, S03, S06

pytestmark = pytest.mark.real("libvirt")

ENGINE = generated.spec(golden_ovf.data(S02))
Q35 = generated.spec(golden_ovf.data(S03))
ORDINARY = generated.spec(golden_ovf.data(S06))

VARIANTS: Mapping[str, vmspec.VmSpec] = {
    "all buses": with_disks(*(image(i, interface=bus) for i, bus in enumerate([*vmspec.Bus] * 2) if i != 6)),
    "all kinds of disks": with_disks(image(), lun(), image(1, shareable=True), image(2, read_only=True)),
    "reserved LUN": with_disks(image(), lun(scsi_reservation=True)),
    "30 disks": with_disks(*(image(i, interface=vmspec.Bus.SCSI) for i in range(30)), vm=Q35),
    "I/O threads": ENGINE.but(iothreads=3, virtio_scsi_multi_queues=True),
    "UEFI": Q35.but(bios=vmspec.Bios.Q35_UEFI),
    "headless": ENGINE.but(graphics=(), video=(), devices=()),
    "ppc64le": with_disks(image(), vm=ENGINE.but(os="rhel_8x64_ppc64", cpu="POWER9")),
    "s390x": with_disks(image(), vm=ENGINE.but(os="rhel_8x64_s390x", devices=())),
    "Windows": ENGINE.but(os="windows_2022", time_zone="W. Europe Standard Time"),
    "pinned": ORDINARY.but(cpu_pinning="0#1-2_1#3", cpu_policy="manual"),
    "kernel": ENGINE.but(kernel="/boot/vmlinuz", initrd="/boot/initrd", kernel_parameters="quiet"),
    "properties": ENGINE.but(
        custom_properties={
            "hugepages": "2048",
            "hugepages_shared": "true",
            "sndbuf": "0",
            "vhost": "ovirtmgmt:true",
        }
    ),
    "functions": with_disks(image(address=pci("0x0a")), image(1, address=pci("0x0a", function="0x1"))),
}


@pytest.mark.parametrize("name", generated.sample_names())
@pytest.mark.parametrize("host", [generated.HOST, host_facts.UNKNOWN], ids=["known host", "unknown host"])
def test_libvirt_defines_the_domain_of_every_sample(name: str, host: host_facts.HostFacts) -> None:
    made = generated.domain(golden_ovf.data(name), host)
    assert vdsm_substitutions.refusal(made.xml, host.block_domain_ids or ()) is None


@pytest.mark.parametrize("name", VARIANTS)
def test_libvirt_defines_every_kind_of_domain(name: str) -> None:
    assert vdsm_substitutions.refusal(generated.domain(VARIANTS[name]).xml) is None


def test_libvirt_is_asked_indeed() -> None:
    made = generated.domain(ENGINE)
    assert "uuid" in (vdsm_substitutions.refusal(made.xml.replace("<uuid>", "<uuid>x")) or "")


# Whatever a document may say: each field of a VM with values of its kind, good and bad.

TEXTS = st.none() | st.sampled_from(
    ["", "a", "<&>'\"", "é 中", "x" * 300, "rhel_8x64_ppc64", "windows_10", "4.7"]
)
PROPERTIES = st.dictionaries(
    st.sampled_from(
        ["hugepages", "hugepages_shared", "viodiskcache", "vhost", "sndbuf", "a", "2", "extra_cpu_flags"]
    ),
    st.sampled_from(["2048", "true", "none", "ovirtmgmt:true", "+a,-b", "%", ""]),
    max_size=3,
)
ADDRESSES = st.none() | st.builds(
    lambda kind, numbers: {"type": kind, **numbers},
    st.sampled_from(["pci", "drive", "ccw", "usb"]),
    st.dictionaries(
        st.sampled_from(["bus", "slot", "function", "controller", "target", "unit", "domain"]),
        st.sampled_from(["0x00", "0x01", "1", "2", "0x1f", "0x99", "-1", "x"]),
    ),
)
NUMBERS = st.integers(0, 8)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": TEXTS, "os": TEXTS, "cluster_version": TEXTS, "cpu": TEXTS, "time_zone": TEXTS,
    "custom_serial_number": TEXTS, "kernel": TEXTS, "cpu_policy": TEXTS, "sound": TEXTS,
    "machine": st.sampled_from([None, "pc", "q35", "pc-i440fx-4;pc-q35-4", "virt"]),
    "vnc_keymap": st.sampled_from([None, "none", "de", "en-us"]),
    "cpu_pinning": st.sampled_from([None, "0#1", "0#x", "#"]),
    "custom_properties": PROPERTIES,
    "bios": st.none() | st.sampled_from(vmspec.Bios),
    "rng": st.none() | st.sampled_from(vmspec.RngSource),
    "console": st.none() | st.sampled_from([vmspec.Console.SERIAL, vmspec.Console.VIRTIO]),
    "graphics": st.lists(st.sampled_from(vmspec.Graphics), max_size=3).map(tuple),
    "sockets": st.integers(1, 4), "cores_per_socket": st.integers(1, 4),
    "threads_per_core": st.integers(1, 2),
    "max_vcpus": st.none() | st.integers(0, 70), "iothreads": NUMBERS,
    "memory_mib": st.integers(1, 1 << 20), "max_memory_mib": st.none() | st.integers(0, 1 << 22),
    "serial_number_policy": st.none() | st.integers(0, 2), "origin": st.none() | NUMBERS,
    **dict.fromkeys(
        ("host_cpu_passthrough", "tpm", "boot_menu", "start_paused", "stateless", "cdrom", "balloon",
         "console_socket", "smartcard", "virtio_scsi_multi_queues", "multi_queues", "spice_copy_paste"),
        st.booleans(),
    ),
}  # fmt: skip
DISK_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "interface": st.sampled_from(vmspec.Bus), "boot": st.booleans(),
    "plugged": st.sampled_from([True, True, False]),
    "boot_order": st.none() | NUMBERS.filter(bool), "read_only": st.booleans(), "shareable": st.booleans(),
    "pass_discard": st.booleans(), "address": ADDRESSES,
}  # fmt: skip
IMAGE_VALUES = DISK_VALUES | {
    "format": st.sampled_from([*vmspec.VolumeFormat, vmspec.VolumeFormat.RAW, vmspec.VolumeFormat.COW]),
    "domain_id": st.sampled_from([None, *[golden_ovf.DOMAIN] * 6, generated.BLOCK_DOMAIN]),
}
NIC_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "mac": st.sampled_from([None, "", *(f"00:16:3e:00:00:{i:02x}" for i in range(20))]),
    "network": st.sampled_from([None, "ovirtmgmt", "ovirtmgmt", "lab", "nowhere"]),
    "model": st.none() | st.sampled_from([m for m in vmspec.NicModel if m is not vmspec.NicModel.SPAPR_VLAN]),
    "linked": st.booleans(), "plugged": st.booleans(), "boot_order": st.none() | NUMBERS.filter(bool),
    "address": ADDRESSES, "custom_properties": PROPERTIES,
}  # fmt: skip
RECORD_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "plugged": st.booleans(), "address": ADDRESSES, "boot_order": st.none() | NUMBERS.filter(bool),
    "device": st.sampled_from([None, "usb", "ide", "sata", "virtio-scsi", "virtio-serial", "vga", "x"]),
    "spec": st.dictionaries(
        st.sampled_from(["index", "model", "vram", "ram", "heads", "action", "bytes", "ioThreadId", "ports"]),
        st.sampled_from(["0", "1", "7", "65536", "piix3-uhci", "qemu-xhci", "i6300esb", "reset", "x", ""]),
    ),
}  # fmt: skip


def changed(value: Any, draw: st.DrawFn, values: Mapping[str, st.SearchStrategy[Any]], at_most: int) -> Any:
    names = draw(st.lists(st.sampled_from(sorted(values)), max_size=at_most, unique=True))
    return value.but(**{name: draw(values[name]) for name in names})


@st.composite
def vms(draw: st.DrawFn) -> vmspec.VmSpec:
    """A sample with some fields changed, and more disks and NICs than it had."""
    vm = changed(draw(st.sampled_from([ENGINE, Q35, ORDINARY])), draw, VALUES, 8)
    disks = [image(number, address=None) for number in range(draw(st.integers(0, 6)))]
    extra = [lun()] if draw(st.booleans()) else []
    return vm.but(  # type: ignore[no-any-return]
        disks=(
            *(changed(disk, draw, IMAGE_VALUES, 3) for disk in (*vm.disks, *disks)),
            *(changed(disk, draw, DISK_VALUES, 3) for disk in extra),
        ),
        nics=tuple(changed(nic, draw, NIC_VALUES, 3) for nic in vm.nics * draw(st.integers(0, 2))),
        devices=tuple(changed(device, draw, RECORD_VALUES, 2) for device in vm.devices),
    )


hosts = st.sampled_from(
    [generated.HOST, host_facts.UNKNOWN, generated.HOST.but(without_missing_nics=True)] * 2
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(vms(), hosts)
def test_any_vm_is_refused_or_becomes_a_protected_domain(
    vm: vmspec.VmSpec, host: host_facts.HostFacts
) -> None:
    try:
        made = generated.domain(vm, host)
    except refusals.NotStartable:
        return
    assert made.text("uuid") == vm.vm_id
    targets = [target["dev"] for target in made.all("devices/disk/target")]
    assert len(set(targets)) == len(targets)
    known = {
        (element.findtext(generated.OVIRT_VM + "volumeID"), element.findtext(generated.OVIRT_VM + "shared"))
        for element in made.root.iterfind(f".//{generated.OVIRT_VM}device[@devtype='disk']")
        if element.get("name") in targets
    }
    images = [disk for disk in vm.plugged_images if disk.snapshot_id is None]
    assert {(disk.volume_id, "shared" if disk.shareable else "exclusive") for disk in images} <= known
    held = {(lease.key, lease.lockspace) for lease in made.leases}
    assert held == {(disk.volume_id, disk.domain_id) for disk in images if not disk.shareable}
    refused = vdsm_substitutions.refusal(made.xml, host.block_domain_ids or ())
    assert refused is None, refused
