"""``ovf fields`` as its users run it."""

from tests.golden_ovf import HERE, S02, S03, S04_VM
from tests.process.test_ovf_command import ROOT, run


def test_table_alone_says_where_each_field_goes() -> None:
    done = run("ovf", "fields")
    assert (done.code, done.err) == (0, "")
    assert "  Name                                  vm.conf vmName; domain name\n" in done.out
    priority = next(line for line in done.out.splitlines() if line.startswith("  Priority "))
    assert "not needed (engine only: scheduling)" in priority


def test_page_of_the_documentation_is_what_the_command_prints() -> None:
    done = run("ovf", "fields", "--format", "markdown")
    assert (done.code, done.out) == (0, (ROOT / "docs" / "ovf-mapping.md").read_text())


def test_document_adds_its_values_and_what_became_of_them() -> None:
    done = run("ovf", "fields", HERE / S02, "--json")
    rows = {(row["place"], row["field"]): row for row in done.json["fields"]}
    assert done.json["domain"] == "the engine's own"
    assert rows["VM", "Name"]["values"] == ["HostedEngine"]
    assert rows["VM", "Name"]["became"] == "as EngineXml says"
    assert rows["VM", "EngineXml"]["became"] == "sent as it is"
    assert rows["VM", "Priority"]["became"] == "not needed"
    assert rows["VM", "LeaseDomainId"]["became"] == "absent"
    text = run("ovf", "fields", HERE / S02).out
    assert max(map(len, text.splitlines())) < 400
    assert text.splitlines()[-1] == "domain: the engine's own"


def test_store_is_looked_into_by_the_vms_id() -> None:
    done = run("ovf", "fields", HERE / "ovf_store.volume", "--vm", S04_VM, "--json")
    assert {"place": "OperatingSystem section", "field": "@id", "values": [S04_VM]}.items() <= next(
        row for row in done.json["fields"] if row["place"] == "OperatingSystem section"
    ).items()
    run("ovf", "fields", HERE / "ovf_store.volume").fails_with(2, "--vm UUID")


def test_wrong_use_and_wrong_files_are_one_line() -> None:
    run("ovf", "fields", "--vm", S04_VM).fails_with(2, "FILE")
    run("ovf", "fields", HERE / S03, "--format", "markdown").fails_with(2, "markdown")
    run("ovf", "fields", HERE / "b11-empty.ovf").fails_with(1, "empty")
    run("ovf", "fields", HERE / "b13-template-not-vm.ovf").fails_with(1, "template")
