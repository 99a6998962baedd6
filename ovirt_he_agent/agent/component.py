"""A dependency that may fail: tried again and again, its state visible, its log quiet.

``Component.run`` calls its work, waits for the period or for a poke, and never
ends. A failure degrades this component only; it is logged when it begins and
when it ends, with the number of tries between.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from ovirt_he_agent.agent.wakeup import Wakeup
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.errors import HeAgentError, Retryable

log = logging.getLogger(__name__)

RETRY_FIRST_S = 1.0
RETRY_MAX_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a component looks like from outside. ``ok`` None: not tried yet."""

    name: str
    ok: bool | None
    reason: str
    since: MonotonicMs
    next_try: MonotonicMs | None


class NotYet(Retryable):
    """Something that another component brings is not there yet: no failure of this one."""


class Component:
    """One dependency and the work that keeps it observed."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        period_s: Callable[[], float],
        clock: Callable[[], MonotonicMs],
        failed: Callable[[str], None],
    ) -> None:
        """``period_s`` is asked after each success; ``failed`` hears why each failure failed."""
        self.name = name
        self._work = work
        self._period_s = period_s
        self._clock = clock
        self._failed = failed
        self._poke = Wakeup()
        self._tries = 0
        self._failing_with: type[Exception] | None = None
        self.condition = Condition(
            name=name, ok=None, reason="not tried yet", since=clock(), next_try=clock()
        )

    def poke(self) -> None:
        """Do the work now instead of waiting for the period."""
        self._poke.set()

    async def run(self) -> None:
        while True:
            self._poke.clear()
            try:
                await self._work()
            except NotYet as e:
                self.condition = replace(self.condition, ok=None, reason=str(e))
                pause_s = RETRY_FIRST_S
            except HeAgentError as e:
                pause_s = self._degrade(str(e), type(e))
            except Exception as e:
                log.exception("component %s: unexpected error", self.name, extra={"HE_COMPONENT": self.name})
                pause_s = self._degrade(f"internal error: {type(e).__name__}: {e}", type(e))
            else:
                if self.condition.ok is not True:
                    self._works()
                pause_s = self._period_s()
            await self._poke.wait(pause_s)

    def _works(self) -> None:
        if self.condition.ok is False:
            log.info(
                "%s: works again after %d failed tries",
                self.name,
                self._tries,
                extra={"HE_COMPONENT": self.name},
            )
        self._tries, self._failing_with = 0, None
        self.condition = Condition(name=self.name, ok=True, reason="", since=self._clock(), next_try=None)

    def _degrade(self, reason: str, kind: type[Exception]) -> float:
        self._tries += 1
        pause_s = min(RETRY_FIRST_S * 2.0 ** min(self._tries - 1, 8), RETRY_MAX_S)
        now = self._clock()
        next_try = MonotonicMs(now + int(pause_s * 1000))
        if self._failing_with is not kind:  # a repeated failure is logged once
            log.warning("%s: %s", self.name, reason, extra={"HE_COMPONENT": self.name})
        since = self.condition.since if self.condition.ok is False else now
        self.condition = Condition(name=self.name, ok=False, reason=reason, since=since, next_try=next_try)
        self._failing_with = kind
        self._failed(reason)
        return pause_s
