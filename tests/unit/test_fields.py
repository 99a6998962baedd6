"""The table of fields: whole, current in the documentation, and what it says about a document."""

from pathlib import Path

import pytest

from ovirt_he_agent.ovf import domainxml, field_table, fields, known, problems
from ovirt_he_agent.ovf.record import RASD
from tests import golden_ovf
from tests.golden_ovf import S02, S03, S06, altered, with_elements

MAPPING = Path(__file__).parents[2] / "docs" / "ovf-mapping.md"
ITEMS = [place for place in field_table.TABLE if place.endswith(" item")]


def names(*places: str) -> set[str]:
    return {field.name for field in fields.FIELDS if field.place in places}


def field(place: str, name: str) -> fields.Field:
    return next(f for f in fields.FIELDS if (f.place, f.name) == (place, name))


# The table


def test_page_of_the_mapping_is_current() -> None:
    assert MAPPING.read_text() == fields.markdown(), "run: ovirt-he-agent ovf fields --format markdown"


def test_every_name_that_the_reader_knows_has_a_row_and_no_other_has() -> None:
    assert {n for n in names("VM") if "@" not in n} == known.CONTENT - {"Section", "ProductSection"}
    assert names("Disk") == {f"@{name}" for name in known.DISK_ATTRIBUTES}
    assert names(*ITEMS) == {name.replace(RASD, "rasd:") for name in known.ITEM}
    assert names("NUMA node") == known.NUMA_NODE
    assert names("Snapshot") == known.SNAPSHOT | {"@id"}
    sections = {
        f"ovf:{place.split()[0]}Section_Type" for place in field_table.TABLE if place.endswith("section")
    }
    read_on_their_own = {
        "ovf:VirtualHardwareSection_Type",
        "ovf:NumaNodeSection_Type",
        "ovf:SnapshotsSection_Type",
    }
    assert sections | read_on_their_own == known.SECTIONS


def test_every_row_goes_somewhere_or_says_why_not() -> None:
    for row in fields.FIELDS:
        assert row.is_needed or row.note, row
    keys = [(row.place, row.name) for row in fields.FIELDS]
    assert len(keys) == len(set(keys))
    assert field_table.WARNED.keys() | field_table.SECRET <= set(keys)


# A document


def test_values_are_the_texts_of_the_document() -> None:
    values = fields.values(golden_ovf.data(S06))
    assert values["VM", "Name"] == ("engine-snap",)
    assert values["Disk", "@volume-format"] == ("COW", "RAW")
    assert values["cpu item", "rasd:threads_per_cpu"] == ("2",)
    assert values["NIC item", "rasd:Name"] == ("nic1", "nic2", "nic3")
    assert values["Snapshot", "Type"] == ("REGULAR", "ACTIVE")
    assert values["OperatingSystem section", "@id"] == ("c576a701-45be-469c-9919-7fd34354dcc8",)
    assert values["other item", "Type"] != ()


@pytest.mark.parametrize("name", [golden_ovf.S01, S02, S03, golden_ovf.S04, golden_ovf.S05, S06])
def test_every_value_of_a_sample_has_a_row(name: str) -> None:
    rows = {(row.place, row.name) for row in fields.FIELDS}
    decoration = {"Info", "@required", "@type"}
    left = {
        key for key in fields.values(golden_ovf.data(name)) if key not in rows and key[1] not in decoration
    }
    assert left == set()


def test_secrets_and_whole_documents_are_not_shown() -> None:
    secret = (
        '<VmInit ovf:rootPassword="hunter2" ovf:customScript="hunter2">hunter2</VmInit>',
        '<Section xsi:type="ovf:VmExternalDataSection_Type"><VmExternalDataItem kind="tpm">'
        "<VmExternalDataContent>hunter2</VmExternalDataContent></VmExternalDataItem></Section>",
    )
    values = fields.values(with_elements(S06, *secret))
    assert values["VM", "VmInit"] == (fields.SECRET,)
    assert values["VmExternalData section", "VmExternalDataItem"] == (fields.SECRET,)
    assert "hunter2" not in repr(values)
    assert values["Snapshot", "VmConfiguration"] != ()
    assert all(text.endswith("characters)") for text in values["Snapshot", "VmConfiguration"])
    assert "domain" not in repr(fields.values(golden_ovf.data(S02))["VM", "EngineXml"])


def test_what_is_no_ovf_is_refused() -> None:
    with pytest.raises(problems.BadDocument):
        fields.values(b"<x/>")
    with pytest.raises(problems.BadDocument):
        fields.values(altered(S06, ("<Content ", "<VirtualSystem "), ("</Content>", "</VirtualSystem>")))


def test_what_became_of_a_field_depends_on_the_domain_and_its_warnings() -> None:
    zone, priority = field("VM", "TimeZone"), field("VM", "Priority")
    generated, as_is = domainxml.Made.GENERATED, domainxml.Made.AS_IS
    assert fields.became(zone, (), generated, ()) == "absent"
    assert fields.became(zone, ("",), generated, ()) == "empty"
    assert fields.became(zone, ("x",), generated, ()) == "used"
    assert fields.became(zone, ("x",), as_is, ()) == "as EngineXml says"
    assert fields.became(zone, ("x",), None, ()) == "no domain"
    unknown = "The offset of the time zone 'x' is not known here: the clock starts as UTC."
    assert fields.became(zone, ("x",), generated, ("other", unknown)) == unknown
    assert fields.became(priority, ("1",), generated, ()) == "not needed"
    assert fields.became(field("VM", "EngineXml"), ("x",), as_is, ()) == "sent as it is"
