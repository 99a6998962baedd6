"""Which phase a host is in: one row decides, in the order of what matters more."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from ovirt_he_agent.core import health, policy, rules, score
from ovirt_he_agent.core.commands import CleanVdsmEntry, StartVm
from ovirt_he_agent.core.model import ExitReason, HostFlag, ProbeOutcome, VmStatus
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.snapshot import Evidence, OwnLease
from ovirt_he_agent.core.state import Attempt, End, Phase, State, Stop, StopCause
from ovirt_he_agent.core.whereabouts import Place, Verdict
from tests.snapshots import (
    ABSENT,
    JOINED,
    NOW,
    UP,
    ago,
    bad,
    decide,
    definition,
    down,
    every,
    lifetime,
    neighbours,
    owned_by,
    running,
    seen,
    slot,
    startable,
    vm,
)

FAILURES = tuple(Attempt(ago(s), End.START_FAILED, "no") for s in (300, 200, 100))
COOLING = replace(JOINED, attempts=FAILURES, last_end=FAILURES[-1])
GONE: Evidence[Any] = Evidence(problem="gone")
NOT_HELD = seen(OwnLease(held=False, since=NOW, detail="lost"))
AWAY = down(ExitReason.MIGRATION_SUCCEEDED)
MIGRATED = replace(JOINED, last_end=Attempt(ago(10), End.MIGRATED, ""))
LAST_READ = startable()
ON, LOCAL = {"global_maintenance": seen(True)}, {"local_maintenance": seen(True)}

# name of the row, its phase, what the snapshot shows, the state before
ROWS: list[tuple[str, Phase, dict[str, Any], State]] = [
    ("leaving", Phase.LEAVING, {"leaving": True}, JOINED),
    ("leaving", Phase.LEAVING, {**UP, **ON, "leaving": True}, running()),
    ("local-without-vm", Phase.LOCAL, LOCAL, JOINED),
    ("local-without-vm", Phase.LOCAL, {**LOCAL, **ON}, JOINED),
    ("local-without-vm", Phase.LOCAL, {**LOCAL, "own_ha_lease": GONE, "slots": GONE}, JOINED),
    ("local-without-vm", Phase.LOCAL, LOCAL, State()),
    ("evidence-is-coming", Phase.INIT, {"vm": Evidence()}, JOINED),
    ("evidence-is-coming", Phase.INIT, {"own_ha_lease": NOT_HELD}, State()),
    ("cut-off", Phase.CUT, {"own_ha_lease": NOT_HELD}, JOINED),
    ("cut-off", Phase.CUT, {"own_ha_lease": GONE}, State()),
    ("cut-off", Phase.CUT, {**UP, "own_ha_lease": NOT_HELD}, running()),
    ("cut-off", Phase.CUT, {"slots": seen({}, ago_s=21).failed("I/O error")}, JOINED),
    ("cut-off", Phase.CUT, {"own_slot": seen(1, ago_s=21).failed("I/O error")}, JOINED),
    ("cut-off", Phase.CUT, {**ON, "own_ha_lease": NOT_HELD}, JOINED),
    ("frozen", Phase.FROZEN, ON, JOINED),
    ("frozen", Phase.FROZEN, {**UP, **ON}, running()),
    ("frozen", Phase.FROZEN, {"global_maintenance": GONE}, replace(JOINED, global_was_on=True)),
    ("frozen", Phase.FROZEN, {**ON, "vm": LAST_READ.vm.failed("gone")}, JOINED),
    ("blind", Phase.BLIND, {"vm": replace(LAST_READ.vm, at=ago(6)).failed("VDSM is gone")}, JOINED),
    ("blind", Phase.BLIND, {"vm": replace(LAST_READ.vm, at=ago(26))}, JOINED),
    ("blind", Phase.BLIND, {"vm": replace(UP["vm"], at=ago(6)).failed("VDSM is gone")}, running()),
    ("incoming", Phase.STANDBY, vm(VmStatus.MIGRATION_DESTINATION), JOINED),
    ("incoming", Phase.STANDBY, {**vm(VmStatus.MIGRATION_DESTINATION), **LOCAL}, JOINED),
    ("starting", Phase.STARTING, vm(VmStatus.WAIT_FOR_LAUNCH), JOINED),
    ("starting", Phase.STARTING, {**vm(VmStatus.WAIT_FOR_LAUNCH), **LOCAL}, JOINED),
    ("starting", Phase.STARTING, vm(VmStatus.POWERING_UP), JOINED),
    ("sick", Phase.SICK, {**UP, **bad(for_s=15)}, running()),
    ("sick", Phase.SICK, {**UP, **bad(for_s=15), **LOCAL}, running()),
    ("here", Phase.RUNNING, UP, running()),
    ("here", Phase.RUNNING, {**UP, **LOCAL}, running()),
    ("here", Phase.RUNNING, {**UP, **vm(VmStatus.MIGRATION_SOURCE)}, running()),
    ("migrated-away", Phase.AWAY, AWAY, MIGRATED),
    ("cooling-down", Phase.COOLDOWN, {}, COOLING),
    ("cooling-down", Phase.COOLDOWN, {"vm_leases": owned_by(2)}, COOLING),
    ("elsewhere", Phase.STANDBY, {"vm_leases": owned_by(2)}, JOINED),
    (
        "elsewhere",
        Phase.STANDBY,
        {"vm_leases": owned_by(2), **down(ExitReason.MIGRATION_SUCCEEDED)},
        MIGRATED,
    ),
    (
        "soon",
        Phase.STANDBY,
        {**neighbours(slot(changed_ago_s=300), sd2=HostFlag.FAIL), "vm_leases": owned_by(2)},
        JOINED,
    ),
    ("unclear", Phase.STANDBY, {"vm_leases": {}}, JOINED),
    ("not-fit", Phase.STANDBY, {"definition": GONE}, JOINED),
    ("not-fit", Phase.STANDBY, {"domain": GONE}, JOINED),
    ("not-fit", Phase.STANDBY, {"global_maintenance": GONE}, JOINED),
    ("waiting", Phase.STANDBY, {}, replace(JOINED, not_before=ago(-10))),
    ("nowhere", Phase.STANDBY, {}, JOINED),
]


@pytest.mark.parametrize(("name", "phase", "facts", "state"), ROWS, ids=[row[0] for row in ROWS])
def test_each_row_decides_where_it_should(
    name: str, phase: Phase, facts: dict[str, Any], state: State
) -> None:
    decided = decide(startable(**facts), state)
    assert (decided.rule.name, decided.phase) == (name, phase)
    assert decided.command is None or name in ("nowhere", "cooling-down")
    assert decided.trace[-1].name == "no-command-in-flight"
    assert decided.rule.label in decided.trace[rules.RULES.index(decided.rule)].detail
    assert decided.reason


def test_every_row_is_tested_here_or_with_the_stops() -> None:
    stops = {
        "asked-to-shut-down",
        "asked-to-power-off",
        "killing",
        "stopping",
        "twin-owns-the-lease",
        "paused-and-taken",
        "start-takes-too-long",
        "lost",
        "sick-too-long",
        "network-is-lost-here",
    }
    assert {rule.name for rule in rules.RULES} == stops | {row[0] for row in ROWS}
    assert all(rule.label for rule in rules.RULES)


# Totality: whatever the verdict, the phase and maintenance, one row decides.


FACTS: dict[Place, dict[str, Any]] = {
    Place.HERE: UP,
    Place.HERE_PENDING: vm(VmStatus.WAIT_FOR_LAUNCH),
    Place.INCOMING: vm(VmStatus.MIGRATION_DESTINATION),
    Place.OUTGOING: vm(VmStatus.MIGRATION_SOURCE),
    Place.ELSEWHERE: {"vm_leases": owned_by(2)},
    Place.NOWHERE_SOON: {"vm_leases": owned_by(2)},
    Place.NOWHERE: {},
    Place.UNCLEAR: {"vm_leases": {}},
}
MAINTENANCE: list[Evidence[bool]] = [seen(True), seen(False), Evidence()]
STOPS = [None, *(Stop(cause=c, why="", since=ago(300), told_at=ago(300), kill=True) for c in StopCause)]


def scenes(place: Place, phase: Phase) -> list[Scene]:
    out = []
    for global_, local, stop, was_here in itertools.product(MAINTENANCE, MAINTENANCE, STOPS, (True, False)):
        snap = startable(**FACTS[place], global_maintenance=global_, local_maintenance=local)
        state = running(phase=phase, stop=stop, was_here=was_here, global_was_on=global_.value is None)
        view = snap.vm.value
        scene = Scene(
            state,
            snap,
            NOW,
            rules=policy.Policy(),
            weights=score.Weights(),
            peers={},
            verdict=Verdict(place, ("why",), 2, NOW),
            engine=health.judge(view.report if view else None, snap.probes, NOW),
        )
        out.append(scene)
    return out


@pytest.mark.parametrize("place", Place)
def test_every_verdict_in_every_phase_and_maintenance_hits_a_row(place: Place) -> None:
    for phase in Phase:
        for scene in scenes(place, phase):
            hit = next(rule for rule in rules.RULES if rule.guard(scene))
            if scene.global_maintenance is not False:  # on, or unknown after it was on
                assert hit.command is None
            if hit.name == "nowhere":
                assert place is Place.NOWHERE
                assert scene.local_maintenance is False
            if hit.phase in (Phase.RUNNING, Phase.SICK, Phase.STARTING, Phase.STOPPING, Phase.KILLING):
                assert scene.is_here


# Stories of single rules


def test_a_restarted_agent_waits_for_its_evidence_before_it_says_anything() -> None:
    snap = startable(vm=Evidence(), own_ha_lease=Evidence(), slots=Evidence())
    decided = decide(snap, State())
    assert decided.phase is Phase.INIT
    assert decided.published is None


def test_evidence_that_fails_is_not_waited_for() -> None:
    assert decide(startable(own_ha_lease=GONE), State()).phase is Phase.CUT


def test_cut_off_the_vm_is_left_alone_whatever_ails_it() -> None:
    """R2: sanlock and VDSM own that fate."""
    sick = running(bad_ms=10**7, bad_until=ago(1), network_lost_since=ago(9999))
    facts = {**vm(VmStatus.UP), **bad(ProbeOutcome.NO_ANSWER), "own_ha_lease": NOT_HELD, "network": seen(0.0)}
    decided = decide(startable(**facts), sick)
    assert (decided.phase, decided.command, decided.published) == (Phase.CUT, None, None)


def test_storage_that_fails_for_less_than_20_s_is_no_cut() -> None:
    assert decide(startable(slots=seen({}, ago_s=20).failed("I/O error"))).phase is Phase.STANDBY


def test_vdsm_that_is_gone_for_5_s_is_no_blindness_and_nothing_is_forgotten_in_it() -> None:
    """R4."""
    gone = UP["vm"].failed("VDSM is gone")
    short = decide(startable(**{**UP, "vm": replace(gone, at=ago(5))}), running())
    assert short.phase is Phase.RUNNING
    blind = decide(startable(**{**UP, "vm": replace(gone, at=ago(100))}), running())
    assert (blind.phase, blind.command) == (Phase.BLIND, None)
    assert replace(blind.state, phase=Phase.RUNNING).was_good
    assert lifetime((10, UP), state=blind.state)[0].phase is Phase.RUNNING


def test_global_maintenance_unknown_after_on_keeps_the_host_frozen() -> None:
    """S2, R3."""
    frozen = decide(startable(**ON))
    unknown = startable(global_maintenance=Evidence(problem="slot 0 is damaged"))
    assert decide(unknown, frozen.state).phase is Phase.FROZEN
    assert decide(unknown, frozen.state).command is None
    assert isinstance(lifetime((5, {}), state=frozen.state)[0].command, StartVm)


def test_the_end_of_maintenance_is_followed_at_once() -> None:
    """L5."""
    for on in (ON, LOCAL):
        before, after = lifetime((0, on), (1, {}))
        assert before.command is None
        assert isinstance(after.command, StartVm)


def test_local_maintenance_stops_the_domain_monitor_only_when_the_vm_is_known_not_to_be_here() -> None:
    """S6, R5."""
    assert decide(startable(**LOCAL)).wants.domain_monitor is False
    for facts in (UP, vm(VmStatus.MIGRATION_DESTINATION), vm(VmStatus.MIGRATION_SOURCE), {"vm": GONE}):
        assert decide(startable(**{**facts, **LOCAL})).wants.domain_monitor is None
    assert decide(startable()).wants.domain_monitor is True
    assert decide(startable(local_maintenance=GONE)).wants.domain_monitor is True


def test_in_local_maintenance_a_vm_that_left_is_not_started_again() -> None:
    """S14, R6."""
    for end in (down(ExitReason.LOST_QEMU), down(ExitReason.MIGRATION_SUCCEEDED), ABSENT):
        decisions = every(range(1, 200, 20), {**end, **LOCAL}, state=running())
        assert {d.command for d in decisions} == {None}
        assert decisions[-1].phase is Phase.LOCAL


def test_while_an_owner_fails_its_end_is_counted_down_and_met_within_a_second() -> None:
    """R14, R15: no start before sanlock says so."""
    failing = {**neighbours(slot(changed_ago_s=300), sd2=HostFlag.FAIL), "vm_leases": owned_by(2)}
    dead = {**neighbours(slot(changed_ago_s=300), sd2=HostFlag.DEAD), "vm_leases": owned_by(2)}
    soon, still, then = lifetime((0, failing), (138, failing), (140, dead))
    assert soon.wants.count_down
    assert soon.wake_at == soon.verdict.free_at
    assert "dead, and the lease free, in about" in soon.reason
    assert [d.command for d in (soon, still)] == [None, None]
    assert isinstance(then.command, StartVm)


def test_what_is_looked_at_often() -> None:
    nowhere, elsewhere = decide(startable()), decide(startable(vm_leases=owned_by(2)))
    well, sick = decide(startable(**UP), running()), decide(startable(**{**UP, **bad()}), running())
    assert [d.wants.alert for d in (nowhere, elsewhere, well, sick)] == [True, False, False, True]
    assert [d.wants.lease_owners for d in (nowhere, elsewhere, well)] == [True, True, False]
    assert [d.wants.watch for d in (nowhere, elsewhere)] == [None, 2]
    assert not decide(startable(**ON)).wants.alert


def test_a_phase_is_stamped_when_it_begins() -> None:
    first, second, third = lifetime((0, {}), (5, {}), (9, {"vm_leases": {}, **UP}))
    assert [d.state.phase_since for d in (first, second, third)] == [NOW, NOW, NOW + 9000]


def test_a_command_that_is_not_given_says_what_is_missing() -> None:
    decided = decide(startable(definition=seen(definition(leases=()))))
    assert "it has no lease: two hosts could start the VM" in decided.reason
    assert "start it here" in decide(startable()).reason
    assert "clear VDSM's record" in decide(startable(**down())).reason
    assert isinstance(decide(startable(**down())).command, CleanVdsmEntry)
