"""What is seen of the VM: VDSM's word on it, who owns its leases, and the engine's page.

Each method is the work of one component, but ``news_of``, which takes VDSM's events. What
they find stands on the board; ``changed`` is called when the VM's fate may have changed.
"""

import asyncio
import logging
from collections.abc import Callable

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.core import model, snapshot, whereabouts
from ovirt_he_agent.core.decision import Wants
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.errors import HeAgentError, NotThere

log = logging.getLogger(__name__)


class VmWatch:
    def __init__(
        self,
        board: Board,
        vdsm: ports.Vdsm,
        page: ports.Health,
        wants: Callable[[], Wants],
        *,
        changed: Callable[[], None],
    ) -> None:
        self._board = board
        self._vdsm = vdsm
        self._page = page
        self._wants = wants
        self._changed = changed

    def news_of(self, report: model.VmReport) -> None:
        """An event of VDSM, of any VM."""
        if report.vm_id == self._board.vm_id:
            self._note(report)

    async def poll(self) -> None:
        """Raises what the VDSM adapter raises."""
        command = self._board.command
        report = await self._vdsm.vm_report(self._board.vm_id)
        now = self._board.command
        if report is None and now is not command and now is not None and now.kind == "StartVm":
            return  # asked before the start, answered after it: says nothing of this life
        self._note(report)

    def _note(self, report: model.VmReport | None) -> None:
        if self._board.vm_seen(report):
            word = report.status_text if report is not None else "not here"
            log.info("VM %s: %s", self._board.vm_id, word, extra={"HE_VM_ID": self._board.vm_id})
            self._changed()

    async def read_owners(self) -> None:
        """Who owns the VM's leases; asked only when it matters. What fails ages on the board."""
        board, wants = self._board, self._wants()
        if board.vm.value is None or not wants.lease_owners or board.in_local_maintenance:
            board.vm_leases.clear()
            return
        before = {ref: read.value for ref, read in board.vm_leases.items()}
        refs = snapshot.leases(board.definition.value, board.deployed_lease)
        for gone in board.vm_leases.keys() - set(refs):
            del board.vm_leases[gone]
        if len(refs) == 1:  # as a rule: no need of a task
            await self._read_owner(refs[0])
        else:
            async with asyncio.TaskGroup() as tasks:
                for ref in refs:
                    tasks.create_task(self._read_owner(ref))
        if {ref: read.value for ref, read in board.vm_leases.items()} != before or self._wants().alert:
            board.news.set()

    async def _read_owner(self, ref: snapshot.LeaseRef) -> None:
        board = self._board
        old: snapshot.Evidence[snapshot.LeaseView] = board.vm_leases.get(ref, snapshot.Evidence())
        try:
            info = await self._vdsm.volume_info(ref.domain_id, ref.image_id, ref.volume_id)
        except NotThere as e:
            if ref in snapshot.opened(board.definition.value, board.deployed_lease):
                board.vm_leases[ref] = old.failed(str(e))
            else:  # safety: an earlier volume of a disk went, and its lease with it: nobody can hold that now
                gone = snapshot.LeaseView(owners=(), is_leaf=False)
                board.vm_leases[ref] = old.renewed(gone, board.clock())
            return
        except HeAgentError as e:
            board.vm_leases[ref] = old.failed(str(e))
            return
        owners = info.lease.owners if info.lease is not None else None
        view = snapshot.LeaseView(owners=owners, is_leaf=info.is_leaf)
        board.vm_leases[ref] = old.renewed(view, board.clock())

    async def probe(self) -> None:
        """Ask the engine's page: of the VM here, or as a witness for another host."""
        board = self._board
        before = board.vm.value
        if before is None or board.in_local_maintenance:
            return
        place = whereabouts.here(before)
        if place not in (None, Place.HERE, Place.OUTGOING):
            return
        probe = await self._page.probe()
        after = board.vm.value
        if after is not None and whereabouts.here(after) is place:
            board.probed(probe, here=place is not None)
