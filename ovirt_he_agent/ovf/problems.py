"""What can be wrong with an OVF document: each class says what to do about its kind.

The text names the reason and the remedy; whoever knows the file or the volume
puts its name in front.
"""

from typing import ClassVar

from ovirt_he_agent.errors import BadInput


class BadDocument(BadInput):
    """The document cannot be read, for ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    remedy: ClassVar[str] = (
        "save the VM in the engine (any edit will do), so that the engine writes its OVF again, and read that"
    )
    msg: ClassVar[str] = "{self.reason}; {self.remedy}"


class Damaged(BadDocument):
    """The bytes are no whole XML document: cut, torn, or in another encoding than they declare."""

    remedy = "this copy is damaged: take the VM's entry in the domain's other OVF_STORE"


class Hostile(BadDocument):
    """Something that no engine writes and that no reader should follow."""

    remedy = "no engine writes that: find out where this file comes from, take the OVF from an OVF_STORE"


class NotOvf(BadDocument):
    """Well-formed XML, but not the engine's OVF of a VM."""

    remedy = "give an OVF document as the engine writes it into an OVF_STORE"


class IsTemplate(BadDocument):
    """The OVF of a template: there is nothing to start."""

    remedy = "give the OVF of a VM"
