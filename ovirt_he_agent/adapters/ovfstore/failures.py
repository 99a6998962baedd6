"""Why an OVF_STORE, or a whole domain of them, does not give the document."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.errors import Retryable


@dataclass(eq=False)
class StoreError(Retryable):
    """One store does not give the document."""

    path: Path
    reason: str
    remedy: str
    msg: ClassVar[str] = "{self.path}: {self.reason}; {self.remedy}"


class StoreUnreadable(StoreError):
    """The storage, or its permissions."""


class StoreEmpty(StoreError):
    """Never written, or emptied for an update."""


class StoreDamaged(StoreError):
    """Torn, cut, or another VM's document under this one's name."""


class EntryMissing(StoreError):
    """A whole archive without this VM."""


@dataclass(eq=False)
class StoreChanging(Retryable):
    """The engine kept writing while it was read."""

    volume_id: str
    msg: ClassVar[str] = (
        "OVF_STORE volume {self.volume_id} was updated each time it was read; it is read again at the next "
        "check, nothing needs to be done unless this stays"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A volume that is or says it is an OVF_STORE, and what became of it in this check."""

    image_id: str
    volume_id: str
    updated: bool | None
    last_updated: str | None
    verdict: str


@dataclass(eq=False)
class NoStore(Retryable):
    """No volume of the domain is an OVF_STORE of the domain."""

    domain_id: str
    volumes: int
    candidates: tuple[Candidate, ...]
    unanswered: tuple[Retryable, ...]
    """What VDSM could not be asked about: a store may be among it."""
    msg: ClassVar[str] = (
        "storage domain {self.domain_id} has no OVF_STORE among its {self.volumes} volumes{self.others}; the "
        "engine creates it within an hour after it has taken the domain over: see in the engine that the "
        "domain is active, and that sdUUID in hosted-engine.conf is this domain"
    )

    @property
    def others(self) -> str:
        told = [f"; volume {c.volume_id}: {c.verdict}" for c in self.candidates]
        if self.unanswered:
            told.append(f"; {len(self.unanswered)} could not be asked about: {self.unanswered[0]}")
        return "".join(told)


@dataclass(eq=False)
class NoGoodStore(Retryable):
    """There are several stores, and none gives the document."""

    domain_id: str
    vm_id: str
    candidates: tuple[Candidate, ...]
    remedies: tuple[str, ...]
    """What to do, each said once: two stores are mostly bad in the same way."""
    msg: ClassVar[str] = (
        "no OVF_STORE of storage domain {self.domain_id} gives the OVF of VM {self.vm_id}: {self.verdicts}; "
        "{self.remedy}; `ovirt-he-agent ovf history` shows what is kept here"
    )

    @property
    def verdicts(self) -> str:
        return "; ".join(f"volume {c.volume_id}: {c.verdict}" for c in self.candidates)

    @property
    def remedy(self) -> str:
        return ", and ".join(self.remedies)
