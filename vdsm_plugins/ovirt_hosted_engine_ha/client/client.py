"""What VDSM asks of Hosted Engine HA, answered by the ovirt-he-agent of this host.

VDSM imports this module at its own start and calls it on its stats path, from
several threads (vdsm: lib/vdsm/host/api.py, lib/vdsm/host/caps.py, lib/vdsm/API.py).
So: Python 3.9, standard library, no import side effect, no shared state, no
logging, plain types in the answers, and a limit on the whole of each exchange.

Every failure of an exchange is an OSError: VDSM logs those as one line.
The protocol is the agent's own, see docs/control.md.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import time
from typing import Any

_HOSTED_ENGINE_CONF = "/etc/ovirt-hosted-engine/hosted-engine.conf"
_AGENT_SOCKET = "/run/ovirt-he-agent/agent.socket"
_MAX_ANSWER_BYTES = 65536


class AgentError(OSError):
    """The agent answered with an error; ``code`` is its JSON-RPC code, the text its message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)  # one argument: errno stays None
        self.code = code


class HAClient:
    """State and maintenance of this host's agent; cheap to make, holds nothing."""

    class MaintenanceMode:
        LOCAL = "LOCAL"
        GLOBAL = "GLOBAL"
        LOCAL_MANUAL = "LOCAL_MANUAL"

    class StatModes:
        ALL = "ALL"
        HOST = "HOST"
        GLOBAL = "GLOBAL"

    class GlobalMdFlags:
        MAINTENANCE = "maintenance"

    def get_local_host_id(self) -> int | None:
        """This host's id (1..2000) from hosted-engine.conf; None where Hosted Engine is not configured.

        Raises OSError when the file is there and cannot be read.
        """
        conf = _hosted_engine_conf()
        if conf.get("configured", "True") != "True":
            return None
        try:
            host_id = int(conf.get("host_id", ""))
        except ValueError:
            return None
        return host_id if 1 <= host_id <= 2000 else None

    def get_all_stats(self, mode: str = StatModes.ALL, timeout: float = 5) -> dict[int, dict[str, Any]]:
        """What the agent knows now: ``{0: {"maintenance": bool}, host_id: {"live-data": bool, "score": int,
        "maintenance": bool}}``; 0 is the cluster, the other key this host.

        The answer takes ``timeout`` seconds at most, all in all. Raises FileNotFoundError
        when the agent does not run, another OSError for anything else.
        """
        status = _ha_status(_call("haStatus", {}, timeout))
        stats: dict[int, dict[str, Any]] = {}
        if mode != self.StatModes.HOST:
            stats[0] = {self.GlobalMdFlags.MAINTENANCE: status["globalMaintenance"]}
        host_id = self.get_local_host_id()
        if host_id is not None and mode != self.StatModes.GLOBAL:
            stats[host_id] = {
                "live-data": status["active"],
                "score": status["score"],
                "maintenance": status["localMaintenance"],
            }
        return stats

    def set_maintenance_mode(self, mode: str, value: bool, timeout: float = 60) -> None:
        """Have the agent switch maintenance ``mode`` (a MaintenanceMode) on or off.

        Returns when it is done: written and read back. LOCAL_MANUAL is the operator's
        local maintenance and sets LOCAL, the engine's, as well. Raises AgentError when
        the agent says why not, FileNotFoundError when it does not run, another OSError
        for anything else; ValueError for another mode or value.
        """
        modes = (self.MaintenanceMode.LOCAL, self.MaintenanceMode.GLOBAL, self.MaintenanceMode.LOCAL_MANUAL)
        if mode not in modes:
            raise ValueError(f"unknown maintenance mode {mode!r}, known: {', '.join(modes)}")
        if not isinstance(value, bool):
            raise ValueError(f"maintenance can be True or False, not {value!r}")
        _call("setMaintenance", {"mode": mode, "enabled": value}, timeout)

    def is_deployed(self) -> bool:
        """Whether Hosted Engine was deployed on this host: hosted-engine.conf is not empty."""
        try:
            return os.stat(_path(_HOSTED_ENGINE_CONF)).st_size > 0
        except OSError:
            return False  # VDSM's getCapabilities would break on an exception here


def _path(path: str) -> str:
    """Below OVIRT_HE_ROOT, as all files of the agent (for tests and the demo)."""
    return os.environ.get("OVIRT_HE_ROOT", "").rstrip("/") + path


def _hosted_engine_conf() -> dict[str, str]:
    """``key=value`` lines, the last of a key counts, # starts a comment line; no file is an empty one."""
    try:
        with open(_path(_HOSTED_ENGINE_CONF), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    conf = {}
    for line in lines:
        key, equals, value = line.partition("=")
        if equals and not key.lstrip().startswith("#"):
            conf[key.strip()] = value.strip()
    return conf


def _ha_status(result: Any) -> dict[str, Any]:
    """The result of haStatus, its members being what VDSM's schema says; it passes them on as they are."""
    kinds = {"active": bool, "globalMaintenance": bool, "localMaintenance": bool, "score": int}
    if not isinstance(result, dict):
        raise _bad_answer(f"haStatus is {result!r:.60}")
    for key, kind in kinds.items():
        if type(result.get(key)) is not kind:  # a bool is an int, too
            raise _bad_answer(f"haStatus.{key} is {result.get(key)!r:.60}, not {kind.__name__}")
    return result


def _bad_answer(reason: str) -> OSError:
    line = " ".join(reason.split())
    return OSError(errno.EPROTO, f"ovirt-he-agent answered what is not understood: {line}")


class _Socket(socket.socket):
    """A Unix socket with one deadline for all it does, and a limit on all it receives."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._deadline = time.monotonic() + timeout_s
        self._room = _MAX_ANSWER_BYTES

    def start_wait(self) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise socket.timeout("timed out")
        self.settimeout(left_s)

    def recv_into(self, *args: Any) -> int:  # all that http.client reads comes through here
        self.start_wait()
        received = super().recv_into(*args)
        self._room -= received
        if self._room < 0:
            raise _bad_answer(f"more than {_MAX_ANSWER_BYTES} bytes")
        return received


class _Connection(http.client.HTTPConnection):
    """HTTP on the agent's socket instead of TCP."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost")
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        sock = self.sock = _Socket(self._timeout_s)
        sock.start_wait()
        try:
            sock.connect(self._path)
        except ConnectionRefusedError as e:  # a socket that an agent left behind
            raise FileNotFoundError(errno.ENOENT, "ovirt-he-agent does not run", self._path) from e
        sock.start_wait()


def _call(method: str, params: dict[str, Any], timeout_s: float) -> Any:
    """The result of one JSON-RPC call to the agent, within ``timeout_s`` all in all."""
    request = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1})
    connection = _Connection(_path(_AGENT_SOCKET), timeout_s)
    try:
        connection.request("POST", "/", request, {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            body = response.read(_MAX_ANSWER_BYTES)
        answer = json.loads(body) if response.status == 200 else None
    except socket.timeout as e:
        raise OSError(errno.ETIMEDOUT, f"ovirt-he-agent did not answer {method} within {timeout_s} s") from e
    except http.client.HTTPException as e:
        raise _bad_answer(f"no HTTP, {type(e).__name__} {e!s:.60}") from e
    except (ValueError, RecursionError) as e:
        raise _bad_answer(f"no JSON, {e!s:.60}") from e
    finally:
        connection.close()
    if response.status != 200:
        raise _bad_answer(f"HTTP status {response.status}")
    if not isinstance(answer, dict) or answer.get("id") != 1:
        raise _bad_answer(f"no reply to the request, {answer!r:.60}")
    error = answer.get("error")
    if isinstance(error, dict):
        code = error.get("code")
        raise AgentError(code if isinstance(code, int) else 0, str(error.get("message", error)))
    if "result" not in answer:
        raise _bad_answer("neither result nor error")
    return answer["result"]
