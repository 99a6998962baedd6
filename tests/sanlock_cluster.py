"""Hosts with the model of sanlock on one storage, in virtual time, for tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ovirt_he_agent.core import model
from ovirt_he_agent.sim.cluster.sanlock import LeaseVolume, Sanlock
from tests.traces.scenarios import HOSTS, LOCKSPACE
from tests.virtual_time import VirtualTime

W = 60
VM = "vm"


@dataclass(slots=True)
class Disk:
    ok: bool = True

    def works(self) -> bool:
        return self.ok


@dataclass(slots=True, eq=False)
class Host:
    """A host whose lease holders die when told, unless they are ``stubborn``."""

    sanlock: Sanlock
    disk: Disk
    stubborn: bool = False
    lost: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    killed: list[tuple[int, int]] = field(default_factory=list)
    """When (milliseconds) which process had to die."""
    resets: list[int] = field(default_factory=list)
    """When the watchdog fired (milliseconds)."""

    def held(self, host_id: int = 1) -> bool:
        return self.sanlock.membership(LOCKSPACE, host_id) is model.Membership.HELD

    def flag(self, host_id: int) -> model.HostFlag | None:
        """None: no hosts are known, or the id is free."""
        for host in self.sanlock.hosts(LOCKSPACE) or ():
            if host.host_id == host_id:
                return host.flag
        return None

    def generation(self, host_id: int) -> int | None:
        for host in self.sanlock.hosts(LOCKSPACE) or ():
            if host.host_id == host_id:
                return host.generation
        return None

    def join(self, host_id: int, io_timeout_s: int) -> None:
        self.sanlock.add_lockspace(LOCKSPACE, host_id, io_timeout_s)

    def acquire(self, pid: int, resource: str = VM) -> list[bool]:
        """Filled when the outcome is known."""
        outcome: list[bool] = []
        self.sanlock.acquire(LOCKSPACE, resource, pid, outcome.append)
        return outcome

    def owners(self, resource: str = VM) -> tuple[int, ...] | None:
        return self.sanlock.owners(LOCKSPACE, resource)


class Cluster:
    def __init__(
        self,
        names: tuple[str, ...] = HOSTS,
        *,
        has_watchdog: bool = True,
        watchdog_fire_s: int = W,
        jitter_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self.time = VirtualTime()
        self.volume = LeaseVolume()
        self.hosts = [
            self._host(name, has_watchdog=has_watchdog, watchdog_fire_s=watchdog_fire_s, jitter_ms=jitter_ms)
            for name in names
        ]

    def _host(self, name: str, **options: Any) -> Host:
        disk = Disk()

        def lost(lockspace: str, pids: tuple[int, ...]) -> None:
            host.lost.append((lockspace, pids))
            host.killed += [(self.time.now_ms(), pid) for pid in pids]
            if not host.stubborn:
                for pid in pids:
                    host.sanlock.release(pid)

        def reset() -> None:
            host.resets.append(self.time.now_ms())
            host.sanlock.stop_host()

        sanlock = Sanlock(name, self.volume, self.time, disk, lockspace_lost=lost, reset=reset, **options)
        host = Host(sanlock, disk)
        return host

    def all_join(self, io_timeout_s: int) -> tuple[Host, ...]:
        """Every host under its own id, from 1 on; all know each other then."""
        for number, host in enumerate(self.hosts):
            host.join(number + 1, io_timeout_s)
            self.time.run_for(0.3)
        self.time.run_for(10 * io_timeout_s)
        return tuple(self.hosts)

    def renewed_ms(self, host_id: int) -> int:
        """When the host id was renewed last, to the second below."""
        return (self.volume.delta(LOCKSPACE, host_id).timestamp - 1) * 1000
