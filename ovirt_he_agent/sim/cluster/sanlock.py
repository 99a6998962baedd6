"""A model of one host's sanlock daemon in virtual time: its lockspaces, and leases of resources.

It must never be kinder than sanlock: what sanlock shows late, wrongly or not at all
is shown so here. Rules and delays are sanlock's own (src/paxos_lease.c,
src/resource.c) and are held against recordings of real daemons
(tests/golden/sanlock). No real time, no randomness: disorder comes in by
``jitter_ms`` and ``Disk``. T is the io timeout, W the watchdog's fire time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ovirt_he_agent.core import model
from ovirt_he_agent.sim.cluster.lease_volume import WATCHDOG_FIRE_S, LeaseVolume, ResourceLease
from ovirt_he_agent.sim.cluster.lockspace import POLL_MS, Host, Lockspace, Phase, Seen
from ovirt_he_agent.sim.cluster.ports import Cancel, Disk, Timeline

__all__ = ["Cancel", "Disk", "LeaseVolume", "Sanlock", "Timeline"]


_GONE = (model.HostFlag.DEAD, model.HostFlag.FREE)


def _listed(host_id: int, seen: Seen, flag: model.HostFlag) -> model.HostLease:
    """The same object as long as it says the same."""
    old = seen.told
    same = old is not None and (old.timestamp, old.generation) == (seen.timestamp, seen.generation)
    if old is not None and same and old.flag is flag and old.io_timeout_s == seen.io_timeout_s:
        return old
    seen.told = model.HostLease(
        host_id=host_id,
        generation=seen.generation,
        timestamp=seen.timestamp,
        io_timeout_s=seen.io_timeout_s,
        flag=flag,
    )
    return seen.told


def _no_jitter() -> int:
    return 0


@dataclass(slots=True, eq=False)
class _Acquisition:
    """A process that waits for a lease whose owner may be dying."""

    key: tuple[str, str]
    lockspace: Lockspace
    lease: ResourceLease
    pid: int
    done: Callable[[bool], None]
    noted_for: int | None = None
    """Version of the lease when the rest was noted."""
    wait_start_s: int = 0
    last_timestamp: int = 0
    seen_alive: bool = False
    dead_after_s: int = 0
    next: Cancel | None = None


class Sanlock:
    """The daemon of one host. It runs from the start; ``running`` false: nothing answers.

    Callbacks come from the timeline, ``done`` also from within ``acquire``.
    ``lockspace_lost`` names the processes that must be killed now, none perhaps; it also comes
    when a lockspace is left that has holders. Call ``release`` for each when it has ended.
    ``reset`` is the watchdog: nothing of the host runs any more; call ``stop_host``.
    """

    def __init__(
        self,
        host_name: str,
        volume: LeaseVolume,
        timeline: Timeline,
        disk: Disk,
        *,
        lockspace_lost: Callable[[str, tuple[int, ...]], None],
        reset: Callable[[], None],
        watchdog_fire_s: int = WATCHDOG_FIRE_S,
        has_watchdog: bool = True,
        jitter_ms: Callable[[], int] = _no_jitter,
    ) -> None:
        """``jitter_ms`` is asked for an additional delay, >= 0, of each renewal and each step of a join."""
        self.running = True
        self._host = Host(
            name=host_name,
            volume=volume,
            timeline=timeline,
            disk=disk,
            watchdog_fire_s=watchdog_fire_s,
            has_watchdog=has_watchdog,
            jitter_ms=jitter_ms,
            reset=reset,
        )
        self._lockspace_lost = lockspace_lost
        self._lockspaces: dict[str, Lockspace] = {}
        self._holders: dict[tuple[str, str], int] = {}
        self._waiting: list[_Acquisition] = []
        self._releasing: dict[tuple[str, str], Cancel] = {}
        self._doomed: list[Cancel] = []
        """The watchdog of a daemon that was killed: nobody can call it off."""

    # the daemon

    def kill(self) -> None:
        """SIGKILL. Nothing renews; holders live on as orphans, whoever waits is refused.

        The watchdog resets the host 8T + W after the last renewal of a lockspace
        that was joined, whether or not another daemon is started (wdmd/main.c, test_clients).
        """
        now_ms = self._host.timeline.now_ms()
        joined = [lockspace for lockspace in self._lockspaces.values() if lockspace.listed()]
        reset_ms = [max(lockspace.reset_ms, now_ms) for lockspace in joined]
        refused = self._stop()
        if self._host.has_watchdog:
            self._doomed += [self._host.timeline.at(ms, self._host.reset) for ms in reset_ms]
        for acquisition in refused:
            acquisition.done(False)

    def stop_host(self) -> None:
        """Power loss or reset: nothing runs any more, and nobody is told."""
        self._stop()
        for event in self._doomed:
            event.cancel()
        self._doomed.clear()

    def start(self) -> None:
        """A new daemon, which knows nothing of the lockspaces and holders of the last one."""
        self.running = True

    def _stop(self) -> list[_Acquisition]:
        """The acquisitions that waited."""
        self.running = False
        waited, self._waiting = self._waiting, []
        planned = [*self._releasing.values(), *(a.next for a in waited if a.next is not None)]
        for event in planned:
            event.cancel()
        for lockspace in self._lockspaces.values():
            lockspace.forget()
        self._lockspaces.clear()
        self._holders.clear()
        self._releasing.clear()
        return waited

    # lockspaces

    def add_lockspace(self, name: str, host_id: int, io_timeout_s: int) -> None:
        """Asked without waiting: ``membership`` shows the outcome. In it, under any id: nothing happens."""
        if not self.running or name in self._lockspaces:
            return

        def gone() -> None:
            del self._lockspaces[name]

        def holders() -> tuple[int, ...]:
            return tuple(sorted({pid for key, pid in self._holders.items() if key[0] == name}))

        self._lockspaces[name] = Lockspace(
            self._host,
            name,
            host_id,
            io_timeout_s,
            holders=holders,
            kill=lambda pids: self._lockspace_lost(name, pids),
            gone=gone,
        )

    def rem_lockspace(self, name: str) -> None:
        """Asked without waiting. Holders of its leases are killed. Not in it: nothing happens."""
        lockspace = self._lockspaces.get(name)
        if lockspace is not None:
            lockspace.leave()

    def membership(self, name: str, host_id: int) -> model.Membership:
        """HELD also while holders of a lost lockspace still have to die: sanlock says so."""
        lockspace = self._lockspaces.get(name)
        if lockspace is None or lockspace.host_id != host_id:
            return model.Membership.NOT_HELD
        return lockspace.membership

    def hosts(self, name: str) -> tuple[model.HostLease, ...] | None:
        """What this host's own renewals read; free host ids are left out.

        None: not joined, or no renewal yet (EAGAIN).
        """
        lockspace = self._lockspaces.get(name)
        hosts = lockspace.hosts() if lockspace is not None else None
        if lockspace is None or hosts is None:
            return None
        listed = [
            _listed(host_id, seen, lockspace.flag(host_id, seen))
            for host_id, seen in sorted(hosts.items())
            if seen.timestamp
        ]
        return tuple(listed)

    # who owns a resource

    def raw_owner(self, lockspace: str, resource: str) -> tuple[int, int] | None:
        """(host id, generation) on the storage, dead or not; None: free. The truth: needs no disk."""
        return self._host.volume.resource(lockspace, resource).owner

    def owners(self, lockspace: str, resource: str) -> tuple[int, ...] | None:
        """As ``Volume.getInfo`` shows them (vdsm: lib/vdsm/storage/clusterlock.py, inspect).

        An owner whose generation is not the one last seen counts as gone, so a host
        that has just joined seems to own nothing until this host's next renewal.
        None: VDSM fails, or cannot tell.
        """
        if not self.running or not self._host.disk.works():
            return None
        owner = self.raw_owner(lockspace, resource)
        if owner is None:
            return ()
        here = self._lockspaces.get(lockspace)
        if here is None or not here.listed():
            return None
        host_id, generation = owner
        hosts = here.hosts()
        if hosts is None:
            return (host_id,)
        seen = hosts.get(host_id)
        if seen is None or seen.generation != generation or here.flag(host_id, seen) in _GONE:
            return ()
        return (host_id,)

    # leases

    def acquire(self, lockspace: str, resource: str, pid: int, done: Callable[[bool], None]) -> None:
        """As libvirt does, with flags 0.

        At once if the lease is free, not at all (-243) if its owner was seen
        alive lately; in between it waits until the owner proves to be one or the other.
        """
        key = (lockspace, resource)
        here = self._lockspaces.get(lockspace)
        busy = key in self._holders or key in self._releasing or any(a.key == key for a in self._waiting)
        if here is None or not here.usable or busy:
            done(False)
            return
        lease = self._host.volume.resource(lockspace, resource)
        acquisition = _Acquisition(key, here, lease, pid, done)
        self._waiting.append(acquisition)
        self._try(acquisition)

    def _try(self, acquisition: _Acquisition) -> None:
        may = self._may_take(acquisition)
        if may is None:
            ms = self._host.timeline.now_ms() + POLL_MS
            acquisition.next = self._host.timeline.at(ms, lambda: self._try(acquisition))
            return
        self._waiting.remove(acquisition)
        if may:
            lease, here = acquisition.lease, acquisition.lockspace
            lease.owner = (here.host_id, here.generation)
            lease.version += 1
            self._holders[acquisition.key] = acquisition.pid
        acquisition.done(may)

    def _may_take(self, acquisition: _Acquisition) -> bool | None:
        """None: not known yet (sanlock: src/paxos_lease.c, paxos_lease_acquire)."""
        lease, here = acquisition.lease, acquisition.lockspace
        if not here.usable or not self._host.disk.works():
            return False
        if lease.owner is None or lease.owner[0] == here.host_id:
            return True
        if acquisition.noted_for != lease.version:
            self._note(acquisition, *lease.owner)
        owner = self._host.volume.delta(here.name, lease.owner[0])
        if owner.free or owner.generation > lease.owner[1]:
            return True
        if not acquisition.last_timestamp:
            acquisition.last_timestamp = owner.timestamp
            return None
        if acquisition.seen_alive or owner.timestamp != acquisition.last_timestamp:
            return False
        # safety: more than 8T + W without a renewal, so the owner's watchdog has fired
        return True if self._host.now_s() - acquisition.wait_start_s > acquisition.dead_after_s else None

    def _note(self, acquisition: _Acquisition, host_id: int, generation: int) -> None:
        """What is known of the owner when the waiting begins; later renewals do not matter to it."""
        here = acquisition.lockspace
        seen = (here.hosts() or {}).get(host_id)
        acquisition.noted_for = acquisition.lease.version
        acquisition.dead_after_s = self._host.dead_s(seen.io_timeout_s if seen else here.io_timeout_s)
        acquisition.seen_alive = seen is not None and seen.last_live_s == here.last_check_s
        if seen is not None and seen.generation == generation:
            acquisition.wait_start_s, acquisition.last_timestamp = seen.last_live_s, seen.timestamp
        else:
            acquisition.wait_start_s, acquisition.last_timestamp = self._host.now_s(), 0

    def cancel(self, pid: int) -> None:
        """A process that waits has ended: its ``done`` is not called any more."""
        for acquisition in [a for a in self._waiting if a.pid == pid]:
            self._waiting.remove(acquisition)
            if acquisition.next is not None:
                acquisition.next.cancel()

    def release(self, pid: int) -> None:
        """The process has ended, or gives its leases back: they are free at once.

        While the disk is away that is tried again every second; leases in a lost
        lockspace stay as they are on the storage. Orphans of a killed daemon are not known.
        """
        self.cancel(pid)
        for key in [key for key, holder in self._holders.items() if holder == pid]:
            del self._holders[key]
            here = self._lockspaces[key[0]]
            self._free(key, here)
            here.holder_ended()

    def _free(self, key: tuple[str, str], here: Lockspace) -> None:
        self._releasing.pop(key, None)
        if here.phase is not Phase.HELD:
            return
        if self._host.disk.works():
            lease = self._host.volume.resource(*key)
            if lease.owner == (here.host_id, here.generation):
                lease.owner = None
        else:
            ms = self._host.timeline.now_ms() + POLL_MS
            self._releasing[key] = self._host.timeline.at(ms, lambda: self._free(key, here))
