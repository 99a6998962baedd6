"""The demo's host: its parts, started one by one, and the ways to look at it from outside the agent."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

import ovirt_he_agent
from ovirt_he_agent import config
from ovirt_he_agent.adapters.vdsm import client
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.core import whiteboard
from ovirt_he_agent.directio import DirectFile
from ovirt_he_agent.sim import deployment, sanlock_daemon
from ovirt_he_agent.sim.demo.story import STEP_TIMEOUT_S, StepFailed, Story
from ovirt_he_agent.sim.playground import Playground

OTHER_VMS = 200
HOST_ID = 1
CALL_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 20.0
PLUGINS = Path(ovirt_he_agent.__file__).parent.parent / "vdsm_plugins"
"""What VDSM's own interpreter runs lies beside the package, in a checkout."""


@dataclass
class Host:
    """One emulated host and the ways to look at it from outside the agent."""

    ground: Playground
    wire: client.Client
    web: aiohttp.ClientSession
    deployed: deployment.Deployment
    guest_port: int
    paths: config.Paths
    environment: dict[str, str]
    newest_sha256: str = ""

    async def vdsm(self, verb: str, **params: Any) -> Any:
        return await self.wire.call(verb, params, timeout_s=CALL_TIMEOUT_S)

    async def sanlock_status(self) -> str:
        """``sanlock client status``: one line for each lockspace (s), process (p) and lease (r)."""
        program = sanlock_daemon.executable() or "sanlock"
        return await output(self.environment, program, "client", "status")

    async def ask_agent(self, method: str) -> Any:
        """One call of the agent's socket, through curl."""
        call = json.dumps({"jsonrpc": "2.0", "method": method, "id": 1})
        socket = str(self.paths.socket)
        text = await output(
            {},
            "curl",
            "--silent",
            "--max-time",
            "2",
            "--unix-socket",
            socket,
            "http://agent/",
            "--data",
            call,
        )
        return json.loads(text)["result"] if text else None

    async def command(self, *words: str) -> tuple[int, str]:
        """Exit code and output of ``ovirt-he-agent`` on this host."""
        command = [sys.executable, "-m", "ovirt_he_agent", "--root", str(self.paths.root), *words]
        return await run(self.environment, *command)

    async def lease_holder(self) -> int | None:
        """The process that holds the lease of the VM's disk."""
        domain, volume = self.deployed.domain.id, self.deployed.vm_disk.volume_id
        lease = line_of(await self.sanlock_status(), f"r {domain}:{volume}:")
        return int(lease.rpartition(" p ")[2].split()[0]) if lease else None  # "REM" may follow the number

    def slot(self, number: int) -> bytes:
        """What stands on the whiteboard in this slot's first block; blocks as long as a disk takes."""
        with DirectFile(self.deployed.path(self.deployed.whiteboard)) as volume:
            block = volume.pread(whiteboard.SLOT_BYTES, number * whiteboard.SLOT_BYTES)
        return bytes(block[: whiteboard.TOKENS_BYTES]).rstrip(b"\0")

    async def page(self) -> str:
        url = f"http://127.0.0.1:{self.guest_port}/ovirt-engine/services/health"
        try:
            async with self.web.get(url) as answer:
                return await answer.text()
        except aiohttp.ClientError as e:
            return str(e)


async def run(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code and output, both streams."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(COMMAND_TIMEOUT_S):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(errors="replace")


async def output(environment: dict[str, str], *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(CALL_TIMEOUT_S):
        out, _ = await process.communicate()
    return out.decode(errors="replace")


def line_of(text: str, prefix: str) -> str | None:
    return next((line for line in text.splitlines() if line.startswith(prefix)), None)


def build_storage(root: Path, story: Story) -> deployment.Deployment:
    stale, newest = deployment.TWO_STORES
    stores = (replace(newest, other_vms=OTHER_VMS), replace(stale, other_vms=OTHER_VMS))
    deployed = deployment.build(root / "storage", {HOST_ID: root}, stores=stores)
    names = ", ".join(volume.volume_id for volume in deployed.stores)
    story.tell(f"storage domain {deployed.domain.id} with lockspace and whiteboard")
    story.tell(f"two OVF_STOREs of different age ({names}), the engine VM among {OTHER_VMS} others")
    return deployed


async def start_vdsm(ground: Playground, environment: dict[str, str]) -> tuple[int, int]:
    """Start the emulator with our plugins, as a host would have them; its port and the guest's."""
    root = ground.root
    hooks = root / "usr/libexec/vdsm/hooks/after_get_stats"
    hooks.mkdir(parents=True)
    shutil.copy(PLUGINS / "after_get_stats/50_ovirt_he_agent", hooks)
    guest_port = _free_port()
    process = ground.start(
        "vdsm",
        [
            *(sys.executable, "-m", "ovirt_he_agent.sim.vdsm", "--root", str(root), "--port", "0"),
            *("--tls", str(root / "pki"), "--ha-client", str(PLUGINS), "--guest-port", str(guest_port)),
        ],
        environment,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    worker = Worker("vdsm start")
    try:
        line = await worker.call(
            process.stdout.readline, timeout_s=STEP_TIMEOUT_S, what="start of the emulator"
        )
        return json.loads(line)["port"], guest_port
    except (ValueError, KeyError) as e:
        raise StepFailed("VDSM starts", ground.log_tail("vdsm")) from e
    finally:
        worker.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def configure(paths: config.Paths, port: int, guest_port: int) -> None:
    pki = paths.root / "pki"
    options = {
        "vdsm": {
            "host": "127.0.0.1",
            "port": port,
            "key_file": str(pki / "client.key"),
            "cert_file": str(pki / "client.pem"),
            "ca_file": str(pki / "ca.pem"),
        },
        "engine": {"health_url": f"http://127.0.0.1:{guest_port}/ovirt-engine/services/health"},
        "sanlock": {"io_timeout_s": 1},
    }
    paths.etc_dir.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text(yaml.safe_dump(options))


def start_agent(host: Host) -> None:
    root = str(host.paths.root)
    command = [sys.executable, "-m", "ovirt_he_agent", "run", "--root", root]
    host.ground.start("agent", command, host.environment)
