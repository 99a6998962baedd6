"""From the OVF_STORE's document to a startable definition; checked when it changes, not when it is needed."""

import hashlib
import logging
from dataclasses import dataclass
from typing import ClassVar, Protocol

from ovirt_he_agent.core import snapshot
from ovirt_he_agent.errors import BadInput, HeAgentError
from ovirt_he_agent.ovf import document, domainxml, host_facts

log = logging.getLogger(__name__)


class Reading(Protocol):
    """The VM's document as it stands in the store that counts."""

    @property
    def volume_id(self) -> str: ...
    @property
    def last_updated(self) -> str | None: ...
    @property
    def document(self) -> bytes: ...
    @property
    def older_than(self) -> int | None:
        """The highest generation seen before, if this one is lower."""
        ...


class Store(Protocol):
    async def check(self) -> Reading:
        """One small read while nothing has changed."""
        ...


@dataclass(eq=False)
class Unusable(BadInput):
    """The store gives the document, but nothing can be started from it."""

    volume_id: str
    reason: str
    msg: ClassVar[str] = "the OVF in OVF_STORE volume {self.volume_id} cannot be started: {self.reason}"


@dataclass(frozen=True, slots=True)
class Startable:
    facts: snapshot.Definition
    domain_xml: str


class Definitions:
    """Remembers the translation of the last document; a document is translated once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._document: bytes | None = None
        self._outcome: domainxml.Definition | HeAgentError | None = None

    async def current(self) -> Startable:
        """The definition for the next start.

        Raises ``Unusable`` with the reason, and what the store raises.
        """
        reading = await self._store.check()
        if self._outcome is None or reading.document != self._document:
            self._document, self._outcome = reading.document, _translate(reading.document)
            if reading.older_than is not None:
                log.warning(
                    "OVF_STORE volume %s holds an older generation of the VM than %d, which was seen before",
                    reading.volume_id,
                    reading.older_than,
                )
        if isinstance(self._outcome, HeAgentError):
            raise Unusable(reading.volume_id, str(self._outcome)) from self._outcome
        return Startable(_facts(self._outcome, reading), self._outcome.xml)


def _translate(data: bytes) -> domainxml.Definition | HeAgentError:
    try:
        return domainxml.define(document.read(data), host_facts.UNKNOWN)
    except HeAgentError as e:
        return e


def _facts(definition: domainxml.Definition, reading: Reading) -> snapshot.Definition:
    source = f"OVF_STORE volume {reading.volume_id}, updated {reading.last_updated}"
    if reading.older_than is not None:
        source += f", OLDER than generation {reading.older_than} seen before"
    return snapshot.Definition(
        vm_id=definition.vm_id,
        name=definition.name or definition.vm_id,
        sha256=hashlib.sha256(reading.document).hexdigest(),
        generation=definition.generation,
        memory_mib=definition.memory_mib,
        leases=tuple(
            snapshot.LeaseRef(
                domain_id=volume.domain_id, image_id=volume.image_id, volume_id=volume.volume_id
            )
            for volume in definition.volumes
            if volume.exclusive and volume.domain_id is not None
        ),
        source=source,
    )
