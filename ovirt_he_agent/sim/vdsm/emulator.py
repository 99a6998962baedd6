"""One emulated host's VDSM: the parts put together, started and ended as one."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ovirt_he_agent.sim import pki
from ovirt_he_agent.sim.vdsm import (
    broker,
    clock,
    control,
    faults,
    ha,
    hooks,
    host,
    rpc,
    server,
    storage,
    vms,
)

BACKLOG = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    root: Path
    host: str = "127.0.0.1"
    port: int = 0
    tls: Path | None = None
    host_id: int = 1
    """Used when a domain is activated in the pool; otherwise the caller names the id."""
    guests: vms.GuestOptions = field(default_factory=vms.GuestOptions)
    check_every_s: float = 10.0
    ha_client: Path | None = None


class Emulator:
    def __init__(self, options: Options) -> None:
        """Binds the port. Raises ``OSError``, ``PkiFailed``."""
        root = options.root.absolute()
        os.environ["OVIRT_HE_ROOT"] = str(root)  # for the HA package, and for hooks
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listener = socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)
        listener.setblocking(False)
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._faults = faults.Faults()
        self._broker = broker.Broker()
        self._server = server.Server(listener, self._broker, tls=_tls(options.tls))
        self._rpc = rpc.Rpc(self._broker, self._faults, self._server.drop)
        scripts = hooks.Hooks(root)
        self._storage = storage.Storage(root, options.host_id, check_every_s=options.check_every_s)
        self._vms = vms.Vms(
            root, options.guests, scripts, self._storage.prepare_for_vm, lambda: facts.networks, self._notify
        )
        facts = host.Host(
            options.host_id,
            scripts,
            ha.Ha(root, options.ha_client, options.host_id),
            self._storage.monitor.vitals,
            self._vms.counts,
        )
        self._control = control.Control(self._faults, self._server, self._vms, facts)
        for group in (facts, self._storage, self._vms, self._control):
            self._rpc.add(group.verbs())

    def _notify(self, name: str, params: dict[str, object]) -> None:
        if self._faults.recovering:
            return
        event = {"jsonrpc": "2.0", "method": name, "params": params | {"notify_time": clock.event_time()}}
        self._broker.publish(broker.EVENTS, json.dumps(event).encode())

    async def serve(self) -> NoReturn:
        """Until cancelled: then guests are killed, the port is closed; the host id stays held, as in VDSM."""
        try:
            async with asyncio.TaskGroup() as parts:
                for part in (self._vms, self._storage.monitor, self._control, self._rpc, self._server):
                    parts.create_task(part.serve())
            raise AssertionError("the parts never end")
        finally:
            self._listener.close()


def _tls(directory: Path | None) -> Callable[[], ssl.SSLContext] | None:
    return pki.ensure(directory).server_context if directory else None
