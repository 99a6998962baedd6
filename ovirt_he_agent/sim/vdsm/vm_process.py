"""The child process of one VM, seen from the emulator: started, told, listened to, killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any, Self

from ovirt_he_agent.sim import guest

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class VmProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.stopped = False
        """By SIGSTOP: the guest hangs."""

    @classmethod
    async def start(cls, spec: guest.Spec) -> Self:
        """In a session of its own, with this environment (SANLOCK_RUN_DIR)."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ovirt_he_agent.sim.guest", spec.encode()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        )

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the guest reports, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield json.loads(line)

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        if not self.ended:
            self._process.stdin.write(json.dumps({"do": command}).encode() + b"\n")

    def hang(self) -> None:
        if not self.ended:
            self.stopped = True
            self._process.send_signal(signal.SIGSTOP)

    def unhang(self) -> None:
        if not self.ended:
            self.stopped = False
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if not self.ended:
            self._process.kill()

    async def wait(self) -> int:
        return await self._process.wait()

    def cpu_seconds(self) -> tuple[float, float]:
        """User and system time used so far; zeros when it is gone."""
        try:
            with open(f"/proc/{self.pid}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            return 0.0, 0.0
        return int(fields[11]) / _TICKS_PER_S, int(fields[12]) / _TICKS_PER_S
