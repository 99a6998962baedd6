"""One lockspace of one modelled sanlock daemon: its host id's lease, and what it knows of other hosts.

It joins, renews, gives up, leaves, and sees others only when it renews. The rules
and delays are sanlock's own: src/delta_lease.c, src/lockspace.c, src/main.c
(main_loop), src/timeouts.c. T is the io timeout, W the watchdog's fire time.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from ovirt_he_agent.core import model
from ovirt_he_agent.sim.cluster import ports
from ovirt_he_agent.sim.cluster.lease_volume import DeltaLease, LeaseVolume, dead_s

IO_MS = 10
"""A few reads and writes of a working disk."""
POLL_MS = 1000
"""sanlock looks once a second whether a join has ended."""
BEFORE_RENEWAL_MS = 500
"""sanlock waits 2T after a renewal, in sleeps of a second, and then this; and this after a failed one."""
MAIN_LOOP_MS = 500
"""Mean time until the main loop, which runs once a second, sees what a lockspace's thread did, or back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all lockspaces of a daemon share."""

    name: str
    volume: LeaseVolume
    timeline: ports.Timeline
    disk: ports.Disk
    watchdog_fire_s: int
    has_watchdog: bool
    jitter_ms: Callable[[], int]
    reset: Callable[[], None]

    def now_s(self) -> int:
        """sanlock's clock; it is never 0."""
        return self.timeline.now_ms() // 1000 + 1

    def dead_s(self, io_timeout_s: int) -> int:
        return dead_s(io_timeout_s, self.watchdog_fire_s)


def ms_of(second: int) -> int:
    """When that second of sanlock's clock begins."""
    return (second - 1) * 1000


class Phase(enum.Enum):
    ADDING = enum.auto()
    HELD = enum.auto()
    DYING = enum.auto()
    """Lost or being left: waits until the holders of its leases are gone, and renews meanwhile."""
    STOPPING = enum.auto()


_MEMBERSHIP = {
    Phase.ADDING: model.Membership.IN_TRANSITION,
    Phase.HELD: model.Membership.HELD,
    Phase.DYING: model.Membership.HELD,  # sanlock: src/lockspace.c, inq_lockspace
    Phase.STOPPING: model.Membership.IN_TRANSITION,
}


@dataclass(slots=True)
class Seen:
    """What was last read of one host id, and when that was news (seconds)."""

    generation: int
    timestamp: int
    io_timeout_s: int
    last_live_s: int
    told: model.HostLease | None = None
    """As it was listed last."""


class Lockspace:
    """Begins to join when it is made. ``holders`` are the processes that hold leases in it now;
    ``kill`` asks for their end, ``gone`` tells that nothing of the lockspace is left.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        host_id: int,
        io_timeout_s: int,
        *,
        holders: Callable[[], tuple[int, ...]],
        kill: Callable[[tuple[int, ...]], None],
        gone: Callable[[], None],
    ) -> None:
        self.name = name
        self.host_id = host_id
        self.io_timeout_s = io_timeout_s
        self.phase = Phase.ADDING
        self.generation = 0
        self.last_check_s = 0
        """When others were last looked at; 0: never."""
        self._host = host
        self._holders = holders
        self._kill = kill
        self._gone = gone
        self._asked_ms = host.timeline.now_ms()
        self._lease = host.volume.delta(name, host_id)
        self._last_success_s = 0
        self._renewed = True
        self._first_check_s = 0
        self._known_from_ms = 0
        self._seen: dict[int, Seen] = {}
        self._events: dict[str, ports.Cancel] = {}
        """At most one of each kind lies in the future."""
        self._join()

    # what it knows

    @property
    def membership(self) -> model.Membership:
        return _MEMBERSHIP[self.phase]

    @property
    def usable(self) -> bool:
        """Leases in it may be taken."""
        return self.phase is Phase.HELD and "leave" not in self._events

    @property
    def reset_ms(self) -> int:
        """When the watchdog fires if nothing is renewed any more.

        That is W after its last pet, which comes 8T after the last renewal at the latest (wdmd/main.c).
        """
        return ms_of(self._last_success_s + self._host.dead_s(self.io_timeout_s))

    def listed(self) -> bool:
        """Whether sanlock answers questions about its hosts at all: else ENOENT."""
        return self.phase in (Phase.HELD, Phase.DYING)

    def hosts(self) -> dict[int, Seen] | None:
        """Free host ids included. None: nothing is known yet (EAGAIN), or not joined."""
        known = self._first_check_s and self._host.timeline.now_ms() >= self._known_from_ms
        return self._seen if self.listed() and known else None

    def flag(self, host_id: int, seen: Seen) -> model.HostFlag:
        if not seen.timestamp:
            return model.HostFlag.FREE
        if host_id == self.host_id:
            return model.HostFlag.LIVE
        unchanged_s = self._host.now_s() - seen.last_live_s
        if unchanged_s > self._host.dead_s(seen.io_timeout_s):
            return model.HostFlag.DEAD
        if unchanged_s > 8 * seen.io_timeout_s:
            return model.HostFlag.FAIL
        return model.HostFlag.UNKNOWN if seen.last_live_s == self._first_check_s else model.HostFlag.LIVE

    # joining

    def _join(self) -> None:
        lease = self._lease
        if not self._host.disk.works():
            self._join_ended(joined=False)
        elif lease.free or lease.host_name == self._host.name:
            self._plan_claim()
        else:
            # safety: not before the watchdog of the host that has this id has fired
            before = (lease.generation, lease.timestamp)
            wait_ms = self._host.dead_s(lease.io_timeout_s) * 1000 + IO_MS
            self._after("join", wait_ms, lambda: self._waited(lease, before))

    def _waited(self, lease: DeltaLease, before: tuple[int, int]) -> None:
        """The id was another host's: has that one renewed meanwhile?"""
        if self._host.disk.works() and (lease.free or (lease.generation, lease.timestamp) == before):
            self._plan_claim()
        else:
            self._join_ended(joined=False)

    def _plan_claim(self) -> None:
        """The lease was read; a host that reads it before we write will write over our name."""
        generation = self._lease.generation + 1
        wait_s = 2 * (self._lease.io_timeout_s or self.io_timeout_s)
        self._at("join", self._host.timeline.now_ms() + IO_MS, lambda: self._claim(generation, wait_s))

    def _claim(self, generation: int, wait_s: int) -> None:
        """Write our name, and see later whether it still stands there."""
        if not self._host.disk.works():
            self._join_ended(joined=False)
            return
        self._lease.timestamp = self._last_success_s = self._host.now_s()
        self._lease.generation = self.generation = generation
        self._lease.host_name = self._host.name
        self._lease.io_timeout_s = self.io_timeout_s
        self._after("join", wait_s * 1000 + IO_MS, self._check_claim)

    def _check_claim(self) -> None:
        self._join_ended(joined=self._host.disk.works() and self._is_ours())

    def _join_ended(self, *, joined: bool) -> None:
        """The result is looked for once a second; the renewals do not wait for that."""
        seconds = (self._host.timeline.now_ms() - self._asked_ms) // POLL_MS + 1
        if joined:
            self._plan_renewal()
        self._at("join", self._asked_ms + seconds * POLL_MS, self._held if joined else self._end)

    def _held(self) -> None:
        self.phase = Phase.HELD
        self._known_from_ms = self._host.timeline.now_ms() + MAIN_LOOP_MS
        del self._events["join"]

    def _is_ours(self) -> bool:
        return self._lease.generation == self.generation and self._lease.host_name == self._host.name

    # renewing

    def _renew(self) -> None:
        self._renewed = self._host.disk.works() and self._is_ours()
        if self._renewed:
            now_s = self._host.now_s()
            self._look_at_others(now_s)
            self._lease.timestamp = self._last_success_s = now_s
        elif self._host.disk.works():
            self._lost()  # another host has the id
            return
        self._plan_renewal()

    def _look_at_others(self, now_s: int) -> None:
        """The read before the write of a renewal: the only way to learn of other hosts."""
        for host_id, lease in self._host.volume.host_ids(self.name).items():
            seen = self._seen.get(host_id)
            if seen is None:
                self._seen[host_id] = Seen(lease.generation, lease.timestamp, lease.io_timeout_s, now_s)
            elif seen.timestamp != lease.timestamp or seen.generation != lease.generation:
                seen.generation = lease.generation
                seen.timestamp = lease.timestamp
                seen.io_timeout_s = lease.io_timeout_s
                seen.last_live_s = now_s
        self.last_check_s = now_s
        self._first_check_s = self._first_check_s or now_s

    def _plan_renewal(self) -> None:
        host = self._host
        missing_s = 2 * self.io_timeout_s - (host.now_s() - self._last_success_s)
        ms = host.timeline.now_ms() + max(missing_s, 0) * 1000 + BEFORE_RENEWAL_MS + host.jitter_ms()
        self._at("renew", ms, self._renew)
        lost_ms = ms_of(self._last_success_s + 8 * self.io_timeout_s)
        if (ms >= lost_ms or not self._renewed) and self.phase is not Phase.DYING:
            self._at("lost", max(lost_ms, host.timeline.now_ms()), self._lost_if_late)

    def _lost_if_late(self) -> None:
        if self._host.now_s() - self._last_success_s >= 8 * self.io_timeout_s:
            self._lost()

    # the end

    def leave(self) -> None:
        """Asked without waiting; holders are killed."""
        if self.phase is Phase.HELD and "leave" not in self._events:
            self._after("leave", MAIN_LOOP_MS, self._leave)
        elif self.phase is Phase.ADDING and "renew" in self._events:
            self._stop()  # acquired, but nobody knows yet
        elif self.phase is Phase.ADDING:
            # a name that is written already stays there, not free
            self._after("join", POLL_MS, self._end)

    def _lost(self) -> None:
        if self.phase is Phase.ADDING:  # the main loop does not look at it yet
            self._after("lost", POLL_MS, self._lost)
        elif self.phase is Phase.HELD:
            holders = self._holders()
            self._die(holders)
            self._kill(holders)

    def _leave(self) -> None:
        holders = self._holders()
        if self.phase is Phase.HELD:
            self._die(holders)
            if holders:
                self._kill(holders)

    def _die(self, holders: tuple[int, ...]) -> None:
        """Nobody may use its leases any more."""
        self.phase = Phase.DYING
        if not holders:
            self._stop()
        elif self._host.has_watchdog:
            self._at("watchdog", self.reset_ms, self._fire)

    def _fire(self) -> None:
        """Unless late renewals pleased the watchdog."""
        if self.reset_ms > self._host.timeline.now_ms():
            self._at("watchdog", self.reset_ms, self._fire)
        else:
            self._host.reset()

    def holder_ended(self) -> None:
        if self.phase is Phase.DYING and not self._holders():
            self._stop()

    def _stop(self) -> None:
        self.phase = Phase.STOPPING
        self.forget()
        self._after("leave", MAIN_LOOP_MS, self._release)

    def _release(self) -> None:
        """The host id is free at once, if the last renewal was good."""
        if self._renewed and self._host.disk.works() and self._is_ours():
            self._lease.timestamp = 0
        self._after("leave", MAIN_LOOP_MS, self._end)

    def _end(self) -> None:
        self.forget()
        self._gone()

    def forget(self) -> None:
        """Nothing that was planned happens."""
        for event in self._events.values():
            event.cancel()
        self._events.clear()

    def _after(self, kind: str, delay_ms: int, act: Callable[[], None]) -> None:
        self._at(kind, self._host.timeline.now_ms() + delay_ms + self._host.jitter_ms(), act)

    def _at(self, kind: str, ms: int, act: Callable[[], None]) -> None:
        before = self._events.get(kind)
        if before is not None:
            before.cancel()
        self._events[kind] = self._host.timeline.at(ms, act)
