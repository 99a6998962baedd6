"""One thing goes wrong in a cluster at rest: the VM starts again within L1's own bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovirt_he_agent.sim.cluster import lease_volume, play
from ovirt_he_agent.sim.cluster.story import Step, Story
from ovirt_he_agent.sim.cluster.world import Setup
from tests import shortening

pytestmark = pytest.mark.usefixtures("quiet_agents")

REST_S = 80
"""After a host's death, at least 2 T later than its last renewal."""


@st.composite
def clusters(draw: st.DrawFn) -> Setup:
    hosts = draw(st.integers(1, 6))
    return Setup(
        hosts=hosts,
        upstream=draw(st.integers(0, hosts - 1)),
        seed=draw(st.integers(0, 1000)),
        boot_s=draw(st.sampled_from((20.0, 60.0))),
        jitter_ms=draw(st.sampled_from((0, 300))),
    )


@settings(max_examples=40)
@given(
    setup=clusters(),
    at_s=st.floats(150, 400).map(lambda s: round(s, 1)),
    fault=st.sampled_from(("vm crash", "power vm off", "shutdown vm")),
)
def test_the_vm_is_back_in_time(setup: Setup, at_s: float, fault: str) -> None:
    dead_s = lease_volume.dead_s(setup.io_timeout_s, setup.watchdog_s)
    story = Story(setup=setup, steps=(Step(at_s, tuple(fault.split())),), until_s=at_s + dead_s + REST_S)
    outcome = play.play(story, records=False)
    assert not outcome.violations, shortening.told(story, outcome.violations)
