"""Disks and the CD-ROM as VDSM and libvirt want them."""

import itertools
from collections.abc import Iterator

from lxml import etree

from ovirt_he_agent.ovf import problems, record, vmspec
from ovirt_he_agent.ovf.generate.draft import OVIRT_VM, Draft, add
from ovirt_he_agent.ovf.generate.drives import Disk, Drive

NO_POOL = "00000000-0000-0000-0000-000000000000"
"""The pool of a hosted engine's disks to VDSM: no pool need be connected when it starts."""
_CACHES = ("none", "writethrough", "writeback", "directsync", "unsafe")
_NATIVE_CACHES = ("none", "directsync")
"""The caches with which QEMU can use the kernel's asynchronous I/O."""


def add_drives(draft: Draft, devices: etree._Element, drives: list[Drive]) -> None:
    """``disk`` elements, and what VDSM must know of each to prepare its image."""
    threads = itertools.cycle(range(1, draft.spec.iothreads + 1))
    elements = [
        _add_cdrom(draft, devices, drive)
        if drive.disk is None
        else _add_disk(draft, devices, drive, drive.disk, threads)
        for drive in drives
    ]
    images = any(isinstance(drive.disk, vmspec.ImageDisk) for drive in drives)
    if images and draft.host.block_domain_ids is None:
        draft.warn("Whether the storage is files or block devices is not known here: taken as files.")
    disks = [(drive.disk, element) for drive, element in zip(drives, elements, strict=True) if drive.disk]
    if any(disk.boot_order is not None for disk, _ in disks):
        return
    flagged = [element for disk, element in disks if disk.boot]
    if flagged:
        draft.boots(flagged[0], None)
    elif disks:
        draft.warn("No disk is marked to boot from: the machine's firmware chooses.")


def _add_cdrom(draft: Draft, devices: etree._Element, drive: Drive) -> etree._Element:
    """An empty drive: the engine never writes which image is in it."""
    element = add(devices, "disk", type="file", device="cdrom", snapshot="no")
    add(element, "driver", name="qemu", type="raw", error_policy="report")
    add(element, "source", file="", startupPolicy="optional")
    add(element, "target", dev=drive.dev, bus=drive.bus)
    add(element, "readonly")
    for found in draft.records("cdrom")[:1]:
        draft.name(element, found.id)
        if found.boot_order is not None:
            draft.boots(element, found.boot_order)
    _add_place(element, drive)
    return element


def _add_disk(
    draft: Draft, devices: etree._Element, drive: Drive, disk: Disk, threads: Iterator[int]
) -> etree._Element:
    element = add(devices, "disk", snapshot="no")
    metadata = add(draft.metadata, OVIRT_VM + "device", devtype="disk", name=drive.dev)
    if isinstance(disk, vmspec.ImageDisk):
        _fill_image(draft, element, metadata, disk, drive.what)
    else:
        _fill_lun(draft, element, metadata, disk)
    add(element, "target", dev=drive.dev, bus=drive.bus)
    _add_driver(draft, element, drive, disk, threads)
    if disk.shareable:
        add(element, "shareable")
    if disk.read_only:
        if drive.bus in ("ide", "sata"):
            draft.refuse(f"{drive.what} is read-only, which a disk on {drive.bus} cannot be")
        add(element, "readonly")
    if drive.bus == "virtio":
        draft.wish(element, disk.address, drive.what)
    _add_place(element, drive)
    if disk.boot_order is not None:
        draft.boots(element, disk.boot_order)
    return element


def _fill_image(
    draft: Draft, element: etree._Element, metadata: etree._Element, disk: vmspec.ImageDisk, what: str
) -> None:
    if disk.domain_id is None:
        draft.refuse(f"the storage domain of {what} is not given (StorageId)")
    if disk.format is vmspec.VolumeFormat.UNASSIGNED:
        draft.refuse(f"the format of {what} is not given (volume-format is Unassigned)")
    block = disk.domain_id in (draft.host.block_domain_ids or ())
    element.set("type", "block" if block else "file")
    element.set("device", "disk")
    # VDSM puts the prepared path in its place
    path = f"/rhev/data-center/{NO_POOL}/{disk.domain_id}/images/{disk.image_id}/{disk.volume_id}"
    add(element, "source", **{"dev" if block else "file": path})
    draft.name(element, disk.image_id)
    add(element, "serial", disk.image_id)
    for name, value in (
        ("poolID", NO_POOL),
        ("domainID", disk.domain_id),
        ("imageID", disk.image_id),
        ("volumeID", disk.volume_id),
        ("shared", "shared" if disk.shareable else "exclusive"),
    ):
        add(metadata, OVIRT_VM + name, value)


def _fill_lun(draft: Draft, element: etree._Element, metadata: etree._Element, disk: vmspec.LunDisk) -> None:
    element.set("type", "block")
    element.set("device", "lun" if disk.scsi_reservation else "disk")  # only a "lun" can be reserved
    source = add(element, "source", dev=f"/dev/mapper/{disk.lun_id}")
    if disk.scsi_reservation:
        add(source, "reservations", managed="yes")
    draft.name(element, disk.disk_id)
    add(metadata, OVIRT_VM + "GUID", disk.lun_id)
    add(metadata, OVIRT_VM + "imageID", disk.lun_id)
    if not disk.shareable:
        draft.warn(
            f"LUN {problems.named(disk.alias or disk.lun_id)}: no lease protects a LUN from a second host."
        )


def _add_driver(
    draft: Draft, element: etree._Element, drive: Drive, disk: Disk, threads: Iterator[int]
) -> None:
    cow = isinstance(disk, vmspec.ImageDisk) and disk.format is vmspec.VolumeFormat.COW
    cache = _cache(draft) if drive.bus == "virtio" and not disk.shareable else "none"
    native = element.get("type") == "block" and cache in _NATIVE_CACHES
    driver = add(
        element,
        "driver",
        name="qemu",
        type="qcow2" if cow else "raw",
        cache=cache,
        io="native" if native else "threads",
        error_policy="stop",
    )
    if disk.pass_discard:
        driver.set("discard", "unmap")
    if drive.bus == "virtio" and draft.spec.iothreads:
        driver.set("iothread", str(next(threads)))


def _cache(draft: Draft) -> str:
    written = draft.spec.custom_properties.get("viodiskcache")
    if not written or written in _CACHES:
        return written or "none"
    draft.warn_once(
        f"The custom property viodiskcache is {record.shown(written)}, no cache of QEMU: none is used."
    )
    return "none"


def _add_place(element: etree._Element, drive: Drive) -> None:
    if drive.place is not None:
        controller, bus, target, unit = map(str, drive.place)
        add(element, "address", type="drive", controller=controller, bus=bus, target=target, unit=unit)
