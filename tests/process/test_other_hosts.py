"""What other hosts hold or say forbids a start, under the real daemon and real sanlock."""

from pathlib import Path

import pytest

from ovirt_he_agent.sim import deployment
from tests import slots
from tests.deployed_host import AnotherSanlock, ContestedHost, DeployedHost
from tests.troubles import assert_shown, nothing_was_started, vm_was_started

pytestmark = pytest.mark.real("sanlock", "openssl")


async def test_a_lease_of_the_vm_that_another_host_owns_forbids_a_start(
    host: DeployedHost, tmp_path: Path
) -> None:
    with AnotherSanlock(tmp_path, host.deployment) as another:
        another.join(host.deployment.domain.lockspace, 2)
        another.hold_vm_lease()
        async with host.agent() as agent:
            says = f"lease of volume {deployment.VM_DISK.volume_id} is owned by host 2"
            await agent.until_it_waits_for(says, alone=True)
            assert_shown(host, says)
            vm = agent.status()["vm"]
            assert (vm["where"], vm["where_host_id"]) == ("elsewhere", 2)
            await nothing_was_started(host, agent)
            another.let_vm_lease_go()
            await vm_was_started(host, agent)


async def test_a_host_that_says_that_it_runs_the_vm_is_believed(host: DeployedHost) -> None:
    def say(timestamp: int, engine: str) -> None:
        text = slots.tokens(2, timestamp=timestamp, engine=engine)
        deployment.write_slot(host.deployment, 2, slots.block(text))

    say(1000, slots.UP)
    async with host.agent() as agent:
        host_2 = "host 2 (node-b.example.org)"
        await agent.until_it_waits_for(host_2, "has an old claim", "seen free for 20 s", alone=True)
        say(1010, slots.UP)
        await agent.until_it_waits_for(host_2, "says that it runs it", alone=True)
        assert_shown(host, host_2, "says that it runs it")
        await nothing_was_started(host, agent)
        say(1020, slots.DOWN)
        await vm_was_started(host, agent)


@pytest.mark.timeout(150)
async def test_a_host_id_that_another_host_holds_is_told_and_got_when_it_is_free(
    contested_host: ContestedHost,
) -> None:
    """sanlock takes 68 s to refuse it: beside the other tests, of which this is the last."""
    host, agent = contested_host.host, contested_host.agent
    assert "sanlock is acquiring host id 1" in contested_host.told_first
    assert "check host_id in hosted-engine.conf" in contested_host.told_first
    refused = ("did not get host id 1 in lockspace hosted-engine", "another live host", "check host_id")
    await agent.until_it_waits_for(*refused, within_s=100, alone=True)
    assert_shown(host, *refused)
    await nothing_was_started(host, agent)
    contested_host.other.leave(host.deployment.ha_lockspace(), 1)
    host.sanlock("rem_lockspace", "-s", host.host_id_lease)  # ends the try that is under way
    await vm_was_started(host, agent)
    agent.end()
    await host.forget_vm()
