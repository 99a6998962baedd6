"""docs/simulator.md: current, and whole."""

import re
from pathlib import Path

from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.sim import picture, simulator_page
from ovirt_he_agent.sim.cluster import story, timeline
from ovirt_he_agent.sim.cluster.qemu import Guest

ROOT = Path(__file__).parents[2]
IDS = {*(f"S{n}" for n in range(1, 15)), *(f"L{n}" for n in range(1, 9))}
SEEN_BY_OTHERS = {"S12", "L6"}
"""What breaks them breaks another one."""


def test_page_is_current() -> None:
    page = (ROOT / "docs" / "simulator.md").read_text()
    assert page == simulator_page.markdown(), "run: ovirt-he-agent simulate --page > docs/simulator.md"


def test_every_word_of_the_setup_is_explained() -> None:
    assert simulator_page.SETUP.keys() == story.SETUP.keys()


def test_every_invariant_is_explained_and_checked() -> None:
    sources = (ROOT / "ovirt_he_agent" / "sim" / "cluster").glob("*.py")
    checked = {
        found for path in sources for found in re.findall(r'broken\(\s*"([SL]\d+)"', path.read_text())
    } | {"L2"}  # chosen beside L1
    assert simulator_page.CHECKED.keys() == IDS
    assert checked == IDS - SEEN_BY_OTHERS


def test_every_state_has_a_letter_of_its_own() -> None:
    assert picture.HOST_CELLS.keys() == {*(phase.value for phase in Phase), timeline.OFF, timeline.NO_AGENT}
    guests = {guest.value for guest in Guest}
    assert picture.VM_CELLS.keys() == guests | {timeline.TWICE, timeline.NOWHERE, "paused"}
    for cells in (picture.HOST_CELLS, picture.VM_CELLS):
        letters = [cell.letter for cell in cells.values()]
        assert len(letters) == len(set(letters))
