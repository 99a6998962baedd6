"""What the whiteboard is told of the engine: upstream's table, row by row."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import health, model, own_slot
from ovirt_he_agent.core.model import ExitReason, VmStatus
from ovirt_he_agent.core.whiteboard import VmWord
from tests import own_slots, snapshots

MISSING = "vm not running on this host"
LOCKED = "Storage of VM is locked. Is another host already starting the VM?"
LOCK_FAILURE = "internal error: process exited: Failed to acquire lock: Lease is held by another host"
ANY_WORD = list(VmWord)
SEEN = [VmWord.UP, VmWord.DOWN, VmWord.DOWN_UNEXPECTED, VmWord.DOWN_MISSING]
"""What the memory can hold."""
PAGE_DECIDES = [
    VmStatus.UP,
    VmStatus.MIGRATION_SOURCE,
    VmStatus.POWERING_DOWN,
    VmStatus.SAVING_STATE,
    VmStatus.REBOOT_IN_PROGRESS,
    VmStatus.OTHER,
]
UP_ALL_THE_SAME = [
    VmStatus.PAUSED,
    VmStatus.WAIT_FOR_LAUNCH,
    VmStatus.RESTORING_STATE,
    VmStatus.POWERING_UP,
]
NO_ANSWER = object()
NOT_HERE = None
DOWN = snapshots.report(VmStatus.DOWN)
LOCK_FAILED = snapshots.report(VmStatus.DOWN, exit_message=LOCK_FAILURE)
LOCK_FAILED_OF_A_MIGRATION = snapshots.report(
    VmStatus.DOWN, exit_message=LOCK_FAILURE, exit_reason=ExitReason.MIGRATION_SUCCEEDED
)
MIGRATED = snapshots.report(VmStatus.DOWN, exit_reason=ExitReason.MIGRATION_SUCCEEDED)
INCOMING = snapshots.report(VmStatus.MIGRATION_DESTINATION)


def bad(vm: str, detail: str, reason: str) -> str:
    return f'{{"vm": "{vm}", "health": "bad", "detail": "{detail}", "reason": "{reason}"}}'


ROWS: list[tuple[object, Sequence[VmWord], Sequence[bool], str, VmWord | None]] = [
    # VDSM's answer, memories, page good or not, JSON text, memory after it (None: as before)
    (NOT_HERE, [VmWord.UP], [True, False], bad("down_missing", "unknown", MISSING), VmWord.DOWN_MISSING),
    *(
        (NOT_HERE, [memory], [True, False], bad(memory, "unknown", MISSING), memory)
        for memory in SEEN
        if memory is not VmWord.UP
    ),
    (
        NO_ANSWER,
        SEEN,
        [True, False],
        '{"vm": "unknown", "health": "unknown", "detail": "unknown", "reason": "failed to getVmStats"}',
        None,
    ),
    (LOCK_FAILED, SEEN, [True, False], bad("down", "Down", LOCKED), VmWord.DOWN),
    (LOCK_FAILED_OF_A_MIGRATION, SEEN, [True, False], bad("down", "Down", LOCKED), VmWord.DOWN),
    (MIGRATED, SEEN, [True, False], bad("down", "Down", "VM migrated away successfully"), VmWord.DOWN),
    *(
        row
        for report in (DOWN, INCOMING)
        for row in (
            (
                report,
                [VmWord.DOWN],
                [True, False],
                bad("down", report.status_text, "bad vm status"),
                VmWord.DOWN,
            ),
            (
                report,
                [VmWord.UP, VmWord.DOWN_UNEXPECTED, VmWord.DOWN_MISSING],
                [True, False],
                bad("down_unexpected", report.status_text, "bad vm status"),
                VmWord.DOWN_UNEXPECTED,
            ),
        )
    ),
    *(
        (snapshots.report(status), SEEN, [True, False], bad("up", status, "bad vm status"), VmWord.UP)
        for status in UP_ALL_THE_SAME
    ),
    *(
        (snapshots.report(status), SEEN, [False], bad("up", status, "failed liveliness check"), VmWord.UP)
        for status in PAGE_DECIDES
    ),
    *(
        (
            snapshots.report(status),
            SEEN,
            [True],
            f'{{"vm": "up", "health": "good", "detail": "{status}"}}',
            VmWord.UP,
        )
        for status in PAGE_DECIDES
    ),
]
CASES = [
    (answer, memory, good, text, after or memory)
    for answer, memories, pages, text, after in ROWS
    for memory, good in itertools.product(memories, pages)
]


@pytest.mark.parametrize(("answer", "memory", "page_good", "text", "after"), CASES)
def test_each_row_of_the_table(
    answer: object, memory: VmWord, page_good: bool, text: str, after: VmWord
) -> None:
    known = answer is not NO_ANSWER
    report = answer if isinstance(answer, model.VmReport) else None
    told = health.tell(known, report, memory, page_good=page_good)
    assert told.memory is after
    block = own_slot.encode(own_slots.own_slot(engine=told.engine))
    assert block.split(b"|")[5] == text.encode()


def test_the_table_has_a_row_for_every_case() -> None:
    statuses = {answer.status for answer, *_ in CASES if isinstance(answer, model.VmReport)}
    assert statuses == set(VmStatus)
    seen = [(repr(answer), memory, good) for answer, memory, good, *_ in CASES]
    assert len(seen) == len(set(seen))
    assert len(seen) == (5 + 1 + len(UP_ALL_THE_SAME) + len(PAGE_DECIDES) + 1) * len(SEEN) * 2


def test_a_status_that_is_not_known_here_is_told_in_vdsms_word() -> None:
    report = model.VmReport(vm_id="x", status=VmStatus.OTHER, status_text="Dreaming", event_time=1)
    told = health.tell(True, report, VmWord.DOWN, page_good=True)
    assert (told.engine.vm, told.engine.detail) == (VmWord.UP, "Dreaming")


reports = st.builds(
    model.VmReport,
    vm_id=st.just("x"),
    status=st.sampled_from(VmStatus),
    status_text=st.text(max_size=20),
    event_time=st.integers(),
    exit_code=st.none() | st.integers(),
    exit_reason=st.none() | st.sampled_from(ExitReason),
    exit_message=st.sampled_from([None, "", "lost connection with qemu", LOCK_FAILURE]),
)


@given(st.booleans(), st.none() | reports, st.sampled_from(ANY_WORD), st.booleans())
def test_the_same_evidence_again_changes_nothing(
    known: bool, report: model.VmReport | None, memory: VmWord, page_good: bool
) -> None:
    told = health.tell(known, report, memory, page_good=page_good)
    assert health.tell(known, report, told.memory, page_good=page_good) == told
    assert told.memory is not VmWord.UNKNOWN or memory is VmWord.UNKNOWN
