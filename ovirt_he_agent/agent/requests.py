"""What people ask of the agent: maintenance, and the VM. It is done, or they are told why it is not.

A change of maintenance is written, read back, and for slot 0, which every host may
write, looked at again a while later. A wish for the VM goes through the decision
like any other news, and through the act step like any other command.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.core import own_slot, snapshot
from ovirt_he_agent.core.decision import Heard
from ovirt_he_agent.core.model import LocalMode
from ovirt_he_agent.errors import HeAgentError, Refused, Retryable

log = logging.getLogger(__name__)

ANSWER_S = 40.0
"""So long a wish for the VM may take to be decided and carried out."""
VERIFY_S = 15.0
"""A neighbour's broker that lost a write of its own, or writes an old one late, has done so by then."""


@dataclass(eq=False)
class VmRequestRefused(Refused):
    why: str
    msg: ClassVar[str] = "{self.why}"


@dataclass(eq=False)
class VmCommandFailed(HeAgentError):
    kind: str
    detail: str
    msg: ClassVar[str] = "{self.kind} was given and did not succeed: {self.detail}"


@dataclass(eq=False)
class NotDecided(Retryable):
    msg: ClassVar[str] = (
        "the agent did not come to it within {self.limit_s:g} s; "
        "`ovirt-he-agent status` shows what it waits for"
    )
    limit_s: ClassVar[float] = ANSWER_S


@dataclass(eq=False)
class NotOnWhiteboard(Retryable):
    why: str
    msg: ClassVar[str] = (
        "global maintenance cannot be changed: the whiteboard volume is not prepared on this host: "
        "{self.why}; try another host"
    )


@dataclass(eq=False)
class WriteLost(Retryable):
    wanted: str
    found: str
    msg: ClassVar[str] = (
        "global maintenance was written as {self.wanted} and reads as {self.found}: "
        "another host wrote at the same time; set it again"
    )


class Requests:
    """``run`` looks after what was written; the rest is called by whoever takes requests."""

    def __init__(
        self,
        board: Board,
        whiteboard: ports.Whiteboard,
        local: ports.LocalMaintenance,
        whiteboard_path: Callable[[], Awaitable[Path]],
    ) -> None:
        """``whiteboard_path``: where the volume is prepared now; raises why it is not."""
        self._board = board
        self._whiteboard = whiteboard
        self._local = local
        self._path = whiteboard_path
        self._turn = asyncio.Lock()
        self._number = 0
        self._answer: asyncio.Future[str] | None = None
        self._command: int | None = None
        self._granted: str = ""
        self._written: tuple[Path, bool] | None = None
        self._to_verify = asyncio.Event()

    async def set_global_maintenance(self, on: bool) -> None:
        """Returns when it was written and read back. Raises ``NotOnWhiteboard``, ``WriteLost``, and what
        the volume raises."""
        try:
            path = await self._path()
        except HeAgentError as e:
            raise NotOnWhiteboard(str(e)) from e
        block = own_slot.encode_global(on)
        wanted = block.rstrip(b"\0")
        found = await self._whiteboard.read_global(path)
        if found.raw != wanted:
            log.info("global maintenance: %s is written over %s", wanted, found.raw)
            await self._whiteboard.write_global(path, block)
            found = await self._whiteboard.read_global(path)
        if found.raw != wanted:
            raise WriteLost(_word(on), str(found.reason))
        self._board.global_maintenance = snapshot.Evidence(on, self._board.clock())
        self._board.news.set()
        self._written = path, on
        self._to_verify.set()

    async def set_local_maintenance(self, mode: LocalMode, on: bool) -> None:
        """Returns when it was written and read back. Raises what the file raises."""
        await self._local.set(mode, on)
        flag = self._local.read()
        if flag.value is not None:
            self._board.local_maintenance = snapshot.Evidence(flag.value, self._board.clock())
        self._board.news.set()

    async def start_vm(self, *, force: bool) -> str:
        return await self._ask(snapshot.RequestKind.START, force)

    async def shut_down_vm(self, *, force: bool) -> str:
        return await self._ask(snapshot.RequestKind.SHUTDOWN, force)

    async def power_off_vm(self, *, force: bool) -> str:
        return await self._ask(snapshot.RequestKind.POWER_OFF, force)

    async def _ask(self, kind: snapshot.RequestKind, force: bool) -> str:
        """One at a time. Raises ``VmRequestRefused``, ``VmCommandFailed``, ``NotDecided``."""
        try:
            async with asyncio.timeout(ANSWER_S), self._turn:
                self._number += 1
                self._command = None
                self._answer = asyncio.get_running_loop().create_future()
                self._board.request = snapshot.Request(number=self._number, kind=kind, force=force)
                self._board.news.set()
                try:
                    return await self._answer
                finally:
                    self._board.request = None
                    self._answer = None
        except TimeoutError:
            raise NotDecided from None

    def heard(self, heard: Heard, given: snapshot.Command | None) -> None:
        """A decision has taken the wish into account; ``given`` is the command that it gave for it."""
        answer = self._answer
        if answer is None or answer.done() or heard.number != self._number:
            return
        if given is None or not heard.granted:
            answer.set_exception(VmRequestRefused(heard.answer))
            return
        self._command, self._granted = given.number, heard.answer

    def ended(self, done: snapshot.Command) -> None:
        """A command has ended."""
        answer = self._answer
        if answer is None or answer.done() or done.number != self._command:
            return
        if done.ok:
            answer.set_result(f"{self._granted} ({done.detail})")
        elif done.refused:
            answer.set_exception(VmRequestRefused(f"fresher evidence spoke against it: {done.detail}"))
        else:
            answer.set_exception(VmCommandFailed(done.kind, done.detail))

    async def run(self) -> None:
        """Looks at slot 0 a while after a write of ours; ends only by cancellation."""
        while True:
            await self._to_verify.wait()
            self._to_verify.clear()
            await asyncio.sleep(VERIFY_S)
            if self._to_verify.is_set() or self._written is None:
                continue  # written anew meanwhile
            path, on = self._written
            try:
                found = await self._whiteboard.read_global(path)
            except HeAgentError as e:
                log.warning("global maintenance could not be verified %g s after it was set: %s", VERIFY_S, e)
                continue
            if found.value is not on:
                log.warning(
                    "global maintenance was set %s %g s ago and is %s now: another host has changed it",
                    _word(on),
                    VERIFY_S,
                    found.reason if found.value is None else _word(found.value),
                )


def _word(on: bool) -> str:
    return "on" if on else "off"
