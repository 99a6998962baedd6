"""``ovf history``, ``ovf restore``, ``ovf diff``: on the agent's files, with no agent."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ovirt_he_agent import __main__ as program
from ovirt_he_agent.adapters import definition_history
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.cli import app
from ovirt_he_agent.cli.ovf_diff import differences
from ovirt_he_agent.control import server
from ovirt_he_agent.core.definitions.record import Head, Life, Record, Standing
from tests import golden_ovf
from tests.golden_ovf import S02, S02_VM
from tests.unit.test_definition_choice import record as a_record

DIRECTORY = "var/lib/ovirt-he-agent/definitions"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Machine:
    """A root with files of the agent, and the command on it."""

    root: Path
    capture: pytest.CaptureFixture[str]

    @property
    def directory(self) -> Path:
        return self.root / DIRECTORY / S02_VM

    def run(self, *arguments: str) -> Done:
        code = app.run(program.COMMANDS, ["--root", str(self.root), "ovf", *arguments])
        out, err = self.capture.readouterr()
        assert "Traceback" not in err
        return Done(code, out, err)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").out)


def record(number: int, generation: int, **facts: Any) -> Record:
    document = golden_ovf.altered(
        S02, ("<Generation>12</Generation>", f"<Generation>{generation}</Generation>")
    )
    made = a_record(number, generation)
    sha256 = hashlib.sha256(document).hexdigest()
    return replace(made, document=document, facts=replace(made.facts, sha256=sha256), **facts)


RUNS = record(1, 12, started=1, started_s=1_768_000_000)
EDITED = record(2, 13, failures=1, failure="no such machine")


@pytest.fixture
def machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Machine:
    """VM from generation 12, generation 13 pending."""
    machine = Machine(tmp_path, capsys)
    for one in (RUNS, EDITED):
        definition_history.write_record(machine.directory, one)
    standing = Standing(
        head=Head(sha256=EDITED.sha256, floor=13),
        life=Life(sha256=RUNS.sha256, since_s=1_768_000_000, up=True),
    )
    definition_history.write_standing(machine.directory, standing)
    return machine


def test_history_shows_what_runs_and_what_is_pending(machine: Machine) -> None:
    found = machine.json("history")
    assert (found["vm_id"], found["next"], found["running"]["sha256"]) == (S02_VM, 2, RUNS.sha256)
    rows = {row["number"]: row for row in found["definitions"]}
    assert (rows[1]["running"], rows[1]["started"], rows[1]["started_at"]) == (
        True,
        True,
        "2026-01-09T23:06:40Z",
    )
    assert (rows[2]["pending"], rows[2]["failures"], rows[2]["generation"]) == (True, 1, 13)
    shown = machine.run("history")
    assert (shown.code, shown.err) == (0, "")
    for words in (
        "running",
        "pending until next start",
        "good 2026-01-09",
        "failed once",
        "no such machine",
    ):
        assert words in shown.out


def test_damaged_files_are_told_beside_what_is_good(machine: Machine) -> None:
    (machine.directory / "000002.definition").write_bytes(b"")
    shown = machine.run("history")
    assert shown.code == 0
    assert "000002.definition is skipped" in shown.err
    assert "running" in shown.out


def test_restore_leaves_a_request_that_history_shows_until_the_agent_took_it(machine: Machine) -> None:
    done = machine.run("restore", "1")
    assert (done.code, done.err) == (0, "")
    assert "definition 1 (generation 12) is used at the next start" in done.out
    request, _ = definition_history.read_request(machine.directory)
    assert request is not None
    assert request.sha256 == RUNS.sha256
    assert machine.json("history")["request"]["sha256"] == RUNS.sha256
    assert "not taken that into account yet" in machine.run("history").out
    definition_history.write_standing(machine.directory, Standing(request_id=request.id))
    assert machine.json("history")["request"] is None


def test_restore_takes_the_beginning_of_a_hash_too(machine: Machine) -> None:
    assert "definition 2 (generation 13)" in machine.run("restore", EDITED.sha256[:8].upper()).out


def test_undo_needs_something_that_was_restored(machine: Machine) -> None:
    done = machine.run("restore", "--undo")
    assert (done.code, done.out) == (1, "")
    assert "nothing was restored" in done.err
    machine.run("restore", "1")
    assert machine.run("restore", "--undo").code == 0
    request, _ = definition_history.read_request(machine.directory)
    assert request is not None
    assert request.sha256 is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("restore", "7"), 1, "definition 7: there is none"),
        (("restore", "zz"), 1, "ovf history"),
        (("restore",), 2, "either WHICH or --undo"),
        (("restore", "1", "--undo"), 2, "either WHICH or --undo"),
        (("history", "--vm", "x"), 2, "is not a UUID"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    machine: Machine, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = machine.run(*arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert done.err.count("\n") == 1


def test_nothing_kept_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = Machine(tmp_path, capsys).run("history", "--vm", S02_VM)
    assert done.code == 0
    assert f"nothing is kept of VM {S02_VM} yet" in done.out


# diff


def test_diff_compares_what_runs_with_what_is_pending(machine: Machine) -> None:
    done = machine.run("diff")
    assert (done.code, done.err) == (1, "")
    assert done.out == (
        "--- running: definition 1 (generation 12)\n"
        "+++ pending: definition 2 (generation 13)\n"
        "generation: 12 -> 13\n"
    )
    found = machine.json("diff", "1", "stored")
    assert found["equal"] is False
    assert found["differences"] == [{"field": "generation", "a": 12, "b": 13}]


def test_equal_definitions_are_code_0_and_silence(machine: Machine) -> None:
    assert machine.run("diff", "1", str(golden_ovf.path(S02))) == Done(0, "", "")
    assert machine.json("diff", "1", "running")["equal"]


def test_a_store_gives_this_vms_document(machine: Machine, tmp_path: Path) -> None:
    store = tmp_path / "store.tar"
    store.write_bytes(golden_ovf.tar({"info.json": b"{}", f"{S02_VM}.ovf": golden_ovf.data(S02)}))
    assert machine.run("diff", "1", str(store), "--vm", S02_VM) == Done(0, "", "")


def test_what_cannot_be_compared_is_code_2(machine: Machine, tmp_path: Path) -> None:
    for arguments in (("1", "9"), ("1", "./missing"), (str(tmp_path), "1")):
        done = machine.run("diff", *arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.count("\n") == 1
    definition_history.write_standing(machine.directory, Standing())
    assert "has not started the VM" in machine.run("diff").err


def test_a_disk_in_front_of_the_others_moves_none() -> None:
    one, two = {"image_id": "a", "size_gib": 1}, {"image_id": "b", "size_gib": 2}
    bigger = {"image_id": "b", "size_gib": 3}
    assert [(path, old if old == 2 else None) for path, old, _ in differences([two], [one, bigger])] == [
        ("[b].size_gib", 2),
        ("[a]", None),
    ]


@pytest.mark.parametrize(("held", "number"), [(RUNS.sha256, 1), (EDITED.sha256, 2)])
async def test_stored_is_what_the_agent_says_that_the_store_holds(
    machine: Machine, held: str, number: int
) -> None:
    status = {"vm": {"id": S02_VM}, "definition": {"store": {"sha256": held}}}
    methods = {"status": server.reading(lambda: status)}
    path = machine.root / "run/ovirt-he-agent/agent.socket"
    command = Worker("command")
    async with server.ControlServer(path, methods, mode=0o666, healthy=lambda: True):
        found = await command.call(
            lambda: machine.json("diff", "stored", str(number)), timeout_s=30, what="the command"
        )
    command.close()
    assert found["equal"]


def test_a_restore_that_cannot_be_written_says_that_nobody_hears_of_it(machine: Machine) -> None:
    (machine.directory / "request").mkdir()
    done = machine.run("restore", "1")
    assert (done.code, done.out) == (1, "")
    assert "request: cannot be written" in done.err
    assert "the agent does not hear of it" in done.err


def test_stored_without_the_agent_is_the_last_one_that_came_and_says_so(machine: Machine) -> None:
    done = machine.run("diff", "stored", "2")
    assert done.code == 0
    assert "the agent cannot be asked" in done.err
