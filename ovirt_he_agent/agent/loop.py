"""One host's agent: turn the board's evidence into a decision, act on it, publish both."""

import asyncio
import logging
from collections.abc import Callable

from ovirt_he_agent.agent import act, report
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.agent.deployment import Deployment
from ovirt_he_agent.agent.observers import Observers, World
from ovirt_he_agent.agent.own_slot import Identity
from ovirt_he_agent.agent.requests import Requests
from ovirt_he_agent.agent.settings import Settings
from ovirt_he_agent.core import decision, score, snapshot
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.core.state import State
from ovirt_he_agent.errors import HeAgentError

log = logging.getLogger(__name__)

TICK_BUDGET_MS = 500
LAST_WORDS_S = 2.0


class Agent:
    """``run`` it; after every tick ``published`` is called with what can be told to the outside."""

    def __init__(
        self,
        deployment: Deployment,
        settings: Settings,
        world: World,
        *,
        clock: Callable[[], MonotonicMs],
        published: Callable[[report.Told], None],
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
            config_up_to_date=deployment.is_up_to_date,
        )
        identity = Identity(host_name=settings.host_name, policy_hash=score.policy_hash(settings.weights))
        self._observers = Observers(deployment, self.board, settings, world, identity)
        self._definitions = world.definitions
        self._actuator = act.Actuator(
            self.board, self._observers, world.vdsm, world.definitions, self._decide
        )
        self.requests = Requests(
            self.board, world.whiteboard, world.local_maintenance, self._observers.prepared_whiteboard
        )
        self._state = State()
        self._alarms: tuple[str, ...] = ()

    async def run(self) -> None:
        """Until cancelled. The VM is left as it is, and so is the host id lease: whoever comes next on this
        host, this agent or another one, finds it held by the same sanlock."""
        self._state = await self._observers.memory.recall()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._observers.run(), name="observers")
                tasks.create_task(self.requests.run(), name="requests")
                while True:
                    self.board.news.clear()
                    decided = self.tick()
                    self._act(decided, tasks)
                    await self.board.news.wait(self._pause_s(decided))
        finally:
            await self._leave()

    def tick(self) -> decision.Decision:
        """Decide on the evidence at hand and publish the outcome; acts on nothing."""
        now = self._clock()
        self._observers.see_to_definition(now)
        snap = self.board.snapshot()
        before = self._state.phase
        decided = self._decide(self._state, snap, now)
        self._state = decided.state
        if decided.phase is not before:
            log.info(
                "%s -> %s: %s",
                before.value,
                decided.phase.value,
                decided.reason,
                extra={"HE_PHASE": decided.phase.value, "HE_STATE": decided.phase.published},
            )
        self._tell(decided.alarms)
        self._observers.follow(decided)
        self._published(
            report.Report(
                self._deployment,
                snap,
                decided,
                lambda: self._observers.conditions,
                lambda: self._definitions.account,
                now,
            )
        )
        if (took_ms := self._clock() - now) > TICK_BUDGET_MS:
            log.error("a decision took %d ms, its budget is %d ms", took_ms, TICK_BUDGET_MS)
        return decided

    def _decide(self, state: State, snap: snapshot.Snapshot, now: MonotonicMs) -> decision.Decision:
        return decision.decide(
            state, snap, now, rules_of=self._settings.policy, weights=self._settings.weights
        )

    def _act(self, decided: decision.Decision, tasks: asyncio.TaskGroup) -> None:
        given = None
        if decided.command is not None:
            given = self._actuator.take(decided.command)
            carried_out = self._actuator.carry_out(
                given, decided.command, decided.before, self._observers.definition
            )
            tasks.create_task(self._carry_out(carried_out), name="command")
        if decided.heard is not None:
            self.requests.heard(decided.heard, given)

    async def _carry_out(self, carried_out: "act.CarriedOut") -> None:
        self.requests.ended(await carried_out)

    def _tell(self, alarms: tuple[str, ...]) -> None:
        for text in alarms:
            if text not in self._alarms:
                log.warning("%s", text)
        self._alarms = alarms

    async def _leave(self) -> None:
        """The last word on the whiteboard: the agent stopped in order. Nobody waits for it for long."""
        self.board.leaving = True
        self._observers.follow(self._decide(self._state, self.board.snapshot(), self._clock()))
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._observers.last_words()
        except (HeAgentError, TimeoutError) as e:
            log.info(
                "the whiteboard does not say that this agent stopped: %s",
                "no time left" if isinstance(e, TimeoutError) else e,
            )

    def _pause_s(self, decided: decision.Decision) -> float:
        if decided.wake_at is None:
            return self._settings.tick_s
        return min(self._settings.tick_s, max(0.0, (decided.wake_at - self._clock()) / 1000))
