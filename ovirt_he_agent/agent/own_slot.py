"""Writes this host's own slot: every ten seconds, and at once when something changes that others act on.

Only with our host id held in the HA lockspace, asked of sanlock right before the
write: two hosts that write one slot would take each other's place.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.agent.component import NotYet
from ovirt_he_agent.agent.ha_lease import HaLease
from ovirt_he_agent.core import model, own_slot
from ovirt_he_agent.core.publication import Published
from ovirt_he_agent.core.snapshot import Evidence

log = logging.getLogger(__name__)

PERIOD_S = 10.0
LEAD_LIMIT_S = 60
"""So far a timestamp of ours may be ahead of the clock: writes within one second each take the next one. What
is further ahead is of another boot of this host, whose clock began anew."""


@dataclass(eq=False)
class NothingToSay(NotYet):
    reason: str
    msg: ClassVar[str] = "this host's slot is not written: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What stands in every slot of ours."""

    host_name: str
    policy_hash: str


class OwnSlot:
    """``say`` what the last decision wants to be known; ``write`` is the work of a component."""

    def __init__(
        self,
        board: Board,
        whiteboard: ports.Whiteboard,
        lease: HaLease,
        identity: Identity,
        *,
        wall_text: Callable[[model.MonotonicMs], str],
    ) -> None:
        """``wall_text`` gives the wall-clock text of a time on the board's clock, for people."""
        self._board = board
        self._whiteboard = whiteboard
        self._lease = lease
        self._identity = identity
        self._wall_text = wall_text
        self._published: Published | None = None
        self._last_timestamp_s: int | None = None
        self._last_block: bytes | None = None
        self.definition_at: model.MonotonicMs | None = None
        """When the VM's definition was last read well."""

    def say(self, published: Published | None) -> bool:
        """Take what is to be published; True: it must be on the whiteboard at once."""
        old, self._published = self._published, published
        return published is not None and (old is None or old.urgent != published.urgent)

    async def write(self, path: Path | None, lockspace: Path | None) -> None:
        """Raises ``NothingToSay``, and what sanlock and the volume raise."""
        board = self._board
        if self._published is None and board.own_slot.problem is None:
            raise NothingToSay("in this phase there is nothing that other hosts could rely on")
        if path is None or lockspace is None:
            raise NothingToSay("the storage domain's volumes are not prepared")
        lease = await self._lease.look(lockspace)
        if not lease.held:  # safety: the slot belongs to whoever holds this id
            raise NothingToSay(f"this host's id is not held in lockspace hosted-engine: {lease.detail}")
        last_s = self._last_timestamp_s
        if last_s is None:
            last_s = self._last_timestamp_s = await self._last_of_an_earlier_daemon(path)
        published = self._published
        if published is None:
            # cut off because writing failed: the only way to know that it works again is to write
            await self._whiteboard.rewrite_slot(path, board.host_id, self._last_block)
            board.own_slot = Evidence(last_s, board.clock())
            return
        now = board.clock()
        timestamp_s = max(last_s + 1, now // 1000)
        block = own_slot.encode(self._slot(published, now, timestamp_s))
        try:
            await self._whiteboard.write_slot(path, board.host_id, block)
        finally:
            # of a write that failed nobody knows what was written
            self._last_timestamp_s, self._last_block = timestamp_s, block
        board.own_slot = Evidence(timestamp_s, board.clock())

    async def _last_of_an_earlier_daemon(self, path: Path) -> int:
        """What stands in the slot, so that the timestamp goes on growing; 0 if that is of no use."""
        host_id = self._board.host_id
        slot = (await self._whiteboard.read_some(path, [host_id])).get(host_id)
        found_s = slot.timestamp_s if slot is not None else None
        ahead_s = (found_s or 0) - self._board.clock() // 1000
        return found_s if found_s is not None and 0 <= ahead_s <= LEAD_LIMIT_S else 0

    def _slot(self, published: Published, now: model.MonotonicMs, timestamp_s: int) -> own_slot.OwnSlot:
        board, seen = self._board, self._board.page_good_at
        refreshed = self.definition_at if self.definition_at is not None else now
        return own_slot.OwnSlot(
            host_id=board.host_id,
            host_name=self._identity.host_name,
            timestamp_s=timestamp_s,
            score=published.score,
            engine=published.engine,
            state=published.state,
            local_maintenance=published.local_maintenance,
            stopped=published.stopped,
            conf_on_shared_storage=board.config_up_to_date,
            conf_refreshed_s=refreshed // 1000,
            others_first=published.others_first,
            engine_seen_s=timestamp_s - (now - seen) // 1000 if seen is not None else None,
            policy_hash=self._identity.policy_hash,
            figures=published.figures,
            time_text=self._wall_text(now),
            conf_refreshed_text=self._wall_text(refreshed),
        )
