"""VDSM's JSON-RPC 2.0: one request to bytes; bytes to a reply, a failure or an event.

No batch and no notification can be made: a batch is executed and never
answered, a notification ends VDSM's dispatcher thread (vdsm:
lib/yajsonrpc/__init__.py). Error codes: vdsm: lib/vdsm/common/exception.py,
lib/vdsm/storage/exception.py, lib/yajsonrpc/exception.py.
"""

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ovirt_he_agent.errors import Retryable


class ErrorKind(enum.Enum):
    """What an error code means to a caller; many codes need no class of their own."""

    NO_SUCH_VM = "no such VM"
    VM_EXISTS = "VM exists"
    GUEST_UNRESPONSIVE = "guest unresponsive"
    RECOVERING = "recovering"
    BUSY = "busy"
    NO_SUCH_VOLUME = "no such volume"
    NO_SUCH_IMAGE = "no such image"
    NO_SUCH_DOMAIN = "no such storage domain"
    HOST_ID = "host id"
    DOMAIN_IN_POOL = "domain in pool"
    NOT_SPM = "not SPM"
    STORAGE = "storage"
    HOOK = "hook"
    NO_SUCH_METHOD = "no such method"
    REJECTED = "rejected"
    """What the call carried is to blame, or a bug that it met."""
    OTHER = "other"


REFUSED_UNSEEN = frozenset({ErrorKind.RECOVERING, ErrorKind.BUSY})
"""VDSM refused the call before it looked at it: the same call may be sent again."""

_KINDS = {
    1: ErrorKind.NO_SUCH_VM,
    4: ErrorKind.VM_EXISTS,
    9: ErrorKind.REJECTED,
    13: ErrorKind.REJECTED,
    16: ErrorKind.REJECTED,
    19: ErrorKind.GUEST_UNRESPONSIVE,
    37: ErrorKind.REJECTED,
    78: ErrorKind.HOOK,
    99: ErrorKind.RECOVERING,
    100: ErrorKind.REJECTED,
    201: ErrorKind.NO_SUCH_VOLUME,
    254: ErrorKind.NO_SUCH_IMAGE,
    268: ErrorKind.NO_SUCH_IMAGE,
    358: ErrorKind.NO_SUCH_DOMAIN,
    654: ErrorKind.NOT_SPM,
    661: ErrorKind.HOST_ID,
    662: ErrorKind.HOST_ID,
    700: ErrorKind.HOST_ID,
    900: ErrorKind.DOMAIN_IN_POOL,
    1100: ErrorKind.BUSY,
    1500: ErrorKind.HOOK,
    -32601: ErrorKind.NO_SUCH_METHOD,
    -32603: ErrorKind.REJECTED,
}
_STORAGE_CODES = range(200, 1001)


def error_kind(code: int) -> ErrorKind:
    return _KINDS.get(code, ErrorKind.STORAGE if code in _STORAGE_CODES else ErrorKind.OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    request_id: str
    result: Any
    """Whatever JSON the verb gives; ``True`` for a verb without result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    request_id: str | None
    """None: VDSM could not read the request."""
    code: int
    message: str
    """For people and logs: a class text and a Python repr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``|domain|subject|object_id``, as ``|virt|VM_status|<VM id>``."""

    domain: str
    subject: str
    object_id: str
    params: Mapping[str, Any]
    notify_time: int
    """VDSM's event clock in ms, 2**31 - 1 and more; comparable to ``statusTime``, as integers."""


@dataclass(eq=False)
class BadMessage(Retryable):
    """JSON-RPC of another make than VDSM's, or no JSON at all."""

    field: str
    problem: str
    request_id: str | None = None
    """The request that this was meant to answer, if that can be told."""
    msg: ClassVar[str] = "not a JSON-RPC message of VDSM: {self.field} {self.problem}"


def request(verb: str, params: Mapping[str, Any], request_id: str) -> bytes:
    """``request_id`` must be unique among all clients of that VDSM: a UUID."""
    if not request_id:
        raise ValueError("a request without an id is a notification")
    message = {"jsonrpc": "2.0", "method": verb, "params": dict(params), "id": request_id}
    return json.dumps(message).encode()


def decode(body: bytes) -> Reply | Failure | Event:
    """Raises ``BadMessage``."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise BadMessage("text", f"is no JSON ({e})") from None
    if not isinstance(message, dict):
        raise BadMessage("message", f"is a {type(message).__name__}, not an object")
    if "method" in message:
        return _event(message)
    request_id = message.get("id")
    if not isinstance(request_id, str | None):
        raise BadMessage("id", f"is {request_id!r}, which no request of ours had")
    error = message.get("error")
    if error is not None:
        return _failure(error, request_id)
    if "result" not in message or request_id is None:
        missing = "id" if "result" in message else "result"
        raise BadMessage(missing, "is missing", request_id)
    return Reply(request_id=request_id, result=message["result"])


def _failure(error: object, request_id: str | None) -> Failure:
    if not isinstance(error, dict):
        raise BadMessage("error", f"is a {type(error).__name__}, not an object", request_id)
    code = whole_number(error.get("code"))
    if code is None:
        raise BadMessage("error.code", f"is {error.get('code')!r}, not a whole number", request_id)
    return Failure(request_id=request_id, code=code, message=str(error.get("message", "")))


def _event(message: Mapping[str, Any]) -> Event:
    name, params = message["method"], message.get("params")
    words = name.split("|", 3) if isinstance(name, str) else []
    if len(words) != 4 or words[0]:
        raise BadMessage("method", f"is {name!r}, not |domain|subject|id")
    if not isinstance(params, dict):
        raise BadMessage("params", f"of event {name} is a {type(params).__name__}, not an object")
    notify_time = whole_number(params.get("notify_time"))
    if notify_time is None:
        raise BadMessage("params.notify_time", f"of event {name} is {params.get('notify_time')!r}")
    return Event(
        domain=words[1],
        subject=words[2],
        object_id=words[3],
        params={key: value for key, value in params.items() if key != "notify_time"},
        notify_time=notify_time,
    )


def whole_number(value: object) -> int | None:
    """VDSM sends many numbers as strings; None for anything that is no whole number."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
