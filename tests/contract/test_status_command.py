"""``status --watch`` on a terminal, with an agent that comes and goes."""

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ovirt_he_agent.control import server
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, pathlib
from ovirt_he_agent.cli import status
status.watch_agent(pathlib.Path(sys.argv[1]), {"configured": False, "reason": "as drawn first"})
"""


@pytest.fixture
async def screen(tmp_path: Path) -> AsyncIterator[Callable[[], bytes]]:
    """What the command has drawn since the last look."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(tmp_path / "agent.socket")),
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"},
    )
    os.close(theirs)

    def drawn() -> bytes:
        try:
            return os.read(ours, 1 << 16)
        except OSError:  # nothing yet
            return b""

    yield drawn
    assert command.returncode is None  # it went on
    command.kill()
    await command.wait()
    os.close(ours)


async def test_a_watch_goes_on_when_the_agent_is_restarted(
    screen: Callable[[], bytes], tmp_path: Path
) -> None:
    await eventually(lambda: b"as drawn first" in screen())
    await eventually(lambda: b"Not Active" in screen())
    methods = {"status": server.reading(lambda: {"configured": False, "reason": "here again"})}
    async with server.ControlServer(tmp_path / "agent.socket", methods, mode=0o666, healthy=lambda: True):
        await eventually(lambda: b"here again" in screen())
    await eventually(lambda: b"Not Active" in screen())
