"""The leases without which two hosts could run the VM on the same disks.

safety: VDSM adds no lease by itself (vdsm: lib/vdsm/virt/vmdevices/lease.py):
every disk that is not shareable gets one here, with placeholders that VDSM
replaces when it has prepared the disk, or there is no domain at all.
"""

from lxml import etree

from ovirt_he_agent.ovf import problems, vmspec
from ovirt_he_agent.ovf.generate.draft import Draft, add
from ovirt_he_agent.ovf.generate.drives import Drive


def add_leases(draft: Draft, devices: etree._Element, drives: list[Drive]) -> tuple[vmspec.Lease, ...]:
    """``lease`` elements; they are returned, too."""
    leases = [
        _of_volume(drive.disk)
        for drive in drives
        if isinstance(drive.disk, vmspec.ImageDisk) and not drive.disk.shareable
    ]
    if draft.spec.lease_domain_id is not None:
        leases.append(_of_vm(draft, draft.spec.lease_domain_id))
    if not leases:
        draft.refuse("no lease would protect it: it has no disk of its own on a storage domain")
    for lease in leases:
        _add(devices, lease)
    return tuple(leases)


def _of_volume(disk: vmspec.ImageDisk) -> vmspec.Lease:
    lockspace = disk.domain_id or ""  # a disk without a domain was refused
    return vmspec.Lease(
        key=disk.volume_id,
        lockspace=lockspace,
        path=f"LEASE-PATH:{disk.volume_id}:{lockspace}",
        offset_bytes=None,
    )


def _of_vm(draft: Draft, domain_id: str) -> vmspec.Lease:
    """VDSM replaces nothing in the lease of a VM, so its place must be known."""
    lease, where = draft.host.vm_lease, f"storage domain {problems.named(domain_id)}"
    if lease is None or lease.path is None or lease.offset_bytes is None:
        draft.refuse(
            f"it has a VM lease on {where}, and at what place there is not known (ask VDSM: Lease.info)"
        )
    if (lease.key, lease.lockspace) != (draft.spec.vm_id, domain_id):
        draft.refuse(
            f"its VM lease is on {where}, and what was found is the lease {lease.key} on {lease.lockspace}"
        )
    return lease


def _add(devices: etree._Element, lease: vmspec.Lease) -> None:
    element = add(devices, "lease")
    add(element, "key", lease.key)
    add(element, "lockspace", lease.lockspace)
    offset = lease.offset_bytes
    placeholder = f"LEASE-OFFSET:{lease.key}:{lease.lockspace}"
    add(element, "target", path=lease.path or "", offset=placeholder if offset is None else str(offset))
