"""What a host says of itself: upstream's names, its score, and nothing that it does not know."""

from dataclasses import replace
from typing import Any

import pytest

from ovirt_he_agent.core import publication
from ovirt_he_agent.core.model import HostFlag, VmStatus
from ovirt_he_agent.core.publication import Published
from ovirt_he_agent.core.snapshot import Evidence, OwnLease
from ovirt_he_agent.core.state import Attempt, End, Phase, State, Stop, StopCause
from ovirt_he_agent.core.whiteboard import HealthWord, VmWord
from tests.snapshots import (
    ABSENT,
    JOINED,
    NOW,
    UP,
    ago,
    bad,
    decide,
    lifetime,
    neighbours,
    owned_by,
    running,
    seen,
    slot,
    startable,
    vm,
)

GONE: Evidence[Any] = Evidence(problem="gone")
FAILURES = tuple(Attempt(ago(s), End.START_FAILED, "no") for s in (300, 200, 100))
SICK = {**vm(VmStatus.UP), **bad(for_s=20)}
STOP = Stop(cause=StopCause.SICK, why="", since=ago(10), told_at=ago(10))


def published(facts: dict[str, Any], state: State = JOINED) -> Published:
    said = decide(startable(**facts), state).published
    assert said is not None
    return said


@pytest.mark.parametrize(
    ("phase", "name", "score", "facts", "state"),
    [
        (Phase.INIT, "ReinitializeFSM", 0, {"domain": Evidence()}, State()),
        (Phase.STANDBY, "EngineDown", 3400, {"vm_leases": owned_by(2)}, JOINED),
        (Phase.STARTING, "EngineStarting", 3400, vm(VmStatus.WAIT_FOR_LAUNCH), JOINED),
        (Phase.RUNNING, "EngineUp", 3400, UP, running()),
        (Phase.SICK, "EngineUpBadHealth", 3400, SICK, running()),
        (Phase.STOPPING, "EngineStop", 3400, SICK, running(stop=STOP)),
        (Phase.KILLING, "EngineForceStop", 3400, SICK, running(stop=replace(STOP, kill=True))),
        (Phase.COOLDOWN, "EngineUnexpectedlyDown", 0, {}, replace(JOINED, attempts=FAILURES)),
        (Phase.FROZEN, "GlobalMaintenance", 3400, {"global_maintenance": seen(True)}, JOINED),
        (Phase.LOCAL, "LocalMaintenance", 0, {"local_maintenance": seen(True)}, JOINED),
        (Phase.BLIND, "UnknownLocalVmState", 3400, {"vm": GONE}, JOINED),
        (Phase.LEAVING, "AgentStopped", 0, {"leaving": True}, JOINED),
    ],
)
def test_each_phase_has_upstreams_name_and_its_score(
    phase: Phase, name: str, score: int, facts: dict[str, Any], state: State
) -> None:
    decided = decide(startable(**facts), state)
    assert decided.phase is phase
    said = published(facts, state)
    assert (said.state, said.score) == (name, score)
    assert said.stopped is (phase is Phase.LEAVING)
    assert said.local_maintenance is (phase is Phase.LOCAL)


def test_a_vm_that_migrated_away_is_maybe_away() -> None:
    assert Phase.AWAY.published == "EngineMaybeAway"


def test_cut_off_nothing_is_published() -> None:
    """S7."""
    assert decide(startable(own_ha_lease=GONE)).published is None
    lost = seen(OwnLease(held=False, since=NOW, detail="lost"))
    assert decide(startable(**UP, own_ha_lease=lost), running()).published is None
    assert {phase for phase in Phase if phase.published is None} == {Phase.CUT}


def test_a_restarted_agent_does_not_take_its_vms_name_off_the_whiteboard() -> None:
    assert decide(startable(vm=Evidence()), State()).published is None
    said = published({**UP, "domain": Evidence()}, State())
    assert said.engine.vm is VmWord.UP


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.SICK, Phase.FROZEN])
def test_free_memory_does_not_count_where_the_vm_has_it_already(phase: Phase) -> None:
    facts: dict[str, Any] = {
        Phase.RUNNING: UP,
        Phase.SICK: SICK,
        Phase.FROZEN: {"global_maintenance": seen(True)},
    }[phase]
    state = JOINED if phase is Phase.FROZEN else running()
    assert published({**facts, "memory_free_mib": seen(0)}, state).score == 3400
    assert published({"memory_free_mib": seen(0)}).score == 3000


def test_the_vm_here_in_local_maintenance_is_not_in_maintenance_yet() -> None:
    """R6: the engine migrates it first."""
    said = published({**UP, "local_maintenance": seen(True)}, running())
    assert (said.state, said.local_maintenance, said.score) == ("EngineUp", False, 3400)


@pytest.mark.parametrize(
    "status", [s for s in VmStatus if s not in (VmStatus.DOWN, VmStatus.MIGRATION_DESTINATION)]
)
def test_up_is_said_of_a_vm_that_vdsm_reports_here(status: VmStatus) -> None:
    """S9."""
    assert published(vm(status), running()).engine.vm is VmWord.UP


@pytest.mark.parametrize(
    "facts", [ABSENT, vm(VmStatus.DOWN), {"vm": GONE}, {"vm": seen(UP["vm"].value, ago_s=26)}]
)
def test_up_is_said_of_nothing_else(facts: dict[str, Any]) -> None:
    assert published(facts, running(told_vm=VmWord.UP)).engine.vm is not VmWord.UP


def test_good_is_said_only_of_a_page_that_is_good_now() -> None:
    assert published(UP, running()).engine.health is HealthWord.GOOD
    assert published({**UP, **bad()}, running()).engine.health is HealthWord.BAD
    assert published({**UP, "probes": ()}, running()).engine.health is HealthWord.BAD


def test_while_a_lease_runs_out_the_countdown_is_the_reason() -> None:
    failing = {**neighbours(slot(changed_ago_s=300), sd2=HostFlag.FAIL), "vm_leases": owned_by(2)}
    said = published(failing)
    assert said.engine.vm is not VmWord.UP
    assert "waiting for the VM's lease" in (said.engine.reason or "")
    assert "dead, and the lease free, in about" in (said.engine.reason or "")


def test_who_lets_others_go_first_says_so() -> None:
    assert published({}, replace(JOINED, others_first_until=ago(-1))).others_first
    assert not published({}, replace(JOINED, others_first_until=NOW)).others_first


def test_what_has_to_be_on_the_whiteboard_at_once() -> None:
    same, worse = published({}), published({"cpu_load": seen(0.6)})
    assert same.score != worse.score
    assert same.urgent == worse.urgent
    for other in (
        published(UP, running()),
        published({"global_maintenance": seen(True)}),
        published({"leaving": True}),
        published({}, replace(JOINED, others_first_until=ago(-1))),
        published({}, replace(JOINED, attempts=FAILURES)),
    ):
        assert other.urgent != same.urgent


def test_the_countdown_is_not_urgent_every_second() -> None:
    failing = {**neighbours(slot(changed_ago_s=300), sd2=HostFlag.FAIL), "vm_leases": owned_by(2)}
    first, second = (d.published for d in lifetime((0, failing), (1, failing)))
    assert first is not None
    assert second is not None
    assert first.engine.reason != second.engine.reason
    assert first.urgent == second.urgent


def test_the_score_shown_is_the_sum_of_its_penalties() -> None:
    decided = decide(startable(network=seen(0.5), bridge_up=seen(False)))
    points = publication.points(decided.scene)
    assert points.base - sum(p.points for p in points.penalties) == points.points == 2000
