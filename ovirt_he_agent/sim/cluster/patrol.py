"""The invariants of liveness, looked at every few seconds: what must have happened by now and has not.

A bound counts only while everything that it presupposes has been true in the simulated
world at every look since; whatever is broken, or under way, starts it anew. L-numbers
are those of docs/decisions.md.
"""

from typing import TYPE_CHECKING

from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import VmStatus
from ovirt_he_agent.core.state import Phase

if TYPE_CHECKING:
    from ovirt_he_agent.sim.cluster.host import SimHost
    from ovirt_he_agent.sim.cluster.world import World

OFF = (b"maintenance=0", b"maintenance=False", b"")
WORKING = frozenset((Phase.STANDBY, Phase.RUNNING, Phase.STARTING, Phase.SICK, Phase.STOPPING))
RETRY_S = 120
"""The longest pause between two tries of a host that nobody can stand in for."""
SLACK_S = 30
STALE_S = 60 + 20
"""Until the word of a host that is gone is old, and the leases have been seen free for long enough."""
NORMAL_S = 10
"""From the end of maintenance until a host has seen it: it reads slot 0 and ha.conf every 10 s."""


class Patrol:
    """``look`` every few seconds."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._well_s: dict[int, float] = {}
        """By host: since when it has been seen whole."""
        self._able_s: dict[int, float] = {}
        """By host: since when it has been seen to have all that a start needs, the VM nowhere."""
        self._calm_s: dict[int, float] = {}
        """By host: since when no maintenance has been seen that concerns it."""
        self._both_s: float | None = None
        """Since when more hosts of ours than there are VMs have been seen in RUNNING."""

    def look(self) -> None:
        world = self._world
        now_s = world.now_s()
        for host in world.hosts.values():
            well = is_well(host)
            _since(self._well_s, host.number, well, now_s)
            _since(self._calm_s, host.number, well and not in_maintenance(host), now_s)
            _since(self._able_s, host.number, well and self._is_able(host), now_s)
            self._is_back(host, now_s)
        self._starts(now_s)
        self._one_runs(now_s)

    def _is_back(self, host: "SimHost", now_s: float) -> None:
        checks = self._world.checks
        decided = checks.decisions().get(host.number)
        if decided is None:
            return
        phase = decided.phase
        bound_s = 2 * self._world.io_timeout_s + 15
        # either may have been away between two looks
        back_s = max(host.vdsm.back_ms, host.way.healed_ms) / 1000
        well_for_s = now_s - max(back_s, self._well_s.get(host.number, now_s))
        if phase in (Phase.CUT, Phase.BLIND, Phase.INIT) and well_for_s > bound_s:
            checks.broken("L3", host, f"all is well for {well_for_s:.0f} s, and it is {phase.value}")
            del self._well_s[host.number]
        changed_s = max(checks.slots.global_changed_ms, host.local_changed_ms) / 1000
        calm_for_s = now_s - max(changed_s, self._calm_s.get(host.number, now_s))
        if phase in (Phase.FROZEN, Phase.LOCAL) and calm_for_s > NORMAL_S:
            checks.broken("L5", host, f"maintenance is off for {calm_for_s:.0f} s, and it is {phase.value}")
            self._calm_s.pop(host.number, None)

    def _is_able(self, host: "SimHost") -> bool:
        """Nothing that the world knows of stands against a start on ``host``."""
        world = self._world
        if world.qemus or in_maintenance(host) or host.vdsm.faults.latency_s:
            return False
        if any(
            h.vdsm.record is not None and h.vdsm.record.status is not VmStatus.DOWN
            for h in world.hosts.values()
        ):
            return False
        definition = world.definition_of(host)
        if definition is None or not definition.facts.leases or not all(world.storage.leaves.values()):
            return False
        decided = world.checks.decisions().get(host.number)
        if decided is None or decided.phase is Phase.COOLDOWN or decided.state.memory.unprotected:
            return False
        if any(slot and not slot.isascii() for number, slot in world.storage.slots.items()):
            return False
        owner = host.sanlock.raw_owner(world.domain_id, world.volume_id)
        if owner is None or owner[0] == host.host_id:
            return True
        seen = {h.host_id: h for h in host.sanlock.hosts(world.domain_id) or ()}.get(owner[0])
        return (
            seen is None
            or seen.generation != owner[1]
            or seen.flag in (model.HostFlag.DEAD, model.HostFlag.FREE)
        )

    def _starts(self, now_s: float) -> None:
        """L1, and L2 where one host is alone."""
        world = self._world
        if not self._able_s:
            return
        dead_s = 8 * world.io_timeout_s + world.watchdog_s
        bound_s = RETRY_S + SLACK_S + STALE_S + dead_s + 12 * len(world.hosts)
        able_for_s = now_s - min(self._able_s.values())
        idle_s = now_s - world.checks.last_start_ms() / 1000
        if able_for_s > bound_s and idle_s > RETRY_S + SLACK_S + 12 * len(world.hosts):
            number = min(self._able_s, key=lambda n: self._able_s[n])
            alone = sum(host.powered for host in world.hosts.values()) == 1
            text = f"the VM could start here for {able_for_s:.0f} s, and the last try was {idle_s:.0f} s ago"
            world.checks.broken("L2" if alone else "L1", world.hosts[number], text)
            self._able_s.clear()

    def _one_runs(self, now_s: float) -> None:
        """The second half of S3: what a host believes of itself may lag behind, but not for long."""
        world = self._world
        running = [
            number
            for number, decided in world.checks.decisions().items()
            if decided.phase is Phase.RUNNING and _is_awake(world.hosts[number])
        ]
        if len(running) <= max(1, len(world.qemus)):
            self._both_s = None
        elif self._both_s is None:
            self._both_s = now_s
        elif now_s - self._both_s > 2 * world.io_timeout_s + 10:
            world.checks.broken(
                "S3", None, f"hosts {running} are all RUNNING for {now_s - self._both_s:.0f} s"
            )
            self._both_s = now_s


def _since(times: dict[int, float], number: int, holds: bool, now_s: float) -> None:
    if holds:
        times.setdefault(number, now_s)
    else:
        times.pop(number, None)


def _is_awake(host: "SimHost") -> bool:
    agent = host.agent
    return host.powered and not host.upstream and agent is not None and agent.alive and not agent.owner.frozen


def in_maintenance(host: "SimHost") -> bool:
    """Of either kind."""
    return host.local_maintenance or host.world.storage.slots[0][:64].rstrip(b"\0") not in OFF


def is_well(host: "SimHost") -> bool:
    """A host of ours on which everything works."""
    if not _is_awake(host) or host.running_for_s() < 60 or not host.writes_well_for_s(0):
        return False
    vdsm = host.vdsm
    return vdsm.up and not vdsm.recovering and vdsm.domain_lease() is model.Membership.HELD
