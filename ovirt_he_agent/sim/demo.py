"""The main job, for real, on one machine: the demo tells it as it happens.

One emulated host: a real sanlock daemon, the VDSM emulator with its real wire,
a storage domain with lockspace, whiteboard and two OVF_STOREs, and a real agent
process, all unprivileged in a temporary root. Each step is believed only when
it is seen from outside the agent: in sanlock's own status, on VDSM's wire, on
the agent's socket through curl, on the guest's page.
"""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import click
import yaml

import ovirt_he_agent
from ovirt_he_agent import config
from ovirt_he_agent.adapters.ovfstore import one_store
from ovirt_he_agent.adapters.vdsm import client, endpoint
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.errors import HeAgentError
from ovirt_he_agent.sim import deployment, sanlock_daemon
from ovirt_he_agent.sim.playground import Playground, sweep

EDITED_GENERATION = 13
OTHER_VMS = 200
HOST_ID = 1
STEP_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 5.0
PLUGINS = Path(ovirt_he_agent.__file__).parent.parent / "vdsm_plugins"
"""What VDSM's own interpreter runs lies beside the package, in a checkout."""


@dataclass(eq=False)
class StepFailed(HeAgentError):
    """A step of the story was not seen."""

    step: str
    seen: str
    msg: ClassVar[str] = "the demo failed at: {self.step}; last seen: {self.seen}"


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
        return await _output(self.environment, program, "client", "status")

    async def ask_agent(self, method: str) -> Any:
        """One call of the agent's socket, through curl."""
        call = json.dumps({"jsonrpc": "2.0", "method": method, "id": 1})
        socket = str(self.paths.socket)
        text = await _output(
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

    async def page(self) -> str:
        url = f"http://127.0.0.1:{self.guest_port}/ovirt-engine/services/health"
        try:
            async with self.web.get(url) as answer:
                return await answer.text()
        except aiohttp.ClientError as e:
            return str(e)


async def _output(environment: dict[str, str], *arguments: str) -> str:
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


class Story:
    """Prints what is seen, and when; waits for what is to be seen next."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.2f} s  {text}", flush=True)

    async def until(self, step: str, look: Callable[[], Awaitable[str | None]]) -> None:
        """Wait until ``look`` gives the proof of ``step``, and tell both; raises ``StepFailed``."""
        deadline = time.monotonic() + STEP_TIMEOUT_S
        problem = "nothing"
        while time.monotonic() < deadline:
            try:
                proof = await look()
            except (HeAgentError, OSError, KeyError, IndexError, TypeError, ValueError, TimeoutError) as e:
                proof, problem = None, f"{type(e).__name__}: {e}"  # not there yet, or not whole
            if proof is not None:
                self.tell(f"{step:<34} {proof}")
                return
            await asyncio.sleep(0.05)
        raise StepFailed(step, problem)


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the host running and say what to try.")
@click.option("--stop", is_flag=True, help="End what --keep left running, and nothing else.")
def command(keep: bool, stop: bool) -> None:
    """Run the main job for real on this machine, in a temporary root, unprivileged."""
    if stop:
        for root in sweep():
            print(f"ended, and removed {root}")
        return
    asyncio.run(_until_told(keep=keep))


async def _until_told(*, keep: bool) -> None:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: everything is taken down first."""
    playing = asyncio.current_task()
    assert playing is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
    try:
        await run(keep=keep)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def run(*, keep: bool) -> None:
    """Play the demo; raises ``HeAgentError`` when a step is not seen. Leaves nothing unless ``keep``."""
    for root in sweep():
        print(f"removed what an earlier demo left in {root}")
    ground = Playground()
    kept = False
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as web:
            await _play(ground, web, Story())
        kept = keep
    except HeAgentError:
        for name in ground.processes:
            print(f"--- end of {name}.log ---\n{ground.log_tail(name)}", file=sys.stderr)
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not cut the clean-up
        if kept:
            ground.keep()
        else:
            ground.stop()
    if kept:
        _say_what_to_try(ground.root)
    else:
        print(f"all processes ended, {ground.root} removed")


async def _play(ground: Playground, web: aiohttp.ClientSession, story: Story) -> None:
    root = ground.root
    story.tell(f"one host below {root}, as user {os.getuid()}; nothing outside of it is touched")
    sanlock = ground.start_sanlock(root / "run" / "sanlock", "demo-host-1")
    os.environ.update(sanlock.environment)  # libsanlock of this process writes the lockspaces through it
    deployed = _build_storage(root, story)
    port, guest_port = await _start_vdsm(ground, sanlock.environment)
    paths = config.Paths(root=root)
    _configure(paths, port, guest_port)
    files = endpoint.TlsFiles(
        key=root / "pki" / "client.key", certificate=root / "pki" / "client.pem", ca=root / "pki" / "ca.pem"
    )
    async with client.Client(endpoint.Endpoint(host="127.0.0.1", port=port, tls=files)) as wire:
        host = Host(ground, wire, web, deployed, guest_port, paths, sanlock.environment)
        newest = one_store.read(deployed.path(deployed.stores[0]), deployed.vm_id)
        host.newest_sha256 = hashlib.sha256(newest.data).hexdigest()
        await host.vdsm("Host.ping2")
        story.tell(f"VDSM (emulated) listens on 127.0.0.1:{port}, TLS with client certificates")
        _start_agent(host)
        story.tell("agent started")
        await _first_start(host, story)
        await _edit(host, story, newest.data)
        await _crash(host, story)
        await _report(host, story)


def _build_storage(root: Path, story: Story) -> deployment.Deployment:
    stale, newest = deployment.TWO_STORES
    stores = (replace(newest, other_vms=OTHER_VMS), replace(stale, other_vms=OTHER_VMS))
    deployed = deployment.build(root / "storage", {HOST_ID: root}, stores=stores)
    names = ", ".join(volume.volume_id for volume in deployed.stores)
    story.tell(f"storage domain {deployed.domain.id} with lockspace and whiteboard")
    story.tell(f"two OVF_STOREs of different age ({names}), the engine VM among {OTHER_VMS} others")
    return deployed


async def _start_vdsm(ground: Playground, environment: dict[str, str]) -> tuple[int, int]:
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


def _configure(paths: config.Paths, port: int, guest_port: int) -> None:
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


def _start_agent(host: Host) -> None:
    root = str(host.paths.root)
    command = [sys.executable, "-m", "ovirt_he_agent", "run", "--root", root]
    host.ground.start("agent", command, host.environment)


async def _first_start(host: Host, story: Story) -> None:
    vm_id, volume = host.deployed.vm_id, host.deployed.vm_disk.volume_id

    async def store_found() -> str | None:
        definition = (await host.ask_agent("status"))["definition"]
        newest = host.deployed.stores[0].volume_id
        if definition.get("sha256") != host.newest_sha256 or newest not in definition["source"]:
            return None
        return f"{definition['source']} (sha256 as written into the newer one)"

    async def ovf_read() -> str | None:
        definition = (await host.ask_agent("status"))["definition"]
        lease = definition["leases"][0]
        return (
            f"generation {definition['generation']}, {definition['memory_mib']} MiB, lease of volume {lease}"
        )

    async def lease_held() -> str | None:
        line = _line(await host.sanlock_status(), f"s {deployment.HA_LOCKSPACE}:{HOST_ID}:")
        return line if line and not line.endswith(" ADD") else None  # ADD: the join is still under way

    async def vm_created() -> str | None:
        status = (await host.vdsm("VM.getStats", vmID=vm_id))[0]["status"]
        lease = _line(await host.sanlock_status(), f"r {host.deployed.domain.id}:{volume}:")
        return f"VM {vm_id} is {status}; sanlock: {lease}" if lease else None

    async def engine_good() -> str | None:
        page = await host.page()
        state = (await host.ask_agent("status"))["state"]
        return (
            f"the guest's page: {page!r}; agent: {state}" if "DB Up" in page and state == "EngineUp" else None
        )

    async def ha_status() -> str | None:
        stats = await host.vdsm("Host.getStats")
        ha, hook = stats["haStats"], stats["haStatus"]
        if not (ha["active"] and stats["haScore"] == ha["score"] == hook["ha_score"] > 0):
            return None
        return f"haStats {json.dumps(ha)}, haScore {stats['haScore']}, haStatus {json.dumps(hook)}"

    await story.until("OVF_STORE found", store_found)
    await story.until("OVF read", ovf_read)
    await story.until("host id lease held", lease_held)
    await story.until("VM created by UUID, lease held", vm_created)
    await story.until("engine good", engine_good)
    await story.until("Host.getStats on VDSM's wire", ha_status)


async def _edit(host: Host, story: Story, document: bytes) -> None:
    """What a change of the VM's memory in the engine leaves in the stores."""
    edited = document.replace(b"16777216", b"20971520")  # KiB, in the embedded domain
    for element in (b"<rasd:VirtualQuantity>", b"<MinAllocatedMem>", b'"int"&gt;'):
        edited = edited.replace(element + b"16384", element + b"20480")
    file = host.paths.root / "edited.ovf"
    file.write_bytes(edited.replace(b"<Generation>12<", b"<Generation>%d<" % EDITED_GENERATION))
    stores = [str(host.deployed.path(volume)) for volume in host.deployed.stores]
    written = await _output(
        host.environment,
        *(sys.executable, "-m", "ovirt_he_agent", "--root", str(host.paths.root)),
        *("ovf", "put", str(file), "--store", stores[0], "--store", stores[1]),
    )
    if written.count("written and read back") != len(stores):
        raise StepFailed("ovf put", written)
    began = time.monotonic()
    story.tell("put an edited OVF, 20480 MiB, into both stores, one after the other")

    async def pending() -> str | None:
        definition = (await host.ask_agent("status"))["definition"]
        if definition["generation"] != EDITED_GENERATION or not definition["pending"]:
            return None
        return (
            f"generation {definition['generation']}, {definition['memory_mib']} MiB, for the next start "
            f"({time.monotonic() - began:.1f} s after the write); {definition['running']['generation']} runs"
        )

    await story.until("the edit is seen", pending)


async def _crash(host: Host, story: Story) -> None:
    volume = host.deployed.vm_disk.volume_id
    prefix = f"r {host.deployed.domain.id}:{volume}:"

    async def holder() -> int | None:
        lease = _line(await host.sanlock_status(), prefix)
        return int(lease.rpartition(" p ")[2]) if lease else None

    victim = await holder()
    assert victim is not None
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    story.tell(f"killed the VM: SIGKILL to process {victim}, which held the lease")

    async def started_again() -> str | None:
        pid = await holder()
        return (
            f"process {pid}, {time.monotonic() - began:.1f} s after the crash"
            if pid not in (None, victim)
            else None
        )

    async def good_again() -> str | None:
        if "DB Up" not in await host.page() or (await host.ask_agent("status"))["state"] != "EngineUp":
            return None
        return f"{time.monotonic() - began:.1f} s after the crash"

    async def from_the_edit() -> str | None:
        running = (await host.ask_agent("status"))["definition"]["running"]
        return f"generation {running['generation']}" if running["generation"] == EDITED_GENERATION else None

    await story.until("VM started again, lease held", started_again)
    await story.until("it runs from the edited OVF", from_the_edit)
    await story.until("engine good again", good_again)


async def _report(host: Host, story: Story) -> None:
    answer = await host.ask_agent("haStatus")
    story.tell(f"{'haStatus by curl':<34} {json.dumps(answer)}")
    table = await _output(
        {}, sys.executable, "-m", "ovirt_he_agent", "status", "--root", str(host.paths.root)
    )
    if "Hosted Engine HA: Active" not in table:
        raise StepFailed("ovirt-he-agent status", table)
    print(f"\n$ ovirt-he-agent status\n{table}")


def _line(text: str, prefix: str) -> str | None:
    return next((line for line in text.splitlines() if line.startswith(prefix)), None)


def _say_what_to_try(root: Path) -> None:
    command = f"{sys.executable} -m ovirt_he_agent"
    call = '{"jsonrpc":"2.0","method":"status","id":1}'
    print(
        f"""
The host is left running in {root}. Try:
  {command} status --root {root}
  {command} status --watch --root {root}
  {command} doctor --root {root}
  curl --unix-socket {root}/run/ovirt-he-agent/agent.socket http://agent/ -d '{call}'
  SANLOCK_RUN_DIR={root}/run/sanlock sanlock client status
  tail -f {root}/agent.log
  kill -9 PID     (of the VM, as sanlock's status shows it: it comes back)
End it and remove everything:
  {command} demo --stop"""
    )
