"""``maintenance`` and ``vm`` as processes, against the agent's socket with a stand-in behind it."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ovirt_he_agent.config import Paths
from ovirt_he_agent.control import changes
from ovirt_he_agent.errors import ExitCode, Refused, Retryable
from tests.asked_agent import DEPLOYED, WHY_NOBODY, RecordedRequests, deployed, serving

ROOT = Path(__file__).parents[2]


@dataclass(eq=False)
class DiskAway(Retryable):
    msg: ClassVar[str] = "the whiteboard is away; try again when it is back"


class Unsafe(Refused):
    msg = "not started: host 2 owns its leases"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


async def command(root: Path, *arguments: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ovirt_he_agent", "--root", str(root), *arguments),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def asked(
    root: Path,
    *arguments: str,
    requests: changes.Requests | None = None,
    status: Mapping[str, Any] = DEPLOYED,
) -> Done:
    """The command, with an agent that answers."""
    async with serving(Paths(root=root).socket, requests, status=lambda: dict(status)):
        return await command(root, *arguments)


# maintenance


@pytest.mark.parametrize(
    ("mode", "requests"),
    [
        ("global", [("global", True), ("LOCAL_MANUAL", False)]),
        ("local", [("LOCAL_MANUAL", True), ("global", False)]),
        ("none", [("global", False), ("LOCAL_MANUAL", False)]),
        ("GLOBAL", [("global", True), ("LOCAL_MANUAL", False)]),
    ],
)
async def test_maintenance_sets_what_upstreams_command_sets_and_says_nothing(
    tmp_path: Path, mode: str, requests: list[tuple[str, bool]]
) -> None:
    agent = RecordedRequests()
    assert await asked(tmp_path, "maintenance", mode, requests=agent) == Done(0, "", "")
    assert agent.asked == requests


async def test_as_json_it_says_what_was_set(tmp_path: Path) -> None:
    done = await asked(tmp_path, "maintenance", "local", "--json", requests=RecordedRequests())
    steps = [{"mode": "LOCAL_MANUAL", "enabled": True}, {"mode": "GLOBAL", "enabled": False}]
    assert (done.code, json.loads(done.out)) == (0, {"mode": "local", "done": steps, "error": None})


@pytest.mark.parametrize("arguments", [(), ("LOCAL_MANUAL",), ("local", "global")])
async def test_another_mode_is_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert (await command(tmp_path, "maintenance", *arguments)).code == ExitCode.USAGE


HERE = (
    "ovirt-he-agent: Unable to enter local maintenance mode: the engine VM is running on the current host, "
    "please migrate it before entering local maintenance mode.\n"
)


@pytest.mark.parametrize("where", ["here", "here-pending", "incoming", "outgoing"])
async def test_local_maintenance_is_not_entered_with_the_vm_here(tmp_path: Path, where: str) -> None:
    agent, status = RecordedRequests(), deployed(where=where, status="Up")
    done = await asked(tmp_path, "maintenance", "local", requests=agent, status=status)
    assert done == Done(ExitCode.FAILED, "", HERE)
    assert agent.asked == []
    for mode in ("global", "none"):
        assert (await asked(tmp_path, "maintenance", mode, requests=agent, status=status)).code == 0


async def test_local_maintenance_is_not_entered_without_knowing(tmp_path: Path) -> None:
    agent = RecordedRequests()
    status = deployed(where="unclear", status="unknown", where_reasons=["VDSM does not answer"])
    done = await asked(tmp_path, "maintenance", "local", requests=agent, status=status)
    assert done.code == ExitCode.FAILED
    assert "it is not known whether the engine VM is running on the current host (VDSM does not" in done.err
    assert agent.asked == []


@pytest.mark.parametrize(
    ("where", "status"), [("unclear", "not here"), ("nowhere", "Down"), ("nowhere-soon", "not here")]
)
async def test_local_maintenance_asks_only_whether_the_vm_is_here(
    tmp_path: Path, where: str, status: str
) -> None:
    agent, document = RecordedRequests(), deployed(where=where, status=status)
    assert (await asked(tmp_path, "maintenance", "local", requests=agent, status=document)).code == 0


@pytest.mark.parametrize(
    ("mode", "failing", "said", "done"),
    [
        ("global", "global", "the whiteboard is away", 0),
        ("none", "global", "the whiteboard is away", 0),
        ("local", "LOCAL_MANUAL", "the whiteboard is away", 0),
        (
            *("local", "global"),
            "local maintenance is on now; switching global maintenance off: the whiteboard is away",
            1,
        ),
        ("global", "LOCAL_MANUAL", "global maintenance is on now; switching local maintenance off: the w", 1),
    ],
)
async def test_a_failure_leaves_nothing_done_or_says_what(
    tmp_path: Path, mode: str, failing: str, said: str, done: int
) -> None:
    agent = RecordedRequests(failing={failing: DiskAway()})
    seen = await asked(tmp_path, "maintenance", mode, "--json", requests=agent)
    assert seen.code == ExitCode.FAILED
    assert seen.err.startswith(f"ovirt-he-agent: {said}")
    assert seen.err.count("\n") == 1
    document = json.loads(seen.out)
    assert (len(document["done"]), document["error"]) == (done, str(DiskAway()))
    assert len(agent.asked) == done + 1


# vm


@pytest.mark.parametrize(
    ("verb", "request_name", "said"),
    [
        ("start", "start", "the VM is being started"),
        ("shutdown", "shutdown", "the VM is shutting down"),
        ("poweroff", "poweroff", "the VM was switched off"),
    ],
)
async def test_the_vm_verbs_say_what_happens(tmp_path: Path, verb: str, request_name: str, said: str) -> None:
    agent = RecordedRequests()
    assert await asked(tmp_path, "vm", verb, requests=agent) == Done(0, f"{said}\n", "")
    done = await asked(tmp_path, "vm", verb, "--force", "--json", requests=agent)
    assert (done.code, json.loads(done.out)) == (0, {"detail": said})
    assert agent.asked == [(request_name, False), (request_name, True)]


async def test_a_refusal_for_safety_is_exit_code_5(tmp_path: Path) -> None:
    agent = RecordedRequests(failing={"start": Unsafe()})
    done = await asked(tmp_path, "vm", "start", requests=agent)
    assert done == Done(ExitCode.REFUSED, "", "ovirt-he-agent: not started: host 2 owns its leases\n")


async def test_status_is_one_line_or_the_facts(tmp_path: Path) -> None:
    line = "HostedEngine b6bd28c6-cb69-431f-ad65-37efa6931f8c: elsewhere on host 2, VDSM: not here\n"
    assert await asked(tmp_path, "vm", "status") == Done(0, line, "")
    done = await asked(tmp_path, "vm", "status", "--json")
    facts = {name: DEPLOYED[name] for name in ("vm", "command", "last_end")}
    assert (done.code, json.loads(done.out)) == (0, facts)


# for all of them

ALL = [("maintenance", "global"), ("maintenance", "local"), ("vm", "start"), ("vm", "status")]


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
async def test_without_an_agent_the_exit_code_is_4(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = await command(tmp_path, *arguments)
    assert (done.code, done.out) == (ExitCode.AGENT_NOT_REACHABLE, "")
    assert "the agent does not answer on" in done.err


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
async def test_on_a_host_that_is_not_configured_it_is_3(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = await asked(tmp_path, *arguments, status={"configured": False, "reason": WHY_NOBODY})
    assert (done.code, done.out) == (ExitCode.NOT_CONFIGURED, "")
    assert WHY_NOBODY in done.err
