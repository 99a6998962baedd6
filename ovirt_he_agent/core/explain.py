"""From a decision's trace to plain sentences: why the engine is here, or is not, and until when."""

from typing import Any

from ovirt_he_agent.core.decision import Decision


def document(decided: Decision) -> dict[str, Any]:
    """For the socket and the command."""
    return {
        "sentences": [decided.reason],
        "trace": [{"name": c.name, "holds": c.holds, "detail": c.detail} for c in decided.trace],
    }
