"""What the agent asks of VDSM, typed. Names and parameters: vdsm: lib/vdsm/api/vdsm-api.yml.

Every method raises what ``Client.call`` raises. Each has a default limit: for
those that read memory short, for those that touch storage longer. Pools are
not used: the blank pool id stands wherever VDSM wants one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovirt_he_agent.adapters.vdsm import replies
from ovirt_he_agent.adapters.vdsm.client import Client
from ovirt_he_agent.adapters.vdsm.failures import BadReply, NoSuchVm
from ovirt_he_agent.adapters.vdsm.fields import Fields, rows, text
from ovirt_he_agent.core import model

BLANK_ID = "00000000-0000-0000-0000-000000000000"

MEMORY_S = 10.0
"""VDSM answers from memory, in milliseconds when it is well."""
HOOKS_S = 20.0
"""Host.getStats runs hooks, which VDSM does not limit."""
STORAGE_S = 60.0
SLOW_S = 180.0
"""Mounts and logins; also the engine's own limit for any call."""


class Vdsm(Client):
    """The host's VDSM."""

    # host

    async def ping(self, *, timeout_s: float = 5.0) -> None:
        await self.call("Host.ping2", timeout_s=timeout_s)

    async def host_stats(self, *, timeout_s: float = HOOKS_S) -> model.HostStats:
        verb = "Host.getStats"
        return replies.host_stats(verb, await self.call(verb, timeout_s=timeout_s))

    async def capabilities(self, *, timeout_s: float = STORAGE_S) -> Mapping[str, Any]:
        """The raw object: ``hostedEngineDeployed``, ``hooks``, ``packages2``, ...; takes VDSM seconds."""
        verb = "Host.getCapabilities"
        return replies.capabilities(verb, await self.call(verb, timeout_s=timeout_s))

    async def bridges(self, *, timeout_s: float = STORAGE_S) -> Mapping[str, str]:
        """The host's bridge by network, of every bridged network; out of ``capabilities``.

        A network whose engine's name is too long for an interface has a generated name here.
        """
        verb = "Host.getCapabilities"
        return replies.bridges(verb, await self.call(verb, timeout_s=timeout_s))

    # VMs

    async def vm_reports(self, *, timeout_s: float = MEMORY_S) -> tuple[model.VmReport, ...]:
        """Every VM that VDSM knows, dead ones included."""
        verb = "Host.getAllVmStats"
        return replies.vm_reports(verb, await self.call(verb, timeout_s=timeout_s))

    async def vm_report(self, vm_id: str, *, timeout_s: float = MEMORY_S) -> model.VmReport | None:
        """None: VDSM does not know that VM."""
        row = await self._vm_row(vm_id, timeout_s)
        return None if row is None else replies.vm_report("VM.getStats", row)

    async def vm_cpu(self, vm_id: str, *, timeout_s: float = MEMORY_S) -> model.VmCpu | None:
        """None: the VM does not run here."""
        row = await self._vm_row(vm_id, timeout_s)
        return None if row is None else replies.vm_cpu("VM.getStats", row)

    async def _vm_row(self, vm_id: str, timeout_s: float) -> Fields | None:
        verb = "VM.getStats"
        try:
            result = await self.call(verb, {"vmID": vm_id}, timeout_s=timeout_s)
        except NoSuchVm:
            return None
        found = rows(verb, result)
        if [row.need("vmId", text) for row in found] != [vm_id]:
            raise BadReply(verb, "vmId", f"is not just {vm_id}")
        return found[0]

    async def create_vm(self, vm_id: str, domain_xml: str, *, timeout_s: float = STORAGE_S) -> model.VmReport:
        """Start the VM of ``domain_xml``; returns when VDSM has accepted it (``WaitForLaunch``).

        A failed launch is told later, as ``Down`` with exit fields. Never sent twice. Raises
        ``VmExists`` also for a dead VM that was not destroyed.
        """
        verb = "VM.create"
        params = {"vmID": vm_id, "vmParams": {"xml": domain_xml}}
        result = await self.call(verb, params, timeout_s=timeout_s)
        report = replies.vm_report(verb, Fields(verb, result))
        if report.vm_id != vm_id:  # VDSM takes the id from the XML
            raise BadReply(verb, "vmId", f"is {report.vm_id}, not {vm_id}: another VM was started")
        return report

    async def destroy_vm(self, vm_id: str, *, timeout_s: float = STORAGE_S) -> None:
        """Power off and forget; also how the record of a dead VM is cleared. Unknown to VDSM: done."""
        try:
            await self.call("VM.destroy", {"vmID": vm_id}, timeout_s=timeout_s)
        except NoSuchVm:
            pass  # that is what was wanted

    async def shutdown_vm(
        self, vm_id: str, *, delay_s: int, message: str, timeout_s: float = MEMORY_S
    ) -> None:
        """Ask the guest to shut down after ``delay_s``; returns when VDSM has accepted it.

        Raises ``NoSuchVm`` also when it is down already, ``GuestUnresponsive``.
        """
        params = {"vmID": vm_id, "delay": delay_s, "message": message}
        await self.call("VM.shutdown", params, timeout_s=timeout_s)

    # storage

    async def connect_storage(
        self, domain_type: int, connections: Sequence[Mapping[str, Any]], *, timeout_s: float = SLOW_S
    ) -> list[tuple[str, int]]:
        """(connection id, status) of each; 0 is good, else a storage error code, which is not raised."""
        verb = "StoragePool.connectStorageServer"
        params = {
            "storagepoolID": BLANK_ID,
            "domainType": domain_type,
            "connectionParams": [dict(connection) for connection in connections],
        }
        return replies.connection_statuses(verb, await self.call(verb, params, timeout_s=timeout_s))

    async def start_monitoring_domain(
        self, domain_id: str, host_id: int, *, timeout_s: float = STORAGE_S
    ) -> None:
        """VDSM acquires the host id in the background: watch ``storage_vitals``. Unknown domain: no error."""
        params = {"sdUUID": domain_id, "hostID": host_id}
        await self.call("Host.startMonitoringDomain", params, timeout_s=timeout_s)

    async def stop_monitoring_domain(self, domain_id: str, *, timeout_s: float = STORAGE_S) -> None:
        """safety: releases the host id, so whatever holds a lease there dies. Raises ``DomainInPool``."""
        await self.call("Host.stopMonitoringDomain", {"sdUUID": domain_id}, timeout_s=timeout_s)

    async def storage_vitals(
        self, domain_ids: Sequence[str], *, timeout_s: float = MEMORY_S
    ) -> dict[str, model.DomainVitals]:
        """The monitored ones of ``domain_ids``; an absent one is not monitored."""
        verb = "Host.getStorageRepoStats"
        result = await self.call(verb, {"domains": list(domain_ids)}, timeout_s=timeout_s)
        return replies.vitals(verb, result, domain_ids)

    async def domain_info(self, domain_id: str, *, timeout_s: float = STORAGE_S) -> replies.DomainInfo:
        verb = "StorageDomain.getInfo"
        result = await self.call(verb, {"storagedomainID": domain_id}, timeout_s=timeout_s)
        return replies.domain_info(verb, result)

    async def is_block_domain(self, domain_id: str, *, timeout_s: float = STORAGE_S) -> bool:
        """Its volumes are block devices."""
        return (await self.domain_info(domain_id, timeout_s=timeout_s)).is_block

    async def domain_stats(self, domain_id: str, *, timeout_s: float = STORAGE_S) -> replies.DomainSpace:
        """Also makes VDSM look at the domain's files anew."""
        verb = "StorageDomain.getStats"
        result = await self.call(verb, {"storagedomainID": domain_id}, timeout_s=timeout_s)
        return replies.domain_space(verb, result)

    async def image_ids(self, domain_id: str, *, timeout_s: float = STORAGE_S) -> tuple[str, ...]:
        verb = "StorageDomain.getImages"
        result = await self.call(verb, {"storagedomainID": domain_id}, timeout_s=timeout_s)
        return replies.ids(verb, result)

    async def volume_ids(
        self, domain_id: str, image_id: str, *, timeout_s: float = STORAGE_S
    ) -> tuple[str, ...]:
        """``BLANK_ID`` as image: the volumes of all of them."""
        verb = "StorageDomain.getVolumes"
        params = {"storagedomainID": domain_id, "storagepoolID": BLANK_ID, "imageID": image_id}
        return replies.ids(verb, await self.call(verb, params, timeout_s=timeout_s))

    async def volume_info(
        self, domain_id: str, image_id: str, volume_id: str, *, timeout_s: float = STORAGE_S
    ) -> model.VolumeInfo:
        verb = "Volume.getInfo"
        params = _volume(domain_id, image_id, volume_id)
        result = await self.call(verb, params, timeout_s=timeout_s)
        return replies.volume_info(verb, result, domain_id=domain_id, image_id=image_id, volume_id=volume_id)

    async def prepare_image(
        self, domain_id: str, image_id: str, volume_id: str, *, timeout_s: float = STORAGE_S
    ) -> Path:
        """The volume's path, valid until somebody (the engine too) tears the image down."""
        verb = "Image.prepare"
        params = _volume(domain_id, image_id, volume_id)
        return replies.prepared_path(verb, await self.call(verb, params, timeout_s=timeout_s))

    async def connected_pools(self, *, timeout_s: float = STORAGE_S) -> tuple[str, ...]:
        """Storage pools (data centers) that the engine connected to this host; one at most as a rule."""
        verb = "Host.getConnectedStoragePools"
        return replies.ids(verb, await self.call(verb, {}, timeout_s=timeout_s))

    async def set_volume_description(
        self,
        pool_id: str,
        domain_id: str,
        image_id: str,
        volume_id: str,
        description: str,
        *,
        timeout_s: float = STORAGE_S,
    ) -> None:
        """At most 210 bytes, VDSM cuts what is longer. Only the pool's SPM host may (else code 654)."""
        params = _volume(domain_id, image_id, volume_id) | {
            "storagepoolID": pool_id,
            "description": description,
        }
        await self.call("Volume.setDescription", params, timeout_s=timeout_s)

    async def lease_info(
        self, domain_id: str, lease_id: str, *, timeout_s: float = STORAGE_S
    ) -> replies.ExternalLease:
        """Where a lease of the domain's xleases volume lies. VDSM wants a connected pool for this."""
        verb = "Lease.info"
        params = {"lease": {"sd_id": domain_id, "lease_id": lease_id}}
        return replies.external_lease(verb, await self.call(verb, params, timeout_s=timeout_s))


def _volume(domain_id: str, image_id: str, volume_id: str) -> dict[str, str]:
    return {
        "storagepoolID": BLANK_ID,
        "storagedomainID": domain_id,
        "imageID": image_id,
        "volumeID": volume_id,
    }
