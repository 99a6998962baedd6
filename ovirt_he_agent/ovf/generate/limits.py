"""Numbers that no host has, which would cost time and memory before libvirt could refuse them."""

from ovirt_he_agent.ovf.generate.draft import Draft

_VCPUS = 4096
_IOTHREADS = 1024
_DEVICES = 1000
_MEMORY_MIB = 1 << 30


def check(draft: Draft) -> None:
    """Raises ``refusals.CannotGenerate``."""
    spec = draft.spec
    for what, value, most in (
        ("vcpus", max(spec.vcpus, spec.max_vcpus or 0), _VCPUS),
        ("I/O threads", spec.iothreads, _IOTHREADS),
        ("disks", len(spec.disks), _DEVICES),
        ("NICs", len(spec.nics), _DEVICES),
        ("devices", len(spec.devices), _DEVICES),
        ("MiB of memory", max(spec.memory_mib, spec.max_memory_mib or 0), _MEMORY_MIB),
    ):
        if value > most:
            draft.refuse(f"it has {value} {what}, more than the {most} that any host has")
