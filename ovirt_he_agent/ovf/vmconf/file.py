"""The whole vm.conf of a VM, as tools that read one find it: comments, the parameters, the domain XML."""

from ovirt_he_agent.ovf import vmparams, vmspec
from ovirt_he_agent.ovf.vmconf import writer


def of(spec: vmspec.VmSpec, xml: str) -> str:
    """The file of the VM ``spec``, which VDSM starts from ``xml``; the same input gives the same text."""
    generation = "unknown" if spec.generation is None else spec.generation
    written = writer.write(vmparams.of(spec, xml))
    return written.with_comments(
        "Made from the engine's OVF of this VM, and made again when that changes.",
        "Change the VM in the engine: what is changed here is lost, and nothing is started from it.",
        f"OVF generation {generation}, exported {spec.export_date or 'unknown'}",
    )
