"""ha.conf of this host: local maintenance, the engine's switch and the operator's, read and set.

Upstream's command and VDSM write the same file (he-ha: env/config_file.py): a
line is ``key=value``, split at the first ``=`` and stripped; ``#`` starts a
comment line; the last of repeated keys counts. Their writer opens the file, takes
an exclusive flock on what it has opened, reads the file by its *name* again, and
writes where it has opened. We replace the file as a whole, under that lock and
when nobody else has it open for writing. Who opened it in that very moment writes
into the one that was replaced, so that is looked at once more when its last
writer has closed it, and what came too late is taken over.
"""

import contextlib
import fcntl
import grp
import logging
import os
import pwd
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent import atomic_file
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.core.model import LocalMode
from ovirt_he_agent.errors import Retryable

log = logging.getLogger(__name__)

TIMEOUT_S = 15.0
"""Of one change, all in all; a local disk that takes longer hangs."""
PATIENCE_S = 5.0
"""With other writers, who need milliseconds."""
_POLL_S = 0.01

LOCAL = "local_maintenance"
MANUAL = "local_maintenance_manual"
_KEYS = {LocalMode.LOCAL: (LOCAL,), LocalMode.LOCAL_MANUAL: (LOCAL, MANUAL)}

# the file as upstream's package ships it (he-ha: env/ha.conf, ovirt-hosted-engine-ha.spec.in)
_AS_SHIPPED = f"{LOCAL}=False\n{MANUAL}=False\n".encode()
_OWNER, _GROUP, _MODE = "vdsm", "kvm", 0o644

_WRITE_IT = "write it with `ovirt-he-agent maintenance none` (or local)"


@dataclass(eq=False)
class Locked(Retryable):
    """Nothing was changed."""

    path: Path
    limit_s: float
    msg: ClassVar[str] = (
        "{self.path}: another program has held its lock for {self.limit_s:g} s, nothing was changed; "
        "see who in /proc/locks (or with lslocks), then try again"
    )


@dataclass(eq=False)
class CannotOpen(Retryable):
    """Nothing was changed."""

    path: Path
    reason: str
    msg: ClassVar[str] = (
        "{self.path}: cannot be opened: {self.reason}; the file and its directory belong to user vdsm"
    )


@dataclass(eq=False)
class ChangedAgain(Retryable):
    """What was read back is not what was written."""

    path: Path
    key: str
    wanted: str
    found: str
    msg: ClassVar[str] = (
        "{self.path}: {self.key} was set to {self.wanted}, and another program set it to {self.found} at the "
        "same time; if {self.wanted} is what you want, set it again"
    )


@dataclass(frozen=True, slots=True)
class LocalMaintenance:
    """Local maintenance, the engine's and the operator's together; None: unknown, for ``reason``."""

    value: bool | None
    reason: str


class HaConf:
    """Reading takes no thread; once ``set`` was called, ``close`` it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker = Worker("ha-conf")

    def close(self) -> None:
        self._worker.close()

    def read(self) -> LocalMaintenance:
        """The file as it is now. Small and local: read it each time instead of watching it.

        ``local_maintenance_manual`` came later than the file, and packages keep
        an old one: without it there is none. Anything else that is missing or
        no yes or no is unknown (upstream takes a missing file for "off").
        """
        try:
            data = self._path.read_bytes()
            values = _values(data.decode())
        except FileNotFoundError:
            return self._unknown("is missing")
        except OSError as e:
            return self._unknown(f"cannot be read ({e.strerror or e})")
        except UnicodeDecodeError as e:
            return self._unknown(f"byte {e.start} is not UTF-8 text")
        if not data.strip():
            return self._unknown("it is empty")
        switches = []
        for key, default in ((LOCAL, None), (MANUAL, "False")):
            text = values.get(key, default)
            value = _boolean(text)
            if value is None:
                return self._unknown(f"{key} is {'missing' if text is None else repr(text)}")
            switches.append(value)
        return LocalMaintenance(any(switches), f"{self._path} says so")

    def _unknown(self, why: str) -> LocalMaintenance:
        return LocalMaintenance(None, f"{self._path}: {why}: {_WRITE_IT}")

    async def set(self, mode: LocalMode, on: bool) -> None:
        """Switch on or off; returns when the file was replaced and read back.

        All other lines stay, and so do owner and permissions. A missing file is
        made as upstream's package ships it, an unreadable value is overwritten.
        Raises ``Locked``, ``CannotOpen``, ``atomic_file.CannotWrite``,
        ``ChangedAgain``, ``blocking.Stuck``.
        """
        values = dict.fromkeys(_KEYS[mode], str(on))
        await self._worker.call(self._set, values, timeout_s=TIMEOUT_S, what=f"writing {self._path}")

    def _set(self, wanted: Mapping[str, str]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        try:
            late = self._replace(wanted, deadline)
            while late:
                log.info("%s: taking over what another program wrote at the same time: %s", self._path, late)
                late = self._replace(late, deadline)
            found = _values(self._path.read_bytes().decode(errors="replace"))
        except OSError as e:
            raise CannotOpen(self._path, e.strerror or str(e)) from e
        for key, value in wanted.items():
            if found.get(key) != value:
                raise ChangedAgain(self._path, key, value, found.get(key, "nothing"))

    def _replace(self, values: Mapping[str, str], deadline: float) -> dict[str, str]:
        """Set ``values``; returns what somebody else wrote into the file that was replaced."""
        with self._opened(deadline) as (descriptor, seen):
            before = _read(descriptor)
            after = with_values(before or _AS_SHIPPED, values)
            self._write(after, seen)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._until_nobody_writes(descriptor, deadline)
            if (now := _read(descriptor)) == before:
                return {}
        ours, theirs = (_values(data.decode(errors="replace")) for data in (after, now))
        return {key: value for key, value in theirs.items() if ours.get(key) != value}

    @contextlib.contextmanager
    def _opened(self, deadline: float) -> Iterator[tuple[int, os.stat_result]]:
        """The file that has the name now, with its lock held."""
        while True:
            descriptor = self._open()
            try:
                self._lock(descriptor, deadline)
                seen = os.fstat(descriptor)
                if self._is_named(seen) and self._is_my_turn(descriptor, deadline):
                    yield descriptor, seen
                    return
            finally:
                os.close(descriptor)
            time.sleep(_POLL_S)

    def _is_named(self, seen: os.stat_result) -> bool:
        """Else it was replaced while we waited for its lock."""
        try:
            return os.path.samestat(seen, self._path.stat())
        except FileNotFoundError:
            return False

    def _is_my_turn(self, descriptor: int, deadline: float) -> bool:
        """Whoever has opened it to write goes first, or it would be the wrong file that they write."""
        return not _open_for_writing(descriptor) or time.monotonic() > deadline

    def _open(self) -> int:
        while True:
            try:
                return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                pass
            try:
                new = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue  # somebody else has just made it
            if os.geteuid() == 0:
                os.fchown(new, *_shipped_owner())
            os.fchmod(new, _MODE)
            return new

    def _lock(self, descriptor: int, deadline: float) -> None:
        # not a blocking flock: what was given up must not be done later, by a thread that still waits
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Locked(self._path, PATIENCE_S) from None
                time.sleep(_POLL_S)
            else:
                return

    def _write(self, data: bytes, seen: os.stat_result) -> None:
        mode = stat.S_IMODE(seen.st_mode)
        try:
            atomic_file.replace(self._path, data, mode=mode, owner=(seen.st_uid, seen.st_gid))
        except atomic_file.CannotWrite as e:
            if not isinstance(e.__cause__, PermissionError) or os.geteuid() == 0:
                raise
            # somebody edited it as root: only root can leave it root's, and switching comes first
            atomic_file.replace(self._path, data, mode=mode)
            log.warning("%s: belonged to uid %d, now to this process's user", self._path, seen.st_uid)

    def _until_nobody_writes(self, descriptor: int, deadline: float) -> None:
        """The file has no name any more: who has it open may still write, nobody comes new."""
        while _open_for_writing(descriptor):
            if time.monotonic() > deadline:
                log.warning("%s: a program has kept the replaced file open for writing", self._path)
                return
            time.sleep(_POLL_S)


def _open_for_writing(descriptor: int) -> bool:
    """Whether any process has this file open for writing, by the kernel's word: then it gives no read lease.

    Where it gives none at all (another owner's file, some file systems), nobody knows: False.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _shipped_owner() -> tuple[int, int]:
    """-1 leaves it as it is, on a machine without such a user or group."""
    try:
        uid = pwd.getpwnam(_OWNER).pw_uid
    except KeyError:
        uid = -1
    try:
        gid = grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        gid = -1
    return uid, gid


def with_values(data: bytes, values: Mapping[str, str]) -> bytes:
    """``data`` with these keys set, each where it stands first, else at the end.

    All other lines stay as they are, but those that are no UTF-8: one is enough
    to keep every reader from the whole file.
    """
    lines, missing = [], dict(values)
    for raw in data.removesuffix(b"\n").split(b"\n") if data else ():
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            continue
        key = _key(line)
        if key not in values:
            lines.append(line)
        elif key in missing:
            lines.append(f"{key}={missing.pop(key)}")
    lines += (f"{key}={value}" for key, value in missing.items())
    return "".join(f"{line}\n" for line in lines).encode()


def _key(line: str) -> str | None:
    key, equals, _ = line.partition("=")
    return key.strip() if equals and not line.lstrip().startswith("#") else None


def _values(text: str) -> dict[str, str]:
    return {
        key: line.partition("=")[2].strip() for line in text.split("\n") if (key := _key(line)) is not None
    }


def _boolean(text: str | None) -> bool | None:
    """By its first letter, as upstream (lib/util.py, to_bool)."""
    match (text or "?").lower()[0]:
        case "t" | "y" | "1":
            return True
        case "f" | "n" | "0":
            return False
        case _:
            return None
