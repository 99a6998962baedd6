"""What every test gets: no task, thread or child is left behind, and real parts are real.

``@pytest.mark.real("sanlock", ...)`` names the real parts that a test runs on.
Where one is missing the test is skipped with the reason; with REQUIRE_REAL set
(script/test sets it) it fails. The number that ran is printed at the end.
"""

import asyncio
import gc
import importlib.util
import os
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from ovirt_he_agent.sim import sanlock_daemon

REQUIRE_REAL = os.environ.get("REQUIRE_REAL", "") not in ("", "0")


def _direct_io() -> bool:
    path = Path(f".direct-io-{os.getpid()}")
    path.write_bytes(bytes(4096))
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
        return True
    except OSError:
        return False
    finally:
        path.unlink()


def _fuse() -> bool:
    tools = ("nbdkit", "nbdfuse", "fusermount3")
    return all(shutil.which(t) for t in tools) and os.access("/dev/fuse", os.R_OK | os.W_OK)


PARTS: dict[str, Callable[[], bool]] = {
    "sanlock": lambda: bool(sanlock_daemon.executable()) and importlib.util.find_spec("sanlock") is not None,
    "direct-io": _direct_io,
    "fuse": _fuse,
    "openssl": lambda: shutil.which("openssl") is not None,
    "curl": lambda: shutil.which("curl") is not None,
    "systemd": lambda: (
        shutil.which("systemd-analyze") is not None and importlib.util.find_spec("systemd") is not None
    ),
}
_present: dict[str, bool] = {}
_ran_on_real: set[str] = set()


def pytest_runtest_setup(item: pytest.Item) -> None:
    needed = [part for mark in item.iter_markers("real") for part in mark.args]
    for part in needed:
        if part not in _present:
            _present[part] = PARTS[part]()
        if not _present[part]:
            reason = f"needs a real part that is not on this machine: {part} (script/bootstrap installs it)"
            if REQUIRE_REAL:
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
    if needed:
        _ran_on_real.add(item.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"tests that ran on real parts: {len(_ran_on_real)}")


@pytest.fixture(autouse=True)
async def no_leftover_task() -> AsyncIterator[None]:
    """A test that leaves a task behind has lost an owner somewhere."""
    before = asyncio.all_tasks()
    yield
    left = [t for t in asyncio.all_tasks() - before if t is not asyncio.current_task() and not t.done()]
    assert not left, f"tasks left behind: {left}"


@pytest.fixture(autouse=True)
def no_leftover_thread_or_child() -> Iterator[None]:
    threads = set(threading.enumerate())
    yield
    gc.collect()
    deadline = time.monotonic() + 5
    left: list[object] = []
    while time.monotonic() < deadline:
        left = [t for t in threading.enumerate() if t not in threads and not t.daemon]
        if not left:
            break
        time.sleep(0.01)
    assert not left, f"threads left behind: {left}"


@pytest.fixture(scope="session")
def sanlock_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sanlock_daemon.SanlockDaemon]:
    """One real sanlock daemon for the whole run; this process and its children talk to it.

    libsanlock reads SANLOCK_RUN_DIR once per process, so there is one in-process host;
    further hosts are further daemons whose clients are child processes.
    """
    daemon = sanlock_daemon.SanlockDaemon(tmp_path_factory.mktemp("sl"), "test-host-1")
    daemon.start()
    os.environ.update(daemon.environment)
    yield daemon
    daemon.stop()


def children() -> set[int]:
    """Process ids of the direct children of this process."""
    out = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "pid="], capture_output=True, text=True)
    return {int(pid) for pid in out.stdout.split()}
