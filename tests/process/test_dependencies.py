"""VDSM and sanlock away and back, under the real daemon."""

from pathlib import Path

import pytest

from ovirt_he_agent.sim import deployment
from tests.deployed_host import VM, DeployedHost, vdsm_of_its_own
from tests.troubles import assert_shown, nothing_was_started, vm_was_started
from tests.waiting import eventually

pytestmark = pytest.mark.real("sanlock", "openssl")


async def test_a_vdsm_that_is_not_there_is_told_and_used_when_it_comes(host: DeployedHost) -> None:
    with vdsm_of_its_own(host) as vdsm:
        vdsm.kill_emulator()
        async with host.agent() as agent:
            await agent.until_it_waits_for(*away(host))
            assert_shown(host, *away(host))
            assert agent.is_ready
            vdsm.start_emulator(host.port)
            await vm_was_started(host, agent)


async def test_a_vdsm_that_is_killed_is_told_and_used_when_it_is_back(host: DeployedHost) -> None:
    deployment.set_global_maintenance(host.deployment, enabled=True)
    with vdsm_of_its_own(host) as vdsm:
        async with host.agent() as agent:
            await agent.until_it_waits_for("global maintenance", alone=True)
            await nothing_was_started(host, agent)
            vdsm.kill_emulator()
            deployment.set_global_maintenance(host.deployment, enabled=False)  # all but VDSM is good now
            await agent.until_it_waits_for(*away(host))
            assert_shown(host, *away(host))
            assert agent.is_ready
            vdsm.start_emulator(host.port)
            await vm_was_started(host, agent)
            assert agent.status()["last_end"] is None  # nothing was sent: that was no failed start


async def test_a_vm_conf_that_cannot_be_written_costs_nothing_else(host: DeployedHost) -> None:
    in_the_way = host.root / "run" / "ovirt-hosted-engine-ha" / "vm.conf"
    in_the_way.unlink(missing_ok=True)
    in_the_way.mkdir(parents=True)
    async with host.agent() as agent:
        await vm_was_started(host, agent)
        assert_shown(host, "vm-conf", f"{in_the_way}: cannot be written: Is a directory")
        in_the_way.rmdir()
        await eventually(lambda: in_the_way.is_file() and f"vmId={VM}\n" in in_the_way.read_text())


def away(host: DeployedHost) -> tuple[str, ...]:
    where = f"no session with VDSM at 127.0.0.1:{host.port}: connection refused"
    return (where, "check that vdsmd.service runs")


async def test_a_sanlock_that_is_not_there_is_told_and_used_when_it_comes(tmp_path: Path) -> None:
    with DeployedHost(tmp_path) as host:
        host.kill_sanlock()
        async with host.agent() as agent:
            says = ("lockspace hosted-engine", "sanlock does not answer", "check that sanlock.service runs")
            await agent.until_it_waits_for(*says)
            assert_shown(host, *says)
            await nothing_was_started(host, agent)
            host.start_sanlock()
            await vm_was_started(host, agent)
