"""Controllers: those that the VM has, those that its devices need, and the buses of a q35 machine."""

from lxml import etree

from ovirt_he_agent.ovf import record, vmspec
from ovirt_he_agent.ovf.generate.addresses import ROOT_PORTS
from ovirt_he_agent.ovf.generate.draft import Draft, add, whole
from ovirt_he_agent.ovf.generate.platform import I440FX, PSERIES, Q35, S390

_MAX_QUEUES = 4
"""The engine's bound for queues that it chooses itself."""
_USB_MODEL = {I440FX: "piix3-uhci", Q35: "qemu-xhci", PSERIES: "qemu-xhci"}
_USB_MODELS = (
    "piix3-uhci", "piix4-uhci", "ehci", "ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3",
    "vt82c686b-uhci", "pci-ohci", "nec-xhci", "qemu-xhci",
)  # fmt: skip
_COMPANION_PORT = {"ich9-uhci1": "0", "ich9-uhci2": "2", "ich9-uhci3": "4"}
"""These share the index of their ich9-ehci1; each serves the ports from this one on."""
_OF_BOARD = {I440FX: ("ide", "sata"), Q35: ("sata",), PSERIES: (), S390: ()}
_RUN_TIME = ("pci", "ccid")
"""Records of what libvirt added by itself."""


class Controllers:
    """The VM's controllers by type, each with an index of its own."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._records: dict[str, list[vmspec.Device]] = {}
        for found in draft.records("controller"):
            self._records.setdefault(found.device or "", []).append(found)

    def scsi_indexes(self) -> list[int]:
        """Of the virtio-scsi controllers; the one that is added where a drive needs it has 0."""
        return [index for index, _ in self._numbered("virtio-scsi")] or [0]

    def add_to(self, devices: etree._Element, buses: set[str]) -> None:
        """Add them to ``devices``; ``buses`` are those that drives are on."""
        self._add_usb(devices)
        for kind in ("ide", "sata"):
            self._add_of_board(devices, kind)
        for index, found in self._numbered("virtio-serial") or [(0, None)]:
            element = add(devices, "controller", type="virtio-serial", index=str(index), ports="16")
            self._draft.install(element, found, "virtio-serial controller")
        scsi = self._numbered("virtio-scsi")
        if not scsi and "scsi" in buses:
            scsi = [(0, None)]
        for index, found in scsi:
            self._add_scsi(devices, index, found)
        known = ("usb", "ide", "sata", "virtio-serial", "virtio-scsi", *_RUN_TIME)
        for word in self._records.keys() - set(known):
            self._draft.warn(f"The controller {record.shown(word)} is left out: it is not known.")

    def _numbered(self, word: str) -> list[tuple[int, vmspec.Device | None]]:
        """With the index of the record, or, where that is missing or taken, the lowest free one."""
        numbered: list[tuple[int, vmspec.Device | None]] = []
        taken: set[int] = set()
        for found in self._records.get(word, []):
            index = record.number(found.spec.get("index", ""))
            if index is None or not 0 <= index < 64 or index in taken:
                index = next(number for number in range(len(taken) + 1) if number not in taken)
            taken.add(index)
            numbered.append((index, found))
        return numbered

    def _add_usb(self, devices: etree._Element) -> None:
        draft = self._draft
        default = _USB_MODEL.get(draft.platform.chipset)
        if default is None:
            add(devices, "controller", type="usb", model="none")
            return
        found = self._records.get("usb", [])
        if not found:
            add(devices, "controller", type="usb", model=default, index="0")
        companions: set[str] = set()
        index = 0
        for one in found:
            model = one.spec.get("model")
            if model is not None and model not in _USB_MODELS:
                draft.warn(f"The USB controller {record.shown(model)} is not known: taken as {default}.")
            if model not in _USB_MODELS:
                model = default
            is_companion = model in _COMPANION_PORT and model not in companions
            if one is not found[0] and not is_companion:
                index += 1
            element = add(
                devices, "controller", type="usb", model=model, index=str(0 if is_companion else index)
            )
            if is_companion:
                companions.add(model)
                add(element, "master", startport=_COMPANION_PORT[model])
            ports = whole(one.spec.get("ports"))
            if ports is not None and model in ("qemu-xhci", "nec-xhci") and int(ports) <= 15:
                element.set("ports", ports)
            draft.install(element, one, "USB controller", "usb" if model == "piix3-uhci" else "")

    def _add_of_board(self, devices: etree._Element, word: str) -> None:
        draft = self._draft
        for index, found in self._numbered(word):
            if word not in _OF_BOARD[draft.platform.chipset] or (word == "ide" and index > 0):
                draft.warn(f"The {word.upper()} controller is left out: this machine has no place for it.")
                continue
            element = add(devices, "controller", type=word, index=str(index))
            draft.install(element, found, f"{word.upper()} controller", word)

    def _add_scsi(self, devices: etree._Element, index: int, found: vmspec.Device | None) -> None:
        draft = self._draft
        element = add(devices, "controller", type="scsi", model="virtio-scsi", index=str(index))
        driver = {}
        if draft.spec.virtio_scsi_multi_queues:
            driver["queues"] = str(draft.spec.virtio_scsi_queues or min(draft.spec.vcpus, _MAX_QUEUES))
        thread = whole(found.spec.get("ioThreadId")) if found else None
        if thread is not None and int(thread) <= draft.spec.iothreads:
            driver["iothread"] = thread
        elif thread is not None:
            draft.warn(
                f"The I/O thread {thread} of a SCSI controller is left out: the VM has none of this number."
            )
        elif draft.spec.iothreads:
            driver["iothread"] = "1"
        if driver:
            add(element, "driver", **driver)
        draft.install(element, found, "SCSI controller")


def add_pci(draft: Draft, devices: etree._Element, highest_bus: int) -> None:
    """A q35 machine's root and the ports that are its buses: those in use, and spare ones."""
    if draft.platform.chipset == Q35:
        add(devices, "controller", type="pci", model="pcie-root", index="0")
        for index in range(1, max(ROOT_PORTS, highest_bus) + 1):
            add(devices, "controller", type="pci", model="pcie-root-port", index=str(index))
