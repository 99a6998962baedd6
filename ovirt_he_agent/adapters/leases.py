"""The local sanlock daemon: host ids in lockspaces, and who owns a lease.

The only importer of the ``sanlock`` binding. Every call of the binding blocks
and cannot be cancelled (an acquire for a minute), so each client has a thread
of its own (``blocking.Worker``). Facts: man sanlock(8); sanlock: python/sanlock.c.
libsanlock reads SANLOCK_RUN_DIR once: one process talks to one daemon for life.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import sanlock

from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import BadInput, Retryable

T = TypeVar("T")

CallFailed = sanlock.SanlockException
"""What the plain functions at the end raise: ``errno`` (negative: sanlock's own codes) and a text."""

CALL_TIMEOUT_S = 5.0
"""Limit of a call that only asks the daemon (measured: milliseconds)."""


@dataclass(eq=False)
class SanlockAway(Retryable):
    """The daemon cannot be asked."""

    reason: str
    msg: ClassVar[str] = (
        "sanlock does not answer: {self.reason}; check that sanlock.service runs and that this "
        "user is in group sanlock"
    )


@dataclass(eq=False)
class LockspaceFailed(Retryable):
    """A call about a lockspace or lease ended in an error of sanlock or of the storage."""

    action: str
    lockspace: str
    path: Path
    reason: str
    msg: ClassVar[str] = (
        "sanlock could not {self.action} lockspace {self.lockspace!r} on {self.path}: {self.reason}; "
        "check that storage and /var/log/sanlock.log"
    )


@dataclass(eq=False)
class OtherHostId(BadInput):
    """This host is in the lockspace already, under another id or with another path."""

    host_id: int
    lockspace: str
    path: Path
    joined: str
    """What it is joined as."""
    msg: ClassVar[str] = (
        "this host is in lockspace {self.lockspace!r} already as {self.joined}, not as host id "
        "{self.host_id} on {self.path}; was host_id in hosted-engine.conf or the volume changed? "
        "Leave it first: sanlock client rem_lockspace"
    )


def _flag(flags: int) -> model.HostFlag:
    try:
        return model.HostFlag(flags & 0xF)
    except ValueError:
        return model.HostFlag.UNKNOWN


_LEADER_MAGIC = -223
"""sanlock's own code: there is no lockspace, or lease, on the storage (src/sanlock_rv.h)."""


def _text(e: sanlock.SanlockException) -> str:
    """The binding's three parts (errno, what failed, why) as words."""
    parts = e.args if len(e.args) == 3 else (e.errno, str(e), "no more is known")
    return f"{parts[1]}: {parts[2]} (error {parts[0]})"


def _failed(e: sanlock.SanlockException, action: str, lockspace: model.Lockspace) -> LockspaceFailed:
    return LockspaceFailed(action, lockspace.name, lockspace.path, _text(e))


# In the thread. The binding answers a missing socket of the daemon with ENOENT, and an inquiry
# even with False, just like "no such lockspace": ask something that cannot be mistaken, then.


def _see_that_it_answers() -> None:
    """Raises ``SanlockAway``."""
    try:
        sanlock.get_lockspaces()
    except sanlock.SanlockException as e:
        raise SanlockAway(_text(e)) from e


def _inquire(lockspace: model.Lockspace, host_id: int) -> bool | None:
    held = sanlock.inq_lockspace(lockspace.name.encode(), host_id, str(lockspace.path), lockspace.offset)
    if held is False:
        _see_that_it_answers()
    return held


def _joined_as(lockspace_name: str) -> str:
    for row in sanlock.get_lockspaces():
        if row["lockspace"] == lockspace_name.encode():
            return f"host id {row['host_id']} on {row['path']}"
    return "something else"


def _check_storage(lockspace: model.Lockspace) -> None:
    """Raises ``LockspaceFailed`` if there is no such lockspace. Reads storage.

    A join without waiting reports no reason when it fails. After this check
    what can fail it is storage that breaks meanwhile, or another host.
    """

    def refuse(reason: str) -> LockspaceFailed:
        return LockspaceFailed("join", lockspace.name, lockspace.path, reason)

    try:
        try:
            found = sanlock.read_lockspace(str(lockspace.path), lockspace.offset)
        except sanlock.SanlockException as e:
            if abs(e.errno) != errno.EINVAL:
                raise
            found = sanlock.read_lockspace(str(lockspace.path), lockspace.offset, sector=4096)
    except sanlock.SanlockException as e:
        match e.errno:
            case errno.ENODEV:
                raise refuse("sanlock cannot open that volume: it is missing or not readable for it") from e
            case errno.EMSGSIZE:
                raise refuse("the volume is too short") from e
            case _ if e.errno == _LEADER_MAGIC:
                raise refuse(
                    "no lockspace is written there; if it is the right volume: "
                    "hosted-engine --reinitialize-lockspace"
                ) from e
            case _:
                return  # the join itself will tell
    if found["lockspace"] != lockspace.name.encode():
        raise refuse(f"the lockspace there is {found['lockspace'].decode(errors='replace')!r}")


class Sanlock:
    """A client of the local daemon; one call at a time.

    What reads storage has a thread of its own, so that what the daemon answers
    from memory is known although a disk hangs.
    """

    def __init__(self, name: str = "sanlock") -> None:
        self._worker = Worker(name)
        self._storage = Worker(f"{name} storage")

    def close(self) -> None:
        self._worker.close()
        self._storage.close()

    async def start_join(self, lockspace: model.Lockspace, host_id: int, *, io_timeout_s: int = 0) -> None:
        """Begin to acquire ``host_id``; ``membership`` tells the progress.

        0 as ``io_timeout_s`` is sanlock's own default. Joined already or on the way: no error.
        An id that a live host holds stays IN_TRANSITION for 8 io timeouts and the watchdog's
        60 s (T=1: 69 s, T=10: 141 s), then it is NOT_HELD; the daemon gives no reason.
        Raises ``OtherHostId``, ``SanlockAway``, ``LockspaceFailed``, ``Stuck``.
        """
        await self._storage.call(
            _check_storage, lockspace, timeout_s=CALL_TIMEOUT_S, what=f"read of {lockspace.path}"
        )
        try:
            await self._worker.call(
                lambda: sanlock.add_lockspace(
                    lockspace.name.encode(),
                    host_id,
                    str(lockspace.path),
                    lockspace.offset,
                    iotimeout=io_timeout_s,
                    wait=False,
                ),
                timeout_s=CALL_TIMEOUT_S,
                what=f"join of {lockspace.name}",
            )
        except sanlock.SanlockException as e:
            if abs(e.errno) in (errno.EEXIST, errno.EINPROGRESS):
                return
            if abs(e.errno) == errno.EINVAL:
                joined = await self._ask("list of lockspaces", _joined_as, lockspace.name)
                raise OtherHostId(host_id, lockspace.name, lockspace.path, joined) from e
            await self.ping()
            raise _failed(e, "join", lockspace) from e

    async def leave(
        self, lockspace: model.Lockspace, host_id: int, *, timeout_s: float, unused: bool = False
    ) -> None:
        """Release ``host_id`` and wait for it; whatever holds leases there under it is killed.

        With ``unused`` it fails (``LockspaceFailed``, EBUSY) while somebody holds a lease there.
        """
        try:
            await self._worker.call(
                lambda: sanlock.rem_lockspace(
                    lockspace.name.encode(), host_id, str(lockspace.path), lockspace.offset, unused=unused
                ),
                timeout_s=timeout_s,
                what=f"leave of {lockspace.name}",
            )
        except sanlock.SanlockException as e:
            await self.ping()
            if abs(e.errno) == errno.ENOENT:
                return  # not in it
            raise _failed(e, "leave", lockspace) from e

    async def membership(self, lockspace: model.Lockspace, host_id: int) -> model.Membership:
        """Whether the daemon holds ``host_id`` in ``lockspace``, from its memory."""
        try:
            held = await self._ask(f"inquiry of {lockspace.name}", _inquire, lockspace, host_id)
        except sanlock.SanlockException as e:
            raise SanlockAway(_text(e)) from e
        if held is None:
            return model.Membership.IN_TRANSITION
        return model.Membership.HELD if held else model.Membership.NOT_HELD

    async def hosts(self, lockspace_name: str) -> tuple[model.HostLease, ...] | None:
        """All host ids ever seen in a joined lockspace; None until the first renewal (EAGAIN) or unjoined."""
        try:
            rows = await self._ask(f"hosts of {lockspace_name}", sanlock.get_hosts, lockspace_name.encode())
        except sanlock.SanlockException as e:
            await self.ping()
            if abs(e.errno) in (errno.EAGAIN, errno.ENOENT, errno.ENOSPC):
                return None
            raise SanlockAway(_text(e)) from e
        return tuple(
            model.HostLease(
                host_id=row["host_id"],
                generation=row["generation"],
                timestamp=row["timestamp"],
                io_timeout_s=row["io_timeout"],
                flag=_flag(row["flags"]),
            )
            for row in rows
        )

    async def ping(self) -> None:
        """Raises ``SanlockAway`` (or ``Stuck``) when the daemon does not answer."""
        await self._ask("list of lockspaces", _see_that_it_answers)

    async def _ask(self, what: str, function: Callable[..., T], *args: Any) -> T:
        """A call that the daemon answers from memory."""
        return await self._worker.call(function, *args, timeout_s=CALL_TIMEOUT_S, what=what)


# Blocking calls for processes that have nothing else to do (the emulator's storage and guests).


def write_lockspace(lockspace: model.Lockspace, *, io_timeout_s: int = 0, sector: int = 512) -> None:
    """Initialise the lockspace on its file; timings follow the io timeout written here."""
    sanlock.write_lockspace(
        lockspace.name.encode(), str(lockspace.path), lockspace.offset, iotimeout=io_timeout_s, sector=sector
    )


def read_io_timeout_s(lockspace: model.Lockspace) -> int:
    """The io timeout that the lockspace was written with. A join should name the same:

    the acquisition follows the written one, but the daemon's renewals (and so what
    ``hosts`` knows, and when) follow the one named at the join.
    """
    return sanlock.read_lockspace(str(lockspace.path), lockspace.offset)["iotimeout"]


def write_resource(lockspace_name: str, resource: str, path: Path, offset: int = 0) -> None:
    """Initialise a lease (one paxos resource) at ``offset`` of ``path``."""
    sanlock.write_resource(lockspace_name.encode(), resource.encode(), [(str(path), offset)])


def register() -> int:
    """Register this process; leases acquired with the returned descriptor live as long as the process."""
    return sanlock.register()


def acquire(slkfd: int, lockspace_name: str, resource: str, path: Path, offset: int = 0) -> None:
    """Acquire a lease for this (registered) process: sanlock frees it when the process ends, however it ends.

    Blocks as long as sanlock does (over a minute for a dying owner). Raises
    ``CallFailed``: errno -243 when another host holds it.
    """
    sanlock.acquire(lockspace_name.encode(), resource.encode(), [(str(path), offset)], slkfd=slkfd)


def release(slkfd: int, lockspace_name: str, resource: str, path: Path, offset: int = 0) -> None:
    """Give a lease back while the process lives on (as libvirt does for a paused VM)."""
    sanlock.release(lockspace_name.encode(), resource.encode(), [(str(path), offset)], slkfd=slkfd)


def read_owners(
    lockspace_name: str, resource: str, path: Path, offset: int = 0
) -> tuple[list[model.HostLease], int]:
    """Raw owners of a lease, dead ones included, and the lease's version; reads storage, blocks."""
    disks = [(str(path), offset)]
    rows = sanlock.read_resource_owners(lockspace_name.encode(), resource.encode(), disks)
    version = sanlock.read_resource(str(path), offset)["version"]
    return [
        model.HostLease(
            host_id=row["host_id"],
            generation=row["generation"],
            timestamp=row["timestamp"],
            io_timeout_s=row["io_timeout"],
            flag=model.HostFlag.UNKNOWN,
        )
        for row in rows
    ], version
