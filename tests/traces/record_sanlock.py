"""Record what three real sanlock daemons show: the golden files that the model of sanlock is held against.

``python -m tests.traces.record_sanlock [NAME ...]``, from the root of the checkout,
writes tests/golden/sanlock/NAME.json for the named scenarios, or for all. They run
at the same time, in one to two minutes; the machine should have nothing else to do.
Needs sanlock with its Python binding, and for one scenario nbdkit, nbdfuse and
/dev/fuse. What a file means stands in tests/golden/sanlock/README.md.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovirt_he_agent.adapters import leases
from ovirt_he_agent.core import model
from ovirt_he_agent.sim.sanlock_daemon import SanlockDaemon, executable
from tests.faulty_disk import FaultyDisk
from tests.traces.scenarios import HOSTS, IO_TIMEOUT_S, LOCKSPACE, RESOURCES, SCENARIOS, Scenario

GOLDEN = Path(__file__).parents[1] / "golden/sanlock"
POLL_S = 0.1
MIB = 1 << 20
LEAVE_LIMIT_S = 60.0


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def log(path: Path, **facts: Any) -> None:
    """One line; a child process has a file of its own."""
    with path.open("a") as f:
        f.write(json.dumps(facts) + "\n")


# The clients of a daemon: child processes, for libsanlock knows one daemon for life.


@dataclass(frozen=True, slots=True)
class Client:
    volume: Path
    log: Path

    @property
    def lockspace(self) -> model.Lockspace:
        return model.Lockspace(name=LOCKSPACE, path=self.volume)

    def offset(self, resource: str) -> int:
        return MIB * (1 + RESOURCES.index(resource))

    async def observe(self, *host_ids: str) -> None:
        """Note every change of what the daemon shows, until killed."""
        sanlock = leases.Sanlock()
        last: dict[str, Any] = {}
        while True:
            try:
                seen = await self._look(sanlock, [int(i) for i in host_ids])
            except leases.SanlockAway:
                seen = dict.fromkeys(last)  # nobody answers: null for everything
            at = now_ms()
            for what in sorted(last.keys() | seen.keys()):
                if seen.get(what) != last.get(what) or what not in last:
                    log(self.log, at_ms=at, what=what, value=seen.get(what))
            last |= seen
            await asyncio.sleep(POLL_S)

    async def _look(self, sanlock: leases.Sanlock, host_ids: list[int]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for host_id in host_ids:
            seen[f"membership {host_id}"] = (await sanlock.membership(self.lockspace, host_id)).value
        hosts = await sanlock.hosts(LOCKSPACE)
        known = {host.host_id: host for host in hosts or ()}
        for host_id in (1, 2, 3):
            host = known.get(host_id)
            if hosts is not None:
                seen[f"host {host_id}"] = [host.flag.name, host.generation] if host else "absent"
            else:
                seen[f"host {host_id}"] = None
        for resource in RESOURCES:
            try:
                owners, _ = leases.read_owners(LOCKSPACE, resource, self.volume, self.offset(resource))
            except leases.CallFailed:
                seen[f"raw {resource}"] = seen[f"owners {resource}"] = "error"
                continue
            raw = [(owner.host_id, owner.generation) for owner in owners]
            seen[f"raw {resource}"] = [*raw[0]] if raw else "free"
            seen[f"owners {resource}"] = as_vdsm(
                raw, known if hosts is not None else None, joined="held" in seen.values()
            )
        return seen

    async def join(self, host_id: str) -> None:
        """As the agent does, which then lives on until killed."""
        log(self.log, at_ms=now_ms())
        await leases.Sanlock().start_join(self.lockspace, int(host_id), io_timeout_s=IO_TIMEOUT_S)
        signal.pause()

    async def leave(self, host_id: str) -> None:
        log(self.log, at_ms=now_ms())
        await leases.Sanlock().leave(self.lockspace, int(host_id), timeout_s=LEAVE_LIMIT_S)

    async def hold(self, resource: str) -> None:
        """Acquire and then live on until killed; end at once if it is refused."""
        slkfd = leases.register()
        begin, failed = now_ms(), None
        log(self.log, at_ms=begin)
        try:
            leases.acquire(slkfd, LOCKSPACE, resource, self.volume, self.offset(resource))
        except leases.CallFailed as e:
            failed = e.errno
        log(self.log, took_ms=now_ms() - begin, error=failed)
        if failed is None:
            signal.pause()


def as_vdsm(
    raw: list[tuple[int, int]], known: Mapping[int, model.HostLease] | None, *, joined: bool
) -> list[int] | None:
    """Owners as ``Volume.getInfo`` shows them (vdsm: lib/vdsm/storage/clusterlock.py, inspect)."""
    if not raw:
        return []
    host_id, generation = raw[0]
    if known is None:
        return [host_id] if joined else None
    host = known.get(host_id)
    if host is None or host.generation != generation or host.flag is model.HostFlag.DEAD:
        return []
    return [host_id]


# The hosts


class Host:
    """A daemon, its clients, and its way to the shared storage."""

    def __init__(self, name: str, directory: Path, volume: Path) -> None:
        self.name = name
        self.directory = directory
        self.volume = volume
        self.daemon = SanlockDaemon(directory / "sl", f"host-{name}")
        self.clients: dict[str, subprocess.Popen[bytes]] = {}

    def client(self, name: str, do: str, *arguments: object) -> Path:
        """Start one; the file that it writes to."""
        path = self.directory / f"{name}.jsonl"
        with (self.directory / f"{name}.err").open("wb") as err:
            self.clients[name] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.traces.record_sanlock", "--client"),
                    *(str(self.volume), str(path), do, *map(str, arguments)),
                ],
                env=os.environ | self.daemon.environment,
                stdin=subprocess.DEVNULL,
                stdout=err,
                stderr=err,
            )
        return path

    def end(self, name: str) -> None:
        client = self.clients[name]
        client.kill()
        client.wait()

    def kill_daemon(self) -> None:
        assert self.daemon.process is not None
        self.daemon.process.kill()
        self.daemon.process.wait()

    def stop(self) -> None:
        for name in self.clients:
            self.end(name)
        if self.daemon.process is not None:
            self.kill_daemon()
            self.daemon.stop()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Recording:
    """One scenario on daemons of its own."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        self.scenario = scenario
        self.directory = directory
        self.notes: list[tuple[dict[str, Any], Path | None]] = []
        """Actions, and where the client wrote when it really began."""
        self.ends: list[dict[str, Any]] = []
        self._waiters: list[threading.Thread] = []

    def run(self) -> dict[str, Any]:
        with contextlib.ExitStack() as stack:
            self.disks: dict[str, FaultyDisk] = {}
            hosts = {host.name: host for host in self._hosts(stack)}
            observers = {
                name: host.client("observer", "observe", *self.scenario.watched(name))
                for name, host in hosts.items()
            }
            while not all(map(lines, observers.values())):
                time.sleep(POLL_S)
            start_ms = now_ms()
            for action in self.scenario.actions:
                time.sleep(max(0.0, (start_ms + action.at_s * 1000 - now_ms()) / 1000))
                self._do(hosts[action.host], action.do, action.what)
            time.sleep(max(0.0, (start_ms + self.scenario.end_s * 1000 - now_ms()) / 1000))
            end_ms = now_ms()
        for waiter in self._waiters:
            waiter.join()
        return self._result(start_ms, end_ms, observers)

    def _hosts(self, stack: contextlib.ExitStack) -> Iterator[Host]:
        backing = self.directory / "storage"
        backing.write_bytes(bytes(MIB * (1 + len(RESOURCES))))
        for number, name in enumerate(HOSTS):
            directory = self.directory / name
            directory.mkdir()
            volume = backing
            if self.scenario.faulty:
                (directory / "disk").mkdir()
                (directory / "disk/backing").symlink_to(backing)
                self.disks[name] = stack.enter_context(FaultyDisk(directory / "disk", backing.read_bytes()))
                volume = self.disks[name].path
            host = Host(name, directory, volume)
            stack.callback(host.stop)
            host.daemon.start()
            if number == 0:
                self._format(host)
            yield host

    def _format(self, host: Host) -> None:
        for kind, offset in (("-s", 0), *(("-r", MIB * (1 + i)) for i in range(len(RESOURCES)))):
            name = f"{LOCKSPACE}:0" if kind == "-s" else f"{LOCKSPACE}:{RESOURCES[offset // MIB - 1]}"
            program = executable()
            assert program is not None
            subprocess.run(
                [program, "client", "init", kind, f"{name}:{host.volume}:{offset}", "-o", str(IO_TIMEOUT_S)],
                env=os.environ | host.daemon.environment,
                check=True,
                capture_output=True,
            )

    def _do(self, host: Host, do: str, what: str) -> None:
        note: dict[str, Any] = {"at_ms": now_ms(), "host": host.name, "do": do, "what": what}
        path = None
        match do:
            case "join":
                path = host.client(f"agent{len(self.notes)}", "join", what)
            case "leave":
                path = host.client(f"leave{len(self.notes)}", "leave", what)
            case "acquire":
                note["holder"] = holder = f"holder{len(self.notes)}"
                path = host.client(holder, "hold", what)
                waiter = threading.Thread(target=self._wait_for, args=(host, holder))
                waiter.start()
                self._waiters.append(waiter)
            case "end":  # of all clients that ask for this, or of the agents
                for name in [name for name in host.clients if name.startswith(what)]:
                    host.end(name)
            case "kill":
                host.kill_daemon()
            case "start":
                host.daemon.start()
                note["at_ms"] = now_ms()
            case "disk":
                self.disks[host.name].fail(what == "fails")
        self.notes.append((note, path))

    def _wait_for(self, host: Host, holder: str) -> None:
        host.clients[holder].wait()
        self.ends.append({"at_ms": now_ms(), "host": host.name, "holder": holder})

    def _result(self, start_ms: int, end_ms: int, observers: Mapping[str, Path]) -> dict[str, Any]:
        actions, acquisitions = [], []
        for note, path in self.notes:
            written = lines(path) if path is not None else []
            if written:
                note["at_ms"] = written[0]["at_ms"]
            if note["do"] == "acquire" and len(written) > 1:
                acquisitions.append({"host": note["host"], "holder": note["holder"], **written[1]})
            actions.append(note)
        changes = [{"host": name, **line} for name, path in observers.items() for line in lines(path)]
        for row in (*actions, *changes, *self.ends):
            row["at_ms"] = row["at_ms"] - start_ms

        def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            rows = [row for row in rows if row["at_ms"] <= end_ms - start_ms]
            return sorted(rows, key=lambda row: row["at_ms"])

        return {
            "about": self.scenario.about,
            "sanlock": version(),
            "io_timeout_s": IO_TIMEOUT_S,
            "watchdog_fire_s": 60,
            "end_ms": end_ms - start_ms,
            "actions": in_order(actions),
            "acquisitions": acquisitions,
            "ends": in_order(self.ends),
            "changes": in_order(changes),
        }


def version() -> str:
    program = executable()
    assert program is not None
    return subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.strip()


def write(name: str, recorded: Mapping[str, Any]) -> None:
    """As JSON with a row in each line, so that a change can be reviewed."""
    members = []
    for key, value in recorded.items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
        members.append(f" {json.dumps(key)}: {text}")
    (GOLDEN / f"{name}.json").write_text("{\n" + ",\n".join(members) + "\n}\n")


def record(name: str) -> str:
    directory = Path(tempfile.mkdtemp(prefix=f"sanlock-{name}-"))
    write(name, Recording(SCENARIOS[name], directory).run())
    shutil.rmtree(directory)
    return name


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--client"]:
        volume, path, do, *rest = arguments[1:]
        asyncio.run(getattr(Client(Path(volume), Path(path)), do)(*rest))
        return
    parser = argparse.ArgumentParser(description="record real sanlock daemons")
    parser.add_argument("names", nargs="*", choices=[[], *SCENARIOS], metavar="NAME")
    names = parser.parse_args(arguments).names or list(SCENARIOS)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(names)) as pool:
        for name in pool.map(record, names):
            print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
