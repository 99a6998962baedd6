"""What goes wrong on request: errors, delays, lost replies, recovery. Set by the ``Sim.*`` verbs."""

import asyncio
import collections
from dataclasses import dataclass

from ovirt_he_agent.sim.vdsm import refusals

REMEMBERED_CALLS = 10_000


@dataclass(slots=True)
class _Failure:
    code: int
    message: str
    left: int | None


@dataclass(slots=True)
class _Mute:
    left: int | None
    drop: bool


def _spend(left: int | None) -> int | None:
    return None if left is None else left - 1


class Faults:
    """Counts are so many calls; None is until told otherwise. ``*`` as method is every method."""

    def __init__(self) -> None:
        self._recovering_until = 0.0
        self._failures: dict[str, _Failure] = {}
        self._delays_s: dict[str, float] = {}
        self._mutes: dict[str, _Mute] = {}
        self.calls: collections.deque[dict[str, object]] = collections.deque(maxlen=REMEMBERED_CALLS)
        """Every call that reached a worker, oldest first: method, params, code (None: no error)."""

    @property
    def recovering(self) -> bool:
        return asyncio.get_running_loop().time() < self._recovering_until

    def recover_for(self, seconds: float) -> None:
        self._recovering_until = asyncio.get_running_loop().time() + seconds

    def fail(self, method: str, code: int, message: str, count: int | None) -> None:
        self._failures[method] = _Failure(code, message, count)

    def delay(self, method: str, seconds: float) -> None:
        """0 ends it."""
        self._delays_s[method] = seconds

    def mute(self, method: str, count: int | None, *, drop: bool) -> None:
        self._mutes[method] = _Mute(count, drop)

    def heal(self) -> None:
        """No more failures, delays, mutes or recovery."""
        self._failures.clear()
        self._delays_s.clear()
        self._mutes.clear()
        self._recovering_until = 0.0

    async def before(self, method: str) -> None:
        """What happens before the verb runs. Raises ``Refused``."""
        delay_s = self._delays_s.get(method) or self._delays_s.get("*")
        if delay_s:
            await asyncio.sleep(delay_s)
        for name in (method, "*"):
            failure = self._failures.get(name)
            if failure is None:
                continue
            failure.left = _spend(failure.left)
            if failure.left == 0:
                del self._failures[name]
            raise refusals.Refused(failure.code, failure.message)

    def swallows_reply(self, method: str) -> tuple[bool, bool]:
        """After the verb ran: is the reply lost, and do the connections go with it?"""
        mute = self._mutes.get(method)
        if mute is None:
            return False, False
        mute.left = _spend(mute.left)
        if mute.left == 0:
            del self._mutes[method]
        return True, mute.drop
