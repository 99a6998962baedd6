"""Every scenario: a story, and the whole log that it must give. ``--update-scenarios`` rewrites the logs.

A directory holds ``README`` (what must hold, and why), ``story`` and ``expected.log``.
"""

from pathlib import Path

import pytest

from ovirt_he_agent.sim.cluster import play, story

pytestmark = pytest.mark.usefixtures("quiet_agents")

HERE = Path(__file__).parent
NAMES = sorted(path.parent.name for path in HERE.glob("*/story"))


@pytest.mark.parametrize("name", NAMES)
def test_scenario_goes_as_expected(name: str, update_scenarios: bool) -> None:
    directory = HERE / name
    outcome = play.play(story.parse((directory / "story").read_text()))
    assert not outcome.violations, f"see: ovirt-he-agent simulate {directory.relative_to(HERE.parent.parent)}"
    log = play.log_of(outcome.lines)
    expected = directory / "expected.log"
    if update_scenarios:
        expected.write_text(log)
    assert expected.exists(), "what must happen is missing: pytest --update-scenarios writes it; then read it"
    assert log == expected.read_text()


def test_scenarios_are_complete() -> None:
    directories = [path for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__"]
    for directory in directories:
        assert {path.name for path in directory.iterdir()} == {"README", "story", "expected.log"}, (
            directory.name
        )
    assert len(directories) >= 60
