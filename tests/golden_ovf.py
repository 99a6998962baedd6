"""The OVF samples in tests/golden/ovf, as they are and with one thing changed."""

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "golden" / "ovf"

S01 = "s01-v36-no-engine-xml.ovf"
S02 = "s02-v42-engine-xml-with-lease.ovf"
S03 = "s03-v45-q35-secure-boot-two-domains.ovf"
S04 = "s04-v44-engine-xml-no-lease.ovf"
S05 = "s05-v421-no-slash-namespace-two-leases.ovf"
S06 = "s06-v43-snapshot-chain-nics.ovf"
S02_VM = "b6bd28c6-cb69-431f-ad65-37efa6931f8c"
S04_VM = "074cdc00-69db-4a32-829c-ea5fc49fe79b"
DOMAIN = "76a79a20-8ce3-432d-8c1e-112b88ef9510"

STORE: dict[str, Any] = json.loads((HERE / "ovf_store.json").read_text())


def path(name: str) -> Path:
    return HERE / name


def data(name: str) -> bytes:
    return (HERE / name).read_bytes()


def altered(name: str, *changes: tuple[str, str]) -> bytes:
    """The document with the first place of each ``before`` replaced; a change that changes nothing fails."""
    text = data(name).decode()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text.encode()


def without(name: str, *elements: str) -> bytes:
    """The document without the first element of each name, prefix included (no nesting of the same name)."""
    text = data(name).decode()
    for element in elements:
        text, count = re.subn(f"<{element}( [^>]*)?>.*?</{element}>", "", text, count=1, flags=re.DOTALL)
        assert count == 1, element
    return text.encode()


def with_items(name: str, *items: str) -> bytes:
    """The document with hardware items after its last one."""
    text = data(name).decode()
    at = text.rindex("</Item>") + len("</Item>")
    return (text[:at] + "".join(f"<Item>{item}</Item>" for item in items) + text[at:]).encode()


def with_elements(name: str, *elements: str) -> bytes:
    """The document with elements at the end of Content."""
    return altered(name, ("</Content>", "".join(elements) + "</Content>"))


def embedded(name: str, change: Callable[[str], str] = lambda xml: xml, *others: tuple[str, str]) -> bytes:
    """The document with its EngineXml changed by ``change`` (on the text, not on its escapes)."""
    data = altered(name, *others).decode()
    found = re.search("<EngineXml>(.*)</EngineXml>", data, re.DOTALL)
    assert found
    xml = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    changed = change(xml).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (data[: found.start(1)] + changed + data[found.end(1) :]).encode()


def replacing(before: str, after: str) -> Callable[[str], str]:
    def change(xml: str) -> str:
        assert before in xml, before
        return xml.replace(before, after, 1)

    return change


def expectations() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((HERE / "expected").glob("*.json"))]


def tar(entries: dict[str, bytes], *, mtime: int = 1_610_727_900, record: int = 10240) -> bytes:
    """A ustar archive as the engine's library writes it; ``record`` is what its length is padded to."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), 0o100644, mtime
            archive.addfile(info, io.BytesIO(content))
        end = archive.offset
    packed = buffer.getvalue()[:end] + bytes(1024)
    return packed + bytes(-len(packed) % record)


def as_asked(shown: Any, expected: Any) -> Any:
    """``shown`` without the further keys of records in a list, which are allowed."""
    if isinstance(shown, list) and isinstance(expected, list) and len(shown) == len(expected):
        return [
            {key: s[key] for key in s.keys() & e.keys()} if isinstance(s, dict) else s
            for s, e in zip(shown, expected, strict=True)
        ]
    return shown
