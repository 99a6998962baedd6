"""What VDSM tells about a VM: the objects of VM.getStats and of the launch event.

Shapes: vdsm: lib/vdsm/virt/vm.py (getStats), vmstats.py, lib/vdsm/api/vdsm-api.yml
(RunningVmStats, ExitedVmStats). ``simGuestPort`` and ``pid`` are the emulator's own additions.
"""

from ovirt_he_agent.core.model import VmStatus
from ovirt_he_agent.sim.vdsm import clock, vm

SAMPLE_AFTER_S = 2
"""Before that the CPU figures are initial values and cpuActual says so (on a host up to 15 s)."""


def row(machine: vm.Vm) -> dict[str, object]:
    """One entry of Host.getVMList."""
    return {"vmId": machine.id, "status": str(machine.last_status), "statusTime": str(clock.event_time())}


def stats(machine: vm.Vm) -> dict[str, object]:
    """One entry of VM.getStats."""
    base: dict[str, object] = {"statusTime": str(clock.event_time()), "status": str(machine.status)}
    if machine.ended is not None and machine.status is VmStatus.DOWN:
        return base | {"vmId": machine.id} | machine.ended.info()
    return base | _config(machine) | running(machine) | _guest(machine)


def _config(machine: vm.Vm) -> dict[str, object]:
    return {
        "vmId": machine.id,
        "vmName": machine.domain.name or "",
        "vmType": "kvm",
        "kvmEnable": "true",
        "acpiEnable": "true",
    }


def running(machine: vm.Vm) -> dict[str, object]:
    """What changes while the VM runs."""
    user, system = machine.process.cpu_seconds() if machine.process else (0.0, 0.0)
    elapsed_s = max(machine.elapsed_s, 1)
    displays = machine.prepared.displays if machine.prepared else ()
    values: dict[str, object] = {
        "elapsedTime": str(machine.elapsed_s),
        "monitorResponse": "0" if machine.monitor_answers else "-1",
        "clientIp": "",
        "timeOffset": "0",
        "cpuUser": f"{user / elapsed_s * 100:.2f}",
        "cpuSys": f"{system / elapsed_s * 100:.2f}",
        "cpuUsage": str(int((user + system) * 1e9)),
        "cpuActual": machine.elapsed_s >= SAMPLE_AFTER_S,
        "vcpuCount": str(machine.prepared.vcpus if machine.prepared else -1),
        "network": {},
        "disks": {},
        "balloonInfo": {},
        "displayInfo": [
            {"type": kind, "port": "5900", "tlsPort": "-1", "ipAddress": "127.0.0.1"} for kind in displays
        ],
        "hash": str(hash(machine.domain.xml)),
        "vmJobs": {},
    }
    if machine.pause_code is not None:
        values["pauseCode"] = machine.pause_code
    return values


def _guest(machine: vm.Vm) -> dict[str, object]:
    """What the guest agent would say, and where the emulated guest is."""
    return {
        "username": "Unknown",
        "session": "Unknown",
        "memUsage": "0",
        "guestCPUCount": -1,
        "appsList": [],
        "guestIPs": "",
        "guestFQDN": "",
        "disksUsage": [],
        "netIfaces": [],
        "pid": str(machine.process.pid if machine.process else 0),
        "simGuestPort": machine.guest_port or 0,
    }
