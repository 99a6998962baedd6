"""Memory: what the VM has, what may be plugged in, the pages behind it, and its NUMA cells.

VDSM reads the numbers as KiB whatever unit is written (vdsm:
lib/vdsm/virt/domain_descriptor.py); libvirt takes no ``maxMemory`` without a
NUMA cell, and QEMU none that is equal to the memory.
"""

from collections.abc import Sequence

from lxml import etree

from ovirt_he_agent.ovf import record, vmspec
from ovirt_he_agent.ovf.generate.draft import Draft, add, whole

_SLOTS = "16"
_PPC_BLOCK_MIB = 256


def kib(mib: int) -> str:
    return str(mib * 1024)


def add_memory(draft: Draft, root: etree._Element) -> None:
    """``memory``, ``currentMemory``, ``maxMemory``, ``memoryBacking``."""
    add(root, "memory", kib(draft.spec.memory_mib))
    add(root, "currentMemory", kib(draft.spec.memory_mib))
    ceiling_mib = hot_plug_ceiling_mib(draft.spec, draft.platform.arch)
    if ceiling_mib is not None:
        add(root, "maxMemory", kib(ceiling_mib), slots=_SLOTS)
    elif draft.spec.max_memory_mib is not None and draft.spec.max_memory_mib != draft.spec.memory_mib:
        draft.warn(
            f"The most memory, {draft.spec.max_memory_mib} MiB, is left out: it is below the VM's memory or "
            "its machine cannot be given more while it runs."
        )
    _add_backing(draft, root)


def hot_plug_ceiling_mib(spec: vmspec.VmSpec, arch: str) -> int | None:
    """Up to where memory may be plugged in; None: not at all."""
    ceiling_mib = spec.max_memory_mib
    if ceiling_mib is None or arch == "s390x":
        return None
    if arch == "ppc64le":
        ceiling_mib -= ceiling_mib % _PPC_BLOCK_MIB
    return ceiling_mib if ceiling_mib > spec.memory_mib else None


def _add_backing(draft: Draft, root: etree._Element) -> None:
    written = draft.spec.custom_properties.get("hugepages")
    if not written:
        return
    size_kib = whole(written)
    if size_kib is None:
        draft.warn(
            f"The custom property hugepages is {record.shown(written)}, no size in KiB: it is left out."
        )
        return
    pages = add(add(root, "memoryBacking"), "hugepages")
    add(pages, "page", size=size_kib)


def add_cells(draft: Draft, cpu: etree._Element, max_vcpus: int) -> bool:
    """``cpu/numa``: the VM's own cells, or one where libvirt or shared memory asks for it.

    Whether the cells are the VM's own.
    """
    spec = draft.spec
    cells = own = _own_cells(draft, max_vcpus)
    shared = spec.custom_properties.get("hugepages_shared", "").strip().lower() == "true"
    if not cells:
        if hot_plug_ceiling_mib(spec, draft.platform.arch) is None and not shared:
            return False
        cells = [(range(max_vcpus), spec.memory_mib)]
    numa = add(cpu, "numa")
    for index, (cpus, memory_mib) in enumerate(cells):
        cell = add(numa, "cell", id=str(index), cpus=ranges(cpus), memory=kib(memory_mib))
        if shared:
            cell.set("memAccess", "shared")
    return bool(own)


def _own_cells(draft: Draft, max_vcpus: int) -> list[tuple[Sequence[int], int]]:
    spec = draft.spec
    if not spec.numa_cells:
        return []
    cells = sorted(spec.numa_cells, key=lambda cell: -1 if cell.index is None else cell.index)
    cpus = [number for cell in cells for number in cell.cpus]
    sizes_mib = [cell.memory_mib or 0 for cell in cells]
    consistent = (
        [cell.index for cell in cells] == list(range(len(cells)))
        and len(set(cpus)) == len(cpus)
        and all(number < max_vcpus for number in cpus)
        and all(cell.cpus for cell in cells)
        and sum(sizes_mib) == spec.memory_mib
        and all(sizes_mib)
    )
    if not consistent:
        draft.warn(
            "The NUMA nodes are left out: their numbers, CPUs or memory do not make up the VM's "
            "memory and processors."
        )
        return []
    rest = sorted(set(range(max_vcpus)) - set(cpus))  # those that may be plugged in later
    return [
        (sorted([*cell.cpus, *rest] if index == 0 else cell.cpus), size_mib)
        for index, (cell, size_mib) in enumerate(zip(cells, sizes_mib, strict=True))
    ]


def ranges(numbers: Sequence[int]) -> str:
    """``0-3,8``: ascending numbers as libvirt writes a CPU set."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def add_numa_tuning(draft: Draft, root: etree._Element, *, own_cells: bool) -> None:
    """Which NUMA nodes of the host the cells lie on: nodes of one host, so not for a VM that runs on any."""
    pinned = [cell for cell in draft.spec.numa_cells if cell.host_nodes and cell.index is not None]
    if not pinned:
        return
    if draft.spec.hosted_engine or not own_cells:
        draft.warn("The pinning to NUMA nodes of a host is left out: another host's nodes would be meant.")
        return
    tuning = add(root, "numatune")
    for cell in pinned:
        mode = cell.tune_mode if cell.tune_mode in ("strict", "interleave", "preferred") else "strict"
        nodes = ranges(sorted(set(cell.host_nodes)))
        add(tuning, "memnode", cellid=str(cell.index), mode=mode, nodeset=nodes)
