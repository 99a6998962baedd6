"""What the agent needs of the world; the adapters have exactly these methods.

All of them raise ``errors.HeAgentError`` subclasses and nothing else, and come
back within the limits that their adapters set.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ovirt_he_agent.core import model, snapshot


class Vdsm(Protocol):
    """The host's VM manager. ``create_vm`` is never sent twice."""

    async def vm_report(self, vm_id: str) -> model.VmReport | None: ...
    async def create_vm(self, vm_id: str, domain_xml: str) -> model.VmReport: ...
    async def destroy_vm(self, vm_id: str) -> None: ...
    async def connect_storage(
        self, domain_type: int, connections: Sequence[Mapping[str, Any]]
    ) -> Sequence[tuple[str, int]]: ...
    async def start_monitoring_domain(self, domain_id: str, host_id: int) -> None: ...
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


class WhiteboardReading(Protocol):
    @property
    def global_maintenance(self) -> Flag: ...
    @property
    def slots(self) -> Mapping[int, snapshot.PeerSlot]: ...


class Whiteboard(Protocol):
    """The whiteboard volume, at the path given."""

    async def read(self, path: Path, known_ids: Collection[int]) -> WhiteboardReading: ...
    async def read_global(self, path: Path) -> Flag: ...


class StartableDefinition(Protocol):
    """A definition that passed every check: what the rules need of it, and what VDSM gets."""

    @property
    def facts(self) -> snapshot.Definition: ...
    @property
    def domain_xml(self) -> str: ...


class Definitions(Protocol):
    """The definition that the engine saved last."""

    async def current(self) -> StartableDefinition: ...


class Health(Protocol):
    """The engine's health page."""

    async def probe(self) -> model.HealthProbe: ...


class LocalMaintenance(Protocol):
    """ha.conf of this host; reads a small local file."""

    def read(self) -> Flag: ...


class ServiceManager(Protocol):
    """systemd, or nobody."""

    def ready(self) -> None: ...
    def status(self, text: str) -> None: ...
    def watchdog(self) -> None: ...
