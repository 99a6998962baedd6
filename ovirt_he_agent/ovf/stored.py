"""One VM's document out of the bytes of an OVF_STORE, checked as far as a store can be checked."""

from dataclasses import dataclass

from ovirt_he_agent.ovf import archive, document, problems

FINGERPRINT_BYTES = 4096
"""The first block: ``info.json`` (date of the update, in its header too) and the next header."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells an updated store from an unchanged one at the cost of one small read."""

    volume_bytes: int
    first_block: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """A good document with what was seen on the way to it."""

    data: bytes
    identity: document.Identity
    fingerprint: Fingerprint


def read(read_at: archive.Read, volume_bytes: int, vm_id: str, size_bytes: int | None) -> Content:
    """The document of VM ``vm_id`` (lower case) in a volume of ``volume_bytes``.

    ``size_bytes`` is the archive's length where its description gives it; nothing
    is read past it, nor past the entry. Raises ``archive.BadArchive``.
    """
    first_block = b""

    def watched(offset: int, length: int) -> bytes | memoryview:
        nonlocal first_block
        data = read_at(offset, length)
        if offset == 0:
            first_block = bytes(data[:FINGERPRINT_BYTES])
        return data

    limit = volume_bytes if size_bytes is None else min(volume_bytes, size_bytes)
    name = f"{vm_id}.ovf"
    found = archive.find(watched, name, limit)
    try:
        identity = document.identify(found.data)
    except problems.BadDocument as e:
        raise archive.Damaged(found.offset, f"entry {name!r}: {e.reason}") from e
    if identity.vm_id.lower() != vm_id:
        raise archive.Damaged(found.offset, f"entry {name!r} holds the OVF of VM {identity.vm_id}")
    return Content(found.data, identity, Fingerprint(volume_bytes, first_block))
