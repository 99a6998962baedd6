"""The VM process: QEMU, the guest in it and the engine in that, as far as HA can see them.

Started by the emulator with one JSON argument (``Spec``) and a pipe each way:
JSON lines with commands on standard input, JSON lines with events on standard
output. First it takes the VM's leases in real sanlock, which frees them when
this process ends, however it ends. It dies with the emulator by
PR_SET_PDEATHSIG, even when it is stopped by a signal.

Events: ``{"event": "running", "port": N}``, ``refused`` (errno, text),
``booted`` (port), ``rebooting``, ``paused``, ``resumed`` or ``not resumed`` (errno,
text), ``powered off`` (the process then exits 0).
Commands: ``{"do": "pause" | "resume" | "reboot" | "power off" | "good health" | "bad health"}``.
"""

import ctypes
import http.server
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ovirt_he_agent.adapters import leases

HEALTH_PATH = "/ovirt-engine/services/health"
HEALTHY = "DB Up!Welcome to Health Status!"
SICK = "DB Down!"
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One sanlock resource that the VM needs."""

    lockspace: str
    resource: str
    path: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    parent: int
    """Process id of the emulator."""
    record: str
    """The VM's file below the host's root: on the command line it tells whose process this is."""
    leases: tuple[Lease, ...]
    port: int
    """For the health page; 0: any. Taken already: any."""
    boot_s: float
    shutdown_s: float

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> "Spec":
        raw = json.loads(text)
        return cls(**raw | {"leases": tuple(Lease(**lease) for lease in raw["leases"])})


def _die_with(parent: int) -> None:
    """Be killed when ``parent`` ends; at once if it has ended already."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(1)


def _report(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event} | facts), flush=True)


class _Page(http.server.BaseHTTPRequestHandler):
    server: "_Web"

    def do_GET(self) -> None:
        self.server.cpus_run.wait()  # a paused guest accepts and says nothing
        if self.path != HEALTH_PATH:
            self.send_error(404)
            return
        body = (HEALTHY if self.server.healthy else SICK).encode()
        self.send_response(200 if self.server.healthy else 500)
        self.send_header("Content-Type", "text/html;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Web(http.server.ThreadingHTTPServer):
    """The guest's network: the port is its own from the start, nobody listens before the boot ends."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Page, bind_and_activate=False)
        self.healthy = True
        self.cpus_run = threading.Event()
        self.cpus_run.set()
        self._serving: threading.Thread | None = None
        self.port = port
        self._bind()

    def _bind(self) -> None:
        try:
            self._bind_to(self.port)
        except OSError:
            self._bind_to(0)

    def _bind_to(self, port: int) -> None:
        self.socket.close()
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]

    def up(self) -> None:
        try:
            self.server_activate()
        except OSError:  # another guest listens there
            self._bind_to(0)
            self.server_activate()
        self._serving = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._serving.start()

    def down(self) -> None:
        """Close the port and take the same one again, silent."""
        if self._serving is None:
            return
        self.shutdown()
        self._serving.join()
        self._serving = None
        self._bind()


class Guest:
    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._slkfd = -1

    def run(self) -> int:
        """The VM's whole life; the exit status."""
        try:
            if self._spec.leases:
                self._slkfd = leases.register()
            self._acquire()
        except leases.CallFailed as e:
            _report("refused", errno=e.errno, text=str(e.args[-1]), registered=self._slkfd >= 0)
            return 1
        web = _Web(self._spec.port)
        _report("running", port=web.port)
        return self._live(web)

    def _acquire(self) -> None:
        for lease in self._spec.leases:
            leases.acquire(self._slkfd, lease.lockspace, lease.resource, Path(lease.path), lease.offset)

    def _release(self) -> None:
        for lease in self._spec.leases:
            leases.release(self._slkfd, lease.lockspace, lease.resource, Path(lease.path), lease.offset)

    def _live(self, web: _Web) -> int:
        commands: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(commands,), daemon=True).start()
        boot_at: float | None = time.monotonic() + self._spec.boot_s
        held_back: list[str] = []  # what a guest whose CPUs stand still cannot do yet
        while True:
            wait_s = None if boot_at is None else max(boot_at - time.monotonic(), 0)
            try:
                command = commands.get(timeout=wait_s)
            except queue.Empty:
                boot_at = None
                web.up()
                _report("booted", port=web.port)
                continue
            if command in ("reboot", "power off") and not web.cpus_run.is_set():
                held_back.append(command)
                continue
            match command:
                case None:
                    return 1  # the emulator closed the pipe
                case "good health":
                    web.healthy = True
                case "bad health":
                    web.healthy = False
                case "pause":
                    # as libvirt does: a paused VM gives its leases back
                    web.cpus_run.clear()
                    self._release()
                    _report("paused")
                case "resume":
                    try:
                        self._acquire()
                    except leases.CallFailed as e:
                        _report("not resumed", errno=e.errno, text=str(e.args[-1]))
                    else:
                        web.cpus_run.set()
                        _report("resumed")
                        for late in held_back:
                            commands.put(late)
                        held_back.clear()
                case "reboot":
                    web.down()
                    boot_at = time.monotonic() + self._spec.boot_s
                    _report("rebooting")
                case "power off":
                    web.down()
                    time.sleep(self._spec.shutdown_s)
                    _report("powered off")
                    return 0


def _listen(commands: "queue.SimpleQueue[str | None]") -> None:
    # the descriptor, not sys.stdin: a thread inside its lock breaks the exit of the interpreter
    pending = b""
    while data := os.read(0, 4096):
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            commands.put(json.loads(line)["do"])
    commands.put(None)


def main() -> None:
    spec = Spec.decode(sys.argv[1])
    _die_with(spec.parent)
    sys.exit(Guest(spec).run())


if __name__ == "__main__":
    main()
