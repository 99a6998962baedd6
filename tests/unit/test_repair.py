"""The embedded domain as it is, repaired, or not to be sent: one case for each thing that may be wrong."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.ovf import document, domainxml, refusals, repair, vmspec
from ovirt_he_agent.ovf.domainxml import Made
from ovirt_he_agent.ovf.host_facts import UNKNOWN, HostFacts
from ovirt_he_agent.sim.vdsm import domain_xml
from tests import vdsm_substitutions
from tests.golden_ovf import DOMAIN, S02, S02_VM, S04, S05, altered, data, embedded, replacing

VM_NS = "{http://ovirt.org/vm/1.0}"
VOLUME = "e2831e18-ce81-4abd-bab7-ae470b5b61a6"
MAC = "00:16:3e:5d:1f:88"
OTHER = "6e91ed96-c20b-4552-89d9-159597ea520d"
HERE = UNKNOWN.but(bridges={"ovirtmgmt": "ovirtmgmt"})
"""A host that has what the samples name."""
MARK = "<ovirt-vm:shared>exclusive</ovirt-vm:shared>"
LISTEN = '<listen type="network" network="vdsm-ovirtmgmt"/>'


def unchanged(xml: str) -> str:
    return xml


def defined(
    name: str, change: Callable[[str], str] = unchanged, host: HostFacts = HERE, *others: tuple[str, str]
) -> domainxml.Definition:
    return domainxml.define(document.read(embedded(name, change, *others)), host)


def fit(document_bytes: bytes) -> repair.Fitted:
    spec = document.read(document_bytes)
    assert spec.engine_xml is not None
    return repair.fit(spec, spec.engine_xml.text, HERE)


def fitted(name: str, change: Callable[[str], str], *others: tuple[str, str]) -> repair.Fitted:
    return fit(embedded(name, change, *others))


def canonical(xml: str) -> str:
    return ET.canonicalize(xml, strip_text=True)


def without_leases(xml: str) -> str:
    return re.sub("<lease>.*</lease>", "", xml)


# Missing protection is added, and nothing else


def test_domain_of_an_engine_that_writes_neither_marks_nor_leases_is_repaired() -> None:
    made = domainxml.define(document.read(data(S04)), HERE)
    volume = "f2942eeb-1e8b-48fc-8bcc-2b8bdd653c14"
    assert made.made is Made.REPAIRED
    assert made.reason is not None
    assert "is marked exclusive" in made.reason
    assert f"gets a lease on storage domain {DOMAIN}" in made.reason
    assert made.warnings == ()
    assert made.leases == (
        vmspec.Lease(key=volume, lockspace=DOMAIN, path=f"LEASE-PATH:{volume}:{DOMAIN}", offset_bytes=None),
    )
    assert [(v.volume_id, v.exclusive) for v in made.volumes] == [(volume, True)]
    assert [lease.resource for lease in prepared(made.xml).leases] == [volume]


def prepared(xml: str) -> domain_xml.Prepared:
    """What the emulated VDSM hands to libvirt."""
    place = domain_xml.PreparedImage(path="/prepared", lease_path="/prepared.lease", lease_offset=0)
    return domain_xml.prepare(domain_xml.check_call(domain_xml.read(xml)), lambda image: place)


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, Callable[[str], str]]:
    """A sample that is protected, and what takes some of its marks, leases and places of leases away."""
    name = draw(st.sampled_from([S02, S05]))
    disks = {S02: 1, S05: 2}[name]
    marks = draw(
        st.lists(
            st.sampled_from(["", MARK.replace("exclusive", "none"), MARK]), min_size=disks, max_size=disks
        )
    )
    leases = draw(st.lists(st.sampled_from(["keep", "drop", "placeless"]), min_size=disks, max_size=disks))

    def damage(xml: str) -> str:
        new_marks, new_leases = iter(marks), iter(leases)
        xml = re.sub(re.escape(MARK), lambda found: next(new_marks), xml)

        def lease(found: re.Match[str]) -> str:
            match next(new_leases):
                case "drop":
                    return ""
                case "placeless":
                    return re.sub("<target.*?</target>", "<target/>", found[0])
            return found[0]

        return re.sub("<lease>.*?</lease>", lease, xml)

    return name, damage


def facts_without_order(xml: str) -> object:
    """Everything in the domain; leases and marks at the end of their parents, where repairs put them."""
    root = ET.fromstring(xml)
    for parent in root.iter():
        late = [e for e in parent if e.tag in ("lease", f"{VM_NS}shared")]
        for element in sorted(late, key=lambda e: (e.tag, e.findtext("key") or "")):
            parent.remove(element)
            parent.append(element)
    return canonical(ET.tostring(root, encoding="unicode"))


@given(damages())
def test_whatever_protection_is_taken_away_comes_back_and_nothing_else_changes(
    case: tuple[str, Callable[[str], str]],
) -> None:
    name, damage = case
    whole, made = defined(name), defined(name, damage)
    assert facts_without_order(made.xml) == facts_without_order(whole.xml)
    assert sorted(lease.key for lease in made.leases) == sorted(lease.key for lease in whole.leases)
    spec = document.read(embedded(name, lambda xml: made.xml))
    assert spec.engine_xml is not None
    assert spec.engine_xml.usable
    assert made.made is (Made.AS_IS if made.reason is None else Made.REPAIRED)


@pytest.mark.parametrize("word", ["none", "shared", "Exclusive", "FALSE"])
def test_any_other_mark_of_a_disk_that_is_not_shareable_becomes_exclusive(word: str) -> None:
    made = defined(S02, replacing(">exclusive<", f">{word}<"))
    assert canonical(made.xml) == canonical(
        defined(S02).xml.replace(MARK, "").replace("</ovirt-vm:domainID>", f"</ovirt-vm:domainID>{MARK}")
    )


def test_one_mark_stays_where_there_were_two_and_the_last_was_wrong() -> None:
    made = defined(S02, replacing(MARK, f"{MARK}<shared>none</shared>"))
    assert (made.xml.count("exclusive"), made.xml.count("shared>")) == (1, 2)


def test_lease_that_vdsm_would_stumble_over_gets_its_placeholders() -> None:
    made = defined(S02, lambda xml: re.sub('<target offset="LEASE.*?</target>', "", xml))
    assert made.made is Made.REPAIRED
    assert "a place for VDSM to fill in" in (made.reason or "")
    assert canonical(made.xml) == canonical(defined(S02).xml)


@pytest.mark.parametrize("place", ['offset="1048576" path="/old"', 'offset="77" path="LEASE-PATH:x:y"'])
def test_lease_of_a_disk_is_where_vdsm_finds_it_and_not_where_it_once_was(place: str) -> None:
    made = defined(S02, lambda xml: re.sub('(<target) offset="LEASE[^>]*', rf"\1 {place}", xml))
    assert canonical(made.xml) == canonical(defined(S02).xml)


def test_snapshot_that_was_attached_for_a_while_is_never_opened_as_a_disk() -> None:
    as_snapshot = ("(HostResource>fb0e6a33.*?<Alias></Alias>)", rf"\1<SnapshotId>{OTHER}</SnapshotId>")
    data_with_snapshot = re.sub(*as_snapshot, embedded(S05, unchanged).decode(), count=1, flags=re.DOTALL)
    made = domainxml.define(document.read(data_with_snapshot.encode()), HERE)
    assert made.made is Made.GENERATED
    assert "snapshot that was attached" in (made.reason or "")
    assert len(made.volumes) == len(made.leases) == 1
    assert "1787b901-50f2" not in made.xml


def test_shareable_disk_gets_no_lease() -> None:
    def one_lease(xml: str) -> str:
        return re.sub("<lease><key>1787b901-.*?</lease>", "", xml)

    shareable = ('ovf:shareable="false" ovf:boot="false"', 'ovf:shareable="true" ovf:boot="false"')
    assert defined(S05, one_lease, HERE, shareable).made is Made.AS_IS


# The VM's own lease


def vm_lease(path: str | None, offset_bytes: int | None) -> vmspec.Lease:
    return vmspec.Lease(key=S02_VM, lockspace=DOMAIN, path=path, offset_bytes=offset_bytes)


def lease_element(attributes: str) -> Callable[[str], str]:
    text = (
        f"<lease><key>{S02_VM}</key><lockspace>{DOMAIN}</lockspace><target {attributes}/></lease></devices>"
    )
    return replacing("</devices>", text)


WANTED = ("<EngineXml>", f"<LeaseDomainId>{DOMAIN}</LeaseDomainId><EngineXml>")
KNOWN = HERE.but(vm_lease=vm_lease("/xleases", 3145728))


def test_vm_lease_is_added_at_the_place_that_vdsm_told() -> None:
    made = defined(S02, unchanged, KNOWN, WANTED)
    assert made.made is Made.REPAIRED
    assert vm_lease("/xleases", 3145728) in made.leases


def test_vm_lease_of_another_place_is_corrected() -> None:
    made = defined(S02, lease_element('path="/old" offset="1"'), KNOWN, WANTED)
    assert [lease for lease in made.leases if lease.key == S02_VM] == [vm_lease("/xleases", 3145728)]


def test_place_of_another_vm_lease_is_not_taken() -> None:
    elsewhere = vm_lease("/xleases", 3145728).but(lockspace=OTHER)
    made = defined(S02, unchanged, HERE.but(vm_lease=elsewhere), WANTED)
    assert [lease.key for lease in made.leases] == [VOLUME]
    assert "the VM lease" in made.warnings[0]


def test_vm_lease_stays_as_it_is_where_vdsm_did_not_tell() -> None:
    made = defined(S02, lease_element('path="/old" offset="1"'), HERE, WANTED)
    assert (made.made, made.warnings) == (Made.AS_IS, ())


def test_vm_lease_without_a_place_is_taken_out_with_a_warning() -> None:
    names = f"{S02_VM}:{DOMAIN}"
    made = defined(S02, lease_element(f'path="LEASE-PATH:{names}" offset="LEASE-OFFSET:{names}"'))
    assert [lease.key for lease in made.leases] == [VOLUME]
    assert "the VM lease" in made.warnings[0]
    assert "is not taken" in made.warnings[0]


def test_vm_lease_that_nobody_can_place_is_a_warning() -> None:
    made = defined(S02, unchanged, HERE, WANTED)
    assert made.made is Made.AS_IS
    assert "the VM lease" in made.warnings[0]


# Not to be sent, whatever is repaired


@pytest.mark.parametrize(
    ("pattern", "to", "word"),
    [
        ("<vcpu.*?</vcpu>", "", "no vcpu"),
        ("<memory>.*?</memory>", "", "no size of memory"),
        ("<memory>", '<memory unit="GiB">', "memory is given in GiB"),
        ("<name>HostedEngine</name>", "", "no name"),
        ("<devices>.*</devices>", "", "no devices"),
        ("OS-NAME:", "", "SMBIOS product"),
        ('type="int">16384', 'type="int">much', "minGuaranteedMemoryMb"),
        ('<target dev="vda"', "<target", "no target name"),
        ('dev="vda" bus="virtio"', 'dev="vda" bus="scsi"', "on bus scsi"),
        ('dev="vda" bus="virtio"', 'dev="vda" bus="usb"', "on bus usb"),
        ('dev="vda" bus="virtio"', 'dev="vda"', "VDSM would rename it"),
        ('<driver name="qemu" io="threads".*?</driver>', "", "no driver"),
        ('type="raw" error_policy="stop"', 'type="qcow2" error_policy="stop"', "the OVF says that it is raw"),
        ('<target dev="vda"', '<shareable/><target dev="vda"', "is shareable"),
        (">exclusive<", ">transient<", "is transient"),
        ('<source file="/rhev.*?</source>', "", "no source"),
        ('<disk snapshot="no" type="file"', '<disk snapshot="no"', "no type"),
        ('devtype="disk" name="vda"', 'devtype="disk" name="vdb"', "not identified by the metadata"),
        ('devtype="disk"', 'devtype="lease"', "not identified by the metadata"),
        ("http://ovirt.org/vm/1.0", "http://ovirt.org/vm/2.0", "not identified by the metadata"),
        ("<ovirt-vm:poolID>.*?</ovirt-vm:poolID>", "", "not identified by the metadata"),
        (f"<ovirt-vm:volumeID>{VOLUME}", f"<ovirt-vm:volumeID>{OTHER}", f"volume {OTHER}"),
        ("</ovirt-vm:vm>", '<ovirt-vm:device devtype="disk" name="vda"/></ovirt-vm:vm>', "metadata twice"),
        ("</ovirt-vm:vm>", f'<ovirt-vm:device mac_address="{MAC}"/></ovirt-vm:vm>', "metadata twice"),
        ('dev="hdc" bus="ide"', 'dev="vda" bus="virtio"', "2 disks are called vda"),
        (f"<key>{VOLUME}", f"<key>{OTHER}", "no disk's leaf"),
        (f"<lockspace>{DOMAIN}", f"<lockspace>{OTHER}", "no disk's leaf"),
        (f"<key>{VOLUME}</key>", "", "no key"),
        ("(<lease>.*</lease>)", r"\1\1", "is in it twice"),
        ("<mac .*?</mac>", "", "no MAC address"),
        (f'<mac address="{MAC}"', '<mac address="00:16:3e:5d:1f:99"', f"{MAC}) is in it not at all"),
        ('<source bridge="ovirtmgmt".*?</source>', "", "names no bridge"),
        ("<interface.*</interface>", "", f"{MAC}) is in it not at all"),
    ],
)  # fmt: skip
def test_domain_that_vdsm_would_refuse_or_skip_a_part_of_is_not_sent(
    pattern: str, to: str, word: str
) -> None:
    with pytest.raises(repair.Unfit) as caught:
        fitted(S02, lambda xml: re.sub(pattern, to, xml, count=1, flags=re.DOTALL))
    assert word in str(caught.value)


def test_mark_that_vdsm_does_not_know_on_a_shareable_disk_is_not_sent() -> None:
    shareable = ('ovf:shareable="false" ovf:boot="false"', 'ovf:shareable="true" ovf:boot="false"')

    def change(xml: str) -> str:
        start = xml.index('name="vdb"')
        return xml[:start] + xml[start:].replace(">exclusive<", ">sometimes<")

    with pytest.raises(repair.Unfit, match="'sometimes'"):
        fitted(S05, change, shareable)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("<IsPlugged>true", "<IsPlugged>false"), "which the OVF does not start the VM with"),
        ((f"<rasd:StorageId>{DOMAIN}</rasd:StorageId>", ""), "names no storage domain"),
    ],
)
def test_domain_whose_disks_are_not_those_of_the_ovf_is_not_sent(change: tuple[str, str], word: str) -> None:
    text = altered(S05, change).decode() if "rasd" in change[0] else data(S05).decode()
    if "rasd" not in change[0]:
        item = text.index("<rasd:ResourceType>17<")
        text = text[:item] + text[item:].replace(*change, 1)
    with pytest.raises(repair.Unfit, match=word):
        fit(text.encode())


def test_disk_that_only_the_ovf_has_is_named() -> None:
    def without_second_disk(xml: str) -> str:
        xml = re.sub('<disk snapshot="no" type="block" device="disk"><target dev="vdb".*?</disk>', "", xml)
        xml = re.sub('<ovirt-vm:device devtype="disk" name="vdb">.*?</ovirt-vm:device>', "", xml)
        return re.sub("<lease><key>1787b901-.*?</lease>", "", xml)

    with pytest.raises(repair.Unfit, match=r"volume 1787b901-.* is in it not at all"):
        fitted(S05, without_second_disk)


def test_domain_of_thousands_of_faults_is_looked_through_at_once_and_told_in_few_words() -> None:
    device = f'<ovirt-vm:device devtype="disk" name="vd{"x" * 300}"/>'
    disk = f'<disk type="file"><target dev="vd{"x" * 300}"/></disk>'

    def many(xml: str) -> str:
        xml = xml.replace("</devices>", disk * 1500 + "</devices>")
        return xml.replace("</ovirt-vm:vm>", device * 1500 + "</ovirt-vm:vm>")

    with pytest.raises(repair.Unfit, match=r"; and \d+ more$") as caught:
        fitted(S02, many)
    assert len(str(caught.value)) < 25_000


# What is frozen of another host


def test_nic_on_a_bridge_that_this_host_lacks_is_refused_by_name() -> None:
    with pytest.raises(refusals.NicsMissing) as caught:
        defined(S02, host=HERE.but(bridges={"storage": "storage"}))
    for word in (MAC, "bridge ovirtmgmt", "definition.start_without_missing_nics"):
        assert word in str(caught.value)


def test_nic_is_left_out_where_the_operator_said_so() -> None:
    made = defined(S02, host=HERE.but(bridges={"storage": "storage"}, without_missing_nics=True))
    assert made.made is Made.REPAIRED
    assert MAC not in made.xml
    assert [warning for warning in made.warnings if MAC in warning]
    assert prepared(made.xml).leases


def test_nic_goes_to_this_hosts_bridge_of_the_same_network() -> None:
    made = defined(S02, host=HERE.but(bridges={"ovirtmgmt": "br0"}))
    assert '<source bridge="br0"/>' in made.xml
    assert "bridge br0" in (made.reason or "")


def test_nic_goes_to_the_bridge_of_its_network_though_the_host_has_the_named_one_too() -> None:
    made = defined(S02, host=HERE.but(bridges={"ovirtmgmt": "br0", "storage": "ovirtmgmt"}))
    assert '<source bridge="br0"/>' in made.xml


def test_nic_that_is_connected_to_nothing_needs_no_bridge() -> None:
    made = defined(S02, replacing('bridge="ovirtmgmt"', 'bridge=";vdsmdummy;"'), HERE.but(bridges={}))
    assert ";vdsmdummy;" in made.xml


def test_passed_through_device_belongs_to_another_host() -> None:
    with pytest.raises(refusals.NicsMissing, match="device of one host"):
        defined(S02, replacing('<interface type="bridge">', '<interface type="hostdev">'))


def test_bridges_that_are_not_known_are_not_judged() -> None:
    assert defined(S02, host=UNKNOWN).made is Made.AS_IS


def test_console_listens_on_this_hosts_display_network() -> None:
    elsewhere = replacing("vdsm-ovirtmgmt", "vdsm-consoles")
    made = defined(S02, elsewhere)
    assert LISTEN in made.xml
    assert "this host has no network vdsm-consoles" in (made.reason or "")
    assert defined(S02, elsewhere, HERE.but(display_network="consoles")).made is Made.AS_IS
    assert defined(S02, elsewhere, UNKNOWN).made is Made.AS_IS


def test_console_that_listens_nowhere_gets_its_network() -> None:
    def nowhere(xml: str) -> str:
        return re.sub("<listen .*?</listen>", "", xml).replace("<graphics ", '<graphics listen="0" ')

    made = defined(S02, nowhere)
    assert canonical(made.xml) == canonical(defined(S02).xml)


def test_vnc_without_a_password_is_for_hosts_with_sasl() -> None:
    made = defined(S02, replacing(' passwdValidTo="1970-01-01T00:00:01"', ""))
    assert made.made is Made.AS_IS
    assert "SASL" in made.warnings[0]


def test_disk_is_of_the_type_that_its_storage_domain_has_here() -> None:
    made = defined(S05, host=HERE.but(block_domain_ids=frozenset()))
    assert '<source file="/rhev/data-center/mnt/blockSD' in made.xml
    assert 'type="block"' not in made.xml
    assert (made.reason or "").count(f"as storage domain {DOMAIN} is on this host") == 2
    on_block = defined(S02, host=HERE.but(block_domain_ids=frozenset({DOMAIN})))
    assert '<source dev="/rhev' in on_block.xml
    assert '<source file="" startupPolicy' in on_block.xml


def test_two_words_on_launching_paused_are_a_warning() -> None:
    two = replacing("<launchPaused>", "<ovirt-vm:launchPaused>true</ovirt-vm:launchPaused><launchPaused>")
    assert "VDSM obeys the last, false" in defined(S02, two).warnings[0]
    again = replacing("<launchPaused>", "<launchPaused>false</launchPaused><launchPaused>")
    assert defined(S02, again).warnings == ()


# libvirt's word


@pytest.mark.real("libvirt")
@pytest.mark.parametrize(
    ("name", "change", "host"),
    [
        (S04, unchanged, HERE),
        (S02, without_leases, HERE),
        (S05, without_leases, HERE.but(block_domain_ids=frozenset())),
        (S02, unchanged, HERE.but(block_domain_ids=frozenset({DOMAIN}), bridges={"ovirtmgmt": "br0"})),
        (S02, unchanged, HERE.but(bridges={}, without_missing_nics=True, display_network="storage")),
        (S02, unchanged, KNOWN),
    ],
)
def test_repaired_domain_is_defined_by_libvirt(
    name: str, change: Callable[[str], str], host: HostFacts
) -> None:
    others = () if host is not KNOWN else (WANTED,)
    made = defined(name, change, host, *others)
    assert made.made is Made.REPAIRED
    assert vdsm_substitutions.refusal(made.xml, host.block_domain_ids or ()) is None
