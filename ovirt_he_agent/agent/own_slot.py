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
        self._last_timestamp_s = 0
        self.definition_at: model.MonotonicMs | None = None
        """When the VM's definition was last read well."""

    def say(self, published: Published | None) -> bool:
        """Take what is to be published; True: it must be on the whiteboard at once."""
        old, self._published = self._published, published
        return published is not None and (old is None or old.urgent != published.urgent)

    async def write(self, path: Path | None, lockspace: Path | None) -> None:
        """Raises ``NothingToSay``, and what sanlock and the volume raise."""
        if self._published is None:
            raise NothingToSay("in this phase there is nothing that other hosts could rely on")
        if path is None or lockspace is None:
            raise NothingToSay("the storage domain's volumes are not prepared")
        lease = await self._lease.look(lockspace)
        if not lease.held:  # safety: the slot belongs to whoever holds this id
            raise NothingToSay(f"this host's id is not held in lockspace hosted-engine: {lease.detail}")
        published, board = self._published, self._board
        if published is None:
            raise NothingToSay("meanwhile there is nothing to say")
        now = board.clock()
        timestamp_s = max(self._last_timestamp_s + 1, now // 1000)
        block = own_slot.encode(self._slot(published, now, timestamp_s))
        try:
            await self._whiteboard.write_slot(path, board.host_id, block)
        finally:
            self._last_timestamp_s = timestamp_s  # of a write that failed nobody knows what was written
        board.own_slot = Evidence(timestamp_s, board.clock())

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
            time_text=self._wall_text(now),
            conf_refreshed_text=self._wall_text(refreshed),
        )
