"""The only place that commands VDSM about the VM. Evidence is read again right before.

safety: between evidence and command another host may have acted. The same
decision is taken once more on evidence of which the VM's status, the lease
owners, both maintenance flags and our host id lease were read at most
``REREAD_LIMIT_S`` before; another outcome, and the command is dropped.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.agent.observers import Observers
from ovirt_he_agent.core import model, snapshot
from ovirt_he_agent.core.commands import CleanVdsmEntry, DestroyVm, ShutdownVm, StartVm, VmCommand
from ovirt_he_agent.core.decision import Decision
from ovirt_he_agent.core.state import State
from ovirt_he_agent.errors import HeAgentError, OutcomeUnknown, Rejected

log = logging.getLogger(__name__)

REREAD_LIMIT_S = 1.0
SHUTDOWN_MESSAGE = "VM is shutting down!"
"""What the guest's users are told, as upstream's tools do."""

CarriedOut = Coroutine[Any, Any, snapshot.Command]
Decide = Callable[[State, snapshot.Snapshot, model.MonotonicMs], Decision]


class Actuator:
    """Carries out one command at a time; what it reads and how it ends goes to the board."""

    def __init__(
        self,
        board: Board,
        observers: Observers,
        vdsm: ports.Vdsm,
        definitions: ports.Definitions,
        decide: Decide,
    ) -> None:
        self._board = board
        self._observers = observers
        self._vdsm = vdsm
        self._definitions = definitions
        self._decide = decide

    def take(self, command: VmCommand) -> snapshot.Command:
        """Put the command on the board as in flight: no other one is decided until it has ended."""
        board = self._board
        number = board.command.number + 1 if board.command else 1
        given = snapshot.Command(
            number=number,
            kind=type(command).__name__,
            given_at=board.clock(),
            definition_sha256=command.definition_sha256 if isinstance(command, StartVm) else None,
        )
        board.command = given
        return given

    async def carry_out(
        self,
        given: snapshot.Command,
        command: VmCommand,
        before: State,
        definition: ports.StartableDefinition | None,
    ) -> snapshot.Command:
        """Do it or drop it; never raises a ``HeAgentError``: the result stands on the board.

        ``before``: the state from which the command was decided.
        """
        board, kind = self._board, given.kind
        fields = {"HE_COMMAND": kind, "HE_VM_ID": command.vm_id}
        log.info("command %s for VM %s", kind, command.vm_id, extra=fields)
        await self._observers.memory.save_now()
        if isinstance(command, StartVm):
            await self._definitions.begin(command.definition_sha256, given.number)
        try:
            if (why := await self._contradiction(command, before)) is not None:
                done = replace(given, ok=False, refused=True, detail=why)
            else:
                done = replace(given, ok=True, detail=await self._send(command, definition))
        except OutcomeUnknown as e:
            done = replace(given, ok=None, detail=str(e))
        except HeAgentError as e:
            done = replace(given, ok=False, rejected=isinstance(e, Rejected), detail=str(e))
        done = replace(done, done_at=board.clock())
        board.command = done
        level = logging.INFO if done.ok else logging.WARNING
        ended = "dropped" if done.refused else "ended"
        log.log(level, "command %s %s: %s", kind, ended, done.detail, extra=fields)
        self._observers.look_again()
        board.news.set()
        return done

    async def _send(self, command: VmCommand, definition: ports.StartableDefinition | None) -> str:
        match command:
            case StartVm():
                assert definition is not None
                assert definition.facts.sha256 == command.definition_sha256
                report = await self._vdsm.create_vm(command.vm_id, definition.domain_xml)
                self._board.vm_seen(report)
                return f"VDSM accepted it: {report.status_text}"
            case CleanVdsmEntry():
                await self._vdsm.destroy_vm(command.vm_id)
                self._board.vm_seen(None)
                return "VDSM forgot the record of its last life"
            case ShutdownVm():
                await self._vdsm.shutdown_vm(command.vm_id, delay_s=command.delay_s, message=SHUTDOWN_MESSAGE)
                return f"VDSM asked the guest to shut down: {command.why}"
            case DestroyVm():
                await self._vdsm.destroy_vm(command.vm_id)
                self._board.vm_seen(None)
                return f"VDSM powered the VM off: {command.why}"

    async def _contradiction(self, command: VmCommand, before: State) -> str | None:
        """Why the command must not be given after all; None: fresh evidence gives the same command."""
        board = self._board
        started = board.clock()
        try:
            await self._observers.reread_vm_evidence()
            if isinstance(command, StartVm):
                # safety: after the leases. One that is free because its owner's generation rose is as free
                # as one that was given back, and only the generations tell them apart
                await self._observers.reread_hosts()
            async with asyncio.timeout(REREAD_LIMIT_S):
                await self._observers.reread_flags_and_lease()
            if board.clock() - (board.vm.at or 0) > REREAD_LIMIT_S * 1000:
                await self._observers.reread_vm()  # the storage is slow, VDSM may not be
        except TimeoutError:
            return f"reading slot 0 and the host id lease again took more than {REREAD_LIMIT_S} s"
        except HeAgentError as e:  # nothing was sent: no failed start, and no unknown outcome
            return f"the evidence could not be read again: {e}"
        now = board.clock()
        since = model.MonotonicMs(max(started, now - int(REREAD_LIMIT_S * 1000)))
        fresh = replace(snapshot.only_since(board.snapshot(), since), command=None)
        again = self._decide(before, fresh, now)
        return None if again.command == command else again.reason
