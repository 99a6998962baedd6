"""What must never be in the model of sanlock, whatever happens to whom and when."""

import itertools
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from ovirt_he_agent.core import model
from ovirt_he_agent.sim.cluster.lease_volume import dead_s
from tests.sanlock_cluster import Cluster
from tests.traces.scenarios import HOSTS, LOCKSPACE, RESOURCES

HOST_IDS = (1, 2)
"""Fewer than hosts, so that they are fought for."""


class Watched:
    """A cluster of eager hosts, in which the invariants are checked after every event.

    The host id that a host wants, and all leases, it tries to get again and again.
    """

    def __init__(self, io_timeout_s: int, watchdog_fire_s: int) -> None:
        self.cluster = Cluster(watchdog_fire_s=watchdog_fire_s)
        self.io_timeout_s = io_timeout_s
        self.dead_ms = dead_s(io_timeout_s, watchdog_fire_s) * 1000
        self.next_pid = 1
        self.running: dict[tuple[int, str], dict[int, tuple[int, int]]] = defaultdict(dict)
        """(host, resource) -> the processes that were granted it and live: host id and generation then."""
        self.renewed = dict.fromkeys(HOST_IDS, ((0, 0), 0))
        """Host id -> (generation, timestamp) on the storage, and since when they stand there (ms)."""
        self.wanted_ids: dict[int, int] = {}
        self.waiting: set[tuple[int, str]] = set()
        """(host, resource) of acquisitions without an outcome yet."""
        self.cluster.time.after_each = self.check
        self.try_again()

    def do(self, number: int, do: str, what: object) -> None:
        host = self.cluster.hosts[number]
        match do, what:
            case "want id", int():
                self.wanted_ids[number] = what
            case "disk", bool():
                host.disk.ok = what
            case "stubborn", bool():
                host.stubborn = what
            case "leave", _:
                self.wanted_ids.pop(number, None)
                host.sanlock.rem_lockspace(LOCKSPACE)
            case "end", _:
                self.end(number, [pid for resource in RESOURCES for pid in self.running[number, resource]])
            case "kill", _:
                host.sanlock.kill()  # whoever waited there is told so
            case "power off", _:
                self.power_off(number)
            case "start", _:
                host.sanlock.start()

    def try_again(self) -> None:
        """Once every two seconds."""
        for number, host_id in self.wanted_ids.items():
            self.cluster.hosts[number].join(host_id, self.io_timeout_s)
        for number, resource in itertools.product(range(len(HOSTS)), RESOURCES):
            if (number, resource) not in self.waiting and not self.running[number, resource]:
                self.acquire(number, resource)
        self.cluster.time.at(self.cluster.time.now_ms() + 2000, self.try_again)

    def acquire(self, number: int, resource: str) -> None:
        pid, self.next_pid = self.next_pid, self.next_pid + 1
        self.waiting.add((number, resource))

        def done(granted: bool) -> None:
            self.waiting.discard((number, resource))
            if granted:
                owner = self.cluster.volume.resource(LOCKSPACE, resource).owner
                assert owner is not None
                self.running[number, resource][pid] = owner

        self.cluster.hosts[number].sanlock.acquire(LOCKSPACE, resource, pid, done)

    def end(self, number: int, pids: list[int]) -> None:
        for pid in pids:
            self.cluster.hosts[number].sanlock.release(pid)
            for resource in RESOURCES:
                self.running[number, resource].pop(pid, None)

    def power_off(self, number: int) -> None:
        self.cluster.hosts[number].sanlock.stop_host()
        for resource in RESOURCES:
            self.running[number, resource].clear()
            self.waiting.discard((number, resource))

    def check(self) -> None:
        for number, host in enumerate(self.cluster.hosts):
            if host.resets:  # the watchdog fired: all its processes are gone
                host.resets.clear()
                self.power_off(number)
            if not host.stubborn:
                self.end(number, [pid for _, pid in host.killed])
                host.killed.clear()
        self._check_memberships()
        self._check_flags()
        self._check_owners()

    def _check_memberships(self) -> None:
        for host_id in HOST_IDS:
            assert sum(host.held(host_id) for host in self.cluster.hosts) <= 1, f"id {host_id} is held twice"

    def _check_flags(self) -> None:
        now_ms = self.cluster.time.now_ms()
        alive = set()
        for host_id in HOST_IDS:
            lease = self.cluster.volume.delta(LOCKSPACE, host_id)
            now = (lease.generation, lease.timestamp)
            if self.renewed[host_id][0] != now:
                self.renewed[host_id] = (now, now_ms)
            if now_ms - self.renewed[host_id][1] <= self.dead_ms:
                alive.add((host_id, lease.generation))
        for host in self.cluster.hosts:
            for seen in host.sanlock.hosts(LOCKSPACE) or ():
                if seen.flag is model.HostFlag.DEAD:
                    assert (seen.host_id, seen.generation) not in alive, "dead too early"

    def _check_owners(self) -> None:
        for resource in RESOURCES:
            users = [
                (HOSTS[number], owner)
                for number in range(len(HOSTS))
                for owner in self.running[number, resource].values()
                if not self._is_known_orphan(HOSTS[number], *owner)
            ]
            assert len(users) <= 1, f"{resource} is used twice: {users}"

    def _is_known_orphan(self, host_name: str, host_id: int, generation: int) -> bool:
        """Of a killed daemon whose host has joined again: the lease is free although the process lives.

        Not even that may be when another host has the id: the watchdog must have fired before.
        """
        lease = self.cluster.volume.delta(LOCKSPACE, host_id)
        return lease.generation > generation and lease.host_name == host_name


WAITS_MS = st.one_of(st.integers(0, 3_000), st.integers(3_000, 20_000), st.integers(20_000, 100_000))
FAULTS = st.one_of(
    st.tuples(st.just("want id"), st.sampled_from(HOST_IDS)),
    st.tuples(st.just("disk"), st.booleans()),
    st.tuples(st.just("stubborn"), st.booleans()),
    st.tuples(st.sampled_from(("leave", "end", "kill", "power off", "start")), st.none()),
)


@settings(max_examples=200)
@given(
    io_timeout_s=st.sampled_from((1, 2)),
    watchdog_fire_s=st.sampled_from((10, 60)),
    stubborn=st.lists(st.booleans(), min_size=len(HOSTS), max_size=len(HOSTS)),
    steps=st.lists(st.tuples(st.integers(0, len(HOSTS) - 1), FAULTS, WAITS_MS), max_size=12),
)
def test_leases_protect_whatever_happens(
    io_timeout_s: int,
    watchdog_fire_s: int,
    stubborn: list[bool],
    steps: list[tuple[int, tuple[str, object], int]],
) -> None:
    """Hosts 0 and 1 begin with ids of their own, host 2 wants one of these."""
    watched = Watched(io_timeout_s, watchdog_fire_s)
    for number, host_id in enumerate((1, 2, 1)):
        watched.do(number, "want id", host_id)
        watched.do(number, "stubborn", stubborn[number])
        watched.cluster.time.run_for(10)
    for number, (do, what), wait_ms in steps:
        watched.do(number, do, what)
        watched.check()
        watched.cluster.time.run_for(wait_ms / 1000)
    watched.cluster.time.run_for(100)
