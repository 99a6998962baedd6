"""Why a document that can be read gives no definition that may be started; each says what to do."""

from ovirt_he_agent.errors import Refused
from ovirt_he_agent.ovf import problems

_SAVE_IN_ENGINE = (
    "save the VM once in the engine (cluster level 4.2 or later) while it runs, so that the engine "
    "writes a definition with leases into the OVF_STORE"
)


class NotStartable(Refused):
    """The document can be read, but no definition that is safe to start can be had from it."""

    def __init__(self, vm_id: str) -> None:
        super().__init__(vm_id)
        self.vm_id = vm_id


class CannotGenerate(NotStartable):
    """There is no EngineXml of this VM's, and what the OVF itself says is not enough for a domain."""

    msg = (
        "VM {self.vm_id} has no EngineXml that can be used, and no domain can be made of its OVF: "
        "{self.reason}; mend that in the engine, or " + _SAVE_IN_ENGINE
    )

    def __init__(self, vm_id: str, reason: str) -> None:
        super().__init__(vm_id)
        self.reason = reason


class NotStartableHere(NotStartable):
    """The reason lies in this host and not in the document: no other definition of the VM would do."""


class NicsMissing(NotStartableHere):
    """A plugged NIC cannot be built on this host, and the operator has not said to go without."""

    msg = (
        "VM {self.vm_id} would lack a NIC on this host: {self.lacks}; attach the network to this host in the "
        "engine, or allow the start without it (definition.start_without_missing_nics)"
    )

    def __init__(self, vm_id: str, lacks: tuple[str, ...]) -> None:
        super().__init__(vm_id)
        self.lacks = problems.listed(lacks)
