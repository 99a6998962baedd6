"""/run/ovirt-hosted-engine-ha/vm.conf, where upstream's agent kept it for its command and for VDSM's hook.

The hook of ovirt-hosted-engine-setup makes the domain end at a reboot if its id is in this file; the
hosted-engine command refuses to work without it.
"""

from pathlib import Path

from ovirt_he_agent import atomic_file
from ovirt_he_agent.blocking import Worker

TIMEOUT_S = 5.0
"""Limit of one call; a local disk that takes longer hangs."""
_MODE = 0o644


class VmConfFile:
    """Owns a thread; ``close`` it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker = Worker("vm-conf")

    async def hold(self, text: str) -> None:
        """Let the file hold ``text``; it is written only when it does not.

        Raises ``atomic_file.CannotWrite``, ``blocking.Stuck``.
        """
        await self._worker.call(self._hold, text.encode(), timeout_s=TIMEOUT_S, what=f"writing {self._path}")

    def _hold(self, data: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.read_bytes() == data:
                return
        except OSError:
            pass  # not there, or not to be read: whether it can be written is said below
        atomic_file.replace(self._path, data, mode=_MODE)

    def close(self) -> None:
        self._worker.close()
