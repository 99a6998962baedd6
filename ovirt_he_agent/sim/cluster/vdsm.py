"""VDSM of one simulated host: the VM's record, events, the domain monitor; late, forgetful or gone as told.

It implements the agent's ports ``Vdsm`` and ``Statistics``, and what upstream's daemons
ask of it. Launching takes the VM's lease in the simulated sanlock, as libvirt does.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ovirt_he_agent.core import model
from ovirt_he_agent.core.model import ExitReason, VmReport, VmStatus
from ovirt_he_agent.errors import NotThere, OutcomeUnknown, Retryable
from ovirt_he_agent.sim.cluster.qemu import Guest, Qemu

if TYPE_CHECKING:
    from ovirt_he_agent.sim.cluster.host import SimHost

LOCK_FAILED = "internal error: Failed to acquire lock: Lease is held by another host"


@dataclass(eq=False)
class VdsmGone(Retryable):
    msg: ClassVar[str] = "simulated VDSM: nobody listens; it comes back when the story lets it"


@dataclass(eq=False)
class VmThere(Retryable):
    msg: ClassVar[str] = "simulated VDSM: it has that VM already"


@dataclass(eq=False)
class NoVm(Retryable):
    msg: ClassVar[str] = "simulated VDSM: it has no such VM"


@dataclass(eq=False)
class LostReply(OutcomeUnknown):
    msg: ClassVar[str] = "simulated VDSM: the connection broke before the reply"


@dataclass(eq=False)
class NoVolume(NotThere):
    msg: ClassVar[str] = "simulated VDSM: there is no such volume"


@dataclass
class Faults:
    """What goes wrong with this VDSM until the story mends it."""

    lose_events: int = 0
    """So many of the next events are lost."""
    double_events: int = 0
    delay_events_s: float = 0.0
    reorder_events: int = 0
    """So many of the next events come after the one that follows."""
    fail_launches: int = 0
    """So many of the next starts are accepted and then fail."""
    refuse_creates: int = 0
    lose_replies: int = 0
    """So many of the next replies to commands are lost."""
    latency_s: float = 0.0


class SimVdsm:
    """One host's. ``up`` and ``recovering`` say whether it answers."""

    def __init__(self, host: "SimHost", volume_id: str, launch_s: float) -> None:
        self._host = host
        self._world = host.world
        self._volume_id = volume_id
        self._launch_s = launch_s
        self.up = True
        self.recovering = False
        self.faults = Faults()
        self.record: VmReport | None = None
        self.qemu: Qemu | None = None
        self.back_ms = 0
        """When it answered again after its last restart."""
        self.monitors_domain = False
        self._events: deque[VmReport | None] = deque()
        self._arrived = asyncio.Event()
        self._held: VmReport | None = None
        self._launch = 0

    @property
    def answers(self) -> bool:
        return self.up and not self.recovering

    # what both kinds of agent ask, without waiting

    def check(self) -> None:
        """Raises ``VdsmGone``."""
        if not self.answers:
            raise VdsmGone

    def report_now(self) -> VmReport | None:
        self.check()
        return self.record

    def create(self, *, volume_id: str, with_lease: bool, by: str) -> VmReport:
        """Raises ``VmThere``, ``VdsmGone``."""
        self.check()
        if self.record is not None:
            raise VmThere
        if self.faults.refuse_creates:
            self.faults.refuse_creates -= 1
            raise VmThere
        self._launch += 1
        launch = self._launch
        report = self._set(VmStatus.WAIT_FOR_LAUNCH)
        ms = self._world.loop.now_ms() + int(self._launch_s * 1000)
        self._world.loop.at(ms, lambda: self._begin(launch, volume_id, with_lease, by))
        return report

    def destroy(self) -> None:
        """Raises ``NoVm``, ``VdsmGone``."""
        self.check()
        if self.record is None:
            raise NoVm
        self._launch += 1
        qemu, self.qemu = self.qemu, None
        self.record = None
        self._host.sanlock.cancel(self._waiting_pid)
        if qemu is not None:
            self._world.end(qemu)

    def shutdown(self, delay_s: int) -> None:
        """Raises ``NoVm``, ``VdsmGone``."""
        self.check()
        qemu = self.qemu
        if self.record is None or self.record.status is VmStatus.DOWN or qemu is None:
            raise NoVm
        self._set(VmStatus.POWERING_DOWN)
        if qemu.guest is Guest.HUNG or qemu.paused:
            return
        qemu.guest = Guest.SHUTTING_DOWN
        ms = self._world.loop.now_ms() + int(self._world.shutdown_s * 1000)
        self._world.loop.at(ms, lambda: self.ended(qemu, ExitReason.ADMIN_SHUTDOWN, 0, "Admin shut down"))

    def monitor(self, on: bool) -> None:
        self.check()
        self.monitors_domain = on
        host = self._host
        if on:
            host.sanlock.add_lockspace(self._world.domain_id, host.host_id, self._world.io_timeout_s)
        else:
            host.sanlock.rem_lockspace(self._world.domain_id)

    def see_to_domain(self) -> None:
        """Every ten seconds: a domain that is monitored and not joined is joined again."""
        host = self._host
        if not self.up or not self.monitors_domain or not host.way.works():
            return
        if host.sanlock.running and self.domain_lease() is model.Membership.NOT_HELD:
            host.sanlock.add_lockspace(self._world.domain_id, host.host_id, self._world.io_timeout_s)

    def domain_lease(self) -> model.Membership:
        return self._host.sanlock.membership(self._world.domain_id, self._host.host_id)

    # what happens to it

    _waiting_pid: int = -1

    def _begin(self, launch: int, volume_id: str, with_lease: bool, by: str) -> None:
        if launch != self._launch or not self._host.powered:
            return
        if self.faults.fail_launches:
            self.faults.fail_launches -= 1
            self._down(
                ExitReason.START_FAILED, 1, "internal error: process exited while connecting to monitor"
            )
            return
        qemu = Qemu(
            number=self._host.number,
            volume_id=volume_id,
            has_lease=with_lease,
            started_ms=self._world.loop.now_ms(),
            boot_ms=int(self._world.boot_s * 1000),
            started_by=by,
        )
        if not with_lease:
            self._launched(launch, qemu, True)
            return
        self._waiting_pid = qemu.pid
        self._host.sanlock.acquire(
            self._world.domain_id, volume_id, qemu.pid, lambda ok: self._launched(launch, qemu, ok)
        )

    def _launched(self, launch: int, qemu: Qemu, ok: bool) -> None:
        if launch != self._launch or not self._host.powered:
            if ok:
                self._host.sanlock.release(qemu.pid)
            return
        if not ok:
            self._down(ExitReason.GENERIC_ERROR, 1, LOCK_FAILED)
            return
        self.qemu = qemu
        self._world.begin(qemu)
        self._set(VmStatus.POWERING_UP)
        ms = self._world.loop.now_ms() + min(qemu.boot_ms, 60_000)
        self._world.loop.at(ms, lambda: self._is_up(qemu))

    def _is_up(self, qemu: Qemu) -> None:
        if self.qemu is qemu and self.record is not None and self.record.status is VmStatus.POWERING_UP:
            self._set(VmStatus.UP)

    def ended(self, qemu: Qemu, reason: ExitReason, code: int, message: str) -> None:
        """``qemu`` has ended, or ends now."""
        self._world.end(qemu)
        if self.qemu is qemu:
            self.qemu = None
            if self.record is not None:
                self._down(reason, code, message)

    def went_away(self) -> None:
        """The VM has migrated to another host."""
        self._down(ExitReason.MIGRATION_SUCCEEDED, 0, "Migration succeeded")

    def status(self, status: VmStatus) -> None:
        """The VM here changes to ``status``, whatever makes it."""
        self._set(status)

    def _down(self, reason: ExitReason, code: int, message: str) -> None:
        if reason in (ExitReason.START_FAILED, ExitReason.GENERIC_ERROR):
            self._host.say(f"the VM does not start: {message}")
        self._set(VmStatus.DOWN, exit_code=code, exit_reason=reason, exit_message=message)

    def _set(self, status: VmStatus, **facts: Any) -> VmReport:
        report = VmReport(
            vm_id=self._world.vm_id,
            status=status,
            status_text=status.value,
            event_time=self._host.vdsm_clock(),
            **facts,
        )
        self.record = report
        if self.up and not self.recovering:
            self._send(report)
        return report

    def forget(self) -> None:
        """The host is gone."""
        self.record, self.qemu = None, None
        self.monitors_domain = False
        self.up, self.recovering = False, False
        self._launch += 1

    def restart(self, recovery_s: float) -> None:
        """vdsmd restarts: it answers after its recovery, and then knows the VM again."""
        self.up, self.recovering = True, True
        self._launch += self.record is not None and self.qemu is None
        ms = self._world.loop.now_ms() + int(recovery_s * 1000)
        self._world.loop.at(ms, self._recovered)

    def _recovered(self) -> None:
        if not self.up:
            return
        self.recovering = False
        self.back_ms = self._world.loop.now_ms()
        if self.record is not None and self.record.status is VmStatus.DOWN:
            self.record = None  # it keeps no record of the dead over a restart
        elif self.record is not None and (self.qemu is None or not self.qemu.alive):
            self.record, self.qemu = None, None
        self._host.vdsm_is_back()

    # events

    def _send(self, report: VmReport) -> None:
        faults = self.faults
        if faults.lose_events:
            faults.lose_events -= 1
            return
        if faults.reorder_events and self._held is None:
            faults.reorder_events -= 1
            self._held = report
            return
        self._deliver_later(report)
        if self._held is not None:
            held, self._held = self._held, None
            self._deliver_later(held)
        if faults.double_events:
            faults.double_events -= 1
            self._deliver_later(report)

    def _deliver_later(self, report: VmReport) -> None:
        if self.faults.delay_events_s:
            ms = self._world.loop.now_ms() + int(self.faults.delay_events_s * 1000)
            self._world.loop.at(ms, lambda: self._deliver(report))
        else:
            self._deliver(report)

    def _deliver(self, report: VmReport | None) -> None:
        if not self._host.powered:
            return
        if report is not None:
            self._host.vm_event(report)
        self._events.append(report)
        self._arrived.set()

    def gap(self) -> None:
        """Some events may have been lost."""
        self._deliver(None)

    # the agent's ports

    async def _call(self) -> None:
        if self.faults.latency_s:
            await asyncio.sleep(self.faults.latency_s)
        self.check()

    async def vm_report(self, vm_id: str) -> VmReport | None:
        await self._call()
        return self.record

    async def create_vm(self, vm_id: str, domain_xml: str) -> VmReport:
        self._world.checks.leaves(self._host)
        self._world.checks.start_given(self._host)
        await self._call()
        self._host.crash_point("before-create")
        self._host.say("calls VM.create")
        volume_id, _, lease = domain_xml.partition(" ")
        report = self.create(volume_id=volume_id, with_lease=lease == "lease", by="ours")
        self._host.crash_point("after-create")
        self._maybe_lose()
        return report

    async def destroy_vm(self, vm_id: str) -> None:
        self._world.checks.leaves(self._host)
        self._world.checks.destroy_given(self._host)
        await self._call()
        self._host.crash_point("before-destroy")
        self._host.say("calls VM.destroy")
        try:
            self.destroy()
        except NoVm:
            pass
        self._host.crash_point("after-destroy")
        self._maybe_lose()

    async def shutdown_vm(self, vm_id: str, *, delay_s: int, message: str) -> None:
        self._world.checks.leaves(self._host)
        self._world.checks.shutdown_given(self._host)
        await self._call()
        self._host.crash_point("before-shutdown")
        self._host.say("calls VM.shutdown")
        self.shutdown(delay_s)
        self._host.crash_point("after-shutdown")
        self._maybe_lose()

    def _maybe_lose(self) -> None:
        if self.faults.lose_replies:
            self.faults.lose_replies -= 1
            raise LostReply

    async def connect_storage(
        self, domain_type: int, connections: Sequence[Mapping[str, Any]]
    ) -> Sequence[tuple[str, int]]:
        await self._call()
        return [("c", 0 if self._host.way.works() else 477)]

    async def start_monitoring_domain(self, domain_id: str, host_id: int) -> None:
        await self._call()
        self.monitor(True)

    async def stop_monitoring_domain(self, domain_id: str) -> None:
        await self._call()
        self._world.checks.monitor_stopped(self._host)
        self.monitor(False)

    async def storage_vitals(self, domain_ids: Sequence[str]) -> Mapping[str, model.DomainVitals]:
        await self._call()
        if not self.monitors_domain:
            return {}
        domain_id = self._world.domain_id
        return {
            domain_id: model.DomainVitals(
                domain_id=domain_id,
                code=0,
                valid=self._host.way.works(),
                acquired=self.domain_lease() is model.Membership.HELD,
                actual=True,
                delay_s=0.001,
                last_check_s=1.0,
            )
        }

    async def prepare_image(self, domain_id: str, image_id: str, volume_id: str) -> Path:
        await self._call()
        await self._host.way.io()
        return Path("/") / image_id / volume_id

    async def volume_info(self, domain_id: str, image_id: str, volume_id: str) -> model.VolumeInfo:
        await self._call()
        await self._host.way.io()
        if volume_id not in self._world.storage.leaves:
            raise NoVolume
        owners = self._host.sanlock.owners(domain_id, volume_id)
        return model.VolumeInfo(
            domain_id=domain_id,
            image_id=image_id,
            volume_id=volume_id,
            is_leaf=self._world.storage.leaves[volume_id],
            description="",
            disk_type=None,
            apparent_size_bytes=None,
            lease=None if owners is None else model.VolumeLease(path="/lease", offset_bytes=0, owners=owners),
        )

    async def next_news(self) -> VmReport | None:
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    def new_session(self) -> None:
        """The agent was started anew: what came before is not for it."""
        self._events.clear()
        self._events.append(None)

    async def host_stats(self) -> model.HostStats:
        await self._call()
        host = self._host
        return model.HostStats(
            mem_free_mib=host.memory_free_mib,
            cpu_load=host.cpu_load,
            network_up={"ovirtmgmt": host.bridge_up},
            ha=None,
            ha_score=None,
        )

    async def vm_cpu(self, vm_id: str) -> model.VmCpu | None:
        await self._call()
        return None
