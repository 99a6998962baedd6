"""What an operator asks of the VM: heard once, granted or answered, and never escalated."""

from dataclasses import replace
from typing import Any

import pytest

from ovirt_he_agent.core import decision
from ovirt_he_agent.core.commands import CleanVdsmEntry, DestroyVm, ShutdownVm, StartVm
from ovirt_he_agent.core.model import ExitReason, VmStatus
from ovirt_he_agent.core.snapshot import Evidence, OwnLease, Request, RequestKind
from ovirt_he_agent.core.state import Attempt, End, Phase, State, StopCause
from tests.snapshots import (
    JOINED,
    NOW,
    UP,
    VM_ID,
    ago,
    bad,
    command,
    decide,
    down,
    lifetime,
    neighbours,
    owned_by,
    running,
    seen,
    slot,
    startable,
    vm,
)

ON: dict[str, Any] = {"global_maintenance": seen(True)}
UNKNOWN: dict[str, Any] = {"global_maintenance": Evidence(problem="slot 0 is damaged")}


def asks(kind: RequestKind, *, force: bool = False, number: int = 1) -> dict[str, Any]:
    return {"request": Request(number=number, kind=kind, force=force)}


def ask(
    kind: RequestKind, facts: dict[str, Any], state: State = JOINED, *, force: bool = False
) -> decision.Decision:
    return decide(startable(**{**facts, **asks(kind, force=force)}), state)


# Start


PAUSED = replace(JOINED, last_end=Attempt(ago(1), End.USER_SHUTDOWN, "x"), not_before=ago(-100))


def test_an_operators_start_waits_for_no_pause_and_no_better_host() -> None:
    for state, facts in ((PAUSED, {}), (JOINED, neighbours(slot(score=9999)))):
        assert decide(startable(**facts), state).command is None
        decided = ask(RequestKind.START, facts, state)
        assert isinstance(decided.command, StartVm)
        assert decided.heard is not None
        assert decided.heard.granted


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"vm_leases": owned_by(2)}, "running nowhere"),
        (neighbours(slot(claims_vm=True)), "host 2 (host2) says that it runs it"),
        ({"own_ha_lease": seen(OwnLease(held=False, since=NOW, detail="joining"))}, "joining"),
        ({"local_maintenance": seen(True)}, "local maintenance"),
        ({"definition": Evidence(problem="no store")}, "no store"),
        (ON, "global maintenance"),
        (UNKNOWN, "slot 0 is damaged"),
        (UP, "on this host already"),
    ],
)
def test_a_start_that_cannot_be_granted_now_is_answered_and_over(facts: dict[str, Any], why: str) -> None:
    decided = ask(RequestKind.START, facts)
    assert decided.command is None
    assert decided.heard is not None
    assert not decided.heard.granted
    assert why in decided.heard.answer
    later = lifetime((1, asks(RequestKind.START)), state=replace(PAUSED, seen_request=1))[0]
    assert (later.command, later.heard) == (None, None)


def test_in_global_maintenance_only_a_forced_start_is_given() -> None:
    decided = ask(RequestKind.START, ON, force=True)
    assert decided.phase is Phase.FROZEN
    assert isinstance(decided.command, StartVm)
    unknown = ask(RequestKind.START, UNKNOWN, replace(JOINED, global_was_on=True), force=True)
    assert unknown.command is None
    assert unknown.heard is not None


def test_force_lifts_nothing_but_global_maintenance() -> None:
    for facts in (
        {"vm_leases": owned_by(2)},
        {"local_maintenance": seen(True)},
        neighbours(slot(claims_vm=True)),
    ):
        assert ask(RequestKind.START, facts, force=True).command is None


def test_the_record_of_the_last_life_goes_first_and_the_wish_is_kept_for_the_start() -> None:
    wish = asks(RequestKind.START)
    cleared = command("CleanVdsmEntry", ago_s=-1)
    first, second = lifetime((0, {**down(), **wish}), (2, {**cleared, **wish}), state=PAUSED)
    assert (first.command, first.heard) == (CleanVdsmEntry(VM_ID), None)
    assert isinstance(second.command, StartVm)
    assert second.heard is not None
    assert second.heard.granted


def test_a_record_that_cannot_be_cleared_ends_the_wish() -> None:
    wish = asks(RequestKind.START)
    failed = command("CleanVdsmEntry", ago_s=-1, ok=False, detail="VDSM says no")
    _, second, third = lifetime(
        (0, {**down(), **wish}), (2, {**down(), **failed, **wish}), (4, {**down(), **failed}), state=JOINED
    )
    assert second.command is None
    assert second.heard is not None
    assert "VDSM says no" in second.heard.answer
    assert third.command is None
    assert third.wake_at == NOW + 12_000


# Shutdown and power-off


WISHES = [(RequestKind.SHUTDOWN, Phase.STOPPING), (RequestKind.POWER_OFF, Phase.KILLING)]


@pytest.mark.parametrize(("kind", "phase"), WISHES)
def test_a_good_engine_is_stopped_when_an_operator_asks_for_it(kind: RequestKind, phase: Phase) -> None:
    """S4: the explicit request."""
    decided = ask(kind, UP, running())
    assert decided.phase is phase
    assert decided.command in (ShutdownVm(VM_ID, 120, ""), DestroyVm(VM_ID, ""))
    assert isinstance(decided.command, DestroyVm) is (kind is RequestKind.POWER_OFF)
    assert decided.heard is not None
    assert decided.heard.granted
    assert decided.state.stop is not None
    assert decided.state.stop.cause is StopCause.ASKED


@pytest.mark.parametrize(("kind", "phase"), WISHES)
@pytest.mark.parametrize("frozen", [ON, UNKNOWN], ids=["on", "unknown"])
def test_in_global_maintenance_and_while_it_is_unknown_only_with_force(
    kind: RequestKind, phase: Phase, frozen: dict[str, Any]
) -> None:
    """S2."""
    state = running(global_was_on=True)
    refused = ask(kind, {**UP, **frozen}, state)
    assert (refused.phase, refused.command) == (Phase.FROZEN, None)
    assert refused.heard is not None
    assert "--force" in refused.heard.answer
    assert refused.state.stop is None
    forced = ask(kind, {**UP, **frozen}, state, force=True)
    assert forced.phase is phase
    assert forced.command is not None


@pytest.mark.parametrize(("kind", "phase"), WISHES)
def test_in_local_maintenance_the_vm_may_still_be_stopped_by_its_operator(
    kind: RequestKind, phase: Phase
) -> None:
    assert ask(kind, {**UP, "local_maintenance": seen(True)}, running()).phase is phase


@pytest.mark.parametrize(
    "facts",
    [
        {"vm_leases": owned_by(2)},
        {},
        {"vm": Evidence(problem="VDSM is gone")},
        vm(VmStatus.MIGRATION_DESTINATION),
        {**UP, "own_ha_lease": Evidence(problem="lost")},
    ],
    ids=["elsewhere", "nowhere", "VDSM gone", "migrating in", "cut off"],
)
@pytest.mark.parametrize("kind", [RequestKind.SHUTDOWN, RequestKind.POWER_OFF])
def test_a_stop_where_it_cannot_be_done_is_answered_and_leaves_nothing_behind(
    kind: RequestKind, facts: dict[str, Any]
) -> None:
    decided = ask(kind, facts)
    assert not isinstance(decided.command, ShutdownVm | DestroyVm)
    assert decided.heard is not None
    assert not decided.heard.granted
    assert decided.state.stop is None


def test_a_migrating_guest_is_not_asked_to_shut_down_and_may_be_powered_off() -> None:
    leaving = vm(VmStatus.MIGRATION_SOURCE)
    refused = ask(RequestKind.SHUTDOWN, leaving, running())
    assert (refused.command, refused.state.stop) == (None, None)
    assert refused.heard is not None
    assert not refused.heard.granted
    assert isinstance(ask(RequestKind.POWER_OFF, leaving, running()).command, DestroyVm)


def test_a_wish_waits_for_the_command_in_flight() -> None:
    flying = command("StartVm", done_at=None, ok=None)
    decided = ask(RequestKind.SHUTDOWN, {**UP, **flying}, running())
    assert (decided.command, decided.heard) == (None, None)


def test_a_wish_is_heard_once() -> None:
    first = ask(RequestKind.SHUTDOWN, UP, running())
    told = command("ShutdownVm")
    again = decide(startable(**{**UP, **told, **asks(RequestKind.SHUTDOWN)}), first.state)
    assert (again.command, again.heard) == (None, None)
    anew = decide(startable(**{**UP, **told, **asks(RequestKind.SHUTDOWN, number=2)}), again.state)
    assert isinstance(anew.command, ShutdownVm)
    assert anew.heard is not None


def test_a_shutdown_that_was_asked_for_and_that_the_guest_ignores_is_not_escalated() -> None:
    first = ask(RequestKind.SHUTDOWN, UP, running())
    told = command("ShutdownVm")
    decisions = lifetime(*((s, {**UP, **told}) for s in range(1, 400, 10)), state=first.state)
    assert {d.command for d in decisions} == {None}
    assert decisions[0].phase is Phase.STOPPING
    assert decisions[-1].phase is Phase.RUNNING
    assert decisions[-1].state.stop is None


def test_a_shutdown_of_an_operators_that_fails_is_not_escalated() -> None:
    first = ask(RequestKind.SHUTDOWN, UP, running())
    failed = command("ShutdownVm", ok=False, detail="no guest agent")
    after = decide(startable(**{**UP, **failed}), first.state)
    assert (after.phase, after.command, after.state.stop) == (Phase.RUNNING, None, None)


@pytest.mark.parametrize("refused", [True, False], ids=["dropped", "failed"])
@pytest.mark.parametrize(("kind", "_phase"), WISHES)
def test_a_stop_of_an_operators_that_was_not_done_is_theirs_to_ask_for_again(
    kind: RequestKind, _phase: Phase, refused: bool
) -> None:
    first = ask(kind, UP, running())
    ended = command(type(first.command).__name__, ok=False, refused=refused)
    decisions = lifetime(*((s, {**UP, **ended}) for s in (1, 5, 100)), state=first.state)
    assert {d.command for d in decisions} == {None}


def test_a_forced_stop_does_not_outlive_its_150_s_in_global_maintenance() -> None:
    """What could not be done then must not be done when maintenance ends."""
    first = ask(RequestKind.POWER_OFF, {**UP, **ON}, running(), force=True)
    accepted = command("DestroyVm")
    frozen, later = lifetime((1, {**UP, **ON, **accepted}), (3600, {**UP, **accepted}), state=first.state)
    assert (frozen.phase, frozen.command) == (Phase.FROZEN, None)
    assert (later.phase, later.command) == (Phase.RUNNING, None)


def test_a_vm_that_an_operator_stopped_starts_again_elsewhere_first() -> None:
    first = ask(RequestKind.SHUTDOWN, UP, running())
    ended = lifetime((30, down(ExitReason.USER_SHUTDOWN, code=0)), state=first.state)[0]
    assert ended.state.last_end is not None
    assert ended.state.last_end.end is End.ADMIN_SHUTDOWN
    assert not ended.state.favoured
    assert ended.state.others_first_until > NOW


def test_an_asked_stop_takes_the_place_of_our_own() -> None:
    sick = running(bad_ms=10**6, bad_until=ago(1))
    ours = decide(startable(**vm(VmStatus.UP), **bad()), sick)
    assert isinstance(ours.command, ShutdownVm)
    asked = ask(RequestKind.POWER_OFF, {**vm(VmStatus.UP), **bad(), **command("ShutdownVm")}, ours.state)
    assert isinstance(asked.command, DestroyVm)
    assert asked.state.stop is not None
    assert asked.state.stop.cause is StopCause.ASKED
