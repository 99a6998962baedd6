"""The legacy parameters of a VM: one test for each rule that the obvious translation gets wrong."""

from typing import Any

import pytest

from ovirt_he_agent.ovf import document, vmparams, vmparams_devices
from tests import golden_ovf


def params_of(data: bytes) -> dict[str, Any]:
    return vmparams.of(document.read(data))


def devices(params: dict[str, Any], kind: str, device: str | None = None) -> list[dict[str, Any]]:
    found = [d for d in params["devices"] if d["type"] == kind]
    return found if device is None else [d for d in found if d["device"] == device]


def changed(name: str, *changes: tuple[str, str]) -> dict[str, Any]:
    return params_of(golden_ovf.altered(name, *changes))


def test_everything_is_text_and_nothing_is_none() -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)
        else:
            assert isinstance(value, str)
            assert value != "None"

    for expectation in golden_ovf.expectations():
        if expectation["expect"] in ("accept", "warn"):
            check(params_of(golden_ovf.data(expectation["file"])))


def test_the_vm_itself() -> None:
    params = params_of(golden_ovf.data(golden_ovf.S06))
    assert (params["smp"], params["smpCoresPerSocket"], params["smpThreadsPerCore"]) == ("8", "4", "2")
    assert (params["maxVCpus"], params["memSize"], params["maxMemSize"]) == ("16", "6144", "24576")
    assert params["guestNumaNodes"] == [{"nodeIndex": "0", "cpus": "0-15", "memory": "6144"}]
    assert params["cpuType"] == "SandyBridge"
    assert "xml" not in params


def test_what_the_vm_does_not_have_has_no_key() -> None:
    params = params_of(golden_ovf.data(golden_ovf.S01))
    assert not params.keys() & {
        *(
            "maxVCpus",
            "maxMemSize",
            "smpCoresPerSocket",
            "bootMenuEnable",
            "launchPaused",
            "serial",
            "custom",
        ),
        *("kernel", "initrd", "kernelArgs", "numOfIoThreads", "guestNumaNodes", "spiceSecureChannels"),
    }
    assert params["memGuaranteedSize"] == "2048"


def test_switches_and_texts() -> None:
    params = changed(
        golden_ovf.S02,
        ("<IsRunAndPause>false", "<IsRunAndPause>true"),
        ("<IsBootMenuEnabled>false", "<IsBootMenuEnabled>true"),
        ("<UseHostCpu>false", "<UseHostCpu>true"),
        ("<Origin>", "<SerialNumberPolicy>1</SerialNumberPolicy><kernel_params>a b</kernel_params><Origin>"),
    )
    assert params["launchPaused"] == params["bootMenuEnable"] == "true"
    assert params["cpuType"] == "hostPassthrough"
    assert params["serial"] == params["vmId"]
    assert params["kernelArgs"] == "a b"


def test_the_offset_of_the_time_zone_is_given_from_outside() -> None:
    spec = document.read(golden_ovf.data(golden_ovf.S02))
    clock = '<domain><clock offset="variable" adjustment="{}"/></domain>'
    assert vmparams.of(spec, clock.format(-3600))["timeOffset"] == "-3600"
    assert "timeOffset" not in vmparams.of(spec, clock.format(0))
    assert "timeOffset" not in vmparams.of(spec, "no XML")
    assert "timeOffset" not in vmparams.of(spec)


def test_only_the_disk_that_boots_has_an_order() -> None:
    boot, data = devices(params_of(golden_ovf.data(golden_ovf.S05)), "disk", "disk")
    assert boot["bootOrder"] == "1"
    assert "bootOrder" not in data
    (disk,) = devices(changed(golden_ovf.S02, ("<BootOrder>1<", "<BootOrder>0<")), "disk", "disk")
    assert disk["bootOrder"] == "1", "no order at all: the disk that is marked as boot disk"


def test_disks_get_distinct_letters_and_leave_the_cd_its_own() -> None:
    both_virtio = devices(params_of(golden_ovf.data(golden_ovf.S05)), "disk", "disk")
    assert [disk["index"] for disk in both_virtio] == ["0", "1"]
    params = changed(golden_ovf.S03, ('disk-interface="VirtIO"', 'disk-interface="SATA"'))
    assert [disk["index"] for disk in devices(params, "disk", "disk")] == ["0", "1"], "sata and scsi share sd"


@pytest.mark.parametrize("sata_disks", [3])
def test_the_third_sata_disk_is_not_the_cd_drive_of_a_q35_machine(sata_disks: int) -> None:
    spec = document.read(golden_ovf.data(golden_ovf.S03))
    disk = spec.disks[0]
    given = vmparams.of(spec.but(disks=(disk,) * sata_disks))
    assert [d["index"] for d in devices(given, "disk", "disk")] == ["0", "1", "3"]
    (cd,) = devices(given, "disk", "cdrom")
    assert (cd["iface"], cd["index"], cd["path"]) == ("sata", "2", "")


def test_a_chain_is_one_disk_and_what_is_not_plugged_is_not_there() -> None:
    params = params_of(golden_ovf.data(golden_ovf.S06))
    (disk,) = devices(params, "disk", "disk")
    assert disk["format"] == "cow"
    assert disk["poolID"] == vmparams_devices.BLANK_ID
    assert (disk["shared"], disk["propagateErrors"]) == ("exclusive", "off")
    first, second = devices(params, "interface")
    assert (first["nicModel"], first["network"]) == ("pv", "ovirtmgmt")
    assert second["nicModel"] == "rtl8139"
    assert "network" not in second


def test_another_vms_snapshot_that_was_attached_is_not_there() -> None:
    spec = document.read(golden_ovf.data(golden_ovf.S05))
    first, second = spec.disks
    given = vmparams.of(spec.but(disks=(first, second.but(snapshot_id="s"))))
    assert len(devices(given, "disk", "disk")) == 1


def test_an_address_that_the_bus_does_not_have_is_dropped() -> None:
    (fits,) = devices(params_of(golden_ovf.data(golden_ovf.S02)), "disk", "disk")
    assert fits["address"]["slot"] == "0x06"
    params = changed(golden_ovf.S02, ('disk-interface="VirtIO"', 'disk-interface="IDE"'))
    (misfit,) = devices(params, "disk", "disk")
    assert "address" not in misfit


def test_a_shareable_disk_and_a_lun() -> None:
    lun = (
        '<Disk ovf:diskId="11111111-2222-3333-4444-555555555555" ovf:lun_id="36001405f" ovf:disk-interface="'
        'VirtIO_SCSI" ovf:shareable="true"></Disk></Section><Content'
    )
    params = changed(golden_ovf.S02, ("</Section><Content", lun), ('boot="true"', 'boot="true" ovf:y=""'))
    image, raw = devices(params, "disk", "disk")
    assert image["shared"] == "exclusive"
    assert (raw["GUID"], raw["iface"], raw["shared"]) == ("36001405f", "scsi", "shared")
    assert "imageID" not in raw


def test_other_devices_by_their_legacy_names() -> None:
    params = params_of(golden_ovf.data(golden_ovf.S03))
    (scsi,) = devices(params, "controller", "scsi")
    assert scsi["model"] == "virtio-scsi"
    (rng,) = devices(params, "rng")
    assert (rng["model"], rng["specParams"]["source"]) == ("virtio", "urandom")
    (watchdog,) = devices(params, "watchdog")
    assert watchdog["specParams"] == {"model": "i6300esb", "action": "reset"}
    assert [d["device"] for d in devices(params, "graphics")] == ["vnc", "spice"]
    assert params["display"] == "qxl"
    assert "channel" not in {d["type"] for d in params_of(golden_ovf.data(golden_ovf.S01))["devices"]}


def test_what_needs_spice_is_not_there_without_it() -> None:
    with_spice = {d["type"] for d in params_of(golden_ovf.data(golden_ovf.S06))["devices"]}
    without = changed(golden_ovf.S06, ("<Device>spice<", "<Device>vnc<"))
    assert with_spice - {d["type"] for d in without["devices"]} == {"redir", "smartcard"}
    assert without["display"] == "vnc"


def test_pinning_is_for_vms_that_stay_on_their_host() -> None:
    spec = document.read(golden_ovf.data(golden_ovf.S06)).but(cpu_pinning="0#1-2_1#3,^4")
    assert vmparams.of(spec)["cpuPinning"] == {"0": "1-2", "1": "3,^4"}
    assert "cpuPinning" not in vmparams.of(spec.but(origin=6))


def test_a_lease_of_the_vm() -> None:
    spec = document.read(golden_ovf.data(golden_ovf.S02)).but(lease_domain_id=golden_ovf.DOMAIN)
    (lease,) = devices(vmparams.of(spec), "lease")
    assert (lease["lease_id"], lease["sd_id"]) == (golden_ovf.S02_VM, golden_ovf.DOMAIN)


def test_a_count_that_no_host_has_takes_no_memory() -> None:
    spec = document.read(golden_ovf.data(golden_ovf.S02)).but(sockets=10**15)
    assert vmparams.of(spec)["guestNumaNodes"][0]["cpus"] == "0-999999999999999"
    assert vmparams.ranges((5, 0, 1, 2, 7, 5)) == "0-2,5,7"
