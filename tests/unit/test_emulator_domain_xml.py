"""What the emulator demands of a domain XML: the rows that were checked on VDSM's own parser."""

import pytest

from ovirt_he_agent.sim.vdsm import domain_xml, refusals

PREPARED = domain_xml.PreparedImage(path="/run/x/vol", lease_path="/mnt/vol.lease", lease_offset=0)

GOOD = """<domain type="kvm" xmlns:ovirt-vm="http://ovirt.org/vm/1.0">
<name>he</name><uuid>5fa1c0de-0000-4000-8000-00000000beef</uuid>
<memory>2097152</memory><vcpu current="2">4</vcpu>
<sysinfo type="smbios"><system><entry name="product">OS-NAME:</entry></system></sysinfo>
<devices>
<graphics type="vnc" passwdValidTo="1970-01-01T00:00:01">
<listen type="network" network="vdsm-ovirtmgmt"/></graphics>
<interface type="bridge"><mac address="00:16:3e:00:00:01"/><source bridge="ovirtmgmt"/></interface>
<disk type="file" device="disk"><target dev="vda" bus="virtio"/><source file="/old"/>
<driver name="qemu" type="raw"/></disk>
<lease><key>vol</key><lockspace>sd</lockspace>
<target path="LEASE-PATH:vol:sd" offset="LEASE-OFFSET:vol:sd"/></lease>
</devices>
<metadata><ovirt-vm:vm><minGuaranteedMemoryMb type="int">1024</minGuaranteedMemoryMb>
<ovirt-vm:device devtype="disk" name="vda"><ovirt-vm:poolID>p</ovirt-vm:poolID>
<ovirt-vm:domainID>sd</ovirt-vm:domainID><ovirt-vm:imageID>img</ovirt-vm:imageID>
<ovirt-vm:volumeID>vol</ovirt-vm:volumeID><ovirt-vm:shared>exclusive</ovirt-vm:shared></ovirt-vm:device>
</ovirt-vm:vm></metadata></domain>"""


def launch(xml: str) -> domain_xml.Prepared:
    return domain_xml.prepare(domain_xml.check_call(domain_xml.read(xml)), lambda image: PREPARED)


def test_a_good_domain_gets_its_path_its_lease_and_its_host_values() -> None:
    prepared = launch(GOOD)
    [lease] = prepared.leases
    assert (lease.lockspace, lease.resource, lease.path, lease.offset) == ("sd", "vol", "/mnt/vol.lease", 0)
    assert 'file="/run/x/vol"' in prepared.xml
    assert "OS-NAME:" not in prepared.xml
    assert (prepared.memory_mib, prepared.vcpus) == (2048, 2)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (GOOD, "<domain", 100),
        ('passwdValidTo="1970-01-01T00:00:01"', "", 9),
        ('type="int">1024<', 'type="int">much<', 16),
        ("<devices>", "<sevices>", 100),
    ],
)
def test_the_call_itself_is_refused(old: str, new: str, code: int) -> None:
    with pytest.raises(refusals.Refused) as refused:
        launch(GOOD.replace(old, new))
    assert refused.value.code == code


def test_a_domain_without_devices_is_unexpected() -> None:
    with pytest.raises(refusals.Refused) as refused:
        launch("<domain><uuid>u</uuid><name>n</name></domain>")
    assert refused.value.code == 16


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<listen type="network" network="vdsm-ovirtmgmt"/>', "", "listen"),
        (' dev="vda"', "", "Unrecognized device name"),
        ('<driver name="qemu" type="raw"/>', "", "driver"),
        ('<source file="/old"/>', "", "source"),
        ('<disk type="file"', "<disk", "Operation not supported"),
        ("exclusive", "sometimes", "Unknown shared value sometimes"),
        ("<key>vol</key>", "", "key"),
        ('offset="LEASE-OFFSET:vol:sd"', "", "'offset'"),
        ('<mac address="00:16:3e:00:00:01"/>', "", "macAddr"),
        ('<vcpu current="2">4</vcpu>', "", "vcpu"),
        ("<memory>2097152</memory>", "", "Memory size"),
        ("<name>he</name>", "", "missing name"),
        ("OS-NAME:", "", "startswith"),
        ("</ovirt-vm:vm>", '<ovirt-vm:device devtype="disk" name="vda"/></ovirt-vm:vm>', "uniquely identify"),
    ],
)
def test_the_launch_fails(old: str, new: str, message: str) -> None:
    with pytest.raises(domain_xml.LaunchFailed, match=message):
        launch(GOOD.replace(old, new))


UUID = "5fa1c0de-0000-4000-8000-00000000beef"
LEASE = GOOD[GOOD.index("<lease>") : GOOD.index("</lease>") + len("</lease>")]
DISK = GOOD[GOOD.index("<disk ") : GOOD.index("</disk>") + len("</disk>")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"<uuid>{UUID}</uuid>", "", "no uuid"),
        ("<memory>", '<memory unit="GiB">', "memory is in GiB"),
        ("http://ovirt.org/vm/1.0", "http://example.org/vm", "does not prepare it"),
        ('devtype="disk" name="vda"', 'devtype="disk" name="vdb"', "does not prepare it"),
        ("<ovirt-vm:poolID>p</ovirt-vm:poolID>", "", "does not prepare it"),
        ("<ovirt-vm:volumeID>vol</ovirt-vm:volumeID>", "", "does not prepare it"),
        ('bus="virtio"', 'bus="ide"', "VDSM renames it"),
        (LEASE, "", "has no lease: VDSM adds none and starts it unprotected"),
        ("<lockspace>sd<", "<lockspace>other<", "has no lease"),
        ("<key>vol<", "<key>other<", "no disk's leaf volume"),
        (LEASE, LEASE * 2, "2 leases of vol"),
        (DISK, DISK * 2, "2 disks are called vda"),
        (">exclusive<", ">false<", "neither exclusive nor shareable"),
        ("<ovirt-vm:shared>exclusive</ovirt-vm:shared>", "", "neither exclusive nor shareable"),
        (">exclusive<", ">shared<", "neither exclusive nor shareable"),
        ('<source bridge="ovirtmgmt"/>', "", "dummy"),
        (
            "</ovirt-vm:vm>",
            "<ovirt-vm:launchPaused>true</ovirt-vm:launchPaused><launchPaused>false</launchPaused></ovirt-vm:vm>",
            "launchPaused is there 2 times",
        ),
    ],
)
def test_what_vdsm_would_be_quiet_about_is_told(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(domain_xml.LaunchFailed, match=message) as failed:
        launch(GOOD.replace(old, new))
    assert "the emulator refuses what VDSM would not" in str(failed.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<memory>", '<memory unit="KiB">'),
        ('<source file="/old"/>', '<source file="/old"/><shareable/>'),
        ("</ovirt-vm:vm>", "<launchPaused>false</launchPaused></ovirt-vm:vm>"),
        ("</devices>", f"{LEASE.replace('vol', UUID).replace(f'LEASE-OFFSET:{UUID}:sd', '0')}</devices>"),
    ],
)
def test_what_is_said_on_purpose_is_no_fault(old: str, new: str) -> None:
    assert launch(GOOD.replace(old, new)).leases


def test_shareable_disk_and_lun_need_no_lease() -> None:
    shareable = GOOD.replace(">exclusive<", ">shared<").replace("<driver", "<shareable/><driver")
    assert launch(shareable.replace(LEASE, "")).leases == ()
    lun = GOOD.replace(
        "<ovirt-vm:poolID>p</ovirt-vm:poolID>", "<ovirt-vm:GUID>36001405</ovirt-vm:GUID>"
    ).replace(LEASE, "")
    assert launch(lun).images == ()


def test_placeholder_of_a_vm_lease_stays_and_libvirt_says_so() -> None:
    with pytest.raises(domain_xml.LaunchFailed, match=f"LEASE-OFFSET:{UUID}"):
        launch(GOOD.replace("</devices>", f"{LEASE.replace('vol', UUID)}</devices>"))


def test_a_written_out_lease_is_left_alone() -> None:
    xml = GOOD.replace("LEASE-PATH:vol:sd", "/x").replace("LEASE-OFFSET:vol:sd", "1048576")
    [lease] = launch(xml).leases
    assert (lease.path, lease.offset) == ("/x", 1048576)
