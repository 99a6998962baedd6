"""The daemon among hosts and people, seen from outside: its slot, maintenance, the VM by hand.

A scenario is a function; they are played on several hosts at a time, because nearly
all of each is waiting.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ovirt_he_agent.core.whiteboard import HealthWord, VmWord
from ovirt_he_agent.errors import ExitCode
from ovirt_he_agent.sim import deployment
from tests import slots
from tests.agent_process import AgentProcess
from tests.deployed_host import VM, DeployedHost
from tests.faulty_disk import FaultyDisk
from tests.slot_watch import SlotWatch
from tests.troubles import Outcomes, assert_shown, play
from tests.waiting import eventually

pytestmark = pytest.mark.real("sanlock", "openssl", "direct-io", "fuse", "curl")

Scenario = Callable[[DeployedHost], Awaitable[None]]

MIB = 1 << 20
AT_ONCE_S = 2.0
"""A word that others act on stands on the whiteboard so soon."""
PERIOD_S = 10.0
CALLS_MEANWHILE = 2000
"""More than the agent's periods give in the time that a scenario takes: a loop that does not wait."""
UNNOTICED_S = 3.0
"""Without maintenance the VM is started again in less than this."""
ON, OFF = (text.ljust(4096, b"\0") for text in (b"maintenance=1", b"maintenance=0"))


@asynccontextmanager
async def engine_up(
    host: DeployedHost, watch: SlotWatch | None = None
) -> AsyncIterator[tuple[AgentProcess, SlotWatch]]:
    """An agent whose VM's engine is good, and what its slot says."""
    async with host.watch_slot() as watch, host.agent() as agent:
        await agent.until_state("EngineUp")
        await watch.until_state("EngineUp")
        yield agent, watch


async def crash(host: DeployedHost, agent: AgentProcess) -> int:
    """Kill the VM; the agent has noticed."""
    pid = host.vm_pid()
    assert pid is not None
    ends = agent.status()["last_end"]
    os.kill(pid, signal.SIGKILL)
    await agent.until(lambda s: s["last_end"] is not None and (not ends or s["last_end"]["s_ago"] < 2))
    return pid


async def stays_down(host: DeployedHost, agent: AgentProcess) -> None:
    """For longer than any start takes that nothing stands against."""
    before = await host.vm_commands()
    await agent.until(lambda s: s["last_end"]["s_ago"] > UNNOTICED_S)
    assert host.vm_pid() is None
    assert await host.vm_commands() == before


async def is_done(host: DeployedHost, *words: str) -> str:
    code, said = await host.command(*words)
    assert code == ExitCode.DONE, said
    return said


async def is_refused(host: DeployedHost, *words: str) -> str:
    code, said = await host.command(*words)
    assert code == ExitCode.REFUSED, said
    assert said.count("\n") == 1
    return said


# its slot


async def joins_and_speaks(host: DeployedHost) -> None:
    """Not before it holds its host id; then at once when something changes, else every ten seconds."""
    host.leave_host_id()
    async with host.watch_slot() as watch, host.agent() as agent:
        await agent.until_it_waits_for("sanlock is acquiring host id 1")
        assert watch.words == []
        await eventually(host.holds_host_id)
        await watch.until(lambda word: True, within_s=5)
        up = await watch.until_state("EngineUp", within_s=20)
        assert up.slot.score > 0  # less than the base on a busy machine
        assert (up.vm, up.slot.stopped, up.slot.local_maintenance) == (VmWord.UP, False, False)

        later = await watch.until(lambda word: word is not up, within_s=PERIOD_S + AT_ONCE_S)
        assert later.at_s - up.at_s < PERIOD_S + AT_ONCE_S
        assert later.state == "EngineUp"

        await host.vdsm("Sim.guest", vmID=VM, action="bad health")
        await watch.until(
            lambda word: word.slot.engine_status and word.slot.engine_status.health is HealthWord.BAD,
            within_s=AT_ONCE_S + 1,
        )
        await host.vdsm("Sim.guest", vmID=VM, action="good health")
        await watch.until(
            lambda word: word.slot.engine_status and word.slot.engine_status.health is HealthWord.GOOD
        )
        seen = len(watch.words)
        await crash(host, agent)
        await watch.until_state("EngineUp")
        since = watch.words[seen:]
        assert any(word.vm is not VmWord.UP for word in since), [str(word) for word in since]
        assert any(word.state == "EngineStarting" for word in since)


async def outlives_its_daemon(host: DeployedHost) -> None:
    """Its last word says that it stopped; the next daemon goes on, and no word ever denies the VM."""
    async with host.watch_slot() as watch:
        async with host.agent() as agent:
            await agent.until_state("EngineUp")
            await crash(host, agent)
            await agent.until_state("EngineUp")
            await watch.until_state("EngineUp")
            generation = host.generation()
            up = len(watch.words) - 1
            agent.end()
        last = await watch.until_state("AgentStopped", within_s=AT_ONCE_S)
        assert (last.slot.stopped, last.slot.score, last.vm) == (True, 0, VmWord.UP)
        assert host.holds_host_id()
        began = time.monotonic()
        async with host.agent() as agent:
            word = await watch.until(lambda word: not word.slot.stopped)
            assert word.at_s - began < 5
            await watch.until_state("EngineUp")
            assert agent.status()["last_end"]["kind"] == "crash"
            agent.send(signal.SIGKILL)
            await eventually(lambda: not agent.is_running)
        killed = watch.last
        assert killed.state == "EngineUp"
        async with host.agent() as agent:
            status = await agent.until_state("EngineUp")
            assert status["last_end"]["kind"] == "crash"
            await watch.until(lambda word: word is not killed)
            assert host.generation() == generation
        assert [str(word) for word in watch.words[up:] if word.vm is not VmWord.UP] == []
        assert await host.vm_commands() == ["VM.create", "VM.destroy", "VM.create"]


@asynccontextmanager
async def on_faulty_disk(host: DeployedHost) -> AsyncIterator[FaultyDisk]:
    """The whiteboard is on a disk that fails when told.

    Enter it with the agent running: a process that waits for a hung disk cannot even be killed.
    """
    volume = host.whiteboard
    with volume.open("rb") as f:
        content = f.read(MIB)
    with FaultyDisk(host.root / "disk", content) as disk:
        aside = volume.rename(volume.with_name("aside"))
        volume.symlink_to(disk.path)
        try:
            yield disk
        finally:
            aside.replace(volume)


async def _is_cut_off_and_heals(
    host: DeployedHost, breaks: Callable[[FaultyDisk], None], heals: Callable[[FaultyDisk], None], says: str
) -> None:
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        async with on_faulty_disk(host) as disk, host.watch_slot(disk.backing) as watch:
            breaks(disk)
            status = await agent.until(lambda s: s["phase"] == "cut", within_s=45)
            assert says in status["reason"], status["reason"]
            assert not agent.ha_status()["active"]
            assert host.vm_pid() is not None
            assert await host.vm_commands() == ["VM.create"]
            await crash(host, agent)
            await stays_down(host, agent)
            assert agent.status()["phase"] == "cut"
            assert_shown(host, says)
            assert len(await host.vdsm("Sim.calls")) < CALLS_MEANWHILE
            heals(disk)
            await agent.until_state("EngineUp", within_s=40)
            await watch.until_state("EngineUp")
            assert await host.vm_commands() == ["VM.create", "VM.destroy", "VM.create"]


async def whiteboard_fails(host: DeployedHost) -> None:
    await _is_cut_off_and_heals(
        host, lambda disk: disk.fail(True), lambda disk: disk.fail(False), "Input/output error"
    )


async def whiteboard_hangs(host: DeployedHost) -> None:
    await _is_cut_off_and_heals(host, FaultyDisk.hang, FaultyDisk.resume, "has not returned")


async def others_write_nonsense(host: DeployedHost) -> None:
    """What stands in another host's slot concerns that host."""

    def say(number: int, text: bytes) -> None:
        deployment.write_slot(host.deployment, number, text)

    def row(status: dict[str, Any], number: int) -> dict[str, Any]:
        (found,) = (row for row in status["hosts"] if row["host_id"] == number)
        return dict(found)

    say(2, b"\xff\xfe|" * 1000)
    say(3, slots.block(slots.tokens(3, host_name="n\u00f6de")))
    say(4, slots.block(slots.tokens(4, engine='{"vm": "sideways"}')))
    say(5, slots.block(slots.tokens(5)))
    async with engine_up(host) as (agent, watch):
        pid, status = host.vm_pid(), agent.status()
        assert "slot 2 of the whiteboard (byte 8192)" in row(status, 2)["slot_problem"]
        assert row(status, 3)["name"] == "n\u00f6de"
        assert "sideways" in row(status, 4)["slot_problem"]
        say(5, slots.block(slots.tokens(5, engine=slots.UP, timestamp=1001)))
        await agent.until(lambda s: any("host 5 says that it runs the VM, too" in a for a in s["alarms"]))
        assert watch.last.state == "EngineUp"
        say(5, b"garbage")
        await agent.until(lambda s: not s["alarms"])
        assert host.vm_pid() == pid
        say(5, slots.block(slots.tokens(5, timestamp=1002)))
        await agent.until(lambda s: row(s, 5)["claims_vm"] is False)
        await crash(host, agent)
        await eventually(host.vm_pid, within_s=20)
        await watch.until_state("EngineUp")


# maintenance


async def global_maintenance(host: DeployedHost) -> None:
    """From the command and from the engine: nothing is started in it, and soon after it."""
    async with engine_up(host) as (agent, watch):
        assert await is_done(host, "maintenance", "global") == ""
        assert host.slot(0) == ON
        assert (await is_done(host, "status")).startswith("Hosted Engine HA: Global Maintenance Enabled\n")
        assert (await host.ha_stats())["globalMaintenance"] is True
        word = await watch.until_state("GlobalMaintenance", within_s=AT_ONCE_S)
        assert word.vm is VmWord.UP
        assert word.slot.score > 0

        await host.vdsm("Host.setHaMaintenanceMode", mode="GLOBAL", enabled=False)
        assert host.slot(0) == OFF
        assert (await host.ha_stats())["globalMaintenance"] is False
        await watch.until_state("EngineUp", within_s=AT_ONCE_S)
        await host.vdsm("Host.setHaMaintenanceMode", mode="global", enabled=True)
        assert host.slot(0) == ON

        killed = await crash(host, agent)
        await stays_down(host, agent)
        word = await watch.until(lambda word: word.vm is not VmWord.UP, within_s=AT_ONCE_S)
        assert word.state == "GlobalMaintenance"
        assert await is_done(host, "maintenance", "none") == ""
        assert host.slot(0) == OFF
        await eventually(lambda: host.vm_pid() not in (None, killed), within_s=10)
        await watch.until_state("EngineUp")


async def global_maintenance_is_lost(host: DeployedHost) -> None:
    """An old daemon's broker may write slot 0 late: that is told."""
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        await is_done(host, "maintenance", "global")
        deployment.set_global_maintenance(host.deployment, enabled=False)
        told = "global maintenance was set on 15 s ago and is off now: another host has changed it"
        await eventually(lambda: told in agent.log, within_s=20)
        assert agent.ha_status()["globalMaintenance"] is False


async def local_maintenance(host: DeployedHost) -> None:
    """Not with the VM here, but by the engine, which migrates it then; a daemon that starts in it ends it."""
    domain = host.deployment.domain.id

    async def is_monitored() -> bool:
        return domain in await host.vdsm("Host.getStorageRepoStats", domains=[domain])

    async def is_released() -> bool:
        return not await is_monitored()

    async with engine_up(host) as (agent, watch):
        code, said = await host.command("maintenance", "local")
        assert code == ExitCode.FAILED
        assert said == (
            "ovirt-he-agent: Unable to enter local maintenance mode: the engine VM is running on the current "
            "host, please migrate it before entering local maintenance mode.\n"
        )
        assert "local_maintenance=False\nlocal_maintenance_manual=False" in host.ha_conf.read_text()

        await host.vdsm("Host.setHaMaintenanceMode", mode="LOCAL", enabled=True)
        status = await agent.until(lambda s: s["local_maintenance"]["value"])
        assert (status["state"], status["vm"]["where"]) == ("EngineUp", "here")
        assert await is_monitored()
        assert host.vm_pid() is not None
        await host.forget_vm()  # as a migration leaves this host
        word = await watch.until_state("LocalMaintenance")
        assert (word.slot.local_maintenance, word.slot.score) == (True, 0)
        assert word.vm is not VmWord.UP
        await eventually(is_released)
        assert (await host.ha_stats())["localMaintenance"] is True
        await stays_down(host, agent)
        assert await host.vm_commands() == ["VM.create", "VM.destroy"]
        agent.end()
    async with host.watch_slot() as watch, host.agent() as agent:
        await agent.until_state("LocalMaintenance")
        assert await is_released()
        assert await is_done(host, "maintenance", "none") == ""
        await agent.until_state("EngineUp")
        await watch.until_state("EngineUp")
        assert await is_monitored()


# the VM by hand


async def vm_by_hand(host: DeployedHost) -> None:
    """In global maintenance with force, else without; a start does not wait for the pause."""
    deployment.set_global_maintenance(host.deployment, enabled=True)
    async with host.agent() as agent:
        await agent.until_state("GlobalMaintenance")
        assert "global maintenance known to be off: it is on" in await is_refused(host, "vm", "start")
        if os.geteuid() == 0:
            assert "user id 65534 may not change anything here" in await _as_nobody(agent)
        assert await host.vm_commands() == []

        await agent.until(lambda s: s["definition"].get("sha256") and s["leases"]["vm"])
        assert "the VM is being started here" in await is_done(host, "vm", "start", "--force")
        await agent.until(lambda s: s["vm"]["engine"] == "good")
        assert agent.status()["state"] == "GlobalMaintenance"
        assert ": here, VDSM: Up; engine good" in await is_done(host, "vm", "status")
        assert "the VM is on this host already" in await is_refused(host, "vm", "start", "--force")
        for verb in ("shutdown", "poweroff"):
            said = await is_refused(host, "vm", verb)
            assert "global maintenance is on; --force does it all the same" in said
        assert await host.vm_commands() == ["VM.create"]
        assert "the guest was asked to shut down" in await is_done(host, "vm", "shutdown", "--force")
        await eventually(lambda: host.vm_pid() is None)
        await agent.until(lambda s: s["last_end"])
        assert "the VM is not on this host" in await is_refused(host, "vm", "poweroff", "--force")

        await is_done(host, "maintenance", "none")
        assert "the end of the pause" in await agent.until_it_waits_for("s left after: shut down by an adm")
        assert "the VM is being started here" in await is_done(host, "vm", "start")
        await agent.until_state("EngineUp")
        assert "the VM is being powered off" in await is_done(host, "vm", "poweroff")
        await eventually(lambda: host.vm_pid() is None)
        create, clear = "VM.create", "VM.destroy"
        await agent.until(lambda s: s["vm"]["where"] == "nowhere")
        assert await host.vm_commands() == [create, "VM.shutdown", clear, create, clear]


async def _as_nobody(agent: AgentProcess) -> str:
    """What a user hears who may not change anything; he cannot reach the test's directory by its path."""
    call = {"jsonrpc": "2.0", "method": "startVm", "params": {"force": True}, "id": 1}
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--unix-socket", agent.socket.name, "http://agent/"),
        *("--data", json.dumps(call)),
        user=65534,
        cwd=agent.socket.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    message: str = json.loads(out)["error"]["message"]
    return message


SCENARIOS: tuple[Scenario, ...] = (
    whiteboard_fails,
    whiteboard_hangs,
    joins_and_speaks,
    outlives_its_daemon,
    vm_by_hand,
    global_maintenance,
    local_maintenance,
    global_maintenance_is_lost,
    others_write_nonsense,
)
"""The longest first."""
PLAYED = "test_it_joins"


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, hosts: Sequence[DeployedHost]) -> Outcomes[Scenario]:
    """Of those that this run asks for, beside each other."""
    chosen = {item.name for item in request.session.items}
    asked = [scenario for scenario in SCENARIOS if f"{PLAYED}[{scenario.__name__}]" in chosen]
    return play(hosts, asked, lambda host, scenario: scenario(host))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_it_joins(outcomes: Outcomes[Scenario], scenario: Scenario) -> None:
    problem = outcomes[scenario]
    if problem is not None:
        raise problem
