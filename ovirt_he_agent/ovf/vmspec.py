"""What a VM is, as its OVF says it: one frozen value with no number or word of the engine left in it.

Every name of a field is the key that ``ovf show --format spec`` prints. Absent
is None, never a guess. UUIDs and MAC addresses are text as written; sizes are
MiB unless the name says otherwise.
"""

import enum
from collections.abc import Mapping

from ovirt_he_agent.ovf.value import Value


class Bus(enum.StrEnum):
    """A disk's interface, in libvirt's words."""

    VIRTIO = "virtio"
    SCSI = "scsi"
    IDE = "ide"
    SATA = "sata"


class VolumeFormat(enum.StrEnum):
    """COW is qcow2."""

    RAW = "raw"
    COW = "cow"
    UNASSIGNED = "unassigned"


class Bios(enum.StrEnum):
    I440FX_SEABIOS = "i440fx-seabios"
    Q35_SEABIOS = "q35-seabios"
    Q35_UEFI = "q35-uefi"
    Q35_UEFI_SECURE_BOOT = "q35-uefi-secure-boot"


class NicModel(enum.StrEnum):
    RTL8139_PV = "rtl8139_pv"
    RTL8139 = "rtl8139"
    E1000 = "e1000"
    VIRTIO = "virtio"
    SPAPR_VLAN = "spapr-vlan"
    PCI_PASSTHROUGH = "pci-passthrough"
    E1000E = "e1000e"


class Graphics(enum.StrEnum):
    SPICE = "spice"
    VNC = "vnc"


class RngSource(enum.StrEnum):
    URANDOM = "urandom"
    RANDOM = "random"
    HWRNG = "hwrng"


class Console(enum.StrEnum):
    SERIAL = "serial"
    VIRTIO = "virtio"
    SCLP = "sclp"


class ResumeBehavior(enum.StrEnum):
    """What VDSM does with the VM after an I/O error that is over."""

    AUTO_RESUME = "auto_resume"
    LEAVE_PAUSED = "leave_paused"
    KILL = "kill"


class Missing(enum.StrEnum):
    """What an embedded domain of ours lacks to be sent as it is, in the order to show."""

    EXCLUSIVE = "exclusive"
    VOLUME_LEASE = "volume lease"


class ImageDisk(Value):
    """A disk on a storage domain: one for a whole chain of volumes; ``volume_id`` is its leaf."""

    alias: str | None
    image_id: str
    volume_id: str
    backing_volume_ids: tuple[str, ...]
    """The rest of the chain, the base first."""
    domain_id: str | None
    domain_ids: tuple[str, ...]
    pool_id_in_ovf: str | None
    """Not what VDSM gets: the hosted engine's pool is the blank one."""
    interface: Bus
    format: VolumeFormat
    size_gib: int | None
    boot: bool
    boot_order: int | None
    plugged: bool
    read_only: bool
    shareable: bool
    pass_discard: bool
    address: Mapping[str, str] | None
    device_alias: str | None
    """libvirt's alias of the last run, or ``ua-<device id>``."""
    snapshot_id: str | None
    """The disk is another VM's snapshot, attached for a while."""
    custom_properties: Mapping[str, str]


class LunDisk(Value):
    """A disk that is a LUN of its own."""

    alias: str | None
    disk_id: str
    lun_id: str
    interface: Bus
    boot: bool
    plugged: bool
    read_only: bool
    shareable: bool
    boot_order: int | None
    pass_discard: bool
    scsi_reservation: bool
    address: Mapping[str, str] | None


class Nic(Value):
    id: str | None
    name: str | None
    mac: str | None
    network: str | None
    """The engine's name, not a host's bridge; None: connected to nothing."""
    profile: str | None
    model: NicModel | None
    linked: bool
    plugged: bool
    boot_order: int | None
    address: Mapping[str, str] | None
    device: str | None
    """``bridge`` or ``hostdev``, as written."""
    alias: str | None
    custom_properties: Mapping[str, str]


class Video(Value):
    device: str | None
    spec: Mapping[str, str]
    """``vram``, ``ram``, ``vgamem`` in KiB, ``heads``, others, as written."""


class NumaCell(Value):
    index: int | None
    cpus: tuple[int, ...]
    memory_mib: int | None
    host_nodes: tuple[int, ...]
    """Pinned to these NUMA nodes of a host."""
    tune_mode: str | None
    """``strict``, ``interleave``, ``preferred``, as written."""


class Device(Value):
    """The record of a device that is neither a disk nor a NIC, in the order of the document."""

    kind: str
    """``video``, ``graphics``, ``cdrom``, ``controller``, ``rng``, ``tpm``, other types as written."""
    device: str | None
    id: str | None
    alias: str | None
    address: Mapping[str, str] | None
    boot_order: int | None
    plugged: bool
    read_only: bool
    spec: Mapping[str, str]
    """SpecParams, as written; an empty value is left out (the writer lost it)."""
    custom_properties: Mapping[str, str]


class Lease(Value):
    """A ``lease`` element; VDSM replaces placeholders in ``path`` and offset at the start."""

    key: str
    lockspace: str
    path: str | None
    offset_bytes: int | None
    """None: absent or a placeholder."""


class EngineXml(Value):
    """The libvirt domain that the engine embeds for its own VM, looked at but not changed.

    Of another VM's domain (``ours`` is False) nothing is known but its uuid.
    """

    text: str
    well_formed: bool
    uuid: str | None
    ours: bool
    exclusive_volume_ids: tuple[str, ...]
    leases: tuple[Lease, ...]
    console_alias: str | None
    min_guaranteed_mib: int | None
    missing: tuple[Missing, ...]
    unprotected: tuple[str, ...]
    """One sentence per disk that two hosts could run at the same time."""

    @property
    def usable(self) -> bool:
        """May be sent as it is."""
        return self.ours and not self.missing


class VmSpec(Value):
    vm_id: str
    name: str | None
    description: str | None
    os: str | None
    origin: int | None
    ovf_namespace: str
    generation: int | None
    """The engine's counter of changes to this VM."""
    export_date: str | None
    """When this text was made, UTC, as written."""
    cluster_version: str | None
    memory_mib: int
    guaranteed_memory_mib: int
    max_memory_mib: int | None
    sockets: int
    cores_per_socket: int
    threads_per_core: int
    max_vcpus: int | None
    machine: str | None
    cpu: str | None
    host_cpu_passthrough: bool
    bios: Bios | None
    tpm: bool
    iothreads: int
    boot_menu: bool
    start_paused: bool
    stateless: bool
    serial_number_policy: int | None
    custom_serial_number: str | None
    cpu_pinning: str | None
    numa_cells: tuple[NumaCell, ...]
    custom_properties: Mapping[str, str]
    lease_domain_id: str | None
    disks: tuple[ImageDisk | LunDisk, ...]
    nics: tuple[Nic, ...]
    graphics: tuple[Graphics, ...]
    video: tuple[Video, ...]
    default_display_type_raw: int | None
    vnc_keymap: str | None
    cdrom: bool
    controllers: tuple[str, ...]
    rng: RngSource | None
    balloon: bool
    console: Console | None
    console_socket: bool
    """The console is reached through VDSM's proxy on the host (``enableSocket``)."""
    sound: str | None
    watchdog: Mapping[str, str] | None
    time_zone: str | None
    """An Olson name, or Windows' name of a zone for a Windows guest; None: UTC."""
    resume_behavior: ResumeBehavior | None
    boot_devices: tuple[str, ...]
    """The VM's boot sequence: ``disk``, ``cdrom``, ``network``; devices carry it as their boot order."""
    kernel: str | None
    initrd: str | None
    kernel_parameters: str | None
    spice_file_transfer: bool | None
    spice_copy_paste: bool | None
    smartcard: bool
    usb: bool | None
    """False: the engine was told to give the VM no USB."""
    multi_queues: bool | None
    virtio_scsi_multi_queues: bool | None
    virtio_scsi_queues: int | None
    """None with ``virtio_scsi_multi_queues``: as many as suit the number of vcpus."""
    balloon_enabled: bool | None
    """VDSM may take memory back through the balloon device."""
    cpu_policy: str | None
    """``none``, ``manual``, ``dedicated``, ``isolate-threads``: VDSM's words."""
    devices: tuple[Device, ...]
    active_snapshot_id: str | None
    engine_xml: EngineXml | None
    warnings: tuple[str, ...]

    @property
    def hosted_engine(self) -> bool:
        return self.origin in (5, 6)

    @property
    def vcpus(self) -> int:
        return self.sockets * self.cores_per_socket * self.threads_per_core

    @property
    def headless(self) -> bool:
        return not self.graphics and not self.video

    @property
    def plugged_images(self) -> tuple[ImageDisk, ...]:
        """The disks that start with the VM and lie on a storage domain."""
        return tuple(d for d in self.disks if isinstance(d, ImageDisk) and d.plugged)

    @property
    def boot_disk(self) -> ImageDisk | None:
        """The lowest boot order; if no disk has one, the first that is marked as boot disk."""
        disks = self.plugged_images
        ordered = [d for d in disks if d.boot_order is not None]
        if ordered:
            return min(ordered, key=lambda d: d.boot_order or 0)
        return next((d for d in disks if d.boot), None)

    @property
    def must_not_boot(self) -> tuple[ImageDisk, ...]:
        boot_disk = self.boot_disk
        return tuple(d for d in self.plugged_images if d.boot_order is None and d is not boot_disk)
