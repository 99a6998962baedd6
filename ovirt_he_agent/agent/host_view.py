"""What a definition depends on beside its document: networks and storage of this host, as VDSM tells them.

Asked rarely, for Host.getCapabilities costs VDSM seconds, and kept: a call that
fails leaves the last answer standing, or that part unknown. The definition is
made with what is known, and again when that changes.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from ovirt_he_agent import config
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import HeAgentError, Retryable
from ovirt_he_agent.ovf import host_facts, vmspec

GOOD_FOR_MS = 300_000
"""An answer is not asked for again before."""
LACKING_GOOD_FOR_MS = 30_000
"""The same while a network of the VM is not among the host's: it may be set up just now."""
FIRST_LOOK_S = 5.0
"""A new document waits no longer for VDSM; it is translated with what is known then."""


class LeasePlace(Protocol):
    @property
    def path(self) -> Path: ...
    @property
    def offset_bytes(self) -> int: ...


class Vdsm(Protocol):
    """The verbs that this needs."""

    async def bridges(self) -> Mapping[str, str]: ...
    async def is_block_domain(self, domain_id: str) -> bool: ...
    async def lease_info(self, domain_id: str, lease_id: str) -> LeasePlace: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the operator and the deployment say; the rest is VDSM's."""

    display_network: str
    without_missing_nics: bool = False
    default_cpu: str | None = None
    networks: Mapping[str, str] = field(default_factory=dict)
    """The host's name of networks whose engine's name is too long for it."""

    @classmethod
    def of(cls, options: config.Definition, display_network: str) -> "Preferences":
        return cls(
            display_network=display_network,
            without_missing_nics=options.start_without_missing_nics,
            default_cpu=options.default_cpu,
            networks=options.networks,
        )


@dataclass(eq=False)
class NotAllKnown(Retryable):
    """Something is asked for again; meanwhile definitions are made without it."""

    reasons: str
    msg: ClassVar[str] = "definitions are made with what is known of this host; not known: {self.reasons}"


class HostView:
    """One VM's; ``look`` is the work of a component, ``of`` answers from memory but for a new document."""

    def __init__(
        self,
        vdsm: Vdsm,
        preferences: Preferences,
        *,
        utc_offset_s: Callable[[str | None], int | None],
        clock: Callable[[], model.MonotonicMs],
    ) -> None:
        self._vdsm = vdsm
        self._preferences = preferences
        self._utc_offset_s = utc_offset_s
        self._clock = clock
        self._looking = asyncio.Lock()
        self._spec: vmspec.VmSpec | None = None
        self._bridges: Mapping[str, str] | None = None
        self._bridges_at: model.MonotonicMs | None = None
        self._is_block: dict[str, bool] = {}
        self._vm_lease: vmspec.Lease | None = None
        self._vm_lease_at: model.MonotonicMs | None = None

    async def of(self, spec: vmspec.VmSpec) -> host_facts.HostFacts:
        """What is known for ``spec``. A spec that was not asked for before has VDSM asked first."""
        if spec is not self._spec:
            self._spec, self._bridges_at, self._vm_lease_at = spec, None, None
            try:
                async with asyncio.timeout(FIRST_LOOK_S):
                    await self.look()
            except (HeAgentError, TimeoutError):
                pass  # the component says so, and tries again
        return self._facts(spec)

    def _facts(self, spec: vmspec.VmSpec) -> host_facts.HostFacts:
        preferences, lease = self._preferences, self._vm_lease
        domain_ids = _domain_ids(spec)
        known = domain_ids <= self._is_block.keys()
        return host_facts.HostFacts(
            display_network=preferences.display_network,
            bridges=self._all_bridges(),
            block_domain_ids=frozenset(d for d in domain_ids if self._is_block[d]) if known else None,
            vm_lease=lease if _is_of(lease, spec) else None,
            utc_offset_s=self._utc_offset_s(spec.time_zone),
            default_cpu=preferences.default_cpu,
            without_missing_nics=preferences.without_missing_nics,
        )

    def _all_bridges(self) -> Mapping[str, str] | None:
        """VDSM's, and the ones that it has under another name than the engine."""
        if self._bridges is None:
            return None
        renamed = {name: self._bridges.get(on_host) for name, on_host in self._preferences.networks.items()}
        return {**self._bridges, **{name: bridge for name, bridge in renamed.items() if bridge is not None}}

    async def look(self) -> None:
        """Ask VDSM for what is due. Raises ``NotAllKnown`` with all that failed."""
        async with self._looking:
            spec = self._spec
            if spec is None:
                return  # no document yet, so nothing is needed
            problems: list[str] = []
            for read in (self._read_bridges, self._read_domains, self._read_vm_lease):
                try:
                    await read(spec)
                except HeAgentError as e:
                    problems.append(str(e))
            if problems:
                raise NotAllKnown("; ".join(problems))

    def _is_due(self, at: model.MonotonicMs | None, good_for_ms: int = GOOD_FOR_MS) -> bool:
        return at is None or self._clock() - at >= good_for_ms

    async def _read_bridges(self, spec: vmspec.VmSpec) -> None:
        lacking = {nic.network for nic in spec.nics if nic.plugged and nic.network} - (
            self._all_bridges() or {}
        ).keys()
        if self._is_due(self._bridges_at, LACKING_GOOD_FOR_MS if lacking else GOOD_FOR_MS):
            self._bridges = await self._vdsm.bridges()
            self._bridges_at = self._clock()

    async def _read_domains(self, spec: vmspec.VmSpec) -> None:
        """Once for each: a domain never changes its type."""
        for domain_id in sorted(_domain_ids(spec) - self._is_block.keys()):
            self._is_block[domain_id] = await self._vdsm.is_block_domain(domain_id)

    async def _read_vm_lease(self, spec: vmspec.VmSpec) -> None:
        domain_id = spec.lease_domain_id
        if domain_id is None or not self._is_due(self._vm_lease_at):
            return
        place = await self._vdsm.lease_info(domain_id, spec.vm_id)
        self._vm_lease = vmspec.Lease(
            key=spec.vm_id, lockspace=domain_id, path=str(place.path), offset_bytes=place.offset_bytes
        )
        self._vm_lease_at = self._clock()


def _domain_ids(spec: vmspec.VmSpec) -> frozenset[str]:
    return frozenset(disk.domain_id for disk in spec.plugged_images if disk.domain_id is not None)


def _is_of(lease: vmspec.Lease | None, spec: vmspec.VmSpec) -> bool:
    return lease is not None and (lease.key, lease.lockspace) == (spec.vm_id, spec.lease_domain_id)
