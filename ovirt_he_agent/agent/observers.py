"""Who keeps the board's evidence young: one component for each source, at its own pace."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ovirt_he_agent.agent import ports
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.agent.component import Component, Condition, NotYet
from ovirt_he_agent.agent.deployment import HA_LOCKSPACE, Deployment
from ovirt_he_agent.agent.ha_lease import HaLease
from ovirt_he_agent.agent.memory import Memory
from ovirt_he_agent.agent.own_slot import PERIOD_S, Identity, OwnSlot
from ovirt_he_agent.agent.resources import CPU_PERIOD_S, HOST_PERIOD_S, NETWORK_PERIOD_S, Resources
from ovirt_he_agent.agent.settings import Settings
from ovirt_he_agent.agent.storage import Storage
from ovirt_he_agent.agent.vm_conf import VmConf
from ovirt_he_agent.agent.vm_watch import VmWatch
from ovirt_he_agent.agent.whiteboard_watch import WhiteboardWatch
from ovirt_he_agent.core import model, snapshot
from ovirt_he_agent.core.decision import Decision, Wants
from ovirt_he_agent.errors import HeAgentError

log = logging.getLogger(__name__)


@dataclass(eq=False)
class StorageNotReady(NotYet):
    msg: ClassVar[str] = "the storage domain's volumes are not prepared yet; see component storage"


@dataclass(eq=False)
class NoStorageInMaintenance(NotYet):
    reason: str
    msg: ClassVar[str] = "in local maintenance the storage may be gone: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The ports that evidence comes through."""

    vdsm: ports.Vdsm
    leases: ports.Leases
    whiteboard: ports.Whiteboard
    definitions: ports.Definitions
    host_view: ports.HostView
    health: ports.Health
    local_maintenance: ports.LocalMaintenance
    vm_conf: ports.VmConf | None
    """None: nobody reads it here."""
    network: ports.Network
    statistics: ports.Statistics
    cpu: ports.CpuCounters
    state_file: ports.StateFile
    wall_text: Callable[[model.MonotonicMs], str]
    """Wall-clock text of a time on the agent's clock, for people."""


NOBODY_TO_WATCH_S = 60.0
"""It is poked when there is somebody."""
_AT_FIRST = Wants(alert=True, lease_owners=True, count_down=False, domain_monitor=True, watch=None)


class Observers:
    """Owns the components; ``run`` ends only by cancellation."""

    def __init__(
        self, deployment: Deployment, board: Board, settings: Settings, world: World, identity: Identity
    ) -> None:
        self._deployment = deployment
        self._board = board
        self._settings = settings
        self._world = world
        self._storage = Storage(deployment, world.vdsm)
        self._ha_lease = HaLease(
            world.leases, deployment.host_id, io_timeout_s=settings.sanlock_io_timeout_s, clock=board.clock
        )
        self.definition: ports.StartableDefinition | None = None
        """The definition whose facts stand on the board."""
        self.wants = _AT_FIRST
        s = settings
        self.own_slot = OwnSlot(board, world.whiteboard, self._ha_lease, identity, wall_text=world.wall_text)
        self.memory = Memory(world.state_file, lambda: self._state_file.poke())
        self._resources = Resources(
            world.network,
            world.statistics,
            world.cpu,
            vm_id=deployment.vm_id,
            bridge=deployment.bridge,
            clock=board.clock,
        )
        self._watched = VmWatch(
            board, world.vdsm, world.health, lambda: self.wants, changed=self._look_at_owners_and_page
        )
        self._slots = WhiteboardWatch(board, world.whiteboard, changed=lambda: self._owners.poke())
        self._vm = self._component(
            "vm", self._watched.poll, lambda: self._pace(s.vm_poll_s, s.vm_poll_alert_s)
        )
        self._owners = self._component(
            "vm-leases",
            self._watched.read_owners,
            lambda: self._pace(s.lease_owners_s, s.lease_owners_alert_s),
        )
        self._page = self._component(
            "engine-page", self._watched.probe, lambda: self._pace(s.probe_s, s.probe_alert_s)
        )
        self._board_reader = self._component(
            "whiteboard", self._read_whiteboard, lambda: self._pace(s.whiteboard_s, s.whiteboard_alert_s)
        )
        self._storage_component = self._component("storage", self._see_to_storage, self._storage_period_s)
        self._lease = self._component("ha-lease", self._look_at_lease, self._lease_period_s)
        self._watch = self._component(
            "watch",
            self._watch_claimant,
            lambda: NOBODY_TO_WATCH_S if self.wants.watch is None else s.whiteboard_alert_s,
        )
        self._writer = self._component("own-slot", self._write_own_slot, lambda: PERIOD_S)
        self._hosts = self._component(
            "hosts", self._read_hosts, lambda: s.hosts_alert_s if self.wants.count_down else s.hosts_s
        )
        self._local_file = self._component("local-maintenance", self._read_local_file, lambda: s.local_file_s)
        self._state_file = self._component("state-file", self.memory.save, lambda: s.state_file_s)
        self._history = self._component(
            "definition-history", world.definitions.see_to_history, lambda: s.history_s
        )
        self._vm_conf = self._component("vm-conf", self._see_to_vm_conf, lambda: s.definition_s)
        self._vm_conf_text = VmConf(world.vm_conf, world.definitions) if world.vm_conf is not None else None
        self._components = (
            self._local_file,
            self._vm,
            self._storage_component,
            self._lease,
            self._hosts,
            self._board_reader,
            self._watch,
            self._writer,
            self._component("network", self._look_at_network, lambda: NETWORK_PERIOD_S),
            self._component("host-resources", self._look_at_resources, lambda: HOST_PERIOD_S),
            self._component("cpu-load", self._look_at_cpu, lambda: CPU_PERIOD_S),
            self._state_file,
            self._component("host-facts", self._look_at_host, lambda: s.host_facts_s),
            self._component("definition", self._look_at_store, lambda: s.definition_s),
            self._history,
            self._vm_conf,
            self._owners,
            self._page,
        )

    async def prepared_whiteboard(self) -> Path:
        """For people who want to write to it: prepared now if it is not; raises why it cannot be."""
        if self._storage.whiteboard is None or self._board.in_local_maintenance:
            return await self._storage.prepare_whiteboard()
        return self._storage.whiteboard

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return tuple(component.condition for component in self._components)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="vm-events")
            for component in self._components:
                tasks.create_task(component.run(), name=component.name)

    def follow(self, decided: Decision) -> None:
        """Look where the rules want it, and say on the whiteboard what they say."""
        old, new = self.wants, decided.wants
        self.wants = new
        if new != old:
            if new.alert and not old.alert:
                self.look_again()
            if new.count_down and not old.count_down:
                self._hosts.poke()
            if new.lease_owners and not old.lease_owners:
                self._owners.poke()
            if new.domain_monitor is not old.domain_monitor:
                self._storage_component.poke()
            if new.watch is not None and new.watch != old.watch:
                self._watch.poke()
        if self.own_slot.say(decided.published):
            self._writer.poke()
        self.memory.keep(decided.state)

    async def last_words(self) -> None:
        """Write the slot once more, now; raises what the write raises."""
        await self._write_own_slot()

    def look_again(self) -> None:
        """The VM's fate may have changed: ask for it now."""
        self._vm.poke()
        self._look_at_owners_and_page()

    def _look_at_owners_and_page(self) -> None:
        self._owners.poke()
        self._page.poke()

    async def reread_vm_evidence(self) -> None:
        """Read what VDSM says of the VM and its leases now; raises what the VDSM adapter raises."""
        # both at once: with a slow VDSM the first answer would be too old when the second one comes
        answers = await asyncio.gather(
            self._watched.poll(), self._watched.read_owners(), return_exceptions=True
        )
        for answer in answers:
            if answer is not None:
                raise answer

    async def reread_vm(self) -> None:
        """Read what VDSM says of the VM now; raises what the VDSM adapter raises."""
        await self._watched.poll()

    async def reread_hosts(self) -> None:
        """Read the lockspaces' hosts now; raises what the adapter raises."""
        await self._read_hosts()

    async def reread_flags_and_lease(self) -> None:
        """Read slot 0, ha.conf and our host id lease now; raises what the adapters raise."""
        path = self._storage.whiteboard
        lockspace = self._storage.lockspace
        if path is None or lockspace is None:
            raise StorageNotReady
        board = self._board
        await self._read_local_file()
        board.own_ha_lease = board.own_ha_lease.renewed(await self._ha_lease.look(lockspace), board.clock())
        self._board.note_flag("global_maintenance", await self._world.whiteboard.read_global(path))

    # one method for each component, and what a failure of it does to the evidence

    def _component(
        self, name: str, work: Callable[[], Awaitable[None]], period_s: Callable[[], float]
    ) -> Component:
        fields = _FIELDS[name]

        def failed(problem: str) -> None:
            for field in fields:
                setattr(self._board, field, getattr(self._board, field).failed(problem))
            self._board.news.set()

        return Component(name, work, period_s=period_s, clock=self._board.clock, failed=failed)

    def _pace(self, calm_s: float, alert_s: float) -> float:
        return alert_s if self.wants.alert else calm_s

    async def _listen(self) -> None:
        """Reports from VDSM's events; a gap in them means: poll."""
        while True:
            report = await self._world.vdsm.next_news()
            if report is None:
                self._vm.poke()
                self._storage_component.poke()
            else:
                self._watched.news_of(report)

    async def _see_to_storage(self) -> None:
        if self._board.in_local_maintenance:
            if self.wants.domain_monitor is False:
                await self._storage.release()
            return  # VDSM may disconnect the storage: hands off
        board = self._board
        vitals = await self._storage.vitals()
        if board.domain.value is None or board.domain.value.acquired != vitals.acquired:
            log.info("storage domain %s: host id acquired: %s", vitals.domain_id, vitals.acquired)
            board.news.set()
        board.domain = board.domain.renewed(vitals, board.clock())
        prepared = self._storage.whiteboard is not None
        await self._storage.prepare()
        if not prepared:
            for waiting in (self._board_reader, self._lease, self._writer):
                if waiting.condition.ok is not False:  # a failing one has poked us: it keeps to its own pace
                    waiting.poke()

    def _storage_period_s(self) -> float:
        vitals = self._board.domain.value
        return 10.0 if vitals is not None and vitals.acquired else 1.0

    async def _look_at_lease(self) -> None:
        if self._board.in_local_maintenance:
            return
        if self._storage.lockspace is None:
            raise StorageNotReady
        board = self._board
        lease = await self._ha_lease.look_and_join(self._storage.lockspace)
        old = board.own_ha_lease.value
        if old is None or (old.held, old.detail) != (lease.held, lease.detail):
            board.news.set()
        board.own_ha_lease = board.own_ha_lease.renewed(lease, board.clock())

    def _lease_period_s(self) -> float:
        lease = self._board.own_ha_lease.value
        return self._settings.own_lease_s if lease is not None and lease.held else 0.5

    async def _read_hosts(self) -> None:
        board, leases = self._board, self._world.leases
        for field, name in (("ha_hosts", HA_LOCKSPACE), ("sd_hosts", self._deployment.domain_id)):
            hosts = await leases.hosts(name)
            old = getattr(board, field)
            why = f"sanlock knows no hosts of lockspace {name} yet"
            new = board.hosts_seen(old, hosts) if hosts is not None else old.failed(why)
            setattr(board, field, new)

    async def _read_whiteboard(self) -> None:
        if self._board.in_local_maintenance:
            return
        if self._storage.whiteboard is None:
            raise StorageNotReady
        try:
            await self._slots.read(self._storage.whiteboard)
        except HeAgentError:
            self._storage.forget()  # the engine may have torn the image down
            self._storage_component.poke()
            raise

    async def _watch_claimant(self) -> None:
        path, host_id = self._storage.whiteboard, self.wants.watch
        if path is not None and host_id is not None and not self.wants.alert:
            await self._slots.read_claimant(path, host_id)

    async def _write_own_slot(self) -> None:
        self.own_slot.definition_at = self._board.definition.at
        problem = self._board.own_slot.problem
        try:
            await self.own_slot.write(self._storage.whiteboard, self._storage.lockspace)
        except HeAgentError as e:
            if self._board.in_local_maintenance and not isinstance(e, NotYet):
                raise NoStorageInMaintenance(str(e)) from e
            raise
        if problem is not None:
            self._board.news.set()

    async def _look_at_network(self) -> None:
        await self._resource(self._resources.look_at_network)

    async def _look_at_resources(self) -> None:
        await self._resource(self._resources.look_at_host)

    async def _look_at_cpu(self) -> None:
        await self._resource(self._resources.look_at_cpu)

    async def _resource(self, look: Callable[[], Awaitable[None]]) -> None:
        board, found = self._board, self._resources
        before = board.network.value, board.bridge_up.value
        try:
            await look()
        finally:
            board.network, board.bridge_up = found.network, found.bridge_up
            board.cpu_load, board.memory_free_mib = found.cpu_load, found.memory_free_mib
            if (board.network.value, board.bridge_up.value) != before:
                board.news.set()

    async def _read_local_file(self) -> None:
        self._board.note_flag("local_maintenance", self._world.local_maintenance.read())

    async def _look_at_store(self) -> None:
        if self._board.in_local_maintenance:
            return
        await self._world.definitions.look()
        if self._definition_is_news():
            self._board.news.set()

    async def _see_to_vm_conf(self) -> None:
        if self._vm_conf_text is not None:
            await self._vm_conf_text.see_to()

    async def _look_at_host(self) -> None:
        if not self._board.in_local_maintenance:
            await self._world.host_view.look()

    def _definition_is_news(self) -> bool:
        current = self._world.definitions.current()
        return current is not None and (self.definition is None or self.definition.facts != current.facts)

    def see_to_definition(self, now: model.MonotonicMs) -> None:
        """Learn from the last start, and put the definition of the next one on the board."""
        board, definitions = self._board, self._world.definitions
        definitions.follow(board.snapshot, now)
        if not definitions.is_saved and self._history.condition.ok:
            self._history.poke()
        definition = None if self._board.in_local_maintenance else definitions.current()
        if definition is None:
            if (trouble := definitions.account.trouble) is not None:
                board.definition = board.definition.failed(trouble)
            return
        if self.definition is None or self.definition.facts.leases != definition.facts.leases:
            self._owners.poke()
        if self.definition is None or self.definition.domain_xml != definition.domain_xml:
            self._vm_conf.poke()
        self.definition = definition
        board.definition = snapshot.Evidence(definition.facts, now, definitions.account.trouble)


_FIELDS: dict[str, tuple[str, ...]] = {
    # component -> the evidence that ages when it fails
    "local-maintenance": ("local_maintenance",),
    "vm": ("vm",),
    "storage": ("domain",),
    "ha-lease": ("own_ha_lease",),
    "hosts": ("ha_hosts", "sd_hosts"),
    "whiteboard": ("slots", "global_maintenance"),
    "watch": (),
    "own-slot": ("own_slot",),
    "network": (),
    "host-resources": (),
    "cpu-load": (),
    "state-file": (),
    "definition": ("definition",),
    "host-facts": (),
    "definition-history": (),
    "vm-conf": (),
    "vm-leases": (),
    "engine-page": (),
}
