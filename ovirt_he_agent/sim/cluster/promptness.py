"""L1's short bounds: where one thing goes wrong in a cluster at rest, the VM starts again within seconds.

``Patrol`` grants every start the time that troubles of all kinds may cost together. Here nothing but the
VM's end has happened for so long that no trouble is left over, so nothing but the bound itself is granted.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ovirt_he_agent.core import model
from ovirt_he_agent.sim.cluster.patrol import in_maintenance, is_well
from ovirt_he_agent.sim.cluster.qemu import Qemu
from ovirt_he_agent.sim.cluster.vdsm import Faults

if TYPE_CHECKING:
    from ovirt_he_agent.sim.cluster.host import SimHost
    from ovirt_he_agent.sim.cluster.world import World

COLD_S = 30.0
"""From the start of a site's services."""
END_S = 5.0
"""From the VM's end on a host that lives, or from the moment when sanlock calls the VM's host dead."""
RANK_S = 12.0
"""More for each host that may be the better one and does not act: one of upstream's."""
CALM_S = 180.0
"""What happened before is forgotten: 8 T + W, a join, and a look."""
GOOD_S = 15.0


class Promptness:
    """``did`` does each deed of the story and sees what came of it."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._deeds = 0
        self._last_deed_s = -CALM_S

    def begin(self, *, off: bool) -> None:
        """All hosts but those that are ``off`` boot now: a cold start of the site."""
        if not off and any(not host.upstream for host in self._world.hosts.values()):
            self._must_start("the site has started", COLD_S)

    def did(self, deed: Callable[[], None]) -> None:
        world = self._world
        qemu = world.running
        one_thing = qemu is not None and world.now_s() - self._last_deed_s >= CALM_S and self._is_calm(qemu)
        deed()
        self._deeds += 1
        self._last_deed_s = world.now_s()
        if qemu is None or not one_thing or qemu.alive:
            return
        host = world.hosts[qemu.number]
        if not host.powered:
            self._when_dead(host, self._deeds)
        elif host.off_at_ms is not None:
            if self._ours():
                self._must_start("the VM's host shuts down", END_S)
        elif not host.upstream:
            self._must_start("the VM has crashed", END_S)

    def _is_calm(self, qemu: Qemu) -> bool:
        world = self._world
        good_ms, definition = world.good_since_ms, world.definition
        return (
            len(world.starts) == 1
            and qemu.has_lease
            and good_ms is not None
            and world.loop.now_ms() - good_ms > GOOD_S * 1000
            and definition is not None
            and {ref.volume_id for ref in definition.facts.leases} == {qemu.volume_id}
            and not world.definitions_of
            and world.switch_up
            and world.dns_up
            and world.gateway_up
            and all(self._is_whole(host) for host in world.hosts.values())
        )

    def _is_whole(self, host: "SimHost") -> bool:
        return (
            host.powered
            and (host.upstream or is_well(host))
            and not in_maintenance(host)
            and host.network_up
            and host.dns_up
            and host.bridge_up
            and host.gateway_up
            and host.memory_free_mib > self._world.memory_mib
            and host.crash_at is None
            and host.vdsm.faults == Faults()
        )

    def _ours(self) -> list["SimHost"]:
        """Those that stay."""
        hosts = self._world.hosts.values()
        return [host for host in hosts if host.powered and host.off_at_ms is None and not host.upstream]

    def _when_dead(self, died: "SimHost", deeds: int) -> None:
        """Sanlock's time is nobody's fault: the bound counts from its word, on all hosts of ours."""
        world = self._world
        ours = self._ours()
        if self._deeds != deeds or not ours or len(world.starts) > 1:
            return
        if all(_is_dead(died, on) for on in ours):
            self._must_start(f"{died.name} is dead", END_S)
        else:
            world.at(world.now_s() + 1, lambda: self._when_dead(died, deeds))

    def _must_start(self, why: str, within_s: float) -> None:
        """Unless something else happens meanwhile; one that is calm has started it once."""
        world, deeds, starts = self._world, self._deeds, len(self._world.starts)
        upstream = sum(host.upstream for host in world.hosts.values())
        within_s += world.launch_s + RANK_S * upstream

        def look() -> None:
            if self._deeds == deeds and len(world.starts) == starts:
                world.checks.broken("L1", None, f"{why}, and the VM is not started within {within_s:g} s")

        world.at(world.now_s() + within_s, look)


def _is_dead(died: "SimHost", on: "SimHost") -> bool:
    hosts = on.sanlock.hosts(on.world.domain_id) or ()
    return any(h.host_id == died.host_id and h.flag is model.HostFlag.DEAD for h in hosts)
