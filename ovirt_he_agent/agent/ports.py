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
    ) -> tuple[tuple[str, int], ...]: ...
    async def start_monitoring_domain(self, domain_id: str, host_id: int) -> None: ...
    async def storage_vitals(self, domain_ids: Sequence[str]) -> Mapping[str, model.DomainVitals]: ...
    async def prepare_image(self, domain_id: str, image_id: str, volume_id: str) -> Path: ...
    async def volume_info(self, domain_id: str, image_id: str, volume_id: str) -> model.VolumeInfo: ...


class VmNews(Protocol):
    """The stream of VDSM's events: a report, or None: something may have been missed, read again."""

    async def next(self) -> model.VmReport | None: ...


class Leases(Protocol):
    """The local sanlock daemon, as to our own host id and the other hosts'."""

    async def own_lease(self, lockspace: Path, host_id: int) -> snapshot.OwnLease: ...
    async def hosts(self, lockspace_name: str) -> tuple[model.HostLease, ...] | None: ...


class Whiteboard(Protocol):
    """The whiteboard volume at the path last given by ``use``."""

    def use(self, path: Path) -> None: ...
    async def read(
        self, known_ids: Collection[int]
    ) -> tuple[bool | None, str, Mapping[int, snapshot.PeerSlot]]: ...
    async def global_maintenance(self) -> tuple[bool | None, str]: ...


class Definitions(Protocol):
    """The definition that the engine saved last, read, checked and translated."""

    async def current(self) -> "StartableDefinition": ...


class StartableDefinition(Protocol):
    @property
    def facts(self) -> snapshot.Definition: ...
    @property
    def domain_xml(self) -> str: ...


class Health(Protocol):
    """The engine's health page."""

    async def probe(self) -> model.HealthProbe: ...


class Maintenance(Protocol):
    """ha.conf: (value, why it is unknown)."""

    def local(self) -> tuple[bool | None, str]: ...


class Systemd(Protocol):
    """The service manager."""

    def ready(self) -> None: ...
    def status(self, text: str) -> None: ...
    def watchdog(self) -> None: ...
