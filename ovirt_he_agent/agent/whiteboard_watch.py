"""What other hosts say on the whiteboard: all of it now and then, the word that matters most more often."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.core.snapshot import Evidence, PeerSlot

NEW_MS = 4_000
"""From the join: a start comes no earlier than ``admission.SETTLED_MS`` after it."""


class WhiteboardWatch:
    """Its methods are the work of components; ``changed`` is called when others say something else."""

    def __init__(self, board: Board, whiteboard: ports.Whiteboard, *, changed: Callable[[], None]) -> None:
        self._board = board
        self._whiteboard = whiteboard
        self._changed = changed

    async def read(self, path: Path) -> None:
        """Slot 0 and every slot in use. Raises what the volume raises."""
        board = self._board
        known = {*(board.ha_hosts.value or ()), board.host_id}
        reading = await self._whiteboard.read(path, known, scan=self._is_new())
        # our own words, and that somebody goes on saying the same, are no news
        self._note(reading.slots, but=board.host_id)
        board.slots = board.slots.renewed(reading.slots, board.clock())
        board.note_flag("global_maintenance", reading.global_maintenance)

    def _is_new(self) -> bool:
        """sanlock tells of hosts that joined at the same time only with its next renewal, 2 T later."""
        lease = self._board.own_ha_lease.value
        return lease is not None and lease.held and self._board.clock() - lease.since <= NEW_MS

    async def read_claimant(self, path: Path, host_id: int) -> None:
        """The slot of the host that has the VM, between the reads of all. Raises what the volume raises."""
        board = self._board
        found = await self._whiteboard.read_some(path, [host_id])
        known = board.slots.value
        if known is None or found.get(host_id) == known.get(host_id):
            return
        slots = {number: slot for number, slot in known.items() if number != host_id} | dict(found)
        self._note(slots, but=0)
        board.slots = Evidence(slots, board.slots.at, board.slots.problem)  # the others are as old as before

    def _note(self, slots: Mapping[int, PeerSlot], *, but: int) -> None:
        old = self._board.slots.value
        if old is None or not _same_said(old, slots, but):
            self._board.news.set()
            self._changed()


def _same_said(old: Mapping[int, PeerSlot], new: Mapping[int, PeerSlot], but: int) -> bool:
    """All but one say the same as before, in all that a decision may hang on at once."""
    for number in old.keys() | new.keys():
        before, now = old.get(number), new.get(number)
        if before is now or number == but:
            continue
        if before is None or now is None or _said(before) != _said(now):
            return False
    return True


def _said(slot: PeerSlot) -> tuple[object, ...]:
    return (
        slot.readable,
        slot.claims_vm,
        slot.stopped,
        slot.local_maintenance,
        slot.state,
        slot.others_first,
    )
