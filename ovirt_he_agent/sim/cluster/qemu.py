"""The engine VM as processes: what runs on the disk, wherever it is and whoever still knows of it."""

import enum
import itertools
from dataclasses import dataclass, field


class Guest(enum.Enum):
    """What the guest does."""

    BOOTING = "booting"
    GOOD = "good"
    DB_DOWN = "database down"
    PROCESS_DEAD = "engine dead"
    HUNG = "hung"
    SHUTTING_DOWN = "shutting down"


_pids = itertools.count(1000)


@dataclass(eq=False)
class Qemu:
    """One process with the VM's disk open."""

    number: int
    """Of its host."""
    volume_id: str
    has_lease: bool
    started_ms: int
    boot_ms: int
    started_by: str
    """``ours``, ``upstream``, ``admin``: who gave the start."""
    pid: int = field(default_factory=lambda: next(_pids))
    guest: Guest = Guest.BOOTING
    paused: bool = False
    waits_for_storage: bool = False
    """Paused by an input/output error: VDSM resumes it."""
    orphan: bool = False
    """Its sanlock daemon was killed: nothing but the watchdog ends it."""
    alive: bool = True

    @property
    def runs(self) -> bool:
        """It may write to the disk now."""
        return self.alive and not self.paused
