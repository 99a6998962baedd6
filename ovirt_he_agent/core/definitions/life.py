"""From a start to its end: did the definition start well, or is it to blame that it did not?

*Started* is VDSM's ``Up``: with a guest agent as soon as that answers, without one
60 s after QEMU began to run (vdsm: lib/vdsm/virt/vm.py). To blame is a definition
that VDSM refused, or with which the VM went Down in an error before it was Up; not
a lease that another host holds or that sanlock did not give, nor storage in
trouble, nor VDSM that was away or busy.
"""

from dataclasses import dataclass, replace

from ovirt_he_agent.core import model, snapshot, whereabouts
from ovirt_he_agent.core.definitions.record import Life

_START_FAILURES = {
    None,
    model.ExitReason.GENERIC_ERROR,
    model.ExitReason.LOST_QEMU,
    model.ExitReason.START_FAILED,
}
_LEASE_WORDS = ("acquire lock", "sanlock", "is another process using the image")
"""In texts about a lease that was not got (libvirt: src/locking/lock_driver_sanlock.c; QEMU)."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a start has taught about its definition."""

    sha256: str
    started: bool
    detail: str


def follow(life: Life, snap: snapshot.Snapshot, now: model.MonotonicMs) -> tuple[Life | None, Lesson | None]:
    """The life after what ``snap`` shows, None when it is over, and what was learnt just now."""
    command = snap.command
    if command is not None and command.done_at is None:
        return life, None
    if command is not None and command.number == life.command and command.ok is False:
        if command.rejected:
            return None, Lesson(life.sha256, False, command.detail)
        return None, None  # nothing was started, and not because of the definition
    view = snap.vm.known(now, snapshot.VM_LIMIT_MS)
    if view is None or (
        command is not None and command.done_at is not None and (snap.vm.at or 0) < command.done_at
    ):
        return life, None
    if whereabouts.here(view) is None:
        blamed = view.report is not None and not life.up and _is_to_blame(view.report, snap, now)
        if view.report is None or not blamed:
            return None, None
        return None, Lesson(life.sha256, False, view.report.exit_message or "no exit message")
    if view.report is not None and view.report.status is model.VmStatus.UP and not life.up:
        return replace(life, up=True), Lesson(life.sha256, True, view.report.status_text)
    return life, None


def _is_to_blame(report: model.VmReport, snap: snapshot.Snapshot, now: model.MonotonicMs) -> bool:
    if not report.exit_code or report.exit_reason not in _START_FAILURES:
        return False
    text = (report.exit_message or "").lower()
    if any(words in text for words in _LEASE_WORDS):
        return False
    domain = snap.domain.known(now, snapshot.DOMAIN_LIMIT_MS)
    return domain is not None and domain.valid and domain.acquired
