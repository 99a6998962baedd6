"""A domain for VDSM from the VM's own description, for documents that embed none to be used.

Every rule is one of ovirt-engine's (LibvirtVmXmlBuilder) or one that VDSM's
parsing makes necessary (docs/ovf-mapping.md has the fields one by one). What
the OVF holds and the domain does not, and what had to be assumed, is said in
one sentence each.
"""

from lxml import etree

from ovirt_he_agent.ovf import problems, vmspec
from ovirt_he_agent.ovf.generate import (
    addresses,
    boot,
    controllers,
    cpu,
    devices,
    disks,
    drives,
    leases,
    limits,
    machine,
    memory,
    metadata,
    nics,
    platform,
    screens,
)  # fmt: skip
from ovirt_he_agent.ovf.generate.draft import Draft, add
from ovirt_he_agent.ovf.host_facts import HostFacts
from ovirt_he_agent.ovf.value import Value


class Generated(Value):
    """A libvirt domain with VDSM's metadata and placeholders."""

    xml: str
    warnings: tuple[str, ...]
    """Every drop and every assumption, a sentence each."""
    leases: tuple[vmspec.Lease, ...]
    """All that are in ``xml``; a placeholder is a path without an offset."""


def generate(spec: vmspec.VmSpec, host: HostFacts) -> Generated:
    """The domain of the VM ``spec`` on the host that ``host`` tells about.

    Raises ``refusals.CannotGenerate``: a disk would be unprotected or unknown,
    or the host cannot build what the VM must have.
    """
    warnings = problems.Warnings()
    root = etree.Element("domain", type="kvm", nsmap=metadata.NAMESPACES)
    draft = Draft(spec, host, platform.choose(spec, warnings), metadata.start(root), warnings)
    limits.check(draft)
    add(root, "name", _name(draft))
    add(root, "uuid", spec.vm_id)
    memory.add_memory(draft, root)
    cpu.add_cpu(draft, root)
    machine.add_system(draft, root)
    metadata.add_metadata(draft, draft.metadata)
    held = _add_devices(draft, add(root, "devices"))
    root.append(root[0])  # the metadata, which all were adding to: last, as the engine writes it
    return Generated(
        xml=etree.tostring(root, encoding="unicode", pretty_print=True),
        warnings=warnings.texts(),
        leases=held,
    )


def _add_devices(draft: Draft, parent: etree._Element) -> tuple[vmspec.Lease, ...]:
    screens.add_pointer(draft, parent)
    devices.add_agent_channels(draft, parent)
    own = controllers.Controllers(draft)
    arranged = drives.arrange(draft, own.scsi_indexes())
    own.add_to(parent, {drive.bus for drive in arranged})
    devices.add_devices(draft, parent)
    screens.add_sound(draft, parent)
    screens.add_screens(draft, parent)
    nics.add_nics(draft, parent)
    disks.add_drives(draft, parent, arranged)
    held = leases.add_leases(draft, parent, arranged)
    boot.settle(draft)
    controllers.add_pci(draft, parent, addresses.settle(draft))
    return held


def _name(draft: Draft) -> str:
    """libvirt takes no slash and no line break in it, and not only blanks."""
    written = draft.spec.name or ""
    name = written.translate(str.maketrans("/\n\r", "___"))
    if not name.strip():
        draft.warn("The VM has no name: its id is taken.")
        return draft.spec.vm_id
    if name != written:
        draft.warn("The VM's name has characters that libvirt does not take: they are written as _.")
    return name
