"""An emulated host of one's own for a test: sanlock and VDSM emulator as processes, stopped for sure.

The test process itself talks to the sanlock daemon of the ``sanlock_host``
fixture (libsanlock allows one per process); each ``EmulatedHost`` starts another
one, whose clients are child processes: the emulator and its guests, and what
builds the hosted-engine deployment.
"""

import json
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ovirt_he_agent.sim import deployment, sanlock_daemon

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0

_BUILD = """
import pickle, sys
from ovirt_he_agent.sim import deployment
storage, arguments = pickle.load(sys.stdin.buffer)
pickle.dump(deployment.build(storage, **arguments), sys.stdout.buffer)
"""


class EmulatedHost:
    """``with EmulatedHost(root) as host:`` runs both; the calls block (for a second or less)."""

    def __init__(
        self,
        root: Path,
        *,
        host_id: int = 1,
        tls: Path | None = None,
        sanlock: bool = True,
        storage: Path | None = None,
        deploy: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        """``arguments`` go to the emulator. ``sanlock`` false: no daemon is reachable.

        With ``storage`` a deployment is built there first: ``deploy`` are further
        arguments of ``sim.deployment.build`` (``roots``: of all hosts, this one
        by default; a second host is then started without ``storage``).
        """
        self.root = root
        self.host_id = host_id
        self.tls = tls
        self.port = 0
        self.domain_id = ""
        self._deployment: deployment.Deployment | None = None
        self._storage = storage
        self._deploy = {"roots": {host_id: root}, **(deploy or {})}
        self._arguments = tuple(arguments)
        self._daemon = sanlock_daemon.SanlockDaemon(root / "sl", f"host-{host_id}")
        self._with_sanlock = sanlock
        self._emulator: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What further clients on this host need."""
        return self._daemon.environment

    @property
    def pid(self) -> int:
        assert self._emulator is not None
        return self._emulator.pid

    @property
    def deployment(self) -> deployment.Deployment:
        """What was built for ``storage``."""
        assert self._deployment is not None
        return self._deployment

    def start(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            if self._with_sanlock:
                self._daemon.start()
            if self._storage is not None:
                self._build(self._storage)
            self.start_emulator()
        except BaseException:
            self.stop()
            raise

    def _build(self, storage: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _BUILD],
            env=os.environ | self.environment,
            input=pickle.dumps((storage, self._deploy)),
            stdout=subprocess.PIPE,
            timeout=START_TIMEOUT_S,
            check=True,
        )
        self._deployment = pickle.loads(done.stdout)

    def start_emulator(self, port: int = 0) -> None:
        """Start it (again, on another port unless one is named) and wait until it listens."""
        log = (self.root / "emulator.log").open("ab")
        with log:
            self._emulator = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ovirt_he_agent.sim.vdsm", "--log", "INFO"),
                    *("--root", str(self.root), "--port", str(port), "--host-id", str(self.host_id)),
                    *(("--tls", str(self.tls)) if self.tls else ()),
                    *self._arguments,
                ],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._emulator.stdout is not None
        ready, _, _ = select.select([self._emulator.stdout], [], [], START_TIMEOUT_S)
        line = self._emulator.stdout.readline() if ready else b""
        if not line:
            tail = (self.root / "emulator.log").read_text().splitlines()[-5:]
            self.kill_emulator()
            raise AssertionError(f"the emulator does not start: {tail}")
        announced = json.loads(line)
        self.port, self.domain_id = announced["port"], announced["sd"]

    def stop_emulator(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it in the orderly way; the exit status. It must not have said more than its one line."""
        return self._end(number)

    def start_sanlock(self) -> None:
        self._daemon.start()

    def kill_sanlock(self) -> None:
        """Quickly, and it writes nothing any more."""
        kill(self._daemon)

    def kill_emulator(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process, self._emulator = self._emulator, None
        if process is None:
            return 0
        assert process.stdout is not None
        process.send_signal(number)
        try:
            status = process.wait(STOP_TIMEOUT_S)
            assert process.stdout.read() == b""
            return status
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the emulator did not end within {STOP_TIMEOUT_S} s") from None
        finally:
            process.stdout.close()

    def stop(self) -> None:
        """Everything, whatever state it is in."""
        try:
            self._end(signal.SIGTERM)
        finally:
            self._daemon.stop()

    def guest(self, vm_id: str) -> dict[str, Any]:
        """``pid`` and ``port`` of a running VM's process."""
        found: dict[str, Any] = json.loads((self.root / f"run/vdsm/guests/{vm_id}.json").read_text())
        return found

    def sanlock_status(self) -> str:
        """``sanlock client status`` of this host: lockspaces, and who holds which lease."""
        program = sanlock_daemon.executable()
        assert program is not None
        return subprocess.run(
            [program, "client", "status"],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()


def kill(daemon: sanlock_daemon.SanlockDaemon) -> None:
    if daemon.process is not None:
        daemon.process.kill()
        daemon.process.wait()
        daemon.stop()


def is_alive(pid: int) -> bool:
    """Whether the process still runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs after {within_s} s"
        time.sleep(0.02)
