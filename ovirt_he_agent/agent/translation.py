"""A document made into a definition: anew when the document or this host has changed, not otherwise."""

import logging
from typing import Protocol

from ovirt_he_agent.errors import HeAgentError
from ovirt_he_agent.ovf import document, domainxml, host_facts, vmspec

log = logging.getLogger(__name__)


class Host(Protocol):
    """Who knows what a definition depends on beside its document."""

    async def of(self, spec: vmspec.VmSpec) -> host_facts.HostFacts: ...


class Translator:
    """Remembers the last document and what became of it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._document: bytes | None = None
        self._spec: vmspec.VmSpec | HeAgentError | None = None
        self._facts: host_facts.HostFacts | None = None
        self._made: domainxml.Definition | HeAgentError | None = None

    async def definition(self, data: bytes) -> domainxml.Definition | HeAgentError:
        """What ``data`` gives on this host: the same object as long as nothing has changed."""
        if self._spec is None or data != self._document:
            self._document, self._spec, self._made = data, _read(data), None
        if isinstance(self._spec, HeAgentError):
            return self._spec
        facts = await self._host.of(self._spec)
        if self._made is None or facts != self._facts:
            if self._made is not None:
                log.info("this host is not as it was: the definition is made again")
            self._facts, self._made = facts, _define(self._spec, facts)
        return self._made


def _read(data: bytes) -> vmspec.VmSpec | HeAgentError:
    try:
        return document.read(data)
    except HeAgentError as e:
        return e


def _define(spec: vmspec.VmSpec, facts: host_facts.HostFacts) -> domainxml.Definition | HeAgentError:
    try:
        return domainxml.define(spec, facts)
    except HeAgentError as e:
        return e
