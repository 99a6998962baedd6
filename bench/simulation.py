"""Simulated host-hours per minute of CPU time, on one core: the price of a random story.

    python bench/simulation.py [--runs N]

Calm clusters of 3 and 8 hosts, and random stories (mixed clusters among them) as ``simulate --random``
plays them. The figures are medians of the runs; the limit is 500 for 3 calm hosts. CPU time does not
count what others do on the machine, but a busy neighbour on the same core still costs some of it.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable

from ovirt_he_agent.sim.cluster import chance, play, story

LIMIT = 500
STORIES = 30


def calm(hosts: int, hours: float) -> float:
    """Nothing happens; host-hours."""
    told = story.parse(f"hosts {hosts}\nuntil {hours * 3600:g}\n")
    outcome = play.play(told, records=False)
    assert outcome.ok
    return hosts * outcome.ends_s / 3600


def at_random() -> float:
    """The first stories, and their way to rest; host-hours."""
    total = 0.0
    for seed in range(STORIES):
        told = chance.story(seed)
        outcome = play.play(told, records=False)
        total += told.setup.hosts * outcome.ends_s / 3600
    return total


def speed(work: Callable[[], float], runs: int) -> list[float]:
    """Host-hours per minute of CPU time, for each run."""
    found = []
    for _ in range(runs):
        began = time.process_time()
        host_hours = work()
        found.append(host_hours * 60 / (time.process_time() - began))
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    runs = arguments.parse_args().runs
    logging.disable()  # of agents whose hosts are broken on purpose
    play.quick()
    calm(3, 0.5)  # what is made once
    works = {
        "3 hosts, calm": lambda: calm(3, 3),
        "8 hosts, calm": lambda: calm(8, 1),
        f"{STORIES} random stories": at_random,
    }
    for name, work in works.items():
        found = speed(work, runs)
        limit = f" (limit {LIMIT})" if name.startswith("3 hosts") else ""
        each = " ".join(f"{value:.0f}" for value in found)
        print(f"{name}: {statistics.median(found):.0f} host-hours per CPU minute{limit}; each run {each}")


if __name__ == "__main__":
    main()
