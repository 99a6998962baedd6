"""The broker's submonitors: what the old agent knows of its own host (he-ha: broker/submonitors)."""

import re

from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import VmStatus
from ovirt_he_agent.sim.cluster.upstream.process import Work
from ovirt_he_agent.sim.cluster.upstream.slots import Status
from ovirt_he_agent.sim.cluster.upstream.surroundings import Refused, Surroundings, Timeline, VdsmAway

PERIOD_MS = 10_000
CPU_ROUNDS = 6
"""CPU load is measured anew once a minute, the first time after 10 s."""
RETRY_MS = 1000
"""Nobody listening at VDSM's port: tried again, for a minute."""
TRIES = 60

LOCKED = "Storage of VM is locked. Is another host already starting the VM?"
_LOCKED_ENDS = (
    "Failed to acquire lock: error -243",
    "Failed to acquire lock: Lease is held by another host",
    "Is another process using the image?",
)
_LOCKED_PATTERN = re.compile(r"Is another process using the image \[.*\]\?$")

_BAD_WORDS = {VmStatus.PAUSED, VmStatus.WAIT_FOR_LAUNCH, VmStatus.RESTORING_STATE, VmStatus.POWERING_UP}


def says_locked(exit_message: str) -> bool:
    return exit_message.endswith(_LOCKED_ENDS) or _LOCKED_PATTERN.search(exit_message) is not None


class EngineHealth:
    """The monitor ``engine-health``: VDSM's word and the engine's page; remembers its last ``vm``.

    ``vdsm_clock_ms`` is added to ``VmReport.event_time`` before the old daemon
    compares these numbers as text [Q].
    """

    def __init__(self, host: Surroundings, *, vdsm_clock_ms: int) -> None:
        self._host = host
        self._vdsm_clock_ms = vdsm_clock_ms
        self._vm = "down"
        self._stamp = ""
        """VDSM's time of the last report as text; empty: the last word was not a report."""
        self.status: Status | None = None

    def poll(self) -> None:
        """Raises VdsmAway, then the last value stands."""
        try:
            report = self._host.vm_stats()
        except Refused:
            self._stamp = ""
            self.status = {
                "vm": "unknown",
                "health": "unknown",
                "detail": "unknown",
                "reason": "failed to getVmStats",
            }
            return
        if report is None:
            if self._vm == "up":
                self._vm = "down_missing"
            self._stamp = ""
            self.status = self._bad("unknown", "vm not running on this host")
        else:
            self.take(report)

    def take(self, report: model.VmReport) -> None:
        """A report, by poll or event; one that is not newer than the last is dropped."""
        stamp = str(report.event_time + self._vdsm_clock_ms)
        if self._stamp and not stamp > self._stamp:  # as text: 999 is newer than 1000 [Q]
            return
        self._stamp = stamp
        self.status = self._judge(report)

    def _judge(self, report: model.VmReport) -> Status:
        word = report.status_text
        if report.status is VmStatus.DOWN:
            if says_locked(report.exit_message or ""):
                self._vm = "down"
                return self._bad(word, LOCKED)
            if report.exit_reason is model.ExitReason.MIGRATION_SUCCEEDED:
                self._vm = "down"
                return self._bad(word, "VM migrated away successfully")
        if report.status in (VmStatus.DOWN, VmStatus.MIGRATION_DESTINATION):
            if self._vm != "down":
                self._vm = "down_unexpected"
            return self._bad(word, "bad vm status")
        self._vm = "up"
        if report.status in _BAD_WORDS:
            return self._bad(word, "bad vm status")
        if not self._host.page_good():
            return self._bad(word, "failed liveliness check")
        return {"vm": "up", "health": "good", "detail": word}

    def _bad(self, detail: str, reason: str) -> Status:
        return {"vm": self._vm, "health": "bad", "detail": detail, "reason": reason}


class Monitors:
    """All submonitors of one agent's run; started anew with each agent."""

    def __init__(self, timeline: Timeline, host: Surroundings, *, vdsm_clock_ms: int) -> None:
        self._timeline = timeline
        self._host = host
        self.engine = EngineHealth(host, vdsm_clock_ms=vdsm_clock_ms)
        self.network = 1.0
        self.bridge_up = True
        """No result counts as up [Q]."""
        self.memory_free_mib: float | None = None
        self.cpu_load: float | None = None

    def run(self) -> Work:
        rounds = 0
        while True:
            started_ms = self._timeline.now_ms()
            self.network = self._host.network()
            if rounds % CPU_ROUNDS == 1:
                self.cpu_load = float(f"{self._host.cpu_load():.4f}")
            for attempt in range(TRIES):
                try:
                    self._ask_vdsm()
                    break
                except VdsmAway:  # the values stand; asked again as in util.connect_vdsm_json_rpc
                    if attempt < TRIES - 1:
                        yield RETRY_MS
            rounds += 1
            yield max(0, started_ms + PERIOD_MS - self._timeline.now_ms())

    def _ask_vdsm(self) -> None:
        self.engine.poll()
        try:
            self.bridge_up = self._host.bridge_up()
        except Refused:
            self.bridge_up = True  # the text "None" is true [Q]
        try:
            self.memory_free_mib = float(self._host.memory_free_mib())
        except Refused:
            self.memory_free_mib = None
