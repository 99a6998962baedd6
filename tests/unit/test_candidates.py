"""Which host goes first, and how long this one waits for better ones."""

from typing import Any

import pytest

from ovirt_he_agent.core import candidates, policy, snapshot
from ovirt_he_agent.core.candidates import Candidate
from ovirt_he_agent.core.commands import StartVm
from ovirt_he_agent.core.model import HostFlag
from ovirt_he_agent.core.peers import Claim, Peer, PeerClass
from ovirt_he_agent.core.snapshot import Evidence
from ovirt_he_agent.core.state import Phase, State
from tests.snapshots import JOINED, ago, decide, every, lifetime, neighbours, seen, slot, startable


def peer(host_id: int = 2, kind: PeerClass = PeerClass.ALIVE, **facts: Any) -> Peer:
    return Peer(host_id, kind, Claim.NONE, slot(host_id, **facts), None)


@pytest.mark.parametrize("kind", [k for k in PeerClass if k is not PeerClass.ALIVE])
def test_only_a_living_host_is_eligible(kind: PeerClass) -> None:
    assert candidates.candidate(peer(kind=kind), None) is None


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"local_maintenance": True}, "local maintenance"),
        ({"stopped": True}, "stopped"),
        ({"score": 0}, "score is 0"),
        ({"score": None}, "score is 0"),
        ({"score": -5}, "score is -5"),
        ({"state": "EngineUnexpectedlyDown"}, "EngineUnexpectedlyDown"),
        ({"state": "LocalMaintenance"}, "LocalMaintenance"),
        ({"state": "GlobalMaintenance"}, "GlobalMaintenance"),
        ({"state": "ReinitializeFSM"}, "ReinitializeFSM"),
        ({"state": "UnknownLocalVmState"}, "UnknownLocalVmState"),
        ({"state": "AgentStopped"}, "AgentStopped"),
        ({"state": "a word of tomorrow"}, "a word of tomorrow"),
        ({"state": ""}, "not told"),
    ],
)
def test_a_hosts_own_word_decides_and_never_a_guess_from_its_score(facts: dict[str, Any], why: str) -> None:
    assert candidates.candidate(peer(**facts), None) is None
    assert why in (candidates.why_not(peer(**facts)) or "")


def test_a_host_whose_maintenance_is_not_told_is_eligible() -> None:
    assert candidates.candidate(peer(local_maintenance=None), None) == Candidate(2, False, 3400, False)


def test_the_names_under_which_our_own_hosts_may_start() -> None:
    eligible = {phase for phase in Phase if phase.published in candidates.MAY_START}
    assert eligible == {
        Phase.STANDBY,
        Phase.STARTING,
        Phase.RUNNING,
        Phase.SICK,
        Phase.STOPPING,
        Phase.KILLING,
        Phase.AWAY,
    }


def test_the_order_is_score_then_who_ran_it_last_then_the_lower_id_and_the_modest_come_last() -> None:
    hosts = {
        2: peer(2, score=3000),
        3: peer(3, score=3400),
        4: peer(4, score=3400),
        5: peer(5, score=3400),
        6: peer(6, score=3400, others_first=True),
    }
    own = Candidate(1, False, 2000, False)
    found = candidates.field(own, hosts, 4, favoured=False)
    assert [c.host_id for c in found.rivals] == [4, 3, 5, 2, 6]
    assert found.rank == 4


@pytest.mark.parametrize(
    ("own", "rank"),
    [
        (Candidate(1, False, 3400, False), 0),
        (Candidate(3, False, 3400, False), 1),
        (Candidate(3, False, 3400, True), 0),
        (Candidate(1, False, 3399, False), 1),
        (Candidate(1, True, 3400, False), 1),
    ],
)
def test_this_hosts_rank_is_how_many_go_before_it(own: Candidate, rank: int) -> None:
    assert candidates.field(own, {2: peer()}, None, favoured=False).rank == rank


def test_a_favoured_host_lets_nobody_go_first() -> None:
    own = Candidate(9, True, 0, False)
    assert candidates.field(own, {2: peer()}, None, favoured=True).rank == 0


# What it means for a start

BETTER = {"network": seen(0.5), **neighbours(slot(), slot(3))}
"""Hosts 2 and 3 have no lack."""


def test_each_better_host_gets_12_s() -> None:
    first, *waiting, last = every((0, 10, 20, 23, 24), BETTER)
    assert first.wake_at == first.scene.now + 24_000
    assert all(d.command is None for d in (first, *waiting))
    assert any("goes first" in text for text in first.waits_for)
    assert isinstance(last.command, StartVm)


def test_the_step_is_the_policys() -> None:
    decided = decide(startable(**BETTER), rules_of=policy.Policy(rank_step_ms=1000))
    assert decided.wake_at == decided.scene.now + 2000


def test_the_best_host_waits_for_nobody() -> None:
    for facts in ({}, neighbours(slot(score=3300)), neighbours(slot(score=9999, local_maintenance=True))):
        assert isinstance(decide(startable(**facts)).command, StartVm)


def test_a_better_host_that_dies_meanwhile_is_not_waited_for() -> None:
    gone = {**BETTER, **neighbours(slot(changed_ago_s=300), sd2=HostFlag.DEAD)}
    first, second = lifetime((0, BETTER), (2, gone))
    assert first.command is None
    assert isinstance(second.command, StartVm)


def test_the_host_that_ran_it_last_goes_first_on_a_tie() -> None:
    snap = startable(host_id=3, **neighbours(slot(2)))
    assert decide(snap).command is None
    ran_it = State(has_joined=True, last_runner=3)
    assert isinstance(decide(snap, ran_it).command, StartVm)


@pytest.mark.parametrize(
    "memory",
    [seen(1000), Evidence(), Evidence(problem="VDSM does not say"), seen(65536, ago_s=60)],
    ids=["short", "never read", "failed", "old"],
)
def test_a_host_short_of_memory_asks_others_first_and_starts_when_there_is_nobody_else(
    memory: Evidence[int],
) -> None:
    """Memory ranks hosts; it is no bar, and what is unknown counts as short."""
    worse: snapshot.PeerSlot = slot(score=1)
    decided = decide(startable(memory_free_mib=memory, **neighbours(worse)))
    assert decided.command is None
    assert any("goes first" in text for text in decided.waits_for)
    assert isinstance(decide(startable(memory_free_mib=memory)).command, StartVm)


def test_a_host_that_failed_asks_others_first_for_a_while() -> None:
    failed = State(has_joined=True, others_first_until=ago(-60))
    worse = startable(**neighbours(slot(score=1)))
    assert decide(worse, failed).command is None
    assert isinstance(decide(worse, JOINED).command, StartVm)
    assert isinstance(decide(startable(), failed).command, StartVm)
