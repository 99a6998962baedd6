"""The Lease verbs: VM leases in the domain's xleases volume (vdsm: lib/vdsm/storage/hsm.py, sd.py)."""

import json
from collections.abc import Callable, Mapping

from ovirt_he_agent.adapters import leases
from ovirt_he_agent.sim import storage_domain, xleases
from ovirt_he_agent.sim.vdsm import monitor, owners, refusals, rpc, tasks


class VmLeases:
    def __init__(
        self,
        find: Callable[[object], storage_domain.StorageDomain],
        domains: monitor.Monitor,
        work: tasks.Tasks,
    ) -> None:
        """``find`` blocks and raises ``Refused`` (358)."""
        self._find = find
        self._monitor = domains
        self._tasks = work

    def verbs(self) -> Mapping[str, rpc.Verb]:
        return {
            "Lease.info": self.info,
            "Lease.status": self.status,
            "Lease.create": self.create,
            "Lease.delete": self.delete,
        }

    def _index(self, lease: Mapping[str, str]) -> tuple[xleases.Xleases, str]:
        if not all(storage_domain.is_name(lease.get(key)) for key in ("sd_id", "lease_id")):
            raise refusals.general(f"Missing required property in {json.dumps(lease)}")
        domain = self._find(lease["sd_id"])
        return xleases.Xleases(domain.xleases_path, domain.id), lease["lease_id"]

    def _offset(self, lease: Mapping[str, str]) -> int:
        index, lease_id = self._index(lease)
        try:
            return index.offset(lease_id)
        except xleases.NoSuchLease as e:
            raise refusals.no_such_lease(lease_id) from e

    def info(self, lease: Mapping[str, str]) -> dict[str, object]:
        index, lease_id = self._index(lease)
        return {
            "sd_id": index.lockspace_name,
            "lease_id": lease_id,
            "path": str(index.path),
            "offset": self._offset(lease),
        }

    async def status(self, lease: Mapping[str, str]) -> dict[str, object]:
        offset = await rpc.in_thread(self._offset, lease)
        domain = await rpc.in_thread(self._find, lease["sd_id"])
        return await owners.inspect(self._monitor, domain, lease["lease_id"], domain.xleases_path, offset)

    def create(self, lease: Mapping[str, str], metadata: object = None) -> str:
        index, lease_id = self._index(lease)
        try:
            index.add(lease_id)
        except (xleases.LeaseExists, leases.CallFailed) as e:
            return self._tasks.finished("create_lease", refusals.general(e))
        return self._tasks.finished("create_lease")

    def delete(self, lease: Mapping[str, str]) -> str:
        index, lease_id = self._index(lease)
        try:
            index.remove(lease_id)
        except xleases.NoSuchLease:
            return self._tasks.finished("delete_lease", refusals.no_such_lease(lease_id))
        return self._tasks.finished("delete_lease")
