"""Hardware items to NICs, graphics and the other devices."""

import re

import pytest

from ovirt_he_agent.ovf import document, vmspec
from tests import golden_ovf
from tests.golden_ovf import S03, S06, altered, with_items

OTHER = "<rasd:ResourceType>0</rasd:ResourceType>"


def read(data: bytes) -> vmspec.VmSpec:
    return document.read(data)


def record(kind: str, device: str, spec: str = "") -> str:
    params = f"<SpecParams>{spec}</SpecParams>" if spec else ""
    return f"{OTHER}<Type>{kind}</Type><Device>{device}</Device>{params}"


def warned(spec: vmspec.VmSpec, *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in spec.warnings)


def nic(**values: str) -> bytes:
    """S06 with its first NIC's elements set; an empty name removes one."""
    text = golden_ovf.data(S06).decode()
    item = next(i for i in re.findall("<Item>.*?</Item>", text) if "<rasd:Name>nic1<" in i)
    changed = item
    for name, value in values.items():
        changed, count = re.subn(f"<((rasd:)?{name})>.*?</", rf"<\g<1>>{value}</", changed)
        assert count == 1, name
    return altered(S06, (item, changed))


# NICs


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("0", "rtl8139_pv"),
        ("1", "rtl8139"),
        ("2", "e1000"),
        ("3", "virtio"),
        ("4", "spapr-vlan"),
        ("5", "pci-passthrough"),
        ("6", "e1000e"),
        ("pv", "virtio"),
        ("pciPassthrough", "pci-passthrough"),
        ("pci-passthorugh", "pci-passthrough"),  # as the engine's own table spells it
        ("spaprVlan", "spapr-vlan"),
        ("rtl8139_pv", "rtl8139_pv"),
        ("e1000e", "e1000e"),
        ("", "virtio"),
        ("null", "virtio"),
    ],
)
def test_nic_model_is_known_by_number_and_by_the_engines_word(text: str, model: str) -> None:
    spec = read(nic(ResourceSubType=text))
    assert spec.nics[0].model == model
    assert spec.warnings == ()


def test_unknown_nic_model_is_none_with_a_warning_that_names_the_nic() -> None:
    for text in ("7", "ne2k_pci"):
        spec = read(nic(ResourceSubType=text))
        assert spec.nics[0].model is None
        assert warned(spec, "nic1", text)


def test_empty_elements_of_a_nic_are_none() -> None:
    spec = read(nic(Connection="", OtherResourceType="", Name="", Linked="", IsPlugged="", Address=""))
    first = spec.nics[0]
    assert (first.network, first.profile, first.name, first.address) == (None,) * 4
    assert (first.linked, first.plugged) == (True, True)
    assert spec.warnings == ()


def test_nic_without_a_mac_is_named_by_its_name_or_id() -> None:
    assert warned(read(nic(MACAddress="")), "nic1", "MAC")
    assert warned(read(nic(MACAddress="", Name="")), "0ce98bb1-7c83-460b-8bee-a78c363a4116", "MAC")


def test_unplugged_and_unlinked_nics_are_shown_as_such() -> None:
    first = read(nic(IsPlugged="false", Linked="false", BootOrder="2")).nics[0]
    assert (first.plugged, first.linked, first.boot_order) == (False, False, 2)


def test_javas_word_for_a_missing_value_is_none() -> None:
    spec = read(nic(Alias="null", BootOrder="null", IsPlugged="null", Linked="null"))
    assert (spec.nics[0].alias, spec.nics[0].boot_order) == (None, None)
    assert (spec.nics[0].plugged, spec.nics[0].linked) == (True, True)
    assert spec.warnings == ()
    device = read(with_items(S06, record("sound", "ich6") + "<Alias>null</Alias>")).devices[-1]
    assert device.alias is None


def test_nic_item_without_a_record_is_a_plugged_nic() -> None:
    item = (
        "<rasd:InstanceId>7</rasd:InstanceId><rasd:ResourceType>10</rasd:ResourceType>"
        "<rasd:ResourceSubType>3</rasd:ResourceSubType><rasd:Name>old</rasd:Name>"
        "<rasd:MACAddress>00:1a:4a:00:00:01</rasd:MACAddress>"
    )
    last = read(with_items(S06, item)).nics[-1]
    assert (last.id, last.name, last.plugged, last.linked) == ("7", "old", True, True)


# Graphics and video


def test_graphics_are_sorted_and_taken_in_any_case() -> None:
    spec = read(with_items(S06, "<rasd:ResourceType>26</rasd:ResourceType><Device>VNC</Device>"))
    assert spec.graphics == (vmspec.Graphics.SPICE, vmspec.Graphics.VNC)


def test_unknown_graphics_are_left_out_with_a_warning() -> None:
    for device in ("egl-headless", ""):
        spec = read(with_items(S06, f"<rasd:ResourceType>26</rasd:ResourceType><Device>{device}</Device>"))
        assert spec.graphics == (vmspec.Graphics.SPICE,)
        assert warned(spec, "graphics device")


def test_device_that_the_engine_does_not_manage_is_known_by_its_type() -> None:
    spec = read(with_items(S06, record("graphics", "vnc"), record("video", "bochs")))
    assert spec.graphics == (vmspec.Graphics.SPICE, vmspec.Graphics.VNC)
    assert spec.video[-1].device == "bochs"


def test_video_values_that_the_writer_lost_are_left_out() -> None:
    spec = read(with_items(S06, record("video", "qxl", "<vram>8192</vram><heads></heads>")))
    assert spec.video[-1].spec == {"vram": "8192"}


def test_headless_has_neither_graphics_nor_video() -> None:
    text = golden_ovf.data(S06).decode()
    for number in ("20", "26"):
        text = text.replace(f"<rasd:ResourceType>{number}<", "<rasd:ResourceType>0<")
    text = text.replace("<Type>video<", "<Type>x<").replace("<Type>graphics<", "<Type>x<")
    assert read(text.encode()).headless
    assert not read(golden_ovf.data(S06)).headless


# One-off devices


def test_cdrom_is_known_by_its_number_or_its_record() -> None:
    assert read(golden_ovf.data(S06)).cdrom
    without = altered(
        S06, ("<rasd:ResourceType>15<", "<rasd:ResourceType>0<"), ("<Device>cdrom<", "<Device>floppy<")
    )
    assert not read(without).cdrom
    by_record = altered(S06, ("<rasd:ResourceType>15<", "<rasd:ResourceType>0<"))
    assert read(by_record).cdrom


def test_controllers_are_sorted_one_per_item() -> None:
    spec = read(with_items(S06, record("controller", "usb"), record("controller", "odd-one")))
    assert spec.controllers == ("odd-one", "usb", "usb", "virtio-serial")
    assert warned(read(with_items(S06, record("controller", ""))), "controller")


@pytest.mark.parametrize(
    ("spec_params", "source", "warns"),
    [
        ("<source>urandom</source>", "urandom", False),
        ("<source>random</source>", "random", False),
        ("<source>HWRNG</source>", "hwrng", False),
        ("<bytes>1</bytes>", "urandom", True),
        ("", "urandom", True),
        ("<source></source>", "urandom", True),
        ("<source>dice</source>", None, True),
    ],
)
def test_rng_source(spec_params: str, source: str | None, warns: bool) -> None:
    spec = read(with_items(S06, record("rng", "virtio", spec_params)))
    assert spec.rng == source
    assert bool(spec.warnings) is warns
    assert all("rng" in warning and "source" in warning for warning in spec.warnings)


@pytest.mark.parametrize(
    ("spec_params", "console", "warns"),
    [
        ("<consoleType>serial</consoleType>", "serial", False),
        ("<consoleType>sclp</consoleType>", "sclp", False),
        ("<enableSocket></enableSocket>", "virtio", False),
        ("", "virtio", False),
        ("<consoleType>teletype</consoleType>", None, True),
    ],
)
def test_console_type(spec_params: str, console: str | None, warns: bool) -> None:
    spec = read(with_items(S06, record("console", "console", spec_params)))
    assert spec.console == console
    assert bool(spec.warnings) is warns


def test_first_of_several_single_devices_counts() -> None:
    spec = read(with_items(S06, record("sound", "ac97"), record("sound", "ich6")))
    assert spec.sound == "ac97"


def test_watchdog_shows_its_values_as_written() -> None:
    spec = read(with_items(S06, record("watchdog", "watchdog", "<model>i6300esb</model><action></action>")))
    assert spec.watchdog == {"model": "i6300esb", "action": ""}
    assert read(with_items(S06, record("watchdog", "watchdog"))).watchdog == {}


def test_nested_spec_params_are_left_out_with_a_warning() -> None:
    nested = "<model>m</model><files><a>1</a></files>"
    spec = read(with_items(S06, record("watchdog", "watchdog", nested)))
    assert spec.watchdog == {"model": "m"}
    assert warned(spec, "files")


def test_balloon_and_tpm_are_there_if_an_item_is() -> None:
    assert not read(golden_ovf.data(S06)).balloon
    spec = read(with_items(S06, record("balloon", "memballoon"), record("tpm", "tpm")))
    assert (spec.balloon, spec.tpm) == (True, True)
    off = altered(S03, ("<BalloonEnabled>true", "<BalloonEnabled>false"))
    assert read(off).balloon


def test_run_time_records_are_no_devices() -> None:
    spec = read(
        with_items(S06, record("channel", "unix"), record("hostdev", "pci_0000"), record("unheard", "of"))
    )
    assert [(d.kind, d.device) for d in spec.devices if d.kind in ("channel", "hostdev", "unheard")] == [
        ("channel", "unix"),
        ("hostdev", "pci_0000"),
        ("unheard", "of"),
    ]
    plain = read(golden_ovf.data(S06))
    assert spec.but(devices=()) == plain.but(devices=())
