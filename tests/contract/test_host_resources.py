"""What VDSM tells of this host and of a VM's CPU: the emulator over the wire, kept by ``Resources``."""

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from ovirt_he_agent.adapters.monitors import cpu, network
from ovirt_he_agent.adapters.vdsm import verbs
from ovirt_he_agent.adapters.vdsm.endpoint import Endpoint
from ovirt_he_agent.agent import ports, resources
from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import MonotonicMs
from tests.emulated_host import EmulatedHost
from tests.raw_stomp import RawClient
from tests.waiting import eventually

VM = "5fa1c0de-0000-4000-8000-00000000beef"
XML = f"<domain><uuid>{VM}</uuid><name>one</name><memory>1</memory><vcpu>1</vcpu><devices/></domain>"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedHost]:
    with EmulatedHost(tmp_path_factory.mktemp("h"), sanlock=False) as running:
        yield running


@pytest.fixture
async def vdsm(host: EmulatedHost) -> AsyncIterator[verbs.Vdsm]:
    async with verbs.Vdsm(Endpoint(host="127.0.0.1", port=host.port, tls=None)) as client:
        yield client


@pytest.fixture
async def control(host: EmulatedHost) -> AsyncIterator[RawClient]:
    async with RawClient(host.port) as client:
        await client.hello()
        yield client
        await client.call("Sim.heal")


@pytest.fixture
def kept(vdsm: verbs.Vdsm) -> resources.Resources:
    statistics: ports.Statistics = vdsm
    monitor = network.Network(model.NetworkTest(kind=model.NetworkTestKind.NONE))
    return resources.Resources(monitor, statistics, cpu.Cpu(), vm_id=VM, bridge="ovirtmgmt", clock=clock)


def clock() -> MonotonicMs:
    return MonotonicMs(int(time.monotonic() * 1000))


async def test_the_bridge_and_the_memory_of_the_host_are_read(kept: resources.Resources) -> None:
    await kept.look_at_host()
    assert kept.bridge_up.value is True
    assert kept.memory_free_mib.value is not None
    assert kept.memory_free_mib.value > 0


async def test_a_bridge_that_goes_down_and_memory_that_goes_are_seen(
    control: RawClient, kept: resources.Resources
) -> None:
    await kept.look_at_host()
    await control.call("Sim.stats", values={"memFree": 123, "network": {"ovirtmgmt": {"state": "down"}}})
    await kept.look_at_host()
    assert (kept.bridge_up.value, kept.memory_free_mib.value) == (False, 123)
    await control.call("Sim.heal")
    await kept.look_at_host()
    assert kept.bridge_up.value is True


async def test_a_call_that_fails_lets_the_reading_age(control: RawClient, kept: resources.Resources) -> None:
    await kept.look_at_host()
    await control.call("Sim.fail", method="Host.getStats", code=100)
    with pytest.raises(Exception, match="made up"):
        await kept.look_at_host()
    assert kept.bridge_up.value is True
    assert "made up" in str(kept.bridge_up.problem)


async def test_a_vm_that_is_not_here_takes_nothing(vdsm: verbs.Vdsm) -> None:
    assert await vdsm.vm_cpu(VM) is None


async def test_a_running_vm_has_figures_that_become_real_and_none_when_it_is_down(
    vdsm: verbs.Vdsm, control: RawClient
) -> None:
    await vdsm.create_vm(VM, XML)
    try:
        first = await vdsm.vm_cpu(VM)
        assert first is not None
        assert not first.is_real

        async def real() -> bool:
            seen = await vdsm.vm_cpu(VM)
            return seen is not None and seen.is_real and seen.percent is not None and seen.percent >= 0.0

        await eventually(real)
        await control.call("Sim.guest", vmID=VM, action="crash")

        async def down() -> bool:
            return await vdsm.vm_cpu(VM) is None

        await eventually(down)
        assert await vdsm.vm_report(VM) is not None
    finally:
        await vdsm.destroy_vm(VM)


async def test_the_cpu_is_measured_with_the_real_counters(kept: resources.Resources) -> None:
    await kept.look_at_cpu()
    assert kept.cpu_load.value is None
    assert kept.cpu_load.problem is None
