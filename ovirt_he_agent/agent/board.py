"""The newest evidence, as the observers leave it; ``snapshot`` freezes it for one decision.

Each observer owns one field and replaces it as a whole. ``news`` wakes the loop.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ovirt_he_agent.agent.ports import Flag
from ovirt_he_agent.agent.wakeup import Wakeup
from ovirt_he_agent.core import model, snapshot, whereabouts
from ovirt_he_agent.core.snapshot import Evidence, HostSeen

log = logging.getLogger(__name__)

PROBES_KEPT = 30


@dataclass
class Board:
    """Mutable, touched only from the event loop's thread."""

    host_id: int
    vm_id: str
    deployed_lease: snapshot.LeaseRef
    clock: Callable[[], model.MonotonicMs]
    config_up_to_date: bool = True
    news: Wakeup = field(default_factory=Wakeup)
    global_maintenance: Evidence[bool] = Evidence()
    local_maintenance: Evidence[bool] = Evidence()
    own_ha_lease: Evidence[snapshot.OwnLease] = Evidence()
    domain: Evidence[model.DomainVitals] = Evidence()
    ha_hosts: Evidence[Mapping[int, HostSeen]] = Evidence()
    sd_hosts: Evidence[Mapping[int, HostSeen]] = Evidence()
    slots: Evidence[Mapping[int, snapshot.PeerSlot]] = Evidence()
    definition: Evidence[snapshot.Definition] = Evidence()
    vm: Evidence[snapshot.VmView] = Evidence()
    vm_leases: dict[snapshot.LeaseRef, Evidence[snapshot.LeaseView]] = field(default_factory=dict)
    probes: tuple[model.HealthProbe, ...] = ()
    page_good_at: model.MonotonicMs | None = None
    command: snapshot.Command | None = None
    own_slot: Evidence[int] = Evidence()
    network: Evidence[float] = Evidence()
    bridge_up: Evidence[bool] = Evidence()
    cpu_load: Evidence[float] = Evidence()
    memory_free_mib: Evidence[int] = Evidence()
    request: snapshot.Request | None = None
    leaving: bool = False
    _newest: model.VmReport | None = None

    def snapshot(self) -> snapshot.Snapshot:
        return snapshot.Snapshot(
            host_id=self.host_id,
            vm_id=self.vm_id,
            deployed_lease=self.deployed_lease,
            config_up_to_date=self.config_up_to_date,
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
            page_good_at=self.page_good_at,
            command=self.command,
            own_slot=self.own_slot,
            network=self.network,
            bridge_up=self.bridge_up,
            cpu_load=self.cpu_load,
            memory_free_mib=self.memory_free_mib,
            request=self.request,
            leaving=self.leaving,
        )

    @property
    def in_local_maintenance(self) -> bool:
        """And without the VM: then VDSM may take the storage away."""
        here = self.vm.value is not None and whereabouts.here(self.vm.value) is not None
        return self.local_maintenance.value is True and not here

    def note_flag(self, field: str, flag: Flag) -> None:
        """A maintenance flag; an unknown one lets the old value go on ageing."""
        old: Evidence[bool] = getattr(self, field)
        new = old.failed(flag.reason) if flag.value is None else old.renewed(flag.value, self.clock())
        setattr(self, field, new)
        if (new.value, new.problem) != (old.value, old.problem):
            word = f"unknown, {flag.reason}" if flag.value is None else "on" if flag.value else "off"
            log.info("%s: %s", field.replace("_", " "), word)
            self.news.set()

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
            if _is_dead(report) or _is_dead(old):
                self.probes = ()  # what the page said belongs to another life
            self.news.set()
        return changed

    def probed(self, probe: model.HealthProbe, *, here: bool) -> None:
        """A look at the engine's page: of the VM here, or as another host's witness."""
        if probe.outcome is model.ProbeOutcome.GOOD:
            self.page_good_at = probe.at
        if not here:
            return
        self.probes = (*self.probes, probe)[-PROBES_KEPT:]
        last = [p.outcome for p in self.probes[-3:]]
        if len(last) < 3 or len(set(last)) > 1:  # a change, and that it was confirmed
            self.news.set()

    def hosts_seen(
        self, old: Evidence[Mapping[int, HostSeen]], hosts: tuple[model.HostLease, ...]
    ) -> Evidence[Mapping[int, HostSeen]]:
        """``hosts`` as sanlock lists them now, with what is remembered of each: when it renewed last."""
        now, before = self.clock(), old.value or {}
        seen = {}
        for host in hosts:
            known = before.get(host.host_id)
            same = (
                known is not None
                and known.timestamp == host.timestamp
                and known.generation == host.generation
            )
            if known is not None and same and known.flag is host.flag:
                seen[host.host_id] = known
                continue
            seen[host.host_id] = HostSeen(
                flag=host.flag,
                generation=host.generation,
                io_timeout_s=host.io_timeout_s,
                timestamp=host.timestamp,
                renewed_at=known.renewed_at if known is not None and same else now,
            )
            if known is None or known.flag is not host.flag or known.generation != host.generation:
                self.news.set()
        return old.renewed(seen, now)


def _is_dead(report: model.VmReport | None) -> bool:
    return report is None or report.status is model.VmStatus.DOWN
