"""Who holds a lease of a storage domain, judged as VDSM does (vdsm: lib/vdsm/storage/clusterlock.py)."""

import errno
from pathlib import Path

from ovirt_he_agent.adapters import leases
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import HeAgentError
from ovirt_he_agent.sim import storage_domain
from ovirt_he_agent.sim.vdsm import monitor, refusals, rpc

NAME_WRONG = -227
"""sanlock's error for a lease area with another resource's name (sanlock: src/sanlock_rv.h)."""

DAEMON_AWAY = (errno.ECONNREFUSED, errno.ENOENT, errno.ECONNRESET, errno.EPIPE)


async def inspect(
    domains: monitor.Monitor, domain: storage_domain.StorageDomain, resource: str, path: Path, offset: int
) -> dict[str, object]:
    """``owners``: host ids that can still hold the lease; ``version``: None when nobody ever owned it since.

    Owners that are dead, free or of another generation are left out. Both keys
    are missing when the area belongs to another name, and, unlike in VDSM,
    which cannot run then, when no sanlock daemon is reachable.
    Raises ``Refused`` (100).
    """
    try:
        raw, version = await rpc.in_thread(leases.read_owners, domain.id, resource, path, offset)
    except leases.CallFailed as e:
        if e.errno == NAME_WRONG or abs(e.errno) in DAEMON_AWAY:
            return {}
        raise refusals.general(e) from e
    if not raw:
        return {"owners": [], "version": None}
    owner = raw[0]
    try:
        hosts = await domains.hosts(domain.id)
    except HeAgentError as e:
        raise refusals.general(e) from e
    if hosts is None:
        if not domains.holds_host_id(domain.id):
            raise refusals.general(f"Cannot inspect {resource}: the host id of {domain.id} is not acquired")
        return {"owners": [owner.host_id], "version": version}  # no renewal seen yet: it may hold it
    host = next((host for host in hosts if host.host_id == owner.host_id), None)
    free = (
        host is None
        or host.generation != owner.generation
        or host.flag in (model.HostFlag.DEAD, model.HostFlag.FREE)
    )
    return {"owners": [] if free else [owner.host_id], "version": version}
