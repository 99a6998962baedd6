"""A model of one host's sanlock daemon in virtual time: host ids, what it knows of others, resource leases.

It must never be kinder than sanlock: what sanlock shows late, wrongly or not at all is
shown so here. Rules and delays are sanlock's own (src/delta_lease.c, lockspace.c,
paxos_lease.c, timeouts.c) and are held against recordings of real daemons
(tests/golden/sanlock). No real time, no randomness: disorder comes in by
``jitter_ms`` and ``Disk``. T below is the io timeout, W the watchdog's fire time.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ovirt_he_agent.core import model
from ovirt_he_agent.sim.cluster.lease_volume import WATCHDOG_FIRE_S, DeltaLease, LeaseVolume, dead_s

__all__ = ["Cancel", "DeltaLease", "Disk", "LeaseVolume", "Sanlock", "Timeline"]

IO_MS = 10
"""A few reads and writes of a working disk."""
POLL_MS = 1000
"""sanlock looks once a second whether a join has ended, and whether a lease's owner has died."""
BEFORE_RENEWAL_MS = 500
"""sanlock waits 2 T after a renewal, by sleeps of a second, and then this; and this after a failed one."""
MAIN_LOOP_MS = 500
"""Mean time until the main loop, which runs once a second, sees what a lockspace's thread did, or back."""


class Cancel(Protocol):
    def cancel(self) -> None: ...


class Timeline(Protocol):
    """The world's clock and event queue."""

    def now_ms(self) -> int: ...

    def at(self, ms: int, act: Callable[[], None]) -> Cancel:
        """Call ``act`` at ``ms``; never before ``at`` returns."""


class Disk(Protocol):
    """A host's way to the shared storage."""

    def works(self) -> bool:
        """False: every read and write of this host fails, or hangs, now."""


class _Phase(enum.Enum):
    ADDING = enum.auto()
    HELD = enum.auto()
    DYING = enum.auto()
    """Lost or being left: waits until the holders of its leases are gone."""
    STOPPING = enum.auto()


_MEMBERSHIP = {
    _Phase.ADDING: model.Membership.IN_TRANSITION,
    _Phase.HELD: model.Membership.HELD,
    _Phase.DYING: model.Membership.HELD,  # sanlock: src/lockspace.c, inq_lockspace
    _Phase.STOPPING: model.Membership.IN_TRANSITION,
}


@dataclass(slots=True)
class _Seen:
    """What the daemon read of one host id, and when it last saw a change (seconds)."""

    generation: int
    timestamp: int
    io_timeout_s: int
    last_live_s: int


@dataclass(slots=True, eq=False)
class _Space:
    """A lockspace that the daemon is in, or on its way in or out."""

    name: str
    host_id: int
    io_timeout_s: int
    asked_ms: int
    phase: _Phase = _Phase.ADDING
    generation: int = 0
    last_success_s: int = 0
    renewed: bool = True
    """How the last renewal ended."""
    seen: dict[int, _Seen] = field(default_factory=dict)
    first_check_s: int = 0
    last_check_s: int = 0
    events: dict[str, Cancel] = field(default_factory=dict)
    """At most one of each kind lies in the future."""

    @property
    def listed(self) -> bool:
        return self.phase in (_Phase.HELD, _Phase.DYING)


@dataclass(slots=True, eq=False)
class _Acquisition:
    """A process that waits for a lease whose owner may be dying."""

    key: tuple[str, str]
    pid: int
    generation: int
    done: Callable[[bool], None]
    owner: tuple[int, int, int] | None = None
    """(host id, generation, version of the lease) that the rest was noted for."""
    wait_start_s: int = 0
    last_timestamp: int = 0
    seen_alive: bool = False
    dead_after_s: int = 0
    next: Cancel | None = None


def _no_jitter() -> int:
    return 0


class Sanlock:
    """The daemon of one host. It runs from the start; ``running`` false: nothing answers.

    Callbacks come from the timeline, ``done`` also from within ``acquire``.
    ``lockspace_lost`` names the processes that must be killed now (also when a lockspace
    with holders is left); call ``release`` for each when it has ended.
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
        self.host_name = host_name
        self.running = True
        self._volume = volume
        self._timeline = timeline
        self._disk = disk
        self._watchdog_fire_s = watchdog_fire_s
        self._has_watchdog = has_watchdog
        self._lockspace_lost = lockspace_lost
        self._reset = reset
        self._jitter_ms = jitter_ms
        self._spaces: dict[str, _Space] = {}
        self._holders: dict[tuple[str, str], int] = {}
        self._waiting: list[_Acquisition] = []
        self._releasing: dict[tuple[str, str], Cancel] = {}
        self._doomed: list[Cancel] = []
        """Watchdog of a daemon that was killed: nobody can call it off."""

    # the daemon

    def kill(self) -> None:
        """SIGKILL. Nothing renews; holders live on as orphans; the watchdog resets the host 8T + W
        after the last renewal of a joined lockspace, whether or not another daemon is started.
        """
        joined = [space for space in self._spaces.values() if space.listed]
        refused = self._stop()
        if self._has_watchdog:
            self._doomed += [self._timeline.at(self._reset_ms(space), self._reset) for space in joined]
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
        self.running = False
        for space in self._spaces.values():
            for event in space.events.values():
                event.cancel()
        for release in self._releasing.values():
            release.cancel()
        refused, self._waiting = self._waiting, []
        for acquisition in refused:
            if acquisition.next is not None:
                acquisition.next.cancel()
        self._spaces.clear()
        self._holders.clear()
        self._releasing.clear()
        return refused

    # what the daemon knows, from its memory

    def membership(self, name: str, host_id: int) -> model.Membership:
        """HELD also while holders of a lost lockspace still have to die: sanlock says so."""
        space = self._spaces.get(name)
        if space is None or space.host_id != host_id:
            return model.Membership.NOT_HELD
        return _MEMBERSHIP[space.phase]

    def hosts(self, name: str) -> tuple[model.HostLease, ...] | None:
        """What was read at this host's own renewals; free host ids are left out. None: not joined,
        or no renewal yet (EAGAIN).
        """
        space = self._spaces.get(name)
        if space is None or not space.listed or not space.first_check_s:
            return None
        return tuple(
            model.HostLease(
                host_id=host_id,
                generation=seen.generation,
                timestamp=seen.timestamp,
                io_timeout_s=seen.io_timeout_s,
                flag=self._flag(space, host_id, seen),
            )
            for host_id, seen in sorted(space.seen.items())
            if seen.timestamp
        )

    def _flag(self, space: _Space, host_id: int, seen: _Seen) -> model.HostFlag:
        if not seen.timestamp:
            return model.HostFlag.FREE
        if host_id == space.host_id:
            return model.HostFlag.LIVE
        unchanged_s = self._now_s() - seen.last_live_s
        if unchanged_s > dead_s(seen.io_timeout_s, self._watchdog_fire_s):
            return model.HostFlag.DEAD
        if unchanged_s > 8 * seen.io_timeout_s:
            return model.HostFlag.FAIL
        return model.HostFlag.UNKNOWN if seen.last_live_s == space.first_check_s else model.HostFlag.LIVE

    def raw_owner(self, lockspace: str, resource: str) -> tuple[int, int] | None:
        """(host id, generation) on the storage, dead or not; None: free. The truth: works without a disk."""
        return self._volume.resource(lockspace, resource).owner

    def owners(self, lockspace: str, resource: str) -> tuple[int, ...] | None:
        """As ``Volume.getInfo`` shows them (vdsm: lib/vdsm/storage/clusterlock.py, inspect).

        None: VDSM fails, or cannot tell.

        An owner whose generation is not the one last seen counts as gone, so a
        host that has just (re)joined seems to own nothing until this host's next renewal.
        """
        space = self._spaces.get(lockspace)
        if not self.running or not self._disk.works():
            return None
        owner = self._volume.resource(lockspace, resource).owner
        if owner is None:
            return ()
        if space is None or not space.listed:
            return None
        host_id, generation = owner
        if not space.first_check_s:
            return (host_id,)
        seen = space.seen.get(host_id)
        if seen is None or seen.generation != generation:
            return ()
        gone = (model.HostFlag.DEAD, model.HostFlag.FREE)
        return () if self._flag(space, host_id, seen) in gone else (host_id,)

    # joining

    def add_lockspace(self, name: str, host_id: int, io_timeout_s: int) -> None:
        """Asked without waiting: ``membership`` shows the outcome. In it, under any id: nothing happens."""
        if not self.running or name in self._spaces:
            return
        space = _Space(name, host_id, io_timeout_s, self._timeline.now_ms())
        self._spaces[name] = space
        lease = self._volume.delta(name, host_id)
        if not self._disk.works():
            self._join_ended(space, joined=False)
        elif lease.free or lease.host_name == self.host_name:
            self._claim(space, lease)
        else:
            wait_s = dead_s(lease.io_timeout_s, self._watchdog_fire_s)
            before = (lease.generation, lease.timestamp)
            self._after(space, "join", wait_s * 1000 + IO_MS, lambda: self._waited(space, lease, before))

    def _waited(self, space: _Space, lease: DeltaLease, before: tuple[int, int]) -> None:
        """The id was another host's; has that one renewed meanwhile?"""
        if self._disk.works() and (lease.free or (lease.generation, lease.timestamp) == before):
            self._claim(space, lease)
        else:
            self._join_ended(space, joined=False)

    def _claim(self, space: _Space, lease: DeltaLease) -> None:
        """Write our name, and see later whether it still stands there."""
        wait_s = 2 * (lease.io_timeout_s or space.io_timeout_s)
        lease.timestamp = space.last_success_s = self._now_s()
        lease.generation += 1
        lease.host_name = self.host_name
        lease.io_timeout_s = space.io_timeout_s
        space.generation = lease.generation

        def check() -> None:
            ours = lease.generation == space.generation and lease.host_name == self.host_name
            self._join_ended(space, joined=self._disk.works() and ours)

        self._after(space, "join", wait_s * 1000 + IO_MS, check)

    def _join_ended(self, space: _Space, *, joined: bool) -> None:
        """The result is looked for once a second; the renewals begin before it is found."""
        now = self._timeline.now_ms()
        seconds = (now - space.asked_ms) // POLL_MS + 1
        shown_ms = space.asked_ms + seconds * POLL_MS
        if joined:
            first_ms = self._earliest_renewal_ms(space, now)
            self._at(space, "renew", first_ms, lambda: self._renew(space))
            self._at(space, "join", shown_ms, lambda: self._held(space))
        else:
            self._at(space, "join", shown_ms, lambda: self._gone(space))

    def _held(self, space: _Space) -> None:
        space.phase = _Phase.HELD

    def _gone(self, space: _Space) -> None:
        for event in space.events.values():
            event.cancel()
        if self._spaces.get(space.name) is space:
            del self._spaces[space.name]

    # renewing

    def _renew(self, space: _Space) -> None:
        lease = self._volume.delta(space.name, space.host_id)
        space.renewed = self._disk.works()
        if not space.renewed:
            now = self._timeline.now_ms()
            self._plan_renewal(space, now + BEFORE_RENEWAL_MS)
        elif lease.generation != space.generation or lease.host_name != self.host_name:
            space.renewed = False  # not ours any more: given up at once, and not released
            self._lost(space)
        else:
            now_s = self._now_s()
            self._look_at_others(space, now_s)
            lease.timestamp = space.last_success_s = now_s
            self._plan_renewal(space, self._earliest_renewal_ms(space, self._timeline.now_ms()))

    def _look_at_others(self, space: _Space, now_s: int) -> None:
        """The read before the write of a renewal: the only way to learn of other hosts."""
        for host_id, lease in self._volume.host_ids(space.name).items():
            seen = space.seen.get(host_id)
            if seen is None:
                space.seen[host_id] = _Seen(lease.generation, lease.timestamp, lease.io_timeout_s, now_s)
            elif seen.timestamp != lease.timestamp or seen.generation != lease.generation:
                seen.generation = lease.generation
                seen.timestamp = lease.timestamp
                seen.io_timeout_s = lease.io_timeout_s
                seen.last_live_s = now_s
        space.last_check_s = now_s
        if not space.first_check_s:
            space.first_check_s = now_s

    def _earliest_renewal_ms(self, space: _Space, now_ms: int) -> int:
        """Sleeps of a second from ``now_ms`` on, until 2T have passed since the last success."""
        missing_s = space.last_success_s + 2 * space.io_timeout_s - self._now_s()
        return now_ms + max(missing_s, 0) * 1000 + BEFORE_RENEWAL_MS

    def _plan_renewal(self, space: _Space, ms: int) -> None:
        ms += self._jitter_ms()
        self._at(space, "renew", ms, lambda: self._renew(space))
        lost_ms = self._ms(space.last_success_s + 8 * space.io_timeout_s)
        if (
            space.phase is not _Phase.DYING
            and "lost" not in space.events
            and (not space.renewed or ms >= lost_ms)
        ):
            self._at(space, "lost", lost_ms, lambda: self._lost_if_late(space))

    def _lost_if_late(self, space: _Space) -> None:
        space.events.pop("lost")
        if self._now_s() - space.last_success_s >= 8 * space.io_timeout_s:
            self._lost(space)

    # the end of a lockspace

    def _lost(self, space: _Space) -> None:
        """Nobody may use its leases any more."""
        if space.phase is _Phase.ADDING:  # the main loop does not know of it yet
            self._after(space, "lost", POLL_MS, lambda: self._lost(space))
        elif space.phase is _Phase.HELD:
            self._die(space)
            self._lockspace_lost(space.name, self._holders_in(space.name))

    def _left(self, space: _Space) -> None:
        if space.phase is _Phase.HELD:
            self._die(space)
            if space.phase is _Phase.DYING:
                self._lockspace_lost(space.name, self._holders_in(space.name))

    def rem_lockspace(self, name: str) -> None:
        """Asked without waiting. Holders of its leases are killed. Not in it: nothing happens."""
        space = self._spaces.get(name)
        if space is None:
            return
        if space.phase is _Phase.ADDING and "renew" in space.events:
            self._stop_space(space)
        elif space.phase is _Phase.ADDING:
            # what was written already stays as it is: not free, in our name
            self._after(space, "join", POLL_MS, lambda: self._gone(space))
        elif space.phase is _Phase.HELD and "leave" not in space.events:
            self._after(space, "leave", MAIN_LOOP_MS, lambda: self._left(space))

    def _die(self, space: _Space) -> None:
        space.phase = _Phase.DYING
        if not self._holders_in(space.name):
            self._stop_space(space)
        elif self._has_watchdog:
            self._at(space, "watchdog", self._reset_ms(space), lambda: self._fire(space))

    def _fire(self, space: _Space) -> None:
        """Unless a late renewal pleased the watchdog: the thread renews while holders live."""
        due_ms = self._reset_ms(space)
        if due_ms > self._timeline.now_ms():
            self._at(space, "watchdog", due_ms, lambda: self._fire(space))
        else:
            self._reset()

    def _stop_space(self, space: _Space) -> None:
        """No holder is left: the lease is released, if the last renewal was good."""
        space.phase = _Phase.STOPPING
        for event in space.events.values():
            event.cancel()
        space.events.clear()

        def release() -> None:
            lease = self._volume.delta(space.name, space.host_id)
            ours = lease.generation == space.generation and lease.host_name == self.host_name
            if space.renewed and self._disk.works() and ours:
                lease.timestamp = 0
            self._after(space, "leave", MAIN_LOOP_MS, lambda: self._gone(space))

        self._after(space, "leave", MAIN_LOOP_MS, release)

    # leases of resources

    def acquire(self, lockspace: str, resource: str, pid: int, done: Callable[[bool], None]) -> None:
        """As libvirt does, with flags 0.

        At once if the lease is free, not at all (-243) if its owner was seen
        alive lately; in between it waits until the owner proves to be one or the other.
        """
        key = (lockspace, resource)
        space = self._spaces.get(lockspace)
        busy = key in self._holders or key in self._releasing or any(a.key == key for a in self._waiting)
        if space is None or space.phase is not _Phase.HELD or "leave" in space.events or busy:
            done(False)
            return
        acquisition = _Acquisition(key, pid, space.generation, done)
        self._waiting.append(acquisition)
        self._try(acquisition)

    def _try(self, acquisition: _Acquisition) -> None:
        may = self._may_take(acquisition)
        if may is None:
            ms = self._timeline.now_ms() + POLL_MS
            acquisition.next = self._timeline.at(ms, lambda: self._try(acquisition))
            return
        self._waiting.remove(acquisition)
        if may:
            lease = self._volume.resource(*acquisition.key)
            lease.owner = (self._spaces[acquisition.key[0]].host_id, acquisition.generation)
            lease.version += 1
            self._holders[acquisition.key] = acquisition.pid
        acquisition.done(may)

    def _may_take(self, acquisition: _Acquisition) -> bool | None:
        """None: not known yet (sanlock: src/paxos_lease.c, paxos_lease_acquire)."""
        lockspace = acquisition.key[0]
        space = self._spaces.get(lockspace)
        if space is None or space.phase is not _Phase.HELD or space.generation != acquisition.generation:
            return False
        if not self._disk.works():
            return False
        lease = self._volume.resource(*acquisition.key)
        if lease.owner is None or lease.owner[0] == space.host_id:
            return True
        if acquisition.owner != (*lease.owner, lease.version):
            self._note(acquisition, space, lease.owner, lease.version)
        host = self._volume.delta(lockspace, lease.owner[0])
        if host.free or host.generation > lease.owner[1]:
            return True
        if not acquisition.last_timestamp:
            acquisition.last_timestamp = host.timestamp
            return None
        if acquisition.seen_alive or host.timestamp != acquisition.last_timestamp:
            return False
        return True if self._now_s() - acquisition.wait_start_s > acquisition.dead_after_s else None

    def _note(self, acquisition: _Acquisition, space: _Space, owner: tuple[int, int], version: int) -> None:
        """What is known of the owner when the waiting begins; later renewals do not matter to it."""
        acquisition.owner = (*owner, version)
        seen = space.seen.get(owner[0]) if space.first_check_s else None
        io_timeout_s = seen.io_timeout_s if seen is not None else space.io_timeout_s
        acquisition.dead_after_s = dead_s(io_timeout_s, self._watchdog_fire_s)
        acquisition.seen_alive = seen is not None and seen.last_live_s == space.last_check_s
        if seen is not None and seen.generation == owner[1]:
            acquisition.wait_start_s, acquisition.last_timestamp = seen.last_live_s, seen.timestamp
        else:
            acquisition.wait_start_s, acquisition.last_timestamp = self._now_s(), 0

    def cancel(self, pid: int) -> None:
        """A process that waits has ended: its ``done`` is not called any more."""
        for acquisition in [a for a in self._waiting if a.pid == pid]:
            self._waiting.remove(acquisition)
            if acquisition.next is not None:
                acquisition.next.cancel()

    def release(self, pid: int) -> None:
        """The process has ended, or gives its leases back: they are free at once.

        While the disk is away it is tried again and again; leases in a lost
        lockspace stay as they are on the storage. Orphans of a killed daemon are not known.
        """
        self.cancel(pid)
        for key in [key for key, holder in self._holders.items() if holder == pid]:
            del self._holders[key]
            space = self._spaces.get(key[0])
            if space is None:
                continue
            if space.phase is _Phase.HELD:
                self._free(key, space)
            elif space.phase is _Phase.DYING and not self._holders_in(key[0]):
                self._stop_space(space)

    def _free(self, key: tuple[str, str], space: _Space) -> None:
        self._releasing.pop(key, None)
        if space.phase is not _Phase.HELD:
            return
        if self._disk.works():
            lease = self._volume.resource(*key)
            if lease.owner == (space.host_id, space.generation):
                lease.owner = None
        else:
            ms = self._timeline.now_ms() + POLL_MS
            self._releasing[key] = self._timeline.at(ms, lambda: self._free(key, space))

    # helpers

    def _holders_in(self, lockspace: str) -> tuple[int, ...]:
        return tuple(sorted({pid for (name, _), pid in self._holders.items() if name == lockspace}))

    def _now_s(self) -> int:
        """sanlock's clock; it is never 0."""
        return self._timeline.now_ms() // 1000 + 1

    @staticmethod
    def _ms(second: int) -> int:
        """When that second of sanlock's clock begins."""
        return (second - 1) * 1000

    def _reset_ms(self, space: _Space) -> int:
        """W after the last pet, which may come as late as 8T after the last renewal (wdmd/main.c)."""
        return self._ms(space.last_success_s + dead_s(space.io_timeout_s, self._watchdog_fire_s))

    def _after(self, space: _Space, kind: str, delay_ms: int, act: Callable[[], None]) -> None:
        self._at(space, kind, self._timeline.now_ms() + delay_ms + self._jitter_ms(), act)

    def _at(self, space: _Space, kind: str, ms: int, act: Callable[[], None]) -> None:
        before = space.events.pop(kind, None)
        if before is not None:
            before.cancel()
        space.events[kind] = self._timeline.at(ms, act)
