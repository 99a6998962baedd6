"""A file storage domain in a directory: the layout and metadata that VDSM writes.

    <server:_path>/<domain>/dom_md/{metadata,ids,leases,inbox,outbox,xleases}
    <server:_path>/<domain>/images/<image>/{<volume>,<volume>.meta,<volume>.lease}

Format version 5. Sources: vdsm: lib/vdsm/storage/fileSD.py, fileVolume.py,
volumemetadata.py, persistent.py. Plain blocking file calls; leases are written
by the sanlock daemon, everything else works without it.
"""

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.adapters import leases
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import BadInput

BLANK_UUID = "00000000-0000-0000-0000-000000000000"
MIB = 1 << 20
DESCRIPTION_LIMIT = 210
"""VDSM cuts a volume description here, without an error."""


@dataclass(eq=False)
class NotThere(BadInput):
    """The domain holds no such thing. ``path`` is where it would be."""

    what: str
    path: Path
    msg: ClassVar[str] = "the storage domain has no such {self.what}: {self.path}"


class NoSuchImage(NotThere):
    pass


class NoSuchVolume(NotThere):
    pass


def mount_name(connection: str) -> str:
    """Directory name of ``host:/path`` below rhev/data-center/mnt (vdsm: lib/vdsm/storage/fileUtils.py)."""
    return connection.replace("_", "__").replace("/", "_")


def is_name(value: object) -> bool:
    """Whether an id from somewhere else is fit to be one component of a path."""
    return isinstance(value, str) and value not in ("", ".", "..") and not set(value) & set("/*?[")


def find(mounts: Path, domain_id: str | None = None) -> list["StorageDomain"]:
    """All domains on the mounted directories below ``mounts``, or just the one named."""
    return [
        StorageDomain(metadata.parent.parent)
        for metadata in sorted(mounts.glob(f"*/{domain_id or '*-*-*-*-*'}/dom_md/metadata"))
    ]


def _sparse(path: Path, size_bytes: int) -> None:
    with path.open("wb") as f:
        f.truncate(size_bytes)


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.rename(path)


def _key_values(path: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


@dataclass(frozen=True, slots=True)
class StorageDomain:
    path: Path
    """.../<server:_path>/<domain>"""

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def lockspace(self) -> model.Lockspace:
        """Host ids of the domain: VDSM's monitor joins it, VM leases depend on it."""
        return model.Lockspace(name=self.id, path=self.path / "dom_md" / "ids")

    @property
    def metadata_path(self) -> Path:
        return self.path / "dom_md" / "metadata"

    @property
    def xleases_path(self) -> Path:
        return self.path / "dom_md" / "xleases"

    @classmethod
    def create(
        cls, mount: Path, connection: str, *, domain_id: str | None = None, name: str = "hosted_storage"
    ) -> "StorageDomain":
        """An empty domain; its lockspace is zeros until ``write_lockspace``."""
        domain = cls(mount / (domain_id or str(uuid.uuid4())))
        md = domain.path / "dom_md"
        md.mkdir(parents=True)
        (domain.path / "images").mkdir()
        for special, size in (("ids", MIB), ("inbox", 16 * MIB), ("outbox", 16 * MIB), ("leases", 16 * MIB)):
            _sparse(md / special, size)
        _sparse(domain.xleases_path, 1024 * MIB)
        values = {
            "ALIGNMENT": MIB,
            "BLOCK_SIZE": 512,
            "CLASS": "Data",
            "DESCRIPTION": name,
            "IOOPTIMEOUTSEC": 10,
            "LEASERETRIES": 3,
            "LEASETIMESEC": 60,
            "LOCKPOLICY": "",
            "LOCKRENEWALINTERVALSEC": 5,
            "POOL_UUID": "",
            "REMOTE_PATH": connection,
            "ROLE": "Regular",
            "SDUUID": domain.id,
            "TYPE": "NFS",
            "VERSION": 5,
        }
        lines = [f"{key}={value}" for key, value in values.items()]
        checksum = hashlib.sha1("".join(lines).encode(), usedforsecurity=False).hexdigest()
        _replace(domain.metadata_path, "\n".join([*lines, f"_SHA_CKSUM={checksum}", ""]))
        return domain

    def write_lockspace(self, *, io_timeout_s: int) -> None:
        """Initialise dom_md/ids; needs a sanlock daemon. All hosts' timings follow ``io_timeout_s``."""
        leases.write_lockspace(self.lockspace, io_timeout_s=io_timeout_s)

    def metadata(self) -> dict[str, str]:
        """Raises ``OSError`` when the storage is away."""
        return _key_values(self.metadata_path)

    # images and volumes

    def image_path(self, image_id: str) -> Path:
        return self.path / "images" / image_id

    def volume_path(self, image_id: str, volume_id: str) -> Path:
        """Where the volume is. Raises ``NoSuchImage``, ``NoSuchVolume``."""
        image = self.image_path(image_id)
        if not image.is_dir():
            raise NoSuchImage("image", image)
        path = image / volume_id
        if not path.exists() or not self._meta_path(image_id, volume_id).exists():
            raise NoSuchVolume("volume", path)
        return path

    def _meta_path(self, image_id: str, volume_id: str) -> Path:
        return self.image_path(image_id) / f"{volume_id}.meta"

    def lease_path(self, image_id: str, volume_id: str) -> Path:
        return self.image_path(image_id) / f"{volume_id}.lease"

    def images(self) -> list[str]:
        return sorted(path.name for path in (self.path / "images").glob("*-*-*-*-*") if path.is_dir())

    def volumes(self, image_id: str = BLANK_UUID) -> list[str]:
        """Volume ids of one image, or of all with the blank id; unknown image: none."""
        pattern = "*" if image_id == BLANK_UUID else image_id
        return sorted({path.stem for path in (self.path / "images").glob(f"{pattern}/*.meta")})

    def create_volume(
        self,
        image_id: str,
        volume_id: str,
        size_bytes: int,
        *,
        description: str,
        disk_type: str = "DATA",
        preallocated: bool = False,
    ) -> Path:
        """A raw leaf volume, sparse in any case, without a lease until ``write_lease``."""
        self.image_path(image_id).mkdir(exist_ok=True)
        path = self.image_path(image_id) / volume_id
        _sparse(path, size_bytes)
        _sparse(self.lease_path(image_id, volume_id), MIB)
        self._write_meta(
            image_id,
            volume_id,
            {
                "CAP": str(size_bytes),
                "CTIME": str(int(path.stat().st_ctime)),
                "DESCRIPTION": description[:DESCRIPTION_LIMIT],
                "DISKTYPE": disk_type,
                "DOMAIN": self.id,
                "FORMAT": "RAW",
                "GEN": "0",
                "IMAGE": image_id,
                "LEGALITY": "LEGAL",
                "PUUID": BLANK_UUID,
                "SEQ": "1",
                "TYPE": "PREALLOCATED" if preallocated else "SPARSE",
                "VOLTYPE": "LEAF",
            },
        )
        return path

    def write_lease(self, image_id: str, volume_id: str) -> None:
        """Initialise the volume's lease, named by its id, as VDSM does; needs a sanlock daemon."""
        leases.write_resource(self.id, volume_id, self.lease_path(image_id, volume_id))

    def volume_metadata(self, image_id: str, volume_id: str) -> dict[str, str]:
        """The .meta file: DESCRIPTION, DISKTYPE, VOLTYPE, ... Raises as ``volume_path``."""
        self.volume_path(image_id, volume_id)
        return _key_values(self._meta_path(image_id, volume_id))

    def set_volume_metadata(self, image_id: str, volume_id: str, **changes: str) -> None:
        self._write_meta(image_id, volume_id, self.volume_metadata(image_id, volume_id) | changes)

    def set_description(self, image_id: str, volume_id: str, description: str) -> None:
        self.set_volume_metadata(image_id, volume_id, DESCRIPTION=description[:DESCRIPTION_LIMIT])

    def _write_meta(self, image_id: str, volume_id: str, values: dict[str, str]) -> None:
        lines = [f"{key}={values[key]}" for key in sorted(values)]
        _replace(self._meta_path(image_id, volume_id), "\n".join([*lines, "EOF", ""]))

    def space(self) -> tuple[int, int]:
        """Total and free bytes of the file system below."""
        st = os.statvfs(self.path)
        return st.f_frsize * st.f_blocks, st.f_frsize * st.f_bavail
