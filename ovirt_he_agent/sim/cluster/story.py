"""A story: what a cluster is made of, what happens to it and when, and what must be so.

Text, one thing a line, ``#`` begins a comment::

    hosts 3 upstream 1          # and seed N, boot-time S, io-timeout S, ids 2=1
    at 300 storage 1 off        # a deed (sim.cluster.deeds); HOSTS is 1, 1,2, all, or vm: where the VM runs
    at 320 must not run         # must [not] run [on N] | good | start within S [on N] | no start | phase N P
    until 900

``must start within 5`` looks from its own time on; ``must no start 60`` at the next 60 s. All hosts boot
at 0 unless a line ``off N`` says otherwise.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from ovirt_he_agent.errors import BadInput
from ovirt_he_agent.sim.cluster.deeds import DEEDS
from ovirt_he_agent.sim.cluster.world import Setup

SETUP = {
    "hosts": ("hosts", int),
    "upstream": ("upstream", int),
    "seed": ("seed", int),
    "boot-time": ("boot_s", float),
    "io-timeout": ("io_timeout_s", int),
    "jitter": ("jitter_ms", int),
    "shutdown-time": ("shutdown_s", float),
    "reboot-time": ("reboot_s", float),
}


@dataclass(eq=False)
class BadStory(BadInput):
    number: int
    line: str
    reason: str
    msg: ClassVar[str] = "line {self.number} of the story, {self.line!r}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Step:
    """At ``at_s``, ``words``: a deed, or ``must`` and what."""

    at_s: float
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"at {self.at_s:g} {' '.join(self.words)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    setup: Setup
    steps: tuple[Step, ...]
    until_s: float
    off: frozenset[int] = frozenset()
    """Hosts that are not switched on at the beginning."""

    def __str__(self) -> str:
        setup = self.setup
        words = [f"hosts {setup.hosts}", f"upstream {setup.upstream}", f"seed {setup.seed}"]
        words += [
            f"boot-time {setup.boot_s:g}",
            f"io-timeout {setup.io_timeout_s}",
            f"jitter {setup.jitter_ms}",
        ]
        lines = [" ".join(words), *(f"off {n}" for n in sorted(self.off)), *map(str, self.steps)]
        return "\n".join([*lines, f"until {self.until_s:g}"]) + "\n"


def parse(text: str) -> Story:
    """Raises ``BadStory`` naming line and reason."""
    setup, until_s = Setup(), None
    steps: list[Step] = []
    off: set[int] = set()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        words = line.split()
        if not words:
            continue
        try:
            match words:
                case ["until", seconds]:
                    until_s = float(seconds)
                case ["off", *hosts]:
                    off.update(map(int, hosts))
                case ["at", seconds, *what] if what:
                    if what[0] != "must" and what[0] not in DEEDS:
                        raise BadStory(number, line, f"unknown deed {what[0]}; known are {', '.join(DEEDS)}")
                    steps.append(Step(float(seconds), tuple(what)))
                case [word, *_] if word in SETUP or word == "ids":
                    setup = _setup(setup, words)
                case _:
                    raise BadStory(number, line, "a line begins with hosts, off, at or until")
        except ValueError as e:
            raise BadStory(number, line, str(e)) from e
    if until_s is None:
        until_s = max((step.at_s for step in steps), default=0.0) + 600.0
    if setup.hosts < 1 or not 0 <= setup.upstream <= setup.hosts:
        raise BadStory(0, f"hosts {setup.hosts} upstream {setup.upstream}", "that is no cluster")
    ordered = tuple(sorted(steps, key=lambda step: step.at_s))
    return Story(setup=setup, steps=ordered, until_s=until_s, off=frozenset(off))


def _setup(setup: Setup, words: Iterable[str]) -> Setup:
    given = iter(words)
    for word in given:
        value = next(given, None)
        if value is None:
            raise ValueError(f"{word} has no value")
        if word == "ids":  # 2=1: host 2 has id 1
            pairs = (pair.split("=") for pair in value.split(","))
            setup = replace(setup, ids={int(host): int(host_id) for host, host_id in pairs})
            continue
        if word not in SETUP:
            raise ValueError(f"unknown {word}; known are {', '.join(SETUP)}, ids")
        name, kind = SETUP[word]
        changes: dict[str, object] = {name: kind(value)}
        setup = replace(setup, **changes)  # type: ignore[arg-type]
    return setup
