"""Runs an agent for this host's deployment, anew whenever hosted-engine.conf changes.

A host that is not (yet, or no longer rightly) configured has no agent: the
daemon stays up, says so, and looks at the file again when it changes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from ovirt_he_agent.agent import report
from ovirt_he_agent.agent.deployment import Deployment
from ovirt_he_agent.errors import NotConfigured

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often the file's stat is compared."""


class Configuration(Protocol):
    def load(self) -> Deployment:
        """Raises ``NotConfigured``."""
        ...

    def changed(self) -> bool:
        """Whether the file is another one than at the last ``load``; one stat."""
        ...


class _Changed(Exception):
    """Ends the agent's task group."""


class Supervisor:
    def __init__(
        self,
        configuration: Configuration,
        run_agent: Callable[[Deployment], Awaitable[None]],
        published: Callable[[report.Told], None],
    ) -> None:
        self._configuration = configuration
        self._run_agent = run_agent
        self._published = published

    async def run(self) -> None:
        """Until cancelled."""
        said = ""
        while True:
            try:
                deployment = self._configuration.load()
            except NotConfigured as e:
                if str(e) != said:
                    log.warning("not configured: %s", e)
                    said = str(e)
                while not self._configuration.changed():
                    self._published(report.NotConfigured(str(e)))  # each look is finished work
                    await asyncio.sleep(LOOK_S)
                continue
            said = ""
            log.info("host id %d, VM %s: %s", deployment.host_id, deployment.vm_id, deployment.source)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._end_when_changed(), name="hosted-engine.conf")
                    await self._run_agent(deployment)
            except* _Changed:
                log.info("hosted-engine.conf has changed: starting over with it")

    async def _end_when_changed(self) -> None:
        while not self._configuration.changed():  # noqa: ASYNC110 a file gives no event
            await asyncio.sleep(LOOK_S)
        raise _Changed
