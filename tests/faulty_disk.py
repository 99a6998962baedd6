"""A volume that fails or hangs when told: nbdkit with its error and pause filters, shown by nbdfuse.

``content`` is there from the start (the mount cannot change its size); never touch ``backing``
with direct I/O; ``path`` is the volume. Needs /dev/fuse.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0


class FaultyDisk:
    """``with FaultyDisk(directory, content) as disk``; the calls block, for a second at most."""

    def __init__(self, directory: Path, content: bytes) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "volume"
        self._directory = directory
        self.backing = directory / "backing"
        """What the volume holds: readable also while the volume fails or hangs."""
        self.backing.write_bytes(content)
        self._nbd = directory / "nbd.sock"
        self._pause = directory / "pause.sock"
        self._failing = directory / "eio.on"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._hangs = False

    def __enter__(self) -> Self:
        try:
            self._start(
                ["nbdkit", "-f", "-U", str(self._nbd), "--filter=error", "--filter=pause", "file"],
                [str(self.backing), "error=EIO", "error-rate=100%", f"error-file={self._failing}"],
                [f"pause-control={self._pause}"],
            )
            self._wait(self._nbd.exists, "nbdkit's socket")
            self.path.touch()
            self._start(["nbdfuse", str(self.path), "--unix", str(self._nbd)])
            self._wait(lambda: self.path.stat().st_size > 0, "nbdfuse's volume")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def fail(self, on: bool) -> None:
        """Every read and write ends with EIO."""
        if on:
            self._failing.touch()
        else:
            self._failing.unlink()

    def hang(self) -> None:
        """Every request waits until ``resume``."""
        self._control(b"p")
        self._hangs = True

    def resume(self) -> None:
        self._control(b"r")
        self._hangs = False

    def stop(self) -> None:
        if self._hangs:
            self.resume()
        if len(self._processes) > 1:
            fusermount = shutil.which("fusermount3")
            assert fusermount is not None
            unmounted = subprocess.run([fusermount, "-u", str(self.path)], capture_output=True, check=False)
            if unmounted.returncode != 0:  # still open somewhere
                subprocess.run([fusermount, "-uz", str(self.path)], capture_output=True, check=False)
        for process in reversed(self._processes):  # nbdfuse ends with its mount
            if process is self._processes[0]:
                process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _start(self, *arguments: list[str]) -> None:
        with (self._directory / "disk.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [word for part in arguments for word in part],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._directory,
                    start_new_session=True,
                )
            )

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not condition():
            if time.monotonic() > deadline or any(p.poll() is not None for p in self._processes):
                log = (self._directory / "disk.log").read_text(errors="replace")
                raise AssertionError(f"{what} did not appear: {log}")
            time.sleep(0.01)

    def _control(self, letter: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as pause:
            pause.settimeout(STOP_TIMEOUT_S)
            pause.connect(str(self._pause))
            pause.sendall(letter)
            answer = pause.recv(1)
        assert answer == letter.upper(), answer
