"""The invariants of safety, checked where they could break: at every command, process and decision.

S-numbers are those of docs/decisions.md. What a host of ours does is judged by the truth of the
simulated world, which no host sees whole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ovirt_he_agent.core import commands, decision, model, snapshot
from ovirt_he_agent.core.decision import Decision
from ovirt_he_agent.core.model import VmStatus
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.sim.cluster.qemu import Qemu
from ovirt_he_agent.sim.cluster.slot_checks import SlotChecks

if TYPE_CHECKING:
    from ovirt_he_agent.sim.cluster.host import SimHost
    from ovirt_he_agent.sim.cluster.world import World

READ_MS = 1_000
"""A command rests on evidence that is at most so old."""
GOOD_MS = 15_000
AGES_MS = {
    "global_maintenance": 15_000,
    "local_maintenance": 15_000,
    "own_ha_lease": 15_000,
    "domain": 25_000,
    "vm": 25_000,
    "slots": 60_000,
    "definition": 60_000,
}
"""A start rests on these, and they count for so long; said here once more, and not taken from the core."""
OWNERS_AGE_MS = 15_000
STARTS_AN_HOUR = 40
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Violation:
    invariant: str
    ms: int
    host: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} broken at {self.ms / 1000:.1f} s on {self.host}: {self.text}"


@dataclass
class _OfHost:
    decision: Decision | None = None
    command: Decision | None = None
    started_ms: list[int] = field(default_factory=list)
    """Its starts of the last hour that have not brought a VM."""
    last_start_ms: int | None = None
    shutdown: tuple[object, ...] = ()
    """The life of the agent that asked a guest to shut down, and that guest."""


@dataclass
class Checks:
    world: "World"
    violations: list[Violation] = field(default_factory=list)
    at_first: dict[int, Decision] = field(default_factory=dict)
    """The hosts' last decisions when the first invariant broke."""
    _hosts: dict[int, _OfHost] = field(default_factory=dict)
    locked_out: dict[int, int] = field(default_factory=dict)
    """By host: starts of ours that failed on the lease."""

    def __post_init__(self) -> None:
        self.slots = SlotChecks(self.world, self.broken)

    def broken(self, invariant: str, host: "SimHost | None", text: str) -> None:
        who = host.name if host is not None else "-"
        violation = Violation(invariant, self.world.loop.now_ms(), who, text)
        if not self.violations:
            self.at_first = dict(self.decisions())
        self.violations.append(violation)
        self.world.say(f"!! {violation}", host)

    def _of(self, host: "SimHost") -> _OfHost:
        known = self._hosts.get(host.number)
        if known is None:
            known = self._hosts[host.number] = _OfHost()
        return known

    # commands

    def decided(self, host: "SimHost", decided: Decision) -> None:
        """Each tick of a host of ours."""
        known = self._of(host)
        before, known.decision = known.decision, decided
        if before is None or before.phase is not decided.phase:
            self.world.timeline.note(self.world.loop.now_ms(), host.number, decided.phase.value)
            host.say(f"{decided.phase.value}: {decided.reason}")
        self.slots.decided(host, decided)
        command = decided.command
        if command is None:
            return
        known.command = decided
        if decided.scene.snap.command is not None and decided.scene.snap.command.done_at is None:
            self.broken("S11", host, f"{type(command).__name__} while a command is in flight")
        self._decided_again(host, decided, command)
        match command:
            case commands.StartVm():
                self._start_decided(host, decided)
            case commands.DestroyVm() | commands.ShutdownVm():
                self._stop_decided(host, decided)
            case commands.CleanVdsmEntry():
                pass

    def _decided_again(self, host: "SimHost", decided: Decision, command: commands.VmCommand) -> None:
        """The same inputs give the same decision, and the command in flight gives no other one."""
        scene = decided.scene

        def decide(state: Any, snap: snapshot.Snapshot) -> Decision:
            return decision.decide(state, snap, scene.now, rules_of=scene.rules, weights=scene.weights)

        again = decide(decided.before, scene.snap)
        if again.command != command or again.state != decided.state:
            self.broken("S11", host, "the same inputs give another decision")
        number = scene.snap.command.number + 1 if scene.snap.command is not None else 1
        given = snapshot.Command(number=number, kind=type(command).__name__, given_at=scene.now)
        if (next_ := decide(decided.state, replace(scene.snap, command=given)).command) is not None:
            self.broken("S11", host, f"{type(next_).__name__} while {type(command).__name__} is in flight")

    def _start_decided(self, host: "SimHost", decided: Decision) -> None:
        scene = decided.scene
        snap = scene.snap
        for what in self._too_old(snap, scene.now):
            self.broken("S13", host, f"start on old evidence: {what}")
        own = snap.own_ha_lease.value
        if own is None or not own.held:
            self.broken("S1", host, "start without its host id lease in the evidence")
        if snap.domain.value is None or not snap.domain.value.acquired:
            self.broken("S1", host, "start without the storage domain's lease in the evidence")
        self._leases_decided(host, snap)
        forced = decided.heard is not None and snap.request is not None and snap.request.force
        if scene.global_maintenance is not False and not forced:
            self.broken("S1", host, "start while global maintenance is not known to be off")
        if scene.local_maintenance is not False:
            self.broken("S1", host, "start while local maintenance is not known to be off")
        if decided.verdict.place is not Place.NOWHERE:
            self.broken("S1", host, f"start on the verdict {decided.verdict.place.value}")
        definition = snap.definition.value
        if definition is None or not definition.leases:
            self.broken("S1", host, "start of a definition without a lease")

    def _too_old(self, snap: snapshot.Snapshot, now: int) -> Iterator[str]:
        for name, limit_ms in AGES_MS.items():
            at = getattr(snap, name).at
            if at is None or not 0 <= now - at <= limit_ms:
                yield f"{name} as of {at}, now is {now}"
        for ref in snap.leases():
            read = snap.vm_leases.get(ref)
            if read is None or read.at is None or not 0 <= now - read.at <= OWNERS_AGE_MS:
                yield f"owners of {ref.volume_id}"

    def _leases_decided(self, host: "SimHost", snap: snapshot.Snapshot) -> None:
        hosts = snap.sd_hosts.value or {}
        for ref in snap.leases():
            read = snap.vm_leases.get(ref)
            view = read.value if read is not None else None
            if view is None or view.owners is None:
                self.broken(
                    "S1", host, f"start although the owner of the lease of {ref.volume_id} is unknown"
                )
                continue
            for owner in view.owners:
                seen = hosts.get(owner)
                if seen is None or seen.flag is not model.HostFlag.DEAD:
                    self.broken("S1", host, f"start although host {owner} owns a lease and is not dead")
            if ref in snap.opened() and view.is_leaf is not True:
                self.broken("S1", host, f"start although {ref.volume_id} is not known to be a leaf")

    def _stop_decided(self, host: "SimHost", decided: Decision) -> None:
        stop = decided.state.stop
        cause = stop.cause.value if stop is not None else "none"
        begins = decided.before.stop is None
        if begins and cause == "network lost" and not decided.scene.field.rivals:
            self.broken("S10", host, "stop for the network without a rival")
        good = decided.scene.snap.page_good_at
        lately = good is not None and decided.scene.now - good <= GOOD_MS
        if lately and cause not in ("asked", "network lost", "twin") and self._holds_lease(host):
            self.broken("S4", host, f"stop ({cause}) of a VM whose engine was good within 15 s")

    def _holds_lease(self, host: "SimHost") -> bool:
        qemu = host.vdsm.qemu
        owner = host.sanlock.raw_owner(self.world.domain_id, self.world.volume_id)
        return qemu is not None and qemu.runs and owner is not None and owner[0] == host.host_id

    def _forced(self, host: "SimHost") -> bool:
        given = self._of(host).command
        request = given.scene.snap.request if given is not None else None
        return given is not None and given.heard is not None and request is not None and request.force

    def _global_maintenance(self, host: "SimHost", what: str) -> None:
        since = self.slots.global_on_ms
        if since is not None and self.world.loop.now_ms() - since > READ_MS and not self._forced(host):
            self.broken("S2", host, f"{what} in global maintenance, which is on for longer than a second")

    def leaves(self, host: "SimHost") -> None:
        """A VM command of ours leaves: what it rests on has just been read again."""
        given, agent = self._of(host).command, host.agent
        if agent is None or given is None:
            return
        board, now = agent.agent.board, host.clock()
        reads = [
            (name, getattr(board, name).at)
            for name in ("vm", "global_maintenance", "local_maintenance", "own_ha_lease")
        ]
        if isinstance(given.command, commands.DestroyVm | commands.ShutdownVm):
            # unknown after it was off keeps nobody from stopping what is sick
            reads = [read for read in reads if read[0] != "global_maintenance"]
        if isinstance(given.command, commands.StartVm):
            reads += [
                (f"the owners of {ref.volume_id}", read.at if read is not None else None)
                for ref in given.scene.snap.opened()
                for read in (board.vm_leases.get(ref),)
            ]
        for name, at in reads:
            if at is None or now - at > READ_MS:
                age = "never" if at is None else f"{now - at} ms before"
                self.broken("S13", host, f"{type(given.command).__name__} leaves, {name} was read {age}")

    def start_given(self, host: "SimHost") -> None:
        """``VM.create`` comes to the VDSM of a host of ours."""
        world, vdsm = self.world, host.vdsm
        self._count_start(host)
        self._global_maintenance(host, "start")
        held = host.sanlock.membership("hosted-engine", host.host_id)
        if held is not model.Membership.HELD:
            self.broken("S1", host, "start without the host id lease")
        if vdsm.domain_lease() is not model.Membership.HELD:
            self.broken("S1", host, "start without the storage domain's lease")
        if host.local_maintenance:
            self.broken("S1", host, "start in local maintenance")
        definition = world.definition_of(host)
        for ref in definition.facts.leases if definition is not None else ():
            if world.storage.leaves.get(ref.volume_id) is False:
                self.broken("S1", host, f"start on volume {ref.volume_id}, which is no leaf")
        owner = host.sanlock.raw_owner(world.domain_id, world.volume_id)
        if owner is not None and owner[0] != host.host_id:
            there = next((h for h in world.hosts.values() if h.host_id == owner[0]), None)
            holder = next(
                (q for q in world.qemus if there and q.number == there.number and q.has_lease), None
            )
            hosts = {h.host_id: h for h in host.sanlock.hosts(world.domain_id) or ()}
            seen = hosts.get(owner[0])
            if seen is not None and seen.flag is model.HostFlag.LIVE and seen.generation == owner[1]:
                self.broken("S1", host, f"start although live host {owner[0]} owns the lease")
            elif holder is not None and there is not None and there.powered and seen is None:
                self.broken("S1", host, f"start although host {owner[0]} owns the lease and is not known")

    def _count_start(self, host: "SimHost") -> None:
        known, now = self._of(host), self.world.loop.now_ms()
        known.last_start_ms = now
        known.started_ms = [ms for ms in known.started_ms if now - ms < HOUR_MS]
        if len(known.started_ms) >= STARTS_AN_HOUR:
            self.broken("L4", host, f"{len(known.started_ms)} starts within an hour came to nothing")
            known.started_ms = []
        known.started_ms.append(now)

    def last_start_ms(self) -> int:
        """When a host of ours started the VM last; 0: never."""
        return max((known.last_start_ms or 0 for known in self._hosts.values()), default=0)

    def shutdown_given(self, host: "SimHost") -> None:
        known = self._of(host)
        given = known.command.state.stop if known.command is not None else None
        asked = host.agent, host.vdsm.qemu, given.since if given is not None else None
        requested = known.command is not None and known.command.heard is not None
        if known.shutdown == asked and not requested:
            self.broken("S11", host, "the guest is asked to shut down for a second time")
        known.shutdown = asked
        self._global_maintenance(host, "shutdown")
        self._maintenance_here(host, "shutdown")

    def destroy_given(self, host: "SimHost") -> None:
        """``VM.destroy`` leaves a host of ours: a stop, or the record of a dead VM is cleared."""
        given = self._of(host).command
        kind = given.command if given is not None else None
        record = host.vdsm.record
        if isinstance(kind, commands.CleanVdsmEntry):
            if record is not None and record.status is not VmStatus.DOWN:
                self.broken("S5", host, f"clearing VDSM's record meets a VM that is {record.status_text}")
            return
        self._global_maintenance(host, "power-off")
        self._maintenance_here(host, "power-off")
        stop = given.state.stop if given is not None else None
        if stop is not None and stop.cause.value == "twin" and self._holds_lease(host):
            self.broken("S4", host, "the twin that holds the lease is powered off")

    def _maintenance_here(self, host: "SimHost", what: str) -> None:
        given = self._of(host).command
        asked = given is not None and given.heard is not None
        stop = given.state.stop if given is not None else None
        if host.local_maintenance and not asked and (stop is None or stop.cause.value != "asked"):
            self.broken("S14", host, f"{what} in local maintenance")

    def monitor_stopped(self, host: "SimHost") -> None:
        record = host.vdsm.record
        if record is not None and record.status is not VmStatus.DOWN:
            self.broken("S6", host, f"the domain monitor is stopped while the VM is {record.status_text}")

    # processes

    def runs(self, qemu: Qemu) -> None:
        """A process has the disk open and may write."""
        if (known := self._of(self.world.hosts[qemu.number])).started_ms and qemu.started_by == "ours":
            known.started_ms.pop()
        others = [other for other in self.world.qemus if other is not qemu and other.runs]
        if not others:
            return
        host = self.world.hosts[qemu.number]
        text = f"two VMs run: here and on {', '.join(f'host{other.number}' for other in others)}"
        if qemu.started_by == "ours":
            self.broken("S3", host, text)
        else:
            self.world.say(f"{text} (started by {qemu.started_by})", host)

    # after every step

    def twice_running(self) -> None:
        """At quiescence: no two hosts of ours are in RUNNING for long."""
        running = [decided for decided in self.decisions().values() if decided.phase is Phase.RUNNING]
        if len(running) > 1:
            ids = [decided.scene.snap.host_id for decided in running]
            self.broken("S3", None, f"hosts {ids} are all RUNNING at quiescence")

    def decisions(self) -> Mapping[int, Decision]:
        """The last ones of agents that are alive."""
        agents = {number: host.agent for number, host in self.world.hosts.items() if not host.upstream}
        return {
            number: known.decision
            for number, known in self._hosts.items()
            if known.decision is not None and (agent := agents.get(number)) is not None and agent.alive
        }
