"""The newest evidence, as the observers leave it; ``snapshot`` freezes it for one decision.

Each observer owns one field and replaces it as a whole. ``news`` wakes the loop.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ovirt_he_agent.core import model, snapshot
from ovirt_he_agent.core.snapshot import Evidence

PROBES_KEPT = 30


@dataclass
class Board:
    """Mutable, touched only from the event loop's thread."""

    host_id: int
    vm_id: str
    deployed_lease: snapshot.LeaseRef
    clock: Callable[[], model.MonotonicMs]
    news: asyncio.Event = field(default_factory=asyncio.Event)
    global_maintenance: Evidence[bool] = Evidence()
    local_maintenance: Evidence[bool] = Evidence()
    own_ha_lease: Evidence[snapshot.OwnLease] = Evidence()
    domain: Evidence[model.DomainVitals] = Evidence()
    ha_hosts: Evidence[tuple[model.HostLease, ...]] = Evidence()
    sd_hosts: Evidence[tuple[model.HostLease, ...]] = Evidence()
    slots: Evidence[Mapping[int, snapshot.PeerSlot]] = Evidence()
    definition: Evidence[snapshot.Definition] = Evidence()
    vm: Evidence[snapshot.VmView] = Evidence()
    vm_leases: dict[snapshot.LeaseRef, Evidence[snapshot.LeaseView]] = field(default_factory=dict)
    probes: tuple[model.HealthProbe, ...] = ()
    command: snapshot.Command | None = None
    _newest: model.VmReport | None = None

    def snapshot(self) -> snapshot.Snapshot:
        return snapshot.Snapshot(
            host_id=self.host_id,
            vm_id=self.vm_id,
            deployed_lease=self.deployed_lease,
            global_maintenance=self.global_maintenance,
            local_maintenance=self.local_maintenance,
            own_ha_lease=self.own_ha_lease,
            domain=self.domain,
            ha_hosts=self.ha_hosts,
            sd_hosts=self.sd_hosts,
            slots=self.slots,
            definition=self.definition,
            vm=self.vm,
            vm_leases=dict(self.vm_leases),
            probes=self.probes,
            command=self.command,
        )

    def vm_seen(self, report: model.VmReport | None) -> bool:
        """Note what VDSM said of the VM, unless something newer is here already. True: it changed.

        ``None`` (VDSM does not know the VM) has no event time and is as new as its reply.
        """
        old = self.vm.value.report if self.vm.value else None
        if report is not None:
            if self._newest is not None and model.newer(self._newest, report):
                return False
            self._newest = report
        changed = self.vm.value is None or ((report.status, report.exit_reason) if report else None) != (
            (old.status, old.exit_reason) if old else None
        )
        self.vm = self.vm.renewed(snapshot.VmView(report=report), self.clock())
        if changed:
            self.probes = ()  # what the page said belongs to another life or status
            self.news.set()
        return changed

    def probed(self, probe: model.HealthProbe) -> None:
        changed = not self.probes or self.probes[-1].outcome is not probe.outcome
        self.probes = (*self.probes, probe)[-PROBES_KEPT:]
        if changed or len(self.probes) <= 2:
            self.news.set()
