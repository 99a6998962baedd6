"""Processors: how many, of which model with which flags, in which topology, pinned or not."""

from lxml import etree

from ovirt_he_agent.ovf import record
from ovirt_he_agent.ovf.generate import memory
from ovirt_he_agent.ovf.generate.draft import Draft, add

_MOST_X86_VCPUS = 240
"""What every x86 machine type has; above 255 libvirt wants an I/O MMU besides."""
_POLICIES = {"+": "require", "-": "disable"}
_MODES = {"hostpassthrough": "host-passthrough", "hostmodel": "host-model"}


def add_cpu(draft: Draft, root: etree._Element) -> None:
    """``vcpu``, ``iothreads``, ``cpu``, ``cputune``, ``numatune``."""
    spec = draft.spec
    most = _max_vcpus(draft)
    add(root, "vcpu", str(most), current=str(spec.vcpus))
    if spec.iothreads:
        add(root, "iothreads", str(spec.iothreads))
    cpu = add(root, "cpu")
    _add_model(draft, cpu)
    cores, threads = spec.cores_per_socket, spec.threads_per_core
    sockets = most // cores // threads
    add(cpu, "topology", cores=str(cores), threads=str(threads), sockets=str(sockets))
    own_cells = memory.add_cells(draft, cpu, most)
    _add_pinning(draft, root)
    memory.add_numa_tuning(draft, root, own_cells=own_cells)


def _max_vcpus(draft: Draft) -> int:
    """A multiple of what one socket holds, and no less than the VM has."""
    spec = draft.spec
    written = spec.max_vcpus or spec.vcpus
    per_socket = spec.cores_per_socket * spec.threads_per_core
    ceiling = min(written, _MOST_X86_VCPUS) if draft.platform.x86 else written
    most = max(ceiling - ceiling % per_socket, spec.vcpus)
    if most != written and ceiling != written:
        draft.warn(
            f"The most vcpus are taken as {most} and not {written}: more than {_MOST_X86_VCPUS} do not start "
            "on every machine."
        )
    elif most != written:
        draft.warn(
            f"The most vcpus, {written}, do not fit sockets of {per_socket} and {spec.vcpus} vcpus: "
            f"taken as {most}."
        )
    return most


def _add_model(draft: Draft, cpu: etree._Element) -> None:
    spec = draft.spec
    extra = spec.custom_properties.get("extra_cpu_flags", "")
    if spec.host_cpu_passthrough:
        cpu.set("mode", "host-passthrough")
        _add_flags(draft, cpu, extra.split(","))
        return
    text = spec.cpu or draft.host.default_cpu
    if text is None:
        draft.warn("The OVF names no CPU and none is configured: the host's own model is used (host-model).")
    elif spec.cpu is None:
        draft.warn(f"The OVF names no CPU: the configured {record.shown(text)} is used.")
    model, *flags = [part.strip() for part in (text or "hostModel").split(",")]
    mode = _MODES.get(model.replace("-", "").lower())
    if mode is not None:
        cpu.set("mode", mode)
    elif draft.platform.arch == "ppc64le":
        cpu.set("mode", "host-model")
        add(cpu, "model", model.lower())
    else:
        cpu.set("match", "exact")
        add(cpu, "model", model)
    _add_flags(draft, cpu, [*flags, *extra.split(",")])


def _add_flags(draft: Draft, cpu: etree._Element, flags: list[str]) -> None:
    """Each flag once, as libvirt wants it; what is said last counts."""
    policies: dict[str, str] = {}
    for flag in filter(None, map(str.strip, flags)):
        policy = _POLICIES.get(flag[0])
        if policy is None or not flag[1:]:
            draft.warn(f"The CPU flag {record.shown(flag)} is left out: it begins with neither + nor -.")
        else:
            policies[flag[1:]] = policy
    for name, policy in policies.items():
        add(cpu, "feature", name=name, policy=policy)


def _add_pinning(draft: Draft, root: etree._Element) -> None:
    """``0#1-2_1#3``: vcpu 0 on CPUs 1 and 2 of a host, vcpu 1 on CPU 3."""
    written = draft.spec.cpu_pinning
    if not written:
        return
    if draft.spec.hosted_engine:
        draft.warn(
            "The CPU pinning is left out: it names the CPUs of one host, and the engine VM runs on any."
        )
        return
    pins: dict[int, str] = {}
    for part in written.split("_"):
        vcpu, _, cpus = part.partition("#")
        number = record.number(vcpu)
        if number is None or not 0 <= number < draft.spec.vcpus or not cpus or cpus.strip("0123456789,-^"):
            draft.warn(f"The CPU pinning {record.shown(written)} is left out: it cannot be read.")
            return
        pins[number] = cpus
    tuning = add(root, "cputune")
    for number, cpus in pins.items():
        add(tuning, "vcpupin", vcpu=str(number), cpuset=cpus)
