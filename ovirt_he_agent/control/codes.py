"""Codes of error answers that are our own (docs/control.md); JSON-RPC's are below -32000.

The first three are the exit codes of the command that asks.
"""

from ovirt_he_agent.errors import ExitCode, HeAgentError, NotConfigured, OutcomeUnknown, Refused

FAILED = int(ExitCode.FAILED)
NOT_CONFIGURED = int(ExitCode.NOT_CONFIGURED)
REFUSED = int(ExitCode.REFUSED)
NOT_ALLOWED = 6
"""This user may not change anything."""
OUTCOME_UNKNOWN = 7
"""It may or may not have taken effect."""


def of(error: HeAgentError) -> int:
    """For an error that the agent answers with."""
    match error:
        case Refused():
            return REFUSED
        case NotConfigured():
            return NOT_CONFIGURED
        case OutcomeUnknown():
            return OUTCOME_UNKNOWN
        case _:
            return FAILED
