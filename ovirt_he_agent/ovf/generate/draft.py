"""What the parts of a domain under construction share: sources, warnings, wishes."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

from lxml import etree

from ovirt_he_agent.ovf import problems, refusals, vmspec
from ovirt_he_agent.ovf.generate.platform import Platform
from ovirt_he_agent.ovf.host_facts import HostFacts

OVIRT_VM = "{http://ovirt.org/vm/1.0}"


def add(parent: etree._Element, tag: str, text: str | None = None, /, **attributes: str) -> etree._Element:
    """A new last child of ``parent``."""
    element = etree.SubElement(parent, tag)
    for name, value in attributes.items():  # a third faster than lxml's own way to take them
        element.set(name, value)
    if text is not None:
        element.text = text
    return element


class Wish:
    """A device's address of its last run; whether it gets it is settled when all are known."""

    def __init__(self, element: etree._Element, address: Mapping[str, str], what: str, role: str) -> None:
        self.element = element
        self.address = address
        self.what = what
        self.role = role
        """``nic``, ``ide``, ``usb``, ``sata``, ``video``, ``spapr-vio``: some places are for one only."""


class Draft:
    """A domain that is being made of ``spec`` for the host that ``host`` tells about."""

    def __init__(
        self,
        spec: vmspec.VmSpec,
        host: HostFacts,
        platform: Platform,
        metadata: etree._Element,
        warnings: problems.Warnings,
    ) -> None:
        self.spec = spec
        self.host = host
        self.platform = platform
        self.warnings = warnings
        self.wishes: list[Wish] = []
        self.boot_orders: list[tuple[int | None, etree._Element]] = []
        self.metadata = metadata
        """What VDSM is to know of the VM and of single devices."""
        self.without_video = False
        self.macs: set[str] = set()
        """Of NICs that VDSM is told of."""
        self._said: set[str] = set()
        self._aliases: set[str] = set()
        self._plugged: dict[str, list[vmspec.Device]] = {}
        self._unplugged: set[str] = set()
        for device in spec.devices:
            if device.plugged:
                self._plugged.setdefault(device.kind, []).append(device)
            else:
                self._unplugged.add(device.kind)

    def warn(self, text: str) -> None:
        self.warnings.add(text)

    def warn_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.warn(text)

    def refuse(self, reason: str) -> NoReturn:
        raise refusals.CannotGenerate(self.spec.vm_id, reason)

    def records(self, kind: str) -> Sequence[vmspec.Device]:
        """The devices of a kind that start with the VM."""
        return self._plugged.get(kind, ())

    def has_plugged(self, kind: str, given: bool) -> bool:
        """``given`` is what the VM itself says of this kind; an unplugged record takes it back."""
        return given and (kind in self._plugged or kind not in self._unplugged)

    def name(self, element: etree._Element, device_id: str | None) -> None:
        """Give it the alias by which the engine knows it; a second device of one id goes without."""
        if device_id and device_id not in self._aliases and device_id.replace("-", "").isalnum():
            self._aliases.add(device_id)
            add(element, "alias", name=f"ua-{device_id}")

    def boots(self, element: etree._Element, order: int | None) -> None:
        """Put the device into the boot order; None: behind all others."""
        self.boot_orders.append((order, element))

    def wish(
        self, element: etree._Element, address: Mapping[str, str] | None, what: str, role: str = ""
    ) -> None:
        if address is not None:
            self.wishes.append(Wish(element, address, what, role))

    def install(
        self, element: etree._Element, device: vmspec.Device | None, what: str, role: str = ""
    ) -> None:
        """Alias and address of a device that has a record."""
        if device is not None:
            self.name(element, device.id)
            self.wish(element, device.address, what, role)


def whole(text: str | None) -> str | None:
    """A number of 1 or more as it goes into the domain; None if ``text`` is none."""
    if not text or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return text.lstrip("0") or None
