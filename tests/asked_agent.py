"""A control server with all methods that change something, and a stand-in for what they change."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovirt_he_agent.control import changes, permission, server
from ovirt_he_agent.core.model import LocalMode

WHY_NOBODY = "hosted-engine.conf is missing"

DEPLOYED: dict[str, Any] = {
    "configured": True,
    "vm": {
        "id": "b6bd28c6-cb69-431f-ad65-37efa6931f8c",
        "name": "HostedEngine",
        "where": "elsewhere",
        "where_host_id": 2,
        "where_reasons": ["host 2 owns its leases"],
        "status": "not here",
        "exit_message": None,
        "age_s": 0.5,
        "engine": None,
        "engine_reason": None,
        "engine_age_s": None,
    },
    "command": None,
    "last_end": None,
}
"""What of the status document the verbs read."""


def deployed(**vm: Any) -> dict[str, Any]:
    return DEPLOYED | {"vm": DEPLOYED["vm"] | vm}


async def nothing() -> None:
    pass


@dataclass
class RecordedRequests:
    """Does what it is asked for by writing it down; ``failing``: the first word of a request to its error."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)
    takes: Callable[[], Awaitable[object]] = nothing

    async def _do(self, *request: Any) -> None:
        self.asked.append(request)
        await self.takes()
        if (error := self.failing.get(request[0])) is not None:
            raise error

    async def set_global_maintenance(self, on: bool) -> None:
        await self._do("global", on)

    async def set_local_maintenance(self, mode: LocalMode, on: bool) -> None:
        await self._do(mode.value, on)

    async def start_vm(self, *, force: bool) -> str:
        await self._do("start", force)
        return "the VM is being started"

    async def shut_down_vm(self, *, force: bool) -> str:
        await self._do("shutdown", force)
        return "the VM is shutting down"

    async def power_off_vm(self, *, force: bool) -> str:
        await self._do("poweroff", force)
        return "the VM was switched off"


@contextlib.asynccontextmanager
async def serving(
    path: Path,
    requests: changes.Requests | None,
    *,
    status: Callable[[], dict[str, Any]] = lambda: DEPLOYED,
    group: str | None = None,
    vdsm_user: str = permission.VDSM_USER,
    limit_s: float = changes.LIMIT_S,
) -> AsyncIterator[None]:
    """The server on ``path``; without ``requests`` there is no agent in the daemon."""
    with contextlib.closing(permission.Permission(group, vdsm_user=vdsm_user)) as allowed:
        changing = changes.Changes(allowed, lambda: WHY_NOBODY, limit_s=limit_s)
        methods = {"status": server.reading(status), **changing.methods}
        agent = contextlib.nullcontext() if requests is None else changing.serving(requests)
        async with server.ControlServer(path, methods, mode=0o666, healthy=lambda: True):
            with agent:
                yield
