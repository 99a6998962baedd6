"""What the agent has to know of this host's hosted-engine deployment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ovirt_he_agent.core import model, snapshot

HA_LOCKSPACE = "hosted-engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRef:
    """A volume of the hosted-engine storage domain."""

    image_id: str
    volume_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The facts of hosted-engine.conf; ``source`` says where from, for people."""

    source: str
    host_id: int
    vm_id: str
    domain_id: str
    vm_disk: VolumeRef
    whiteboard: VolumeRef
    lockspace: VolumeRef
    domain_type: int
    """VDSM's number of the storage type."""
    bridge: str
    """The management network's; consoles listen on it."""
    network_test: model.NetworkTest
    is_up_to_date: bool
    """hosted-engine.conf names the shared configuration archive."""
    connections: Sequence[Mapping[str, Any]] = field(repr=False)
    """For StoragePool.connectStorageServer; empty: nothing to connect (FC). May hold a password."""

    @property
    def deployed_lease(self) -> snapshot.LeaseRef:
        return snapshot.LeaseRef(
            domain_id=self.domain_id, image_id=self.vm_disk.image_id, volume_id=self.vm_disk.volume_id
        )
