"""docs/states.md: current, and whole."""

from pathlib import Path

from ovirt_he_agent.core import peers, rules
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.words import neighbours, states_page

PAGE = Path(__file__).parents[2] / "docs" / "states.md"


def test_page_of_phases_and_rules_is_current() -> None:
    assert PAGE.read_text() == states_page.markdown(), "run: ovirt-he-agent explain --rules > docs/states.md"


def test_every_phase_place_class_and_claim_has_its_words() -> None:
    assert states_page.PHASE.keys() == set(Phase)
    assert states_page.PLACE.keys() == set(Place)
    assert peers.MEANING.keys() == set(peers.PeerClass)
    assert neighbours.CLAIM.keys() == set(peers.Claim)


def test_every_rule_is_in_the_table_with_a_label_and_in_the_picture() -> None:
    page = states_page.markdown()
    table = page.partition("## Rules")[2].partition("## Conditions")[0]
    picture = page.partition("```mermaid")[2].partition("```")[0]
    arrows = {name for line in picture.splitlines() for name in line.partition(": ")[2].split(", ")}
    for row in rules.RULES:
        assert row.label, row.name
        assert f"| `{row.name}` | {row.label} | `{row.phase.value}` |" in table
        assert row.name in arrows
        assert row.command is None or row.command.__doc__


def test_what_is_said_of_single_rules_is_said_of_rules_that_exist() -> None:
    names = {row.name for row in rules.RULES}
    assert states_page.STARTS.keys() | states_page.ORIGINS.keys() <= names
