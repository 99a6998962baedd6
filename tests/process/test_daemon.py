"""The daemon under its service manager: what it says, and that it ends in time in every state."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from ovirt_he_agent.errors import ExitCode
from ovirt_he_agent.sim import deployment
from tests.agent_process import AgentProcess
from tests.deployed_host import DeployedHost, free_port
from tests.troubles import cut
from tests.waiting import eventually

pytestmark = pytest.mark.real("sanlock", "openssl", "systemd")

Situation = Callable[[DeployedHost], AbstractAsyncContextManager[AgentProcess]]


async def is_fed(agent: AgentProcess) -> None:
    """The watchdog hears of work that was finished from now on."""
    before = agent.notify.count("WATCHDOG=1")
    await eventually(lambda: agent.notify.count("WATCHDOG=1") > before)


async def test_it_is_ready_and_its_finished_work_feeds_the_watchdog(host: DeployedHost) -> None:
    deployment.set_global_maintenance(host.deployment, enabled=True)
    async with host.agent() as agent:
        assert agent.notify.heard[0] == "READY=1"
        await eventually(lambda: "Global Maintenance Enabled" in agent.notify.status)
        await is_fed(agent)
        agent.end()
        await eventually(lambda: agent.notify.heard[-1] == "STOPPING=1")


async def test_an_unconfigured_daemon_is_ready_and_feeds_the_watchdog_too(host: DeployedHost) -> None:
    host.conf_file.unlink()
    async with host.agent() as agent:
        await eventually(
            lambda: agent.notify.status.startswith(f"not configured: {host.conf_file} is missing")
        )
        await is_fed(agent)
        unconfigured = {name: False for name in ("configured", "active", "globalMaintenance")}
        assert agent.ha_status() == unconfigured | {"localMaintenance": False, "score": 0}


async def test_an_unconfigured_daemon_has_nothing_to_change(host: DeployedHost) -> None:
    host.conf_file.unlink()
    async with host.agent():
        for words in (("maintenance", "global"), ("vm", "start")):
            code, said = await host.command(*words)
            assert code == ExitCode.NOT_CONFIGURED
            assert f"no agent runs for this host: {host.conf_file} is missing" in said


# SIGTERM in every state


@asynccontextmanager
async def unconfigured(host: DeployedHost) -> AsyncIterator[AgentProcess]:
    host.conf_file.unlink()
    async with host.agent() as agent:
        await agent.until_it_waits_for("is missing")
        yield agent


@asynccontextmanager
async def join_under_way(host: DeployedHost) -> AsyncIterator[AgentProcess]:
    host.leave_host_id()
    async with host.agent() as agent:
        await agent.until_it_waits_for("sanlock is acquiring host id 1")
        yield agent
    await eventually(host.holds_host_id)  # sanlock goes on without the daemon


@asynccontextmanager
async def vdsm_away(host: DeployedHost) -> AsyncIterator[AgentProcess]:
    host.configure(port=free_port())
    async with host.agent() as agent:
        await agent.until_it_waits_for("connection refused")
        yield agent


@asynccontextmanager
async def vdsm_silent(host: DeployedHost) -> AsyncIterator[AgentProcess]:
    """Its process is stopped while calls are under way."""
    cut(0)(host)
    async with host.agent() as agent:
        await agent.until_it_waits_for("no archive in it")  # so that it asks again and again
        os.kill(host.pid, signal.SIGSTOP)
        try:
            await agent.until(lambda status: status["vm"]["age_s"] > 3)
            yield agent
        finally:
            os.kill(host.pid, signal.SIGCONT)


@asynccontextmanager
async def disk_hangs(host: DeployedHost) -> AsyncIterator[AgentProcess]:
    """As on a hard NFS mount without its server: only a signal that kills ends the read."""
    volume = host.deployment.path(host.deployment.whiteboard)
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        aside = volume.rename(volume.with_name("aside"))
        try:
            os.mkfifo(volume)  # to open it is to wait for a writer
            await agent.until(whiteboard_hangs)
            yield agent
        finally:
            aside.replace(volume)


@asynccontextmanager
async def vm_runs(host: DeployedHost) -> AsyncIterator[AgentProcess]:
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        yield agent


def whiteboard_hangs(status: dict[str, Any]) -> bool:
    (component,) = (c for c in status["components"] if c["name"] == "whiteboard")
    return component["ok"] is False and "has not returned" in component["reason"]


SITUATIONS: tuple[Situation, ...] = (
    unconfigured,
    join_under_way,
    vdsm_away,
    vdsm_silent,
    disk_hangs,
    vm_runs,
)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
async def test_sigterm_ends_it_in_time(host: DeployedHost, situation: Situation) -> None:
    async with situation(host) as agent:
        agent.end(signal.SIGTERM)
        await eventually(lambda: agent.notify.count("STOPPING=1") == 1)


async def test_a_second_sigterm_changes_nothing(host: DeployedHost) -> None:
    async with vdsm_away(host) as agent:
        agent.send(signal.SIGTERM)
        await eventually(lambda: agent.notify.count("STOPPING=1") == 1)
        agent.end(signal.SIGTERM)


async def test_sigint_ends_it_as_sigterm_does(host: DeployedHost) -> None:
    async with vm_runs(host) as agent:
        pid = host.vm_pid()
        agent.end(signal.SIGINT)
        assert host.vm_pid() == pid is not None
        assert host.holds_host_id()
