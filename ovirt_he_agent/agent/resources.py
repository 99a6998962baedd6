"""What this host has for the engine VM, as the score needs it: network, bridge, memory, CPU.

Each ``look_at_`` is the work of one component. A look that fails lets the old
reading go on ageing, says why in it, and raises.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ovirt_he_agent.agent import ports
from ovirt_he_agent.core import load, model
from ovirt_he_agent.core.snapshot import Evidence
from ovirt_he_agent.errors import HeAgentError, Retryable

NETWORK_PERIOD_S = 10.0
"""Between the end of one test and the begin of the next."""
HOST_PERIOD_S = 10.0
CPU_PERIOD_S = 20.0
"""Of the looks; a measurement is due once a minute."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class NotTold(Retryable):
    lacking: str
    msg: ClassVar[str] = "VDSM's answer to Host.getStats lacks {self.lacking}; see vdsm.log of this host"


class Resources:
    """The readings; their limits are ``core.snapshot``'s."""

    def __init__(
        self,
        network: ports.Network,
        statistics: ports.Statistics,
        counters: ports.CpuCounters,
        *,
        vm_id: str,
        bridge: str,
        clock: Callable[[], model.MonotonicMs],
    ) -> None:
        self._network = network
        self._statistics = statistics
        self._counters = counters
        self._vm_id = vm_id
        self._bridge = bridge
        self._clock = clock
        self._load = load.Load()
        self.network: Evidence[float] = Evidence()
        """Share of the probes of the last test that were answered."""
        self.network_reason = ""
        """For people: how the others failed; empty if none did."""
        self.bridge_up: Evidence[bool] = Evidence()
        self.memory_free_mib: Evidence[int] = Evidence()
        self.cpu_load: Evidence[float] = Evidence()
        """Average share of all CPU time, without the VM's."""

    async def look_at_network(self) -> None:
        try:
            answers = await self._network.test()
        except HeAgentError as e:
            self.network = self.network.failed(str(e))
            raise
        if answers.share != (1.0 if self.network.value is None else self.network.value):
            told = f": {answers.reason}" if answers.reason else ""
            log.info("network test: %d of %d probes answered%s", answers.answered, answers.asked, told)
        self.network = self.network.renewed(answers.share, self._clock())
        self.network_reason = answers.reason

    async def look_at_host(self) -> None:
        """The management network's bridge and the free memory."""
        try:
            stats = await self._statistics.host_stats()
        except HeAgentError as e:
            self.bridge_up = self.bridge_up.failed(str(e))
            self.memory_free_mib = self.memory_free_mib.failed(str(e))
            raise
        lacking = []
        if stats.network_up is None:
            lacking.append("network")
            self.bridge_up = self.bridge_up.failed(str(NotTold("network")))
        else:
            self._note_bridge(stats.network_up.get(self._bridge, False))
        if stats.mem_free_mib is None:
            lacking.append("memFree")
            self.memory_free_mib = self.memory_free_mib.failed(str(NotTold("memFree")))
        else:
            self.memory_free_mib = self.memory_free_mib.renewed(stats.mem_free_mib, self._clock())
        if lacking:
            raise NotTold(" and ".join(lacking))

    def _note_bridge(self, is_up: bool) -> None:
        if is_up != (self.bridge_up.value is not False):
            log.info("bridge %s of the management network: %s", self._bridge, "up" if is_up else "not up")
        self.bridge_up = self.bridge_up.renewed(is_up, self._clock())

    async def look_at_cpu(self) -> None:
        try:
            if self._load.due(self._clock()):
                vm = await self._statistics.vm_cpu(self._vm_id)
                self._load = self._load.measured(self._counters.read(), vm, self._clock())
        except HeAgentError as e:
            self.cpu_load = self.cpu_load.failed(str(e))
            raise
        now = self._clock()
        self._load = self._load.noted(now)
        if (average := self._load.average) is not None:
            self.cpu_load = self.cpu_load.renewed(average, now)
