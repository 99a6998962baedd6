"""Processes that this test run started, directly or not, and that still run.

Descendants are known by a variable in their environment, so that those count
which lost their parent; children that were forked without exec have none.
"""

import os
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path

_NAME = "OVIRT_HE_TEST_RUN"
_VALUE = uuid.uuid4().hex
os.environ[_NAME] = _VALUE
_MARK = f"{_NAME}={_VALUE}".encode()


@dataclass(frozen=True)
class Process:
    pid: int

    def __str__(self) -> str:
        try:
            words = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return f"process {self.pid}"
        return f"process {self.pid}: {b' '.join(words).decode(errors='replace').strip()}"

    def kill(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # ended meanwhile


def processes() -> set[Process]:
    """All of them but this one; ended ones do not count, waited for or not."""
    return {Process(pid) for pid in _marked() | _children() if pid != os.getpid()}


def _marked() -> set[int]:
    found = set()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fd = os.open(f"/proc/{entry.name}/environ", os.O_RDONLY)
        except OSError:
            continue  # ended meanwhile, or another user's
        try:
            environ = os.read(fd, 1 << 20)
        except OSError:
            continue
        finally:
            os.close(fd)
        if _MARK in environ:
            found.add(int(entry.name))
    return found


def _children() -> set[int]:
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        try:
            found.update(map(int, Path(f"/proc/self/task/{thread}/children").read_text().split()))
        except OSError:
            continue  # that thread has ended
    return {pid for pid in found if not _ended(pid)}


def _ended(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return stat.rpartition(b")")[2].split()[0] in (b"Z", b"X")
