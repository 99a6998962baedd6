"""The error tree: few classes, each a *reaction*; fields carry the facts, the text says what to do.

A concrete error is a class below one of the reactions, mostly a dataclass; its
``msg`` is a ``str.format`` template over its own fields (``{self.path}``). Foreign
exceptions are mapped to these once, in the adapter, with ``raise ... from``.
"""

import enum
from typing import ClassVar


class ExitCode(enum.IntEnum):
    """What the command returns (documented in docs/operators.md)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_CONFIGURED = 3
    AGENT_NOT_REACHABLE = 4
    REFUSED = 5


class HeAgentError(Exception):
    """Base of all errors of this project; never raised itself.

    ``str(error)`` is one line: what is wrong, where, and what to do.
    """

    msg: ClassVar[str] = ""
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __str__(self) -> str:
        return " ".join(self.msg.format(self=self).split())


class Retryable(HeAgentError):
    """The world may heal: keep the component degraded, try again later."""


class OutcomeUnknown(Retryable):
    """A command may or may not have taken effect: read the state before anything else, never repeat it."""


class Rejected(HeAgentError):
    """The other side looked at what it was given and turned it down: the same once more would be, too."""


class NotThere(HeAgentError):
    """What was asked about does not exist (any more), says who would know."""


class Refused(HeAgentError):
    """This action must not be done: refused for safety, trying again changes nothing."""

    exit_code = ExitCode.REFUSED


class BadInput(HeAgentError):
    """Something that we were given is wrong and stays wrong until somebody mends it."""


class NotConfigured(BadInput):
    """Our configuration, or the host's deployment, is missing or contradicts itself."""

    exit_code = ExitCode.NOT_CONFIGURED


class AgentNotReachable(HeAgentError):
    """The agent's socket does not answer."""

    exit_code = ExitCode.AGENT_NOT_REACHABLE
