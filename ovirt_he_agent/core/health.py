"""The engine's health: VDSM's status of the VM together with the engine's own page."""

from collections.abc import Sequence
from dataclasses import dataclass

from ovirt_he_agent.core import model, whiteboard
from ovirt_he_agent.core.model import ProbeOutcome, VmStatus
from ovirt_he_agent.core.whiteboard import EngineStatus, HealthWord, VmWord

_ASK_THE_PAGE = {
    VmStatus.UP,
    VmStatus.MIGRATION_SOURCE,
    VmStatus.POWERING_DOWN,
    VmStatus.SAVING_STATE,
    VmStatus.REBOOT_IN_PROGRESS,
    VmStatus.OTHER,
}
"""The page decides in these, as upstream does (broker/submonitors/engine_health.py); else it is not good."""
_UP_WITHOUT_ENGINE = {
    VmStatus.PAUSED,
    VmStatus.WAIT_FOR_LAUNCH,
    VmStatus.RESTORING_STATE,
    VmStatus.POWERING_UP,
}

LOCK_FAILURE_ENDINGS = (
    # libvirt's and QEMU's texts over the years (ovirt-hosted-engine-ha: broker/submonitors/engine_health.py)
    "Failed to acquire lock: error -243",
    "Failed to acquire lock: Lease is held by another host",
    "Is another process using the image?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    good: bool
    good_twice: bool
    """The last two looks were good."""
    bad_since: model.MonotonicMs | None
    """First look of the unbroken row of looks that were not good; None: the last was good, or none."""
    detail: str

    def bad_for_ms(self, now: model.MonotonicMs) -> int:
        return 0 if self.bad_since is None else now - self.bad_since


PROBE_LIMIT_MS = 30_000
"""A look that ended longer ago says nothing of now: the calm pace and the page's own limit."""


def judge(
    report: model.VmReport | None, probes: Sequence[model.HealthProbe], now: model.MonotonicMs
) -> EngineHealth:
    """Health from VDSM's report (None: not here or unknown) and the probes, newest last."""
    if probes and not 0 <= now - probes[-1].at <= PROBE_LIMIT_MS:
        probes = ()
    bad_since: model.MonotonicMs | None = None
    for probe in reversed(probes):
        if probe.outcome is ProbeOutcome.GOOD:
            break
        if probe.outcome is not ProbeOutcome.NO_RESOLUTION:  # that says something of this host only
            bad_since = probe.at
    good = [probe.outcome is ProbeOutcome.GOOD for probe in probes[-2:]]
    if report is None or report.status not in _ASK_THE_PAGE:
        detail = f"VM is {report.status_text}" if report else "VM is not here"
        return EngineHealth(good=False, good_twice=False, bad_since=bad_since, detail=detail)
    detail = probes[-1].reason if probes else "its page has not been asked yet"
    return EngineHealth(
        good=good[-1:] == [True], good_twice=good == [True, True], bad_since=bad_since, detail=detail
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What the whiteboard is told of the engine, and what must be remembered of it until the next look."""

    engine: whiteboard.EngineStatus
    memory: whiteboard.VmWord
    """The last word for the VM that came from VDSM; ``down`` before the first look. Never ``unknown``."""


def tell(known: bool, report: model.VmReport | None, memory: whiteboard.VmWord, *, page_good: bool) -> Told:
    """Upstream's word for the engine, word for word: neighbours, scripts and people read it.

    ``known`` False: VDSM gave an error; else no ``report`` means that it does not know the VM. The same
    evidence once more, with the memory that it left, tells the same. Source: he-ha:
    broker/submonitors/engine_health.py.
    """
    if not known:
        return Told(
            EngineStatus(
                vm=VmWord.UNKNOWN,
                health=HealthWord.UNKNOWN,
                detail="unknown",
                reason="failed to getVmStats",
            ),
            memory,
        )
    if report is None:
        vm = VmWord.DOWN_MISSING if memory is VmWord.UP else memory
        return _bad(vm, "unknown", "vm not running on this host")
    status, word = report.status, report.status_text
    if status is VmStatus.DOWN and is_lock_failure(report.exit_message):
        reason = "Storage of VM is locked. Is another host already starting the VM?"
        return _bad(VmWord.DOWN, word, reason)
    if status is VmStatus.DOWN and report.exit_reason is model.ExitReason.MIGRATION_SUCCEEDED:
        return _bad(VmWord.DOWN, word, "VM migrated away successfully")
    if status in (VmStatus.DOWN, VmStatus.MIGRATION_DESTINATION):
        vm = VmWord.DOWN if memory is VmWord.DOWN else VmWord.DOWN_UNEXPECTED
        return _bad(vm, word, "bad vm status")
    if status in _UP_WITHOUT_ENGINE:
        return _bad(VmWord.UP, word, "bad vm status")
    if not page_good:
        return _bad(VmWord.UP, word, "failed liveliness check")
    return Told(EngineStatus(vm=VmWord.UP, health=HealthWord.GOOD, detail=word, reason=None), VmWord.UP)


def _bad(vm: VmWord, detail: str, reason: str) -> Told:
    return Told(EngineStatus(vm=vm, health=HealthWord.BAD, detail=detail, reason=reason), vm)


def is_lock_failure(message: str | None) -> bool:
    """The VM did not start because another host holds its lease or disk."""
    text = (message or "").strip()
    if text.endswith(LOCK_FAILURE_ENDINGS):
        return True
    return "Is another process using the image [" in text and text.endswith("]?")
