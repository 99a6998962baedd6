"""All VMs of the host and the verbs about them.

Models vdsm: lib/vdsm/API.py (class VM), lib/vdsm/clientIF.py. Each running VM
leaves ``run/vdsm/guests/<vmId>.json`` ({"pid", "port"}) below the root, so that
the page of a guest can be found without the wire.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ovirt_he_agent import blocking
from ovirt_he_agent.core.model import ExitReason
from ovirt_he_agent.sim import guest
from ovirt_he_agent.sim.vdsm import domain_xml, hooks, networks, refusals, rpc, vm, vm_process, vm_stats

IMAGE_TIMEOUT_S = 60.0
DEFAULT_SHUTDOWN_TIMEOUT_S = 120

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOptions:
    port: int = 0
    boot_s: float = 1.0
    shutdown_s: float = 0.2


class Vms:
    """The container; a ``vm.Host``. ``serve`` must run before a VM is created."""

    def __init__(
        self,
        root: Path,
        options: GuestOptions,
        scripts: hooks.Hooks,
        prepare_image: Callable[[domain_xml.Image], domain_xml.PreparedImage],
        network_names: Callable[[], Collection[str]],
        notify: Callable[[str, dict[str, object]], None],
    ) -> None:
        """``prepare_image`` blocks and raises ``LaunchFailed``; ``notify`` sends an event."""
        self._root = root
        self._directory = root / "run" / "vdsm" / "guests"
        self._options = options
        self._hooks = scripts
        self._prepare_image = prepare_image
        self._network_names = network_names
        self.notify = notify
        self._vms: dict[str, vm.Vm] = {}
        self._lives: asyncio.TaskGroup | None = None

    async def serve(self) -> None:
        """Own the VMs' lives until cancelled: then every guest is killed."""
        async with asyncio.TaskGroup() as lives:
            self._lives = lives
            await asyncio.Event().wait()

    def verbs(self) -> Mapping[str, rpc.Verb]:
        return {
            "VM.create": self.create,
            "VM.getStats": self.get_stats,
            "VM.getInfo": self.get_info,
            "VM.destroy": self.destroy,
            "VM.shutdown": self.shutdown,
            "VM.pause": self.pause,
            "VM.cont": self.cont,
            "VM.reset": self.reset,
            "Host.getVMList": self.get_vm_list,
            "Host.getAllVmStats": self.get_all_vm_stats,
        }

    def find(self, vm_id: object) -> vm.Vm:
        """Raises ``Refused`` (1)."""
        machine = self._vms.get(vm_id) if isinstance(vm_id, str) else None
        if machine is None:
            raise refusals.no_such_vm(vm_id)
        return machine

    def counts(self) -> tuple[int, int]:
        """Known VMs, and those whose coarse status is Up."""
        return len(self._vms), sum(machine.last_status == "Up" for machine in self._vms.values())

    # verbs

    async def create(self, vmID: object, vmParams: dict[str, object]) -> dict[str, object]:
        if "xml" not in vmParams:
            raise refusals.general(KeyError("xml"))
        domain = domain_xml.read(vmParams["xml"])
        if domain.id in self._vms:
            raise refusals.vm_exists()
        if vmParams.get("display") not in (None, "vnc", "qxl", "qxlnc"):
            raise refusals.cannot_create_vm()
        machine = vm.Vm(domain_xml.check_call(domain), self)
        self._vms[machine.id] = machine
        reply = vm_stats.row(machine) | {"xml": domain.xml}
        assert self._lives is not None
        self._lives.create_task(self._live(machine), name=f"vm/{machine.id}")
        return reply

    async def get_stats(self, vmID: object) -> list[dict[str, object]]:
        return [vm_stats.stats(self.find(vmID))]

    async def get_info(self, vmID: object) -> dict[str, object]:
        rows = await self.get_vm_list(vmList=[vmID])
        return rows[0]  # an unknown VM is an IndexError in VDSM too: -32603

    async def get_vm_list(
        self, fullStatus: object = False, vmList: object = (), onlyUUID: object = False
    ) -> list[dict[str, object]]:
        wanted = set(vmList) if isinstance(vmList, list | tuple) else set()
        return [vm_stats.row(m) for m in self._vms.values() if not wanted or m.id in wanted]

    async def get_all_vm_stats(self) -> list[dict[str, object]]:
        return [vm_stats.stats(machine) for machine in self._vms.values()]

    async def destroy(self, vmID: object, gracefulAttempts: object = 1) -> None:
        machine = self.find(vmID)
        await machine.destroy()
        self._vms.pop(machine.id, None)

    async def shutdown(
        self,
        vmID: object,
        delay: object = None,
        message: object = None,
        reboot: object = False,
        timeout: object = None,
        force: object = False,
    ) -> None:
        machine = self.find(vmID)
        if reboot:
            machine.reset()
        else:
            machine.shut_down()
        if force:
            limit_s = float(timeout) if isinstance(timeout, int | float) else DEFAULT_SHUTDOWN_TIMEOUT_S
            assert self._lives is not None
            self._lives.create_task(_destroy_after(machine, limit_s))

    async def pause(self, vmID: object) -> dict[str, object]:
        await self.find(vmID).pause()
        return {"vmList": {}}

    async def cont(self, vmID: object) -> dict[str, object]:
        await self.find(vmID).resume()
        return {"vmList": {}}

    async def reset(self, vmID: object) -> None:
        self.find(vmID).reset()

    # what a guest does by itself (Sim.guest)

    def guest_reboots(self, machine: vm.Vm) -> None:
        machine.reboot(destroy=machine.domain.destroy_on_reboot or self._is_hosted_engine(machine.id))

    def _is_hosted_engine(self, vm_id: str) -> bool:
        """For the VM of this configuration the hook of ovirt-hosted-engine-setup makes on_reboot=destroy."""
        for path in ("etc/ovirt-hosted-engine/hosted-engine.conf", "run/ovirt-hosted-engine-ha/vm.conf"):
            try:
                lines = (self._root / path).read_text().splitlines()
            except OSError:
                continue
            if any(line.replace(" ", "").lower() == f"vmid={vm_id}" for line in lines):
                return True
        return False

    # the launch, and what a VM asks of its host

    async def _live(self, machine: vm.Vm) -> None:
        try:
            await machine.live()
        except Exception:
            # one VM's trouble must not end the others
            log.exception("the life of VM %s ended in an error", machine.id)
        finally:
            self._record(machine).unlink(missing_ok=True)

    def _record(self, machine: vm.Vm) -> Path:
        return self._directory / f"{machine.id}.json"

    def running_stats(self, machine: vm.Vm) -> dict[str, object]:
        return vm_stats.running(machine)

    def guest_moved(self, machine: vm.Vm) -> None:
        assert machine.process is not None
        self._directory.mkdir(parents=True, exist_ok=True)
        record = self._record(machine)
        new = record.with_suffix(".new")
        new.write_text(json.dumps({"pid": machine.process.pid, "port": machine.guest_port}))
        new.rename(record)

    async def start(self, machine: vm.Vm) -> vm_process.VmProcess:
        clash = [m for m in self._vms.values() if m is not machine and m.domain.name == machine.domain.name]
        thread = blocking.Worker(f"vm/{machine.id[:8]}")
        try:
            prepared = await thread.call(
                domain_xml.prepare, machine.domain, self._prepare_image, timeout_s=IMAGE_TIMEOUT_S
            )
        finally:
            thread.close()
        xml = await self._hooks.domain_xml("before_vm_start", prepared.xml, machine.id)
        if xml is not prepared.xml:
            prepared = domain_xml.redefine(prepared, xml)
        try:
            networks.check(prepared.xml, self._network_names())
        except networks.NetworkMissing as e:
            raise domain_xml.LaunchFailed(str(e)) from e
        if any(other.ended is None for other in clash):
            raise domain_xml.LaunchFailed(
                f"operation failed: domain '{machine.domain.name}' already exists with uuid {clash[0].id}"
            )
        machine.prepared = prepared
        return await vm_process.VmProcess.start(
            guest.Spec(
                parent=os.getpid(),
                record=str(self._record(machine)),
                leases=prepared.leases,
                port=self._options.port,
                boot_s=self._options.boot_s,
                shutdown_s=self._options.shutdown_s,
            )
        )


async def _destroy_after(machine: vm.Vm, limit_s: float) -> None:
    """VM.shutdown with force: the last of VDSM's methods, when the guest did not obey in time."""
    try:
        async with asyncio.timeout(limit_s):
            await machine.over.wait()
    except TimeoutError:
        await machine.destroy(ExitReason.ADMIN_SHUTDOWN)
