"""The invariants of safety, checked where they could break: at every command, slot, process and decision.

S-numbers are those of docs/decisions.md. What a host of ours does is judged by the truth of the
simulated world, which no host sees whole.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ovirt_he_agent.core import commands, decision, model, snapshot, whiteboard
from ovirt_he_agent.core.decision import Decision
from ovirt_he_agent.core.model import VmStatus
from ovirt_he_agent.core.publication import Published
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.sim.cluster.qemu import Qemu
from ovirt_he_agent.sim.cluster.upstream import slots as upstream_slots

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
WRITTEN_MS = 12_000
"""From a decision until what it says is on the whiteboard, or never is."""
SAID_MS = 2_000
"""From a new state until it is on the whiteboard."""
SETTLED_S = 30.0
"""A host's storage has worked for so long."""
MEANT_KEPT = 8
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
    timestamp: int | None = None
    held: bool = False
    """Its host id lease, when it asked for the last write."""
    last: tuple[object, bytes] | None = None
    """The agent that wrote its slot last, and what."""
    boot: int = 0
    written_ms: int = 0
    gone_ms: int | None = None
    """Since when its decisions have known that the VM is not there."""
    meant: deque[tuple[object, ...]] = field(default_factory=lambda: deque(maxlen=MEANT_KEPT))
    """What its last decisions wanted to be read in its slot."""
    said: Published | None = None
    """What the last of them was made of."""
    global_asked: bool = False
    """An operator has asked for a change of global maintenance here."""
    started_ms: list[int] = field(default_factory=list)
    """Its starts of the last hour that have not brought a VM."""
    state: str = ""
    """What it publishes."""
    last_start_ms: int | None = None
    shutdown: tuple[object, ...] = ()
    """The life of the agent that asked a guest to shut down, and that guest."""


@dataclass
class Checks:
    world: "World"
    violations: list[Violation] = field(default_factory=list)
    at_first: dict[int, Decision] = field(default_factory=dict)
    """The hosts' last decisions when the first invariant broke."""
    global_on_ms: int | None = None
    """Since when slot 0 says on; None: it says off."""
    global_changed_ms: int = 0
    """When slot 0 was written last."""
    _hosts: dict[int, _OfHost] = field(default_factory=dict)
    locked_out: dict[int, int] = field(default_factory=dict)
    """By host: starts of ours that failed on the lease."""

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
        self._note_words(host, known, decided)
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

    def _note_words(self, host: "SimHost", known: _OfHost, decided: Decision) -> None:
        view = decided.scene.view
        if view is None or (view.report is not None and view.report.status is not VmStatus.DOWN):
            known.gone_ms = None
        elif known.gone_ms is None:
            known.gone_ms = self.world.loop.now_ms()
        said = decided.published
        if said is not None and said is not known.said and said != known.said:
            known.said = said
            flags = (str(int(said.local_maintenance)), str(int(said.stopped)))
            meant = (host.name, str(host.host_id), said.score, said.engine.vm.value, *flags)
            if not known.meant or known.meant[-1] != meant:
                known.meant.append(meant)
            if known.state != said.state:
                known.state = said.state
                ms = self.world.loop.now_ms() + SAID_MS
                self.world.loop.at(ms, lambda: self._must_have_said(host, said.state))

    def _must_have_said(self, host: "SimHost", state: str) -> None:
        """A new state is on the whiteboard at once."""
        decided, agent = self._of(host).decision, host.agent
        published = decided.published if decided is not None else None
        if agent is None or not agent.alive or agent.owner.frozen or published is None:
            return
        if (
            published.state != state
            or not host.writes_well_for_s(SETTLED_S)
            or host.running_for_s() < SETTLED_S
        ):
            return
        slot = self.world.storage.decode(host.host_id, self.world.storage.slots.get(host.host_id, b""))
        if isinstance(slot, whiteboard.HostSlot) and slot.state != state:
            self.broken("L8", host, f"is {state} for {SAID_MS / 1000:g} s, and its slot says {slot.state}")

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
        since = self.global_on_ms
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

    # slots

    def slot_write_asked(self, writer: int) -> None:
        """A host of ours asks for a write. What hangs then and is done later is done under that lease:
        nobody else gets the host id within the time that the write is waited for."""
        host = self.world.hosts[writer]
        killed_ms = host.sanlock_killed_ms
        # a daemon that was killed still protects its host id, and nobody can see it die at once
        known_held = (
            killed_ms is not None and self.world.loop.now_ms() - killed_ms <= snapshot.OWN_LEASE_LIMIT_MS
        )
        held = host.sanlock.membership("hosted-engine", host.host_id) is model.Membership.HELD
        self._of(host).held = held or known_held

    def slot_written(self, writer: int | None, number: int, block: bytes) -> None:
        now = self.world.loop.now_ms()
        if number == 0:
            self.global_changed_ms = now
            on = block.rstrip(b"\0") in (b"maintenance=1", b"maintenance=True")
            if on and self.global_on_ms is None:
                self.global_on_ms = now
            elif not on:
                self.global_on_ms = None
            writing = self.world.hosts.get(writer) if writer is not None else None
            if writing is not None and not writing.upstream and not self._of(writing).global_asked:
                self.broken("S7", writing, "writes slot 0, and nobody has asked it to")
            return
        host = self.world.hosts.get(writer) if writer is not None else None
        if host is None or host.upstream:
            return
        if number != host.host_id:
            self.broken("S7", host, f"writes slot {number}")
        if not self._of(host).held:
            self.broken("S7", host, "writes its slot without its host id lease")
        self._slot_of_ours(host, block, now)

    def _slot_of_ours(self, host: "SimHost", block: bytes, now: int) -> None:
        known = self._of(host)
        slot = self.world.storage.decode(host.host_id, block)
        readable = isinstance(slot, whiteboard.HostSlot)
        last, known.last = known.last, (host.agent, block)
        is_news = last is not None and last[0] is host.agent and not readable  # it has better than garbage
        if last == known.last or (block == self.world.storage.before and not is_news):
            return  # its last block, or what stood there, is written once more, to see whether writing works
        self._read_by_upstream(host, block)
        if not block.isascii() or len(block) != whiteboard.SLOT_BYTES:
            self.broken("S8", host, "its slot is not 4096 bytes of ASCII")
        if not isinstance(slot, whiteboard.HostSlot):
            self.broken("S8", host, f"its slot does not parse: {slot}")
            return
        if known.boot != host.boots:
            known.timestamp, known.boot = None, host.boots
        if known.timestamp is not None and slot.timestamp <= known.timestamp:
            self.broken("S8", host, f"token 2 goes from {known.timestamp} to {slot.timestamp}")
        known.timestamp, known.written_ms = slot.timestamp, now
        if slot.claims_vm:
            record, decided = host.vdsm.record, known.decision
            here = record is not None and record.status is not VmStatus.DOWN
            at = decided.scene.snap.vm.at if decided is not None else None
            seen_ms = host.clock() - at if at is not None else None
            if not here and (seen_ms is None or seen_ms > 30_000):
                self.broken("S9", host, "says up although VDSM has not said so for 30 s")
            if known.gone_ms is not None and now - known.gone_ms > WRITTEN_MS:
                self.broken("S9", host, "says up although VDSM says that the VM is not here")

    def _read_by_upstream(self, host: "SimHost", block: bytes) -> None:
        """A neighbour's agent reads what was meant."""
        text = block[: whiteboard.TOKENS_BYTES].decode("ascii", errors="replace")  # it reads no more of it
        parsed = upstream_slots.parse(host.host_id, text)
        record, known = parsed.record, self._of(host)
        if record is None or parsed.uncaught:
            self.broken("S8", host, f"upstream cannot read its slot: {parsed.uncaught or 'malformed'}")
        elif record.rank is None or record.status is None:
            self.broken("S8", host, f"upstream cannot rank its engine status {record.status}")
        else:
            tokens = text.rstrip("\0").split("|")
            found = (record.host_name, tokens[3], record.score, record.status["vm"], tokens[7], tokens[8])
            leaving = host.agent is not None and host.agent.agent.board.leaving
            if known.meant and found not in known.meant and not leaving:  # last words are no tick's
                self.broken("S8", host, f"upstream reads {found}, meant was {known.meant[-1]}")

    def global_asked(self, host: "SimHost") -> None:
        """An operator changes global maintenance on ``host``."""
        self._of(host).global_asked = True

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

    def slot_age_s(self, host: "SimHost") -> float:
        return (self.world.loop.now_ms() - self._of(host).written_ms) / 1000
