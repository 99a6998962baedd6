"""How VDSM asks the hosted-engine HA package: for haStats, maintenance, and whether it is deployed.

Model: vdsm: lib/vdsm/host/api.py (_getHaInfo), host/caps.py, API.py
(setHaMaintenanceMode). As in VDSM the package is imported once, at the start,
and each call makes a new ``HAClient`` in the calling worker's thread.
"""

import errno
import importlib
import logging
import sys
from pathlib import Path
from typing import Any

from ovirt_he_agent.sim.vdsm import refusals

MODULE = "ovirt_hosted_engine_ha.client.client"
STATS_TIMEOUT_S = 5
MAINTENANCE_TIMEOUT_S = 60

log = logging.getLogger(__name__)


class StandIn:
    """The package of a root that is not deployed: two flags, so that wire tools can be tried."""

    class MaintenanceMode:
        LOCAL = "LOCAL"
        GLOBAL = "GLOBAL"

    class GlobalMdFlags:
        MAINTENANCE = "maintenance"

    def __init__(self, host_id: int) -> None:
        self._host_id = host_id
        self._flags = {self.MaintenanceMode.LOCAL: False, self.MaintenanceMode.GLOBAL: False}

    def __call__(self) -> "StandIn":
        """VDSM calls the class; the stand-in is its own only instance."""
        return self

    def is_deployed(self) -> bool:
        return False

    def get_local_host_id(self) -> int:
        return self._host_id

    def get_all_stats(self, timeout: float) -> dict[int, dict[str, Any]]:
        return {
            0: {"maintenance": self._flags[self.MaintenanceMode.GLOBAL]},
            self._host_id: {
                "live-data": False,
                "score": 0,
                "maintenance": self._flags[self.MaintenanceMode.LOCAL],
            },
        }

    def set_maintenance_mode(self, mode: str, value: bool, timeout: float) -> None:
        self._flags[mode] = bool(value)


def _import_package(directory: Path | None) -> Any:
    """``HAClient``, or None without a package. Errors other than ImportError end the start, as in VDSM."""
    if directory is None:
        return None
    sys.path.insert(0, str(directory))
    try:
        return importlib.import_module(MODULE).HAClient
    except ImportError as e:
        log.warning("no HA package in %s: %s", directory, e)
        return None


class Ha:
    """All methods block: run them in a worker's thread."""

    def __init__(self, root: Path, directory: Path | None, host_id: int) -> None:
        """``directory`` holds the package; it finds the root by OVIRT_HE_ROOT in the environment."""
        self._configuration = root / "etc" / "ovirt-hosted-engine" / "hosted-engine.conf"
        self._package = _import_package(directory)
        self._stand_in = StandIn(host_id)

    def _client(self) -> Any:
        """A class to call, or None: the host has no package."""
        return self._package if self._configuration.exists() else self._stand_in

    def stats(self) -> dict[str, object]:
        """The value of haStats: never raises, what failed keeps its default."""
        info: dict[str, object] = {
            "configured": False,
            "active": False,
            "score": 0,
            "globalMaintenance": False,
            "localMaintenance": False,
        }
        client = self._client()
        if client is None:
            return info
        try:
            instance = client()
            host_id = instance.get_local_host_id()
            if not host_id:
                return info
            info["configured"] = True
            stats = instance.get_all_stats(timeout=STATS_TIMEOUT_S)
            if 0 in stats:
                info["globalMaintenance"] = stats[0].get(client.GlobalMdFlags.MAINTENANCE, False)
            if host_id in stats:
                info["active"] = stats[host_id]["live-data"]
                info["score"] = stats[host_id]["score"]
                info["localMaintenance"] = stats[host_id]["maintenance"]
        except OSError as e:
            if e.errno == errno.ENOENT:
                log.warning("Failed to retrieve Hosted Engine HA info, is Hosted Engine setup finished?")
            else:
                log.warning("Failed to retrieve Hosted Engine HA info: %s", e)
        except Exception:
            # foreign code: VDSM survives whatever it does
            log.exception("Failed to retrieve Hosted Engine HA info")
        return info

    def set_maintenance(self, mode: str, enabled: object) -> dict[str, object]:
        """Raises ``Refused``: 40 without the package, 61 when it failed or the mode is unknown."""
        client = self._client()
        if client is None:
            raise refusals.unavailable()
        match mode.lower():
            case "global":
                value = client.MaintenanceMode.GLOBAL
            case "local":
                value = client.MaintenanceMode.LOCAL
            case _:
                raise refusals.ha_policy_failed()
        try:
            client().set_maintenance_mode(value, enabled, timeout=MAINTENANCE_TIMEOUT_S)
        except Exception as e:
            log.exception("error setting HA maintenance mode")
            raise refusals.ha_policy_failed() from e
        return {"code": 0, "message": "Done"}

    def is_deployed(self) -> bool:
        """For the capabilities: an exception of the package breaks them, a missing method does not."""
        client = self._client()
        if client is None:
            return False
        is_deployed = getattr(client(), "is_deployed", None)
        return bool(is_deployed()) if is_deployed is not None else False
