"""What a start teaches about its definition, by what VDSM, storage and the leases say."""

from dataclasses import replace
from typing import Any

import pytest

from ovirt_he_agent.core import model, snapshot
from ovirt_he_agent.core.definitions.life import Lesson, follow
from ovirt_he_agent.core.definitions.record import Life
from ovirt_he_agent.core.model import ExitReason, VmStatus
from tests.snapshots import NOW, report, seen, startable

LIFE = Life(sha256="d" * 64, since_s=1, command=3)


def command(**facts: Any) -> snapshot.Command:
    given = model.MonotonicMs(NOW - 5_000)
    done = snapshot.Command(number=3, kind="StartVm", given_at=given, done_at=given, ok=True)
    return replace(done, **facts)


def vm(status: VmStatus, **facts: Any) -> snapshot.Evidence[snapshot.VmView]:
    return seen(snapshot.VmView(report=report(status, **facts)))


def down(reason: ExitReason | None, message: str | None, code: int = 1) -> snapshot.Snapshot:
    return startable(
        vm=vm(VmStatus.DOWN, exit_reason=reason, exit_message=message, exit_code=code), command=command()
    )


def test_up_is_a_good_start_and_is_learnt_once() -> None:
    snap = startable(vm=vm(VmStatus.UP), command=command())
    life, lesson = follow(LIFE, snap, NOW)
    assert lesson == Lesson(LIFE.sha256, True, "Up")
    assert life == replace(LIFE, up=True)
    assert follow(life, snap, NOW) == (life, None)


@pytest.mark.parametrize("status", [VmStatus.WAIT_FOR_LAUNCH, VmStatus.POWERING_UP, VmStatus.PAUSED])
def test_nothing_is_learnt_on_the_way(status: VmStatus) -> None:
    assert follow(LIFE, startable(vm=vm(status), command=command()), NOW) == (LIFE, None)


def test_a_definition_that_vdsm_refuses_has_failed() -> None:
    snap = startable(command=command(ok=False, rejected=True, detail="error 9"))
    assert follow(LIFE, snap, NOW) == (None, Lesson(LIFE.sha256, False, "error 9"))


@pytest.mark.parametrize("facts", [{"refused": True}, {"detail": "VDSM is starting"}])
def test_a_command_that_was_dropped_or_not_looked_at_teaches_nothing(facts: dict[str, Any]) -> None:
    assert follow(LIFE, startable(command=command(ok=False, **facts)), NOW) == (None, None)


def test_a_command_in_flight_teaches_nothing_yet() -> None:
    assert follow(LIFE, startable(command=command(done_at=None, ok=None)), NOW) == (LIFE, None)


def test_what_vdsm_said_before_the_command_ended_teaches_nothing() -> None:
    snap = startable(vm=seen(snapshot.VmView(report=None), ago_s=6), command=command())
    assert follow(LIFE, snap, NOW) == (LIFE, None)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (ExitReason.GENERIC_ERROR, "unsupported configuration: machine type 'pc-q35-99' is not supported"),
        (ExitReason.START_FAILED, "internal error: process exited while connecting to monitor"),
        (ExitReason.LOST_QEMU, "Lost connection with qemu process"),
        (None, None),
    ],
)
def test_an_error_before_it_was_up_is_the_definitions(reason: ExitReason | None, message: str | None) -> None:
    life, lesson = follow(LIFE, down(reason, message), NOW)
    assert life is None
    assert lesson == Lesson(LIFE.sha256, False, message or "no exit message")


@pytest.mark.parametrize(
    "message",
    [
        "resource busy: Failed to acquire lock: Lease is held by another host",
        "internal error: Failed to acquire lock: error -243",
        "Failed to open socket to sanlock daemon: Connection refused",
        "Failed to get write lock. Is another process using the image [/rhev/x]?",
    ],
)
def test_a_lease_that_was_not_got_is_not_the_definitions_fault(message: str) -> None:
    assert follow(LIFE, down(ExitReason.GENERIC_ERROR, message), NOW) == (None, None)


def test_storage_in_trouble_is_not_the_definitions_fault() -> None:
    failed = down(ExitReason.GENERIC_ERROR, "Bad volume specification")
    assert failed.domain.value is not None
    for vitals in (replace(failed.domain.value, valid=False), replace(failed.domain.value, acquired=False)):
        assert follow(LIFE, replace(failed, domain=seen(vitals)), NOW) == (None, None)
    assert follow(LIFE, replace(failed, domain=snapshot.Evidence()), NOW) == (None, None)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (ExitReason.ADMIN_SHUTDOWN, 0),
        (ExitReason.DESTROYED_ON_STARTUP, 0),
        (ExitReason.MIGRATION_SUCCEEDED, 0),
    ],
)
def test_an_end_that_somebody_wanted_is_no_failure(reason: ExitReason, code: int) -> None:
    assert follow(LIFE, down(reason, "wanted", code), NOW) == (None, None)


def test_the_end_of_a_vm_that_was_up_is_no_failed_start() -> None:
    assert follow(replace(LIFE, up=True), down(ExitReason.LOST_QEMU, "lost"), NOW) == (None, None)


def test_a_start_of_an_earlier_process_is_judged_as_well() -> None:
    """The daemon was restarted between the start and its failure: there is no command."""
    snap = replace(down(ExitReason.GENERIC_ERROR, "bad machine"), command=None)
    assert follow(replace(LIFE, command=None), snap, NOW) == (None, Lesson(LIFE.sha256, False, "bad machine"))
    unknown = startable(vm=snapshot.Evidence(problem="VDSM is away"))
    assert follow(replace(LIFE, command=None), unknown, NOW) == (replace(LIFE, command=None), None)
