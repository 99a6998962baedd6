"""Random stories, other ones each day: for a minute where CI runs them, for some seconds elsewhere.

The first seed is the day's; the order is that of the seeds, so a slower machine plays fewer of the same.
"""

import os
import time

import pytest

from ovirt_he_agent.sim.cluster import chance, play
from ovirt_he_agent.sim.cluster.story import Story

BUDGET_S = 60.0 if os.environ.get("CI") or os.environ.get("REQUIRE_REAL") else 5.0
SHRINK_S = 30.0


def first_seed() -> int:
    day = time.gmtime()
    return (day.tm_year * 1000 + day.tm_yday) * 1000


def shortest(story: Story, invariant: str) -> Story:
    """As short as half a minute allows."""
    until = time.monotonic() + SHRINK_S

    def breaks(shorter: Story) -> bool:
        if time.monotonic() > until:
            return False
        return any(v.invariant == invariant for v in play.play(shorter, records=False).violations)

    return play.shortest(story, breaks)


@pytest.mark.timeout(300)
def test_the_stories_of_the_day(capsys: pytest.CaptureFixture[str]) -> None:
    seed = first = first_seed()
    until = time.monotonic() + BUDGET_S
    hours = 0.0
    while time.monotonic() < until:
        story = chance.story(seed)
        outcome = play.play(story, records=False)
        hours += outcome.ends_s / 3600
        if outcome.violations:
            broken = "\n".join(map(str, outcome.violations))
            pytest.fail(
                f"{broken}\nthe shortest story found:\n{shortest(story, outcome.violations[0].invariant)}\n"
                f"see: ovirt-he-agent simulate --random --seed {seed}",
                pytrace=False,
            )
        seed += 1
    with capsys.disabled():
        print(f" random stories: seeds {first} to {seed - 1}, {hours:.1f} simulated hours ", end="")
