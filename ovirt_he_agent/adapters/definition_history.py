"""The directory of one VM's definitions: a file for each, one for the standing, one for requests.

Every file is replaced as a whole and reaches the disk before it gets its name,
so that a crash at any moment leaves the old or the new one. Only its owner may
read it: documents hold passwords. What cannot be read is skipped and told.
The functions block; ``History`` runs them in a thread of its own.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from ovirt_he_agent import atomic_file
from ovirt_he_agent.blocking import Worker
from ovirt_he_agent.core.definitions import file
from ovirt_he_agent.core.definitions.record import Record, Request, Standing
from ovirt_he_agent.errors import Retryable

T = TypeVar("T")

DIRECTORY = "definitions"
TIMEOUT_S = 5.0
"""Limit of one call; a local disk that takes longer hangs."""
_RECORD = re.compile(r"(\d{1,9})\.definition")
_STANDING, _REQUEST = "standing", "request"
_NEW = ".new"
_DIRECTORY_MODE, _FILE_MODE = 0o700, 0o600


@dataclass(eq=False)
class HistoryFailed(Retryable):
    """The directory or a file in it cannot be read or written; nothing but the history suffers."""

    path: Path
    action: str
    reason: str
    msg: ClassVar[str] = "{self.path}: cannot be {self.action}: {self.reason}; {self.remedy}"

    @property
    def remedy(self) -> str:
        if self.action == "read":
            return "check the permissions; only root and the agent's user may"
        lost = "what the agent learns of definitions is lost when it ends"
        if self.path.name == _REQUEST:
            lost = "the agent does not hear of it"
        return f"see that its directory is one, has room and may be written: until then {lost}"


@dataclass(frozen=True, slots=True)
class Kept:
    """Everything in the directory. ``skipped`` tells each file that was passed over, and why."""

    records: tuple[Record, ...]
    standing: Standing
    skipped: tuple[str, ...]
    highest: int
    """The highest number that a file has, a skipped one too; 0: there is none."""


NOTHING = Kept((), Standing(), (), 0)


def directory_of(state_dir: Path, vm_id: str) -> Path:
    """Each VM has its own: after a new deployment the old VM's are not in the way."""
    return state_dir / DIRECTORY / vm_id.lower()


def read(directory: Path) -> Kept:
    """Raises ``HistoryFailed`` when the directory is there and cannot be listed."""
    names = _names(directory)
    skipped: list[str] = []
    records: dict[str, Record] = {}
    highest = 0
    for name in names:
        path = directory / name
        if name in (_STANDING, _REQUEST) or name.endswith(_NEW):
            continue
        found = _RECORD.fullmatch(name)
        if found is None:
            skipped.append(f"{path} is no file of this agent; remove it")
            continue
        highest = max(highest, int(found[1]))
        record = _decoded(path, file.record, skipped)
        if record is None:
            continue
        if record.facts.vm_id.lower() != directory.name:
            skipped.append(f"{path} is of VM {record.facts.vm_id}")
        elif record.number != int(found[1]):
            skipped.append(f"{path} is number {record.number}, which its name does not say")
        elif record.sha256 in records:
            skipped.append(f"{path} is the same definition as number {records[record.sha256].number}")
        else:
            records[record.sha256] = record
    standing = _decoded(directory / _STANDING, file.standing, skipped)
    return Kept(tuple(records.values()), standing or Standing(), tuple(skipped), highest)


def _decoded(path: Path, decode: Callable[[bytes], T], skipped: list[str]) -> T | None:
    """None without a file; one that is not good goes to ``skipped``."""
    try:
        return decode(_bytes(path))
    except FileNotFoundError:
        return None
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.EISDIR):  # a symbolic link is not followed
            skipped.append(f"{path} is skipped: it is no regular file; remove it")
            return None
        skipped.append(f"{path} cannot be read: {e.strerror or e}; check its permissions")
    except file.BadFile as e:
        skipped.append(f"{path} is skipped: {e}; remove it")
    return None


def _bytes(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)  # a FIFO must not hang us
    with open(fd, "rb") as f:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise file.BadFile("it is no regular file")
        if status.st_size > file.MAX_BYTES:
            raise file.BadFile(f"it is larger than {file.MAX_BYTES >> 20} MiB")
        return f.read(file.MAX_BYTES)


def write_record(directory: Path, record: Record) -> None:
    """Raises ``HistoryFailed``, as the other writers do."""
    _write(directory / f"{record.number:06}.definition", file.of_record(record))


def write_standing(directory: Path, standing: Standing) -> None:
    _write(directory / _STANDING, file.of_standing(standing))


def write_request(directory: Path, sha256: str | None, at_s: int) -> Request:
    """What ``ovf restore`` leaves for the agent; an earlier request that was not taken yet is void."""
    request = Request(id=secrets.token_hex(8), sha256=sha256, at_s=at_s)
    _write(directory / _REQUEST, file.of_request(request))
    return request


def remove(directory: Path, numbers: Iterable[int]) -> None:
    for number in numbers:
        path = directory / f"{number:06}.definition"
        try:
            path.unlink(missing_ok=True)
        except OSError as e:
            raise HistoryFailed(path, "removed", e.strerror or str(e)) from e


def read_request(directory: Path) -> tuple[Request | None, str | None]:
    """The last request, and what is wrong with its file."""
    skipped: list[str] = []
    request = _decoded(directory / _REQUEST, file.request, skipped)
    return request, skipped[0] if skipped else None


@dataclass(frozen=True, slots=True)
class There:
    """What has a file, good or not."""

    numbers: frozenset[int]
    standing: bool


def there(directory: Path) -> There:
    """Raises ``HistoryFailed`` when the directory is there and cannot be listed."""
    names = _names(directory)
    found = (_RECORD.fullmatch(name) for name in names)
    return There(frozenset(int(one[1]) for one in found if one is not None), _STANDING in names)


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as e:
        raise HistoryFailed(directory, "read", e.strerror or str(e)) from e


def drop_request(directory: Path, request_id: str) -> None:
    """Remove this request and no other. Raises ``HistoryFailed``."""
    path = directory / _REQUEST
    aside = directory / f"{_REQUEST}{_NEW}"
    try:
        request, _ = read_request(directory)
        if request is None or request.id != request_id:
            return
        os.rename(path, aside)
        request = _decoded(aside, file.request, [])
        if request is not None and request.id != request_id and not path.exists():
            os.rename(aside, path)  # a new one came in between
        else:
            aside.unlink()
    except OSError as e:
        raise HistoryFailed(path, "removed", e.strerror or str(e)) from e


def _write(path: Path, data: bytes) -> None:
    try:
        _make_directory(path.parent)
        atomic_file.replace(path, data, mode=_FILE_MODE, owner=_owner(path.parent))
    except OSError as e:
        raise HistoryFailed(path, "written", e.strerror or str(e)) from e
    except atomic_file.CannotWrite as e:
        raise HistoryFailed(path, "written", e.reason) from e


def _make_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    for path in (*reversed(directory.parents), directory):
        if not path.is_dir():
            path.mkdir(mode=_DIRECTORY_MODE)
            atomic_file.sync_directory(path.parent)


def _owner(directory: Path) -> tuple[int, int] | None:
    """A file that root writes (``ovf restore``) is the agent's, who owns the directory."""
    if os.geteuid() != 0:
        return None
    status = directory.stat()
    return status.st_uid, status.st_gid


class History:
    """The same for the agent: no call takes longer than its limit (``blocking.Stuck``)."""

    def __init__(self, directory: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._directory = directory
        self._timeout_s = timeout_s
        self._worker = Worker("definition history")
        self._seen: tuple[int, int, int] | None = None
        self._problem: str | None = None

    def close(self) -> None:
        """Let the thread end; does not wait for it."""
        self._worker.close()

    async def read(self) -> Kept:
        return await self._call(lambda: read(self._directory))

    async def write_record(self, record: Record) -> None:
        await self._call(lambda: write_record(self._directory, record))

    async def write_standing(self, standing: Standing) -> None:
        await self._call(lambda: write_standing(self._directory, standing))

    async def remove(self, number: int) -> None:
        await self._call(lambda: remove(self._directory, [number]))

    async def there(self) -> There:
        return await self._call(lambda: there(self._directory))

    async def drop_request(self, request_id: str) -> None:
        await self._call(lambda: drop_request(self._directory, request_id))

    async def new_request(self) -> tuple[Request | None, str | None]:
        """A request whose file is new since the last call, at the cost of one ``stat``; its problem."""
        return await self._call(self._new_request)

    def _new_request(self) -> tuple[Request | None, str | None]:
        path = self._directory / _REQUEST
        try:
            status = os.stat(path)
        except FileNotFoundError:
            self._seen = self._problem = None
            return None, None
        except OSError as e:
            raise HistoryFailed(path, "read", e.strerror or str(e)) from e
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return None, self._problem
        self._seen = seen
        request, self._problem = read_request(self._directory)
        return request, self._problem

    async def _call(self, function: Callable[[], T]) -> T:
        return await self._worker.call(
            function, timeout_s=self._timeout_s, what="a look into the state directory"
        )
