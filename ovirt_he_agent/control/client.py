"""Blocking client of the agent's socket, for the command and for anybody's script."""

import http.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jsonrpclib
from jsonrpclib import jsonrpc

from ovirt_he_agent.control import codes
from ovirt_he_agent.errors import AgentNotReachable, HeAgentError, NotConfigured, OutcomeUnknown, Refused

TIMEOUT_S = 10.0
"""Of each read of the answer; what is in memory the agent answers in milliseconds."""
CHANGE_TIMEOUT_S = 60.0
"""For what changes something: the agent answers within 50 s (docs/control.md)."""


@dataclass(eq=False)
class NoAgent(AgentNotReachable):
    path: Path
    reason: str
    msg: ClassVar[str] = (
        "the agent does not answer on {self.path}: {self.reason}; check that ovirt-he-agent.service runs "
        "(or --root / --socket, if the agent runs elsewhere)"
    )


@dataclass(eq=False)
class Declined(HeAgentError):
    method: str
    code: int
    message: str
    msg: ClassVar[str] = "the agent declined {self.method}: {self.message} (code {self.code})"


class NotDone(Declined):
    """The agent's message says all, here and in the classes below."""

    msg = "{self.message}"


class NotDoneForSafety(Declined, Refused):
    msg = NotDone.msg


class NotDeployed(Declined, NotConfigured):
    msg = NotDone.msg


class PerhapsDone(Declined, OutcomeUnknown):
    msg = NotDone.msg


_OWN_CODES: dict[int, type[Declined]] = {
    codes.FAILED: NotDone,
    codes.NOT_ALLOWED: NotDone,
    codes.NOT_CONFIGURED: NotDeployed,
    codes.REFUSED: NotDoneForSafety,
    codes.OUTCOME_UNKNOWN: PerhapsDone,
}


class _Transport(jsonrpc.UnixTransport):  # type: ignore[misc]  # the library is untyped
    """The library's transport, with a time limit, which it has not."""

    def __init__(self, config: jsonrpclib.config.Config, path: str, timeout_s: float) -> None:
        super().__init__(config, path=path)
        self._timeout_s = timeout_s

    def make_connection(self, host: str) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection = super().make_connection(host)
        if connection.sock is None:
            connection.connect()
            assert connection.sock is not None
            connection.sock.settimeout(self._timeout_s)
        return connection


def call(path: Path, method: str, *, timeout_s: float = TIMEOUT_S, **params: Any) -> Any:
    """The result of one call of ``method``; raises ``NoAgent`` or a ``Declined``."""
    config = jsonrpclib.config.Config(version=2.0)
    transport = _Transport(config, str(path), timeout_s)
    proxy = jsonrpclib.ServerProxy(f"unix+http://{path}", transport=transport, config=config)
    try:
        return getattr(proxy, method)(**params)
    except jsonrpc.ProtocolError as e:
        code, message = e.args[0][:2] if e.args and isinstance(e.args[0], tuple) else (0, str(e))
        raise _OWN_CODES.get(code, Declined)(method, code, message) from e
    except (OSError, http.client.HTTPException, ValueError) as e:
        raise NoAgent(path, getattr(e, "strerror", None) or str(e) or type(e).__name__) from e
    finally:
        transport.close()
