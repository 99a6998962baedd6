"""An emulated host with a deployed hosted engine, on which the real daemon runs as a process.

Starting one takes seconds (sanlock's joins), so tests share it: each breaks
something, starts an agent of its own, and leaves the host as it was by ``restore``.
"""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from ovirt_he_agent.core import model
from ovirt_he_agent.sim import deployment, pki, sanlock_daemon
from ovirt_he_agent.sim.engine_archives import StoreContent
from tests.agent_process import AgentProcess
from tests.emulated_host import EmulatedHost, is_alive, kill
from tests.raw_stomp import RawClient, client_tls
from tests.slot_watch import SlotWatch, read_slot, watching
from tests.waiting import eventually

VM = deployment.VM_ID
KEY, CERTIFICATE, CA = "keys/vdsmkey.pem", "certs/vdsmcert.pem", "certs/cacert.pem"
"""Below ``DeployedHost.certificates``."""
VM_COMMANDS = ("VM.create", "VM.destroy", "VM.shutdown", "VM.reset")
PAGE = "/ovirt-engine/services/health"
JOIN_LIMIT_S = 30.0
PLUGINS = Path(__file__).parents[1] / "vdsm_plugins"
"""VDSM asks through the agent's client package, as on a host."""
SLOTS = 8
"""So many slots of the whiteboard are cleared between tests."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class DeployedHost(EmulatedHost):
    """Host 1 of a deployment in ``base``: sanlock, VDSM emulator with TLS, all files of the agent."""

    def __init__(self, base: Path) -> None:
        root = base / "h"
        self.guest_port = free_port()
        self._later = timedelta(0)
        self.arguments = (
            *("--guest-port", str(self.guest_port), "--boot-delay", "0.2"),
            *("--ha-client", str(PLUGINS)),
        )
        super().__init__(root, tls=root / "pki", storage=base / "storage", arguments=self.arguments)

    def start(self) -> None:
        super().start()
        self._conf = self.conf_file.read_text()
        self.restore_certificates()
        self.configure()

    def stop(self) -> None:
        self.kill_sanlock()  # to end in order it takes its time, and nobody needs what it would write
        super().stop()

    @property
    def conf_file(self) -> Path:
        """hosted-engine.conf."""
        return self.deployment.configuration_file(self.host_id)

    @property
    def ha_conf(self) -> Path:
        return self.deployment.ha_conf(self.host_id)

    @property
    def state_dir(self) -> Path:
        """What the agent keeps."""
        return self.root / "var/lib/ovirt-he-agent"

    @property
    def certificates(self) -> Path:
        """Where the agent looks for VDSM's key, certificate and CA."""
        return self.root / "etc/pki/vdsm"

    def configure(self, **vdsm: Any) -> None:
        """Write the agent's own configuration; ``vdsm`` replaces options of that section."""
        options = {
            "vdsm": {"host": "127.0.0.1", "port": self.port, **vdsm},
            "engine": {"health_url": f"http://127.0.0.1:{self.guest_port}{PAGE}", "probe_period_s": 1},
            "sanlock": {"io_timeout_s": self.deployment.io_timeout_s},
            "storage": {"whiteboard_period_s": 1, "read_timeout_s": 1},
            "definition": {"check_period_s": 1},
        }
        path = self.root / "etc/ovirt-he-agent/ovirt-he-agent.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(options))

    # the agent

    def agent(self) -> AgentProcess:
        return AgentProcess(self.root, self.environment)

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of ``ovirt-he-agent`` on this host."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ovirt_he_agent", "--root", str(self.root), *arguments),
            env=os.environ | self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    # VDSM

    async def vdsm(self, verb: str, /, **params: Any) -> Any:
        """One call over the wire, on a connection of its own."""
        async with RawClient(self.port, tls=client_tls(self.root / "pki")) as wire:
            await wire.hello()
            return await wire.call(verb, **params)

    async def calls(self, *verbs: str) -> list[dict[str, Any]]:
        """Calls of these verbs since the last ``restore``."""
        return [call for call in await self.vdsm("Sim.calls") if call["method"] in verbs]

    async def vm_status(self) -> str | None:
        """None: VDSM does not know the VM."""
        for row in await self.vdsm("Host.getVMList"):
            if row["vmId"] == VM:
                status: str = row["status"]
                return status
        return None

    def vm_pid(self) -> int | None:
        """Process of the running VM."""
        try:
            pid: int = self.guest(VM)["pid"]
        except FileNotFoundError:
            return None
        return pid if is_alive(pid) else None

    async def vm_commands(self) -> list[str]:
        """What VDSM was told to do with VMs since the last ``restore``."""
        return [call["method"] for call in await self.calls(*VM_COMMANDS)]

    async def ha_stats(self) -> dict[str, Any]:
        """haStats on VDSM's wire, which the engine reads."""
        stats: dict[str, Any] = (await self.vdsm("Host.getStats"))["haStats"]
        return stats

    # the whiteboard

    @property
    def whiteboard(self) -> Path:
        return self.deployment.path(self.deployment.whiteboard)

    def slot(self, number: int) -> bytes:
        """Its 4096 bytes."""
        return read_slot(self.whiteboard, number)

    def watch_slot(self, volume: Path | None = None) -> AbstractAsyncContextManager[SlotWatch]:
        """Every word of this host's own slot; ``volume``: where the whiteboard is meanwhile."""
        return watching(volume or self.whiteboard, self.host_id, self.holds_host_id)

    # sanlock

    def sanlock(self, *arguments: str) -> str:
        """Output of ``sanlock client ...`` on this host."""
        program = sanlock_daemon.executable()
        assert program is not None
        return subprocess.run(
            [program, "client", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=10,
            check=True,
        ).stdout

    @property
    def host_id_lease(self) -> str:
        """What ``sanlock client ...`` calls the agent's lease."""
        lockspace = self.deployment.ha_lockspace()
        image = self.deployment.lockspace.image_id
        prepared = self.root / "run/vdsm/storage" / self.deployment.domain.id / image / lockspace.path.name
        return f"{lockspace.name}:{self.host_id}:{prepared}:0"

    def generation(self) -> int:
        """How often the agent's host id was acquired."""
        text = self.sanlock("host_status", "-s", self.deployment.ha_lockspace().name, "-D")
        (found,) = re.findall(r"owner_generation=(\d+)", text)
        return int(found)

    def holds_host_id(self) -> bool:
        return f"s {self.host_id_lease}" in self.sanlock("status").splitlines()

    def leave_host_id(self) -> None:
        """So that the next agent has to join."""
        if self.holds_host_id():
            self.sanlock("rem_lockspace", "-s", self.host_id_lease)

    def holds_vm_lease(self) -> bool:
        resource = f"r {self.deployment.domain.id}:{self.deployment.vm_disk.volume_id}:"
        return any(line.startswith(resource) for line in self.sanlock("status").splitlines())

    # back to where everything is good, and nothing runs

    async def restore(self) -> None:
        self.restore_files()
        self.restore_certificates()
        self.configure()
        shutil.rmtree(self.state_dir, ignore_errors=True)
        await self.vdsm("Sim.heal")
        await self.forget_vm()
        await self.vdsm("Sim.calls", clear=True)

    async def forget_vm(self) -> None:
        if await self.vm_status() is not None:
            await self.vdsm("VM.destroy", vmID=VM)
        await eventually(lambda: self.vm_pid() is None)

    def restore_files(self) -> None:
        """Stores, whiteboard, hosted-engine.conf and ha.conf as after the deployment."""
        self.restore_stores()
        deployment.set_global_maintenance(self.deployment, enabled=False)
        for number in range(1, SLOTS):
            deployment.write_slot(self.deployment, number, b"")
        if not self.conf_file.exists() or self.conf_file.read_bytes() != self._conf.encode():
            self.conf_file.write_text(self._conf)  # only then: a new file makes the agent begin anew
        self.ha_conf.write_text("local_maintenance=False\nlocal_maintenance_manual=False\n")

    def restore_stores(self) -> None:
        """As an engine that writes them again: later than they were written before."""
        self._later += timedelta(hours=1)
        for number, content in enumerate(deployment.TWO_STORES):
            self.write_store(number, content)

    def write_store(self, number: int, content: StoreContent) -> None:
        deployment.write_ovf_store(self.deployment, number, replace(content, age=content.age - self._later))

    def restore_certificates(self) -> None:
        self._take_certificates(self.root / "pki", KEY, CERTIFICATE, CA)

    def take_foreign(self, name: str) -> None:
        """Put another data centre's file in place of one of ours."""
        self._take_certificates(pki.ensure(self.root / "foreign pki").directory, name)

    def _take_certificates(self, directory: Path, *names: str) -> None:
        for name in names:
            path = self.certificates / name
            path.parent.mkdir(parents=True, exist_ok=True)
            source = {KEY: "client.key", CERTIFICATE: "client.pem", CA: "ca.pem"}[name]
            shutil.copy(directory / source, path)

    def change_conf(self, **values: str) -> None:
        """Replace values of hosted-engine.conf."""
        lines = self._conf.splitlines(keepends=True)
        kept = [line for line in lines if line.partition("=")[0] not in values]
        self.conf_file.write_text("".join([*kept, *(f"{key}={value}\n" for key, value in values.items())]))


@contextmanager
def vdsm_of_its_own(host: DeployedHost) -> Iterator[EmulatedHost]:
    """A second emulator on the host's root and sanlock, for a test that stops and starts it.

    The host's own one is out of use meanwhile; whatever runs ends with the second one.
    """
    shared, extra = host.port, EmulatedHost(host.root, tls=host.tls, sanlock=False, arguments=host.arguments)
    try:
        extra.start_emulator()
        host.port = extra.port
        host.configure()
        yield extra
    finally:
        extra.kill_emulator()
        host.port = shared


class AnotherSanlock:
    """The sanlock of another host that has the same storage; nothing else of that host runs."""

    def __init__(self, run_dir: Path, storage: deployment.Deployment) -> None:
        self._daemon = sanlock_daemon.SanlockDaemon(run_dir, "another-host")
        self._storage = storage
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._daemon.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.let_vm_lease_go()
        kill(self._daemon)

    def _client(self, *arguments: str) -> list[str]:
        program = sanlock_daemon.executable()
        assert program is not None
        return [program, "client", *arguments]

    def _call(self, *arguments: str) -> None:
        subprocess.run(
            self._client(*arguments),
            env=os.environ | self._daemon.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=JOIN_LIMIT_S,
            check=True,
        )

    def join(self, lockspace: model.Lockspace, host_id: int) -> None:
        """Acquire a host id; takes 3 s with the io timeout of the tests."""
        name = f"{lockspace.name}:{host_id}:{lockspace.path}:{lockspace.offset}"
        self._call("add_lockspace", "-s", name, "-o", str(self._storage.io_timeout_s))

    def leave(self, lockspace: model.Lockspace, host_id: int) -> None:
        self._call("rem_lockspace", "-s", f"{lockspace.name}:{host_id}:{lockspace.path}:{lockspace.offset}")

    def hold_vm_lease(self) -> None:
        """As a VM would that runs there; needs a host id in the domain's lockspace."""
        disk = self._storage.vm_disk
        resource = f"{self._storage.domain.id}:{disk.volume_id}:{self._storage.lease_path(disk)}:0"
        self._holder = subprocess.Popen(
            self._client("command", "-r", resource, "-c", "/bin/sh", "-c", "echo held; exec sleep 600"),
            env=os.environ | self._daemon.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"held\n"

    def let_vm_lease_go(self) -> None:
        """That VM ends."""
        if self._holder is not None:
            assert self._holder.stdout is not None
            self._holder.kill()
            self._holder.wait()
            self._holder.stdout.close()
            self._holder = None


@dataclass(frozen=True)
class ContestedHost:
    """A host whose agent wants host id 1 while another host holds it."""

    host: DeployedHost
    other: AnotherSanlock
    agent: AgentProcess
    told_first: str
    """What the agent waited for before sanlock had refused."""
