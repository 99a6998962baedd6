"""The daemon as a process: started, listened to as systemd does, asked over its socket, stopped for sure."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ovirt_he_agent.control import client
from tests.waiting import eventually

START_LIMIT_S = 20.0
END_LIMIT_S = 5.0
"""The daemon has to be gone this long after SIGTERM, whatever its state."""
LOG_LINES = 25


class NotifySocket:
    """A private NOTIFY_SOCKET; ``heard`` has every datagram in order."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="notify-")
        self.path = Path(self._directory.name) / "s"
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._listen, name="notify socket")
        self._thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """What systemd gives to a service of Type=notify with a watchdog."""
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "30000000"}

    def _listen(self) -> None:
        while datagram := self._socket.recv(65536):
            self.heard.append(datagram.decode())

    def count(self, datagram: str) -> int:
        return self.heard.count(datagram)

    @property
    def status(self) -> str:
        """The newest STATUS."""
        found = [text.removeprefix("STATUS=") for text in self.heard if text.startswith("STATUS=")]
        return found[-1] if found else ""

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))  # an empty datagram ends the thread
        self._thread.join()
        self._socket.close()
        self._directory.cleanup()


class AgentProcess:
    """``async with AgentProcess(root) as agent`` is entered when the daemon is READY."""

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        """``environment`` of the host: SANLOCK_RUN_DIR."""
        self.root = root
        self.socket = root / "run/ovirt-he-agent/agent.socket"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    async def __aenter__(self) -> Self:
        self.start()
        try:
            await eventually(lambda: self.is_ready or not self.is_running, within_s=START_LIMIT_S)
            assert self.is_ready, f"the daemon does not become ready:\n{self.log_tail()}"
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        self.notify = NotifySocket()
        log = self.root / "agent.log"
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ovirt_he_agent", "--root", str(self.root), "run"],
                env=os.environ | self._environment | self.notify.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Whatever state it is in; the socket of a killed one stays, as after a crash."""
        if self.is_running:
            assert self._process is not None
            self._process.kill()
            self._process.wait()
        self.notify.close()

    # the process

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def is_ready(self) -> bool:
        """It runs, has said so once, and has not said that it ends."""
        said = self.notify
        return self.is_running and said.count("READY=1") == 1 and not said.count("STOPPING=1")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal it; it has to end within ``END_LIMIT_S``, in order (exit status 0)."""
        self.send(number)
        self.ends_in_order()

    def ends_in_order(self) -> None:
        assert self._process is not None
        try:
            status = self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still there {END_LIMIT_S} s after the signal:\n{self.log_tail()}"
            ) from None
        assert status == 0, f"exit status {status}:\n{self.log_tail()}"
        assert not self.socket.exists()

    @property
    def log(self) -> str:
        """What this process has logged."""
        with (self.root / "agent.log").open("rb") as f:
            f.seek(self._log_start)
            return f.read().decode(errors="replace")

    def log_tail(self) -> str:
        return "\n".join(self.log.splitlines()[-LOG_LINES:])

    # what it says

    def status(self) -> dict[str, Any]:
        """The status document."""
        document: dict[str, Any] = client.call(self.socket, "status")
        return document

    def ha_status(self) -> dict[str, Any]:
        document: dict[str, Any] = client.call(self.socket, "haStatus")
        return document

    async def until(
        self, good: Callable[[dict[str, Any]], object], *, within_s: float = 20.0
    ) -> dict[str, Any]:
        """The first status document that is ``good``."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [self.status()]
            return bool(good(found[0]))

        try:
            await eventually(look, within_s=within_s, every_s=0.05)
        except AssertionError:
            last = found[0] if found else None
            raise AssertionError(f"not within {within_s} s: {last}\n{self.log_tail()}") from None
        return found[0]

    async def until_state(self, *states: str, within_s: float = 20.0) -> dict[str, Any]:
        return await self.until(lambda status: status.get("state") in states, within_s=within_s)

    async def until_it_waits_for(self, *words: str, within_s: float = 20.0, alone: bool = False) -> str:
        """The thing it waits for in whose text all ``words`` stand; with ``alone`` the only one."""

        def named(status: dict[str, Any]) -> list[str]:
            waits_for = status["waits_for"]
            if alone and len(waits_for) != 1:
                return []
            return [text for text in waits_for if all(word in text for word in words)]

        return named(await self.until(named, within_s=within_s))[0]
