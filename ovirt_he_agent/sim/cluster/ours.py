"""This agent as a process of a simulated host: the real ``Agent``, a simulated world behind its ports."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ovirt_he_agent.agent import report
from ovirt_he_agent.agent.deployment import Deployment, VolumeRef
from ovirt_he_agent.agent.loop import Agent
from ovirt_he_agent.agent.observers import World as Ports
from ovirt_he_agent.agent.ports import DefinitionAccount
from ovirt_he_agent.agent.requests import Requests
from ovirt_he_agent.agent.settings import Settings
from ovirt_he_agent.core import load, model, snapshot
from ovirt_he_agent.errors import HeAgentError, Retryable
from ovirt_he_agent.sim.cluster import timeline
from ovirt_he_agent.sim.cluster.clock import Owner
from ovirt_he_agent.sim.cluster.storage import SimWhiteboard

if TYPE_CHECKING:
    from ovirt_he_agent.sim.cluster.host import SimHost

SANLOCK_TIMEOUT_S = 10.0


@dataclass(eq=False)
class ProcessDead(HeAgentError):
    """What a killed process would have done next, had it lived."""

    msg: ClassVar[str] = "simulated process: it was killed"


@dataclass(eq=False)
class SanlockAway(Retryable):
    msg: ClassVar[str] = "simulated sanlock: its daemon does not run"


@dataclass(frozen=True, slots=True)
class Flag:
    value: bool | None
    reason: str


@dataclass(frozen=True, slots=True)
class Startable:
    facts: snapshot.Definition
    domain_xml: str
    document: bytes = b""


class OurAgent:
    """One life of the process on ``host``."""

    def __init__(self, host: "SimHost") -> None:
        self._host = host
        self._world = host.world
        self.alive = True
        self.stopping = False
        self.owner = Owner()
        self._whiteboard = SimWhiteboard(
            self._world.storage, host.way, host.number, clock=host.clock, timeout_s=10.0
        )
        ports = Ports(
            vdsm=host.vdsm,
            leases=_Leases(self),
            whiteboard=self._whiteboard,
            definitions=_Definitions(self),
            host_view=_HostView(),
            health=_Page(self),
            local_maintenance=_HaConf(host),
            vm_conf=None,
            network=_Network(host),
            statistics=host.vdsm,
            cpu=_Cpu(host),
            state_file=_StateFile(self),
            wall_text=lambda at: f"monotonic {at // 1000} s",
        )
        self.agent = Agent(
            self._deployment(), self._settings(), ports, clock=host.clock, published=self._ticked
        )
        self._task: asyncio.Task[Any] | None = None

    @property
    def host(self) -> "SimHost":
        return self._host

    def check(self) -> None:
        """Raises ``ProcessDead``: nothing that a dead process does reaches the world."""
        if not self.alive:
            raise ProcessDead

    def start(self) -> None:
        self._task = self._world.loop.start(self._run(), self.owner, name=f"agent of {self._host.name}")
        self._task.add_done_callback(self._ended)  # one that is stopped at once never begins

    async def _run(self) -> None:
        try:
            await self.agent.run()
        except asyncio.CancelledError:
            pass

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self.alive = False
        if self._host.powered and self._host.agent is self:
            self._host.note(timeline.NO_AGENT)

    def stop(self) -> None:
        """SIGTERM."""
        self.stopping = True
        if self._task is not None:
            self._task.cancel()

    def kill(self) -> None:
        """SIGKILL."""
        self.alive = False
        if self.owner.frozen:
            self._world.loop.thaw(self.owner)
        if self._task is not None:
            self._task.cancel()

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later: its clock goes on, it does not."""
        loop = self._world.loop
        loop.freeze(self.owner)

        def thaw() -> None:
            self._host.agent_since_ms = loop.now_ms()  # what it has not done yet cannot be held against it
            loop.thaw(self.owner)

        loop.at(loop.now_ms() + int(seconds * 1000), thaw)

    def tear(self, sectors: int) -> None:
        self._whiteboard.tear(sectors)

    def ask(self, wish: Callable[[Requests], Awaitable[object]], what: str) -> None:
        """An operator's request on this host's socket."""

        async def asked() -> None:
            try:
                answer = await wish(self.agent.requests)
                self._host.say(f"asked for {what}: {answer or 'done'}")
            except HeAgentError as e:
                self._host.say(f"asked for {what}: {e}")

        if self.alive:
            self._world.loop.start(asked(), self.owner, name=f"request on {self._host.name}")

    def _ticked(self, told: report.Told) -> None:
        if self.alive and isinstance(told, report.Report):
            self._world.checks.decided(self._host, told.decided)

    def _deployment(self) -> Deployment:
        world = self._world
        volume = VolumeRef(image_id="disk", volume_id=world.volume_id)
        return Deployment(
            source="simulated",
            host_id=self._host.host_id,
            vm_id=world.vm_id,
            domain_id=world.domain_id,
            vm_disk=volume,
            whiteboard=VolumeRef(image_id="he_metadata", volume_id="he_metadata"),
            lockspace=VolumeRef(image_id="he_sanlock", volume_id="he_sanlock"),
            domain_type=1,
            bridge="ovirtmgmt",
            network_test=model.NetworkTest(kind=model.NetworkTestKind.PING, address="gateway"),
            is_up_to_date=True,
            connections=({"id": "c"},),
        )

    def _settings(self) -> Settings:
        return Settings(
            sanlock_io_timeout_s=self._world.io_timeout_s,
            host_name=self._host.name,
            definition_s=20.0,
            host_facts_s=3600.0,
            local_file_s=10.0,
            history_s=60.0,
            own_lease_s=10.0,
            hosts_s=10.0,
            lease_owners_s=10.0,
            tick_s=10.0,
            policy=self._world.policy,
        )


class _Leases:
    def __init__(self, process: OurAgent) -> None:
        self._process = process

    def _sanlock(self) -> Any:
        self._process.check()
        sanlock = self._process.host.sanlock
        if not sanlock.running:
            raise SanlockAway
        return sanlock

    async def start_join(self, lockspace: model.Lockspace, host_id: int, *, io_timeout_s: int) -> None:
        self._sanlock().add_lockspace(lockspace.name, host_id, io_timeout_s)

    async def membership(self, lockspace: model.Lockspace, host_id: int) -> model.Membership:
        found: model.Membership = self._sanlock().membership(lockspace.name, host_id)
        return found

    async def hosts(self, lockspace_name: str) -> tuple[model.HostLease, ...] | None:
        found: tuple[model.HostLease, ...] | None = self._sanlock().hosts(lockspace_name)
        return found


class _Definitions:
    """The definition is what the story says: a disk's volume, with or without a lease, or none."""

    def __init__(self, process: OurAgent) -> None:
        self._process = process
        self._seen: Startable | None = None
        self._trouble: str | None = None

    @property
    def account(self) -> DefinitionAccount:
        return DefinitionAccount(trouble=self._trouble)

    @property
    def is_saved(self) -> bool:
        return True

    async def look(self) -> None:
        host = self._process.host
        self._trouble = "the storage cannot be read"
        await host.way.io()
        offered = host.world.definition_of(host)
        self._trouble = (
            None if offered is not None else "the OVF_STORE holds no definition that can be started"
        )
        if offered is not None:
            self._seen = offered

    async def see_to_history(self) -> None:
        pass

    def current(self) -> Startable | None:
        return self._seen

    async def begin(self, sha256: str, command: int) -> None:
        pass

    def follow(self, look: Callable[[], snapshot.Snapshot], now: model.MonotonicMs) -> None:
        pass


class _HostView:
    async def look(self) -> None:
        pass


class _Page:
    def __init__(self, process: OurAgent) -> None:
        self._process = process

    async def probe(self) -> model.HealthProbe:
        host = self._process.host
        outcome, takes_s = host.world.page(host)
        if takes_s:
            await asyncio.sleep(takes_s)
        return model.HealthProbe(at=host.clock(), outcome=outcome, reason=outcome.value)


class _HaConf:
    def __init__(self, host: "SimHost") -> None:
        self._host = host

    def read(self) -> Flag:
        return Flag(self._host.local_maintenance, "ha.conf")

    async def set(self, mode: model.LocalMode, on: bool) -> None:
        if mode is model.LocalMode.LOCAL_MANUAL:
            self._host.local_manual = on
        self._host.local = on
        self._host.local_changed_ms = self._host.world.loop.now_ms()


class _Network:
    def __init__(self, host: "SimHost") -> None:
        self._host = host

    async def test(self) -> model.NetworkAnswers:
        up = self._host.world.gateway_seen(self._host)
        if not up:  # it waits for the answers
            await asyncio.sleep(27.0)
            up = self._host.world.gateway_seen(self._host)
        return model.NetworkAnswers(answered=5 if up else 0, asked=5, reason="" if up else "no answer")


class _Cpu:
    def __init__(self, host: "SimHost") -> None:
        self._host = host
        self._busy = self._total = 0.0
        self._at = host.clock()

    def read(self) -> load.CpuTimes:
        now = self._host.clock()
        passed, self._at = now - self._at, now
        self._total += passed
        self._busy += passed * self._host.cpu_load
        return load.CpuTimes(busy=int(self._busy), total=int(self._total), cpus=8)


class _StateFile:
    def __init__(self, process: OurAgent) -> None:
        self._process = process
        self.boot_id = process.host.boot_id

    async def read(self) -> bytes | None:
        return self._process.host.state_file

    async def write(self, data: bytes) -> None:
        self._process.check()
        self._process.host.state_file = data


WHITEBOARD = Path("/he_metadata/he_metadata")
