"""A copy, on this host, of a store as it was, while the store is changed where it lies.

What only that store holds would be lost if the write were cut off. The store's
first block names its copy meanwhile (``store_change.under_change``).
"""

import hashlib
import os
from pathlib import Path

from ovirt_he_agent import atomic_file
from ovirt_he_agent.adapters.ovfstore.put import failures
from ovirt_he_agent.ovf import archive

MODE = 0o600
"""Documents hold passwords."""


def path_of(directory: Path, sha256: str) -> Path:
    return directory / f"{sha256}.tar"


def keep(directory: Path, store: Path, content: bytes) -> str:
    """Its sha256, by which it is found again. Raises ``failures.StoreProblem``."""
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.replace(path_of(directory, sha256), content, mode=MODE)
    except (OSError, atomic_file.CannotWrite) as e:
        raise failures.StoreProblem(
            store, f"no copy of it can be kept for the time of the change: {e}; nothing was written to it"
        ) from e
    return sha256


def find(directory: Path, sha256: str | None) -> Path | None:
    """The copy, if it is here and whole."""
    if sha256 is None:
        return None
    path = path_of(directory, sha256)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            content = file.read(archive.MAX_BYTES)
    except OSError:  # not here: then it is another host's, or it was not needed any more
        return None
    return path if hashlib.sha256(content).hexdigest() == sha256 else None


def exists_any(directory: Path) -> bool:
    """Whether it is worth while to look for one."""
    try:
        return any(name.endswith(".tar") for name in os.listdir(directory))
    except OSError:
        return False


def drop(directory: Path, sha256: str) -> None:
    """The store is whole again. Raises ``OSError``."""
    path_of(directory, sha256).unlink(missing_ok=True)
