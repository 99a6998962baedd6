"""The Host verbs: pings, statistics with haStats and hooks, capabilities, HA maintenance.

Model: vdsm: lib/vdsm/API.py (class Global), lib/vdsm/host/api.py (get_stats).
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from ovirt_he_agent.sim.vdsm import ha, hooks, host_facts, networks, rpc


class Host:
    def __init__(
        self,
        host_id: int,
        scripts: hooks.Hooks,
        ha_package: ha.Ha,
        vitals: Callable[[], dict[str, object]],
        vm_counts: Callable[[], tuple[int, int]],
    ) -> None:
        self._host_id = host_id
        self._hooks = scripts
        self._ha = ha_package
        self._vitals = vitals
        self._vm_counts = vm_counts
        self._cpu = host_facts.CpuSampler()
        self.overrides: dict[str, object] = {}
        """Merged over the statistics (``Sim.stats``), before the hooks see them."""
        self.networks: tuple[str, ...] = (networks.MANAGEMENT,)
        """The bridged networks of the host (``Sim.networks``)."""

    def verbs(self) -> Mapping[str, rpc.Verb]:
        return {
            "Host.ping": self.ping,
            "Host.ping2": self.ping,
            "Host.getStats": self.get_stats,
            "Host.getCapabilities": self.get_capabilities,
            "Host.setHaMaintenanceMode": self.set_ha_maintenance_mode,
        }

    async def ping(self) -> None:
        pass

    async def get_stats(self) -> object:
        await self._hooks.json("before_get_stats", {}, must_work=True)
        known, active = self._vm_counts()
        stats: dict[str, object] = host_facts.stats(self._cpu) | {
            "storageDomains": self._vitals(),
            "vmCount": known,
            "vmActive": active,
            "vmMigrating": 0,
            "incomingVmMigrations": 0,
            "outgoingVmMigrations": 0,
        }
        stats |= self.overrides
        ha_stats = await rpc.in_thread(self._ha.stats)
        stats["haStats"] = ha_stats
        if ha_stats["configured"]:
            stats["haScore"] = ha_stats["score"]
        return await self._hooks.json("after_get_stats", stats)

    async def get_capabilities(self) -> object:
        await self._hooks.json("before_get_caps", {}, must_work=True)
        capabilities = host_facts.capabilities(self._host_id, self.networks) | {
            "hooks": await rpc.in_thread(self._installed_hooks),
            "hostedEngineDeployed": await rpc.in_thread(self._ha.is_deployed),
        }
        return await self._hooks.json("after_get_caps", capabilities)

    def set_ha_maintenance_mode(self, mode: str, enabled: object) -> dict[str, object]:
        return self._ha.set_maintenance(mode, enabled)

    def _installed_hooks(self) -> dict[str, dict[str, dict[str, str]]]:
        return {
            point: {script.name: {"checksum": _checksum(script)} for script in self._hooks.scripts(point)}
            for point in self._hooks.points()
        }


def _checksum(script: Path) -> str:
    return hashlib.sha256(script.read_bytes()).hexdigest()
