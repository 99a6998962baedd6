"""One store's volume, read past the page cache and only as far as needed. Everything here blocks."""

from collections.abc import Callable
from pathlib import Path

from ovirt_he_agent import directio
from ovirt_he_agent.adapters.ovfstore import failures
from ovirt_he_agent.ovf import archive, stored

_CHECK_STORAGE = "check that the storage domain is connected and that this user may read it (vdsm)"

OpenVolume = Callable[[Path], directio.DirectFile]


def read(
    path: Path,
    vm_id: str,
    size_bytes: int | None = None,
    *,
    open_volume: OpenVolume = directio.DirectFile,
) -> stored.Content:
    """The document of VM ``vm_id`` in the store at ``path``; blocks.

    ``size_bytes`` is the archive's length where its description gives it. Raises a ``StoreError``.
    """
    try:
        with open_volume(path) as volume:
            return stored.read(
                lambda offset, length: volume.view(length, offset), volume.size(), vm_id, size_bytes
            )
    except OSError as e:
        raise failures.StoreUnreadable(path, f"cannot be read: {e.strerror or e}", _CHECK_STORAGE) from e
    except archive.Empty as e:
        raise failures.StoreEmpty(path, e.what, e.remedy) from e
    except archive.NoEntry as e:
        raise failures.EntryMissing(path, e.what, e.remedy) from e
    except archive.Damaged as e:
        raise failures.StoreDamaged(path, e.what, e.remedy) from e


def fingerprint(path: Path, *, open_volume: OpenVolume = directio.DirectFile) -> stored.Fingerprint:
    """One small read; blocks. Raises ``OSError``."""
    with open_volume(path) as volume:
        return stored.Fingerprint(volume.size(), volume.pread(stored.FINGERPRINT_BYTES, 0))
