"""The local sanlock daemon: host ids in lockspaces, and who owns a lease.

The only importer of the ``sanlock`` binding. Every call of the binding blocks
and cannot be cancelled (an acquire for a minute), so each client has a thread
of its own (``blocking.Worker``). Facts: man sanlock(8); sanlock: python/sanlock.c.
libsanlock reads SANLOCK_RUN_DIR once: one process talks to one daemon for life.
"""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import sanlock

from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import BadInput, Retryable

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
    """This host is in the lockspace already, under another id."""

    host_id: int
    lockspace: str
    msg: ClassVar[str] = (
        "this host is in lockspace {self.lockspace!r} already, with an id other than {self.host_id}; "
        "host_id in hosted-engine.conf was changed: leave the lockspace (sanlock client rem_lockspace) first"
    )


def _flag(flags: int) -> model.HostFlag:
    try:
        return model.HostFlag(flags & 0xF)
    except ValueError:
        return model.HostFlag.UNKNOWN


_AWAY = {errno.ECONNREFUSED, errno.ENOENT, errno.EACCES, errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN}


def _failed(e: sanlock.SanlockException, action: str, lockspace: model.Lockspace) -> Retryable:
    number = abs(e.errno)
    if number in _AWAY and not lockspace.path.exists():
        return LockspaceFailed(action, lockspace.name, lockspace.path, "no such file")
    if number in _AWAY:
        return SanlockAway(str(e))
    return LockspaceFailed(action, lockspace.name, lockspace.path, str(e))


class Sanlock:
    """A client of the local daemon; one thread, one call at a time."""

    def __init__(self, name: str = "sanlock") -> None:
        self._worker = Worker(name)

    def close(self) -> None:
        self._worker.close()

    async def start_join(self, lockspace: model.Lockspace, host_id: int, *, io_timeout_s: int = 0) -> None:
        """Begin to acquire ``host_id``; returns at once, ``membership`` tells the progress.

        0 as ``io_timeout_s`` is sanlock's own default. Joined already or on the way: no error.
        Raises ``OtherHostId``, ``SanlockAway``, ``LockspaceFailed``, ``Stuck``.
        """
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
                raise OtherHostId(host_id, lockspace.name) from e
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
            if abs(e.errno) == errno.ENOENT:
                return  # not in it
            raise _failed(e, "leave", lockspace) from e

    async def membership(self, lockspace: model.Lockspace, host_id: int) -> model.Membership:
        """Whether the daemon holds ``host_id`` in ``lockspace``, from its memory."""
        try:
            held = await self._worker.call(
                lambda: sanlock.inq_lockspace(
                    lockspace.name.encode(), host_id, str(lockspace.path), lockspace.offset
                ),
                timeout_s=CALL_TIMEOUT_S,
                what=f"inquiry of {lockspace.name}",
            )
        except sanlock.SanlockException as e:
            raise _failed(e, "inquire", lockspace) from e
        if held is None:
            return model.Membership.IN_TRANSITION
        return model.Membership.HELD if held else model.Membership.NOT_HELD

    async def hosts(self, lockspace_name: str) -> tuple[model.HostLease, ...] | None:
        """All host ids ever seen in a joined lockspace; None until the first renewal (EAGAIN) or unjoined."""
        try:
            rows = await self._worker.call(
                lambda: sanlock.get_hosts(lockspace_name.encode()),
                timeout_s=CALL_TIMEOUT_S,
                what=f"hosts of {lockspace_name}",
            )
        except sanlock.SanlockException as e:
            if abs(e.errno) in (errno.EAGAIN, errno.ENOENT, errno.ENOSPC):
                return None
            raise SanlockAway(str(e)) from e
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
        try:
            await self._worker.call(sanlock.get_lockspaces, timeout_s=CALL_TIMEOUT_S, what="get_lockspaces")
        except sanlock.SanlockException as e:
            raise SanlockAway(str(e)) from e


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
