"""Monitored storage domains: their vitals, and the host id held in each one's lockspace.

Model: vdsm: lib/vdsm/storage/monitor.py, clusterlock.py. The host id is
acquired in real sanlock, in the background; without a reachable daemon a domain
is monitored all the same and ``acquired`` stays false. As in VDSM the end of
the process releases nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from ovirt_he_agent import blocking
from ovirt_he_agent.adapters import leases
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import HeAgentError
from ovirt_he_agent.sim import storage_domain
from ovirt_he_agent.sim.vdsm import refusals

MEMBERSHIP_POLL_S = 0.5
READ_TIMEOUT_S = 30.0
LEAVE_TIMEOUT_S = 60.0

log = logging.getLogger(__name__)


class _Monitored:
    """One domain under watch."""

    def __init__(self, domain_id: str, host_id: int, *, in_pool: bool) -> None:
        self.domain_id = domain_id
        self.host_id = host_id
        self.in_pool = in_pool
        self.code = 0
        self.actual = False
        self.acquired = False
        self.delay_s = 0.0
        self.version = -1
        self.checked_at = time.monotonic()
        self.lockspace: model.Lockspace | None = None
        self.task: asyncio.Task[None] | None = None

    def vitals(self) -> dict[str, object]:
        return {
            "code": self.code,
            "lastCheck": f"{time.monotonic() - self.checked_at:.1f}",
            "delay": str(self.delay_s),
            "valid": self.code == 0,
            "version": self.version,
            "acquired": self.acquired,
            "actual": self.actual,
        }


class Monitor:
    def __init__(
        self, find: Callable[[object], storage_domain.StorageDomain], *, check_every_s: float
    ) -> None:
        """``find`` blocks and raises ``Refused`` for a domain that is not there."""
        self._find = find
        self._check_every_s = check_every_s
        self._monitored: dict[str, _Monitored] = {}
        self._sanlock = leases.Sanlock("monitor")
        self._checks: asyncio.TaskGroup | None = None

    async def serve(self) -> None:
        """Own the checks until cancelled."""
        try:
            async with asyncio.TaskGroup() as checks:
                self._checks = checks
                await asyncio.Event().wait()
        finally:
            self._sanlock.close()

    def start(self, domain_id: str, host_id: int, *, in_pool: bool = False) -> None:
        """Idempotent; a monitored domain may become the pool's."""
        known = self._monitored.get(domain_id)
        if known is not None:
            known.in_pool = known.in_pool or in_pool
            return
        new = _Monitored(domain_id, host_id, in_pool=in_pool)
        assert self._checks is not None
        new.task = self._checks.create_task(self._watch(new), name=f"monitor/{domain_id[:7]}")
        self._monitored[domain_id] = new

    async def stop(self, domain_id: str) -> None:
        """Release the host id, if nobody holds a lease under it. Raises ``Refused`` (900) for the pool's."""
        known = self._monitored.get(domain_id)
        if known is None:
            return
        if known.in_pool:
            raise refusals.domain_is_in_pool(domain_id)
        await self._stop(known)

    async def leave_pool(self, domain_id: str) -> None:
        known = self._monitored.get(domain_id)
        if known is not None:
            await self._stop(known)

    async def _stop(self, known: _Monitored) -> None:
        del self._monitored[known.domain_id]
        assert known.task is not None
        known.task.cancel()
        if known.lockspace is None:
            return
        try:
            await self._sanlock.leave(known.lockspace, known.host_id, timeout_s=LEAVE_TIMEOUT_S, unused=True)
        except HeAgentError as e:  # VDSM logs it and forgets the domain as well
            log.warning("host id %s of %s is not released: %s", known.host_id, known.domain_id, e)

    def vitals(self, domain_ids: frozenset[str] = frozenset()) -> dict[str, object]:
        """Of all monitored domains, or of those named: an unmonitored one is simply missing."""
        return {
            domain_id: known.vitals()
            for domain_id, known in self._monitored.items()
            if not domain_ids or domain_id in domain_ids
        }

    async def hosts(self, domain_id: str) -> tuple[model.HostLease, ...] | None:
        """The host ids of the domain's lockspace. Raises ``SanlockAway``, ``Stuck``."""
        return await self._sanlock.hosts(domain_id)

    def holds_host_id(self, domain_id: str) -> bool:
        known = self._monitored.get(domain_id)
        return known is not None and known.acquired

    # one domain

    async def _watch(self, known: _Monitored) -> None:
        reader = blocking.Worker(f"monitor/{known.domain_id[:7]}")
        next_check = time.monotonic()
        try:
            while True:
                if time.monotonic() >= next_check:
                    await self._check(known, reader)
                    next_check = time.monotonic() + self._check_every_s
                await self._hold_host_id(known, reader)
                await asyncio.sleep(min(MEMBERSHIP_POLL_S, self._check_every_s))
        finally:
            reader.close()

    async def _check(self, known: _Monitored, reader: blocking.Worker) -> None:
        started = time.monotonic()
        try:
            domain, metadata = await reader.call(self._read, known.domain_id, timeout_s=READ_TIMEOUT_S)
        except (refusals.Refused, blocking.Stuck) as e:
            known.code = e.code if isinstance(e, refusals.Refused) else 200
        else:
            known.code = 0
            known.delay_s = time.monotonic() - started
            known.version = int(metadata.get("VERSION", "-1"))
            known.lockspace = domain.lockspace
        known.checked_at = time.monotonic()
        known.actual = True

    def _read(self, domain_id: str) -> tuple[storage_domain.StorageDomain, dict[str, str]]:
        domain = self._find(domain_id)
        try:
            return domain, domain.metadata()
        except OSError as e:
            raise refusals.domain_not_accessible(domain_id) from e

    async def _hold_host_id(self, known: _Monitored, reader: blocking.Worker) -> None:
        if known.lockspace is None:
            return
        try:
            membership = await self._sanlock.membership(known.lockspace, known.host_id)
            known.acquired = membership is model.Membership.HELD
            if membership is model.Membership.NOT_HELD and known.code == 0:
                # VDSM names its configured io timeout, which is what it writes into the lockspace
                io_timeout_s = await reader.call(
                    leases.read_io_timeout_s, known.lockspace, timeout_s=READ_TIMEOUT_S
                )
                await self._sanlock.start_join(known.lockspace, known.host_id, io_timeout_s=io_timeout_s)
        except (HeAgentError, leases.CallFailed) as e:
            if known.acquired:
                log.warning("host id %s of %s: %s", known.host_id, known.domain_id, e)
            known.acquired = False
