"""Architecture, chipset, machine and firmware: what all other parts of a domain depend on.

The OVF does not name the architecture; the guest's operating system does, by
its suffix (ovirt-engine: osinfo-defaults.properties).
"""

from ovirt_he_agent.ovf import problems, record, vmspec
from ovirt_he_agent.ovf.value import Value

Q35, I440FX, PSERIES, S390 = "q35", "i440fx", "pseries", "s390-ccw-virtio"
_DEFAULT_MACHINE = {Q35: "q35", I440FX: "pc", PSERIES: "pseries", S390: "s390-ccw-virtio"}
_UEFI = (vmspec.Bios.Q35_UEFI, vmspec.Bios.Q35_UEFI_SECURE_BOOT)


class Platform(Value):
    arch: str
    """``x86_64``, ``ppc64le``, ``s390x``."""
    chipset: str
    machine: str
    uefi: bool
    secure_boot: bool
    windows: bool

    @property
    def x86(self) -> bool:
        return self.arch == "x86_64"


def choose(spec: vmspec.VmSpec, warnings: problems.Warnings) -> Platform:
    """The platform of the VM; what had to be assumed is added to ``warnings``."""
    guest = (spec.os or "").lower()
    secure_boot = spec.bios is vmspec.Bios.Q35_UEFI_SECURE_BOOT
    if guest.endswith(("ppc64", "ppc64le")):
        arch, wanted, x86 = "ppc64le", PSERIES, False
    elif guest.endswith("s390x"):
        arch, wanted, x86 = "s390x", S390, False
    else:
        arch, wanted, x86 = "x86_64", _x86_chipset(spec), True
        if spec.os is None:
            warnings.add("The OVF names no operating system, which says the architecture: taken as x86_64.")
    chipset, machine = _machine(spec.machine, wanted, secure_boot and x86, warnings)
    return Platform(
        arch=arch,
        chipset=chipset,
        machine=machine,
        uefi=x86 and spec.bios in _UEFI,
        secure_boot=x86 and secure_boot,
        windows=guest.startswith("windows"),
    )


def _x86_chipset(spec: vmspec.VmSpec) -> str:
    """By the BIOS type; documents before 4.3 have none, there the machine's name tells."""
    if spec.bios is not None:
        return I440FX if spec.bios is vmspec.Bios.I440FX_SEABIOS else Q35
    chipsets = {_chipset(name) for name in _alternatives(spec.machine)}
    return Q35 if chipsets == {Q35} else I440FX


def _alternatives(machine: str | None) -> list[str]:
    return [name.strip() for name in (machine or "").split(";") if name.strip()]


def _chipset(machine: str) -> str | None:
    if "q35" in machine:
        return Q35
    if machine == "pc" or machine.startswith(("pc-", "rhel")) or "i440fx" in machine:
        return I440FX
    if machine.startswith("pseries"):
        return PSERIES
    return S390 if machine.startswith("s390-ccw") else None


def _machine(
    written: str | None, wanted: str, secure_boot: bool, warnings: problems.Warnings
) -> tuple[str, str]:
    """Chipset and machine; a machine of the wrong kind gives way only where nothing would start with it."""
    names = _alternatives(written)
    for name in names:
        if _chipset(name) == wanted:
            return wanted, name
    default = _DEFAULT_MACHINE[wanted]
    if not names:
        warnings.add(f"The OVF names no machine (CustomEmulatedMachine): taken as {default}.")
        return wanted, default
    chipset = _chipset(names[0])
    same_arch = chipset in (Q35, I440FX) and wanted in (Q35, I440FX)
    if chipset is not None and same_arch and not secure_boot:
        warnings.add(
            f"The machine {record.shown(names[0])} does not fit the BIOS type, which asks for {wanted}: "
            "the machine is used as written."
        )
        return chipset, names[0]
    warnings.add(f"The machine {record.shown(written or '')} is none of {wanted}: taken as {default}.")
    return wanted, default
