"""The command as its users run it: ``ovf`` on documents and stores, exit codes, one line per error."""

import json
import os
import re
import resource
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import golden_ovf
from tests.golden_ovf import HERE, S01, S02, S02_VM, S03, S04, S04_VM, as_asked

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def fails_with(self, code: int, *words: str) -> None:
        """One plain line on stderr that holds the words, nothing on stdout."""
        assert (self.code, self.out) == (code, "")
        assert self.err.startswith("ovirt-he-agent: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err, self.err


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "ovirt_he_agent", *map(str, arguments)]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "LC_ALL": "C.UTF-8"}


def run(*arguments: str | Path, **environment: str) -> Run:
    done = subprocess.run(command(*arguments), capture_output=True, timeout=30, env=ENVIRONMENT | environment)
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode())


# show


def test_spec_is_one_json_object_as_expected() -> None:
    expected = json.loads((HERE / "expected" / S03.replace(".ovf", ".json")).read_text())
    done = run("ovf", "show", HERE / S03, "--format", "spec", LC_ALL="C")
    assert (done.code, done.err) == (0, "")
    for key in expected.keys() - {"expect", "file"}:
        assert as_asked(done.json[key], expected[key]) == expected[key], key
    assert "движок" in done.out


def test_domain_xml_is_printed_as_it_stands_in_the_document() -> None:
    done = run("ovf", "show", HERE / S02, "--format", "domain-xml")
    found = re.search("<EngineXml>(.*)</EngineXml>", golden_ovf.data(S02).decode())
    assert found
    text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert (done.code, done.out, done.err) == (0, text + "\n", "")


@pytest.mark.parametrize(
    "name", [S01, "b08-engine-xml-not-well-formed.ovf", "b09-engine-xml-of-another-vm.ovf"]
)
def test_domain_xml_is_generated_where_the_document_has_none_to_be_used(name: str) -> None:
    done = run("ovf", "show", HERE / name, "--format", "domain-xml")
    vm_id = run("ovf", "show", HERE / name).json["vm_id"]
    assert done.code == 0
    assert f"<uuid>{vm_id}</uuid>" in done.out
    assert "LEASE-PATH:" in done.out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("b06-nic-without-mac.ovf", ["NIC nic1", "no MAC address"]),
    ],
)
def test_domain_that_is_not_safe_is_refused_with_code_5(name: str, words: list[str]) -> None:
    run("ovf", "show", HERE / name, "--format", "domain-xml").fails_with(5, name, *words)


def test_repaired_domain_is_printed_alone_and_what_was_done_is_said_on_stderr() -> None:
    done = run("ovf", "show", HERE / S04, "--format", "domain-xml")
    assert (done.code, done.out.count("<lease>")) == (0, 1)
    assert ET.fromstring(done.out).findtext("uuid") == S04_VM
    assert done.err.startswith("warning: the engine's own, repaired: ")
    assert "gets a lease" in done.err


def test_what_the_host_has_is_said_by_options() -> None:
    options: list[str | Path] = ["ovf", "show", HERE / S02, "--format", "domain-xml"]
    host = ["--network", "storage=storage", "--network", "a=b=br1", "--block"]
    run(*options, *host).fails_with(5, "bridge ovirtmgmt", "start_without_missing_nics")
    done = run(*options, *host, "--without-missing-nics", "--display-network", "storage")
    assert done.code == 0
    assert "starts without NIC 00:16:3e:5d:1f:88" in done.err
    assert '<listen type="network" network="vdsm-storage"/>' in done.out
    assert '<source dev="/rhev' in done.out
    mapped = run(*options, "--network", "ovirtmgmt=br0")
    assert '<source bridge="br0"/>' in mapped.out


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--network", "ovirtmgmt"], "NAME=BRIDGE"),
        (["--vm-lease", "/x:y"], "PATH:OFFSET"),
        (["--vm-lease", "/x:1048576"], "no LeaseDomainId"),
    ],
)
def test_options_that_say_nothing_are_wrong_usage(options: list[str], word: str) -> None:
    run("ovf", "show", HERE / S02, "--format", "domain-xml", *options).fails_with(2, word)


def refused_documents() -> list[str]:
    return [e["file"] for e in golden_ovf.expectations() if e["expect"] == "refuse"]


@pytest.mark.parametrize("name", refused_documents())
def test_broken_document_is_refused_in_one_line(name: str) -> None:
    run("ovf", "show", HERE / name).fails_with(1, name, "; ")


def test_hostile_documents_are_refused_quickly_in_little_memory(tmp_path: Path) -> None:
    bomb = golden_ovf.data("b04-entity-bomb.ovf")
    nodes = golden_ovf.data(S01).replace(b"</Content>", b"<a/>" * 2_000_000 + b"</Content>")
    for content in (bomb, nodes[: 8 << 20], bytes(20 << 20), b"<" * (9 << 20)):
        (tmp_path / "hostile").write_bytes(content)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run("ovf", "show", tmp_path / "hostile").fails_with(1, "hostile")
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 300 << 10


@pytest.mark.parametrize("kind", ["tar", "volume", "torn", "truncated"])
def test_vm_is_shown_out_of_every_sample_store(kind: str) -> None:
    done = run("ovf", "show", HERE / f"ovf_store.{kind}", "--vm", S04_VM.upper())
    assert (done.code, done.json["vm_id"], done.json["name"]) == (0, S04_VM, "HostedEngine")
    assert done.json["memory_mib"] == 12288


def test_store_of_many_asks_which_vm() -> None:
    run("ovf", "show", HERE / "ovf_store.tar").fails_with(2, "21 documents", "--vm", "1060a822-", "ovf list")


def test_store_of_one_needs_no_id(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.write_bytes(golden_ovf.tar({"info.json": b"{}", f"{S02_VM}.ovf": golden_ovf.data(S02)}))
    assert run("ovf", "show", store).json["vm_id"] == S02_VM
    store.write_bytes(golden_ovf.tar({"info.json": b"{}"}))
    run("ovf", "show", store).fails_with(1, "no OVF in it")


def test_vm_that_is_not_there_or_damaged_is_named() -> None:
    missing = "00000000-0000-4000-8000-000000000000"
    run("ovf", "show", HERE / "ovf_store.tar", "--vm", missing).fails_with(1, missing, "23 entries")
    cut = golden_ovf.STORE["entries"][10].removesuffix(".ovf")
    run("ovf", "show", HERE / "ovf_store.torn", "--vm", cut).fails_with(
        1, "ovf_store.torn", "damaged at byte"
    )
    gone = golden_ovf.STORE["entries"][15].removesuffix(".ovf")
    run("ovf", "show", HERE / "ovf_store.truncated", "--vm", gone).fails_with(1, "damaged at byte")
    run("ovf", "show", HERE / S02, "--vm", S04_VM).fails_with(1, S02_VM, S04_VM)


def test_paths_that_give_nothing_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "noise").write_bytes(b"\x01\x02 something else" * 1000)
    run("ovf", "show", tmp_path / "nowhere").fails_with(1, "nowhere", "No such file")
    run("ovf", "show", tmp_path).fails_with(1, "neither a file nor a block device")
    run("ovf", "show", tmp_path / "fifo").fails_with(1, "neither a file nor a block device")
    run("ovf", "show", tmp_path / "noise").fails_with(1, "neither an OVF document")
    run("ovf", "show", "/dev/zero").fails_with(1, "/dev/zero")


def test_odd_file_names_stay_on_one_plain_line(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/a\nb\x1b[31m\xff")
    run("ovf", "show", odd).fails_with(1, "\\x1b[31m")


# list


def test_list_shows_every_entry_of_a_good_store() -> None:
    for kind in ("tar", "volume"):
        done = run("ovf", "list", HERE / f"ovf_store.{kind}")
        lines = done.out.splitlines()
        assert (done.code, done.err) == (0, "")
        assert [line.split()[0] for line in lines] == golden_ovf.STORE["entries"]
        assert "движок-エンジン-1" in lines[1]
        assert " template " in lines[-1]
        assert "STALE" not in done.out


@pytest.mark.parametrize(("kind", "shown", "faults"), [("torn", 11, 2), ("truncated", 10, 1)])
def test_list_of_a_damaged_store_says_so_and_fails(kind: str, shown: int, faults: int) -> None:
    done = run("ovf", "list", HERE / f"ovf_store.{kind}")
    assert (done.code, len(done.out.splitlines())) == (1, shown)
    assert done.err.count("damaged at byte") == done.err.count("\n") == faults
    as_json = run("ovf", "list", "--json", HERE / f"ovf_store.{kind}")
    assert (as_json.code, as_json.err) == (1, "")
    assert (len(as_json.json["entries"]), len(as_json.json["damage"])) == (shown, faults)


def test_list_of_a_document_shows_its_vm() -> None:
    (entry,) = run("ovf", "list", "--json", HERE / S02).json["entries"]
    assert entry | {"size": 0} == {
        "name": S02,
        "size": 0,
        "mtime": None,
        "kind": "vm",
        "vm_id": S02_VM,
        "vm_name": "HostedEngine",
        "generation": 12,
    }


# check


@pytest.mark.parametrize("kind", ["tar", "volume"])
def test_check_of_a_good_store_passes(kind: str) -> None:
    done = run("ovf", "check", HERE / f"ovf_store.{kind}")
    assert (done.code, done.err) == (0, "")
    assert "VMs: 20, templates: 1: good" in done.out


@pytest.mark.parametrize("kind", ["torn", "truncated"])
def test_check_of_a_damaged_store_fails_with_a_report(kind: str) -> None:
    done = run("ovf", "check", HERE / f"ovf_store.{kind}")
    assert done.code == 1
    assert "VMs: 9, templates: 0: damaged" in done.out
    assert "damaged at byte" in done.err
    report = run("ovf", "check", "--json", HERE / f"ovf_store.{kind}").json
    assert (report["kind"], report["vms"]) == ("store", 9)
    assert report["damage"]


def test_check_finds_what_only_the_documents_show(tmp_path: Path) -> None:
    document = golden_ovf.data(S02)
    other = "00000000-0000-4000-8000-000000000000"
    store = tmp_path / "store"
    store.write_bytes(
        golden_ovf.tar(
            {
                "info.json": b"{not json",
                f"{S02_VM}.ovf": document.replace(b"<Content", b"<Kontent", 1),
                f"{other}.ovf": document,
            }
        )
    )
    damage = run("ovf", "check", "--json", store).json["damage"]
    assert [any(word in text for text in damage) for word in ("not JSON", "not well formed", S02_VM)] == [
        True
    ] * 3
    assert len(damage) == 3


def test_check_of_a_document_shows_its_warnings() -> None:
    done = run("ovf", "check", HERE / "b06-nic-without-mac.ovf")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("warning: ") == 2
    run("ovf", "check", HERE / "b01-truncated.ovf").fails_with(1, "not well formed")


# The command itself


def test_usage_errors_end_with_code_2() -> None:
    run("nonesuch").fails_with(2, "nonesuch", "--help")
    run("ovf", "show").fails_with(2, "FILE")
    run("ovf", "show", HERE / S02, "--vm", "x").fails_with(2, "'x' is not a UUID")
    run("ovf", "show", HERE / S02, "--format", "yaml").fails_with(2, "yaml")
    bare = run()
    assert (bare.code, bare.out) == (2, "")
    assert bare.err.startswith("Usage: ovirt-he-agent")


def test_version_and_help_are_answered() -> None:
    assert run("--version").out.startswith("ovirt-he-agent, version ")
    assert "ovf" in run("--help").out


def test_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    documents = {f"{n:08d}-0000-4000-8000-000000000000.ovf": golden_ovf.data(S01) for n in range(2000)}
    (tmp_path / "store").write_bytes(golden_ovf.tar(documents))
    for arguments in (["list"], ["list", "--json"], ["check", "--json"]):
        with subprocess.Popen(
            command("ovf", *arguments, tmp_path / "store"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        ) as child:
            assert child.stdout
            assert child.stderr
            child.stdout.read(1)
            child.stdout.close()
            assert child.stderr.read() == b""
            assert child.wait(timeout=30) == 1


def test_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("ovf", "show", HERE / S02),
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            timeout=30,
        )
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert "No space left" in done.stderr.decode()


def test_showing_a_document_loads_no_part_of_the_daemon() -> None:
    code = (
        "import sys; from ovirt_he_agent import __main__ as m; from ovirt_he_agent.cli import app; "
        f"app.run(m.COMMANDS, ['ovf', 'show', {str(HERE / S02)!r}]); "
        "heavy = ('aiohttp', 'asyncio', 'rich', 'sanlock'); "
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT, timeout=30, text=True
    )
    assert done.stderr.strip() == "[]"


def test_file_named_by_an_external_entity_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "secret")  # whoever opens it waits for a writer
    document = golden_ovf.altered(
        "b05-doctype-external-entity.ovf", ("file:///etc/hostname", f"file://{tmp_path}/secret")
    )
    (tmp_path / "document").write_bytes(document)
    run("ovf", "show", tmp_path / "document").fails_with(1, "DOCTYPE")
