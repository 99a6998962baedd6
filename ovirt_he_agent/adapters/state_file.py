"""The file that keeps the agent's state over a restart of the daemon, replaced as a whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent import atomic_file
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.errors import Retryable

TIMEOUT_S = 5.0
"""Limit of one call; a local disk that takes longer hangs."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MODE = 0o600


@dataclass(eq=False)
class StateUnreadable(Retryable):
    path: Path
    reason: str
    msg: ClassVar[str] = "{self.path}: {self.reason}; it must be readable for the agent's user"


class StateFile:
    """Owns a thread; ``close`` it. ``boot_id`` is random(4)'s: another one at each boot of the host."""

    def __init__(self, path: Path, boot_id: Path = BOOT_ID) -> None:
        self._path = path
        self._worker = Worker("state-file")
        try:
            self.boot_id = boot_id.read_text().strip()
        except OSError:
            self.boot_id = ""

    async def read(self) -> bytes | None:
        """None: there is none. Raises ``Retryable``."""
        return await self._worker.call(self._read, timeout_s=TIMEOUT_S, what=f"reading {self._path}")

    async def write(self, data: bytes) -> None:
        """Raises ``atomic_file.CannotWrite``, ``blocking.Stuck``."""
        await self._worker.call(self._write, data, timeout_s=TIMEOUT_S, what=f"writing {self._path}")

    def _read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            raise StateUnreadable(self._path, e.strerror or str(e)) from e

    def _write(self, data: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            pass  # said by the write below
        atomic_file.replace(self._path, data, mode=_MODE)

    def close(self) -> None:
        self._worker.close()
