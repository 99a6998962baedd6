"""What a decision may want done to the VM: values, carried out by the agent's act step alone."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StartVm:
    """Start the engine VM by its UUID with the definition of this hash."""

    vm_id: str
    definition_sha256: str


@dataclass(frozen=True, slots=True)
class CleanVdsmEntry:
    """Let VDSM forget the VM's Down record; touches nothing that runs."""

    vm_id: str


@dataclass(frozen=True, slots=True)
class ShutdownVm:
    """Ask the guest to shut down; VDSM waits ``delay_s`` for it."""

    vm_id: str
    delay_s: int
    why: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class DestroyVm:
    """Power the VM off."""

    vm_id: str
    why: str = field(compare=False)


VmCommand = StartVm | CleanVdsmEntry | ShutdownVm | DestroyVm
