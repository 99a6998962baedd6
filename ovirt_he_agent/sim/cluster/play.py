"""Plays a story: deeds at their times, what must be so, and the invariants after every step.

At the end of a random story everything is mended, and then the cluster must come to rest:
one VM, its engine good, every host in standby or running, every slot young.
"""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ovirt_he_agent.core.decision import Decision
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.sim.cluster import deeds, musts, timeline
from ovirt_he_agent.sim.cluster.checks import Violation
from ovirt_he_agent.sim.cluster.clock import Livelock
from ovirt_he_agent.sim.cluster.patrol import Patrol
from ovirt_he_agent.sim.cluster.promptness import Promptness
from ovirt_he_agent.sim.cluster.story import Step, Story
from ovirt_he_agent.sim.cluster.world import Line, World

SLOT_AGE_S = 12.0
PATROL_S = 15.0
"""Between two looks at what must hold all the time."""
MENDED_S = 90.0
"""A host that boots again, or has its storage back, takes so long and 2 T until it is one of the others."""
IN_FLIGHT_S = 20.0
"""The longest that a write of maintenance is under way, by upstream's broker."""
STUCK_S = 600 + 150
ROUNDS = 2
"""So often, at most, the VM is stopped and started again while a cluster comes to rest (L7)."""
REST_S = 120.0
"""Of quiet after the VM's engine is good, before the cluster has to be at rest."""


@dataclass
class Outcome:
    story: Story
    violations: list[Violation]
    lines: list[Line]
    starts: list[tuple[float, int, str]]
    """(seconds, host, by whom) of every start of the VM."""
    outage_s: float
    """Without a good engine, from the first time that it was good."""
    ends_s: float
    rows: Mapping[int, tuple[timeline.Span, ...]] = field(repr=False)
    decisions: Mapping[int, Decision] = field(repr=False)
    """The hosts' last ones; with a violation, those before the first."""

    @property
    def ok(self) -> bool:
        return not self.violations


def play(
    story: Story, *, records: bool = True, rest: bool = False, progress: Callable[[float], None] | None = None
) -> Outcome:
    """``rest``: after the story everything is mended, and the cluster must come to rest.

    ``progress`` is told the story's time, in seconds, now and then. Raises ``deeds.BadDeed``.
    """
    world = World(replace(story.setup, records=records))
    player = Player(world, story, progress)
    try:
        _play(player, world, rest=rest or story.rest)
        return _outcome(world, story, player.first_good_s)
    finally:
        world.close()


def _play(player: "Player", world: World, *, rest: bool) -> None:
    try:
        player.run()
        if rest:
            player.come_to_rest()
    except Livelock as e:
        world.checks.broken("L4", None, str(e))


def _outcome(world: World, story: Story, first_good_s: float | None) -> Outcome:
    return Outcome(
        story=story,
        violations=world.checks.violations,
        lines=world.lines,
        starts=[(ms / 1000, qemu.number, qemu.started_by) for ms, qemu in world.starts],
        outage_s=world.outage_s(first_good_s) if first_good_s is not None else world.now_s(),
        ends_s=world.now_s(),
        rows=world.timeline.rows(world.now_s()),
        decisions=world.checks.at_first or world.checks.decisions(),
    )


class Player:
    """Plays ``story`` in ``world``; what breaks is noted by the world's checks. Raises ``deeds.BadDeed``."""

    def __init__(self, world: World, story: Story, progress: Callable[[float], None] | None = None) -> None:
        self._world = world
        self._progress = progress
        self._story = story
        self._watch = Patrol(world)
        self._prompt = Promptness(world)
        self.first_good_s: float | None = None

    def run(self) -> None:
        """From the beginning to the story's end."""
        world = self._world
        world.first_good = self._note_good
        for host in world.hosts.values():
            if host.number not in self._story.off:
                host.boot()
        self._prompt.begin(off=bool(self._story.off))
        for step in self._story.steps:
            world.at(step.at_s, lambda step=step: self._do(step))  # type: ignore[misc]
        world.at(60.0, self._patrol)
        world.loop.run_until_ms(int(self._story.until_s * 1000))

    def _note_good(self) -> None:
        if self.first_good_s is None:
            self.first_good_s = self._world.now_s()

    def _do(self, step: Step) -> None:
        if step.words[0] != "must":
            self._prompt.did(lambda: deeds.do(self._world, step.words))
            return
        try:
            musts.check(self._world, step.words[1:])
        except (ValueError, IndexError, KeyError) as e:
            raise deeds.BadDeed(str(step), f"{type(e).__name__}: {e}") from e

    # what must hold all the time

    def _patrol(self) -> None:
        world = self._world
        world.at(world.now_s() + PATROL_S, self._patrol)
        if self._progress is not None:
            self._progress(world.now_s())
        self._watch.look()
        for host in world.hosts.values():
            agent = host.agent
            if host.upstream or agent is None or not agent.alive or agent.owner.frozen:
                continue
            if host.running_for_s() < 60 or not host.writes_well_for_s(PATROL_S + SLOT_AGE_S):
                continue
            if (age_s := world.checks.slots.age_s(host)) <= SLOT_AGE_S:
                continue
            decision = world.checks.decisions().get(host.number)
            if decision is None or host.may_be_off_storage:
                continue
            if decision.published is not None:
                world.checks.broken("L8", host, f"its slot is {age_s:.0f} s old although the storage works")

    def come_to_rest(self) -> None:
        """Mend everything, and see whether the cluster becomes one that serves its engine."""
        world = self._world
        deeds.do(world, ["heal"])
        began_ms = world.loop.now_ms()
        setup = self._story.setup
        dead_s = 8 * setup.io_timeout_s + setup.watchdog_s
        start_s: float = dead_s + 2 * setup.io_timeout_s + 120 + 12 * setup.hosts + 60
        if setup.upstream:
            start_s += (
                700  # an old agent may be in its ten minutes of score 0, or wait for a lease in libvirt
            )
        # one that hangs before it was ever good has its time to start, and then to shut down
        start_s += STUCK_S
        deadline_s = world.now_s() + start_s + setup.boot_s + REST_S
        world.run(IN_FLIGHT_S)
        if world.checks.slots.global_on_ms is not None:  # whoever asked for it was not done yet
            world.write_global(False)
        world.run(MENDED_S + 2 * setup.io_timeout_s - IN_FLIGHT_S)
        while world.now_s() < deadline_s:
            world.run(10)
            if self._is_under_way():
                continue
            if world.good_since_ms is not None and world.loop.now_ms() - world.good_since_ms > REST_S * 1000:
                break
        starts = sum(ms >= began_ms for ms, _ in world.starts)
        if starts > 1 + ROUNDS:
            world.checks.broken("L7", None, f"everything is mended, and the VM is started {starts} times")
        self._at_rest()

    def _is_under_way(self) -> bool:
        """What began before all was mended, and has its time."""
        world = self._world
        if any(not h.powered or h.clock() - h.uptime_ms < REST_S * 500 for h in world.hosts.values()):
            return True  # a watchdog had been wound up
        if any(d.phase in (Phase.STOPPING, Phase.KILLING) for d in world.checks.decisions().values()):
            return True
        # five minutes beside upstream's hosts
        return any(qemu.paused for qemu in world.qemus) and not _unprotected(world)

    def _at_rest(self) -> None:
        world = self._world
        if world.running is None:
            world.checks.broken("L1", None, "everything is mended, and the VM is not started")
        elif world.good_since_ms is None:
            world.checks.broken("L3", None, "everything is mended, and the engine does not become good")
        world.checks.twice_running()
        for number, decision in world.checks.decisions().items():
            host = world.hosts[number]
            if host.upstream or host.agent is None:
                continue
            if decision.phase is Phase.SICK and _unprotected(world):
                continue  # a paused VM beside one without a lease: nobody may judge between the two
            if decision.phase not in (Phase.STANDBY, Phase.RUNNING, Phase.COOLDOWN):
                world.checks.broken("L3", host, f"is {decision.phase.value} at rest: {decision.reason}")


def _unprotected(world: World) -> bool:
    """A VM runs without a lease: upstream starts such a definition."""
    return any(qemu.runs and not qemu.has_lease for qemu in world.qemus)


def shortest(story: Story, broken: Callable[[Story], bool]) -> Story:
    """The story with as few steps as still break it: pieces are taken out until none can be."""
    steps = list(story.steps)
    size = max(1, len(steps) // 2)
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if broken(replace(story, steps=tuple(fewer))):
                steps = fewer
            else:
                at += size
        size //= 2
    return replace(story, steps=tuple(steps))


def quick() -> None:
    """Simulations make and drop many small objects; collecting them often costs a fifth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def log_of(lines: Sequence[Line]) -> str:
    return "".join(f"{line}\n" for line in lines)
