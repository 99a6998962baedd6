"""What VDSM keeps about a VM besides libvirt: ``ovirt-vm:vm`` and ``ovirt-tune:qos``.

Every child is in the namespace; a number carries its type, because VDSM
calculates with it (vdsm: lib/vdsm/virt/metadata.py).
"""

import functools
from collections.abc import Mapping

from lxml import etree

from ovirt_he_agent.ovf import record, vmspec
from ovirt_he_agent.ovf.generate.draft import OVIRT_VM, Draft, add

OVIRT_TUNE = "{http://ovirt.org/vm/tune/1.0}"
NAMESPACES = {"ovirt-tune": OVIRT_TUNE[1:-1], "ovirt-vm": OVIRT_VM[1:-1]}


def start(root: etree._Element) -> etree._Element:
    """The empty ``ovirt-vm:vm``, which parts of the domain add their devices to."""
    metadata = add(root, "metadata")
    add(metadata, OVIRT_TUNE + "qos")
    return add(metadata, OVIRT_VM + "vm")


def add_metadata(draft: Draft, vm: etree._Element) -> None:
    """What is said of the VM as a whole into ``vm``, its ``ovirt-vm:vm``."""
    spec = draft.spec
    guaranteed_mib = min(spec.guaranteed_memory_mib, spec.memory_mib)
    if guaranteed_mib != spec.guaranteed_memory_mib:
        draft.warn("The guaranteed memory is more than the VM has: all of its memory is guaranteed.")
    add(vm, OVIRT_VM + "minGuaranteedMemoryMb", str(guaranteed_mib), type="int")
    if spec.cluster_version is not None and level(spec.cluster_version) is None:
        draft.warn(f"The compatibility version {record.shown(spec.cluster_version)} is left out: it is none.")
    elif spec.cluster_version is not None:
        add(vm, OVIRT_VM + "clusterVersion", spec.cluster_version)
    add_custom(draft, vm, spec.custom_properties, "The VM")
    if "mdev_type" in spec.custom_properties:
        draft.warn("The custom property mdev_type is not followed: mediated devices are of one certain host.")
    if "scsi_hostdev" in spec.custom_properties:
        draft.warn("The custom property scsi_hostdev is not followed: LUNs are attached as disks.")
    add(vm, OVIRT_VM + "launchPaused", "true" if spec.start_paused else "false")
    behavior = spec.resume_behavior or vmspec.ResumeBehavior.AUTO_RESUME
    add(vm, OVIRT_VM + "resumeBehavior", behavior.value)
    if spec.balloon_enabled is not None:
        add(vm, OVIRT_VM + "ballooningEnabled", "true" if spec.balloon_enabled else "false")
    add(vm, OVIRT_VM + "cpuPolicy", "none" if spec.hosted_engine else spec.cpu_policy or "none")
    if spec.hosted_engine and spec.cpu_policy not in (None, "none"):
        draft.warn(
            "The CPU policy is not applied: it is for CPUs of one host, and the engine VM runs on any."
        )


@functools.lru_cache(maxsize=16)
def level(cluster_version: str | None) -> tuple[int, int] | None:
    """``4.10`` as (4, 10); None if it is not two numbers."""
    numbers = [record.number(part) for part in (cluster_version or "").split(".")]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None or min(numbers[0], numbers[1]) < 0:
        return None
    return numbers[0], numbers[1]


def add_custom(draft: Draft, parent: etree._Element, properties: Mapping[str, str], what: str) -> None:
    """Custom properties for VDSM's hooks; each becomes an element of its name."""
    custom = add(parent, OVIRT_VM + "custom")
    for key, value in properties.items():
        if _is_name(key):
            add(custom, OVIRT_VM + key, value)
        else:
            draft.warn(
                f"{what}: the custom property {record.shown(key)} is left out: this is no name in XML."
            )


def _is_name(text: str) -> bool:
    bare = text.replace("-", "").replace(".", "").replace("_", "")
    return text.isascii() and (text[:1].isalpha() or text[:1] == "_") and (bare.isalnum() or not bare)
