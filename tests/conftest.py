"""What every test gets: no task, thread or child is left behind, and real parts are real.

``@pytest.mark.real("sanlock", ...)`` names the real parts that a test runs on.
Where one is missing the test is skipped with the reason; with REQUIRE_REAL set
(script/test sets it) it fails. The number that ran is printed at the end.
"""

import asyncio
import gc
import importlib.util
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import settings

from ovirt_he_agent.sim import sanlock_daemon
from tests import leftovers

GRACE_S = float(os.environ.get("LEFTOVER_GRACE_S", "5"))
REQUIRE_REAL = os.environ.get("REQUIRE_REAL", "") not in ("", "0")


# No deadlines: the machines that run this are shared. HYPOTHESIS_PROFILE, else CI, chooses.
settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def _direct_io() -> bool:
    with tempfile.NamedTemporaryFile() as file:  # where tmp_path is, too
        try:
            os.close(os.open(file.name, os.O_RDONLY | os.O_DIRECT))
        except OSError:
            return False
    return True


def _fuse() -> bool:
    tools = ("nbdkit", "nbdfuse", "fusermount3")
    return all(shutil.which(t) for t in tools) and os.access("/dev/fuse", os.R_OK | os.W_OK)


def _icmp() -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):  # what everybody may (by sysctl), what root may
        try:
            socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
        except OSError:
            continue
        return True
    return False


PARTS: dict[str, Callable[[], bool]] = {
    "sanlock": lambda: bool(sanlock_daemon.executable()) and importlib.util.find_spec("sanlock") is not None,
    "direct-io": _direct_io,
    "fuse": _fuse,
    "icmp": _icmp,
    "openssl": lambda: shutil.which("openssl") is not None,
    "curl": lambda: shutil.which("curl") is not None,
    "libvirt": lambda: importlib.util.find_spec("libvirt") is not None,
    "systemd": lambda: (
        shutil.which("systemd-analyze") is not None and importlib.util.find_spec("systemd") is not None
    ),
}
_present: dict[str, bool] = {}
_ran_on_real: set[str] = set()
_told: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-scenarios", action="store_true", help="rewrite the expected logs below tests/scenarios"
    )


@pytest.fixture
def update_scenarios(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-scenarios"))


@pytest.fixture
def quiet_agents() -> Iterator[None]:
    """Simulated agents have much to say to a journal that nobody reads."""
    logger = logging.getLogger("ovirt_he_agent")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.collect()
    gc.freeze()  # what all tests share need not be looked through after each of them


def pytest_runtest_setup(item: pytest.Item) -> None:
    needed = [part for mark in item.iter_markers("real") for part in mark.args]
    for part in needed:
        if part not in PARTS:
            raise pytest.UsageError(f"{item.nodeid}: no real part is called {part!r}: {', '.join(PARTS)}")
        if part not in _present:
            _present[part] = PARTS[part]()
        if not _present[part]:
            reason = f"needs a real part that is not on this machine: {part} (script/bootstrap installs it)"
            if REQUIRE_REAL:
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
    if needed:
        item.user_properties.append((_REAL, True))


_REAL = "real parts"
_TOLD = "told"


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """What is printed at the end, for whoever reads the run."""
    return lambda text: record_property(_TOLD, text)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """With several workers the tests run in those, and their reports are gathered here."""
    for name, value in report.user_properties:
        if name == _REAL:
            _ran_on_real.add(report.nodeid)
        elif name == _TOLD:
            _told[report.nodeid] = str(value)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for text in _told.values():
        terminalreporter.write_line(text)
    terminalreporter.write_line(f"tests that ran on real parts: {len(_ran_on_real)}")


@pytest.fixture(autouse=True)
def no_leftover_thread_or_child() -> Iterator[None]:
    """A test that leaves a thread or a process behind did not close what it opened.

    Ending takes a moment, hence the grace. What is left then is killed, so that
    one test fails and not all that follow.
    """
    threads, processes = set(threading.enumerate()), leftovers.processes()
    yield
    gc.collect()  # unclosed files and unawaited coroutines warn now, and a warning is an error
    deadline = time.monotonic() + GRACE_S
    while True:
        left_threads = [t for t in threading.enumerate() if t not in threads]
        left_processes = leftovers.processes() - processes
        if not left_threads and not left_processes:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    left = [*map(str, left_threads), *map(str, left_processes)]
    for process in left_processes:
        process.kill()
    pytest.fail("left behind: " + "; ".join(left), pytrace=False)


@pytest.fixture(autouse=True)
async def no_leftover_task(no_leftover_thread_or_child: None) -> AsyncIterator[None]:
    """A test that leaves a task behind has lost an owner somewhere.

    Stands on the thread check, so that this one comes after the event loop has been closed.
    """
    before = asyncio.all_tasks()
    yield
    left = [t for t in asyncio.all_tasks() - before if t is not asyncio.current_task() and not t.done()]
    assert not left, f"tasks left behind: {left}"


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
