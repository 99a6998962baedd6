"""What sanlock keeps on the shared storage: the lease of every host id and of every resource.

One ``LeaseVolume`` stands for the storage that all hosts share; it is written
by ``sim.cluster.sanlock`` only. Facts: sanlock: src/delta_lease.c, src/leader.h.
"""

from dataclasses import dataclass, field

WATCHDOG_FIRE_S = 60
"""W, sanlock's default; it must be equal on all hosts."""


def dead_s(io_timeout_s: int, watchdog_fire_s: int) -> int:
    """A host that has not renewed for so long is dead: its watchdog has fired (sanlock: src/timeouts.c)."""
    return 8 * io_timeout_s + watchdog_fire_s


@dataclass(slots=True)
class DeltaLease:
    """The lease of one host id. ``timestamp`` 0: free; the generation stays."""

    timestamp: int = 0
    """The owner's clock at its last renewal, in seconds; never 0 while it owns the lease."""
    generation: int = 0
    host_name: str = ""
    io_timeout_s: int = 0
    """The owner's; 0: never owned."""

    @property
    def free(self) -> bool:
        return self.timestamp == 0


@dataclass(slots=True)
class ResourceLease:
    """The lease of one resource, such as a VM's disk. ``version`` rises with every acquisition."""

    owner: tuple[int, int] | None = None
    """(host id, generation); it stays when the owner dies."""
    version: int = 0


@dataclass(slots=True)
class LeaseVolume:
    """All lockspaces and resources of the storage; each exists, free, as soon as it is asked for."""

    lockspaces: dict[str, dict[int, DeltaLease]] = field(default_factory=dict)
    resources: dict[tuple[str, str], ResourceLease] = field(default_factory=dict)

    def host_ids(self, lockspace: str) -> dict[int, DeltaLease]:
        """The delta leases of a lockspace by host id: those that were ever owned."""
        return self.lockspaces.setdefault(lockspace, {})

    def delta(self, lockspace: str, host_id: int) -> DeltaLease:
        return self.host_ids(lockspace).setdefault(host_id, DeltaLease())

    def resource(self, lockspace: str, name: str) -> ResourceLease:
        return self.resources.setdefault((lockspace, name), ResourceLease())
