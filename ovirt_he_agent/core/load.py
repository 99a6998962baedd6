"""The CPU load of this host without the engine VM's: what of it goes into the score.

Rules: he-ha: broker/submonitors/cpu_load_no_engine.py (a measurement) and
agent/state_data.py (the average over the last 15 minutes).
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from ovirt_he_agent.core import model

FIRST_MEASUREMENT_MS = 10_000
MEASUREMENT_MS = 60_000
UNREAL_FIGURES_MS = 300_000
"""A VM's figures that are not real yet are waited for so long; then the load is taken with what there is."""
HISTORY_MS = 900_000

_COUNTED_FIELDS = 8  # what follows are the guests', which are in user and nice already
_IDLE_FIELDS = slice(3, 5)  # idle, iowait


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """The kernel's counters of all CPUs together, in its ticks."""

    busy: int
    total: int
    cpus: int


def cpu_times(proc_stat: str) -> CpuTimes:
    """Of the text of /proc/stat (proc(5)). Raises ValueError saying what is wrong."""
    lines = proc_stat.splitlines()
    name, *words = (lines[0] if lines else "").split() or [""]
    if name != "cpu" or len(words) < _COUNTED_FIELDS or not all(w.isascii() and w.isdigit() for w in words):
        raise ValueError(f"its first line is not cpu with at least {_COUNTED_FIELDS} counters")
    cpus = sum(line.startswith("cpu") for line in lines) - 1
    if not cpus:
        raise ValueError("it has no line of a single CPU")
    ticks = [int(word) for word in words[:_COUNTED_FIELDS]]
    total = sum(ticks)
    return CpuTimes(busy=total - sum(ticks[_IDLE_FIELDS]), total=total, cpus=cpus)


def busy_share(old: CpuTimes, new: CpuTimes) -> float | None:
    """Of all CPU time between the two; None: there was none."""
    total = new.total - old.total
    if total <= 0:
        return None
    return min(1.0, max(0.0, (new.busy - old.busy) / total))  # iowait may run backwards


def without_vm(share: float, vm: model.VmCpu | None, cpus: int) -> float:
    """``share`` less what ``vm`` takes; None: it does not run here."""
    percent = vm.percent or 0.0 if vm is not None else 0.0
    return max(0.0, share - percent / cpus / 100)


@dataclass(frozen=True, slots=True)
class Point:
    """The load that held at a moment."""

    at: model.MonotonicMs
    load: float


def average(points: tuple[Point, ...]) -> float | None:
    """Weighted by time, as straight lines between the points (oldest first); None: they span no time."""
    if not points or (span := points[-1].at - points[0].at) <= 0:
        return None
    area = 0.0
    for a, b in pairwise(points):
        area += (b.at - a.at) * (a.load + b.load)
    return area / 2 / span


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is remembered from one look to the next."""

    times: CpuTimes | None = None
    times_at: model.MonotonicMs | None = None
    real_at: model.MonotonicMs | None = None
    """When the VM's figures were real last, or when waiting for the first began."""
    current: float | None = None
    """The last measurement that counts."""
    points: tuple[Point, ...] = ()

    def due(self, now: model.MonotonicMs) -> bool:
        """It is time to measure: 10 s after the first look at the counters, then each minute."""
        if self.times_at is None:
            return True
        pause = FIRST_MEASUREMENT_MS if self.current is None else MEASUREMENT_MS
        return now - self.times_at >= pause

    def measured(self, times: CpuTimes, vm: model.VmCpu | None, now: model.MonotonicMs) -> "Load":
        """After a look at the counters; the first only gives it something to compare with."""
        share = None if self.times is None else busy_share(self.times, times)
        seen = replace(self, times=times, times_at=now)
        if share is None:
            return seen
        if vm is None or vm.is_real:
            return replace(seen, current=without_vm(share, vm, times.cpus), real_at=now)
        if self.real_at is None:
            return replace(seen, real_at=now)
        if now - self.real_at < UNREAL_FIGURES_MS:
            return seen
        return replace(seen, current=without_vm(share, vm, times.cpus))

    def noted(self, now: model.MonotonicMs) -> "Load":
        """The current load holds now, too; what is older than the history is forgotten."""
        kept = self.points
        if kept and now - kept[0].at > HISTORY_MS:
            kept = tuple(point for point in kept if now - point.at <= HISTORY_MS)
        return replace(self, points=kept if self.current is None else (*kept, Point(now, self.current)))

    @property
    def average(self) -> float | None:
        return average(self.points)
