"""Hardware items to devices: what kind an item is, and what each kind says.

An item is known by its ResourceType, or, where that says "other", by the type
of its device record. The record may be missing altogether: its absence means
plugged, not read-only, no boot order.
"""

from lxml import etree

from ovirt_he_agent.ovf import known, problems, record, vmspec
from ovirt_he_agent.ovf.problems import named
from ovirt_he_agent.ovf.record import RASD, Record

Item = tuple[etree._Element, Record]

_KIND_BY_RESOURCE = {
    "3": "cpu",
    "4": "memory",
    "10": "interface",
    "15": "cdrom",
    "17": "disk",
    "20": "video",
    "23": "usb policy",
    "26": "graphics",
}
_NO_RECORD = {"cpu", "memory", "interface", "disk", "usb policy"}
_NIC_MODELS = {
    "0": vmspec.NicModel.RTL8139_PV,
    "1": vmspec.NicModel.RTL8139,
    "2": vmspec.NicModel.E1000,
    "3": vmspec.NicModel.VIRTIO,
    "4": vmspec.NicModel.SPAPR_VLAN,
    "5": vmspec.NicModel.PCI_PASSTHROUGH,
    "6": vmspec.NicModel.E1000E,
    # the engine's words, which other tools write instead of the number
    "pv": vmspec.NicModel.VIRTIO,
    "spaprvlan": vmspec.NicModel.SPAPR_VLAN,
    "pcipassthrough": vmspec.NicModel.PCI_PASSTHROUGH,
    "pci-passthorugh": vmspec.NicModel.PCI_PASSTHROUGH,  # sic
    **{model.value: model for model in vmspec.NicModel},
}
_GRAPHICS = {word.value: word for word in vmspec.Graphics}
_RNG_SOURCES = {word.value: word for word in vmspec.RngSource}
_CONSOLES = {word.value: word for word in vmspec.Console}


class Devices:
    """The items of the hardware section by kind, in the order of the document."""

    def __init__(self, section: etree._Element, warnings: problems.Warnings) -> None:
        self._by_kind: dict[str, list[Item]] = {}
        for element in record.elements(section, "Item", at_most=record.MOST_DEVICES):
            item = Record(record.children(element), "an item of the hardware section", warnings)
            item.report_unknown(known.ITEM)
            self._by_kind.setdefault(kind(item), []).append((element, item))

    def of(self, kind: str) -> list[Item]:
        return self._by_kind.get(kind, [])

    def first(self, kind: str) -> Item | None:
        return next(iter(self.of(kind)), None)

    def has(self, kind: str) -> bool:
        return kind in self._by_kind

    def nics(self) -> tuple[vmspec.Nic, ...]:
        return tuple(_nic(item) for _, item in self.of("interface"))

    def graphics(self) -> tuple[vmspec.Graphics, ...]:
        """Sorted by name; an unknown one is left out with a warning."""
        words = []
        for _, item in self.of("graphics"):
            word = _named(item, "graphics device").known("Device", _GRAPHICS)
            if word is not None:
                words.append(word)
            elif item.word("Device") is None:
                item.warn("Device is not given; it is left out")
        return tuple(sorted(words))

    def video(self) -> tuple[vmspec.Video, ...]:
        return tuple(
            vmspec.Video(
                device=_named(item, "video device").word("Device"),
                spec={key: value for key, value in _spec_params(element, item).items() if value},
            )
            for element, item in self.of("video")
        )

    def controllers(self) -> tuple[str, ...]:
        words = []
        for _, item in self.of("controller"):
            word = _named(item, "controller").word("Device")
            if word is None:
                item.warn("Device is not given; it is left out")
            else:
                words.append(word)
        return tuple(sorted(words))

    def rng(self) -> vmspec.RngSource | None:
        found = self.first("rng")
        if found is None:
            return None
        spec = _spec_record(found, "rng device")
        if spec.word("source") is None:
            spec.warn("source is not given; taken as urandom")
            return vmspec.RngSource.URANDOM
        return spec.known("source", _RNG_SOURCES)

    def console(self) -> vmspec.Console | None:
        found = self.first("console")
        if found is None:
            return None
        spec = _spec_record(found, "console")
        if spec.word("consoleType") is None:
            return vmspec.Console.VIRTIO  # what engines meant before they wrote the type
        return spec.known("consoleType", _CONSOLES)

    def console_socket(self) -> bool:
        found = self.first("console")
        return found is not None and _spec_record(found, "console").word("enableSocket") == "true"

    def usb(self) -> bool | None:
        """Whether the engine was told to give the VM USB; None: it was told nothing."""
        found = self.first("usb policy")
        policy = found[1].word(RASD + "UsbPolicy") if found else None
        return None if policy is None else policy.strip().lower() != "disabled"

    def others(self) -> tuple[vmspec.Device, ...]:
        """Every record but those of disks and NICs, by kind in the order of the document."""
        return tuple(
            _device(kind, element, item)
            for kind, items in self._by_kind.items()
            if kind not in _NO_RECORD
            for element, item in items
        )

    def sound(self) -> str | None:
        found = self.first("sound")
        return found[1].word("Device") if found else None

    def watchdog(self) -> dict[str, str] | None:
        found = self.first("watchdog")
        return _spec_params(found[0], _named(found[1], "watchdog")) if found else None


def _device(kind: str, element: etree._Element, item: Record) -> vmspec.Device:
    device = item.word("Device")
    _named(item, " ".join(dict.fromkeys(word for word in (kind, device) if word)))
    return vmspec.Device(
        kind=kind,
        device=device,
        id=item.instance_id(),
        alias=item.word("Alias"),
        address=item.address(),
        boot_order=item.boot_order(),
        plugged=item.boolean("IsPlugged", default=True),
        read_only=item.boolean("IsReadOnly", default=False),
        spec={key: value for key, value in _spec_params(element, item).items() if value},
        custom_properties=item.properties("CustomProperties"),
    )


def kind(item: Record) -> str:
    """What an item is: by its ResourceType, else by the type of its record."""
    resource = _KIND_BY_RESOURCE.get((item.text(RASD + "ResourceType") or "").strip())
    if resource is not None:
        return resource
    kind = item.word("Type") or "other"
    if kind == "disk":
        device = item.word("Device")
        return {"cdrom": "cdrom", "disk": "disk"}.get(device or "", f"disk {device}")
    return kind


def _named(item: Record, what: str) -> Record:
    item.what = f"{named(what)} {named(item.instance_id())}".rstrip()
    return item


def _spec_params(element: etree._Element, item: Record) -> dict[str, str]:
    """The text values of SpecParams; the writer loses numbers and booleans, they are empty."""
    params = element.find("SpecParams")
    texts: dict[str, str] = {}
    for child in params if params is not None else ():
        key = child.tag.rpartition("}")[2]
        if len(child):
            item.warn(f"SpecParams {named(key)} holds values of its own; it is left out")
        else:
            texts[key] = child.text or ""
    return texts


def _spec_record(found: Item, what: str) -> Record:
    element, item = found
    return Record(_spec_params(element, _named(item, what)), item.what, item.warnings)


def _nic(item: Record) -> vmspec.Nic:
    nic_id, name = item.instance_id(), item.text(RASD + "Name")
    item.what = f"NIC {named(name or nic_id) or 'without a name'}"
    mac = item.text(RASD + "MACAddress")
    if nic_id is None:
        item.warn("it has no InstanceId")
    if mac is None:
        item.warn("it has no MAC address (MACAddress), so it cannot be built")
    absent = item.word(RASD + "ResourceSubType") is None
    return vmspec.Nic(
        id=nic_id,
        name=name,
        mac=mac,
        network=item.text(RASD + "Connection"),
        profile=item.text(RASD + "OtherResourceType"),
        model=vmspec.NicModel.VIRTIO if absent else item.known(RASD + "ResourceSubType", _NIC_MODELS),
        linked=item.boolean(RASD + "Linked", default=True),
        plugged=item.boolean("IsPlugged", default=True),
        boot_order=item.boot_order(),
        address=item.address(),
        device=item.word("Device"),
        alias=item.word("Alias"),
        custom_properties=item.properties("CustomProperties"),
    )


def numa_cells(section: etree._Element | None, warnings: problems.Warnings) -> tuple[vmspec.NumaCell, ...]:
    """The NumaNode elements in the order of the document; memory in MiB."""
    return tuple(_numa_cell(node, warnings) for node in record.elements(section, "NumaNode", at_most=256))


def _numa_cell(node: etree._Element, warnings: problems.Warnings) -> vmspec.NumaCell:
    cell = Record(record.children(node), "NUMA node", warnings)
    cell.report_unknown(known.NUMA_NODE)
    index = cell.integer("Index", lowest=0)
    cell.what = f"NUMA node {index}"
    return vmspec.NumaCell(
        index=index,
        cpus=_numbers(cell, "cpuIdList", "CPU"),
        memory_mib=cell.count("MemTotal"),
        host_nodes=_numbers(cell, "vdsNumaNodeList", "node"),
        tune_mode=cell.word("NumaTuneMode"),
    )


def _numbers(cell: Record, name: str, what: str) -> tuple[int, ...]:
    numbers = [record.number(part) for part in cell.parts(name, ",", at_most=2048)]
    known = tuple(number for number in numbers if number is not None)
    if len(known) != len(numbers):
        cell.warn(f"{name} holds something that is no {what} number")
    return known
