"""A cluster in memory for hosts with the old daemons: clock, whiteboard, host ids, one VM lease."""

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping

from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import ExitReason, Membership, VmReport, VmStatus
from ovirt_he_agent.sim.cluster.upstream import slots
from ovirt_he_agent.sim.cluster.upstream.host import UpstreamHost
from ovirt_he_agent.sim.cluster.upstream.surroundings import Refused, StorageAway, VdsmAway

VM_ID = "b6bd28c6-cb69-431f-ad65-37efa6931f8c"
JOIN_MS = 20_000
BOOT_MS = 60_000


class Event:
    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None


class Clock:
    def __init__(self) -> None:
        self._now_ms = 0
        self._order: Iterator[int] = itertools.count()
        self._queue: list[tuple[int, int, Event]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def at(self, ms: int, act: Callable[[], None]) -> Event:
        event = Event(act)
        heapq.heappush(self._queue, (ms, next(self._order), event))
        return event

    def run(self, until_s: float) -> None:
        until_ms = int(until_s * 1000)
        while self._queue and self._queue[0][0] <= until_ms:
            self._now_ms, _, event = heapq.heappop(self._queue)
            if event.act is not None:
                event.act()
        self._now_ms = until_ms


class Cluster:
    """What the hosts share."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.slots: dict[int, bytes] = {}
        self.vm_owner: int | None = None
        self.hosts: dict[int, FakeHost] = {}
        self.log: list[tuple[float, int, str]] = []

    def host(self, host_id: int, *, loop_extra_ms: int = 50, uptime_ms: int = 1_000_000_000) -> "FakeHost":
        self.hosts[host_id] = FakeHost(self, host_id, loop_extra_ms, uptime_ms)
        return self.hosts[host_id]

    def run(self, until_s: float) -> None:
        self.clock.run(until_s)

    def times(self, text: str, host_id: int | None = None) -> list[float]:
        """When something was said that contains ``text``."""
        return [at for at, who, said in self.log if text in said and host_id in (None, who)]

    def record(self, host_id: int) -> slots.Record:
        record = slots.parse(host_id, self.slots[host_id].decode()).record
        assert record is not None
        return record


class FakeHost:
    def __init__(self, cluster: Cluster, host_id: int, loop_extra_ms: int, uptime_ms: int) -> None:
        self.cluster = cluster
        self.host_id = host_id
        self.host_name = f"node-{host_id}.example.org"
        self.vm_id = VM_ID
        self.memory_mib = 4096
        self.report: VmReport | None = None
        self.vdsm = True
        self.refuses = False
        self.storage = True
        self.lease = Membership.NOT_HELD
        self.domain = Membership.HELD
        self.good = True
        self.net = 1.0
        self.bridge = True
        self.load = 0.1
        self.free_mib = 64_000
        self.in_maintenance = False
        self.definition = True
        self.dies_at_start = False
        self.creates: list[float] = []
        self.writes: list[tuple[float, int]] = []
        self.daemons = UpstreamHost(
            cluster.clock, self, loop_extra_ms=loop_extra_ms, uptime_ms=uptime_ms, said=self._said
        )

    def _said(self, text: str) -> None:
        self.cluster.log.append((self.now_s, self.host_id, text))

    @property
    def now_s(self) -> float:
        return self.cluster.clock.now_ms() / 1000

    def _vdsm(self) -> None:
        if not self.vdsm:
            raise VdsmAway
        if self.refuses:
            raise Refused

    # --- the VM

    def set_vm(self, status: VmStatus, **facts: ExitReason | str | None) -> None:
        """A new status, told by an event."""
        self.report = VmReport(
            vm_id=VM_ID,
            status=status,
            status_text=status.value,
            event_time=self.cluster.clock.now_ms(),
            **facts,  # type: ignore[arg-type]
        )
        if status is VmStatus.DOWN and self.cluster.vm_owner == self.host_id:
            self.cluster.vm_owner = None
        if self.vdsm:
            self.daemons.vm_event(self.report)

    def run_vm(self) -> None:
        """As started a while ago, by somebody."""
        self.cluster.vm_owner = self.host_id
        self.set_vm(VmStatus.UP)

    def vm_stats(self) -> model.VmReport | None:
        self._vdsm()
        if self.report is None:
            return None
        return VmReport(
            vm_id=VM_ID,
            status=self.report.status,
            status_text=self.report.status_text,
            event_time=self.cluster.clock.now_ms(),
            exit_reason=self.report.exit_reason,
            exit_message=self.report.exit_message,
        )

    def create_vm(self) -> None:
        self._vdsm()
        self.creates.append(self.now_s)
        self.set_vm(VmStatus.WAIT_FOR_LAUNCH)
        self.cluster.clock.at(self.cluster.clock.now_ms() + 500, self._launch)

    def refuse_vm(self) -> None:
        self.creates.append(self.now_s)
        raise Refused

    def _launch(self) -> None:
        if self.cluster.vm_owner not in (None, self.host_id):
            self.set_vm(VmStatus.DOWN, exit_message="internal error: Failed to acquire lock: error -243")
        elif self.dies_at_start:
            self.set_vm(VmStatus.DOWN, exit_reason=ExitReason.LOST_QEMU, exit_message="Lost connection")
        else:
            self.cluster.vm_owner = self.host_id
            self.set_vm(VmStatus.POWERING_UP)
            self.cluster.clock.at(self.cluster.clock.now_ms() + BOOT_MS, self._boot)

    def _boot(self) -> None:
        if self.report is not None and self.report.status is VmStatus.POWERING_UP:
            self.set_vm(VmStatus.UP)

    def shutdown_vm(self, delay_s: int) -> None:
        self._vdsm()
        assert delay_s == 120
        self.set_vm(VmStatus.DOWN, exit_reason=ExitReason.USER_SHUTDOWN)

    def destroy_vm(self) -> None:
        self._vdsm()
        self.report = None
        if self.cluster.vm_owner == self.host_id:
            self.cluster.vm_owner = None

    # --- storage

    def read_slots(self) -> Mapping[int, bytes]:
        if not self.storage:
            raise StorageAway
        return dict(self.cluster.slots)

    def write_slot(self, number: int, block: bytes) -> None:
        if not self.storage:
            raise StorageAway
        assert len(block) == 4096
        self.writes.append((self.now_s, number))
        self.cluster.slots[number] = block

    def ha_lease(self) -> Membership:
        return self.lease

    def join_ha(self) -> None:
        self.lease = Membership.IN_TRANSITION
        self.cluster.clock.at(self.cluster.clock.now_ms() + JOIN_MS, self._joined)

    def _joined(self) -> None:
        self.lease = Membership.HELD if self.storage else Membership.NOT_HELD

    def leave_ha(self) -> None:
        self.lease = Membership.NOT_HELD

    def domain_lease(self) -> Membership:
        self._vdsm()
        return self.domain

    def monitor_domain(self, on: bool) -> None:
        self._vdsm()
        self.domain = Membership.HELD if on else Membership.NOT_HELD

    # --- the rest

    def page_good(self) -> bool:
        return self.good

    def network(self) -> float:
        return self.net

    def bridge_up(self) -> bool:
        self._vdsm()
        return self.bridge

    def cpu_load(self) -> float:
        return self.load

    def memory_free_mib(self) -> int:
        self._vdsm()
        return self.free_mib

    def local_maintenance(self) -> bool:
        return self.in_maintenance

    def definition_ok(self) -> bool:
        return self.definition
