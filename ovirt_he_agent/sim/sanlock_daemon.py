"""A private, unprivileged sanlock daemon: the real one, for one emulated host.

No watchdog, no root (sanlock: tests/util.py shows the way). All parts of that
host find it through SANLOCK_RUN_DIR. Used by the demo and by the tests.
"""

import getpass
import grp
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.errors import HeAgentError

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 2.0


def executable() -> str | None:
    """Path of the sanlock program (it lives in sbin, which users often lack in PATH)."""
    return shutil.which("sanlock") or shutil.which("sanlock", path="/usr/sbin:/sbin")


@dataclass(eq=False)
class SanlockDaemonFailed(HeAgentError):
    run_dir: Path
    reason: str
    msg: ClassVar[str] = "the private sanlock daemon in {self.run_dir} did not start: {self.reason}"


class SanlockDaemon:
    """``start``, then ``stop``; ``environment`` is what its clients need. Calls block for seconds."""

    def __init__(self, run_dir: Path, host_name: str) -> None:
        self.run_dir = run_dir
        self.host_name = host_name
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {"SANLOCK_RUN_DIR": str(self.run_dir), "SANLOCK_PRIVILEGED": "0"}

    def start(self) -> None:
        """Start the daemon and wait until it answers; raises ``SanlockDaemonFailed``."""
        program = executable()
        if program is None:
            raise SanlockDaemonFailed(self.run_dir, "the program sanlock is not installed")
        self.run_dir.mkdir(parents=True, exist_ok=True)
        group = grp.getgrgid(os.getgid()).gr_name
        log = self.run_dir / "daemon.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [
                    *(program, "daemon", "-D"),
                    *("-w", "0", "-h", "0", "-l", "0"),  # no watchdog, no real-time priority, no mlock
                    *("-g", "5"),  # seconds from SIGTERM to SIGKILL for holders of a lost lease
                    *("-e", self.host_name, "-U", getpass.getuser(), "-G", group),
                ],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._client("status") != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace").strip().splitlines()[-1:]
                self.stop()
                raise SanlockDaemonFailed(self.run_dir, "; ".join(tail) or "no answer")
            time.sleep(0.05)

    def _client(self, *arguments: str) -> int:
        program = executable()
        assert program is not None
        try:
            return subprocess.run(
                [program, "client", *arguments],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=STOP_TIMEOUT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return -1

    def stop(self) -> None:
        """Stop the daemon whatever it holds. It ignores SIGTERM while a lockspace exists."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self._client("shutdown", "-f", "1")
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
