"""One host's agent: turn the board's evidence into a decision, act on it, publish both."""

import asyncio
import logging
from collections.abc import Callable

from ovirt_he_agent.agent import act, report
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.agent.deployment import Deployment
from ovirt_he_agent.agent.observers import Observers, World
from ovirt_he_agent.agent.settings import Settings
from ovirt_he_agent.core import decision
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.core.state import Phase, State
from ovirt_he_agent.core.whereabouts import Place

log = logging.getLogger(__name__)

TICK_BUDGET_MS = 500
_CALM = {Phase.RUNNING, Phase.FROZEN, Phase.LOCAL}
"""Phases in which nothing is about to be decided: look at the calm pace."""


class Agent:
    """``run`` it; after every tick ``published`` is called with the documents for the outside."""

    def __init__(
        self,
        deployment: Deployment,
        settings: Settings,
        world: World,
        *,
        clock: Callable[[], MonotonicMs],
        published: Callable[[report.Report], None],
    ) -> None:
        self._deployment = deployment
        self._settings = settings
        self._clock = clock
        self._published = published
        self.board = Board(
            host_id=deployment.host_id,
            vm_id=deployment.vm_id,
            deployed_lease=deployment.deployed_lease,
            clock=clock,
        )
        self._observers = Observers(deployment, self.board, settings, world)
        self._definitions = world.definitions
        self._actuator = act.Actuator(self.board, self._observers, world.vdsm, world.definitions)
        self._state = State()

    async def run(self) -> None:
        """Until cancelled. The VM is left as it is, and so is the host id lease."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._observers.run(), name="observers")
            while True:
                self.board.news.clear()
                decided = self.tick()
                definition = self._observers.definition
                if decided.command is not None and definition is not None:
                    given = self._actuator.take(decided.command)
                    tasks.create_task(
                        self._actuator.carry_out(given, decided.command, decided.state, definition),
                        name="command",
                    )
                await self._news_or(self._pause_s(decided))

    def tick(self) -> decision.Decision:
        """Decide on the evidence at hand and publish the outcome; acts on nothing."""
        now = self._clock()
        self._observers.see_to_definition(now)
        snap = self.board.snapshot()
        before = self._state.phase
        decided = decision.decide(self._state, snap, now)
        self._state = decided.state
        after = decided.state.phase
        if after is not before:
            log.info(
                "%s -> %s: %s",
                before.value,
                after.value,
                decided.reason,
                extra={"HE_PHASE": after.value, "HE_STATE": after.published},
            )
        calm = decided.state.phase in _CALM or decided.verdict.place is Place.ELSEWHERE
        self._observers.alert = not calm
        self._published(
            report.of(
                self._deployment, snap, decided, self._observers.conditions, self._definitions.account, now
            )
        )
        if (took_ms := self._clock() - now) > TICK_BUDGET_MS:
            log.error("a decision took %d ms, its budget is %d ms", took_ms, TICK_BUDGET_MS)
        return decided

    def _pause_s(self, decided: decision.Decision) -> float:
        if decided.wake_at is None:
            return self._settings.tick_s
        return min(self._settings.tick_s, max(0.0, (decided.wake_at - self._clock()) / 1000))

    async def _news_or(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self.board.news.wait()
        except TimeoutError:
            pass
