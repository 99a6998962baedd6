"""Blocking client of the agent's socket, for the command and for anybody's script."""

import http.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jsonrpclib
from jsonrpclib import jsonrpc

from ovirt_he_agent.errors import AgentNotReachable, HeAgentError

TIMEOUT_S = 10.0
"""Of each read of the answer; the agent answers from memory, in milliseconds."""


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


class _Transport(jsonrpc.UnixTransport):  # type: ignore[misc]  # the library is untyped
    """The library's transport, with a time limit, which it has not."""

    def make_connection(self, host: str) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection = super().make_connection(host)
        if connection.sock is None:
            connection.connect()
            assert connection.sock is not None
            connection.sock.settimeout(TIMEOUT_S)
        return connection


def call(path: Path, method: str, **params: Any) -> Any:
    """The result of one call of ``method``; raises ``NoAgent`` or ``Declined``."""
    config = jsonrpclib.config.Config(version=2.0)
    transport = _Transport(config, path=str(path))
    proxy = jsonrpclib.ServerProxy(f"unix+http://{path}", transport=transport, config=config)
    try:
        return getattr(proxy, method)(**params)
    except jsonrpc.ProtocolError as e:
        code, message = e.args[0][:2] if e.args and isinstance(e.args[0], tuple) else (0, str(e))
        raise Declined(method, code, message) from e
    except (OSError, http.client.HTTPException, ValueError) as e:
        raise NoAgent(path, getattr(e, "strerror", None) or str(e) or type(e).__name__) from e
    finally:
        transport.close()
