"""Upstream's daemons on a simulated host: what they see of it, for the model of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ovirt_he_agent.core import model
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.sim.cluster import timeline, vdsm
from ovirt_he_agent.sim.cluster.upstream.host import UpstreamHost
from ovirt_he_agent.sim.cluster.upstream.surroundings import Refused, StorageAway, VdsmAway

if TYPE_CHECKING:
    from ovirt_he_agent.sim.cluster.host import SimHost

HA_LOCKSPACE = "hosted-engine"
_PHASES = {phase.published: phase.value for phase in Phase if phase.published is not None} | {
    "StartState": Phase.INIT.value,
    "EngineStart": Phase.STARTING.value,
    "EngineMigratingAway": Phase.AWAY.value,
}


class Neighbour:
    """Implements the model's ``Surroundings``."""

    def __init__(self, host: "SimHost") -> None:
        self._host = host
        self._world = host.world
        self.host_id = host.host_id
        self.host_name = host.name
        self.vm_id = host.world.vm_id
        self.memory_mib = host.world.memory_mib
        self._daemons: UpstreamHost | None = None

    @property
    def state(self) -> str:
        return self._daemons.state if self._daemons is not None else ""

    def start(self) -> None:
        if self._daemons is None:
            self._daemons = UpstreamHost(
                self._world.loop,
                self,
                loop_extra_ms=10 + self._host.random.randrange(150),
                uptime_ms=self._host.uptime_ms - self._host.booted_ms + 10_000_000,
                said=self._said,
            )
        self._daemons.start()

    def stop(self) -> None:
        if self._daemons is not None:
            self._daemons.stop()

    def kill(self) -> None:
        if self._daemons is not None:
            self._daemons.kill()
            self._daemons = None

    def vm_event(self, report: model.VmReport) -> None:
        if self._daemons is not None:
            self._daemons.vm_event(report)

    def set_global(self, on: bool) -> None:
        if self._daemons is not None:
            self._daemons.set_global_maintenance(on)

    def _said(self, text: str) -> None:
        self._host.say(text)
        self._world.loop.at(
            self._world.loop.now_ms(), self._note
        )  # it is in its new state when it has said so

    def _note(self) -> None:
        if self._host.powered:
            self._host.note(_PHASES.get(self.state, self.state) if self.state else timeline.NO_AGENT)

    # Surroundings

    def vm_stats(self) -> model.VmReport | None:
        self._answers()
        report = self._host.vdsm.record
        if report is None:
            return None
        return _as_of(report, self._host.vdsm_clock())

    def _answers(self) -> None:
        if not self._host.vdsm.up:
            raise VdsmAway
        if self._host.vdsm.recovering:
            raise Refused

    def create_vm(self) -> None:
        self._answers()
        definition = self._world.definition_of(self._host)
        if definition is None:
            raise Refused
        volume_id, _, lease = definition.domain_xml.partition(" ")
        try:
            self._host.vdsm.create(volume_id=volume_id, with_lease=lease == "lease", by="upstream")
        except vdsm.VmThere:
            raise Refused from None

    def shutdown_vm(self, delay_s: int) -> None:
        self._answers()
        try:
            self._host.vdsm.shutdown(delay_s)
        except vdsm.NoVm:
            raise Refused from None

    def destroy_vm(self) -> None:
        self._answers()
        try:
            self._host.vdsm.destroy()
        except vdsm.NoVm:
            raise Refused from None

    def read_slots(self) -> Mapping[int, bytes]:
        if not self._host.way.works():
            raise StorageAway
        return self._world.storage.slots

    def write_slot(self, number: int, block: bytes) -> None:
        if not self._host.way.works() or self._host.way.read_only:
            raise StorageAway
        self._world.storage.write(self._host.number, number, block)

    def ha_lease(self) -> model.Membership:
        return self._host.sanlock.membership(HA_LOCKSPACE, self.host_id)

    def join_ha(self) -> None:
        self._host.sanlock.add_lockspace(HA_LOCKSPACE, self.host_id, self._world.io_timeout_s)

    def leave_ha(self) -> None:
        self._host.sanlock.rem_lockspace(HA_LOCKSPACE)

    def domain_lease(self) -> model.Membership:
        self._answers()
        if not self._host.vdsm.monitors_domain:
            return model.Membership.NOT_HELD
        return self._host.vdsm.domain_lease()

    def monitor_domain(self, on: bool) -> None:
        self._answers()
        self._host.vdsm.monitor(on)

    def page_good(self) -> bool:
        return self._world.page(self._host)[0] is model.ProbeOutcome.GOOD

    def network(self) -> float:
        return 1.0 if self._world.gateway_seen(self._host) else 0.0

    def bridge_up(self) -> bool:
        self._answers()
        return self._host.bridge_up

    def cpu_load(self) -> float:
        return self._host.cpu_load

    def memory_free_mib(self) -> int:
        self._answers()
        return self._host.memory_free_mib

    def local_maintenance(self) -> bool:
        return self._host.local_maintenance

    def definition_ok(self) -> bool:
        return self._host.way.works() and self._world.definition_of(self._host) is not None


def _as_of(report: model.VmReport, event_time: int) -> model.VmReport:
    return replace(report, event_time=event_time)
