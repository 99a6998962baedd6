"""Random stories, other ones each day: for a minute where CI runs them, for some seconds elsewhere.

The first seed is the day's; the order is that of the seeds, so a slower machine plays fewer of the same.
"""

import os
import time
from collections.abc import Callable

import pytest

from ovirt_he_agent.sim.cluster import chance, play
from tests import shortening

pytestmark = pytest.mark.usefixtures("quiet_agents")

BUDGET_S = 60.0 if os.environ.get("CI") or os.environ.get("REQUIRE_REAL") else 5.0


def first_seed() -> int:
    day = time.gmtime()
    return (day.tm_year * 1000 + day.tm_yday) * 1000


@pytest.mark.timeout(300)
def test_the_stories_of_the_day(tell: Callable[[str], None]) -> None:
    seed = first = first_seed()
    until = time.monotonic() + BUDGET_S
    hours = 0.0
    while time.monotonic() < until:
        story = chance.story(seed)
        outcome = play.play(story, records=False)
        hours += outcome.ends_s / 3600
        if outcome.violations:
            again = f"all of it: ovirt-he-agent simulate --random --seed {seed}"
            pytest.fail(shortening.told(story, outcome.violations, again=again), pytrace=False)
        seed += 1
    tell(f"random stories: seeds {first} to {seed - 1}, {hours:.1f} simulated hours")
