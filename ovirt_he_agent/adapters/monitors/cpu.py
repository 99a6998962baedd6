"""The kernel's count of what the CPUs did."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.core import load
from ovirt_he_agent.errors import Retryable


@dataclass(eq=False)
class CpuTimesUnreadable(Retryable):
    path: Path
    reason: str
    msg: ClassVar[str] = "{self.path}: {self.reason}; the CPU load is not known, check that /proc is mounted"


class Cpu:
    """/proc/stat; reading it takes no disk and no time worth a thread."""

    def __init__(self, path: Path = Path("/proc/stat")) -> None:
        self._path = path

    def read(self) -> load.CpuTimes:
        """Raises ``CpuTimesUnreadable``."""
        try:
            return load.cpu_times(self._path.read_text(encoding="ascii", errors="replace"))
        except OSError as e:
            raise CpuTimesUnreadable(self._path, e.strerror or str(e)) from e
        except ValueError as e:
            raise CpuTimesUnreadable(self._path, str(e)) from e
