"""Our host id in lockspace ``hosted-engine``: acquired once, kept over restarts of this daemon.

sanlock holds it for as long as its own daemon lives; the join is asked for
without waiting and then watched, because it takes seconds to minutes.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.deployment import HA_LOCKSPACE
from ovirt_he_agent.core import model, snapshot

log = logging.getLogger(__name__)


class HaLease:
    """Remembers how long the join has been under way, to tell people what it waits for."""

    def __init__(
        self,
        leases: ports.Leases,
        host_id: int,
        *,
        io_timeout_s: int,
        clock: Callable[[], model.MonotonicMs],
    ) -> None:
        self._leases = leases
        self._host_id = host_id
        self._io_timeout_s = io_timeout_s
        self._clock = clock
        self._asked_at: model.MonotonicMs | None = None
        self._held: snapshot.OwnLease | None = None
        self._lockspace: model.Lockspace | None = None
        self._gave_up = ""

    async def look(self, path: Path) -> snapshot.OwnLease:
        """The state of the lease now, without changing it. Raises what the leases adapter raises."""
        now = self._clock()
        match await self._leases.membership(self._lockspace_at(path), self._host_id):
            case model.Membership.HELD:
                if self._held is None:
                    self._held = snapshot.OwnLease(held=True, since=now, detail="held")
                    log.info("host id %d in lockspace %s is held", self._host_id, HA_LOCKSPACE)
                self._asked_at, self._gave_up = None, ""
                return self._held
            case model.Membership.IN_TRANSITION:
                self._held = None
                if self._asked_at is None:
                    self._asked_at = now
                return snapshot.OwnLease(held=False, since=self._asked_at, detail=self._joining(now))
            case model.Membership.NOT_HELD:
                lost, self._held = self._held, None
                if lost is not None:
                    log.error("host id %d in lockspace %s was lost", self._host_id, HA_LOCKSPACE)
                if self._asked_at is not None:
                    self._gave_up = self._refused(now)
                    self._asked_at = None
                detail = self._gave_up or "not held; asking sanlock for it"
                return snapshot.OwnLease(held=False, since=now, detail=detail)

    async def look_and_join(self, path: Path) -> snapshot.OwnLease:
        """As ``look``; asks sanlock for the id when it is not held and no join is under way."""
        lease = await self.look(path)
        if not lease.held and self._asked_at is None:
            lockspace = self._lockspace_at(path)
            await self._leases.start_join(lockspace, self._host_id, io_timeout_s=self._io_timeout_s)
            self._asked_at = self._clock()
        return lease

    def _lockspace_at(self, path: Path) -> model.Lockspace:
        if self._lockspace is None or self._lockspace.path is not path:
            self._lockspace = model.Lockspace(name=HA_LOCKSPACE, path=path)
        return self._lockspace

    def _joining(self, now: model.MonotonicMs) -> str:
        since_s = (now - (self._asked_at or now)) // 1000
        text = f"sanlock is acquiring host id {self._host_id} for {since_s} s"
        return (
            f"{self._gave_up}; trying again: {text}"
            if self._gave_up
            else (
                f"{text} (a free id takes up to 5 io timeouts, 50 s by default; longer means that another "
                f"host holds or held it: check host_id in hosted-engine.conf of every host)"
            )
        )

    def _refused(self, now: model.MonotonicMs) -> str:
        since_s = (now - (self._asked_at or now)) // 1000
        text = (
            f"sanlock did not get host id {self._host_id} in lockspace {HA_LOCKSPACE} within {since_s} s: "
            f"most likely another live host uses it; check host_id in hosted-engine.conf of every host"
        )
        log.error("%s", text)
        return text
