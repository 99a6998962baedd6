"""The engine's OVF to a ``VmSpec``: the envelope, the VM's own elements, what is refused.

Reads the dialect of OVF_STORE (not that of .ova files) of every engine since
3.1: both spellings of the OVF namespace, every element that a release added
optional, names by their namespace and never by a prefix. Sections stand
between other elements, so they are found by type. Which field becomes what,
and what is refused or only warned of: ovirt-engine, utils/ovf.
"""

from collections.abc import Iterable, Iterator, Sequence

from lxml import etree

from ovirt_he_agent.ovf import devices, disks, engine_xml, known, problems, record, safe_xml, vmspec
from ovirt_he_agent.ovf.record import RASD, Record
from ovirt_he_agent.ovf.value import Value

NAMESPACES = ("http://schemas.dmtf.org/ovf/envelope/1/", "http://schemas.dmtf.org/ovf/envelope/1")
"""Both are the engine's; 4.2.0 to 4.2.2.4 wrote the second."""

_XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_BIOS = {
    "0": vmspec.Bios.I440FX_SEABIOS,
    "1": vmspec.Bios.Q35_SEABIOS,
    "2": vmspec.Bios.Q35_UEFI,
    "3": vmspec.Bios.Q35_UEFI_SECURE_BOOT,
}
_BOOT_SEQUENCES = (
    "C",
    "DC",
    "N",
    "CDN",
    "CND",
    "DCN",
    "DNC",
    "NCD",
    "NDC",
    "CD",
    "D",
    "CN",
    "DN",
    "NC",
    "ND",
)
_BOOT_DEVICES = {"C": "disk", "D": "cdrom", "N": "network"}
_CPU_POLICIES = ("none", "manual", "manual", "dedicated", "isolate-threads")
_RESUME = {word.value: word for word in vmspec.ResumeBehavior}
_UNITS = {
    "megabytes": 20,
    "mb": 20,
    "mib": 20,
    "bytes": 0,
    "byte": 0,
    "b": 0,
    "kilobytes": 10,
    "kb": 10,
    "kib": 10,
    "gigabytes": 30,
    "gb": 30,
    "gib": 30,
    "terabytes": 40,
    "tb": 40,
    "tib": 40,
}


class Identity(Value):
    """Whose definition it is and how new: what choosing between copies needs."""

    vm_id: str
    name: str | None
    generation: int | None
    export_date: str | None
    is_template: bool

    @property
    def newness(self) -> tuple[int, str]:
        """Orders copies: the engine's counter, then the date of the text (2021/01/15, once 2021.01.15)."""
        generation = -1 if self.generation is None else self.generation
        return generation, (self.export_date or "").replace(".", "/")


class _Envelope:
    """The parts of a document, found once."""

    def __init__(self, data: bytes) -> None:
        root = safe_xml.parse(data)
        name = etree.QName(root)
        if name.localname != "Envelope" or name.namespace not in NAMESPACES:
            raise problems.NotOvf(f"the root element is {record.shown(str(root.tag))}, not an OVF Envelope")
        self.namespace: str = name.namespace
        contents = root.findall("Content")
        if not contents:
            raise problems.NotOvf("there is no Content element: this is the OVF of an .ova file")
        if len(contents) > 1:
            raise problems.NotOvf(
                f"there are {len(contents)} Content elements, so it is unclear which VM is meant"
            )
        self.content = contents[0]
        self.root = root
        self.warnings = problems.Warnings()
        self.vm = Record(record.children(self.content), "VM", self.warnings)
        self._sections = _by_type(self.content)
        os_section = self.section("OperatingSystem")
        self.vm_id = os_section.get(f"{{{self.namespace}}}id") if os_section is not None else None
        self.os = os_section.findtext("Description") if os_section is not None else None

    def section(self, kind: str) -> etree._Element | None:
        """The first section of this kind; they stand anywhere among the VM's elements."""
        return self._sections.get(f"ovf:{kind}Section_Type")

    def disk_section(self) -> etree._Element | None:
        sections = _by_type(self.root)
        self._report_sections("Envelope", sections, known.ENVELOPE_SECTIONS)
        return sections.get("ovf:DiskSection_Type")

    def report_unknown(self) -> None:
        """Warn of every element that no engine writes; the disks and devices do it for themselves."""
        self.vm.report_unknown(known.CONTENT)
        self._report_sections("VM", self._sections, known.SECTIONS)
        for element, where, names in (
            (self.root, "Envelope", known.ENVELOPE),
            (self.root.find("References"), "References", known.REFERENCES),
            (self.section("VirtualHardware"), "hardware section", known.HARDWARE),
        ):
            if element is not None:
                record.report_unknown((child.tag for child in element), names, where, self.warnings)
        for snapshot in self.snapshots():
            record.report_unknown(
                (child.tag for child in snapshot), known.SNAPSHOT, "Snapshot", self.warnings
            )

    def snapshots(self) -> Iterator[etree._Element]:
        section = self.section("Snapshots")
        return iter(()) if section is None else section.iterchildren("Snapshot")

    def _report_sections(self, where: str, types: Iterable[str], names: frozenset[str]) -> None:
        for kind in types:
            if kind not in names:
                self.warnings.unknown(where, f"the Section of type {kind or '(none)'}")

    @property
    def is_template(self) -> bool:
        if self.vm.raw("TemplateType") is not None:
            return True
        if self.vm.raw("default_display_type") is not None and self.vm.raw("DefaultDisplayType") is None:
            return True
        return self.vm_id is not None and self.vm.text("TemplateId") == self.vm_id

    def checked_vm_id(self) -> str:
        if not self.vm_id:
            raise problems.BadDocument(
                "there is no OperatingSystemSection with an id: the VM's id is unknown"
            )
        if not record.is_uuid(self.vm_id):
            raise problems.BadDocument(f"the VM's id {record.shown(self.vm_id)} is not a UUID")
        return self.vm_id


def section_kind(section: etree._Element) -> str:
    """``VirtualHardware`` of the type ``ovf:VirtualHardwareSection_Type``; empty without a type."""
    return section.get(_XSI_TYPE, "").removeprefix("ovf:").removesuffix("Section_Type")


def _by_type(parent: etree._Element) -> dict[str, etree._Element]:
    """The first Section of each type."""
    sections: dict[str, etree._Element] = {}
    for section in parent.iterchildren("Section"):
        sections.setdefault(section.get(_XSI_TYPE, ""), section)
    return sections


def identify(data: bytes) -> Identity:
    """Whose OVF the bytes are, a VM's or a template's, without a look at the devices.

    Raises ``problems.BadDocument`` if they are no whole OVF with an id.
    """
    envelope = _Envelope(data)
    return Identity(
        vm_id=envelope.checked_vm_id(),
        name=envelope.vm.text("Name"),
        generation=record.number(envelope.vm.text("Generation") or ""),
        export_date=envelope.vm.text("ExportDate"),
        is_template=envelope.is_template,
    )


def read(data: bytes) -> vmspec.VmSpec:
    """The VM that the OVF document ``data`` describes; faults that can be lived with are its warnings.

    Raises ``problems.BadDocument`` (or one of its kinds) for what must be refused.
    """
    envelope = _Envelope(data)
    vm, warnings = envelope.vm, envelope.warnings
    if envelope.is_template:
        raise problems.IsTemplate(
            f"this is a template, not a VM ({problems.named(vm.text('Name') or envelope.vm_id)})"
        )
    vm_id = envelope.checked_vm_id()
    hardware = envelope.section("VirtualHardware")
    if hardware is None:
        raise problems.BadDocument("there is no hardware section (VirtualHardwareSection)")
    envelope.report_unknown()
    items = devices.Devices(hardware, warnings)
    sockets, cores, threads, max_vcpus = _cpu(items)
    memory_mib = _memory_mib(items)
    all_disks = disks.read(envelope.disk_section(), items.of("disk"), envelope.namespace, warnings)
    name = vm.text("Name")
    if name is None:
        vm.warn("it has no Name")
    guaranteed_memory_mib = vm.count("MinAllocatedMem")
    return vmspec.VmSpec(
        vm_id=vm_id,
        name=name,
        description=vm.raw("Description"),
        os=envelope.os or None,
        origin=vm.integer("Origin", lowest=0, highest=10),
        ovf_namespace=envelope.namespace,
        generation=vm.integer("Generation", lowest=0),
        export_date=vm.text("ExportDate"),
        cluster_version=_cluster_version(vm),
        memory_mib=memory_mib,
        guaranteed_memory_mib=memory_mib if guaranteed_memory_mib is None else guaranteed_memory_mib,
        max_memory_mib=vm.count("MaxMemorySizeMb"),
        sockets=sockets,
        cores_per_socket=cores,
        threads_per_core=threads,
        max_vcpus=max_vcpus,
        machine=vm.text("CustomEmulatedMachine"),
        cpu=vm.text("CustomCpuName"),
        host_cpu_passthrough=vm.boolean("UseHostCpu", default=False),
        bios=_bios(vm),
        tpm=items.has("tpm"),
        iothreads=vm.count("NumOfIoThreads") or 0,
        boot_menu=vm.boolean("IsBootMenuEnabled", default=False),
        start_paused=vm.boolean("IsRunAndPause", default=False),
        stateless=vm.boolean("IsStateless", default=False),
        serial_number_policy=vm.integer("SerialNumberPolicy", lowest=0, highest=2),
        custom_serial_number=vm.text("CustomSerialNumber"),
        cpu_pinning=vm.text("CpuPinning"),
        numa_cells=devices.numa_cells(envelope.section("NumaNode"), warnings),
        custom_properties=_custom_properties(vm),
        lease_domain_id=vm.word("LeaseDomainId"),
        disks=all_disks,
        nics=items.nics(),
        graphics=items.graphics(),
        video=items.video(),
        default_display_type_raw=vm.integer("DefaultDisplayType", lowest=0),
        vnc_keymap=vm.text("VncKeyboardLayout"),
        cdrom=items.has("cdrom"),
        controllers=items.controllers(),
        rng=items.rng(),
        balloon=items.has("balloon"),
        console=items.console(),
        console_socket=items.console_socket(),
        sound=items.sound(),
        watchdog=items.watchdog(),
        time_zone=vm.word("TimeZone"),
        resume_behavior=vm.known("ResumeBehavior", _RESUME),
        boot_devices=_boot_devices(vm),
        kernel=vm.word("kernel_url"),
        initrd=vm.word("initrd_url"),
        kernel_parameters=vm.word("kernel_params"),
        spice_file_transfer=vm.switch("IsSpiceFileTransferEnabled"),
        spice_copy_paste=vm.switch("IsSpiceCopyPasteEnabled"),
        smartcard=items.has("smartcard"),
        usb=items.usb(),
        multi_queues=vm.switch("MultiQueuesEnabled"),
        virtio_scsi_multi_queues=vm.switch("VirtioScsiMultiQueuesEnabled"),
        virtio_scsi_queues=_virtio_scsi_queues(vm, envelope),
        balloon_enabled=vm.switch("BalloonEnabled"),
        cpu_policy=_cpu_policy(vm),
        devices=items.others(),
        active_snapshot_id=_active_snapshot_id(envelope),
        engine_xml=_engine_xml(vm, vm_id, all_disks, warnings),
        warnings=warnings.texts(),  # last: the lines above add to them
    )


def _cpu(items: devices.Devices) -> tuple[int, int, int, int | None]:
    """Sockets, cores per socket, threads per core, and the most vcpus that may be plugged in."""
    found = items.first("cpu")
    if found is None:
        raise problems.BadDocument("the hardware section has no cpu item")
    cpu = found[1]
    cpu.what = "cpu item"
    return (
        cpu.count(RASD + "num_of_sockets", at_least=1) or 1,
        cpu.count(RASD + "cpu_per_socket", at_least=1) or 1,
        cpu.count(RASD + "threads_per_cpu", at_least=1) or 1,
        cpu.count(RASD + "max_num_of_vcpus"),
    )


def _memory_mib(items: devices.Devices) -> int:
    found = items.first("memory")
    if found is None:
        raise problems.BadDocument("the hardware section has no memory item")
    memory = found[1]
    memory.what = "memory item"
    quantity = memory.count(RASD + "VirtualQuantity", at_least=1)
    if quantity is None:
        raise problems.BadDocument("memory item: VirtualQuantity is not given")
    unit = memory.text(RASD + "AllocationUnits") or ""
    shift = _UNITS.get(unit.strip().lower())
    if shift is None:
        shift = _programmatic_shift("".join(unit.lower().split()))
    if shift is None:
        raise problems.BadDocument(
            f"memory item: the unit (AllocationUnits) {record.shown(unit)} is not known"
        )
    size_bytes = quantity << shift
    if size_bytes % (1 << 20):
        raise problems.BadDocument(f"memory item: {quantity} {record.shown(unit)} are not whole MiB")
    return size_bytes >> 20


def _programmatic_shift(unit: str) -> int | None:
    """The exponent of ``byte*2^20``, as DSP0004 writes units."""
    base, _, exponent = unit.partition("*2^")
    shift = record.number(exponent)
    return shift if base in ("byte", "bytes") and shift is not None and 0 <= shift < 100 else None


def _bios(vm: Record) -> vmspec.Bios | None:
    text = vm.text("BiosType")
    if text is None:
        return None
    if text.strip() not in _BIOS:
        raise problems.BadDocument(f"BiosType is {record.shown(text)}, which is not known")
    return _BIOS[text.strip()]


def _cluster_version(vm: Record) -> str | None:
    level = vm.word("CustomCompatibilityVersion") or vm.word("ClusterCompatibilityVersion")
    if level is not None and not _is_level(level):
        vm.warn(f"the compatibility version {record.shown(level)} is not two numbers with a dot")
    return level


def _is_level(text: str) -> bool:
    numbers = text.split(".")
    return len(numbers) == 2 and all(n.isascii() and n.isdigit() and len(n) <= 4 for n in numbers)


def _custom_properties(vm: Record) -> dict[str, str]:
    """The user-defined one of two wins. Engines before 3.6 wrote them for their audit log only."""
    properties: dict[str, str] = {}
    for name, logged in (
        ("PredefinedProperties", "exportonly_predefinedProperties"),
        ("UserDefinedProperties", "exportonly_userDefinedProperties"),
    ):
        properties |= vm.properties(name, at_most=10_000)
        if vm.raw(name) is None and vm.text(logged):
            vm.warn(f"{logged} is left aside, and there is no {name}: these custom properties are lost")
    return properties


def _virtio_scsi_queues(vm: Record, envelope: _Envelope) -> int | None:
    element = envelope.content.find("VirtioScsiMultiQueuesEnabled")
    text = element.get(f"{{{envelope.namespace}}}queues") if element is not None else None
    queues = record.number(text) if text else None
    if text and (queues is None or queues < 1):
        vm.warn(f"queues of VirtioScsiMultiQueuesEnabled is {record.shown(text)}, not a number of 1 or more")
        return None
    return queues


def _boot_devices(vm: Record) -> tuple[str, ...]:
    sequence = vm.integer("default_boot_sequence", lowest=0, highest=len(_BOOT_SEQUENCES) - 1)
    letters = "" if sequence is None else _BOOT_SEQUENCES[sequence]
    return tuple(_BOOT_DEVICES[letter] for letter in letters)


def _cpu_policy(vm: Record) -> str | None:
    policy = vm.integer("CpuPinningPolicy", lowest=0, highest=len(_CPU_POLICIES) - 1)
    return None if policy is None else _CPU_POLICIES[policy]


def _active_snapshot_id(envelope: _Envelope) -> str | None:
    for snapshot in envelope.snapshots():
        if snapshot.findtext("Type") == "ACTIVE":
            return snapshot.get(f"{{{envelope.namespace}}}id") or None
    return None


def _engine_xml(
    vm: Record,
    vm_id: str,
    all_disks: Sequence[vmspec.ImageDisk | vmspec.LunDisk],
    warnings: problems.Warnings,
) -> vmspec.EngineXml | None:
    text = vm.text("EngineXml")
    if text is None:
        return None
    plugged = [disk for disk in all_disks if isinstance(disk, vmspec.ImageDisk) and disk.plugged]
    return engine_xml.examine(text, vm_id, plugged, warnings)
