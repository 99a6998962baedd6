"""``demo``: plays the story, and takes everything down again.

One emulated host: a real sanlock daemon, the VDSM emulator with its real wire,
a storage domain with lockspace, whiteboard and two OVF_STOREs, and a real agent
process, all unprivileged in a temporary root. Each step is believed only when
it is seen from outside the agent: in sanlock's own status, on VDSM's wire, on
the whiteboard, on the agent's socket through curl, on the guest's page.
"""

import asyncio
import hashlib
import os
import signal
import sys
from pathlib import Path

import aiohttp
import click

from ovirt_he_agent import config
from ovirt_he_agent.adapters.ovfstore import one_store
from ovirt_he_agent.adapters.vdsm import client, endpoint
from ovirt_he_agent.errors import HeAgentError
from ovirt_he_agent.sim.demo import steps
from ovirt_he_agent.sim.demo.host import Host, build_storage, configure, start_agent, start_vdsm
from ovirt_he_agent.sim.demo.story import Story
from ovirt_he_agent.sim.playground import Playground, sweep


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
    deployed = build_storage(root, story)
    port, guest_port = await start_vdsm(ground, sanlock.environment)
    paths = config.Paths(root=root)
    configure(paths, port, guest_port)
    files = endpoint.TlsFiles(
        key=root / "pki" / "client.key", certificate=root / "pki" / "client.pem", ca=root / "pki" / "ca.pem"
    )
    async with client.Client(endpoint.Endpoint(host="127.0.0.1", port=port, tls=files)) as wire:
        host = Host(ground, wire, web, deployed, guest_port, paths, sanlock.environment)
        newest = one_store.read(deployed.path(deployed.stores[0]), deployed.vm_id)
        host.newest_sha256 = hashlib.sha256(newest.data).hexdigest()
        await host.vdsm("Host.ping2")
        story.tell(f"VDSM (emulated) listens on 127.0.0.1:{port}, TLS with client certificates")
        start_agent(host)
        story.tell("agent started")
        await steps.first_start(host, story)
        await steps.edit(host, story, newest.data)
        await steps.crash(host, story)
        await steps.maintenance(host, story)
        await steps.report(host, story)


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
