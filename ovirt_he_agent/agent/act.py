"""The only place that commands VDSM about the VM. Evidence is read again right before.

safety: between evidence and command another host may have acted. The same
decision is taken once more on evidence of which the VM's status, the lease
owners, both maintenance flags and our host id lease were read at most
``REREAD_LIMIT_S`` before; another outcome, and the command is dropped.
"""

import asyncio
import logging
from dataclasses import replace

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.agent.observers import Observers
from ovirt_he_agent.core import decision, model, snapshot
from ovirt_he_agent.core.state import State
from ovirt_he_agent.errors import HeAgentError, OutcomeUnknown, Rejected

log = logging.getLogger(__name__)

REREAD_LIMIT_S = 1.0


class Actuator:
    """Carries out one command at a time; what it reads and how it ends goes to the board."""

    def __init__(
        self, board: Board, observers: Observers, vdsm: ports.Vdsm, definitions: ports.Definitions
    ) -> None:
        self._board = board
        self._observers = observers
        self._vdsm = vdsm
        self._definitions = definitions

    def take(self, command: decision.VmCommand) -> snapshot.Command:
        """Put the command on the board as in flight: no other one is decided until it has ended."""
        board = self._board
        number = board.command.number + 1 if board.command else 1
        given = snapshot.Command(
            number=number,
            kind=type(command).__name__,
            given_at=board.clock(),
            definition_sha256=command.definition_sha256 if isinstance(command, decision.StartVm) else None,
        )
        board.command = given
        return given

    async def carry_out(
        self,
        given: snapshot.Command,
        command: decision.VmCommand,
        state: State,
        definition: ports.StartableDefinition,
    ) -> None:
        """Do it or drop it; never raises a ``HeAgentError``: the result stands on the board."""
        board, kind = self._board, given.kind
        fields = {"HE_COMMAND": kind, "HE_VM_ID": command.vm_id}
        log.info("command %s for VM %s", kind, command.vm_id, extra=fields)
        if isinstance(command, decision.StartVm):
            await self._definitions.begin(command.definition_sha256, given.number)
        try:
            if (why := await self._contradiction(command, state)) is not None:
                done = replace(given, ok=False, refused=True, detail=why)
            else:
                done = replace(given, ok=True, detail=await self._send(command, definition))
        except OutcomeUnknown as e:
            done = replace(given, ok=None, detail=str(e))
        except HeAgentError as e:
            done = replace(given, ok=False, rejected=isinstance(e, Rejected), detail=str(e))
        board.command = replace(done, done_at=board.clock())
        level = logging.INFO if done.ok else logging.WARNING
        ended = "dropped" if done.refused else "ended"
        log.log(level, "command %s %s: %s", kind, ended, done.detail, extra=fields)
        self._observers.look_again()
        board.news.set()

    async def _send(self, command: decision.VmCommand, definition: ports.StartableDefinition) -> str:
        match command:
            case decision.StartVm():
                assert definition.facts.sha256 == command.definition_sha256
                report = await self._vdsm.create_vm(command.vm_id, definition.domain_xml)
                self._board.vm_seen(report)
                return f"VDSM accepted it: {report.status_text}"
            case decision.CleanVdsmEntry():
                await self._vdsm.destroy_vm(command.vm_id)
                self._board.vm_seen(None)
                return "VDSM forgot the record of its last life"

    async def _contradiction(self, command: decision.VmCommand, state: State) -> str | None:
        """Why the command must not be given after all; None: fresh evidence gives the same command."""
        board = self._board
        started = board.clock()
        try:
            await self._observers.reread_vm_evidence()
            async with asyncio.timeout(REREAD_LIMIT_S):
                await self._observers.reread_flags_and_lease()
        except TimeoutError:
            return f"reading slot 0 and the host id lease again took more than {REREAD_LIMIT_S} s"
        except HeAgentError as e:  # nothing was sent: no failed start, and no unknown outcome
            return f"the evidence could not be read again: {e}"
        now = board.clock()
        since = model.MonotonicMs(max(started, now - int(REREAD_LIMIT_S * 1000)))
        fresh = replace(snapshot.only_since(board.snapshot(), since), command=None)
        again = decision.decide(state, fresh, now)
        return None if again.command == command else again.reason
