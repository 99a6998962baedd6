"""A VM's definition: the domain XML that VDSM gets, and what has to be true before it may be sent.

An EngineXml that protects every disk goes as it is; all else is refused here
with the reason. safety: VDSM adds no lease by itself, so a definition without
one would let two hosts run the engine VM on the same disk.
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from ovirt_he_agent.errors import Refused
from ovirt_he_agent.ovf import vmspec

_SAVE_IN_ENGINE = (
    "save the VM once in the engine (cluster level 4.2 or later) while it runs, so that the engine "
    "writes a definition with leases into the OVF_STORE"
)


@dataclass(eq=False)
class NotStartable(Refused):
    """The document can be read, but no definition that is safe to start can be had from it."""

    vm_id: str


@dataclass(eq=False)
class NoEngineXml(NotStartable):
    """Not the engine's own VM, or written by an engine before 4.2.1 or for a cluster below 4.2."""

    hosted_engine: bool
    msg: ClassVar[str] = "VM {self.vm_id} has no EngineXml, so there is no domain to start; {self.remedy}"

    @property
    def remedy(self) -> str:
        return (
            _SAVE_IN_ENGINE
            if self.hosted_engine
            else "its Origin says that it is not the engine VM: check the id"
        )


@dataclass(eq=False)
class EngineXmlNotWellFormed(NotStartable):
    """The embedded text is cut or torn."""

    msg: ClassVar[str] = "the EngineXml of VM {self.vm_id} is not well formed; " + _SAVE_IN_ENGINE


@dataclass(eq=False)
class EngineXmlOfAnotherVm(NotStartable):
    """VDSM takes the id from this text: sending it would start that other VM."""

    uuid: str | None
    msg: ClassVar[str] = (
        "the EngineXml of VM {self.vm_id} is not its own, its uuid is {self.uuid}; " + _SAVE_IN_ENGINE
    )


@dataclass(eq=False)
class EngineXmlUnprotected(NotStartable):
    """A disk is not exclusive or has no lease."""

    unprotected: tuple[str, ...]
    msg: ClassVar[str] = (
        "the EngineXml of VM {self.vm_id} would start it unprotected: {self.reasons}; " + _SAVE_IN_ENGINE
    )

    @property
    def reasons(self) -> str:
        return "; ".join(self.unprotected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A leaf volume that the VM opens; an ``exclusive`` one has its lease among the definition's."""

    domain_id: str | None
    image_id: str
    volume_id: str
    exclusive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What ``VM.create`` gets, and what the rules for a start ask about it."""

    vm_id: str
    name: str | None
    xml: str
    volumes: tuple[Volume, ...]
    leases: tuple[vmspec.Lease, ...]
    """Every lease in ``xml``, a VM lease (key ``vm_id``) too: all must be free before a start."""
    memory_mib: int
    generation: int | None
    export_date: str | None
    sha256: str
    """Of the document, in hexadecimal digits."""


def define(spec: vmspec.VmSpec, document: bytes) -> Definition:
    """The definition of the VM ``spec``, read from ``document``.

    Raises a ``NotStartable`` that names the reason.
    """
    embedded = spec.engine_xml
    if embedded is None:
        raise NoEngineXml(spec.vm_id, spec.hosted_engine)
    if not embedded.well_formed:
        raise EngineXmlNotWellFormed(spec.vm_id)
    if not embedded.ours:
        raise EngineXmlOfAnotherVm(spec.vm_id, embedded.uuid)
    if not embedded.usable:
        raise EngineXmlUnprotected(spec.vm_id, embedded.unprotected)
    return Definition(
        vm_id=spec.vm_id,
        name=spec.name,
        xml=embedded.text,
        volumes=tuple(
            Volume(
                domain_id=disk.domain_id,
                image_id=disk.image_id,
                volume_id=disk.volume_id,
                exclusive=not disk.shareable,
            )
            for disk in spec.plugged_images
        ),
        leases=embedded.leases,
        memory_mib=spec.memory_mib,
        generation=spec.generation,
        export_date=spec.export_date,
        sha256=hashlib.sha256(document).hexdigest(),
    )
