"""The status document of this host's agent, for verbs that need facts of a configured host."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ovirt_he_agent.cli import options
from ovirt_he_agent.control import client
from ovirt_he_agent.errors import NotConfigured


@dataclass(eq=False)
class NotDeployed(NotConfigured):
    reason: str
    msg: ClassVar[str] = "not configured: {self.reason}"


def of(given: options.Options) -> dict[str, Any]:
    """As docs/control.md has it; raises ``NotDeployed``, and what ``client.call`` raises."""
    document: dict[str, Any] = client.call(given.socket, "status")
    if not document["configured"]:
        raise NotDeployed(document["reason"])
    return document
