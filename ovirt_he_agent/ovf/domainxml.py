"""A VM's definition: the domain XML that VDSM gets, and what has to be true before it may be sent.

An EngineXml that protects every disk goes as it is, one that lacks only that or
was made for another host is repaired; where there is none of this VM's, or VDSM
would refuse it or skip a part of it, the domain is generated. safety: VDSM adds
no lease by itself, so a definition without one would let two hosts run the
engine VM on the same disk.
"""

import enum

from ovirt_he_agent.ovf import generate, problems, repair, vmspec
from ovirt_he_agent.ovf.host_facts import HostFacts
from ovirt_he_agent.ovf.value import Value


class Made(enum.StrEnum):
    """How the domain XML came about."""

    AS_IS = "the engine's own"
    REPAIRED = "the engine's own, repaired"
    GENERATED = "generated from the OVF"


class Volume(Value):
    """A leaf volume that the VM opens; an ``exclusive`` one has its lease among the definition's."""

    domain_id: str | None
    image_id: str
    volume_id: str
    exclusive: bool


class Definition(Value):
    """What ``VM.create`` gets, and what the rules for a start ask about it."""

    vm_id: str
    name: str | None
    xml: str
    made: Made
    reason: str | None
    """Why the engine's own domain did not go as it is; None if it does."""
    warnings: tuple[str, ...]
    """What was added, dropped or assumed on the way; the document's own warnings are not among them."""
    volumes: tuple[Volume, ...]
    leases: tuple[vmspec.Lease, ...]
    """Every lease in ``xml``, a VM lease (key ``vm_id``) too: all must be free before a start."""
    memory_mib: int
    generation: int | None
    export_date: str | None


def define(spec: vmspec.VmSpec, host: HostFacts) -> Definition:
    """The definition of the VM ``spec`` for the host that ``host`` tells about.

    Raises a ``refusals.NotStartable`` that names the reason.
    """
    embedded = spec.engine_xml
    if embedded is None:
        return _generated(spec, host, "the document has no EngineXml")
    if not embedded.well_formed:
        return _generated(spec, host, "its EngineXml is not well formed")
    if not embedded.ours:
        return _generated(spec, host, f"its EngineXml is another VM's, its uuid is {embedded.uuid}")
    try:
        fitted = repair.fit(spec, embedded.text, host)
    except repair.Unfit as e:
        return _generated(spec, host, f"VDSM would not start its EngineXml as it is meant: {e}")
    made = Made.REPAIRED if fitted.repairs else Made.AS_IS
    return _definition(
        spec, fitted.xml, made, problems.listed(fitted.repairs) or None, fitted.warnings, fitted.leases
    )


def _generated(spec: vmspec.VmSpec, host: HostFacts, reason: str) -> Definition:
    made = generate.generate(spec, host)
    return _definition(spec, made.xml, Made.GENERATED, reason, made.warnings, made.leases)


def _definition(
    spec: vmspec.VmSpec,
    xml: str,
    made: Made,
    reason: str | None,
    warnings: tuple[str, ...],
    leases: tuple[vmspec.Lease, ...],
) -> Definition:
    return Definition(
        vm_id=spec.vm_id,
        name=spec.name,
        xml=xml,
        made=made,
        reason=reason,
        warnings=warnings,
        volumes=tuple(
            Volume(
                domain_id=disk.domain_id,
                image_id=disk.image_id,
                volume_id=disk.volume_id,
                exclusive=not disk.shareable,
            )
            for disk in spec.plugged_images
            if disk.snapshot_id is None  # no definition has it
        ),
        leases=leases,
        memory_mib=spec.memory_mib,
        generation=spec.generation,
        export_date=spec.export_date,
    )
