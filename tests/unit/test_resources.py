"""Who keeps the readings behind the score: each look renews, ages or says why it could not."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from ovirt_he_agent.agent import resources
from ovirt_he_agent.core import load, model, snapshot
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.core.snapshot import Evidence
from ovirt_he_agent.errors import Retryable

VM_ID = "5fa1c0de-0000-4000-8000-00000000beef"


class Away(Retryable):
    msg: ClassVar[str] = "it is away"


@dataclass
class World:
    """Network, VDSM and counters, as told; what is not there fails."""

    now: MonotonicMs = field(default=MonotonicMs(1_000))
    answers: model.NetworkAnswers | None = None
    network_up: Mapping[str, bool] | None = field(default_factory=lambda: {"ovirtmgmt": True})
    mem_free_mib: int | None = 4096
    vdsm_is_there: bool = True
    vm: model.VmCpu | None = None
    ticks: int = 0
    busy: int = 0
    asked_vdsm: list[str] = field(default_factory=list)

    def clock(self) -> MonotonicMs:
        return self.now

    async def test(self) -> model.NetworkAnswers:
        if self.answers is None:
            raise Away
        return self.answers

    async def host_stats(self) -> model.HostStats:
        self._ask("host_stats")
        return model.HostStats(
            mem_free_mib=self.mem_free_mib, cpu_load=None, network_up=self.network_up, ha=None, ha_score=None
        )

    async def vm_cpu(self, vm_id: str) -> model.VmCpu | None:
        assert vm_id == VM_ID
        self._ask("vm_cpu")
        return self.vm

    def _ask(self, verb: str) -> None:
        self.asked_vdsm.append(verb)
        if not self.vdsm_is_there:
            raise Away

    def read(self) -> load.CpuTimes:
        return load.CpuTimes(busy=self.busy, total=self.ticks, cpus=4)

    def passes(self, seconds: int, busy: float = 0.0) -> None:
        self.now = MonotonicMs(self.now + seconds * 1000)
        self.ticks += seconds * 400
        self.busy += round(seconds * 400 * busy)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kept(world: World) -> resources.Resources:
    return resources.Resources(world, world, world, vm_id=VM_ID, bridge="ovirtmgmt", clock=world.clock)


def answers(answered: int, reason: str = "") -> model.NetworkAnswers:
    return model.NetworkAnswers(answered=answered, asked=5, reason=reason)


def test_nothing_is_known_before_the_first_look(kept: resources.Resources) -> None:
    assert kept.network == kept.bridge_up == kept.memory_free_mib == kept.cpu_load == Evidence()


async def test_the_network_is_the_share_of_the_answers_and_a_change_is_logged(
    world: World, kept: resources.Resources, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for seen in (answers(5), answers(1, "no answer"), answers(1, "no answer"), answers(5)):
        world.answers = seen
        await kept.look_at_network()
        assert (kept.network, kept.network_reason) == (Evidence(seen.share, world.now), seen.reason)
    assert [record.getMessage() for record in caplog.records] == [
        "network test: 1 of 5 probes answered: no answer",
        "network test: 5 of 5 probes answered",
    ]


async def test_a_test_that_cannot_be_made_lets_the_last_one_age(
    world: World, kept: resources.Resources
) -> None:
    world.answers = answers(4)
    await kept.look_at_network()
    world.answers = None
    world.passes(30)
    with pytest.raises(Away):
        await kept.look_at_network()
    assert kept.network == Evidence(0.8, MonotonicMs(1_000), "it is away")
    assert kept.network.known(world.now, snapshot.NETWORK_LIMIT_MS) == 0.8


async def test_bridge_and_memory_are_vdsms(world: World, kept: resources.Resources) -> None:
    await kept.look_at_host()
    assert kept.bridge_up == Evidence(True, world.now)
    assert kept.memory_free_mib == Evidence(4096, world.now)


@pytest.mark.parametrize("network_up", [{}, {"other": True}, {"ovirtmgmt": False}])
async def test_a_bridge_that_is_not_there_is_not_up(
    world: World, kept: resources.Resources, network_up: dict[str, bool], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.network_up = network_up
    await kept.look_at_host()
    await kept.look_at_host()
    assert kept.bridge_up.value is False
    assert [r.getMessage() for r in caplog.records] == ["bridge ovirtmgmt of the management network: not up"]


async def test_what_vdsm_leaves_out_is_unknown_and_the_rest_is_taken(
    world: World, kept: resources.Resources
) -> None:
    world.network_up = None
    with pytest.raises(resources.NotTold, match="lacks network;"):
        await kept.look_at_host()
    assert kept.bridge_up.value is None
    assert kept.bridge_up.problem is not None
    assert kept.memory_free_mib.value == 4096
    world.mem_free_mib = None
    with pytest.raises(resources.NotTold, match="lacks network and memFree;"):
        await kept.look_at_host()
    assert kept.memory_free_mib.value == 4096
    assert "lacks memFree" in str(kept.memory_free_mib.problem)


async def test_without_vdsm_bridge_and_memory_age(world: World, kept: resources.Resources) -> None:
    await kept.look_at_host()
    world.vdsm_is_there = False
    with pytest.raises(Away):
        await kept.look_at_host()
    assert kept.bridge_up == Evidence(True, world.now, "it is away")
    assert kept.memory_free_mib == Evidence(4096, world.now, "it is away")


async def test_the_cpu_load_is_known_after_the_third_look(world: World, kept: resources.Resources) -> None:
    world.vm = model.VmCpu(percent=100.0, is_real=True)
    await kept.look_at_cpu()
    world.passes(10, busy=0.75)
    await kept.look_at_cpu()
    assert kept.cpu_load == Evidence()
    world.passes(10, busy=0.1)
    await kept.look_at_cpu()
    assert kept.cpu_load == Evidence(0.5, world.now)
    assert world.asked_vdsm == ["vm_cpu"] * 2


async def test_vdsm_is_asked_for_the_vms_share_once_a_minute(world: World, kept: resources.Resources) -> None:
    for _ in range(31):
        await kept.look_at_cpu()
        world.passes(10, busy=0.3)
    assert world.asked_vdsm == ["vm_cpu"] * 6  # at 0, 10, 70, 130, 190, 250 s
    assert kept.cpu_load.value == pytest.approx(0.3)


async def test_without_vdsm_the_load_ages_and_the_next_measurement_spans_the_gap(
    world: World, kept: resources.Resources
) -> None:
    for _ in range(3):
        await kept.look_at_cpu()
        world.passes(10, busy=0.2)
    known_at = kept.cpu_load.at
    world.vdsm_is_there = False
    world.passes(60, busy=0.6)
    with pytest.raises(Away):
        await kept.look_at_cpu()
    assert kept.cpu_load == Evidence(kept.cpu_load.value, known_at, "it is away")
    world.vdsm_is_there = True
    await kept.look_at_cpu()
    assert kept.cpu_load.problem is None
    assert kept.cpu_load.at == world.now
