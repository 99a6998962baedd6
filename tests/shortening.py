"""A story that breaks an invariant, made as short as half a minute allows, and how to see it again."""

import time
from collections.abc import Sequence

from ovirt_he_agent.sim.cluster import play
from ovirt_he_agent.sim.cluster.checks import Violation
from ovirt_he_agent.sim.cluster.story import Story

SHORTEN_S = 30.0


def told(story: Story, violations: Sequence[Violation], *, again: str = "") -> str:
    """What to print; ``again``: the command that plays the whole story."""
    broken = "\n".join(map(str, violations))
    shorter = _shortest(story, violations[0].invariant)
    if shorter is None:
        text = f"played again it does not break; the story was:\n{story}"
    else:
        text = f"the shortest story found, for ovirt-he-agent simulate:\n{shorter}"
    return f"{broken}\n{text}{again}"


def _shortest(story: Story, invariant: str) -> Story | None:
    until = time.monotonic() + SHORTEN_S

    def breaks(shorter: Story) -> bool:
        if time.monotonic() > until:
            return False
        return any(v.invariant == invariant for v in play.play(shorter, records=False).violations)

    return play.shortest(story, breaks) if breaks(story) else None
