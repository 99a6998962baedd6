"""The embedded domain: ours or not, protected or not, and what may be sent."""

import re
from collections.abc import Callable

import pytest

from ovirt_he_agent.errors import ExitCode
from ovirt_he_agent.ovf import document, domainxml, facts, host_facts, refusals, vmspec
from tests import golden_ovf
from tests.golden_ovf import DOMAIN, S01, S02, S02_VM, S04, S05, S06, embedded, replacing

VOLUME = "e2831e18-ce81-4abd-bab7-ae470b5b61a6"
S05_VOLUMES = ("0be5aaaa-2b64-44b2-84ca-da52bb0450e4", "1787b901-50f2-4b3b-b3dd-b381e30310b5")


def without_leases(xml: str) -> str:
    return re.sub("<lease>.*</lease>", "", xml)


def without_lease_of(volume_id: str) -> Callable[[str], str]:
    return lambda xml: re.sub(f"<lease><key>{volume_id}.*?</lease>", "", xml)


def naming_guaranteed_memory(xml: str) -> str:
    return xml.replace("minGuaranteedMemoryMb", "ovirt-vm:minGuaranteedMemoryMb")


def engine_xml(data: bytes) -> vmspec.EngineXml:
    spec = document.read(data)
    assert spec.engine_xml is not None
    return spec.engine_xml


def refusal(data: bytes, kind: type[refusals.NotStartable], *words: str) -> None:
    with pytest.raises(kind) as caught:
        domainxml.define(document.read(data), host_facts.UNKNOWN)
    assert caught.value.exit_code is ExitCode.REFUSED
    for word in words:
        assert word in str(caught.value)


def generated_because(data: bytes, *words: str) -> None:
    """The domain is the VM's own although the embedded one was of no use, and the reason is said."""
    definition = domainxml.define(document.read(data), host_facts.UNKNOWN)
    assert definition.made is domainxml.Made.GENERATED
    assert definition.reason is not None
    for word in words:
        assert word in definition.reason
    assert f"<uuid>{definition.vm_id}</uuid>" in definition.xml
    assert {(lease.key, lease.lockspace) for lease in definition.leases} == {
        (volume.volume_id, volume.domain_id) for volume in definition.volumes if volume.exclusive
    }
    assert definition.warnings


# Usable


@pytest.mark.parametrize("name", [S02, S05])
def test_protected_domain_goes_as_it_is(name: str) -> None:
    data = golden_ovf.data(name)
    spec = document.read(data)
    definition = domainxml.define(spec, host_facts.UNKNOWN)
    assert spec.engine_xml is not None
    assert definition.xml == spec.engine_xml.text
    assert definition.xml.startswith("<?xml")
    assert (definition.vm_id, definition.name) == (spec.vm_id, spec.name)
    assert (definition.made, definition.reason, definition.warnings) == (domainxml.Made.AS_IS, None, ())
    assert (definition.memory_mib, definition.generation) == (spec.memory_mib, 12)
    assert definition.export_date == spec.export_date


def test_definition_names_every_leaf_volume_and_its_lease() -> None:
    data = golden_ovf.data(S05)
    definition = domainxml.define(document.read(data), host_facts.UNKNOWN)
    assert [(v.domain_id, v.volume_id, v.exclusive) for v in definition.volumes] == [
        (DOMAIN, volume, True) for volume in S05_VOLUMES
    ]
    assert [(lease.key, lease.lockspace) for lease in definition.leases] == [
        (volume, DOMAIN) for volume in S05_VOLUMES
    ]


def test_vm_lease_is_shown_apart_and_has_to_be_free_too() -> None:
    lease = (
        f"<lease><key>{S02_VM}</key><lockspace>{DOMAIN}</lockspace>"
        '<target path="/rhev/xleases" offset="3145728"/></lease></devices>'
    )
    data = embedded(S02, replacing("</devices>", lease))
    shown = facts.of(document.read(data))
    assert shown["engine_xml_vm_lease"] == {
        "key": S02_VM,
        "lockspace": DOMAIN,
        "path": "/rhev/xleases",
        "offset": 3145728,
    }
    assert [record["key"] for record in shown["engine_xml_volume_leases"]] == [VOLUME]
    assert len(domainxml.define(document.read(data), host_facts.UNKNOWN).leases) == 2


def test_lease_without_a_lockspace_is_shown_with_none_and_protects_nothing() -> None:
    data = embedded(S02, replacing(f"<lockspace>{DOMAIN}</lockspace>", "<lockspace></lockspace>"))
    shown = facts.of(document.read(data))
    assert shown["engine_xml_volume_leases"] == [{"key": VOLUME, "lockspace": None}]
    assert shown["legacy_path_must_add"] == ["volume lease"]


def test_declared_encoding_of_the_embedded_text_does_not_matter() -> None:
    data = embedded(S02, replacing('encoding="UTF-8"', 'encoding="UTF-16"'))
    assert engine_xml(data).usable


def test_shareable_and_unplugged_disks_need_no_lease() -> None:
    first, second = S05_VOLUMES
    one_lease = without_lease_of(second)
    assert engine_xml(embedded(S05, one_lease)).missing == (vmspec.Missing.VOLUME_LEASE,)
    shareable = ('ovf:shareable="false" ovf:boot="false"', 'ovf:shareable="true" ovf:boot="false"')
    assert engine_xml(embedded(S05, one_lease, shareable)).usable
    unplugged = ("<BootOrder>0</BootOrder><IsPlugged>true", "<BootOrder>0</BootOrder><IsPlugged>false")
    assert engine_xml(embedded(S05, one_lease, unplugged)).usable
    definition = domainxml.define(document.read(embedded(S05, one_lease, shareable)), host_facts.UNKNOWN)
    assert [(v.volume_id, v.exclusive) for v in definition.volumes] == [(first, True), (second, False)]


# Not usable


def test_what_a_domain_lacks_is_named() -> None:
    assert [str(word) for word in engine_xml(golden_ovf.data(S04)).missing] == ["exclusive", "volume lease"]
    without_mark = embedded(S02, replacing("<ovirt-vm:shared>exclusive</ovirt-vm:shared>", ""))
    assert engine_xml(without_mark).missing == (vmspec.Missing.EXCLUSIVE,)
    assert engine_xml(embedded(S02, without_leases)).missing == (vmspec.Missing.VOLUME_LEASE,)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"<lockspace>{DOMAIN}", "<lockspace>6e91ed96-c20b-4552-89d9-159597ea520d"),
        (f"<key>{VOLUME}", "<key>6e91ed96-c20b-4552-89d9-159597ea520d"),
        (">exclusive<", ">shared<"),
        (">exclusive<", ">Exclusive<"),
        (f"<ovirt-vm:volumeID>{VOLUME}", "<ovirt-vm:volumeID>6e91ed96-c20b-4552-89d9-159597ea520d"),
        ('devtype="disk"', 'devtype="lease"'),
        ("http://ovirt.org/vm/1.0", "http://ovirt.org/vm/2.0"),
    ],
)
def test_lease_or_mark_of_something_else_does_not_count(before: str, after: str) -> None:
    assert not engine_xml(embedded(S02, replacing(before, after))).usable


def test_only_the_last_of_two_marks_counts_as_in_vdsm() -> None:
    mark = "<ovirt-vm:shared>exclusive</ovirt-vm:shared>"
    assert not engine_xml(embedded(S02, replacing(mark, mark + "<shared>false</shared>"))).usable
    assert engine_xml(
        embedded(S02, replacing(mark, "<ovirt-vm:shared>false</ovirt-vm:shared>" + mark))
    ).usable
    assert engine_xml(embedded(S02, replacing(mark, "<shared>exclusive</shared>"))).usable


def test_disk_without_a_known_storage_domain_cannot_be_protected() -> None:
    storage = (f"<rasd:StorageId>{DOMAIN}</rasd:StorageId>", "")
    assert not engine_xml(embedded(S02, lambda xml: xml, storage)).usable


def test_domain_of_another_vm_is_left_aside_and_nothing_of_it_is_shown() -> None:
    data = golden_ovf.data("b09-engine-xml-of-another-vm.ovf")
    generated_because(data, "another VM's", "ea2b53b4-9945-4db8-a7c5-3fb52476fa62")
    assert engine_xml(data).leases == ()


def test_uuid_in_other_letters_is_another_vm_as_it_is_to_vdsm() -> None:
    data = embedded(S02, replacing(f"<uuid>{S02_VM}", f"<uuid>{S02_VM.upper()}"))
    generated_because(data, "another VM's")


def test_root_that_is_no_domain_is_left_aside() -> None:
    data = embedded(S02, lambda xml: xml.replace("<domain", "<machine").replace("</domain", "</machine"))
    spec = document.read(data)
    assert any("EngineXml" in warning and "uuid" in warning for warning in spec.warnings)
    generated_because(data, "another VM's")


@pytest.mark.parametrize(
    "change",
    [
        lambda xml: xml[:-30],
        lambda xml: xml.replace("?>", "?><!DOCTYPE domain [<!ENTITY a 'b'>]>", 1),
        lambda xml: "garbage",
        lambda xml: xml.replace("<name>", "<x>" * 200 + "</x>" * 200 + "<name>"),
    ],
    ids=["cut", "doctype", "no xml", "deep"],
)
def test_broken_or_hostile_text_is_left_aside_and_the_rest_is_used(change: Callable[[str], str]) -> None:
    data = embedded(S02, change)
    spec = document.read(data)
    assert spec.name == "HostedEngine"
    assert engine_xml(data).well_formed is False
    assert any("EngineXml" in warning for warning in spec.warnings)
    generated_because(data, "not well formed")


@pytest.mark.parametrize("name", [S01, S06])
def test_without_an_embedded_domain_one_is_generated(name: str) -> None:
    generated_because(golden_ovf.data(name), "no EngineXml")


def with_embedded_text(text: bytes) -> bytes:
    return re.sub(b"<EngineXml>.*</EngineXml>", b"<EngineXml>%s</EngineXml>" % text, golden_ovf.data(S02))


def test_empty_element_is_no_embedded_domain() -> None:
    assert document.read(with_embedded_text(b"")).engine_xml is None


def test_white_space_is_a_text_that_is_no_domain() -> None:
    data = with_embedded_text(b" \n")
    assert engine_xml(data).well_formed is False
    assert any("EngineXml" in warning for warning in document.read(data).warnings)
    generated_because(data, "not well formed")


# Values


def test_guaranteed_memory_is_found_with_and_without_its_namespace() -> None:
    assert engine_xml(golden_ovf.data(S02)).min_guaranteed_mib == 16384
    named = naming_guaranteed_memory
    assert engine_xml(embedded(S02, named)).min_guaranteed_mib == 16384
    data = embedded(S02, replacing(">16384</minG", ">much</minG"))
    assert engine_xml(data).min_guaranteed_mib is None
    assert any("minGuaranteedMemoryMb" in warning for warning in document.read(data).warnings)


def test_console_alias_is_not_cut() -> None:
    assert engine_xml(golden_ovf.data(S02)).console_alias == "ua-943c785e-9de6-4f04-a9c1-636d39c36541"
