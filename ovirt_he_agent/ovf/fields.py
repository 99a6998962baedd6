"""The fields of an OVF: where each one goes, and what a given document has in it.

The rows come from ``field_table``. A document is looked at as it is written,
so a value here is the OVF's text, not what it is read as.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lxml import etree

from ovirt_he_agent.ovf import devices, document, domainxml, field_table, problems, record, safe_xml
from ovirt_he_agent.ovf.record import RASD
from ovirt_he_agent.ovf.value import Value

SECRET = "(secret)"
_LONG = frozenset(("EngineXml", "VmConfiguration"))
_ITEMS = {
    "cpu": "cpu item",
    "memory": "memory item",
    "disk": "disk item",
    "interface": "NIC item",
    "usb policy": "USB item",
    "video": "monitor item",
}

Key = tuple[str, str]
"""Place and name."""


class Field(Value):
    """One row of the table."""

    place: str
    name: str
    """With ``@`` in front: an attribute; ``rasd:`` is the prefix of that namespace."""
    since: str
    """The first release that writes it; empty: none does."""
    vm_conf: str
    domain_xml: str
    note: str

    @property
    def is_needed(self) -> bool:
        """It goes somewhere; else ``note`` says why not."""
        return bool(self.vm_conf or self.domain_xml)


FIELDS: Sequence[Field] = tuple(
    Field(place=place, name=name, since=since, vm_conf=vm_conf, domain_xml=domain_xml, note=note)
    for place, rows in field_table.TABLE.items()
    for name, since, vm_conf, domain_xml, note in rows
)
_KEYS = frozenset((field.place, field.name) for field in FIELDS)


def values(data: bytes) -> Mapping[Key, Sequence[str]]:
    """The texts of each field that is in the document, in order, each once; no secrets, no whole documents.

    Raises ``problems.BadDocument`` as ``document.read`` does for what is no OVF.
    """
    document.identify(data)
    found: dict[Key, dict[str, None]] = {}
    for place, name, text in _texts(safe_xml.parse(data)):
        if (place, name) in field_table.SECRET and text:
            text = SECRET
        elif name in _LONG and text:
            text = f"({len(text)} characters)"
        found.setdefault((place, name), {})[text] = None
    return {key: tuple(texts) for key, texts in found.items()}


def _texts(root: etree._Element) -> Iterator[tuple[str, str, str]]:
    namespace = etree.QName(root).namespace or ""
    yield from _attributes("Envelope", [root], namespace)
    for place in ("File", "Nic", "Network", "Disk", "ProductSection"):
        yield from _attributes(place, root.iter(place), namespace)
    for connection in root.iter("Connection"):
        for name, value in connection.attrib.items():
            yield "Connection", "@" + str(name).rpartition("}")[2], str(value)
    content = root.find("Content")
    for element in content if content is not None else ():
        if element.tag == "Section":
            yield from _section(element, namespace)
        elif element.tag != "ProductSection":
            yield from _element(element, namespace)


def _element(element: etree._Element, namespace: str) -> Iterator[tuple[str, str, str]]:
    attributes = record.attributes(element, namespace)
    secret = ("VM", element.tag) in field_table.SECRET
    yield "VM", element.tag, (element.text or "") or (SECRET if secret and attributes else "")
    for name, value in attributes.items():
        if not secret:
            yield "VM", f"{element.tag}@{name}", value


def _attributes(
    place: str, elements: Iterable[etree._Element], namespace: str
) -> Iterator[tuple[str, str, str]]:
    for element in elements:
        for name, value in record.attributes(element, namespace).items():
            yield place, f"@{name}", value


def _section(section: etree._Element, namespace: str) -> Iterator[tuple[str, str, str]]:
    kind = document.section_kind(section)
    match kind:
        case "VirtualHardware":
            for item in section.iterchildren("Item"):
                yield from _item(item)
        case "NumaNode":
            yield from _children("NUMA node", section.iterchildren("NumaNode"))
        case "Snapshots":
            yield from _attributes("Snapshot", section.iterchildren("Snapshot"), namespace)
            yield from _children("Snapshot", section.iterchildren("Snapshot"))
        case _:
            place = f"{kind} section"
            yield from _attributes(place, [section], namespace)
            for child in section:
                named = record.attributes(child, namespace).get("name")
                yield place, child.tag, named or " ".join(filter(None, (e.text for e in child.iter())))


def _children(place: str, elements: Iterable[etree._Element]) -> Iterator[tuple[str, str, str]]:
    for element in elements:
        for name, text in record.children(element).items():
            yield place, name, text


def _item(item: etree._Element) -> Iterator[tuple[str, str, str]]:
    own = _ITEMS.get(
        devices.kind(record.Record(record.children(item), "", problems.Warnings())), "other item"
    )
    for child in item:
        name = f"rasd:{child.tag.removeprefix(RASD)}" if child.tag.startswith(RASD) else child.tag
        place = next((p for p in (own, "any item") if (p, name) in _KEYS), "other item")
        if name == "SpecParams":
            yield place, name, ", ".join(param.tag for param in child)
            for param in child:
                yield "SpecParams", param.tag, param.text or ""
        else:
            yield place, name, child.text or ""


def became(field: Field, texts: Sequence[str], made: domainxml.Made | None, warnings: Sequence[str]) -> str:
    """What became of a field of a document whose domain was ``made`` so (None: there is none), in words."""
    if not any(texts):
        return "empty" if texts else "absent"
    words = field_table.WARNED.get((field.place, field.name))
    about = next((text for text in warnings if words is not None and words in text), None)
    if about is not None:
        return about
    if not field.is_needed:
        return "not needed"
    if made is None:
        return "no domain"
    if field.name == "EngineXml":
        return {domainxml.Made.AS_IS: "sent as it is", domainxml.Made.REPAIRED: "repaired"}.get(
            made, "not used"
        )
    return "used" if made is domainxml.Made.GENERATED else "as EngineXml says"


def markdown() -> str:
    """The table as docs/ovf-mapping.md."""
    lines = [_INTRODUCTION]
    for place in field_table.TABLE:
        lines += [
            "",
            f"## {place}",
            "",
            "| field | since | vm.conf | domain XML | note |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(field) for field in FIELDS if field.place == place]
    return "\n".join(lines) + "\n"


def _row(field: Field) -> str:
    goes = f"{_code(field.vm_conf)} | {_code(field.domain_xml)}"
    return f"| `{field.name}` | {field.since} | {goes} | {_cell(field.note)} |"


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_INTRODUCTION = """\
# Where every field of an OVF goes

Made by `ovirt-he-agent ovf fields --format markdown`; with a FILE that command shows what a document has in
each field and what became of it.

A row without an entry under vm.conf and domain XML is not needed to start the VM, and its note says why.
"Since" is the first release of the engine that writes the field; engines from 3.1 to 4.5 were looked at.
vm.conf stands for `vmParams` too. In the domain XML, `md:` is `metadata/ovirt-vm:vm/ovirt-vm:`, and devices
are below `devices`. Elements of an item without `rasd:` are in no namespace. A name that is not here is
reported by `ovf check`."""
