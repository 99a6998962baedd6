"""``python -m ovirt_he_agent.sim.vdsm --port 0 --root DIR [--tls DIR]``: see the package."""

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

import ovirt_he_agent
from ovirt_he_agent.adapters import leases
from ovirt_he_agent.errors import HeAgentError
from ovirt_he_agent.sim import storage_domain
from ovirt_he_agent.sim.vdsm import emulator, vms

CONNECTION = "localhost:/exports/data"
SOURCE_PLUGINS = Path(ovirt_he_agent.__file__).parent.parent / "vdsm_plugins"
"""Only there in a source checkout."""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ovirt_he_agent.sim.vdsm", description=__doc__)
    add = parser.add_argument
    add("--root", type=Path, required=True, help="directory that stands for the host's /")
    add("--port", type=int, default=54321, help="0: any free one (default %(default)s)")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--tls", type=Path, metavar="DIR", help="PEM files, made unless present; without it plain TCP")
    add("--host-id", type=int, default=1, help="for domains that are activated in the pool")
    add(
        "--boot-delay", type=float, default=1.0, metavar="S", help="a guest's boot time (default %(default)s)"
    )
    add("--shutdown-delay", type=float, default=0.2, metavar="S", help="a guest's time to power off")
    add("--guest-port", type=int, default=0, help="port of the guest's health page (0: any)")
    add(
        "--check-delay",
        type=float,
        default=10.0,
        metavar="S",
        help="domain check interval (default as VDSM's)",
    )
    add("--ha-client", type=Path, metavar="DIR", help="holds the package ovirt_hosted_engine_ha")
    add("--io-timeout", type=int, default=1, metavar="S", help="sanlock io timeout of a new storage domain")
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    add("--log", default="WARNING", choices=levels, help="level of the log on standard error")
    return parser.parse_args()


def _domain(root: Path, io_timeout_s: int) -> storage_domain.StorageDomain:
    """The storage domain that is there, or a new one; its lockspace needs a sanlock daemon."""
    mounts = root / "rhev" / "data-center" / "mnt"
    found = storage_domain.find(mounts)
    if found:
        return found[0]
    name = storage_domain.mount_name(CONNECTION)
    export = root / "exports" / name
    export.mkdir(parents=True)
    mounts.mkdir(parents=True, exist_ok=True)
    (mounts / name).symlink_to(export)
    domain = storage_domain.StorageDomain.create(mounts / name, CONNECTION)
    try:
        domain.write_lockspace(io_timeout_s=io_timeout_s)
    except leases.CallFailed as e:
        logging.getLogger(__name__).warning("no leases on %s: %s", domain.path, e)
    return domain


async def _run(options: emulator.Options, domain_id: str) -> None:
    running = emulator.Emulator(options)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(running.serve())
        print(json.dumps({"port": running.port, "sd": domain_id}), flush=True)
        await stop.wait()
        serving.cancel()


def main() -> None:
    arguments = _parse()
    logging.basicConfig(
        level=arguments.log,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    root: Path = arguments.root.absolute()
    options = emulator.Options(
        root=root,
        host=arguments.host,
        port=arguments.port,
        tls=arguments.tls,
        host_id=arguments.host_id,
        guests=vms.GuestOptions(
            port=arguments.guest_port, boot_s=arguments.boot_delay, shutdown_s=arguments.shutdown_delay
        ),
        check_every_s=arguments.check_delay,
        ha_client=arguments.ha_client or (SOURCE_PLUGINS if SOURCE_PLUGINS.is_dir() else None),
    )
    try:
        domain = _domain(root, arguments.io_timeout)
        asyncio.run(_run(options, domain.id))
    except (HeAgentError, OSError) as e:
        sys.exit(f"error: {e}")


if __name__ == "__main__":
    main()
