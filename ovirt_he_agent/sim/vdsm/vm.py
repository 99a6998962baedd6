"""One VM: VDSM's view of its life, from WaitForLaunch to Down.

Status rules and texts: vdsm: lib/vdsm/virt/vm.py (_getVmStatus, _startUnderlyingVm,
setDownStatus, onReboot, _onQemuDeath), vmexitreason.py. A failed lease is an
exception of libvirt in the launch thread, so it ends in exit reason 1 with
libvirt's text.
"""

import asyncio
import errno
import logging
from dataclasses import dataclass
from typing import Any, Protocol

from ovirt_he_agent.core.model import ExitReason, VmStatus
from ovirt_he_agent.sim.vdsm import domain_xml, refusals, vm_process

GUEST_WAIT_S = 60.0
POWER_DOWN_SHOWN_S = 300.0
MONITOR_TIMEOUT_S = 60.0
"""After so long without an answer of QEMU monitorResponse becomes -1."""

COMMAND_TIMEOUT_S = 120.0
"""For pause and resume; a resume may wait for the lease of a dying host (67 s)."""

LEASE_HELD = -243
EXIT_TEXTS = {
    ExitReason.LOST_QEMU: "Lost connection with qemu process",
    ExitReason.ADMIN_SHUTDOWN: "Admin shut down from the engine",
    ExitReason.USER_SHUTDOWN: "User shut down from within the guest",
    ExitReason.DESTROYED_ON_STARTUP: "VM destroyed during the startup",
    ExitReason.DESTROYED_ON_REBOOT: "Down as a part of the reboot process",
}
_PAUSED_STATES = (VmStatus.UP, VmStatus.REBOOT_IN_PROGRESS, VmStatus.POWERING_DOWN)

log = logging.getLogger(__name__)


def lease_refusal(number: int, text: str, *, registered: bool) -> str:
    """libvirt's words for a lease that was not got (libvirt: src/locking/lock_driver_sanlock.c)."""
    if not registered:
        return f"Failed to open socket to sanlock daemon: {text}"
    if number == LEASE_HELD:
        return f"resource busy: Failed to acquire lock: {text}"
    if number < 0 and -number not in errno.errorcode:
        return f"internal error: Failed to acquire lock: {text}"
    return f"Failed to acquire lock: {text}"


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a VM is Down."""

    code: int
    reason: ExitReason
    message: str

    def info(self) -> dict[str, object]:
        return {"exitCode": self.code, "exitMessage": self.message, "exitReason": int(self.reason)}


class Host(Protocol):
    """What a VM needs of the host that it runs on."""

    async def start(self, machine: "Vm") -> vm_process.VmProcess:
        """Prepare everything and start the process. Whatever it raises becomes the exit message."""
        ...

    def notify(self, name: str, params: dict[str, object]) -> None:
        """Send an event."""

    def running_stats(self, machine: "Vm") -> dict[str, object]:
        """What goes along with the event of a successful launch."""
        ...

    def guest_moved(self, machine: "Vm") -> None:
        """``machine.guest_port`` is new."""


class Vm:
    """States change in the loop only. ``live`` is its life, owned by the container's task group."""

    def __init__(self, domain: domain_xml.Domain, host: Host) -> None:
        self.domain = domain
        self.id = domain.id
        self.prepared: domain_xml.Prepared | None = None
        self.process: vm_process.VmProcess | None = None
        self.ended: Ended | None = None
        self.over = asyncio.Event()
        """Set when the VM is Down and its process is gone."""
        self.guest_port: int | None = None
        self.pause_code: str | None = None
        self.started_at: float | None = None
        self.destroy_requested = False
        self.hangs_since: float | None = None
        self._host = host
        self._refusal: Ended | None = None
        self._last = VmStatus.WAIT_FOR_LAUNCH
        self._guest_event = VmStatus.POWERING_UP
        self._guest_event_at = 0.0
        self._agent_up = False
        self._shutdown_reason: ExitReason | None = None
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._born_at = self._now()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # what clients see

    @property
    def last_status(self) -> VmStatus:
        """The row of Host.getVMList: coarser than ``status``."""
        if self.pause_code is not None and self._last in _PAUSED_STATES:
            return VmStatus.PAUSED
        return self._last

    @property
    def status(self) -> VmStatus:
        """The status of VM.getStats and of events."""
        if self.last_status is not VmStatus.UP:
            return self.last_status
        age_s = self._now() - self._guest_event_at
        if self._guest_event is VmStatus.POWERING_DOWN and age_s < POWER_DOWN_SHOWN_S:
            return VmStatus.POWERING_DOWN
        if self._agent_up and self.hangs_since is None:
            return VmStatus.UP
        if age_s < GUEST_WAIT_S:
            return self._guest_event
        return VmStatus.UP

    @property
    def elapsed_s(self) -> int:
        return int(self._now() - self._born_at)

    @property
    def monitor_answers(self) -> bool:
        return self.hangs_since is None or self._now() - self.hangs_since < MONITOR_TIMEOUT_S

    def send_status(self, **more: object) -> None:
        params: dict[str, object] = {"status": str(self.status)}
        if self.ended is not None:
            params |= {"vmId": self.id} | self.ended.info()
        self._host.notify(f"|virt|VM_status|{self.id}", {self.id: params | more})

    # its life

    async def live(self) -> None:
        """From here to Down."""
        try:
            self.process = await self._host.start(self)
        except (domain_xml.LaunchFailed, refusals.Refused) as e:
            self._down(Ended(1, ExitReason.GENERIC_ERROR, str(e)))
            return
        except Exception as e:
            # VDSM's launch thread: whatever it was becomes the exit message
            log.exception("The vm start process failed")
            self._down(Ended(1, ExitReason.GENERIC_ERROR, str(e)))
            return
        try:
            async for event in self.process.events():
                self._heard(event)
            await self.process.wait()
        finally:
            self.process.kill()
            await self.process.wait()
            self._answers.put_nowait({"event": "gone"})
        self._down(self._why())

    def _heard(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "running":
                self._running(event["port"])
            case "refused":
                text = lease_refusal(event["errno"], event["text"], registered=event["registered"])
                self._refusal = Ended(1, ExitReason.GENERIC_ERROR, text)
            case "booted":
                self.guest_port = event["port"]
                self._host.guest_moved(self)
                self._agent_up = True
                self._guest_event, self._guest_event_at = VmStatus.UP, self._now()
                self.send_status(guestFQDN="", guestIPs="")
            case "powered off":
                if self._shutdown_reason is None:
                    self._shutdown_reason = ExitReason.USER_SHUTDOWN
            case "paused" | "resumed" | "not resumed":
                self._answers.put_nowait(event)

    def _running(self, port: int) -> None:
        assert self.process is not None
        self.guest_port = port
        self._host.guest_moved(self)
        if self.destroy_requested:
            self._shutdown_reason = ExitReason.DESTROYED_ON_STARTUP
            self.process.kill()
            return
        self.started_at = self._guest_event_at = self._now()
        self._last = VmStatus.UP
        self.send_status(**self._host.running_stats(self))

    def _why(self) -> Ended:
        if self._refusal is not None:
            return self._refusal
        if self._shutdown_reason is not None:
            return Ended(0, self._shutdown_reason, EXIT_TEXTS[self._shutdown_reason])
        return Ended(1, ExitReason.LOST_QEMU, EXIT_TEXTS[ExitReason.LOST_QEMU])

    def _down(self, ended: Ended) -> None:
        """The one Down event of this life."""
        log.info("VM %s is down: %s (%s)", self.id, ended.message, ended.reason)
        self.ended = ended
        self._last = VmStatus.DOWN
        self.send_status()
        self.over.set()

    # what clients do

    async def destroy(self, reason: ExitReason = ExitReason.ADMIN_SHUTDOWN) -> None:
        """End it now. One that still waits for its lease is left behind and killed when it has got it."""
        self.destroy_requested = True
        if self._last is VmStatus.WAIT_FOR_LAUNCH:
            return
        if self._last is not VmStatus.DOWN:
            self._shutdown_reason = reason
            self._last = VmStatus.POWERING_DOWN
            assert self.process is not None
            self.process.kill()
        await self.over.wait()

    def shut_down(self) -> None:
        """Ask the guest to power off. Raises ``Refused`` when Down."""
        if self._last is VmStatus.DOWN:
            raise refusals.no_such_vm_any_more()
        self._guest_event, self._guest_event_at = VmStatus.POWERING_DOWN, self._now()
        self._shutdown_reason = ExitReason.ADMIN_SHUTDOWN
        self._tell("power off")

    def reboot(self, *, destroy: bool) -> None:
        """The guest reboots; with ``destroy`` (on_reboot) that ends the VM."""
        self._guest_event, self._guest_event_at = VmStatus.REBOOT_IN_PROGRESS, self._now()
        self._agent_up = False
        self.send_status()
        if destroy:
            assert self.process is not None
            self._shutdown_reason = ExitReason.DESTROYED_ON_REBOOT
            self._last = VmStatus.POWERING_DOWN
            self.process.kill()
        else:
            self._tell("reboot")

    def reset(self) -> None:
        if self._last is VmStatus.DOWN:
            raise refusals.no_such_vm_any_more()
        self._guest_event, self._guest_event_at = VmStatus.REBOOT_IN_PROGRESS, self._now()
        self._agent_up = False
        self._tell("reboot")

    async def pause(self, code: str = "NOERR") -> None:
        """The CPUs stand still and the leases are given back, as libvirt does."""
        await self._ask("pause")
        self.pause_code = code
        if code == "NOERR":
            self.send_status()
        else:
            self.send_status(pauseCode=code, ioerror={"alias": "ua-disk", "name": "vda", "path": ""})

    async def resume(self) -> None:
        """Raises ``Refused``: 16 in a state that cannot resume, 100 when the lease is held elsewhere."""
        if self._last in (VmStatus.DOWN, VmStatus.SAVING_STATE):
            raise refusals.unexpected()
        if self.pause_code is not None:
            answer = await self._ask("resume")
            if answer["event"] == "not resumed":
                raise refusals.general(lease_refusal(answer["errno"], answer["text"], registered=True))
            self.pause_code = None
        self.send_status()

    def crash(self) -> None:
        assert self.process is not None
        self.process.kill()

    def hang(self) -> None:
        assert self.process is not None
        self.hangs_since = self._now()
        self.process.hang()

    def unhang(self) -> None:
        assert self.process is not None
        self.hangs_since = None
        self.process.unhang()

    def tell_guest(self, command: str) -> None:
        self._tell(command)

    async def _ask(self, command: str) -> dict[str, Any]:
        self._tell(command)
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                answer = await self._answers.get()
        except TimeoutError:
            raise refusals.unexpected() from None
        if answer["event"] == "gone":
            raise refusals.unexpected()
        return answer

    def _tell(self, command: str) -> None:
        if self.process is None:
            raise refusals.unexpected()
        self.process.tell(command)
