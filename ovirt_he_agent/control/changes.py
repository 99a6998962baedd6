"""The methods of the socket that change something: who may, what is asked for, and what is answered.

What they change belongs to the agent that runs for this host's deployment
(``Requests``); there may be none. Each call, and what became of it, is logged
with the user and process that asked.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from ovirt_he_agent.control import codes
from ovirt_he_agent.control.permission import NotAllowed, Permission
from ovirt_he_agent.control.server import INVALID_PARAMS, CallFailed, Method, Peer
from ovirt_he_agent.core.model import LocalMode
from ovirt_he_agent.errors import HeAgentError, NotConfigured

log = logging.getLogger(__name__)

LIMIT_S = 50.0
"""Of one call. VDSM gives its package 60 s (vdsm: lib/vdsm/API.py)."""
GLOBAL = "GLOBAL"
_MODES = (GLOBAL, *LocalMode)


class Requests(Protocol):
    """What the agent does when somebody asks for it."""

    async def set_global_maintenance(self, on: bool) -> None:
        """Returns when it was written and read back; raises ``HeAgentError``."""
        ...

    async def set_local_maintenance(self, mode: LocalMode, on: bool) -> None:
        """Returns when it was written and read back; raises ``HeAgentError``."""
        ...

    async def start_vm(self, *, force: bool) -> str:
        """One sentence: what is happening now. Raises ``HeAgentError``."""
        ...

    async def shut_down_vm(self, *, force: bool) -> str:
        """One sentence: what is happening now. Raises ``HeAgentError``."""
        ...

    async def power_off_vm(self, *, force: bool) -> str:
        """One sentence: what is happening now. Raises ``HeAgentError``."""
        ...


@dataclass(eq=False)
class NoAgent(NotConfigured):
    """The daemon runs, and no agent in it."""

    reason: str
    msg: ClassVar[str] = "nothing can be changed while no agent runs for this host: {self.reason}"


_Act = Callable[[Requests], Awaitable[Any]]


class Changes:
    """``methods`` for the server; ``serving`` says which agent they are for at the time."""

    def __init__(
        self, permission: Permission, why_nobody: Callable[[], str], *, limit_s: float = LIMIT_S
    ) -> None:
        """``why_nobody`` tells why no agent is being served."""
        self._permission = permission
        self._why_nobody = why_nobody
        self._limit_s = limit_s
        self._requests: Requests | None = None
        self._under_way: set[asyncio.Timeout] = set()

    @contextlib.contextmanager
    def serving(self, requests: Requests) -> Iterator[None]:
        """Inside, calls go to ``requests``; those still under way at the end are cut short, clients told."""
        self._requests = requests
        try:
            yield
        finally:
            self._requests = None
            for scope in self._under_way:
                if not scope.expired():
                    scope.reschedule(asyncio.get_running_loop().time())

    @property
    def methods(self) -> Mapping[str, Method]:
        return {
            "setMaintenance": self._changing("setMaintenance", _maintenance),
            "startVm": self._changing("startVm", _vm(lambda r, force: r.start_vm(force=force))),
            "shutdownVm": self._changing("shutdownVm", _vm(lambda r, force: r.shut_down_vm(force=force))),
            "powerOffVm": self._changing("powerOffVm", _vm(lambda r, force: r.power_off_vm(force=force))),
        }

    def _changing(self, name: str, decode: Callable[[Mapping[str, Any]], tuple[str, _Act]]) -> Method:
        async def method(peer: Peer, params: Mapping[str, Any]) -> Any:
            shown, act = decode(params)
            asked = f"{name} {shown}, asked for by user id {peer.uid}, process {peer.pid}"
            try:
                result = await self._carry_out(peer, act, asked)
            except CallFailed as e:
                log.warning("%s: %s", asked, e.message)
                raise
            log.info("%s: done", asked)
            return result

        return method

    async def _carry_out(self, peer: Peer, act: _Act, asked: str) -> Any:
        # aiohttp lets a call go on when its client has gone: it ends here, at its limit or with its agent
        scope = asyncio.timeout(self._limit_s)
        try:
            async with scope:
                await self._permission.check(peer)
                if self._requests is None:
                    raise NoAgent(self._why_nobody())
                log.info("%s", asked)
                self._under_way.add(scope)
                return await act(self._requests)
        except NotAllowed as e:
            raise CallFailed(codes.NOT_ALLOWED, str(e)) from e
        except HeAgentError as e:
            raise CallFailed(codes.of(e), str(e)) from e
        except TimeoutError as e:
            why = (
                f"not done within {self._limit_s:g} s"
                if self._requests
                else "the agent ended before it was done"
            )
            raise CallFailed(
                codes.OUTCOME_UNKNOWN,
                f"{why}, and it is not known whether it took effect; "
                "`ovirt-he-agent status` shows what is, and what is in trouble",
            ) from e
        finally:
            self._under_way.discard(scope)


def _maintenance(params: Mapping[str, Any]) -> tuple[str, _Act]:
    _known(params, "mode", "enabled")
    given = params.get("mode")
    mode = given.upper() if isinstance(given, str) else None
    if mode is None or mode not in _MODES:
        raise CallFailed(INVALID_PARAMS, f"mode is {_shown(given)}, not one of {', '.join(_MODES)}")
    enabled = _flag(params, "enabled", None)

    async def act(requests: Requests) -> dict[str, Any]:
        if mode == GLOBAL:
            await requests.set_global_maintenance(enabled)
        else:
            await requests.set_local_maintenance(LocalMode(mode), enabled)
        return {"mode": mode, "enabled": enabled}

    return f"{mode} {'on' if enabled else 'off'}", act


def _vm(
    do: Callable[[Requests, bool], Awaitable[str]],
) -> Callable[[Mapping[str, Any]], tuple[str, _Act]]:
    def decode(params: Mapping[str, Any]) -> tuple[str, _Act]:
        _known(params, "force")
        force = _flag(params, "force", False)

        async def act(requests: Requests) -> dict[str, Any]:
            return {"detail": await do(requests, force)}

        return "with force" if force else "without force", act

    return decode


def _known(params: Mapping[str, Any], *names: str) -> None:
    if unknown := sorted(params.keys() - names):
        raise CallFailed(INVALID_PARAMS, f"takes {' and '.join(names)}, got {', '.join(unknown)}")


def _flag(params: Mapping[str, Any], name: str, default: bool | None) -> bool:
    value = params.get(name, default)
    if not isinstance(value, bool):
        raise CallFailed(INVALID_PARAMS, f"{name} is {_shown(value)}, not true or false")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
