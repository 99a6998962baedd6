"""Hypothesis does deeds to a cluster, any and at any time: no invariant breaks, and it comes to rest."""

from dataclasses import replace

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ovirt_he_agent.sim.cluster import chance, deeds
from ovirt_he_agent.sim.cluster.play import Player
from ovirt_he_agent.sim.cluster.story import Step, Story
from ovirt_he_agent.sim.cluster.world import Setup, World
from tests import shortening

pytestmark = pytest.mark.usefixtures("quiet_agents")

MOST_HOSTS = 4
KINDS = [kind for kind in chance.KINDS if "grade" not in kind.begin]
HOSTS = st.integers(1, MOST_HOSTS)
PAUSES_S = st.sampled_from((0.0, 0.02, 0.3, 1.0, 2.5, 7.0, 20.0, 45.0, 90.0, 150.0))


class AnyDeeds(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.steps: list[Step] = []
        self.mends: list[str] = []
        self.ends_s = 0.0

    @initialize(
        hosts=st.integers(1, MOST_HOSTS),
        upstream=st.integers(0, 1),
        jitter_ms=st.sampled_from((0, 300)),
        boot_s=st.sampled_from((20.0, 60.0)),
    )
    def cluster(self, hosts: int, upstream: int, jitter_ms: int, boot_s: float) -> None:
        setup = Setup(
            hosts=hosts,
            upstream=upstream if hosts > 1 else 0,
            jitter_ms=jitter_ms,
            boot_s=boot_s,
            records=False,
        )
        self.world = world = World(setup)
        self.player = Player(world, Story(setup=setup, steps=(), until_s=150.0))
        self.player.run()

    def do(self, text: str) -> None:
        assert self.world is not None
        words = tuple(text.split())
        self.steps.append(Step(self.world.now_s(), words))
        deeds.do(self.world, words)

    @rule(kind=st.sampled_from(KINDS), here=HOSTS, there=HOSTS, seconds=st.sampled_from((2, 6, 20, 90)))
    def fault(self, kind: chance.Kind, here: int, there: int, seconds: int) -> None:
        assert self.world is not None
        hosts = self.world.setup.hosts
        names = {"h": 1 + here % hosts, "o": 1 + there % hosts, "s": seconds}
        self.do(kind.begin.format(**names))
        if kind.end is not None:
            self.mends.append(kind.end.format(**names))

    @precondition(lambda self: bool(self.mends))
    @rule(which=st.integers(0, 9))
    def mend(self, which: int) -> None:
        self.do(self.mends.pop(which % len(self.mends)))

    @rule(seconds=PAUSES_S)
    def time_passes(self, seconds: float) -> None:
        assert self.world is not None
        self.world.run(seconds)

    @invariant()
    def nothing_broke(self) -> None:
        if self.world is not None:
            self.ends_s = self.world.now_s()
            self.see()

    def see(self) -> None:
        if self.world is not None and self.world.checks.violations:
            pytest.fail(self.told(), pytrace=False)

    def told(self) -> str:
        """What to put into a file for ``ovirt-he-agent simulate``."""
        assert self.world is not None
        setup = replace(self.world.setup, records=True)
        story = Story(setup=setup, steps=tuple(self.steps), until_s=self.ends_s, rest=True)
        return shortening.told(story, self.world.checks.violations)

    def teardown(self) -> None:
        if self.world is None:
            return
        self.ends_s = self.world.now_s()
        try:
            self.player.come_to_rest()
            self.see()
        finally:
            self.world.close()


# a story is made shorter by leaving deeds out: Hypothesis would try other ones, each with its own hour
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
AnyDeeds.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None, phases=PHASES)
TestAnyDeeds = AnyDeeds.TestCase
