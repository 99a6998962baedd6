"""The values that observations, decisions and records are made of: frozen, typed, unit in the name.

Absent or unknown is ``None`` and never a convenient default. Times are integer
milliseconds of one monotonic clock (``MonotonicMs``) unless a name says that
they are another clock's.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

MonotonicMs = NewType("MonotonicMs", int)
"""Milliseconds of this process's monotonic clock; never mixed with wall time."""


class LocalMode(enum.StrEnum):
    """Who asks for local maintenance (he-ha: client/client.py, MaintenanceMode)."""

    LOCAL = "LOCAL"
    """The engine: it clears this one whenever the host comes up."""
    LOCAL_MANUAL = "LOCAL_MANUAL"
    """The operator: the engine does not clear it. Setting it sets the engine's as well."""


class VmStatus(enum.StrEnum):
    """VDSM's status words (vdsm: lib/vdsm/virt/vmstatus.py)."""

    WAIT_FOR_LAUNCH = "WaitForLaunch"
    POWERING_UP = "Powering up"
    UP = "Up"
    REBOOT_IN_PROGRESS = "RebootInProgress"
    POWERING_DOWN = "Powering down"
    PAUSED = "Paused"
    RESTORING_STATE = "Restoring state"
    SAVING_STATE = "Saving State"
    MIGRATION_SOURCE = "Migration Source"
    MIGRATION_DESTINATION = "Migration Destination"
    DOWN = "Down"
    OTHER = "?"
    """A word that this version does not know; ``VmReport.status_text`` has it."""


class ExitReason(enum.IntEnum):
    """Why a VM went Down (vdsm: lib/vdsm/virt/vmexitreason.py)."""

    ENDED = 0
    GENERIC_ERROR = 1
    LOST_QEMU = 2
    START_FAILED = 3
    MIGRATION_SUCCEEDED = 4
    SAVE_SUCCEEDED = 5
    ADMIN_SHUTDOWN = 6
    USER_SHUTDOWN = 7
    MIGRATION_FAILED = 8
    DOMAIN_MISSING = 9
    DESTROYED_ON_STARTUP = 10
    HOST_SHUTDOWN = 11
    POSTCOPY_FAILED = 12
    DESTROYED_ON_REBOOT = 13
    DESTROYED_ON_PAUSE_TIMEOUT = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class VmReport:
    """What VDSM said of one VM, by a stats reply or an event."""

    vm_id: str
    status: VmStatus
    status_text: str
    """VDSM's own word."""
    event_time: int
    """VDSM's event clock (``statusTime``, ``notify_time``): only compared with its like, as integers."""
    exit_code: int | None = None
    exit_reason: ExitReason | None = None
    exit_message: str | None = None
    pause_code: str | None = None
    guest_agent_alive: bool | None = None
    guest_active: bool | None = None
    """Its disks or CPUs do something."""


def newer(a: VmReport, b: VmReport) -> bool:
    """Whether VDSM said ``a`` after ``b``."""
    return a.event_time > b.event_time


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeLease:
    """A volume's lease as ``Volume.getInfo`` shows it (vdsm: lib/vdsm/storage/clusterlock.py)."""

    path: str
    offset_bytes: int
    owners: tuple[int, ...]
    """Host ids in the storage domain's lockspace. Empty: free (VDSM leaves dead owners out)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeInfo:
    """The part of ``Volume.getInfo`` that the agent uses."""

    domain_id: str
    image_id: str
    volume_id: str
    is_leaf: bool | None
    """``voltype`` LEAF; None when the reply did not say."""
    description: str
    """Raw text; JSON for OVF_STORE volumes and ordinary disks."""
    disk_type: str | None
    apparent_size_bytes: int | None
    lease: VolumeLease | None
    """None: the reply held no lease, its owner is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainVitals:
    """One monitored storage domain of ``Host.getStorageRepoStats``."""

    domain_id: str
    code: int
    valid: bool
    acquired: bool
    """The host id is held in the domain's lockspace: leases are usable."""
    actual: bool
    """False until the first check has ended."""
    delay_s: float
    last_check_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockspace:
    """Where host ids live: ``name``, the file or logical volume, the byte offset in it."""

    name: str
    path: Path
    offset: int = 0


class Membership(enum.Enum):
    """Does the local sanlock daemon hold our host id in a lockspace?"""

    HELD = "held"
    IN_TRANSITION = "in transition"
    NOT_HELD = "not held"


class HostFlag(enum.IntEnum):
    """What the local sanlock daemon thinks of a host (sanlock: src/sanlock_admin.h)."""

    UNKNOWN = 1
    FREE = 2
    LIVE = 3
    FAIL = 4
    DEAD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLease:
    """One host id of a lockspace as the local sanlock daemon sees it."""

    host_id: int
    generation: int
    timestamp: int
    """That host's own clock at its last renewal: only compared for change."""
    io_timeout_s: int
    flag: HostFlag


class ProbeOutcome(enum.StrEnum):
    """What the engine's health page said."""

    GOOD = "good"
    DB_DOWN = "db-down"
    HTTP_ERROR = "http-error"
    NO_ANSWER = "no-answer"
    NO_RESOLUTION = "no-resolution"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthProbe:
    """One look at the engine's health page."""

    at: MonotonicMs
    outcome: ProbeOutcome
    reason: str
    """For people."""


class NetworkTestKind(enum.StrEnum):
    """``network_test`` of hosted-engine.conf."""

    PING = "ping"
    DNS = "dns"
    TCP = "tcp"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTest:
    """How this host finds out whether it has a network."""

    kind: NetworkTestKind
    address: str | None = None
    """Of the gateway (ping) or the service (tcp): a name or a number; None with the others."""
    port: int | None = None
    """With tcp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAnswers:
    """One network test: several probes in a row."""

    answered: int
    asked: int
    reason: str
    """For people: how the others failed; empty if none did."""

    @property
    def share(self) -> float:
        return self.answered / self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class HaStats:
    """``haStats`` of ``Host.getStats``: what the HA agent of that host told VDSM."""

    configured: bool
    active: bool
    score: int
    global_maintenance: bool
    local_maintenance: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStats:
    """The part of ``Host.getStats`` that the agent uses. None: VDSM did not tell."""

    mem_free_mib: int | None
    """With what the kernel would give back: caches, buffers, reclaimable slabs."""
    cpu_load: float | None
    network_up: Mapping[str, bool] | None
    """Network, bridge or interface -> its link is up; without those whose state was not told."""
    ha: HaStats | None
    ha_score: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmCpu:
    """What a VM that runs here takes of the CPU, by ``VM.getStats``."""

    percent: float | None
    """Of one CPU, user's and system's together; None: not told."""
    is_real: bool
    """False while the figures are initial values."""
