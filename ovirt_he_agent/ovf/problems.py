"""What can be wrong with an OVF document: each class says what to do about its kind.

The text names the reason and the remedy; whoever knows the file or the volume
puts its name in front.
"""

from collections.abc import Sequence
from typing import ClassVar

from ovirt_he_agent.errors import BadInput

_MOST_CHARACTERS = 1000
_MOST_WARNINGS = 200
_MOST_UNKNOWN = 50
_MOST_LISTED = 20


def named(text: str | None) -> str:
    """A name or an id out of the document for a message, cut where no engine's name is as long."""
    return (text or "")[:255]


def listed(texts: Sequence[str]) -> str:
    """All of them in one line, or the first ones and how many more there are."""
    more = f"; and {len(texts) - _MOST_LISTED} more" if len(texts) > _MOST_LISTED else ""
    return "; ".join(text[:_MOST_CHARACTERS] for text in texts[:_MOST_LISTED]) + more


class Warnings:
    """What is wrong with a document that can be read all the same: a bounded number of bounded texts."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._more = 0
        self._unknown: set[tuple[str, str]] = set()

    def add(self, text: str) -> None:
        if len(self._texts) < _MOST_WARNINGS:
            self._texts.append(text[:_MOST_CHARACTERS])
        else:
            self._more += 1

    def unknown(self, where: str, what: str) -> None:
        """Something that no engine writes there; said once, however often it stands there."""
        if (where, what) in self._unknown:
            return
        if len(self._unknown) < _MOST_UNKNOWN:
            self._unknown.add((where, what))
            self.add(f"{where}: {named(what)} is not known; it is left aside")
        else:
            self._more += 1

    def texts(self) -> tuple[str, ...]:
        """In the order in which they were found; the last one counts those that are not listed."""
        if self._more:
            return (*self._texts, f"{self._more} more warnings are not listed")
        return tuple(self._texts)


class BadDocument(BadInput):
    """The document cannot be read, for ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason[:_MOST_CHARACTERS]

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
