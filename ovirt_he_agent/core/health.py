"""The engine's health: VDSM's status of the VM together with the engine's own page."""

from collections.abc import Sequence
from dataclasses import dataclass

from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import ProbeOutcome, VmStatus

_ASK_THE_PAGE = {
    VmStatus.UP,
    VmStatus.MIGRATION_SOURCE,
    VmStatus.POWERING_DOWN,
    VmStatus.SAVING_STATE,
    VmStatus.REBOOT_IN_PROGRESS,
    VmStatus.OTHER,
}
"""The page decides in these, as upstream does (broker/submonitors/engine_health.py); else it is not good."""


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

LOCK_FAILURE_ENDINGS = (
    # libvirt's and QEMU's texts over the years (ovirt-hosted-engine-ha: broker/submonitors/engine_health.py)
    "Failed to acquire lock: error -243",
    "Failed to acquire lock: Lease is held by another host",
    "Is another process using the image?",
)


def is_lock_failure(message: str | None) -> bool:
    """The VM did not start because another host holds its lease or disk."""
    text = (message or "").strip()
    if text.endswith(LOCK_FAILURE_ENDINGS):
        return True
    return "Is another process using the image [" in text and text.endswith("]?")


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
