"""The simulated cluster: its hosts, storage, sanlock, VM and network, and what is done to them.

One loop in virtual time moves all of it; the seed decides whatever chance decides, so a
seed and a story give the same history every time.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ovirt_he_agent.core import own_slot, snapshot
from ovirt_he_agent.core.model import ExitReason, ProbeOutcome, VmStatus
from ovirt_he_agent.core.policy import Policy
from ovirt_he_agent.sim.cluster import timeline
from ovirt_he_agent.sim.cluster.checks import Checks
from ovirt_he_agent.sim.cluster.clock import VirtualLoop
from ovirt_he_agent.sim.cluster.host import SimHost
from ovirt_he_agent.sim.cluster.ours import Startable
from ovirt_he_agent.sim.cluster.qemu import Guest, Qemu
from ovirt_he_agent.sim.cluster.sanlock import LeaseVolume
from ovirt_he_agent.sim.cluster.storage import SharedStorage

VM_ID = "b6bd28c6-cb69-431f-ad65-37efa6931f8c"
DOMAIN_ID = "76a79a20-8ce3-432d-8c1e-112b88ef9510"
VOLUME_ID = "e2831e18-ce81-4abd-bab7-ae470b5b61a6"
LAUNCH_S = 1.0
"""From VDSM's word that it accepted a start to libvirt's request for the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a cluster is made of."""

    hosts: int = 3
    upstream: int = 0
    """So many of them, the last ones, run upstream's daemons."""
    seed: int = 0
    io_timeout_s: int = 10
    watchdog_s: int = 60
    boot_s: float = 60.0
    """The guest's, until its engine is good."""
    shutdown_s: float = 8.0
    reboot_s: float = 120.0
    """A host's, from reset until its services start."""
    memory_mib: int = 16_384
    jitter_ms: int = 0
    policy: Policy = field(default_factory=Policy)
    ids: Mapping[int, int] = field(default_factory=dict)
    """Host ids that are not the host's number: a mistake in a hosted-engine.conf."""
    records: bool = True
    """Keep the log."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story as it happened."""

    ms: int
    who: str
    text: str

    def __str__(self) -> str:
        return f"{self.ms / 1000:9.1f} s  {self.who:<8} {self.text}"


class World:
    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.seed = setup.seed
        self.random = random.Random(setup.seed)
        self.loop = VirtualLoop()  # type: ignore[abstract]  # of sockets and threads it has nothing
        self.storage = SharedStorage()
        self.storage.leaves[VOLUME_ID] = True
        self.lease_volume = LeaseVolume()
        self.vm_id, self.domain_id, self.volume_id = VM_ID, DOMAIN_ID, VOLUME_ID
        self.io_timeout_s, self.watchdog_s = setup.io_timeout_s, setup.watchdog_s
        self.boot_s, self.shutdown_s, self.reboot_s = setup.boot_s, setup.shutdown_s, setup.reboot_s
        self.launch_s = LAUNCH_S
        self.memory_mib = setup.memory_mib
        self.jitter_ms = setup.jitter_ms
        self.policy = setup.policy
        self.lines: list[Line] = []
        self.switch_up = True
        self.dns_up = True
        self.gateway_up = True
        self.definitions_of: dict[int, Startable | None] = {}
        """What a host's OVF_STORE offers where it is not what all others see."""
        self.definition: Startable | None = self.make_definition(VOLUME_ID)
        self.qemus: list[Qemu] = []
        """All that are alive."""
        self.starts: list[tuple[int, Qemu]] = []
        self.good_since_ms: int | None = None
        self.good_ms = 0
        self.first_good: Callable[[], None] = lambda: None
        """Called whenever the engine becomes good."""
        self.timeline = timeline.Timeline()
        self.checks = Checks(self)
        self.storage.written = self.checks.slots.written
        self.storage.asked = self.checks.slots.asked
        first_upstream = setup.hosts - setup.upstream + 1
        self.hosts = {
            number: SimHost(self, number, setup.ids.get(number, number), upstream=number >= first_upstream)
            for number in range(1, setup.hosts + 1)
        }

    def close(self) -> None:
        """Let every process end; nothing of it reaches the world."""
        self.loop.failures.clear()  # told by who ran it
        for host in self.hosts.values():
            host.kill_agent(restart=False)
        self.loop.run_until_ms(self.loop.now_ms())

    # time and words

    def now_s(self) -> float:
        return self.loop.now_ms() / 1000

    def run(self, seconds: float) -> None:
        """So much later."""
        self.loop.run_until_ms(self.loop.now_ms() + int(seconds * 1000))

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        self.loop.at(int(seconds * 1000), act)

    def say(self, text: str, host: SimHost | None = None) -> None:
        if self.setup.records:
            self.lines.append(Line(self.loop.now_ms(), host.name if host is not None else "-", text))

    # the VM

    def make_definition(
        self, volume_id: str, *, with_lease: bool = True, memory_mib: int | None = None
    ) -> Startable:
        ref = snapshot.LeaseRef(domain_id=DOMAIN_ID, image_id="disk", volume_id=volume_id)
        facts = snapshot.Definition(
            vm_id=VM_ID,
            name="HostedEngine",
            sha256=f"{volume_id} {with_lease} {memory_mib}",
            generation=1,
            memory_mib=memory_mib or self.memory_mib,
            leases=(ref,) if with_lease else (),
            source="simulated OVF_STORE",
        )
        return Startable(facts, f"{volume_id} {'lease' if with_lease else 'none'}")

    def definition_of(self, host: SimHost) -> Startable | None:
        return self.definitions_of.get(host.number, self.definition)

    @property
    def running(self) -> Qemu | None:
        """The VM that runs; with several, the first."""
        return next((qemu for qemu in self.qemus if qemu.runs), None)

    def begin(self, qemu: Qemu) -> None:
        """A qemu process opens the disk."""
        self.say(f"VM starts ({qemu.started_by})", self.hosts[qemu.number])
        self.qemus.append(qemu)
        self.starts.append((self.loop.now_ms(), qemu))
        self.checks.runs(qemu)
        self.count()
        self.loop.at(self.loop.now_ms() + qemu.boot_ms, lambda: self._booted(qemu))

    def _booted(self, qemu: Qemu) -> None:
        if qemu.alive and qemu.guest is Guest.BOOTING:
            self.guest(qemu, Guest.GOOD)

    def end(self, qemu: Qemu) -> None:
        """A process ends."""
        if not qemu.alive:
            return
        qemu.alive = False
        self.qemus.remove(qemu)
        host = self.hosts[qemu.number]
        self.say("VM ends", host)
        if not qemu.orphan:
            host.sanlock.release(qemu.pid)
        self.count()

    def guest(self, qemu: Qemu, guest: Guest) -> None:
        """What the guest does changes."""
        qemu.guest = guest
        self.say(f"engine: {guest.value}", self.hosts[qemu.number])
        self.count()

    def count(self) -> None:
        """Whether the engine is good may have changed."""
        good = any(qemu.runs and qemu.guest is Guest.GOOD for qemu in self.qemus)
        now = self.loop.now_ms()
        self.timeline.note(now, timeline.VM, self._vm_state())
        if good and self.good_since_ms is None:
            self.good_since_ms = now
            self.first_good()
        elif not good and self.good_since_ms is not None:
            self.good_ms += now - self.good_since_ms
            self.good_since_ms = None

    def _vm_state(self) -> str:
        running = [qemu for qemu in self.qemus if qemu.runs]
        if len(running) > 1:
            return timeline.TWICE
        if running:
            return running[0].guest.value
        return "paused" if self.qemus else timeline.NOWHERE

    def page(self, host: SimHost) -> tuple[ProbeOutcome, float]:
        """The engine's page from ``host``, and how long the answer takes, in seconds."""
        if not (host.dns_up and self.dns_up):
            return ProbeOutcome.NO_RESOLUTION, 1.0
        qemu = self.running
        if qemu is None:
            return ProbeOutcome.NO_ANSWER, 0.0
        if qemu.number != host.number:
            there = self.hosts[qemu.number]
            if not (host.network_up and there.network_up and self.switch_up):
                return ProbeOutcome.NO_ANSWER, 20.0
        match qemu.guest:
            case Guest.GOOD:
                return ProbeOutcome.GOOD, 0.0
            case Guest.DB_DOWN:
                return ProbeOutcome.DB_DOWN, 0.0
            case Guest.HUNG:
                return ProbeOutcome.NO_ANSWER, 20.0
            case _:
                return ProbeOutcome.NO_ANSWER, 0.0

    def gateway_seen(self, host: SimHost) -> bool:
        return host.network_up and host.gateway_up and self.switch_up and self.gateway_up

    # what happens to the VM

    def crash_vm(self) -> None:
        if (qemu := self.running) is not None:
            self.say("the VM crashes", self.hosts[qemu.number])
            self.hosts[qemu.number].vdsm.ended(
                qemu, ExitReason.LOST_QEMU, 1, "Lost connection with qemu process"
            )

    def reboot_guest(self) -> None:
        if (qemu := self.running) is not None:
            vdsm = self.hosts[qemu.number].vdsm
            self.say("the guest reboots", self.hosts[qemu.number])
            vdsm.status(VmStatus.REBOOT_IN_PROGRESS)
            ms = self.loop.now_ms() + 4_000
            self.loop.at(ms, lambda: vdsm.ended(qemu, ExitReason.DESTROYED_ON_REBOOT, 0, "reboot"))

    def shut_guest_down(self) -> None:
        if (qemu := self.running) is not None:
            self.say("somebody shuts the guest down", self.hosts[qemu.number])
            vdsm = self.hosts[qemu.number].vdsm
            self.loop.at(
                self.loop.now_ms() + 5_000,
                lambda: vdsm.ended(qemu, ExitReason.USER_SHUTDOWN, 0, "User shut down from within the guest"),
            )

    def migrate(self, target: int, *, takes_s: float = 20.0, fails: bool = False) -> None:
        """The engine migrates its own VM."""
        qemu = self.running
        if qemu is None or qemu.number == target or target not in self.hosts:
            return
        source, there = self.hosts[qemu.number], self.hosts[target]
        if there.vdsm.record is not None and there.vdsm.record.status is VmStatus.DOWN:
            there.vdsm.record = None  # the engine clears what it finds of the dead
        if not (
            there.powered and there.vdsm.answers and there.vdsm.record is None and source.vdsm.qemu is qemu
        ):
            self.say("the engine cannot migrate the VM there", there)
            return
        self.say(f"the engine migrates the VM to {there.name}", source)
        source.vdsm.status(VmStatus.MIGRATION_SOURCE)
        there.vdsm.status(VmStatus.MIGRATION_DESTINATION)
        self.loop.at(
            self.loop.now_ms() + int(takes_s * 1000), lambda: self._migrated(qemu, source, there, fails)
        )

    def _migrated(self, qemu: Qemu, source: SimHost, there: SimHost, fails: bool) -> None:
        arriving = there.vdsm.record
        here = arriving is not None and arriving.status is VmStatus.MIGRATION_DESTINATION and there.powered
        if fails or not here or not qemu.alive or source.vdsm.qemu is not qemu:
            if here:
                there.vdsm.record = None
            if qemu.alive and source.vdsm.qemu is qemu:
                source.vdsm.status(VmStatus.UP)
            return
        new = Qemu(
            number=there.number,
            volume_id=qemu.volume_id,
            has_lease=qemu.has_lease,
            started_ms=qemu.started_ms,
            boot_ms=qemu.boot_ms,
            started_by=qemu.started_by,
            guest=qemu.guest,
        )
        source.sanlock.release(qemu.pid)
        self.loop.at(self.loop.now_ms() + 500, lambda: self._arrived(qemu, new, source, there))

    def _arrived(self, qemu: Qemu, new: Qemu, source: SimHost, there: SimHost) -> None:
        def got(ok: bool) -> None:
            if not ok or not there.powered:
                there.vdsm.record = None
                if qemu.alive:  # the source goes on, if it gets its lease back
                    source.sanlock.acquire(self.domain_id, qemu.volume_id, qemu.pid, lambda ok: None)
                    source.vdsm.status(VmStatus.UP)
                return
            if qemu.alive:
                qemu.alive = False
                self.qemus.remove(qemu)
            self.qemus.append(new)
            self.checks.runs(new)
            there.vdsm.qemu = new
            there.vdsm.status(VmStatus.UP)
            if source.vdsm.qemu is qemu:
                source.vdsm.qemu = None
                source.vdsm.went_away()
            self.say("the VM has arrived", there)
            self.count()

        there.sanlock.acquire(self.domain_id, new.volume_id, new.pid, got)

    # what happens to the whiteboard

    def garbage(self, number: int) -> None:
        self.say(f"garbage in slot {number}")
        self.storage.slots[number] = self.random.randbytes(4096)

    def write_global(self, on: bool) -> None:
        """Somebody sets global maintenance behind everybody's back."""
        self.say(f"global maintenance {'on' if on else 'off'} is written")
        self.storage.write(None, 0, own_slot.encode_global(on))

    def clean_slot(self, number: int) -> None:
        self.storage.slots.pop(number, None)

    # outcome

    def outage_s(self, since_s: float = 0.0) -> float:
        """Seconds without a good engine from ``since_s`` to now; ``since_s`` must lie before any outage."""
        good = self.good_ms
        if self.good_since_ms is not None:
            good += self.loop.now_ms() - self.good_since_ms
        return self.now_s() - since_s - good / 1000
