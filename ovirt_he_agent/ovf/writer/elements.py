"""Elements of an OVF that is being written, and its record of a device; see ``document``."""

from collections.abc import Mapping
from typing import Any

from lxml import etree

from ovirt_he_agent.ovf import document, record
from ovirt_he_agent.ovf.record import RASD
from ovirt_he_agent.ovf.vmconf.reader import BadVmConf

OVF = f"{{{document.NAMESPACES[0]}}}"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"

Device = Mapping[str, Any]
"""One of a vm.conf: texts, and maps of texts by the names ``MAPS``."""
MAPS = ("address", "specParams", "custom")


def child(
    parent: etree._Element, name: str, text: str | None = None, attributes: Mapping[str, str] | None = None
) -> etree._Element:
    element = etree.SubElement(parent, name, dict(attributes or {}))
    element.text = text
    return element


def add_item(section: etree._Element, **texts: str) -> etree._Element:
    """A hardware item with these children of the resource allocation schema."""
    item = child(section, "Item")
    for name, text in texts.items():
        child(item, RASD + name, text)
    return item


def flag(value: bool) -> str:
    return "true" if value else "false"


def is_true(text: Any) -> bool:
    return isinstance(text, str) and text.lower() == "true"


def boot_order(device: Device) -> int:
    text = device.get("bootOrder", "0")
    order = record.number(text)
    if order is None or order < 0:
        raise BadVmConf(f"bootOrder is {record.shown(text)}, not a number of 0 or more", key="devices")
    return order


def properties(values: Mapping[str, str]) -> str:
    """``key=value;key=value``, as far as that can be read again."""
    return ";".join(
        f"{key}={value}" for key, value in values.items() if ";" not in key + value and "=" not in key
    )


def add_record(
    item: etree._Element, device: Device, kind: str, name: str, *, read_only: bool = False
) -> None:
    """What the engine keeps of every device."""
    child(item, "Type", kind)
    child(item, "Device", name)
    address = ", ".join(f"{key}={value}" for key, value in device.get("address", {}).items())
    child(item, RASD + "Address", f"{{{address}}}" if address else "")
    child(item, "BootOrder", str(boot_order(device)))
    child(item, "IsPlugged", "true")
    child(item, "IsReadOnly", flag(read_only))
    child(item, "Alias", device.get("alias", ""))
    params = {key: text for key, text in device.get("specParams", {}).items() if _can_be_element(key)}
    if params:
        spec = child(item, "SpecParams")
        for key, text in params.items():
            child(spec, key, text)
    if "custom" in device:
        child(item, "CustomProperties", properties(device["custom"]))


def _can_be_element(name: str) -> bool:
    try:
        etree.QName(name)
    except ValueError:
        return False
    return not name.startswith("{") and ":" not in name
