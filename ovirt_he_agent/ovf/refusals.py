"""Why a document that can be read gives no definition that may be started; each says what to do."""

from ovirt_he_agent.errors import Refused

_SAVE_IN_ENGINE = (
    "save the VM once in the engine (cluster level 4.2 or later) while it runs, so that the engine "
    "writes a definition with leases into the OVF_STORE"
)


class NotStartable(Refused):
    """The document can be read, but no definition that is safe to start can be had from it."""

    def __init__(self, vm_id: str) -> None:
        super().__init__(vm_id)
        self.vm_id = vm_id


class NoEngineXml(NotStartable):
    """Not the engine's own VM, or written by an engine before 4.2.1 or for a cluster below 4.2."""

    msg = "VM {self.vm_id} has no EngineXml, so there is no domain to start; {self.remedy}"

    def __init__(self, vm_id: str, hosted_engine: bool) -> None:
        super().__init__(vm_id)
        self.hosted_engine = hosted_engine

    @property
    def remedy(self) -> str:
        return (
            _SAVE_IN_ENGINE
            if self.hosted_engine
            else "its Origin says that it is not the engine VM: check the id"
        )


class EngineXmlNotWellFormed(NotStartable):
    """The embedded text is cut or torn."""

    msg = "the EngineXml of VM {self.vm_id} is not well formed; " + _SAVE_IN_ENGINE


class EngineXmlOfAnotherVm(NotStartable):
    """VDSM takes the id from this text: sending it would start that other VM."""

    msg = "the EngineXml of VM {self.vm_id} is not its own, its uuid is {self.uuid}; " + _SAVE_IN_ENGINE

    def __init__(self, vm_id: str, uuid: str | None) -> None:
        super().__init__(vm_id)
        self.uuid = uuid


class EngineXmlUnprotected(NotStartable):
    """A disk is not exclusive or has no lease."""

    msg = "the EngineXml of VM {self.vm_id} would start it unprotected: {self.reasons}; " + _SAVE_IN_ENGINE

    def __init__(self, vm_id: str, unprotected: tuple[str, ...]) -> None:
        super().__init__(vm_id)
        self.reasons = "; ".join(unprotected)
