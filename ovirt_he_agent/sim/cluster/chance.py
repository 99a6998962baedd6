"""Random stories: a seed gives a cluster, faults in it, and their times; always the same ones."""

import random
from dataclasses import dataclass

from ovirt_he_agent.sim.cluster.story import Step, Story
from ovirt_he_agent.sim.cluster.world import Setup


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault with the text of its deeds; ``{h}`` is a host, ``{o}`` another one, ``{s}`` some seconds."""

    weight: int
    begin: str
    end: str | None = None
    """What mends it, some seconds to minutes later."""


KINDS = (
    Kind(8, "vm crash"),
    Kind(4, "vm reboot"),
    Kind(3, "vm shutdown"),
    Kind(3, "vm hang"),
    Kind(3, "vm db-down", "vm good"),
    Kind(3, "vm process-dead"),
    Kind(3, "vm pause", "vm resume"),
    Kind(2, "vm pause"),
    Kind(6, "power {h} off", "power {h} on"),
    Kind(5, "power vm off", "power all on"),
    Kind(3, "shutdown {h}", "power {h} on"),
    Kind(1, "power all off", "power all on"),
    Kind(5, "storage {h} off", "storage {h} on"),
    Kind(3, "storage vm off", "storage all on"),
    Kind(3, "storage {h} hang", "storage {h} on"),
    Kind(2, "storage all off", "storage all on"),
    Kind(2, "storage {h} read-only", "storage {h} on"),
    Kind(2, "storage {h} slow 2", "storage {h} on"),
    Kind(4, "network {h} off", "network {h} on"),
    Kind(4, "network vm off", "network all on"),
    Kind(2, "switch off", "switch on"),
    Kind(2, "dns all off", "dns all on"),
    Kind(2, "dns {h} off", "dns {h} on"),
    Kind(2, "gateway off", "gateway on"),
    Kind(2, "bridge {h} off", "bridge {h} on"),
    Kind(5, "agent {h} kill"),
    Kind(3, "agent vm kill"),
    Kind(2, "agent {h} dies", "agent {h} start"),
    Kind(2, "agent {h} stop", "agent {h} start"),
    Kind(2, "agent {h} restart"),
    Kind(3, "agent {h} freeze {s}"),
    Kind(2, "agent all crash-at before-create"),
    Kind(2, "agent all crash-at after-create"),
    Kind(1, "agent all crash-at after-shutdown"),
    Kind(1, "agent all crash-at after-destroy"),
    Kind(2, "suspend {h} {s}"),
    Kind(2, "suspend vm {s}"),
    Kind(2, "sanlock {h} kill", "sanlock {h} start"),
    Kind(2, "sanlock vm kill", "sanlock all start"),
    Kind(4, "vdsm {h} restart {s}"),
    Kind(3, "vdsm vm restart {s}"),
    Kind(2, "vdsm {h} stop", "vdsm {h} start"),
    Kind(2, "vdsm all lose-events 2"),
    Kind(2, "vdsm all double-events 3"),
    Kind(2, "vdsm all reorder-events 2"),
    Kind(2, "vdsm {h} delay-events 8", "vdsm {h} heal"),
    Kind(2, "vdsm {h} slow 3", "vdsm {h} heal"),
    Kind(3, "vdsm {h} fail-launch 2"),
    Kind(1, "vdsm all fail-launch 4"),
    Kind(2, "vdsm {h} lose-reply 1"),
    Kind(2, "vdsm {h} refuse-create 1"),
    Kind(5, "migrate {h}"),
    Kind(1, "migrate {h} fails"),
    Kind(4, "global on by {h}", "global off by {o}"),
    Kind(2, "global on", "global off"),
    Kind(4, "local {h} on", "local {h} off"),
    Kind(2, "slot {h} garbage"),
    Kind(2, "slot {h} torn"),
    Kind(1, "slot 0 garbage", "global off"),
    Kind(3, "load {h} 0.95", "load {h} 0.1"),
    Kind(3, "memory {h} 2000", "memory {h} 64000"),
    Kind(2, "definition none", "definition ok"),
    Kind(1, "definition lease-less", "definition ok"),
    Kind(1, "definition none on {h}", "definition ok"),
    Kind(2, "request {h} start"),
    Kind(1, "request {h} shutdown"),
    Kind(1, "request {h} poweroff"),
    Kind(1, "agent {h} upgrade"),
    Kind(1, "agent {h} downgrade"),
)
_WEIGHTS = [kind.weight for kind in KINDS]
QUIET_S = 120.0
"""Before the first fault."""


def story(
    seed: int, *, hosts: int | None = None, minutes: float | None = None, upstream: int | None = None
) -> Story:
    """A cluster of 2-8 hosts, for ten minutes to an hour, every third one mixed; unless told otherwise."""
    chance = random.Random(seed)
    # small and short ones more often: they break as well, and more of them fit
    count = hosts if hosts is not None else chance.choice((2, 2, 3, 3, 3, 4, 4, 5, 6, 8))
    length_s = 60 * minutes if minutes is not None else 600 * 6 ** chance.random()
    mixed = chance.random() < 1 / 3
    old = upstream if upstream is not None else (chance.randrange(1, count) if mixed and count > 1 else 0)
    setup = Setup(
        hosts=count,
        upstream=old,
        seed=seed,
        boot_s=chance.choice((20.0, 60.0, 120.0)),
        jitter_ms=chance.choice((0, 300)),
    )
    steps: list[Step] = []
    for _ in range(chance.randrange(1, 3 + int(length_s / 180))):
        at_s = chance.uniform(QUIET_S, max(QUIET_S + 1, length_s - 60))
        kind = chance.choices(KINDS, _WEIGHTS)[0]
        if ("upgrade" in kind.begin or "downgrade" in kind.begin) and not mixed:
            continue
        names = _names(chance, count)
        steps.append(Step(round(at_s, 1), tuple(kind.begin.format(**names).split())))
        if kind.end is not None and chance.random() < 0.85:
            lasts_s = chance.choice((1.0, 5.0, 15.0, 45.0, 90.0, 200.0, 400.0)) * chance.uniform(0.5, 1.5)
            steps.append(Step(round(at_s + lasts_s, 1), tuple(kind.end.format(**names).split())))
        if chance.random() < 0.25:  # troubles seldom come alone
            second = chance.choices(KINDS, _WEIGHTS)[0]
            if "grade" not in second.begin:
                soon_s = at_s + chance.choice((0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0))
                words = second.begin.format(**_names(chance, count)).split()
                steps.append(Step(round(soon_s, 1), tuple(words)))
    steps = [step for step in steps if step.at_s < length_s]
    ordered = tuple(sorted(steps, key=lambda step: step.at_s))
    return Story(setup=setup, steps=ordered, until_s=round(length_s, 1), rest=True)


def _names(chance: random.Random, hosts: int) -> dict[str, str]:
    one = chance.randrange(1, hosts + 1)
    other = chance.randrange(1, hosts + 1)
    return {"h": str(one), "o": str(other), "s": f"{chance.choice((2.0, 6.0, 20.0, 40.0, 90.0)):g}"}
