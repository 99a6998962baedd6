"""The hosted-engine storage domain through VDSM: connected, monitored, its volumes prepared."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.deployment import Deployment, VolumeRef
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import Refused, Retryable

log = logging.getLogger(__name__)


@dataclass(eq=False)
class StorageNotConnected(Retryable):
    connection: str
    code: int
    msg: ClassVar[str] = (
        "VDSM could not connect storage connection {self.connection}: storage error {self.code}; check that "
        "the storage server is up and 'storage' in hosted-engine.conf, details are in vdsm.log"
    )


@dataclass(eq=False)
class DomainNotMonitored(Retryable):
    domain_id: str
    msg: ClassVar[str] = (
        "VDSM does not report storage domain {self.domain_id} although it was asked to monitor it; "
        "check sdUUID in hosted-engine.conf and vdsm.log"
    )


class Storage:
    """``vitals`` sees to it that the domain is monitored; paths are valid once they are not None."""

    def __init__(self, deployment: Deployment, vdsm: ports.Vdsm) -> None:
        self._deployment = deployment
        self._vdsm = vdsm
        self.whiteboard: Path | None = None
        self.lockspace: Path | None = None
        self._released = False

    async def vitals(self) -> model.DomainVitals:
        """What VDSM's monitor says; connects the storage and starts the monitor when there is none.

        Raises ``StorageNotConnected``, ``DomainNotMonitored`` and what the VDSM adapter raises.
        """
        domain_id = self._deployment.domain_id
        self._released = False
        found = (await self._vdsm.storage_vitals([domain_id])).get(domain_id)
        if found is None or (found.actual and not found.valid):
            await self._connect()
            await self._vdsm.start_monitoring_domain(domain_id, self._deployment.host_id)
            found = (await self._vdsm.storage_vitals([domain_id])).get(domain_id)
        if found is None:
            raise DomainNotMonitored(domain_id)
        return found

    async def release(self) -> None:
        """Have VDSM let go of the domain, once, unless a pool or the VM needs it.

        safety: with the monitor goes the host id, and with that whatever holds a lease of the domain
        here; so VDSM is asked for the VM right before.
        """
        if self._released:
            return
        report = await self._vdsm.vm_report(self._deployment.vm_id)
        if report is not None and report.status is not model.VmStatus.DOWN:
            return
        domain_id = self._deployment.domain_id
        if domain_id in await self._vdsm.storage_vitals([domain_id]):
            log.info("local maintenance: VDSM may stop monitoring storage domain %s", domain_id)
            try:
                await self._vdsm.stop_monitoring_domain(domain_id)
            except Refused as e:
                log.info("the domain stays monitored: %s", e)
        self._released = True

    async def _connect(self) -> None:
        if not self._deployment.connections:
            return
        log.info("connecting the storage of domain %s", self._deployment.domain_id)
        rows = await self._vdsm.connect_storage(self._deployment.domain_type, self._deployment.connections)
        failed = [(connection, code) for connection, code in rows if code != 0]
        if failed and len(failed) == len(rows):  # one path of several is enough
            raise StorageNotConnected(*failed[0])

    async def prepare(self) -> None:
        """Have VDSM prepare the whiteboard and lockspace volumes, once; ``forget`` to do it again."""
        if self.whiteboard is None:
            self.whiteboard = await self._path(self._deployment.whiteboard)
        if self.lockspace is None:
            self.lockspace = await self._path(self._deployment.lockspace)

    async def prepare_whiteboard(self) -> Path:
        """Have VDSM connect the storage and prepare the whiteboard again, without monitoring the domain."""
        await self._connect()
        self.whiteboard = await self._path(self._deployment.whiteboard)
        return self.whiteboard

    def forget(self) -> None:
        """The engine may tear images down at any time: prepare them anew."""
        self.whiteboard = self.lockspace = None

    async def _path(self, volume: VolumeRef) -> Path:
        return await self._vdsm.prepare_image(self._deployment.domain_id, volume.image_id, volume.volume_id)
