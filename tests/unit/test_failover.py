"""docs/failover.md: this agent keeps to its limits, and the page says what is so."""

from pathlib import Path

import pytest

from ovirt_he_agent.sim.cluster import deeds, failover
from ovirt_he_agent.sim.cluster.failover import FAILURES, MIXED, OURS, UPSTREAM, Failure
from ovirt_he_agent.sim.cluster.world import Setup, World

PAGE = Path(__file__).parents[2] / "docs" / "failover.md"
STALE = "python -m ovirt_he_agent.sim.cluster.failover > docs/failover.md"


def cells(failure: Failure) -> list[str]:
    """The figures of its row on the page: ours, mixed, upstream."""
    line = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| {failure.title} |"))
    return [cell.strip() for cell in line.split("|")[4:7]]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_ours_keeps_to_the_limit_and_the_page_says_how(failure: Failure) -> None:
    outages = failover.runs(failure, OURS)
    assert [text for outage in outages for text in outage.violations] == []
    for outage in outages:
        seconds = outage.beyond_lease_s if failure.of_lease else outage.seconds
        assert seconds is not None
        assert seconds <= failure.limit_s
    assert failover.shown(outages) == cells(failure)[0], STALE


@pytest.mark.parametrize("name", ["crash", "start-fails", "shutdown"])
def test_the_page_is_as_others_are_played(name: str) -> None:
    failure = next(failure for failure in FAILURES if failure.name == name)
    mixed = failover.runs(failure, MIXED)
    assert [text for outage in mixed for text in outage.violations] == []
    assert [failover.shown(mixed), failover.cell(failure, UPSTREAM)] == cells(failure)[1:], STALE


def test_the_page_around_its_figures_is_as_written() -> None:
    text = PAGE.read_text()
    assert text.startswith(failover.HEAD), STALE
    assert text.endswith(failover.foot()), STALE
    rows = text.removeprefix(failover.HEAD).removesuffix(failover.foot()).splitlines()
    wanted = [f"| {f.title} | {f.upstream} | {f.target} |" for f in FAILURES]
    assert [row[: len(start)] for row, start in zip(rows, wanted, strict=True)] == wanted, STALE


@pytest.mark.parametrize("phase_s", range(10))
def test_a_killed_agent_writes_its_slot_within_five_seconds(phase_s: int) -> None:
    world = World(Setup(seed=phase_s, boot_s=20.0, records=False))
    try:
        for host in world.hosts.values():
            host.boot()
        world.run(180 + phase_s)
        assert world.running is not None
        runner = world.hosts[world.running.number]
        deeds.do(world, ["agent", str(runner.number), "kill"])
        world.run(5)
        assert world.checks.slots.age_s(runner) < 5
    finally:
        world.close()
