"""What must hold for any bytes at all, one function per format; a violation is an AssertionError or a crash.

``tests/unit/test_fuzz_corpus.py`` replays the kept corpus through these;
``tests/fuzz/run.py`` searches for new inputs under a coverage-guided fuzzer.
"""

import contextlib
import itertools
import json
from collections.abc import Iterator

from ovirt_he_agent.ovf import archive, document, domainxml, facts, host_facts, problems, refusals, safe_xml

MOST_WARNINGS = 1000
_SMALL_PIECE = 1024


def read_document(data: bytes) -> None:
    """A document is read or refused; what was read can be shown and defined, or that is refused."""
    try:
        identity = document.identify(data)
    except problems.BadDocument as e:
        _check_message(e)
        identity = None
    try:
        spec = document.read(data)
    except problems.BadDocument as e:
        _check_message(e)
        return
    assert identity is not None
    assert (identity.vm_id, identity.name) == (spec.vm_id, spec.name)
    assert document.read(data) == spec
    assert len(spec.warnings) <= MOST_WARNINGS
    json.dumps(facts.of(spec)).encode()
    try:
        definition = domainxml.define(spec, host_facts.UNKNOWN)
    except refusals.NotStartable as e:
        _check_message(e)
        return
    domain = safe_xml.parse_text(definition.xml)
    assert domain.tag == "domain"
    assert domain.findtext("uuid") == spec.vm_id
    exclusive = {volume.volume_id for volume in definition.volumes if volume.exclusive}
    assert exclusive <= {lease.key for lease in definition.leases}


def read_archive(data: bytes) -> None:
    """An archive is listed up to its end or its damage; finding agrees with the list, however it is read."""
    whole, broken_off = _survey(data)
    with _pieces_of(_SMALL_PIECE):
        assert str(_survey(data)) == str((whole, broken_off))
    if broken_off is not None:
        _check_message(broken_off)
    end = 0
    for found in whole:
        entry = found.entry
        assert entry.offset >= end
        assert found.data is not None or found.damage is not None
        assert found.data is None or len(found.data) == entry.size
        end = entry.data_offset
    names = (found.entry.name for found in whole if _may_be_asked_for(found.entry.name))
    for name in dict.fromkeys(itertools.islice(names, 3)):
        _find(data, name, whole)
    _find(data, "00000000-0000-0000-0000-000000000000.ovf", whole)


def _may_be_asked_for(name: str) -> bool:
    """As every document's: a name in a list may be an escaped form, or be put together of two fields."""
    return name.endswith(".ovf") and name.isascii() and len(name) < 100 and not {"/", "\\"} & set(name)


def _find(data: bytes, name: str, whole: list[archive.Found]) -> None:
    expected = next((f for f in whole if f.entry.name == name and f.entry.is_file), None)
    try:
        found = archive.find(lambda offset, length: data[offset : offset + length], name, len(data))
    except archive.BadArchive as e:
        _check_message(e)
        assert expected is None or expected.damage is not None
    else:
        assert expected is not None
        assert found.offset == expected.entry.data_offset


def _survey(data: bytes) -> tuple[list[archive.Found], archive.BadArchive | None]:
    found: list[archive.Found] = []
    try:
        for one in archive.survey(lambda offset, length: data[offset : offset + length], len(data)):
            found.append(one)
    except archive.BadArchive as e:
        return found, e
    return found, None


@contextlib.contextmanager
def _pieces_of(size: int) -> Iterator[None]:
    usual, archive.PIECE = archive.PIECE, size
    try:
        yield
    finally:
        archive.PIECE = usual


def _check_message(error: Exception) -> None:
    text = str(error)
    assert text
    assert len(text) < 2000
    assert "\n" not in text
