"""The state on disk: read once at the start, written when what survives a restart has changed."""

import asyncio
import logging
from collections.abc import Callable

from ovirt_he_agent.agent import ports
from ovirt_he_agent.core import state_file
from ovirt_he_agent.core.state import State
from ovirt_he_agent.errors import HeAgentError

log = logging.getLogger(__name__)

SAVE_LIMIT_S = 2.0
"""Neither the start of the agent nor a command waits longer for the disk."""


class Memory:
    """``keep`` the newest state; ``save`` is the work of a component."""

    def __init__(self, file: ports.StateFile, poke: Callable[[], None]) -> None:
        """``poke``: have ``save`` called soon."""
        self._file = file
        self._poke = poke
        self._kept = State()
        self._durable = State()
        self._written: State | None = None

    async def recall(self) -> State:
        """The state to go on with: a fresh one when nothing good was kept."""
        try:
            async with asyncio.timeout(SAVE_LIMIT_S):
                data = await self._file.read()
        except (HeAgentError, TimeoutError) as e:
            log.warning("the kept state cannot be read, starting with a fresh one: %s", e)
            return State()
        if data is None:
            return State()
        try:
            state = state_file.decode(data, self._file.boot_id)
        except state_file.BadState as e:
            log.warning("the kept state is not used, starting with a fresh one: %s", e)
            return State()
        self._kept = self._durable = self._written = state
        return state

    def keep(self, state: State) -> None:
        if state is self._kept:
            return
        self._kept = state
        durable = state_file.durable(state)
        if durable != self._durable:
            self._durable = durable
            self._poke()

    async def save(self) -> None:
        """Raises what the file raises."""
        state = self._durable
        if state == self._written:
            return
        await self._file.write(state_file.encode(state, self._file.boot_id))
        self._written = state

    async def save_now(self) -> None:
        """Before a command: within a limit; a disk that does not play along is told by the component."""
        try:
            async with asyncio.timeout(SAVE_LIMIT_S):
                await self.save()
        except (HeAgentError, TimeoutError):
            self._poke()
