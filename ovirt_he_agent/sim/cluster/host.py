"""One simulated host: power, its way to the storage, sanlock, VDSM, network, and the agent on it."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import ExitReason, VmReport, VmStatus
from ovirt_he_agent.sim.cluster import timeline
from ovirt_he_agent.sim.cluster.ours import OurAgent
from ovirt_he_agent.sim.cluster.qemu import Qemu
from ovirt_he_agent.sim.cluster.sanlock import Sanlock
from ovirt_he_agent.sim.cluster.storage import Way
from ovirt_he_agent.sim.cluster.theirs import Neighbour
from ovirt_he_agent.sim.cluster.vdsm import Faults, SimVdsm

if TYPE_CHECKING:
    from ovirt_he_agent.sim.cluster.world import World

RESTART_S = 2.0
"""systemd's RestartSec of the agent's unit."""
UPSTREAM_RESTART_S = 10.0
"""That of upstream's units (he-ha: initscripts/ovirt-ha-agent.service.in)."""
UPSTREAM_STOPS_S = 20.0
DOMAIN_CHECK_MS = 10_000
SHUTDOWN_MS = 12_000
"""An orderly shutdown of a host."""
JOINS_AGAIN_MS = 60_000
"""From the end of local maintenance until its agent has the storage and its host id back."""
VDSM_EPOCH = (1 << 31) - 1
"""VDSM's event clock begins there at each boot (vdsm: lib/vdsm/virt/vm.py)."""


class SimHost:
    """Switched off at first; ``boot`` it."""

    def __init__(self, world: "World", number: int, host_id: int, *, upstream: bool) -> None:
        self.world = world
        self._loop = world.loop
        self.number = number
        self.host_id = host_id
        self.name = f"host{number}"
        self.upstream = upstream
        self.powered = False
        self.boots = 0
        self.booted_ms = 0
        self.uptime_ms = 0
        """What the monotonic clock showed when the services of this boot started."""
        self.way = Way()
        self.network_up = True
        self.dns_up = True
        self.bridge_up = True
        self.gateway_up = True
        self.cpu_load = 0.1
        self.memory_free_mib = 64_000
        self.local = False
        self.local_manual = False
        self.local_changed_ms = 0
        self.state_file: bytes | None = None
        self.crash_at: str | None = None
        """The agent is killed when it comes to this point of a command."""
        self.agent_wanted = False
        self.agent_since_ms = 0
        self.lease_lost_ms = 0
        self.sanlock_killed_ms: int | None = None
        self.off_at_ms: int | None = None
        """It is shutting down, and off then."""
        self.random = random.Random(world.seed * 1000 + number)
        self.sanlock = self._new_sanlock()
        self.vdsm = SimVdsm(self, world.volume_id, world.launch_s)
        self.vdsm.up = False
        self.agent: OurAgent | None = None
        self.neighbour = Neighbour(self) if upstream else None
        self._boot = 0

    def __repr__(self) -> str:
        return self.name

    def say(self, text: str) -> None:
        self.world.say(text, self)

    def note(self, state: str) -> None:
        """In the picture, not in the log."""
        self.world.timeline.note(self.world.loop.now_ms(), self.number, state)

    def _new_sanlock(self) -> Sanlock:
        world = self.world
        return Sanlock(
            self.name,
            world.lease_volume,
            world.loop,
            self.way,
            lockspace_lost=self._lockspace_lost,
            reset=self._watchdog,
            watchdog_fire_s=world.watchdog_s,
            jitter_ms=(lambda: self.random.randrange(world.jitter_ms)) if world.jitter_ms else (lambda: 0),
        )

    def clock(self) -> model.MonotonicMs:
        return model.MonotonicMs(self._loop.ms + self.uptime_ms - self.booted_ms)

    def vdsm_clock(self) -> int:
        """Grows with every reading, so that two reports are never of the same age."""
        self._ticks = max(getattr(self, "_ticks", 0) + 1, VDSM_EPOCH + self.clock())
        return self._ticks

    @property
    def boot_id(self) -> str:
        return f"{self.name}-boot-{self.boots}"

    # power

    def boot(self, *, with_agent: bool = True) -> None:
        """Its services start now."""
        if self.powered:
            return
        self.powered = True
        self.boots += 1
        self._boot += 1
        boot = self._boot
        self.booted_ms = self.world.loop.now_ms()
        self.uptime_ms = 60_000 + self.number * 7_919 + self.boots * 1_003
        self.way.up, self.way.hangs, self.way.read_only = True, False, False
        self.network_up = self.bridge_up = self.dns_up = self.gateway_up = True
        self.sanlock = self._new_sanlock()
        self.vdsm.up, self.vdsm.recovering = True, False
        self.vdsm.record, self.vdsm.qemu = None, None
        self.say("boots")
        self.note(timeline.NO_AGENT)
        self._check_domain(boot)
        if with_agent:
            self.start_agent()

    def power_off(self, why: str = "loses power") -> None:
        if not self.powered:
            return
        self.say(why)
        if self.agent is not None:
            self.agent.tear(self.random.randrange(9))
        self.powered = False
        self.off_at_ms = None
        self.kill_agent(restart=False)
        self.sanlock.stop_host()
        qemus = [qemu for qemu in self.world.qemus if qemu.number == self.number]
        self.vdsm.forget()
        for qemu in qemus:
            self.world.end(qemu)
        self.note(timeline.OFF)

    def shut_down(self) -> None:
        """As an administrator does: guests first, services next, then it is off."""
        if not self.powered:
            return
        self.say("shuts down")
        self.off_at_ms = self.world.loop.now_ms() + SHUTDOWN_MS
        vdsm, qemu = self.vdsm, self.vdsm.qemu
        if qemu is not None:
            vdsm.ended(qemu, ExitReason.HOST_SHUTDOWN, 0, "Host shutdown")
        loop = self.world.loop
        boot = self._boot

        def stop() -> None:
            if self._boot == boot:
                self.stop_agent()

        def leave() -> None:
            if self._boot == boot and self.powered and vdsm.up:
                vdsm.monitors_domain = False
                self.sanlock.rem_lockspace(self.world.domain_id)
                self.sanlock.rem_lockspace("hosted-engine")

        def off() -> None:
            if self._boot == boot:
                self.power_off("is off")

        now = loop.now_ms()
        loop.at(now + 3_000, stop)
        loop.at(now + 6_000, leave)
        loop.at(now + SHUTDOWN_MS, off)

    def _watchdog(self) -> None:
        self.power_off("is reset by its watchdog")
        self.world.loop.at(self.world.loop.now_ms() + int(self.world.reboot_s * 1000), self.boot)

    def _check_domain(self, boot: int) -> None:
        if self._boot != boot or not self.powered:
            return
        self.vdsm.see_to_domain()
        qemu = self.vdsm.qemu
        if qemu is not None and qemu.waits_for_storage and self.vdsm.answers and self.way.works():
            # VDSM does so once, when its monitor finds the domain valid (vdsm: virt/vm.py, maybe_resume)
            qemu.waits_for_storage = False
            self.resume_vm(qemu)
        self.world.loop.at(self.world.loop.now_ms() + DOMAIN_CHECK_MS, lambda: self._check_domain(boot))

    def _lockspace_lost(self, name: str, pids: tuple[int, ...]) -> None:
        if name == self.world.domain_id:
            self.say("sanlock has lost the storage domain's lockspace")
        for qemu in [q for q in self.world.qemus if q.pid in pids]:
            self.vdsm.ended(qemu, ExitReason.LOST_QEMU, 1, "Lost connection with qemu process")

    # sanlock, storage, VDSM

    def kill_sanlock(self) -> None:
        """SIGKILL; the VM goes on as an orphan until the watchdog fires."""
        self.say("its sanlock is killed")
        for qemu in self.world.qemus:
            if qemu.number == self.number and qemu.has_lease:
                qemu.orphan = True
        self.sanlock_killed_ms = self.world.loop.now_ms()
        self.sanlock.kill()

    def restart_sanlock(self) -> None:
        self.sanlock.start()
        self.vdsm.see_to_domain()

    def cut_storage(self, *, hang: bool = False) -> None:
        self.say("loses the storage" if not hang else "its storage hangs")
        self.way.up, self.way.hangs = hang, hang
        qemu = self.vdsm.qemu
        if qemu is not None:
            self.world.loop.at(self.world.loop.now_ms() + 3_000, lambda: self._pause(qemu))

    def _pause(self, qemu: Qemu) -> None:
        if self.way.works() or not qemu.alive or self.vdsm.qemu is not qemu:
            return
        self.say("the VM is paused: input/output error")
        qemu.paused = qemu.waits_for_storage = True
        self.sanlock.release(qemu.pid)
        self.vdsm.status(VmStatus.PAUSED)
        self.world.count()

    def suspend(self, seconds: float) -> None:
        """Nothing of it runs but the VM, which is the worst that it could do; its clock goes on."""
        self.say(f"is suspended for {seconds:g} s")
        self.way.hangs = True
        if self.agent is not None:
            self.agent.freeze(seconds)
        self._later(seconds, self._wakes)

    def _wakes(self) -> None:
        self.say("wakes up")
        if self.way.hangs:
            self.way.hangs = False
            self.way.healed_ms = self.world.loop.now_ms()
            self.way.healed.set()

    def heal_storage(self) -> None:
        if self.way.works():
            return
        self.say("has its storage back")
        self.way.up, self.way.hangs = True, False
        self.way.healed_ms = self.world.loop.now_ms()
        self.way.healed.set()

    def resume_vm(self, qemu: Qemu) -> None:
        """VDSM resumes what an I/O error paused, if it gets the lease again."""

        def resumed(ok: bool) -> None:
            if ok and qemu.alive and self.vdsm.qemu is qemu:
                qemu.paused = False
                self.say("the VM is resumed")
                self.world.checks.runs(qemu)
                self.vdsm.status(VmStatus.UP)
                self.world.count()
            elif ok:
                self.sanlock.release(qemu.pid)

        self.sanlock.acquire(self.world.domain_id, qemu.volume_id, qemu.pid, resumed)

    def running_for_s(self) -> float:
        """How long its agent's process has lived."""
        return (self.world.loop.now_ms() - self.agent_since_ms) / 1000

    def writes_well_for_s(self, seconds: float) -> bool:
        """Its storage works, and its host id has been held, for so long."""
        if not self.way.works() or self.way.read_only or self.way.latency_s or not self.sanlock.running:
            return False
        if self.sanlock.membership("hosted-engine", self.host_id) is not model.Membership.HELD:
            self.lease_lost_ms = self.world.loop.now_ms()
            return False
        return self.world.loop.now_ms() - max(self.way.healed_ms, self.lease_lost_ms) > seconds * 1000

    @property
    def may_be_off_storage(self) -> bool:
        """In local maintenance, where a restarted agent leaves the storage alone, or just out of it."""
        ended_ms = self.world.loop.now_ms() - self.local_changed_ms
        return self.local_maintenance or (self.local_changed_ms > 0 and ended_ms < JOINS_AGAIN_MS)

    def mend(self) -> None:
        """All that a story may have broken on it; it is on and its agent runs."""
        self.cpu_load, self.memory_free_mib = 0.1, 64_000
        if self.local or self.local_manual:
            self.local_changed_ms = self.world.loop.now_ms()
        self.local = self.local_manual = False
        self.crash_at = None
        self.vdsm.faults = Faults()
        if self.way.read_only or self.way.latency_s:
            self.way.read_only, self.way.latency_s = False, 0.0
            self.way.healed_ms = self.world.loop.now_ms()
        if not self.powered:
            self.boot()
            return
        if self.off_at_ms is not None:
            self.world.loop.at(self.off_at_ms + 1, self.boot)
            return
        self.network_up = self.bridge_up = self.dns_up = self.gateway_up = True
        self.heal_storage()
        if not self.sanlock.running:
            self.restart_sanlock()
        if not self.vdsm.up:
            self.start_vdsm()
        if self.agent is not None and self.agent.owner.frozen:
            self.world.loop.thaw(self.agent.owner)
        self.start_agent()

    def stop_vdsm(self) -> None:
        self.say("its VDSM is gone")
        self.vdsm.up = False

    def start_vdsm(self, recovery_s: float = 5.0) -> None:
        self.say("its VDSM starts")
        self.vdsm.restart(recovery_s)

    def vdsm_is_back(self) -> None:
        self.vdsm.gap()

    def vm_event(self, report: VmReport) -> None:
        if self.neighbour is not None:
            self.neighbour.vm_event(report)

    # the agent

    def start_agent(self) -> None:
        self.agent_wanted = True
        if not self.powered:
            return
        if self.neighbour is not None:
            self.neighbour.start()
        elif self.agent is not None and self.agent.alive:
            if self.agent.stopping:  # systemd starts it when it has ended
                self._later(RESTART_S, self._start_again)
        else:
            self.vdsm.new_session()
            self.agent_since_ms = self.world.loop.now_ms()
            self.agent = OurAgent(self)
            self.agent.start()

    def stop_agent(self) -> None:
        """systemctl stop."""
        self.agent_wanted = False
        if self.neighbour is not None:
            self.neighbour.stop()
        elif self.agent is not None:
            self.agent.stop()

    def kill_agent(self, *, restart: bool = True) -> None:
        """SIGKILL; systemd starts it again unless ``restart`` is false."""
        if not restart:
            self.agent_wanted = False
        if self.neighbour is not None:
            self.neighbour.kill()
        elif self.agent is not None:
            self.agent.kill()
            self.agent = None
        else:
            return
        if self.powered:
            self.note(timeline.NO_AGENT)
        if restart:
            self._later(RESTART_S if self.neighbour is None else UPSTREAM_RESTART_S, self._start_again)

    def restart_agent(self) -> None:
        """systemctl restart."""
        self.stop_agent()
        self.agent_wanted = True
        # upstream's ends within a loop and its last words, and systemd waits for that
        self._later(1.5 if self.neighbour is None else UPSTREAM_STOPS_S, self._start_again)

    def _start_again(self) -> None:
        if self.agent_wanted and self.powered:
            self.start_agent()

    def change_kind(self, *, upstream: bool) -> None:
        """Upgrade or downgrade: the one agent is stopped, the other one started."""
        self.stop_agent()

        def start() -> None:
            self.agent = None
            self.upstream = upstream
            self.neighbour = Neighbour(self) if upstream else None
            if self.powered:
                self.start_agent()

        self._later(UPSTREAM_STOPS_S if not upstream else 3.0, start)

    def _later(self, seconds: float, act: Callable[[], Any]) -> None:
        boot = self._boot

        def now() -> None:
            if self._boot == boot:
                act()

        self.world.loop.at(self.world.loop.now_ms() + int(seconds * 1000), now)

    def crash_point(self, name: str) -> None:
        """Raises in the agent that is killed here."""
        if self.crash_at == name and self.agent is not None:
            self.crash_at = None
            self.say(f"its agent is killed {name}")
            agent = self.agent
            self.kill_agent()
            agent.check()

    @property
    def local_maintenance(self) -> bool:
        return self.local or self.local_manual

    def set_local(self, on: bool) -> None:
        """hosted-engine --set-maintenance, or VDSM."""
        self.say(f"local maintenance {'on' if on else 'off'}")
        self.local_changed_ms = self.world.loop.now_ms()
        self.local = on
        if not on:
            self.local_manual = False

    def set_global(self, on: bool) -> None:
        """As an operator does on this host."""
        self.world.checks.slots.global_asked(self)
        if self.neighbour is not None:
            self.neighbour.set_global(on)
        elif self.agent is not None:
            self.agent.ask(lambda requests: requests.set_global_maintenance(on), f"global {on}")
