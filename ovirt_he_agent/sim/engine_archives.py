"""The two archives of a hosted-engine domain as the engine and the set-up write them.

The OVF_STORE (ovirt-engine: .../bll/storage/ovfstore/) and the HE configuration
archive. Bytes only, no file is touched.
"""

import io
import json
import re
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

TEMPLATE = Path(__file__).with_name("engine_vm.ovf")
"""The engine VM's document that every deployment stands on: EngineXml with a lease."""

WRITTEN = datetime(2026, 1, 16, 16, 45, tzinfo=UTC)
"""When a store of age 0 was written: fixed, so that a deployment is always the same."""

CONFIGURATION_BYTES = 20480
_OTHER_VMS = uuid.UUID("0f5a3c1e-6f6f-4a39-9d0c-3d1b5e6a7c88")
_ENGINE_XML = re.compile(r"<EngineXml>.*?</EngineXml>", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreContent:
    """What one OVF_STORE holds and says of itself."""

    age: timedelta = timedelta(0)
    generation: int = 12
    """Of the engine VM's document."""
    other_vms: int = 0
    """Ordinary VMs beside the engine VM, which stands in their middle."""
    updated: bool = True
    """False: as the engine leaves a store whose update failed."""
    engine_vm: bool = True
    changes: Mapping[str, str] = field(default_factory=dict)
    """Text replaced in the engine VM's document."""

    @property
    def written(self) -> datetime:
        return WRITTEN - self.age


def java_date(at: datetime) -> str:
    """As Java's ``Date.toString`` in an engine that runs in UTC."""
    return at.astimezone(UTC).strftime("%a %b %d %H:%M:%S UTC %Y")


def description(domain_id: str, content: StoreContent, size_bytes: int | None) -> str:
    """The volume description; a size stands in it only after a good update."""
    values: dict[str, object] = {"Updated": size_bytes is not None}
    if size_bytes is not None:
        values["Size"] = size_bytes
    values |= {
        "Last Updated": java_date(content.written),
        "Storage Domains": [{"uuid": domain_id}],
        "Disk Description": "OVF_STORE",
    }
    return json.dumps(values, separators=(",", ":"))


def engine_document(content: StoreContent) -> str:
    text = TEMPLATE.read_text(encoding="utf-8")
    text = re.sub(r"<Generation>\d+<", f"<Generation>{content.generation}<", text)
    text = re.sub(r"<ExportDate>[^<]*<", f"<ExportDate>{content.written:%Y/%m/%d %H:%M:%S}<", text)
    for old, new in content.changes.items():
        text = text.replace(old, new)
    return text


def _other_documents(count: int, engine_vm_id: str) -> Iterator[tuple[str, str]]:
    """Ordinary VMs: id and document, made of the same text without its EngineXml."""
    text = _ENGINE_XML.sub("", TEMPLATE.read_text(encoding="utf-8")).replace("<Origin>6<", "<Origin>3<")
    for number in range(count):
        vm_id = str(uuid.uuid5(_OTHER_VMS, str(number)))
        yield vm_id, text.replace(engine_vm_id, vm_id).replace("<Name>HostedEngine<", f"<Name>vm-{number}<")


def ovf_store(domain_id: str, engine_vm_id: str, content: StoreContent) -> bytes:
    """The tar: info.json, the documents, metadata.json; padded to records of 10240 bytes."""
    info = {"Last Updated": java_date(content.written), "Storage Domains": [{"uuid": domain_id}]}
    documents = list(_other_documents(content.other_vms, engine_vm_id))
    if content.engine_vm:
        documents.insert(len(documents) // 2, (engine_vm_id, engine_document(content)))
    running = {engine_vm_id: 1} if content.engine_vm else {}
    entries = [
        ("info.json", json.dumps(info, indent=2)),
        *((f"{vm_id}.ovf", text) for vm_id, text in documents),
        ("metadata.json", json.dumps({"VM Status": running}, indent=2)),
    ]
    return _tar(entries, tarfile.USTAR_FORMAT, int(content.written.timestamp()))


def configuration(files: Mapping[str, str]) -> bytes:
    """The HE configuration archive: exactly 20480 bytes."""
    return _tar(list(files.items()), tarfile.GNU_FORMAT, int(WRITTEN.timestamp())).ljust(
        CONFIGURATION_BYTES, b"\0"
    )


def _tar(entries: list[tuple[str, str]], tar_format: int, mtime: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for name, text in entries:
            data = text.encode()
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), mtime, 0o644
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
