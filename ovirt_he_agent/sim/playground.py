"""A temporary root and the processes that live in it; nothing of either outlives its use.

Every process is a session of its own and has the root's path on its command
line: that is how ``sweep`` knows what a demo left behind that was kept, or
killed before it could clean up, and touches nothing else.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ovirt_he_agent.sim.sanlock_daemon import SanlockDaemon

PREFIX = "he-demo-"
"""Short: a Unix socket's path may have 107 bytes."""
STOP_TIMEOUT_S = 5.0
_MARK = "demo.json"


class Playground:
    """Owns ``root``; ``start`` processes in it, then ``stop`` or ``keep`` it."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.sanlock: SanlockDaemon | None = None
        self._write_mark(kept=False)

    def _write_mark(self, *, kept: bool) -> None:
        (self.root / _MARK).write_text(json.dumps({"pid": os.getpid(), "kept": kept}))

    def start_sanlock(self, run_dir: Path, host_name: str) -> SanlockDaemon:
        """Start the host's real sanlock daemon; raises ``SanlockDaemonFailed``."""
        self.sanlock = SanlockDaemon(run_dir, host_name)
        self.sanlock.start()
        return self.sanlock

    def start(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], **pipes: int
    ) -> subprocess.Popen[bytes]:
        """Start a process whose output goes to ``<root>/<name>.log`` unless ``stdout`` is given."""
        assert any(str(self.root) in argument for argument in arguments), "sweep could not find it"
        with (self.root / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                arguments,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=pipes.get("stdout", log.fileno()),
                stderr=log,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The end of a process's log, for a failure report."""
        try:
            text = (self.root / f"{name}.log").read_text(errors="replace")
        except OSError as e:
            return str(e)
        return "\n".join(text.splitlines()[-lines:])

    def keep(self) -> None:
        """Leave everything running; ``sweep`` ends it."""
        self._write_mark(kept=True)

    def stop(self) -> None:
        """End all processes, youngest first, and remove the root."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self.sanlock is not None:
            self.sanlock.stop()
        _kill_all(self.root)
        shutil.rmtree(self.root, ignore_errors=True)


def kept() -> list[Path]:
    """Roots of demos of this user that are over or were kept."""
    found = []
    for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            mark = json.loads((root / _MARK).read_text())
            mine = root.stat().st_uid == os.getuid()
            over = mark["kept"] or not _alive(mark["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not a demo's, or just going away
        if mine and over:
            found.append(root)
    return found


def sweep() -> list[Path]:
    """End and remove what ``kept`` finds; returns those roots."""
    roots = kept()
    for root in roots:
        _kill_all(root)
        shutil.rmtree(root, ignore_errors=True)
    return roots


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _pids(root: Path) -> list[int]:
    """Our programs of this user that name ``root`` on their command line or in SANLOCK_RUN_DIR.

    Only Python and sanlock: somebody's editor or shell in that directory is left alone.
    """
    wanted = os.fsencode(root)
    out = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            program = (entry / "exe").readlink().name
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue  # it has just ended
        named = wanted + b"/" in command.replace(b"\0", b"/")
        if (program.startswith("python") and named) or (
            program == "sanlock" and b"\0SANLOCK_RUN_DIR=" + wanted in b"\0" + environment
        ):
            out.append(int(entry.name))
    return out


def _kill_all(root: Path) -> None:
    """Terminate what belongs to ``root``, then kill what is left (sanlock ignores SIGTERM)."""
    for number, wait_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, STOP_TIMEOUT_S)):
        for pid in _pids(root):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # ended by itself
        deadline = time.monotonic() + wait_s
        while _pids(root):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return
