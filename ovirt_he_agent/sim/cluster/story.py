"""A story: what a cluster is made of, what happens to it and when, and what must be so.

Text, one thing a line, ``#`` begins a comment::

    hosts 3 upstream 1          # and more of the setup: SETUP; ids 2=1: host 2 has id 1
    at 300 storage 1 off        # a deed (sim.cluster.deeds); HOSTS is 1, 1,2, all, or vm: where the VM runs
    at 320 must not run         # what must be so (sim.cluster.musts), now or from now on
    until 900
    rest                        # then everything is mended, and the cluster must come to rest

All hosts boot at 0 unless a line ``off N`` says otherwise.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from ovirt_he_agent.errors import BadInput, ExitCode
from ovirt_he_agent.sim.cluster import musts
from ovirt_he_agent.sim.cluster.deeds import DEEDS
from ovirt_he_agent.sim.cluster.world import Setup

SETUP = {
    "hosts": ("hosts", int),
    "upstream": ("upstream", int),
    "seed": ("seed", int),
    "boot-time": ("boot_s", float),
    "io-timeout": ("io_timeout_s", int),
    "watchdog": ("watchdog_s", int),
    "memory": ("memory_mib", int),
    "jitter": ("jitter_ms", int),
    "shutdown-time": ("shutdown_s", float),
    "reboot-time": ("reboot_s", float),
}


@dataclass(eq=False)
class BadStory(BadInput):
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    number: int
    line: str
    reason: str
    msg: ClassVar[str] = "line {self.number} of the story, {self.line!r}: {self.reason}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


@dataclass(frozen=True, slots=True)
class Step:
    """At ``at_s``, ``words``: a deed, or ``must`` and what."""

    at_s: float
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"at {_number(self.at_s)} {' '.join(self.words)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    setup: Setup
    steps: tuple[Step, ...]
    until_s: float
    off: frozenset[int] = frozenset()
    """Hosts that are not switched on at the beginning."""
    rest: bool = False
    """In the end everything is mended, and the cluster must come to rest."""

    def __str__(self) -> str:
        setup = self.setup
        plain = Setup()
        words = [f"hosts {setup.hosts}"]
        for word, (name, _) in SETUP.items():
            value = getattr(setup, name)
            if word != "hosts" and value != getattr(plain, name):
                words.append(f"{word} {_number(value)}")
        if setup.ids:
            words.append(
                f"ids {','.join(f'{host}={host_id}' for host, host_id in sorted(setup.ids.items()))}"
            )
        lines = [" ".join(words), *(f"off {n}" for n in sorted(self.off)), *map(str, self.steps)]
        return "\n".join([*lines, f"until {_number(self.until_s)}", *(["rest"] if self.rest else [])]) + "\n"


def parse(text: str) -> Story:
    """Raises ``BadStory`` naming line and reason."""
    setup, until_s, rest = Setup(), None, False
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
                case ["rest"]:
                    rest = True
                case ["off", *hosts]:
                    off.update(map(int, hosts))
                case ["at", seconds, *what] if what:
                    if what[0] != "must" and what[0] not in DEEDS:
                        raise BadStory(number, line, f"unknown deed {what[0]}; known are {', '.join(DEEDS)}")
                    if what[0] == "must":
                        musts.find(what[1:])
                    steps.append(Step(float(seconds), tuple(what)))
                case [word, *_] if word in SETUP or word == "ids":
                    setup = _setup(setup, words)
                case _:
                    raise BadStory(number, line, "a line begins with hosts, off, at, until or rest")
        except ValueError as e:
            raise BadStory(number, line, str(e)) from e
    if until_s is None:
        until_s = max((step.at_s for step in steps), default=0.0) + 600.0
    if setup.hosts < 1 or not 0 <= setup.upstream <= setup.hosts:
        raise BadStory(0, f"hosts {setup.hosts} upstream {setup.upstream}", "that is no cluster")
    ordered = tuple(sorted(steps, key=lambda step: step.at_s))
    return Story(setup=setup, steps=ordered, until_s=until_s, off=frozenset(off), rest=rest)


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
