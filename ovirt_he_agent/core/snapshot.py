"""One host's evidence at one moment: readings with their age, never conclusions.

Every reading is an ``Evidence``: a value, when it was read, and why there is no
newer one. What is older than its limit is unknown (the limits below).
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from ovirt_he_agent.core import host_figures, model

T = TypeVar("T")

SLOT_LIMIT_MS = 60_000
GLOBAL_FLAGS_LIMIT_MS = 15_000
LOCAL_FILE_LIMIT_MS = 15_000
VM_LIMIT_MS = 25_000
LEASE_OWNERS_LIMIT_MS = 15_000
HOSTS_LIMIT_MS = 20_000
OWN_LEASE_LIMIT_MS = 15_000
DOMAIN_LIMIT_MS = 25_000
DEFINITION_LIMIT_MS = 60_000
NETWORK_LIMIT_MS = 60_000
"""A test that nothing answers takes 27 s, the next begins 10 s later: until then it must not be unknown."""
HOST_STATS_LIMIT_MS = 30_000
CPU_LIMIT_MS = 180_000


@dataclass(frozen=True, slots=True)
class Evidence(Generic[T]):
    """A reading: ``value`` as of ``at``; ``problem`` says why the last attempt gave none."""

    value: T | None = None
    at: model.MonotonicMs | None = None
    problem: str | None = None

    def known(self, now: model.MonotonicMs, limit_ms: int) -> T | None:
        """The value while it is young enough, else None: unknown."""
        if self.at is None or self.value is None or not 0 <= now - self.at <= limit_ms:
            return None
        return self.value

    def renewed(self, value: T, at: model.MonotonicMs) -> "Evidence[T]":
        """A new reading."""
        return Evidence(value, at)

    def failed(self, problem: str) -> "Evidence[T]":
        """The attempt to read it again failed: the old value goes on ageing."""
        return Evidence(self.value, self.at, problem)

    def why_unknown(self, now: model.MonotonicMs) -> str:
        """For people: why ``known`` gives nothing."""
        if self.problem:
            return self.problem
        if self.at is None:
            return "not read yet"
        return f"last read {(now - self.at) // 1000} s ago"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRef:
    """A lease of the VM, by the volume that carries it."""

    domain_id: str
    image_id: str
    volume_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseView:
    """What storage says of one lease now."""

    owners: tuple[int, ...] | None
    """Host ids; empty: free; None: unknown."""
    is_leaf: bool | None
    """The volume is the end of its chain; None: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition that may be started: it carries a lease for every exclusive disk."""

    vm_id: str
    name: str
    sha256: str
    generation: int | None
    memory_mib: int
    leases: tuple[LeaseRef, ...]
    source: str
    """For people: which store it came from."""
    other_leases: tuple[LeaseRef, ...] = ()
    """Other volumes of the same disks in earlier definitions: a VM started from one of those holds these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmView:
    """VDSM's answer about the VM; no report: VDSM does not know it."""

    report: model.VmReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLease:
    """Our host id in a lockspace."""

    held: bool
    since: model.MonotonicMs
    detail: str
    """For people: held, or what the join is waiting for."""


UNKNOWN_VM = "unknown"
"""Upstream's word, and ours, of a host that cannot tell (he-ha: lib/engine.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSlot:
    """Another host's whiteboard slot. ``readable`` False: damaged, ``problem`` says how."""

    host_id: int
    readable: bool
    claims_vm: bool = False
    stopped: bool = False
    local_maintenance: bool | None = None
    score: int | None = None
    host_name: str = ""
    state: str = ""
    vm_word: str = ""
    """What it says of the engine VM, its engine and VDSM's status, word for word; empty: not said."""
    engine_health: str = ""
    engine_detail: str = ""
    ours: bool = False
    """An agent of this kind writes it."""
    others_first: bool = False
    """It asks better hosts to start the VM before it does so itself."""
    policy_hash: str | None = None
    """Of the rules that it goes by; None: not ours."""
    engine_seen_ago_s: int | None = None
    """How long before ``changed_at`` it had seen the engine's page good; None: not said, or too long ago."""
    conf_on_shared_storage: bool | None = None
    figures: host_figures.HostFigures = host_figures.NONE
    """Behind its score. For people: no rule reads these two."""
    problem: str = ""
    first_seen_at: model.MonotonicMs
    changed_at: model.MonotonicMs | None = None
    """When its bytes last changed before our eyes; None: never yet."""
    timestamp_s: int | None = None
    """Of its writer's clock; None: damaged."""

    @property
    def tells_of_vm(self) -> bool:
        """Whether it says that the VM is there, or that it is not."""
        # safety: a host whose VDSM is away says "unknown", and its VM may run all the same
        return self.readable and self.vm_word != UNKNOWN_VM


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSeen:
    """A host id of a lockspace: what our sanlock daemon thinks of it, and since when."""

    flag: model.HostFlag
    generation: int
    io_timeout_s: int
    timestamp: int
    """That host's clock at its last renewal."""
    renewed_at: model.MonotonicMs
    """When its timestamp last changed before our eyes, or when it was seen first."""


class RequestKind(enum.StrEnum):
    """What an operator may ask of this host's VM."""

    START = "start"
    SHUTDOWN = "shutdown"
    POWER_OFF = "poweroff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An operator's wish. It is heard once: when it cannot be granted now, it is over."""

    number: int
    kind: RequestKind
    force: bool
    """Also in global maintenance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that was given, and how it went. ``done_at`` None: in flight."""

    number: int
    kind: str
    given_at: model.MonotonicMs
    definition_sha256: str | None = None
    """With which definition, if it is a start."""
    done_at: model.MonotonicMs | None = None
    ok: bool | None = None
    """None while in flight, and when its outcome is unknown."""
    rejected: bool = False
    """VDSM refused it for a reason that lies in the definition."""
    refused: bool = False
    """The act step dropped it: fresher evidence contradicted it; nothing was sent."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a decision rests on."""

    host_id: int
    vm_id: str
    deployed_lease: LeaseRef
    """The engine VM's disk as deployed (hosted-engine.conf ``vm_disk_vol_id``)."""
    global_maintenance: Evidence[bool] = Evidence()
    local_maintenance: Evidence[bool] = Evidence()
    own_ha_lease: Evidence[OwnLease] = Evidence()
    domain: Evidence[model.DomainVitals] = Evidence()
    ha_hosts: Evidence[Mapping[int, HostSeen]] = Evidence()
    sd_hosts: Evidence[Mapping[int, HostSeen]] = Evidence()
    slots: Evidence[Mapping[int, PeerSlot]] = Evidence()
    definition: Evidence[Definition] = Evidence()
    vm: Evidence[VmView] = Evidence()
    vm_leases: Mapping[LeaseRef, Evidence[LeaseView]] = field(default_factory=dict)
    probes: tuple[model.HealthProbe, ...] = ()
    """Newest last."""
    command: Command | None = None
    """The newest VM command."""
    page_good_at: model.MonotonicMs | None = None
    """When this host saw the engine's page good last, wherever the VM is."""
    own_slot: Evidence[int] = Evidence()
    """The last write of our own slot: its timestamp."""
    network: Evidence[float] = Evidence()
    """0..1: the share of network probes that succeeded."""
    bridge_up: Evidence[bool] = Evidence()
    cpu_load: Evidence[float] = Evidence()
    """0..1, without the engine VM's own."""
    memory_free_mib: Evidence[int] = Evidence()
    config_up_to_date: bool = True
    request: Request | None = None
    leaving: bool = False
    """The agent was told to stop."""

    def leases(self) -> tuple[LeaseRef, ...]:
        """Every lease that guards the VM's disks, whichever definition it was started from."""
        return leases(self.definition.value, self.deployed_lease)

    def opened(self) -> tuple[LeaseRef, ...]:
        """Those of the definition and of the disk as deployed: what a start would write to."""
        return opened(self.definition.value, self.deployed_lease)


def leases(definition: Definition | None, deployed: LeaseRef) -> tuple[LeaseRef, ...]:
    """``Snapshot.leases``, of the two that it rests on."""
    others = definition.other_leases if definition is not None else ()
    return tuple(dict.fromkeys((*opened(definition, deployed), *others)))


def opened(definition: Definition | None, deployed: LeaseRef) -> tuple[LeaseRef, ...]:
    """``Snapshot.opened``, of the two that it rests on."""
    return tuple(dict.fromkeys((*(definition.leases if definition is not None else ()), deployed)))


def only_since(snap: Snapshot, since: model.MonotonicMs) -> Snapshot:
    """``snap`` in which what a VM command rests on counts as unknown unless read at ``since`` or later."""

    def fresh(read: Evidence[T]) -> Evidence[T]:
        if read.at is not None and read.at >= since:
            return read
        return Evidence(problem=read.problem or "it could not be read again right before the command")

    return replace(
        snap,
        global_maintenance=fresh(snap.global_maintenance),
        local_maintenance=fresh(snap.local_maintenance),
        own_ha_lease=fresh(snap.own_ha_lease),
        vm=fresh(snap.vm),
        vm_leases={ref: fresh(read) for ref, read in snap.vm_leases.items()},
    )
