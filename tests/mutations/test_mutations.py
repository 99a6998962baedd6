"""Every deliberate fault is flagged, by what is said to flag it; without a fault nothing is."""

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.mutations import faults, stories, witness
from tests.mutations.mutation import ROOT, Flag, Mutation

LIMIT_S = 240.0
WITNESSES = sorted({fault.witness for fault in faults.FAULTS})
BY_FAULT = pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))


@pytest.fixture(scope="module")
def flags(request: pytest.FixtureRequest) -> Mapping[str, list[Flag]]:
    """What the faults of this run's tests bring to light, found in one go."""
    callspecs = (getattr(item, "callspec", None) for item in request.session.items)
    asked = (callspec.params.get("fault") for callspec in callspecs if callspec is not None)
    names = [fault.name for fault in asked if isinstance(fault, Mutation)]
    done = subprocess.run(
        (sys.executable, "-m", "tests.mutations.witness", *names),
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = (json.loads(line) for line in done.stdout.splitlines())
    return {name: [Flag(*flag) for flag in flags] for name, flags in found}


@pytest.mark.timeout(LIMIT_S + 30)  # the first one waits for all
@BY_FAULT
def test_fault_is_flagged(fault: Mutation, flags: Mapping[str, list[Flag]]) -> None:
    compile(fault.mutated(), fault.module, "exec")  # the list is true
    found = flags.get(fault.name)
    assert found is not None, f"{fault.breaks}: {fault.witness} did not come to an end"
    meant = fault.flagged or fault.witness
    assert any(flag.is_meant(meant) for flag in found), (
        f"{fault.breaks}: {fault.witness} should flag {meant!r}, and found {found}"
    )


@pytest.mark.parametrize("name", WITNESSES)
def test_witness_flags_nothing_without_a_fault(name: str) -> None:
    assert witness.ask(name) == []


def test_every_story_is_used() -> None:
    assert set(stories.STORIES) - set(WITNESSES) == set()


def test_names_are_unique() -> None:
    assert len(faults.BY_NAME) == len(faults.FAULTS)


def test_there_are_enough_where_it_matters_most() -> None:
    in_the_core = [fault for fault in faults.FAULTS if fault.module.startswith("core.")]
    assert len(in_the_core) >= 25
    assert len(faults.FAULTS) >= 40
