"""Every deliberate fault is flagged, by what is said to flag it; without a fault nothing is."""

import json
import logging
import subprocess
import sys

import pytest

from tests.mutations import faults, stories, witness
from tests.mutations.mutation import ROOT, Flag, Mutation

LIMIT_S = 40.0
WITNESSES = sorted({fault.witness for fault in faults.FAULTS})


def flags_of(fault: Mutation) -> list[Flag]:
    done = subprocess.run(
        (sys.executable, "-m", "tests.mutations.witness", fault.name),
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Flag(*found) for found in json.loads(done.stdout)]


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_fault_is_flagged(fault: Mutation) -> None:
    fault.mutated()  # the list is true
    found = flags_of(fault)
    assert any(flag.is_meant(fault.flagged or fault.witness) for flag in found), (
        f"{fault.breaks}: {fault.witness} should flag {fault.flagged or 'it'}, and found {found}"
    )


@pytest.mark.parametrize("name", WITNESSES)
def test_witness_flags_nothing_without_a_fault(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        assert witness.ask(name) == []


def test_every_story_is_used() -> None:
    assert set(stories.STORIES) <= set(WITNESSES)


def test_names_are_unique() -> None:
    assert len(faults.BY_NAME) == len(faults.FAULTS)


def test_enough_faults_where_it_matters_most() -> None:
    core = [fault for fault in faults.FAULTS if fault.module.startswith("core.")]
    assert len(core) >= 25
    assert len(faults.FAULTS) >= 40
