"""What a definition needs to know and no OVF says: facts of the host and of the storage."""

from collections.abc import Mapping

from ovirt_he_agent.ovf import vmspec
from ovirt_he_agent.ovf.value import Value


class HostFacts(Value):
    """Unknown is None; what follows from that is said in the definition's warnings, or refused."""

    display_network: str
    """The host's name of the network on which consoles are served; ``ovirtmgmt`` as a rule."""
    bridges: Mapping[str, str] | None
    """The host's bridge by the engine's network name, of every network that this host has."""
    block_domain_ids: frozenset[str] | None
    """Storage domains whose volumes are block devices; all others are file domains."""
    vm_lease: vmspec.Lease | None
    """The VM lease of ``lease_domain_id`` with path and offset, as ``Lease.info`` gives it."""
    utc_offset_s: int | None
    """Now, of the VM's time zone."""
    default_cpu: str | None
    """Model and flags, as ``VmSpec.cpu``, for documents that name none."""
    without_missing_nics: bool
    """Start the VM without those of its NICs that this host cannot build."""


UNKNOWN = HostFacts(
    display_network="ovirtmgmt",
    bridges=None,
    block_domain_ids=None,
    vm_lease=None,
    utc_offset_s=None,
    default_cpu=None,
    without_missing_nics=False,
)
"""Of a document looked at away from its host: networks are taken by their engine's name, files as storage."""
