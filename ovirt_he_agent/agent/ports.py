"""What the agent needs of the world; the adapters have exactly these methods.

All of them raise ``errors.HeAgentError`` subclasses and nothing else, and come
back within the limits that their adapters set.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ovirt_he_agent.core import load, model, snapshot
from ovirt_he_agent.core.definitions import record
from ovirt_he_agent.core.definitions.choice import Choice, Offer, Verdict


class Vdsm(Protocol):
    """The host's VM manager. ``create_vm`` is never sent twice."""

    async def vm_report(self, vm_id: str) -> model.VmReport | None: ...
    async def create_vm(self, vm_id: str, domain_xml: str) -> model.VmReport: ...
    async def destroy_vm(self, vm_id: str) -> None: ...
    async def shutdown_vm(self, vm_id: str, *, delay_s: int, message: str) -> None: ...
    async def connect_storage(
        self, domain_type: int, connections: Sequence[Mapping[str, Any]]
    ) -> Sequence[tuple[str, int]]: ...
    async def start_monitoring_domain(self, domain_id: str, host_id: int) -> None: ...
    async def stop_monitoring_domain(self, domain_id: str) -> None: ...
    async def storage_vitals(self, domain_ids: Sequence[str]) -> Mapping[str, model.DomainVitals]: ...
    async def prepare_image(self, domain_id: str, image_id: str, volume_id: str) -> Path: ...
    async def volume_info(self, domain_id: str, image_id: str, volume_id: str) -> model.VolumeInfo: ...
    async def next_news(self) -> model.VmReport | None:
        """The next report of any VM from VDSM's events; None: some may be lost, read the state again."""
        ...


class Leases(Protocol):
    """The local sanlock daemon."""

    async def start_join(self, lockspace: model.Lockspace, host_id: int, *, io_timeout_s: int) -> None: ...
    async def membership(self, lockspace: model.Lockspace, host_id: int) -> model.Membership: ...
    async def hosts(self, lockspace_name: str) -> tuple[model.HostLease, ...] | None: ...


class Flag(Protocol):
    """A switch that is on, off, or unknown (None) for ``reason``."""

    @property
    def value(self) -> bool | None: ...
    @property
    def reason(self) -> str: ...


class GlobalFlag(Flag, Protocol):
    """Global maintenance. ``raw``: what stands in slot 0, to compare before and after a write."""

    @property
    def raw(self) -> bytes: ...


class WhiteboardReading(Protocol):
    @property
    def global_maintenance(self) -> Flag: ...
    @property
    def slots(self) -> Mapping[int, snapshot.PeerSlot]: ...


class Whiteboard(Protocol):
    """The whiteboard volume, at the path given.

    Whoever writes a slot holds that host id in the HA lockspace; slot 0 may be
    written by any host, and the last writer wins.
    """

    async def read(self, path: Path, known_ids: Collection[int], *, scan: bool = False) -> WhiteboardReading:
        """``scan``: also slots of hosts that nobody knows of."""
        ...

    async def read_some(self, path: Path, host_ids: Collection[int]) -> Mapping[int, snapshot.PeerSlot]:
        """Those of these slots that are in use, now; what is learned counts for ``read`` as well."""
        ...

    async def read_global(self, path: Path) -> GlobalFlag: ...
    async def write_slot(self, path: Path, host_id: int, block: bytes) -> None:
        """When it raises ``Stuck`` or ``Retryable``, the block may have been written or may be yet."""
        ...

    async def rewrite_slot(self, path: Path, host_id: int, last: bytes | None) -> None:
        """The bytes that stand there, or the ``last`` ones if those are damaged; raises as ``write_slot``."""
        ...

    async def write_global(self, path: Path, block: bytes) -> None:
        """As ``write_slot``."""
        ...


class StartableDefinition(Protocol):
    """A definition that passed every check: what the rules need of it, and what VDSM gets."""

    @property
    def facts(self) -> snapshot.Definition: ...
    @property
    def domain_xml(self) -> str: ...
    @property
    def document(self) -> bytes:
        """The OVF that the domain was made from."""
        ...


class Definitions(Protocol):
    """The definition of the next start, of the store's and of all that were kept."""

    @property
    def account(self) -> "DefinitionAccount": ...
    @property
    def is_saved(self) -> bool: ...
    async def look(self) -> None:
        """Follow the OVF_STORE; raises why it gives no definition."""
        ...

    async def see_to_history(self) -> None:
        """Read, write and hear requests; raises what is wrong with that."""
        ...

    def current(self) -> StartableDefinition | None:
        """By what is known now; None: nothing is, yet."""
        ...

    async def begin(self, sha256: str, command: int) -> None:
        """A start with this definition is about to be given."""
        ...

    def follow(self, look: Callable[[], snapshot.Snapshot], now: model.MonotonicMs) -> None:
        """Learn from how a start went."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionAccount:
    """What people are told of the definition, beside its facts."""

    choice: Choice | None = None
    chosen_age_s: int | None = None
    """How long ago the chosen one was kept first."""
    running: record.Life | None = None
    running_record: record.Record | None = None
    running_age_s: int | None = None
    offered: Offer | None = None
    """What the store holds, if it is good."""
    verdict: Verdict | None = None
    """What became of it."""
    trouble: str | None = None
    """Why the store holds nothing good."""
    damaged: tuple[str, ...] = ()
    """Stores that should have been better than the one that serves and could not be used."""
    read_ago_ms: int | None = None
    """When it last held something good."""
    kept: int = 0


class KeptDefinitions(Protocol):
    """What ``History.read`` finds; ``skipped`` tells the files that are not good."""

    @property
    def records(self) -> tuple[record.Record, ...]: ...
    @property
    def standing(self) -> record.Standing: ...
    @property
    def skipped(self) -> tuple[str, ...]: ...
    @property
    def highest(self) -> int:
        """The highest number in use, by files that are not good too."""
        ...


class FilesThere(Protocol):
    """Of definitions, by number, and of the standing."""

    @property
    def numbers(self) -> frozenset[int]: ...
    @property
    def standing(self) -> bool: ...


class History(Protocol):
    """The files of what is kept of definitions. Every write is safe from a crash."""

    async def read(self) -> KeptDefinitions: ...
    async def write_record(self, record: record.Record) -> None: ...
    async def write_standing(self, standing: record.Standing) -> None: ...
    async def remove(self, number: int) -> None: ...
    async def there(self) -> FilesThere:
        """What has a file, good or not."""
        ...

    async def drop_request(self, request_id: str) -> None:
        """It is over; a newer one stays."""
        ...

    async def new_request(self) -> tuple[record.Request | None, str | None]:
        """An operator's request, once; and what is wrong with the last one's file."""
        ...


class VmConf(Protocol):
    """The vm.conf of this host."""

    async def hold(self, text: str) -> None:
        """See to it that the file holds ``text``."""
        ...


class HostView(Protocol):
    """What definitions depend on beside their documents."""

    async def look(self) -> None:
        """Ask for what is due; raises what could not be had."""
        ...


class Health(Protocol):
    """The engine's health page."""

    async def probe(self) -> model.HealthProbe: ...


class Network(Protocol):
    """The network test of this host."""

    async def test(self) -> model.NetworkAnswers:
        """Takes seconds; raises when nothing was learnt of the network."""
        ...


class Statistics(Protocol):
    """What VDSM measures on this host."""

    async def host_stats(self) -> model.HostStats: ...
    async def vm_cpu(self, vm_id: str) -> model.VmCpu | None:
        """None: the VM does not run here."""
        ...


class CpuCounters(Protocol):
    """The kernel's count of what the CPUs did."""

    def read(self) -> load.CpuTimes: ...


class LocalMaintenance(Protocol):
    """ha.conf of this host, a small local file."""

    def read(self) -> Flag: ...
    async def set(self, mode: model.LocalMode, on: bool) -> None:
        """Returns when it was written and read back."""
        ...


class StateFile(Protocol):
    """Where the state is kept over a restart of the daemon."""

    @property
    def boot_id(self) -> str:
        """Of this boot of the host: times of another one mean nothing."""
        ...

    async def read(self) -> bytes | None:
        """None: nothing was kept."""
        ...

    async def write(self, data: bytes) -> None: ...


class ServiceManager(Protocol):
    """systemd, or nobody."""

    def ready(self) -> None: ...
    def status(self, text: str) -> None: ...
    def watchdog(self) -> None: ...
