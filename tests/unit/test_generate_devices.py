"""Scenarios of a generated domain: screens, controllers and the other devices."""

import pytest

from ovirt_he_agent.ovf import vmspec
from tests import generated
from tests.generated import HOST, domain, image, record, with_disks
from tests.golden_ovf import S01, S02, S03, S06, data

ENGINE = generated.spec(data(S02))
Q35 = generated.spec(data(S03))
OLD = generated.spec(data(S01))
ORDINARY = generated.spec(data(S06))
SCSI = vmspec.Bus.SCSI


def test_consoles_listen_on_the_display_network() -> None:
    made = domain(Q35, HOST.but(display_network="display"), vnc_keymap="de")
    vnc, spice = made.device("graphics[@type='vnc']"), made.device("graphics[@type='spice']")
    assert vnc.get("listen", "network") == spice.get("listen", "network") == "vdsm-display"
    assert (vnc.element.get("keymap"), spice.element.get("keymap")) == ("de", None)
    assert vnc.element.get("passwdValidTo") == spice.element.get("passwdValidTo") == "1970-01-01T00:00:01"
    assert (vnc.element.get("tlsPort"), spice.element.get("tlsPort")) == (None, "-1")
    assert len(spice.element.findall("channel")) == 8


@pytest.mark.parametrize("keymap", [None, "none"])
def test_no_keymap_is_no_attribute(keymap: str | None) -> None:
    assert domain(ENGINE, vnc_keymap=keymap).device("graphics").element.get("keymap") is None


def test_spice_may_be_told_not_to_carry_files_and_clipboard() -> None:
    spice = domain(ORDINARY, spice_copy_paste=False, spice_file_transfer=False).device("graphics")
    assert spice.get("clipboard", "copypaste") == "no"
    assert spice.get("filetransfer", "enable") == "no"


def test_smartcard_and_redirection_need_spice() -> None:
    made = domain(ORDINARY)
    assert made.all("devices/smartcard") == [{"mode": "passthrough", "type": "spicevmc"}]
    assert made.all("devices/redirdev") == [{"bus": "usb", "type": "spicevmc"}]
    made = domain(ORDINARY, graphics=(vmspec.Graphics.VNC,))
    assert made.all("devices/smartcard") == made.all("devices/redirdev") == []
    assert made.says("smartcard", "SPICE")


def test_headless_vm_has_a_video_device_that_is_none() -> None:
    made = domain(ENGINE, graphics=(), video=(), devices=())
    assert made.all("devices/graphics") == []
    assert made.one("devices/video/model") == {"type": "none"}


@pytest.mark.parametrize(
    ("level", "model"), [("4.5", "vga"), ("4.6", "virtio"), ("4.10", "virtio"), (None, "vga")]
)
def test_vga_is_virtio_since_level_4_6(level: str | None, model: str) -> None:
    assert domain(ENGINE, cluster_version=level).one("devices/video/model")["type"] == model


def test_only_some_video_devices_can_be_a_second_one() -> None:
    qxl, vga = (
        record("video", "qxl", spec={"ram": "65536", "vram": "x"}),
        record("video", "vga", spec={"ram": "1"}),
    )
    made = domain(ENGINE, devices=(qxl, vga, vga, record("video", "magic")))
    assert made.all("devices/video/model") == [{"type": "vga"}, {"type": "qxl", "ram": "65536"}]
    assert made.says("second video device")
    assert made.says("magic")


# Controllers and the rest


def test_usb_companions_share_the_index_of_their_controller() -> None:
    models = ("ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3")
    devices = tuple(record("controller", "usb", spec={"model": model, "index": "0"}) for model in models)
    made = domain(ENGINE, devices=devices)
    assert [usb["index"] for usb in made.all("devices/controller[@type='usb']")] == ["0"] * 4
    assert [port["startport"] for port in made.all("devices/controller/master")] == ["0", "2", "4"]


def test_controllers_that_devices_need_are_added() -> None:
    made = domain(with_disks(image(interface=SCSI)).but(devices=(), controllers=()))
    assert [(c["type"], c.get("model")) for c in made.all("devices/controller")] == [
        ("usb", "piix3-uhci"),
        ("virtio-serial", None),
        ("scsi", "virtio-scsi"),
    ]
    assert domain(ENGINE, os="x_s390x").one("devices/controller[@type='usb']")["model"] == "none"


def test_scsi_controllers_have_an_index_and_perhaps_a_thread_each() -> None:
    spec = {"index": "0", "ioThreadId": "2"}
    devices = (
        record("controller", "virtio-scsi", spec=spec),
        record("controller", "virtio-scsi", spec={"index": "0"}),
    )
    made = domain(ENGINE, devices=devices, iothreads=2)
    assert [c["index"] for c in made.all("devices/controller[@type='scsi']")] == ["0", "1"]
    assert [d["iothread"] for d in made.all("devices/controller/driver")] == ["2", "1"]
    assert domain(ENGINE, devices=devices, iothreads=1).says("I/O thread 2")


def test_scsi_queues() -> None:
    made = domain(ENGINE, virtio_scsi_multi_queues=True, virtio_scsi_queues=7)
    assert made.one("devices/controller[@type='scsi']/driver") == {"queues": "7"}
    made = domain(ENGINE, virtio_scsi_multi_queues=True)
    assert made.one("devices/controller[@type='scsi']/driver") == {"queues": "4"}


def test_unknown_devices_and_those_of_one_host_are_said() -> None:
    devices = (
        record("hostdev", "pci_0000_00_19_0"),
        record("mdev", "vgpu"),
        record("disk floppy", "floppy"),
        record("channel", "unix"),
        record("controller", "weird"),
    )
    made = domain(ENGINE, devices=devices)
    for words in (
        ("hostdev", "one certain host"),
        ("mdev", "one certain host"),
        ("floppy", "not known"),
        ("weird",),
    ):
        assert made.says(*words, "left out")
    assert not made.says("channel")


def test_devices_that_are_unplugged_stay_out() -> None:
    devices = tuple(device.but(plugged=False) for device in Q35.devices)
    made = domain(Q35, devices=devices)
    for tag in ("rng", "watchdog", "tpm", "console", "sound", "serial", "disk[@device='cdrom']"):
        assert made.all(f"devices/{tag}") == [], tag
    assert made.one("devices/memballoon") == {"model": "none"}
    assert made.one("devices/video/model") == {"type": "none"}


def test_random_numbers_have_their_source_and_rate() -> None:
    made = domain(Q35, rng=vmspec.RngSource.HWRNG)
    assert made.text("devices/rng/backend") == "/dev/hwrng"
    assert made.one("devices/rng/rate") == {"bytes": "1024", "period": "1000"}
    assert domain(ENGINE).all("devices/rng") == []


def test_watchdog_tpm_and_sound() -> None:
    made = domain(Q35)
    assert made.one("devices/watchdog") == {"model": "i6300esb", "action": "reset"}
    assert made.one("devices/tpm") == {"model": "tpm-crb"}
    assert made.one("devices/tpm/backend") == {"type": "emulator", "version": "2.0"}
    assert made.says("TPM")
    assert made.one("devices/sound") == {"model": "ich9"}
    assert domain(Q35, watchdog={"model": "lassie"}).says("lassie")
    assert domain(Q35, watchdog={"action": "bark"}).says("bark")


def test_watchdog_is_one_that_the_machine_has() -> None:
    mainframe = Q35.but(os="rhel_9_s390x", machine=None)
    assert domain(mainframe, watchdog={"model": "i6300esb"}).says("watchdog", "i6300esb", "left out")
    assert domain(mainframe, watchdog={"model": "diag288"}).one("devices/watchdog")["model"] == "diag288"
    assert domain(Q35, watchdog={"model": "diag288"}).all("devices/watchdog") == []
    assert domain(Q35, os="rhel_8x64_ppc64", disks=(image(),)).one("devices/tpm")["model"] == "tpm-spapr"


def test_console_is_a_socket_or_a_terminal() -> None:
    made = domain(Q35)
    assert made.one("devices/console")["type"] == made.one("devices/serial")["type"] == "unix"
    path = f"/var/run/ovirt-vmconsole-console/{Q35.vm_id}.sock"
    assert made.one("devices/console/source") == {"mode": "bind", "path": path}
    assert made.one("devices/console/target") == {"type": "serial", "port": "0"}
    assert made.one("os/bios") == {"useserial": "yes"}
    made = domain(ENGINE)
    assert made.one("devices/console") == {"type": "pty"}
    assert made.one("devices/console/target") == {"type": "virtio", "port": "0"}
    assert made.all("devices/serial") == made.all("os/bios") == []


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("4.3", ["ovirt-guest-agent.0", "org.qemu.guest_agent.0"]),
        (None, ["ovirt-guest-agent.0", "org.qemu.guest_agent.0"]),
        ("4.4", ["org.qemu.guest_agent.0"]),
        ("4.10", ["org.qemu.guest_agent.0"]),
    ],
)
def test_guest_agents_have_their_channels(level: str | None, names: list[str]) -> None:
    made = domain(ENGINE, cluster_version=level)
    assert [target["name"] for target in made.all("devices/channel/target")] == names


def test_old_document_without_records_is_a_vm_all_the_same() -> None:
    made = domain(OLD.but(devices=()))
    assert made.device("disk[@device='cdrom']").get("target", "dev") == "hdc"
    assert made.says("NIC nic1")
