"""What must never be in the model of sanlock, whatever happens to whom and when."""

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
    """A cluster in which the invariants are checked after every event."""

    def __init__(self, io_timeout_s: int, watchdog_fire_s: int) -> None:
        self.cluster = Cluster(watchdog_fire_s=watchdog_fire_s)
        self.io_timeout_s = io_timeout_s
        self.dead_ms = dead_s(io_timeout_s, watchdog_fire_s) * 1000
        self.next_pid = 1
        self.running: dict[tuple[int, str], dict[int, tuple[int, int]]] = defaultdict(dict)
        """(host, resource) -> the processes that were granted it and live: host id and generation then."""
        self.renewed = dict.fromkeys(HOST_IDS, ((0, 0), 0))
        """Host id -> (generation, timestamp) on the storage, and since when they stand there (ms)."""
        self.cluster.time.after_each = self.check

    def do(self, number: int, do: str, what: object) -> None:
        host = self.cluster.hosts[number]
        match do, what:
            case "join", int():
                host.join(what, self.io_timeout_s)
            case "acquire", str():
                self.acquire(number, what)
            case "disk", bool():
                host.disk.ok = what
            case "stubborn", bool():
                host.stubborn = what
            case "leave", _:
                host.sanlock.rem_lockspace(LOCKSPACE)
            case "end", _:
                self.end(number, [pid for resource in RESOURCES for pid in self.running[number, resource]])
            case "kill", _:
                host.sanlock.kill()
            case "power off", _:
                self.power_off(number)
            case "start", _:
                host.sanlock.start()

    def acquire(self, number: int, resource: str) -> None:
        pid, self.next_pid = self.next_pid, self.next_pid + 1

        def done(granted: bool) -> None:
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


WAITS_MS = st.one_of(st.integers(0, 3_000), st.integers(3_000, 20_000), st.integers(60_000, 100_000))
ACTIONS = st.one_of(
    st.tuples(st.just("join"), st.sampled_from(HOST_IDS)),
    st.tuples(st.just("acquire"), st.sampled_from(RESOURCES)),
    st.tuples(st.just("disk"), st.booleans()),
    st.tuples(st.just("stubborn"), st.booleans()),
    st.tuples(st.sampled_from(("leave", "end", "kill", "power off", "start")), st.none()),
)


@settings(max_examples=300)
@given(
    io_timeout_s=st.sampled_from((1, 2)),
    watchdog_fire_s=st.sampled_from((10, 60)),
    steps=st.lists(st.tuples(st.integers(0, len(HOSTS) - 1), ACTIONS, WAITS_MS), max_size=25),
)
def test_leases_protect_whatever_happens(
    io_timeout_s: int, watchdog_fire_s: int, steps: list[tuple[int, tuple[str, object], int]]
) -> None:
    watched = Watched(io_timeout_s, watchdog_fire_s)
    for number, host_id in enumerate(HOST_IDS):  # more happens to hosts that are in
        watched.do(number, "join", host_id)
    watched.cluster.time.run_for(10)
    for number, (do, what), wait_ms in steps:
        watched.do(number, do, what)
        watched.check()
        watched.cluster.time.run_for(wait_ms / 1000)
    watched.cluster.time.run_for(200)
