"""What can go wrong between us and VDSM.

``VdsmAway`` and ``NotSent``: VDSM never saw the call. ``VdsmError``: VDSM says
that it failed (after 100 and -32603, which can be bugs, look all the same).
``ConnectionLost``, ``NoAnswer`` and ``BadReply`` are ``OutcomeUnknown``: VDSM
may have done it, or may do it yet.
"""

from dataclasses import dataclass
from typing import ClassVar

from ovirt_he_agent.errors import NotThere, OutcomeUnknown, Refused, Rejected, Retryable
from ovirt_he_agent.wire import jsonrpc


@dataclass(eq=False)
class VdsmAway(Retryable):
    """There is no session with VDSM; nothing was sent."""

    where: str
    reason: str
    remedy: str
    msg: ClassVar[str] = "no session with VDSM at {self.where}: {self.reason}; {self.remedy}"


@dataclass(eq=False)
class NotSent(Retryable):
    """Too many calls were under way; this one was not sent."""

    verb: str
    timeout_s: float
    in_flight: int
    msg: ClassVar[str] = (
        "{self.verb} was not sent within {self.timeout_s:g} s, because VDSM has left {self.in_flight} other "
        "calls unanswered; look for stuck workers in vdsm.log"
    )


@dataclass(eq=False)
class ConnectionLost(OutcomeUnknown):
    """The session ended while the call was under way."""

    verb: str
    where: str
    reason: str
    msg: ClassVar[str] = (
        "the session with VDSM at {self.where} ended during {self.verb}: {self.reason}; whether it was done "
        "is unknown, read the state; check vdsmd.service"
    )


@dataclass(eq=False)
class NoAnswer(OutcomeUnknown):
    """The call was sent and its deadline passed."""

    verb: str
    timeout_s: float
    msg: ClassVar[str] = (
        "VDSM did not answer {self.verb} within {self.timeout_s:g} s; it may still be done, read the state; "
        "look for the call in vdsm.log"
    )


@dataclass(eq=False)
class BadReply(OutcomeUnknown):
    """VDSM answered a verb with something that cannot be used."""

    verb: str
    field: str
    problem: str
    msg: ClassVar[str] = (
        "VDSM's answer to {self.verb} cannot be used: {self.field} {self.problem}; report it with the "
        "version of VDSM"
    )


@dataclass(eq=False)
class VdsmError(Retryable):
    """VDSM answered with an error. ``text`` is for people: decide by class or ``code``."""

    verb: str
    code: int
    text: str
    remedy: ClassVar[str] = "look for the call in vdsm.log"
    msg: ClassVar[str] = "VDSM answered {self.verb} with error {self.code}, {self.text}; {self.remedy}"


class CallRejected(VdsmError, Rejected):
    """Neither VDSM's state nor storage: what the call carried."""


class NoSuchVm(VdsmError):
    remedy = "VDSM does not know that VM (or, for a shutdown, it is down already)"


class VmExists(VdsmError):
    remedy = "VDSM has a VM of that id, perhaps the record of a dead one: read its state"


class GuestUnresponsive(VdsmError):
    remedy = "the guest has neither ACPI nor an agent that answers: it can only be powered off"


class Recovering(VdsmError):
    remedy = "VDSM is starting: wait"


class Busy(VdsmError):
    remedy = "VDSM's queue of calls is full: wait, and look for stuck workers in vdsm.log"


class HookFailed(VdsmError):
    remedy = "a VDSM hook failed: see /usr/libexec/vdsm/hooks and vdsm.log"


class NoSuchMethod(VdsmError):
    remedy = "this version of VDSM has no such verb: update it"


class StorageError(VdsmError):
    remedy = "check the storage domain and its server; vdsm.log has the details"


class NoSuchVolume(StorageError, NotThere):
    remedy = "check the image and volume ids in hosted-engine.conf"


class NoSuchImage(StorageError):
    remedy = "check the image ids in hosted-engine.conf"


class NoSuchDomain(StorageError):
    remedy = "check sdUUID in hosted-engine.conf, and that its storage is connected"


class HostIdError(StorageError):
    remedy = "check host_id in hosted-engine.conf, sanlock.service and sanlock.log"


class DomainInPool(StorageError, Refused):
    remedy = "the domain belongs to a connected pool: VDSM monitors it as long as that stands"


class NotSpm(StorageError):
    remedy = "only the storage pool's SPM host may do that; while the engine is down no other takes the role"


_CLASSES: dict[jsonrpc.ErrorKind, type[VdsmError]] = {
    jsonrpc.ErrorKind.NO_SUCH_VM: NoSuchVm,
    jsonrpc.ErrorKind.VM_EXISTS: VmExists,
    jsonrpc.ErrorKind.GUEST_UNRESPONSIVE: GuestUnresponsive,
    jsonrpc.ErrorKind.RECOVERING: Recovering,
    jsonrpc.ErrorKind.BUSY: Busy,
    jsonrpc.ErrorKind.NO_SUCH_VOLUME: NoSuchVolume,
    jsonrpc.ErrorKind.NO_SUCH_IMAGE: NoSuchImage,
    jsonrpc.ErrorKind.NO_SUCH_DOMAIN: NoSuchDomain,
    jsonrpc.ErrorKind.HOST_ID: HostIdError,
    jsonrpc.ErrorKind.DOMAIN_IN_POOL: DomainInPool,
    jsonrpc.ErrorKind.NOT_SPM: NotSpm,
    jsonrpc.ErrorKind.STORAGE: StorageError,
    jsonrpc.ErrorKind.HOOK: HookFailed,
    jsonrpc.ErrorKind.NO_SUCH_METHOD: NoSuchMethod,
    jsonrpc.ErrorKind.REJECTED: CallRejected,
    jsonrpc.ErrorKind.OTHER: VdsmError,
}


def from_code(verb: str, code: int, text: str) -> VdsmError:
    return _CLASSES[jsonrpc.error_kind(code)](verb, code, text)
