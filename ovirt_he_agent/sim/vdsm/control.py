"""The ``Sim.*`` verbs: how a test or the demo makes things go wrong over the same wire.

What each does is written in the package's docstring. They are served even while
VDSM recovers or its parser has ended; only ``Sim.silent`` silences them too.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from ovirt_he_agent.sim.vdsm import faults, host, networks, refusals, rpc, server, vms


class Control:
    def __init__(
        self, wrong: faults.Faults, port: server.Server, machines: vms.Vms, facts: host.Host
    ) -> None:
        self._faults = wrong
        self._server = port
        self._vms = machines
        self._host = facts
        self._later: asyncio.TaskGroup | None = None

    async def serve(self) -> None:
        """Own what goes on after a reply, until cancelled."""
        async with asyncio.TaskGroup() as later:
            self._later = later
            await asyncio.Event().wait()

    def verbs(self) -> Mapping[str, rpc.Verb]:
        return {
            "Sim.guest": self.guest,
            "Sim.fail": self.fail,
            "Sim.delay": self.delay,
            "Sim.mute": self.mute,
            "Sim.recovering": self.recovering,
            "Sim.heal": self.heal,
            "Sim.drop": self.drop,
            "Sim.silent": self.silent,
            "Sim.calls": self.calls,
            "Sim.stats": self.stats,
            "Sim.networks": self.networks,
        }

    async def guest(self, vmID: object, action: str) -> None:
        machine = self._vms.find(vmID)
        match action:
            case "crash":
                machine.crash()
            case "hang":
                machine.hang()
            case "resume":
                machine.unhang()
            case "reboot":
                self._vms.guest_reboots(machine)
            case "shutdown":
                machine.tell_guest("power off")
            case "pause":
                await machine.pause("EIO")
            case "bad health" | "good health":
                machine.tell_guest(action)
            case _:
                raise refusals.general(f"no such guest action: {action}")

    async def fail(self, method: str, code: int, message: str = "made up", count: int | None = 1) -> None:
        self._faults.fail(method, code, message, count)

    async def delay(self, method: str, seconds: float) -> None:
        self._faults.delay(method, seconds)

    async def mute(self, method: str, count: int | None = 1, drop: bool = False) -> None:
        self._faults.mute(method, count, drop=drop)

    async def recovering(self, seconds: float) -> None:
        self._faults.recover_for(seconds)

    async def heal(self) -> None:
        self._faults.heal()
        self._host.overrides = {}
        self._host.networks = (networks.MANAGEMENT,)

    async def drop(self) -> None:
        self._after_reply(self._drop())

    async def silent(self, seconds: float) -> None:
        self._after_reply(self._fall_silent(seconds))

    async def calls(self, clear: bool = False) -> list[dict[str, object]]:
        calls = list(self._faults.calls)
        if clear:
            self._faults.calls.clear()
        return calls

    async def stats(self, values: dict[str, object]) -> None:
        self._host.overrides |= values

    async def networks(self, names: list[str]) -> None:
        self._host.networks = tuple(names)

    def _after_reply(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._later is not None
        self._later.create_task(work)

    async def _drop(self) -> None:
        await asyncio.sleep(0)  # the reply is queued by then
        await self._server.flush()
        self._server.drop()

    async def _fall_silent(self, seconds: float) -> None:
        await asyncio.sleep(0)
        await self._server.flush()
        await self._server.silence.keep(seconds)
