"""The model of sanlock shows the delays that were measured with real daemons, and obeys sanlock's rules."""

import pytest

from ovirt_he_agent.core import model
from tests.sanlock_cluster import VM, Cluster, W
from tests.traces.scenarios import LOCKSPACE

HELD, IN_TRANSITION, NOT_HELD = (
    model.Membership.HELD,
    model.Membership.IN_TRANSITION,
    model.Membership.NOT_HELD,
)
UNKNOWN, LIVE, FAIL, DEAD = (
    model.HostFlag.UNKNOWN,
    model.HostFlag.LIVE,
    model.HostFlag.FAIL,
    model.HostFlag.DEAD,
)

every_t = pytest.mark.parametrize("t", [1, 2, 10])


# Host ids. The measured delays are those of real sanlock 3.8.5 (three daemons, one file).


@pytest.mark.parametrize(("t", "measured_s"), [(1, 3.0), (2, 5.0), (10, 21.0)])
def test_a_free_host_id_is_joined_as_fast_as_measured(t: int, measured_s: float) -> None:
    cluster = Cluster()
    host = cluster.hosts[0]
    assert host.sanlock.membership(LOCKSPACE, 1) is NOT_HELD
    host.join(1, t)
    assert host.sanlock.membership(LOCKSPACE, 1) is IN_TRANSITION
    assert host.sanlock.membership(LOCKSPACE, 2) is NOT_HELD
    assert cluster.time.when(host.held, 60) == pytest.approx(measured_s, abs=1)
    assert host.sanlock.hosts(LOCKSPACE) is None  # EAGAIN
    assert cluster.time.when(lambda: host.sanlock.hosts(LOCKSPACE) is not None, 1) > 0
    assert host.flag(1) is LIVE


@every_t
def test_a_left_host_id_is_free_at_once_and_its_generation_rises(t: int) -> None:
    cluster = Cluster()
    a, b, _ = cluster.all_join(t)
    a.sanlock.rem_lockspace(LOCKSPACE)
    assert cluster.time.when(lambda: a.sanlock.membership(LOCKSPACE, 1) is NOT_HELD, 3) > 1
    assert a.lost == []
    cluster.time.when(lambda: b.flag(1) is None, 2 * t + 1)
    b.sanlock.rem_lockspace(LOCKSPACE)
    cluster.time.run_for(3)
    b.join(1, t)  # another host name
    assert cluster.time.when(b.held, 60) == pytest.approx(2 * t + 1, abs=1)
    cluster.time.run_for(1)
    assert b.generation(1) == 2


@pytest.mark.parametrize(("t", "measured_s"), [(1, 68.0), (2, 77.0), (10, 141.0)])
def test_a_live_hosts_id_is_refused_as_late_as_measured(t: int, measured_s: float) -> None:
    cluster = Cluster(("a", "b"))
    a, b = cluster.hosts
    a.join(1, t)
    cluster.time.run_for(10 * t)
    b.join(1, t)
    took_s = cluster.time.when(lambda: b.sanlock.membership(LOCKSPACE, 1) is NOT_HELD, 200)
    assert took_s == pytest.approx(measured_s, abs=1.1)
    assert a.held()
    assert a.generation(1) == 1


@pytest.mark.parametrize(("t", "measured_s"), [(1, 71.0), (2, 81.0), (10, 160.1)])
def test_a_dead_hosts_id_goes_to_another_name_as_late_as_measured(t: int, measured_s: float) -> None:
    cluster = Cluster(("a", "b"))
    a, b = cluster.hosts
    a.join(1, t)
    cluster.time.run_for(10 * t)
    a.sanlock.stop_host()
    b.join(1, t)
    assert cluster.time.when(b.held, 300) == pytest.approx(measured_s, abs=1.1)
    cluster.time.run_for(1)
    assert b.generation(1) == 2


@pytest.mark.parametrize(("t", "measured_s"), [(1, 3.0), (2, 5.0), (10, 21.0)])
def test_ones_own_id_is_joined_again_as_fast_as_a_free_one(t: int, measured_s: float) -> None:
    cluster = Cluster(has_watchdog=False)
    a, b, _ = cluster.all_join(t)
    a.sanlock.kill()
    assert a.sanlock.membership(LOCKSPACE, 1) is NOT_HELD
    a.join(1, t)  # nobody there to ask
    a.sanlock.start()
    assert a.sanlock.membership(LOCKSPACE, 1) is NOT_HELD
    a.join(1, t)
    assert cluster.time.when(a.held, 60) == pytest.approx(measured_s, abs=1)
    cluster.time.run_for(2 * t + 1)
    assert (a.generation(1), b.generation(1), b.flag(1)) == (2, 2, LIVE)


@every_t
def test_of_two_hosts_that_ask_for_a_free_id_at_once_one_gets_it(t: int) -> None:
    cluster = Cluster(("a", "b"))
    a, b = cluster.hosts
    a.join(1, t)
    b.join(1, t)  # writes over a's name before a looks again
    cluster.time.run_for(2 * t + 1)
    assert not a.held()
    assert b.held()


def test_a_second_join_and_a_leave_of_nothing_change_nothing() -> None:
    cluster = Cluster()
    a, *_ = cluster.all_join(1)
    a.join(1, 1)
    a.join(5, 1)
    assert a.held()
    assert a.sanlock.membership(LOCKSPACE, 5) is NOT_HELD
    a.sanlock.rem_lockspace("another")
    a.sanlock.rem_lockspace(LOCKSPACE)
    a.sanlock.rem_lockspace(LOCKSPACE)
    cluster.time.run_for(3)
    assert not a.held()


@pytest.mark.parametrize(("after_s", "free"), [(1.0, False), (2.5, True)])
def test_a_join_can_be_withdrawn(after_s: float, free: bool) -> None:
    """What was written before it was acquired stays: free for the same host name only."""
    cluster = Cluster(("a",))
    (a,) = cluster.hosts
    a.join(1, 1)
    cluster.time.run_for(after_s)
    a.sanlock.rem_lockspace(LOCKSPACE)
    cluster.time.run_for(2)
    assert a.sanlock.membership(LOCKSPACE, 1) is NOT_HELD
    assert cluster.volume.delta(LOCKSPACE, 1).free is free
    a.join(1, 1)
    assert cluster.time.when(a.held, 10) == pytest.approx(3, abs=1)


@pytest.mark.parametrize("fails_after_s", [0.0, 0.005, 1.0])
def test_a_join_fails_without_a_disk_and_works_with_it(fails_after_s: float) -> None:
    cluster = Cluster(("a",))
    (a,) = cluster.hosts
    a.disk.ok = fails_after_s > 0
    a.join(1, 1)
    cluster.time.run_for(fails_after_s)
    a.disk.ok = False
    cluster.time.when(lambda: a.sanlock.membership(LOCKSPACE, 1) is NOT_HELD, 4)
    a.disk.ok = True
    a.join(1, 1)
    cluster.time.when(a.held, 4)


# What a peer sees


@pytest.mark.parametrize(
    ("t", "fail_s", "dead_s"), [(1, (8.6, 10.3), (68.7, 70.6)), (2, (15.1, 18.3), (75.0, 78.2)),
                                (10, (73.3, 90.7), (133.7, 151.1))]
)  # fmt: skip
def test_a_killed_host_fails_and_dies_for_a_peer_when_measured(
    t: int, fail_s: tuple[float, float], dead_s: tuple[float, float]
) -> None:
    """Both measurements lie within what is possible: a renewal before the death to one after it."""
    cluster = Cluster()
    a, b, _ = cluster.all_join(t)
    renewed_ms, died_ms = cluster.renewed_ms(1), cluster.time.now_ms()
    a.sanlock.stop_host()
    cluster.time.when(lambda: b.flag(1) is FAIL, 200)
    fail_at_s = (cluster.time.now_ms() - renewed_ms) / 1000
    owners_before = b.flag(1)
    cluster.time.when(lambda: b.flag(1) is DEAD, 200)
    dead_at_s = (cluster.time.now_ms() - renewed_ms) / 1000
    assert owners_before is FAIL
    assert 8 * t < fail_at_s <= 8 * t + 2 * t + 2
    assert 8 * t + W < dead_at_s <= 8 * t + W + 2 * t + 2
    alive_s = (died_ms - renewed_ms) / 1000
    for measured, modelled in ((fail_s, fail_at_s), (dead_s, dead_at_s)):
        assert min(measured) - 2 * t - 1 <= modelled - alive_s <= max(measured) + 2 * t + 1


@every_t
def test_who_joins_sees_others_as_unknown_until_they_renew(t: int) -> None:
    cluster = Cluster()
    a, b, c = cluster.hosts
    a.join(1, t)
    b.join(2, t)
    cluster.time.run_for(10 * t)
    b.sanlock.stop_host()
    c.join(3, t)
    cluster.time.when(lambda: c.flag(1) is not None, 60)
    assert (c.flag(1), c.flag(2), c.flag(3)) == (UNKNOWN, UNKNOWN, LIVE)
    began_s = cluster.time.now_ms() / 1000
    cluster.time.when(lambda: c.flag(1) is LIVE, 2 * t + 2)
    assert c.flag(2) is UNKNOWN
    cluster.time.when(lambda: c.flag(2) is FAIL, 8 * t + 2)
    cluster.time.when(lambda: c.flag(2) is DEAD, W + 2)
    assert cluster.time.now_ms() / 1000 - began_s == pytest.approx(8 * t + W, abs=2)


def test_a_dead_agent_is_nothing_to_sanlock() -> None:
    cluster = Cluster()
    a, b, _ = cluster.all_join(10)
    before = b.sanlock.hosts(LOCKSPACE)
    cluster.time.run_for(24 * 3600)
    assert a.held()
    after = b.sanlock.hosts(LOCKSPACE)
    assert before is not None
    assert after is not None
    assert [(h.host_id, h.generation, h.flag) for h in after] == [
        (h.host_id, h.generation, h.flag) for h in before
    ]
    assert all(h.timestamp > g.timestamp for h, g in zip(after, before, strict=True))


# The own storage fails


@every_t
def test_a_lockspace_is_lost_8t_after_the_last_renewal_and_joined_again_with_the_disk(t: int) -> None:
    cluster = Cluster()
    a, b, _ = cluster.all_join(t)
    assert a.acquire(7) == [True]
    a.disk.ok = False
    renewed_ms = cluster.renewed_ms(1)
    assert a.owners() is None
    cluster.time.run_until(renewed_ms + 8000 * t - 1)
    assert (a.held(), a.lost) == (True, [])
    cluster.time.run_for(0.001)
    assert a.lost == [(LOCKSPACE, (7,))]
    assert a.sanlock.membership(LOCKSPACE, 1) is IN_TRANSITION
    cluster.time.run_for(1)
    assert a.sanlock.membership(LOCKSPACE, 1) is NOT_HELD
    assert a.acquire(8) == [False]
    cluster.time.run_for(8 * t + W)
    assert a.resets == []  # the holder died
    assert (b.flag(1), b.owners(), b.sanlock.raw_owner(LOCKSPACE, VM)) == (DEAD, (), (1, 1))
    a.disk.ok = True
    a.join(1, t)
    assert cluster.time.when(a.held, 60) == pytest.approx(2 * t + 1, abs=1)
    cluster.time.run_for(2 * t + 1)
    assert (b.flag(1), b.generation(1)) == (LIVE, 2)


@every_t
def test_the_watchdog_resets_a_host_whose_holder_does_not_die(t: int) -> None:
    cluster = Cluster()
    a, b, _ = cluster.all_join(t)
    a.stubborn = True
    assert a.acquire(7) == [True]
    a.disk.ok = False
    renewed_ms = cluster.renewed_ms(1)
    outcome = [False]

    def take() -> bool:
        """When a peer can have the lease, the watchdog has fired."""
        nonlocal outcome
        if outcome == [False]:
            outcome = b.acquire(8)
        return outcome == [True]

    cluster.time.when(take, 300)
    assert a.resets == [renewed_ms + (8 * t + W) * 1000]
    assert a.resets[0] < cluster.time.now_ms()
    assert not a.sanlock.running


def test_a_holder_that_dies_late_saves_its_host() -> None:
    cluster = Cluster()
    a, *_ = cluster.all_join(1)
    a.stubborn = True
    a.acquire(7)
    a.disk.ok = False
    cluster.time.run_for(60)
    assert a.held()  # sanlock says so while it kills
    a.sanlock.release(7)
    cluster.time.run_for(60)
    assert (a.resets, a.held()) == ([], False)


def test_late_renewals_please_the_watchdog_while_holders_are_killed() -> None:
    cluster = Cluster()
    a, *_ = cluster.all_join(1)
    a.stubborn = True
    a.acquire(7)
    a.disk.ok = False
    cluster.time.run_for(20)
    a.disk.ok = True
    cluster.time.run_for(300)
    assert a.resets == []
    a.disk.ok = False
    renewed_ms = cluster.renewed_ms(1)
    cluster.time.run_for(100)
    assert a.resets == [renewed_ms + 68_000]


@every_t
def test_a_short_trouble_of_the_disk_costs_nothing(t: int) -> None:
    cluster = Cluster()
    a, b, _ = cluster.all_join(t)
    a.acquire(7)
    for _ in range(5):
        a.disk.ok = False
        cluster.time.run_for(4 * t)
        a.disk.ok = True
        cluster.time.run_for(5 * t)
    assert (a.held(), a.lost, b.flag(1), b.owners()) == (True, [], LIVE, (1,))


def test_renewals_that_take_too_long_lose_the_lockspace() -> None:
    delay_ms = 0
    cluster = Cluster(jitter_ms=lambda: delay_ms)
    a, *_ = cluster.all_join(1)
    delay_ms = 7000
    cluster.time.run_for(30)
    assert a.lost == [(LOCKSPACE, ())]


def test_a_host_whose_id_was_taken_by_its_double_gives_up() -> None:
    cluster = Cluster(("twin", "twin"))
    a, b = cluster.hosts
    a.join(1, 1)
    cluster.time.run_for(10)
    b.join(1, 1)
    cluster.time.run_for(5)
    assert (a.held(), a.lost, b.held()) == (False, [(LOCKSPACE, ())], True)


@every_t
def test_a_killed_daemon_means_a_reset_also_if_another_is_started(t: int) -> None:
    cluster = Cluster()
    a, *_ = cluster.all_join(t)
    renewed_ms = cluster.renewed_ms(1)
    a.sanlock.kill()
    a.sanlock.start()
    a.join(1, t)
    cluster.time.run_for(20 * t + W)
    assert a.resets == [renewed_ms + (8 * t + W) * 1000]


def test_no_watchdog_no_reset_and_none_after_the_host_has_stopped() -> None:
    cluster = Cluster(has_watchdog=False)
    a, *_ = cluster.all_join(1)
    a.sanlock.kill()
    cluster.time.run_for(100)
    assert a.resets == []
    cluster = Cluster()
    a, *_ = cluster.all_join(1)
    a.sanlock.kill()
    a.sanlock.stop_host()
    cluster.time.run_for(100)
    assert a.resets == []


# Leases of resources


@every_t
def test_a_lease_is_taken_refused_and_freed_at_once(t: int) -> None:
    cluster = Cluster()
    a, b, c = cluster.all_join(t)
    assert a.owners() == ()
    assert a.acquire(7) == [True]
    assert (a.sanlock.raw_owner(LOCKSPACE, VM), b.owners(), c.owners()) == ((1, 1), (1,), (1,))
    assert b.acquire(8) == [False]
    assert a.acquire(9) == [False]  # on the same host, too
    a.sanlock.release(7)
    assert b.owners() == ()
    assert b.acquire(8) == [True]


def test_without_a_lockspace_there_is_no_lease() -> None:
    cluster = Cluster(("a", "b"))
    a, b = cluster.hosts
    assert a.acquire(7) == [False]
    assert a.owners() == ()
    b.join(2, 1)
    cluster.time.run_for(10)
    assert b.acquire(8) == [True]
    assert a.owners() is None  # VDSM cannot tell
    a.join(1, 1)
    cluster.time.when(a.held, 10)
    assert a.owners() == (2,)  # taken for held while nothing is known of the owner (EAGAIN)
    b.sanlock.kill()
    assert b.owners() is None


@pytest.mark.parametrize(("t", "measured_s"), [(1, 67.1), (2, 75.1), (10, 160.9)])
def test_a_dead_hosts_lease_is_refused_for_two_renewals_and_then_waited_for(
    t: int, measured_s: float
) -> None:
    cluster = Cluster()
    a, b, _ = cluster.all_join(t)
    a.acquire(7)
    renewed_ms, died_ms = cluster.renewed_ms(1), cluster.time.now_ms()
    a.sanlock.stop_host()
    refused_until_ms = 0
    while (outcome := b.acquire(8)) == [False]:
        refused_until_ms = cluster.time.now_ms()
        cluster.time.run_for(0.5)
    assert outcome == []
    assert refused_until_ms - died_ms <= 1000 * 2 * (2 * t + 1)
    cluster.time.when(lambda: outcome != [], 300)
    assert outcome == [True]
    took_s = (cluster.time.now_ms() - died_ms) / 1000
    assert took_s == pytest.approx(measured_s, abs=2 * (2 * t + 1))
    assert cluster.time.now_ms() - renewed_ms > (8 * t + W) * 1000


@every_t
def test_a_waiting_attempt_ends_when_the_owner_joins_again(t: int) -> None:
    cluster = Cluster(has_watchdog=False)
    a, b, c = cluster.all_join(t)
    a.acquire(7)
    a.sanlock.kill()
    cluster.time.run_for(10 * t)
    first, second = b.acquire(8), c.acquire(9)
    cluster.time.run_for(5)
    assert (first, second) == ([], [])
    a.sanlock.start()
    a.join(1, t)
    cluster.time.run_for(2)
    assert first == [True]  # the holder on a may live on as an orphan
    cluster.time.run_for(5)
    assert second == [False]
    a.sanlock.release(7)  # nobody knows of it any more
    assert b.sanlock.raw_owner(LOCKSPACE, VM) == (2, 1)


@every_t
def test_a_waiting_attempt_ends_when_the_owner_renews_again(t: int) -> None:
    cluster = Cluster()
    a, b, _ = cluster.all_join(t)
    a.acquire(7)
    a.disk.ok = False
    cluster.time.run_for(4 * t + 1)  # b renewed twice and saw nothing new
    outcome = b.acquire(8)
    assert outcome == []
    a.disk.ok = True
    cluster.time.run_for(2)
    assert outcome == [False]
    assert (a.held(), b.owners()) == (True, (1,))


def test_an_owner_with_a_new_generation_seems_to_own_nothing_until_the_next_renewal() -> None:
    """VDSM compares the lease's generation with the one that the local daemon saw last."""
    cluster = Cluster(has_watchdog=False)
    a, b, _ = cluster.all_join(10)
    a.sanlock.kill()
    a.sanlock.start()
    cluster.time.when(lambda: cluster.time.now_ms() - cluster.renewed_ms(2) < 1000, 30)
    a.join(1, 10)
    b.disk.ok = False  # so that b does not renew before a may take leases
    cluster.time.when(a.held, 30)
    b.disk.ok = True
    assert a.acquire(7) == [True]
    assert (b.sanlock.raw_owner(LOCKSPACE, VM), b.owners()) == ((1, 2), ())
    assert b.acquire(8) == []
    cluster.time.run_for(1)
    assert b.owners() == (1,)


def test_who_waits_can_end_or_lose_its_daemon_or_its_lockspace() -> None:
    cluster = Cluster(has_watchdog=False)
    a, b, c = cluster.all_join(1)
    a.acquire(7)
    a.sanlock.stop_host()
    cluster.time.run_for(10)
    ended, lost, killed = b.acquire(8), b.acquire(9), c.acquire(10)
    assert lost == [False]  # one at a time on a host
    b.sanlock.cancel(8)
    lost = b.acquire(9)
    cluster.time.run_for(2)
    b.sanlock.rem_lockspace(LOCKSPACE)
    c.sanlock.kill()
    cluster.time.run_for(100)
    assert (ended, lost, killed) == ([], [False], [False])


def test_a_lease_is_freed_when_the_disk_is_back() -> None:
    cluster = Cluster()
    a, b, _ = cluster.all_join(10)
    a.acquire(7)
    a.disk.ok = False
    a.sanlock.release(7)
    assert b.owners() == (1,)
    assert a.acquire(8) == [False]
    cluster.time.run_for(20.5)
    a.disk.ok = True
    assert a.acquire(8) == [False]  # not yet
    cluster.time.run_for(2)
    assert b.owners() == ()
    assert a.acquire(8) == [True]


def test_to_leave_kills_the_holders_and_frees_what_they_held() -> None:
    cluster = Cluster()
    a, b, _ = cluster.all_join(1)
    a.acquire(7)
    a.acquire(7, "vm2")
    a.sanlock.rem_lockspace(LOCKSPACE)
    cluster.time.run_for(5)
    assert a.lost == [(LOCKSPACE, (7,))]
    assert (a.resets, a.held(), b.flag(1), b.owners(), b.owners("vm2")) == ([], False, None, (), ())
    assert b.acquire(8) == [True]
