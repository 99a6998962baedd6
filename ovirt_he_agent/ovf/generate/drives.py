"""What a disk is called and where it sits: target names, and units on the buses that have units.

VDSM finds a disk by its target name and derives the name from bus and letter,
so prefix and bus must agree (vdsm: lib/vdsm/virt/vmdevices/drivename.py). scsi
and sata share the letters of ``sd``; the third name is the CD-ROM's.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping

from ovirt_he_agent.ovf import problems, vmspec
from ovirt_he_agent.ovf.generate.addresses import integer
from ovirt_he_agent.ovf.generate.draft import Draft
from ovirt_he_agent.ovf.generate.platform import I440FX, Q35

_PREFIX = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd"}
_CDROM_INDEX = 2
_IDE_UNITS = 4
SATA_UNITS = 6

Disk = vmspec.ImageDisk | vmspec.LunDisk
Place = tuple[int, int, int, int]
"""Controller, bus, target, unit."""


class Drive:
    """A disk in the VM, or its CD-ROM, which is no ``disk`` of the VM's."""

    def __init__(
        self, what: str, bus: str, address: Mapping[str, str] | None, disk: Disk | None = None
    ) -> None:
        self.what = what
        self.bus = bus
        self.address = address
        self.disk = disk
        self.index = 0
        self.place: Place | None = None
        """None on virtio, where a disk is a PCI device of its own."""

    @property
    def dev(self) -> str:
        letters, number = "", self.index + 1
        while number:
            number, letter = divmod(number - 1, 26)
            letters = chr(ord("a") + letter) + letters
        return _PREFIX[self.bus] + letters


def arrange(draft: Draft, scsi_controllers: Collection[int]) -> list[Drive]:
    """Every drive that starts with the VM with its name and place, the CD-ROM last.

    Places of the last run are kept where they are possible.
    """
    drives = [_of_disk(draft, disk) for disk in draft.spec.disks if _starts(draft, disk)]
    indexes: dict[str, Iterator[int]] = {prefix: itertools.count() for prefix in _PREFIX.values()}
    if draft.has_plugged("cdrom", draft.spec.cdrom):
        bus = {I440FX: "ide", Q35: "sata"}.get(draft.platform.chipset, "scsi")
        found = draft.records("cdrom")
        cdrom = Drive("CD-ROM", bus, found[0].address if found else None)
        cdrom.index = _CDROM_INDEX
        indexes[_PREFIX[bus]] = itertools.filterfalse(_CDROM_INDEX.__eq__, itertools.count())
        drives.append(cdrom)
    for drive in drives:
        if drive.disk is not None:
            drive.index = next(indexes[_PREFIX[drive.bus]])
    for bus in ("ide", "sata", "scsi"):
        _place(draft, bus, [drive for drive in drives if drive.bus == bus], scsi_controllers)
    return drives


def _starts(draft: Draft, disk: Disk) -> bool:
    if not disk.plugged:
        return False
    if isinstance(disk, vmspec.ImageDisk) and disk.snapshot_id is not None:
        draft.warn(f"{_what(disk)} is left out: it is a snapshot that was attached for a while.")
        return False
    return True


def _what(disk: Disk) -> str:
    own_id = disk.image_id if isinstance(disk, vmspec.ImageDisk) else disk.disk_id
    return f"Disk {problems.named(disk.alias or own_id)}"


def _of_disk(draft: Draft, disk: Disk) -> Drive:
    """The bus is the disk's interface, but a machine has not every one."""
    what, bus = _what(disk), disk.interface.value
    if bus == "ide" and draft.platform.chipset == Q35:
        draft.warn(f"{what}: a q35 machine has no IDE, so it is attached to SATA.")
        bus = "sata"
    if bus in ("ide", "sata") and not draft.platform.x86:
        draft.refuse(f"{what} is on {bus}, which {draft.platform.arch} does not have")
    return Drive(what, bus, disk.address, disk)


def _place(draft: Draft, bus: str, drives: list[Drive], scsi_controllers: Collection[int]) -> None:
    if bus == "ide" and len(drives) > _IDE_UNITS:
        draft.refuse(f"it has {len(drives)} drives on IDE, which takes {_IDE_UNITS}")
    taken: set[Place] = set()
    for drive in drives:
        kept = _kept(drive, bus, scsi_controllers)
        if kept is not None and kept not in taken:
            drive.place = kept
            taken.add(kept)
        elif drive.address is not None:
            why = "is another drive's" if kept else f"is none on {bus}"
            draft.warn(f"{drive.what}: its address is left out, because it {why}.")
    for drive in drives:
        if drive.place is None:
            numbers = (drive.index, *range(len(drives)))
            drive.place = next(place for place in map(_PLACES[bus], numbers) if place not in taken)
            taken.add(drive.place)


_PLACES = {
    "ide": lambda number: (0, number // 2 % 2, 0, number % 2),
    "sata": lambda number: (number // SATA_UNITS, 0, 0, number % SATA_UNITS),
    "scsi": lambda number: (0, 0, 0, number),
}
"""The place that libvirt gives to the n-th name of a bus; every one has more places than drives."""


def _kept(drive: Drive, bus: str, scsi_controllers: Collection[int]) -> Place | None:
    address = drive.address
    if address is None or address.get("type") != "drive":
        return None
    numbers = [integer(address.get(key, "0")) for key in ("controller", "bus", "target", "unit")]
    if None in numbers:
        return None
    controller, channel, target, unit = (number or 0 for number in numbers)
    match bus:
        case "ide":
            possible = (controller, target) == (0, 0) and channel < 2 and unit < 2
        case "sata":
            possible = (controller, channel, target) == (0, 0, 0) and unit < SATA_UNITS
        case _:
            possible = controller in scsi_controllers and channel == 0 and target < 256 and unit < 16384
    return (controller, channel, target, unit) if possible else None
