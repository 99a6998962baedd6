"""Why nothing is put into a store, or what became of one."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.errors import BadInput, Refused, Retryable
from ovirt_he_agent.ovf import archive


@dataclass(eq=False)
class StoreProblem(BadInput):
    """The store cannot be used; nothing was written to it."""

    path: Path
    reason: str
    msg: ClassVar[str] = "{self.path}: {self.reason}"


@dataclass(eq=False)
class NotSafe(Refused):
    """Writing would risk the only good copy, or an older definition over a newer one."""

    path: Path
    reason: str
    msg: ClassVar[str] = "{self.path}: {self.reason}; nothing was written to it"


@dataclass(eq=False)
class WriteFailed(Retryable):
    """The store may be damaged now; the others are as they were."""

    path: Path
    reason: str
    msg: ClassVar[str] = (
        "{self.path}: {self.reason}; this store may be damaged now, the domain's other store was not "
        "touched: mend the storage and run the same command again"
    )


@contextlib.contextmanager
def told(path: Path, what: str) -> Iterator[None]:
    """Errors of the system and of the archive get the store's name."""
    try:
        yield
    except OSError as e:
        raise StoreProblem(path, f"{what}: {e.strerror or e}; check the path and its permissions") from e
    except archive.BadArchive as e:
        raise StoreProblem(path, str(e)) from e
