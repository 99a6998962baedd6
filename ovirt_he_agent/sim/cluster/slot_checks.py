"""The invariants of the whiteboard: what a host of ours writes, under which lease, and what others read.

S-numbers and L-numbers are those of docs/decisions.md. Told of every decision and of every write.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovirt_he_agent.core import model, snapshot, whiteboard
from ovirt_he_agent.core.decision import Decision
from ovirt_he_agent.core.model import VmStatus
from ovirt_he_agent.core.publication import Published
from ovirt_he_agent.sim.cluster.upstream import slots as upstream_slots

if TYPE_CHECKING:
    from ovirt_he_agent.sim.cluster.host import SimHost
    from ovirt_he_agent.sim.cluster.world import World

WRITTEN_MS = 12_000
"""From a decision until what it says is on the whiteboard, or never is."""
SEEN_MS = 30_000
"""Who says up has heard it from VDSM within this time."""
SAID_MS = 2_000
"""From a new state until it is on the whiteboard."""
SETTLED_S = 30.0
"""A host's storage has worked for so long."""
MEANT_KEPT = 8
_ON = (b"maintenance=1", b"maintenance=True")


@dataclass
class _OfSlot:
    """One host of ours and its slot."""

    decision: Decision | None = None
    gone_ms: int | None = None
    """Since when its decisions have known that the VM is not there."""
    said: Published | None = None
    """What its last decision published."""
    meant: deque[tuple[object, ...]] = field(default_factory=lambda: deque(maxlen=MEANT_KEPT))
    """What its last decisions wanted to be read in its slot."""
    global_asked: bool = False
    """An operator has asked for a change of global maintenance here."""
    held: bool = False
    """Its host id lease, when it asked for the last write."""
    last: tuple[object, bytes] | None = None
    """The agent that asked for the last write of its slot, and what it was to say."""
    before: tuple[object, bytes] | None = None
    """The one before; either may have failed."""
    timestamp: int | None = None
    """Of the last write, in boot ``boot`` of the host."""
    boot: int = 0
    written_ms: int = 0


class SlotChecks:
    """``broken`` is called with the invariant, the host and what is wrong."""

    def __init__(self, world: "World", broken: Callable[[str, "SimHost | None", str], None]) -> None:
        self._world = world
        self._broken = broken
        self._hosts: dict[int, _OfSlot] = {}
        self.global_on_ms: int | None = None
        """Since when slot 0 says on; None: it says off."""
        self.global_changed_ms = 0
        """When slot 0 was written last."""

    def age_s(self, host: "SimHost") -> float:
        """Since ``host``, of ours, wrote news into its slot."""
        return (self._world.loop.now_ms() - self._of(host).written_ms) / 1000

    def _of(self, host: "SimHost") -> _OfSlot:
        known = self._hosts.get(host.number)
        if known is None:
            known = self._hosts[host.number] = _OfSlot()
        return known

    # what is meant

    def decided(self, host: "SimHost", decided: Decision) -> None:
        """Each tick of a host of ours."""
        known, now = self._of(host), self._world.loop.now_ms()
        known.decision = decided
        view = decided.scene.view
        if view is None or (view.report is not None and view.report.status is not VmStatus.DOWN):
            known.gone_ms = None
        elif known.gone_ms is None:
            known.gone_ms = now
        said, before = decided.published, known.said
        if said is None or said is before or said == before:
            return
        known.said = said
        flags = (str(int(said.local_maintenance)), str(int(said.stopped)))
        meant = (host.name, str(host.host_id), said.score, said.engine.vm.value, *flags)
        if not known.meant or known.meant[-1] != meant:
            known.meant.append(meant)
        if before is None or before.state != said.state:
            self._world.loop.at(now + SAID_MS, lambda: self._must_have_said(host, said.state))

    def _must_have_said(self, host: "SimHost", state: str) -> None:
        """A new state is on the whiteboard at once."""
        decided, agent = self._of(host).decision, host.agent
        published = decided.published if decided is not None else None
        if agent is None or not agent.alive or agent.owner.frozen or published is None:
            return
        if published.state != state or host.may_be_off_storage:
            return
        if not host.writes_well_for_s(SETTLED_S) or host.running_for_s() < SETTLED_S:
            return
        storage = self._world.storage
        slot = storage.decode(host.host_id, storage.slots.get(host.host_id, b""))
        if isinstance(slot, whiteboard.HostSlot) and slot.state != state:
            self._broken("L8", host, f"is {state} for {SAID_MS / 1000:g} s, and its slot says {slot.state}")

    def global_asked(self, host: "SimHost") -> None:
        """An operator changes global maintenance on ``host``."""
        self._of(host).global_asked = True

    # what is written

    def asked(self, writer: int, number: int, block: bytes) -> None:
        """A host of ours asks for a write. What hangs then and is done later is done under that lease:
        nobody else gets the host id within the time that the write is waited for."""
        host = self._world.hosts[writer]
        killed_ms = host.sanlock_killed_ms
        # a daemon that was killed still protects its host id, and nobody can see it die at once
        known_held = (
            killed_ms is not None and self._world.loop.now_ms() - killed_ms <= snapshot.OWN_LEASE_LIMIT_MS
        )
        held = host.sanlock.membership("hosted-engine", host.host_id) is model.Membership.HELD
        known = self._of(host)
        known.held = held or known_held
        if number != 0:
            known.before, known.last = known.last, (host.agent, block)

    def written(self, writer: int | None, number: int, block: bytes) -> None:
        host = self._world.hosts.get(writer) if writer is not None else None
        if number == 0:
            self._global_written(host, block)
            return
        if host is None or host.upstream:
            return
        if number != host.host_id:
            self._broken("S7", host, f"writes slot {number}")
        if not self._of(host).held:
            self._broken("S7", host, "writes its slot without its host id lease")
        self._slot_of_ours(host, block)

    def _global_written(self, host: "SimHost | None", block: bytes) -> None:
        self.global_changed_ms = now = self._world.loop.now_ms()
        on = block.rstrip(b"\0") in _ON
        if not on:
            self.global_on_ms = None
        elif self.global_on_ms is None:
            self.global_on_ms = now
        if host is not None and not host.upstream and not self._of(host).global_asked:
            self._broken("S7", host, "writes slot 0, and nobody has asked it to")

    def _slot_of_ours(self, host: "SimHost", block: bytes) -> None:
        known, storage = self._of(host), self._world.storage
        slot = storage.decode(host.host_id, block)
        last = known.before
        has_better = last is not None and last[0] is host.agent and not isinstance(slot, whiteboard.HostSlot)
        if last == known.last or (block == storage.before and not has_better):
            return  # its last block, or what stood there, is written once more, to see whether writing works
        self._read_by_upstream(host, block)
        if not block.isascii() or len(block) != whiteboard.SLOT_BYTES:
            self._broken("S8", host, "its slot is not 4096 bytes of ASCII")
        if not isinstance(slot, whiteboard.HostSlot):
            self._broken("S8", host, f"its slot does not parse: {slot}")
            return
        if known.boot != host.boots:
            known.timestamp, known.boot = None, host.boots
        if known.timestamp is not None and slot.timestamp <= known.timestamp:
            self._broken("S8", host, f"token 2 goes from {known.timestamp} to {slot.timestamp}")
        known.timestamp, known.written_ms = slot.timestamp, self._world.loop.now_ms()
        if slot.claims_vm:
            self._claims(host, known)

    def _claims(self, host: "SimHost", known: _OfSlot) -> None:
        record, decided = host.vdsm.record, known.decision
        here = record is not None and record.status is not VmStatus.DOWN
        at = decided.scene.snap.vm.at if decided is not None else None
        if not here and (at is None or host.clock() - at > SEEN_MS):
            self._broken("S9", host, f"says up although VDSM has not said so for {SEEN_MS // 1000} s")
        if known.gone_ms is not None and self._world.loop.now_ms() - known.gone_ms > WRITTEN_MS:
            self._broken("S9", host, "says up although VDSM says that the VM is not here")

    def _read_by_upstream(self, host: "SimHost", block: bytes) -> None:
        """A neighbour's agent reads what was meant."""
        text = block[: whiteboard.TOKENS_BYTES].decode("ascii", errors="replace")  # it reads no more of it
        parsed = upstream_slots.parse(host.host_id, text)
        record, known = parsed.record, self._of(host)
        if record is None or parsed.uncaught:
            self._broken("S8", host, f"upstream cannot read its slot: {parsed.uncaught or 'malformed'}")
        elif record.rank is None or record.status is None:
            self._broken("S8", host, f"upstream cannot rank its engine status {record.status}")
        else:
            tokens = text.rstrip("\0").split("|")
            found = (record.host_name, tokens[3], record.score, record.status["vm"], tokens[7], tokens[8])
            leaving = host.agent is not None and host.agent.agent.board.leaving
            if known.meant and found not in known.meant and not leaving:  # last words are no tick's
                self._broken("S8", host, f"upstream reads {found}, meant was {known.meant[-1]}")
