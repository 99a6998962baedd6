# Stub of the sanlock binding (sanlock: python/sanlock.c, 3.8.5), as far as this project uses it.
from typing import TypedDict

HOST_UNKNOWN: int
HOST_FREE: int
HOST_LIVE: int
HOST_FAIL: int
HOST_DEAD: int
LSFLAG_ADD: int
LSFLAG_REM: int

class SanlockException(Exception):
    @property
    def errno(self) -> int: ...

class _Host(TypedDict):
    host_id: int
    generation: int
    timestamp: int
    io_timeout: int
    flags: int

class _Lockspace(TypedDict):
    lockspace: bytes
    host_id: int
    path: str
    offset: int
    flags: int

class _LockspaceInfo(TypedDict):
    lockspace: bytes
    iotimeout: int

class _ResourceInfo(TypedDict):
    lockspace: bytes
    resource: bytes
    version: int

_Disks = list[tuple[str, int]]

def add_lockspace(
    lockspace: bytes, host_id: int, path: str, offset: int = 0, iotimeout: int = 0, wait: bool = True
) -> None: ...
def inq_lockspace(
    lockspace: bytes, host_id: int, path: str, offset: int = 0, wait: bool = False
) -> bool | None: ...
def rem_lockspace(
    lockspace: bytes, host_id: int, path: str, offset: int = 0, wait: bool = True, unused: bool = False
) -> None: ...
def get_lockspaces() -> list[_Lockspace]: ...
def get_hosts(lockspace: bytes, host_id: int = 0) -> list[_Host]: ...
def write_lockspace(
    lockspace: bytes,
    path: str,
    offset: int = 0,
    max_hosts: int = 0,
    iotimeout: int = 0,
    align: int = 1048576,
    sector: int = 512,
) -> None: ...
def read_lockspace(path: str, offset: int = 0, align: int = 1048576, sector: int = 512) -> _LockspaceInfo: ...
def write_resource(
    lockspace: bytes,
    resource: bytes,
    disks: _Disks,
    max_hosts: int = 0,
    num_hosts: int = 0,
    clear: bool = False,
    align: int = 1048576,
    sector: int = 512,
) -> None: ...
def read_resource(path: str, offset: int = 0, align: int = 1048576, sector: int = 512) -> _ResourceInfo: ...
def read_resource_owners(
    lockspace: bytes, resource: bytes, disks: _Disks, align: int = 1048576, sector: int = 512
) -> list[_Host]: ...
def register() -> int: ...
def acquire(
    lockspace: bytes,
    resource: bytes,
    disks: _Disks,
    slkfd: int = -1,
    pid: int = -1,
    shared: bool = False,
    version: int | None = None,
    lvb: bool = False,
) -> None: ...
def release(lockspace: bytes, resource: bytes, disks: _Disks, slkfd: int = -1, pid: int = -1) -> None: ...
