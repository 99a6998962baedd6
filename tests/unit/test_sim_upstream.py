"""Hosts with the old daemons in a small cluster: what a neighbour must expect of them."""

import itertools
import json

import pytest

from ovirt_he_agent.core import whiteboard
from ovirt_he_agent.core.model import ExitReason, Membership, VmStatus
from ovirt_he_agent.sim.cluster.upstream import slots
from tests.fake_surroundings import Cluster, FakeHost

SETTLED_S = 300


def running(*, loop_extra_ms: int = 50, standby: int = 1, settled: bool = True) -> tuple[Cluster, FakeHost]:
    """Host 1 runs the VM, and as many more hosts as asked for stand by."""
    cluster = Cluster()
    first = cluster.host(1, loop_extra_ms=loop_extra_ms)
    first.run_vm()
    first.daemons.start()
    for host_id in range(2, 2 + standby):
        cluster.host(host_id, loop_extra_ms=loop_extra_ms).daemons.start()
    if settled:
        cluster.run(SETTLED_S)
        assert first.daemons.state == "EngineUp"
        assert all(host.daemons.state == "EngineDown" for host in cluster.hosts.values() if host is not first)
        for host in cluster.hosts.values():
            host.creates.clear()
        cluster.log.clear()
    return cluster, first


def block(host_id: int, *, timestamp: int = 1, status: str = '{"vm": "down"}', name: str = "node") -> bytes:
    tokens = ["1", "1", str(timestamp), str(host_id), "3400", status, name, "0", "0", "", "1", "1"]
    tokens[9] = slots.checksum(tokens)
    return "|".join(tokens).encode().ljust(4096, b"\0")


def gaps(times: list[float]) -> list[int]:
    return [round(b - a) for a, b in itertools.pairwise(times)]


# --- slots


def test_what_it_publishes_is_read_by_us() -> None:
    cluster, _first = running()
    slot = whiteboard.decode_slot(1, cluster.slots[1])
    assert isinstance(slot, whiteboard.HostSlot)
    assert (slot.host_name, slot.score, slot.state) == ("node-1.example.org", 3400, "EngineUp")
    assert slot.engine_status_text == '{"vm": "up", "health": "good", "detail": "Up"}'
    assert slot.claims_vm
    assert slot.timestamp == pytest.approx(1_000_000 + SETTLED_S, abs=12)


@pytest.mark.parametrize(
    "number", [1, 2, 3], ids=["stands by", "runs the engine", "stopped in local maintenance"]
)
def test_slots_that_upstream_accepts(number: int) -> None:
    tokens = {
        1: (
            '1|1|8127|1|3400|{"vm": "down", "health": "bad", "detail": "unknown", '
            '"reason": "vm not running on this host"}|node-a.example.org|0|0|b8dfd70a|1|8121'
        ),
        2: (
            '1|1|51234|2|3400|{"vm": "up", "health": "good", "detail": "Up"}'
            "|node-b.example.org|0|0|72ba0b1d|1|51230"
        ),
        3: (
            '1|1|777|3|0|{"vm": "down", "health": "bad", "detail": "unknown", '
            '"reason": "vm not running on this host"}|node-c.example.org|1|1|5f9c50c0|1|700'
        ),
    }[number]
    record = slots.parse(number, tokens.ljust(4096, "\0")).record
    assert record is not None
    assert record.rank == {1: 1, 2: 4, 3: 1}[number]
    assert record.host_name.endswith(".example.org")


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("2|1|1|1|1|{}|n", slots.Parsed(too_new=True)),
        ("1|0|1|1|1|{}|n", slots.MALFORMED),
        ("x|1|1|1|1|{}|n", slots.MALFORMED),
        ("1|1|1|1|1|{}", slots.MALFORMED),
        ("1|1|1|1|1|{}|n|0|0|DEADBEEF", slots.MALFORMED),
        ("1|1|1|1|1|{}|n|0|0|00000000|x|y", slots.MALFORMED),  # the checksum comes first
    ],
)
def test_a_slot_that_is_ignored(text: str, outcome: slots.Parsed) -> None:
    assert slots.parse(1, text.ljust(4096, "\0")) == outcome


@pytest.mark.parametrize("text", ["1|1|5.5|1|1|{}|n", "1|1|1|1||{}|n", '1|1|1|1|1|{"reason": "a|b"}|n'])
def test_a_slot_that_raises(text: str) -> None:
    assert slots.parse(1, text.ljust(4096, "\0")).uncaught or text.endswith('b"}|n')
    if text.endswith('b"}|n'):  # the name has moved, and the number behind it is one no more
        assert slots.parse(1, (text + "|0|0|00000000|1|1").ljust(4096, "\0")).uncaught


def test_7_tokens_a_negative_time_and_another_host_id_are_accepted() -> None:
    record = slots.parse(1, "1|1|-5|9|1|None|n".ljust(4096, "\0")).record
    assert record is not None
    assert (record.host_id, record.timestamp, record.status, record.rank) == (1, -5, None, None)


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("maintenance=1", True),
        ("maintenance=True", True),
        ("maintenance=0\n", False),
        ("nonsense", False),
        ("maintenance=1\nfoo=1", True),
    ],
)
def test_slot_0(text: str, on: bool) -> None:
    assert slots.parse_global(text.ljust(4096, "\0")) is on


@pytest.mark.parametrize("text", ["maintenance=", "maintenance=x"])
def test_slot_0_that_raises(text: str) -> None:
    with pytest.raises(slots.Uncaught):
        slots.parse_global(text.ljust(4096, "\0"))


# --- starts that should not be


@pytest.mark.parametrize(("loop_extra_ms", "blind"), [(10, True), (170, False), (300, False)])
def test_blind_start_about_a_minute_after_the_agents_start(loop_extra_ms: int, blind: bool) -> None:
    cluster, _first = running(loop_extra_ms=loop_extra_ms, settled=False)
    cluster.run(SETTLED_S)
    other = cluster.hosts[2]
    assert len(other.creates) == blind
    if blind:
        assert other.creates[0] == pytest.approx(91, abs=2)  # its agent monitors from second 31 on
        assert cluster.vm_owner == 1
    assert other.daemons.state == "EngineDown"


def test_lock_loop_while_the_agent_of_the_vms_host_is_dead() -> None:
    cluster, first = running()
    first.daemons.kill()
    cluster.run(SETTLED_S + 300)
    creates = cluster.hosts[2].creates
    assert 60 <= creates[0] - SETTLED_S <= 90
    assert set(gaps(creates)) <= {21, 22}
    assert len(creates) >= 9
    assert cluster.vm_owner == 1
    first.daemons.start()
    cluster.run(SETTLED_S + 450)
    cluster.hosts[2].creates.clear()
    cluster.run(SETTLED_S + 600)
    assert not cluster.hosts[2].creates


def test_equal_hosts_both_start_and_the_lease_decides() -> None:
    cluster = Cluster()
    for host_id in (1, 2):
        cluster.host(host_id).daemons.start()
    cluster.run(200)
    assert all(len(host.creates) == 1 for host in cluster.hosts.values())
    assert sorted(host.daemons.state for host in cluster.hosts.values()) == ["EngineDown", "EngineUp"]


# --- starts that come late


def test_a_lonely_host_waits_580_s_after_a_crash_of_the_vm() -> None:
    cluster, first = running(standby=0)
    first.set_vm(VmStatus.DOWN, exit_reason=ExitReason.LOST_QEMU, exit_message="Lost connection with qemu")
    cluster.run(SETTLED_S + 20)
    assert (first.daemons.state, first.daemons.score) == ("EngineUnexpectedlyDown", 0)
    cluster.run(SETTLED_S + 700)
    assert 570 <= first.creates[0] - SETTLED_S <= 600


def test_another_host_starts_it_at_once_after_a_crash() -> None:
    cluster, first = running()
    first.set_vm(VmStatus.DOWN, exit_reason=ExitReason.LOST_QEMU)
    cluster.run(SETTLED_S + 60)
    assert 10 <= cluster.hosts[2].creates[0] - SETTLED_S <= 30
    assert not first.creates


def test_another_host_starts_it_80_s_after_the_death_of_a_host() -> None:
    cluster, first = running()
    first.daemons.kill()
    cluster.vm_owner = None
    cluster.run(SETTLED_S + 200)
    assert 60 <= cluster.hosts[2].creates[0] - SETTLED_S <= 90
    assert cluster.vm_owner == 2


def test_a_start_that_fails_costs_each_host_in_turn_580_s() -> None:
    cluster = Cluster()
    for host_id in (1, 2):
        cluster.host(host_id).dies_at_start = True
        cluster.hosts[host_id].daemons.start()
    cluster.run(1000)
    for host in cluster.hosts.values():
        assert len(host.creates) == 2
        assert 570 <= host.creates[1] - host.creates[0] <= 610


def test_a_start_that_is_refused_is_tried_every_11_s_and_never_counted() -> None:
    cluster = Cluster()
    host = cluster.host(1)
    host.create_vm = host.refuse_vm  # type: ignore[method-assign]
    host.daemons.start()
    cluster.run(200)
    assert set(gaps(host.creates)) <= {10, 11}
    assert len(host.creates) >= 9
    assert cluster.record(1).score in (3350, 3400)


def test_bad_health_is_borne_for_300_s_then_the_vm_is_stopped_and_started() -> None:
    cluster, first = running(standby=0)
    first.good = False
    cluster.run(SETTLED_S + 500)
    [stop] = cluster.times("shut the VM down")
    assert 310 <= stop - SETTLED_S <= 340
    assert 10 <= first.creates[0] - stop <= 30


# --- global maintenance


def test_global_maintenance_reaches_every_host_and_stops_every_start() -> None:
    cluster, first = running()
    cluster.hosts[2].daemons.set_global_maintenance(True)
    cluster.run(SETTLED_S + 25)
    assert {host.daemons.state for host in cluster.hosts.values()} == {"GlobalMaintenance"}
    first.set_vm(VmStatus.DOWN, exit_reason=ExitReason.LOST_QEMU)
    cluster.run(SETTLED_S + 900)
    assert not first.creates
    assert not cluster.hosts[2].creates
    first.daemons.set_global_maintenance(False)
    cluster.run(SETTLED_S + 1600)
    assert len(first.creates) + len(cluster.hosts[2].creates) >= 1


def test_a_write_of_global_maintenance_is_lost_if_the_agent_publishes_before_it_is_done() -> None:
    cluster, first = running(standby=0, loop_extra_ms=100, settled=False)
    cluster.run(65)
    published_s = first.writes[-1][0]
    lost = []
    for offset_ms in range(10_000, 10_200, 5):
        cluster, _first = running(standby=0, loop_extra_ms=100, settled=False)
        cluster.run(published_s + offset_ms / 1000)
        cluster.hosts[1].daemons.set_global_maintenance(True)
        cluster.run(100)
        assert cluster.times("global maintenance on")  # success was reported
        lost.append(0 not in cluster.slots)
    assert 0 < sum(lost) < len(lost) / 2


def test_what_the_broker_once_read_stays_until_it_is_restarted() -> None:
    cluster, first = running(standby=0)
    cluster.slots[0] = slots.global_block(True)
    cluster.run(SETTLED_S + 30)
    assert first.daemons.state == "GlobalMaintenance"
    cluster.slots[0] = bytes(4096)
    cluster.run(SETTLED_S + 600)
    assert first.daemons.state == "GlobalMaintenance"
    first.daemons.kill()
    first.daemons.start()
    cluster.run(SETTLED_S + 700)
    assert first.daemons.state == "EngineUp"


# --- poison


@pytest.mark.parametrize(
    "status", ['{"vm": "up", "health": "unknown", "detail": "Up"}', '{"vm": "up", "health": "good"}', "None"]
)
def test_a_status_that_cannot_be_ranked_ends_every_loop_for_ever(status: str) -> None:
    cluster, _first = running()
    for seconds in range(0, 300, 10):
        cluster.slots[3] = block(3, timestamp=seconds, status=status)
        cluster.run(SETTLED_S + seconds)
    # a host that appears is alive at once; to an agent that has no past it is dead, for a minute
    for host_id in (1, 2):
        assert len(cluster.times("leaves its loop", host_id)) >= 2
        assert cluster.times("says that it stops", host_id)
    slot = whiteboard.decode_slot(1, cluster.slots[1])
    assert isinstance(slot, whiteboard.HostSlot)


def test_a_number_that_is_none_ends_every_loop_at_once_and_keeps_agents_down() -> None:
    cluster, _first = running()
    cluster.slots[3] = b"1|1|5.5|3|3400|{}|node".ljust(4096, b"\0")
    cluster.run(SETTLED_S + 35)
    assert cluster.times("says that it stops", 1)
    assert cluster.record(1).score == 0
    cluster.run(SETTLED_S + 300)
    for host_id in (1, 2):
        assert len(cluster.times("leaves its loop", host_id)) >= 4
        assert len(cluster.times("says that it stops", host_id)) == 1  # later it has nothing to say
    del cluster.slots[3]
    for host in cluster.hosts.values():
        host.daemons.kill()  # the broker does not forget it
        host.daemons.start()
    cluster.run(SETTLED_S + 500)
    assert cluster.hosts[1].daemons.state == "EngineUp"


def test_a_byte_that_is_no_utf8_stops_every_broker() -> None:
    cluster, first = running()
    cluster.slots[7] = b"\xff".ljust(4096, b"\0")
    cluster.run(SETTLED_S + 120)
    for host_id in (1, 2):
        assert cluster.times("deaf", host_id)
        assert cluster.times("cannot read", host_id)
        assert len(cluster.times("agent: exits", host_id)) >= 4
    writes = len(first.writes)
    cluster.run(SETTLED_S + 200)
    assert len(first.writes) == writes
    del cluster.slots[7]
    cluster.run(SETTLED_S + 300)
    assert first.daemons.state == "EngineUp"


def test_a_character_of_two_bytes_drops_the_hosts_behind_it() -> None:
    cluster, _first = running(standby=2)
    cluster.slots[2] = cluster.slots[2][:600] + "\u00e9".encode() + bytes(4096 - 602)
    cluster.hosts[2].daemons.kill()
    read = slots.segments(cluster.slots)
    assert read[1] == cluster.slots[1]
    assert slots.parse(3, read[3].decode()) == slots.MALFORMED
    assert slots.parse(2, read[2].decode()).record is not None


# --- life and death


def test_a_clean_stop_says_so_and_releases_the_host_id() -> None:
    cluster, first = running()
    first.daemons.stop()
    cluster.run(SETTLED_S + 15)
    slot = whiteboard.decode_slot(1, cluster.slots[1])
    assert isinstance(slot, whiteboard.HostSlot)
    assert (slot.stopped, slot.score, slot.state, slot.claims_vm) == (True, 0, "AgentStopped", True)
    assert first.lease is Membership.NOT_HELD
    assert first.daemons.state == ""
    writes = len(first.writes)
    cluster.run(SETTLED_S + 300)
    assert len(first.writes) == writes
    first.daemons.start()
    cluster.run(SETTLED_S + 400)
    assert first.daemons.state == "EngineUp"


def test_the_killed_have_no_last_words() -> None:
    cluster, first = running()
    writes, said = len(first.writes), len(cluster.log)
    first.daemons.kill()
    cluster.run(SETTLED_S + 50)
    assert (len(first.writes), len(cluster.times("", 1))) == (writes, said)
    assert first.daemons.state == ""
    assert cluster.record(1).score == 3400
    assert first.lease is Membership.HELD


def test_a_host_may_die_within_its_own_call() -> None:
    cluster, first = running(standby=0)

    def die() -> bool:
        first.daemons.kill()
        return True

    first.page_good = die  # type: ignore[method-assign]
    writes = len(first.writes)
    cluster.run(SETTLED_S + 100)
    assert (len(first.writes) - writes, cluster.log, first.daemons.state) == (0, [], "")


def test_one_failed_read_costs_about_a_minute() -> None:
    cluster, first = running(standby=0)
    first.storage = False
    cluster.run(SETTLED_S + 12)
    first.storage = True
    away = first.writes[-1][0]
    cluster.run(SETTLED_S + 200)
    back = next(at for at, _ in first.writes if at > away + 15)
    assert 35 <= back - away <= 75
    assert first.daemons.state == "EngineUp"


def test_a_host_id_that_cannot_be_had_is_hidden_and_kills_the_broker() -> None:
    cluster = Cluster()
    host = cluster.host(1)
    host.join_ha = lambda: None  # type: ignore[method-assign]
    host.daemons.start()
    cluster.run(120)
    assert cluster.times("host id cannot be locked")
    assert cluster.times("broker: cannot write")
    assert cluster.times("agent: exits")
    assert not host.writes


def test_local_maintenance_before_the_loop_is_silence() -> None:
    cluster = Cluster()
    host = cluster.host(1)
    host.in_maintenance = True
    host.daemons.start()
    cluster.run(300)
    assert (host.writes, host.lease, host.daemons.state) == ([], Membership.NOT_HELD, "StartState")
    host.in_maintenance = False
    cluster.run(450)
    assert host.daemons.state in ("EngineStarting", "EngineUp")


def test_local_maintenance_on_a_standby_host_stops_the_domain_monitor_only_there() -> None:
    cluster, first = running()
    for host in cluster.hosts.values():
        host.in_maintenance = True
    cluster.run(SETTLED_S + 30)
    other = cluster.hosts[2]
    assert (first.daemons.state, first.domain) == ("EngineUp", Membership.HELD)
    assert (other.daemons.state, other.domain) == ("LocalMaintenance", Membership.NOT_HELD)
    slot = whiteboard.decode_slot(2, cluster.slots[2])
    assert isinstance(slot, whiteboard.HostSlot)
    assert (slot.local_maintenance, slot.score) == (True, 0)


def test_without_vdsm_it_is_silent_and_with_errors_it_knows_nothing() -> None:
    cluster, first = running()
    first.vdsm = False
    cluster.run(SETTLED_S + 30)
    writes = len(first.writes)
    cluster.run(SETTLED_S + 200)
    assert len(first.writes) == writes
    first.vdsm, first.refuses = True, True
    cluster.run(SETTLED_S + 300)
    assert first.daemons.state == "UnknownLocalVmState"
    status = cluster.record(1).status
    assert status is not None
    assert status["reason"] == "failed to getVmStats"


def test_a_definition_that_cannot_be_read_keeps_the_agent_down() -> None:
    cluster, first = running(standby=0)
    first.definition = False
    first.set_vm(VmStatus.DOWN, exit_reason=ExitReason.USER_SHUTDOWN)
    cluster.run(SETTLED_S + 600)
    assert not first.creates
    assert set(gaps(cluster.times("agent: exits"))[1:]) <= {10, 11}


def test_vdsms_times_are_compared_as_text() -> None:
    """When the number grows by a digit, what VDSM says is older than what it said, for years."""
    cluster = Cluster()
    host = cluster.host(1, uptime_ms=10**10 - 2**31 - 200_000)  # 91 days
    host.run_vm()
    host.daemons.start()
    cluster.run(190)
    assert host.daemons.state == "EngineUp"
    cluster.run(210)
    host.good = False
    cluster.run(1200)
    assert host.daemons.state == "EngineUp"
    assert json.loads(cluster.slots[1].split(b"|")[5])["health"] == "good"
