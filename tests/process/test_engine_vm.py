"""The engine VM under the real daemon: it outlives the daemon, and comes back when it ends."""

import os
import signal
from dataclasses import replace

import pytest

from ovirt_he_agent.sim import deployment
from tests.deployed_host import VM, DeployedHost
from tests.waiting import eventually

pytestmark = pytest.mark.real("sanlock", "openssl")


async def test_the_vm_outlives_the_daemon_and_the_next_one_finds_it(host: DeployedHost) -> None:
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        pid, generation = host.vm_pid(), host.generation()
        agent.end()
    assert host.vm_pid() == pid is not None
    assert host.holds_vm_lease()
    assert host.holds_host_id()
    async with host.agent() as agent:
        status = await agent.until_state("EngineUp")
        assert status["leases"]["host_id"]["held"]
        assert host.generation() == generation  # no second join
        assert host.vm_pid() == pid
        assert await host.vm_commands() == ["VM.create"]


async def test_a_killed_vm_is_started_again(host: DeployedHost) -> None:
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        first = host.vm_pid()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        second = await eventually(lambda: (pid := host.vm_pid()) != first and pid)
        status = await agent.until_state("EngineUp")
        assert status["last_end"]["detail"] == "Lost connection with qemu process"
        assert host.vm_pid() == second
        assert host.holds_vm_lease()
        assert agent.is_ready


async def test_a_guest_that_reboots_is_started_again(host: DeployedHost) -> None:
    """VDSM ends the engine VM at a reboot, so that it starts with the newest definition."""
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        first = host.vm_pid()
        await host.vdsm("Sim.guest", vmID=VM, action="reboot")
        await eventually(lambda: (pid := host.vm_pid()) != first and pid)
        status = await agent.until_state("EngineUp")
        assert status["last_end"]["detail"] == "Down as a part of the reboot process"
        assert await host.vm_commands() == ["VM.create", "VM.destroy", "VM.create"]


async def test_an_engine_in_bad_health_is_shown_and_left_alone(host: DeployedHost) -> None:
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        pid = host.vm_pid()
        await host.vdsm("Sim.guest", vmID=VM, action="bad health")
        status = await agent.until_state("EngineUpBadHealth", within_s=30)
        assert (status["vm"]["engine"], status["vm"]["status"]) == ("db-down", "Up")
        assert agent.ha_status()["active"]
        await host.vdsm("Sim.guest", vmID=VM, action="good health")
        await agent.until_state("EngineUp")
        assert host.vm_pid() == pid
        assert await host.vm_commands() == ["VM.create"]


async def test_an_edited_definition_is_shown_and_the_running_vm_left_alone(host: DeployedHost) -> None:
    async with host.agent() as agent:
        before = await agent.until_state("EngineUp")
        assert before["definition"]["generation"] == deployment.TWO_STORES[1].generation
        pid = host.vm_pid()
        for number, content in enumerate(deployment.TWO_STORES):
            host.write_store(
                number, replace(content, generation=13, changes={"<Comment>": "<Comment>edited"})
            )
        after = await agent.until(lambda status: status["definition"]["generation"] == 13)
        assert after["definition"]["sha256"] != before["definition"]["sha256"]
        assert (after["state"], host.vm_pid()) == ("EngineUp", pid)
        assert await host.vm_commands() == ["VM.create"]


async def test_a_changed_hosted_engine_conf_is_taken_up_and_the_vm_left_alone(host: DeployedHost) -> None:
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        pid = host.vm_pid()
        host.change_conf(host_id="none")
        await agent.until(lambda status: not status["configured"] and "host_id" in status["reason"])
        host.change_conf(gateway="127.0.0.2")
        await agent.until_state("EngineUp")
        assert host.vm_pid() == pid
        assert agent.is_ready
        assert await host.vm_commands() == ["VM.create"]
