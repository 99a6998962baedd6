"""The index of a domain's external (VM) leases: which lease is at which offset of dom_md/xleases.

Format: vdsm: lib/vdsm/storage/xlease.py. Slots of 1 MiB: lockspace (unused),
index, sanlock's own, then one per lease. A record's place gives the offset.
Only the SPM host writes it; this emulator takes itself for the SPM.
"""

import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.adapters import leases
from ovirt_he_agent.errors import BadInput

SLOT_BYTES = 1 << 20
RESERVED_SLOTS = 3
INDEX_OFFSET = SLOT_BYTES
MAGIC = 0x12152016
META = struct.Struct(">i x 4s x 48s x 10s x c 440x c")
RECORD = struct.Struct("48s x 11s x 3c")
MAX_RECORDS = 1024 - RESERVED_SLOTS
"""As many as fit into the volume of 1 GiB."""


@dataclass(eq=False)
class NoSuchLease(BadInput):
    lease_id: str
    path: Path
    msg: ClassVar[str] = "no lease {self.lease_id} in {self.path}"


@dataclass(eq=False)
class LeaseExists(BadInput):
    lease_id: str
    path: Path
    msg: ClassVar[str] = "lease {self.lease_id} exists in {self.path} already"


@dataclass(frozen=True, slots=True)
class Xleases:
    """The leases of one domain. ``OSError`` when the storage is away."""

    path: Path
    lockspace_name: str

    def offset(self, lease_id: str) -> int:
        """Where the lease is. Raises ``NoSuchLease``."""
        for number, name in enumerate(self._names()):
            if name == lease_id:
                return self._slot(number)
        raise NoSuchLease(lease_id, self.path)

    def add(self, lease_id: str) -> int:
        """Make resource and record; the offset. Raises ``LeaseExists``, ``leases.CallFailed``."""
        names = self._names()
        if lease_id in names:
            raise LeaseExists(lease_id, self.path)
        number = names.index("")
        leases.write_resource(self.lockspace_name, lease_id, self.path, self._slot(number))
        self._write(number, lease_id, self._slot(number))
        return self._slot(number)

    def remove(self, lease_id: str) -> None:
        """Raises ``NoSuchLease``."""
        number = (self.offset(lease_id) // SLOT_BYTES) - RESERVED_SLOTS
        self._write(number, "", 0)

    @staticmethod
    def _slot(number: int) -> int:
        return (RESERVED_SLOTS + number) * SLOT_BYTES

    def _names(self) -> list[str]:
        self._format_if_new()
        with self.path.open("rb") as f:
            data = os.pread(f.fileno(), MAX_RECORDS * RECORD.size, INDEX_OFFSET + META.size)
        return [
            RECORD.unpack_from(data, at)[0].rstrip(b"\0").decode("ascii")
            for at in range(0, MAX_RECORDS * RECORD.size, RECORD.size)
        ]

    def _format_if_new(self) -> None:
        with self.path.open("r+b") as f:
            if os.pread(f.fileno(), 4, INDEX_OFFSET) == struct.pack(">i", MAGIC):
                return
            meta = META.pack(
                MAGIC,
                b"0001",
                self.lockspace_name.encode("ascii"),
                b"%010d" % time.clock_gettime(time.CLOCK_REALTIME),
                b"-",
                b"\n",
            )
            os.pwrite(f.fileno(), meta + _record("", 0) * MAX_RECORDS, INDEX_OFFSET)

    def _write(self, number: int, lease_id: str, offset: int) -> None:
        with self.path.open("r+b") as f:
            os.pwrite(f.fileno(), _record(lease_id, offset), INDEX_OFFSET + META.size + number * RECORD.size)


def _record(lease_id: str, offset: int) -> bytes:
    return RECORD.pack(lease_id.encode("ascii"), b"%011d" % offset, b"-", b"-", b"\n")
