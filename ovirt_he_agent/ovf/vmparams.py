"""A ``VmSpec`` as the dictionary of legacy parameters: what ``VM.create`` took once, and what vm.conf holds.

Current VDSM starts a VM from ``xml`` alone (vdsm: lib/vdsm/API.py); the rest is
for people and tools. All values are texts, in lists and maps at most: they come
back unchanged from a vm.conf. What the VM does not have has no key; devices that
are not plugged are not there, nor are disks that are another VM's snapshot.
"""

from typing import Any

from ovirt_he_agent.ovf import problems, safe_xml, vmparams_devices, vmspec

Params = dict[str, Any]

HOST_CPU = "hostPassthrough"
"""VDSM's word for the CPU of the host as it is (vdsm: lib/vdsm/api/vdsm-api.yml)."""
MEMORY_SLOTS = 16
SECURE_CHANNELS = "smain,sdisplay,sinputs,scursor,splayback,srecord,ssmartcard,susbredir"


def of(spec: vmspec.VmSpec, xml: str | None = None) -> Params:
    """The parameters of ``spec``; ``xml`` is the domain that VDSM would get.

    Without it there is no ``timeOffset``: an OVF names a zone, a domain its offset in seconds.
    """
    more_memory = spec.max_memory_mib is not None and spec.max_memory_mib > spec.memory_mib
    cells = [_numa_cell(cell) for cell in spec.numa_cells]
    if more_memory and not cells:
        cells = [_only_cell(spec)]  # without a cell no memory can be plugged in
    params: Params = {
        "vmId": spec.vm_id,
        "vmName": spec.name,
        "memSize": spec.memory_mib,
        "memGuaranteedSize": _unless(spec.guaranteed_memory_mib, spec.memory_mib),
        "maxMemSize": spec.max_memory_mib if more_memory else None,
        "maxMemSlots": MEMORY_SLOTS if more_memory else None,
        "smp": spec.vcpus,
        "smpCoresPerSocket": _unless(spec.cores_per_socket, 1),
        "smpThreadsPerCore": _unless(spec.threads_per_core, 1),
        "maxVCpus": spec.max_vcpus,
        "cpuType": HOST_CPU if spec.host_cpu_passthrough else spec.cpu,
        "emulatedMachine": spec.machine,
        "display": _display(spec),
        "numOfIoThreads": spec.iothreads or None,
        "timeOffset": _time_offset(xml),
        "serial": _serial(spec),
        "bootMenuEnable": "true" if spec.boot_menu else None,
        "kernel": spec.kernel,
        "initrd": spec.initrd,
        "kernelArgs": spec.kernel_parameters,
        # only when true: whoever reads a vm.conf pauses the VM on any text here
        "launchPaused": "true" if spec.start_paused else None,
        "keyboardLayout": _unless(spec.vnc_keymap, "none"),
        "spiceSecureChannels": SECURE_CHANNELS if vmspec.Graphics.SPICE in spec.graphics else None,
    }
    params = vmparams_devices.texts(params)
    params["custom"] = dict(spec.custom_properties)
    params["cpuPinning"] = {} if spec.hosted_engine else _pinning(spec.cpu_pinning)
    params["guestNumaNodes"] = cells
    params["devices"] = vmparams_devices.of(spec)
    params["xml"] = xml
    return {key: value for key, value in params.items() if value}


def _unless(value: Any, ordinary: Any) -> Any:
    return None if value == ordinary else value


def _time_offset(xml: str | None) -> str | None:
    if xml is None:
        return None
    try:
        clock = safe_xml.parse_text(xml).find("clock")
    except problems.BadDocument:  # of an old vm.conf; it is handed on as it is
        return None
    return _unless(clock.get("adjustment"), "0") if clock is not None else None


def _display(spec: vmspec.VmSpec) -> str | None:
    if vmspec.Graphics.SPICE in spec.graphics:
        return "qxl"
    return "vnc" if spec.graphics else None


def _serial(spec: vmspec.VmSpec) -> str | None:
    return {1: spec.vm_id, 2: spec.custom_serial_number}.get(spec.serial_number_policy or 0)


def _pinning(text: str | None) -> dict[str, str]:
    """``0#1-2_1#3``: the host's CPUs by vcpu."""
    pins = (pin.partition("#") for pin in (text or "").split("_"))
    return {vcpu: cpus for vcpu, _, cpus in pins if vcpu and cpus}


def _only_cell(spec: vmspec.VmSpec) -> Params:
    """All vcpus, those that may be plugged in too, and all memory."""
    last = max(spec.vcpus, spec.max_vcpus or 0) - 1
    return {"nodeIndex": "0", "cpus": f"0-{last}" if last else "0", "memory": str(spec.memory_mib)}


def _numa_cell(cell: vmspec.NumaCell) -> Params:
    return vmparams_devices.texts(
        {"nodeIndex": cell.index, "cpus": ranges(cell.cpus), "memory": cell.memory_mib}
    )


def ranges(numbers: tuple[int, ...]) -> str:
    """``0-2,5``: in ranges a list needs no comma as long as it has no hole."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
