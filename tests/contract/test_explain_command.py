"""``explain`` and ``status`` as their users run them, against a server with documents of a real decision."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ovirt_he_agent.agent import report
from ovirt_he_agent.cli import status_view
from ovirt_he_agent.config import Paths
from ovirt_he_agent.control import server
from ovirt_he_agent.core import decision
from ovirt_he_agent.core.state import State
from ovirt_he_agent.core.words import explain
from ovirt_he_agent.errors import ExitCode
from tests.contract.test_changing_commands import command
from tests.snapshots import NOW, definition, seen, slot, startable

FIRST = (
    "The engine VM is not running and is being waited for: host 3 ([/host3]) goes first (free memory here is "
    "3900 MiB, the VM needs 4096 MiB); if no other host starts it, this one does in 12 s."
)


def document() -> dict[str, Any]:
    """With a name that a table could take for markup."""
    snap = startable(
        definition=seen(definition(memory_mib=4096)),
        memory_free_mib=seen(3900),
        slots=seen({3: slot(3, host_name="[/host3]")}),
    )
    return explain.document(decision.decide(State(has_joined=True), snap, NOW))


@contextlib.asynccontextmanager
async def agent(root: Path, explanation: dict[str, Any]) -> AsyncIterator[None]:
    path = Paths(root=root).socket
    methods = {"explain": server.reading(lambda: explanation)}
    async with server.ControlServer(path, methods, mode=0o666, healthy=lambda: True):
        yield


async def test_sentences_come_first_then_changes_hosts_rules_and_conditions(tmp_path: Path) -> None:
    async with agent(tmp_path, document()):
        done = await command(tmp_path, "explain")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    words = " ".join(done.out.split())
    parts = (
        FIRST,
        "The score of this host is 3000 = 3400 - 400 (memory: 3900 MiB are free, ",
        "the engine VM needs 4096 MiB).",
        "What would change it:",
        "- If 196 MiB more memory were free here (3900 MiB are), this host would start the VM at once.",
        "3 [/host3] alive none upstream EngineDown 3400 changed 5 s ago",
        "the VM runs nowhere, and its start here has to wait yes lacking: our-turn",
        "global maintenance known to be off yes off",
    )
    found = [words.find(part) for part in parts]
    assert -1 not in found, dict(zip(parts, found, strict=True))
    assert found == sorted(found)


async def test_json_is_the_document(tmp_path: Path) -> None:
    async with agent(tmp_path, document()):
        done = await command(tmp_path, "explain", "--json")
    assert done.code == ExitCode.DONE
    assert json.loads(done.out) == document()


async def test_without_an_agent_it_is_exit_code_4_and_without_a_deployment_3(tmp_path: Path) -> None:
    conf = Paths(root=tmp_path).hosted_engine_conf
    bare = await command(tmp_path, "explain")
    assert (bare.code, bare.out) == (ExitCode.NOT_CONFIGURED, "")
    assert str(conf) in bare.err
    conf.parent.mkdir(parents=True)
    conf.write_text("host_id=1\n")
    down = await command(tmp_path, "explain")
    assert (down.code, down.out) == (ExitCode.AGENT_NOT_REACHABLE, "")
    async with agent(tmp_path, report.NotConfigured("host_id is missing").explanation):
        done = await command(tmp_path, "explain")
    assert (done.code, done.out) == (ExitCode.NOT_CONFIGURED, "")
    assert "host_id is missing" in done.err


async def test_rules_are_printed_without_an_agent(tmp_path: Path) -> None:
    done = await command(tmp_path, "explain", "--rules")
    page = Path(__file__).parents[2] / "docs" / "states.md"
    assert (done.code, done.out) == (ExitCode.DONE, page.read_text())
    assert (await command(tmp_path, "explain", "--rules", "--json")).code == ExitCode.USAGE


STATUS: dict[str, Any] = {
    "host_id": 1,
    "state": "EngineDown",
    "phase": "standby",
    "phase_since_s": 3.0,
    "why": FIRST,
    "score": {"points": 3400, "base": 3400, "penalties": []},
    "global_maintenance": {"value": False, "age_s": 1.0, "problem": None},
    "local_maintenance": {"value": False, "age_s": 1.0, "problem": None},
    "vm": {
        "id": "b6bd28c6-cb69-431f-ad65-37efa6931f8c",
        "name": "HostedEngine",
        "where": "nowhere",
        "where_host_id": None,
        "status": "Down",
        "exit_message": "Is another process using the image [/rhev/x]?",
        "engine": None,
    },
    "definition": {"problem": "not read yet"},
    "leases": {
        "host_id": {"detail": "held"},
        "storage_domain": {"problem": None, "acquired": True},
        "vm": [],
    },
    "command": None,
    "last_end": None,
    "waits_for": [],
    "alarms": ["host 2 says that it runs the VM, too"],
    "components": [],
    "hosts": [
        {
            "host_id": 2,
            "local": False,
            "name": "two",
            "state": "EngineUp",
            "score": 3400,
            "claims_vm": True,
            "ha_lease": "LIVE",
            "storage_lease": "LIVE",
            "class": "silent",
            "claim": "perhaps",
            "upstream": False,
            "slot_age": "changed 83 s ago, stale after 60 s",
        }
    ],
}


@pytest.fixture
def drawn(capsys: pytest.CaptureFixture[str]) -> str:
    console: Console = status_view.console()
    console.print(status_view.view(STATUS))
    return " ".join(capsys.readouterr().out.split())


def test_status_says_why_what_alarms_and_what_is_thought_of_the_other_hosts(drawn: str) -> None:
    assert f"Why {FIRST}" in drawn
    assert "Alarm host 2 says that it runs the VM, too" in drawn
    row = "2 two ours silent EngineUp 3400 old claim, open LIVE LIVE changed 83 s ago, stale after 60 s"
    assert row in drawn
    assert "the image [/rhev/x]?" in drawn  # foreign text is never taken for markup
