"""The definition is never lost: torn stores, restarts, edits that do not start, engines from a backup."""

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ovirt_he_agent.sim import deployment
from tests.agent_process import AgentProcess
from tests.deployed_host import VM, DeployedHost
from tests.troubles import Outcomes, assert_shown, cut, play
from tests.waiting import eventually

pytestmark = pytest.mark.real("sanlock", "openssl")

Scenario = Callable[[DeployedHost], Awaitable[None]]
NOW = deployment.TWO_STORES[1].generation


def edited(host: DeployedHost, generation: int) -> None:
    """The engine saves the VM, with more memory."""
    for number, content in enumerate(deployment.TWO_STORES):
        host.write_store(
            number, replace(content, generation=generation, changes={"<Comment>": f"<Comment>{generation}"})
        )


def kill_vm(host: DeployedHost) -> int:
    pid = host.vm_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


async def restarted(host: DeployedHost, agent: AgentProcess, killed: int) -> dict[str, Any]:
    await eventually(lambda: (pid := host.vm_pid()) is not None and pid != killed, within_s=40)
    return await agent.until_state("EngineUp")


async def codes(host: DeployedHost) -> list[int | None]:
    return [call["code"] for call in await host.calls("VM.create")]


async def torn_store(host: DeployedHost) -> None:
    """The last good definition is used, by the daemon that read it and by the next one."""
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        cut(3000)(host)
        status = await agent.until(lambda s: s["definition"]["chosen"] == "last good")
        assert "past the end at byte 3000" in status["definition"]["chosen_because"]
        status = await restarted(host, agent, kill_vm(host))
        assert status["definition"]["running"]["generation"] == NOW
        assert_shown(host, "LAST GOOD, kept", "past the end at byte 3000")
        agent.end()
        assert agent.log.count("last good: definition 1 (generation 12") == 1
    killed = kill_vm(host)
    async with host.agent() as agent:
        status = await restarted(host, agent, killed)
        definition = status["definition"]
        assert (definition["chosen"], definition["generation"]) == ("last good", NOW)
        assert definition["kept_s_ago"] >= 0
        host.restore_stores()
        await agent.until(lambda s: s["definition"]["chosen"] == "store")
    assert await codes(host) == [None, None, None]


async def edit_that_does_not_start(host: DeployedHost) -> None:
    """The definition before it is used again, and the store goes on being watched."""
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        await eventually(lambda: is_marked(host, 1), within_s=20)
        edited(host, NOW + 1)
        status = await agent.until(lambda s: s["definition"]["pending"])
        assert status["definition"]["generation"] == NOW + 1
        assert status["definition"]["running"]["generation"] == NOW
        assert_shown(host, "pending until next start", f"runs from generation {NOW}")
        vm_conf = host.root / "run" / "ovirt-hosted-engine-ha" / "vm.conf"
        await eventually(lambda: f"\n# OVF generation {NOW + 1}, " in vm_conf.read_text())
        code, out = await host.command("ovf", "diff")
        assert (code, f"generation: {NOW} -> {NOW + 1}" in out) == (1, True), out
        await host.vdsm("Sim.fail", method="VM.create", code=9, message="made up", count=2)
        status = await restarted(host, agent, kill_vm(host))
        definition = status["definition"]
        assert (definition["chosen"], definition["generation"]) == ("fell back", NOW)
        assert await codes(host) == [None, 9, 9, None]
        assert_shown(host, "FELL BACK", "failed to start 2 times")
        assert "fell back: definition 1" in agent.log
        edited(host, NOW + 2)
        await agent.until(lambda s: s["definition"]["generation"] == NOW + 2 and s["definition"]["pending"])


async def engine_from_a_backup(host: DeployedHost) -> None:
    """Its lower generation is taken when an operator accepts it, not by itself; restarts forget nothing."""
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        edited(host, 5)
        status = await agent.until(lambda s: s["definition"]["chosen"] == "last good")
        assert "ovf restore 2" in status["definition"]["chosen_because"]
        assert status["definition"]["generation"] == NOW
        agent.end()
    code, out = await host.command("ovf", "restore", "2")
    assert (code, "definition 2 (generation 5) is used" in out) == (0, True)
    pid = host.vm_pid()
    async with host.agent() as agent:
        status = await agent.until(lambda s: s.get("definition", {}).get("generation") == 5)
        assert status["definition"]["running"]["generation"] == NOW
        await agent.until(lambda s: s["definition"]["pending"])
        edited(host, 6)
        await agent.until(lambda s: s["definition"]["generation"] == 6)
        assert host.vm_pid() == pid is not None
    _, out = await host.command("ovf", "history", "--json", "--vm", VM)
    assert '"generation": 6' in out


def is_marked(host: DeployedHost, number: int) -> bool:
    text = (host.state_dir / "definitions" / VM / f"{number:06}.definition").read_text()
    return '"started": 1,' in text


SCENARIOS: tuple[Scenario, ...] = (edit_that_does_not_start, torn_store, engine_from_a_backup)
PLAYED = "test_the_definition_is_not_lost"


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, hosts: Sequence[DeployedHost]) -> Outcomes[Scenario]:
    """Of those that this run asks for, beside each other."""
    chosen = {item.name for item in request.session.items}
    asked = [scenario for scenario in SCENARIOS if f"{PLAYED}[{scenario.__name__}]" in chosen]
    return play(hosts, asked, lambda host, scenario: scenario(host))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_definition_is_not_lost(outcomes: Outcomes[Scenario], scenario: Scenario) -> None:
    problem = outcomes[scenario]
    if problem is not None:
        raise problem
