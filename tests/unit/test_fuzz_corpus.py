"""The kept corpus of the fuzzer, replayed; the search itself is run by hand (CONTRIBUTING.md)."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import golden_ovf
from tests.fuzz import mutators, targets

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
DOCUMENTS = sorted((CORPUS / "document").iterdir())
ARCHIVES = sorted((CORPUS / "archive").iterdir())
CHANGES_EACH = 5


def changed(
    data: bytes, mutate: Callable[[bytes, random.Random], bytes], target: Callable[[bytes], None]
) -> None:
    for seed in range(CHANGES_EACH):
        target(mutate(data, random.Random(seed)))


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda f: str(f.name))
def test_document_of_the_corpus_is_read_or_refused(file: Path) -> None:
    targets.read_document(file.read_bytes())
    changed(file.read_bytes(), mutators.xml, targets.read_document)


@pytest.mark.parametrize("file", ARCHIVES, ids=lambda f: str(f.name))
def test_archive_of_the_corpus_is_listed_or_refused(file: Path) -> None:
    targets.read_archive(file.read_bytes())
    changed(file.read_bytes(), mutators.tar, targets.read_archive)


@pytest.mark.parametrize("name", sorted(path.name for path in golden_ovf.HERE.glob("*.ovf")))
def test_changed_sample_is_read_or_refused(name: str) -> None:
    targets.read_document(golden_ovf.data(name))
    changed(golden_ovf.data(name), mutators.xml, targets.read_document)


def test_corpus_is_small() -> None:
    assert sum(file.stat().st_size for file in (*DOCUMENTS, *ARCHIVES)) < 200_000
