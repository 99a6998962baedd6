"""docs/states.md, made from the rows: phases, rules, conditions of a start, classes of hosts, places.

The tables here hold only what no row can say: what a phase is like, and from where people meet a rule first.
"""

from collections.abc import Iterable, Iterator, Mapping

from ovirt_he_agent.core import admission, peers, rules, score
from ovirt_he_agent.core.rules import Rule
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.words import neighbours

PHASE: Mapping[Phase, str] = {
    Phase.INIT: "Just started: the first evidence is being gathered. Nothing is done to the VM.",
    Phase.STANDBY: "The VM is not here, or is migrating in. This host starts it when every condition holds.",
    Phase.STARTING: "The VM is here and its engine has not been good in this life.",
    Phase.RUNNING: "The VM is here and its engine was good less than 15 s ago.",
    Phase.SICK: "The VM is here and its engine is not good; each kind of sickness has its time limit.",
    Phase.STOPPING: "The guest was or is asked to shut down; after 150 s it is powered off.",
    Phase.KILLING: "VDSM is told to power the VM off, again and again until it is gone.",
    Phase.AWAY: "The VM migrated away from here and has not shown up elsewhere: 40 s are given to it.",
    Phase.COOLDOWN: "Starts failed here repeatedly: others go first; without others it is tried, but rarely.",
    Phase.FROZEN: "Global maintenance: nothing is done to the VM that no operator forces.",
    Phase.LOCAL: "Local maintenance, and the VM is not here: it is not started here.",
    Phase.BLIND: "VDSM does not say whether the VM is here: nothing is done to it.",
    Phase.CUT: "The host id or the storage was lost: nothing is started, a VM that is here is left alone.",
    Phase.LEAVING: "The agent was told to stop; the VM is left as it is.",
}

PLACE: Mapping[Place, str] = {
    Place.HERE: "VDSM has it on this host",
    Place.HERE_PENDING: "it is being started here",
    Place.INCOMING: "it is migrating to this host",
    Place.OUTGOING: "it is migrating away from this host",
    Place.ELSEWHERE: "another host's claim is valid, or a host that is not dead owns a lease of the VM",
    Place.NOWHERE_SOON: "the owner of a lease is failing: it is free when sanlock calls that host dead",
    Place.NOWHERE: "every lease is free or its owner is dead, and no claim is valid or open",
    Place.UNCLEAR: "a witness is missing, or they differ: that is never a reason to start or stop it",
}

STARTS: Mapping[str, str] = {
    "frozen": "start it, if an operator forces that",
    "cooling-down": "start it, if no other host may",
    "nowhere": "start it",
}
"""Rules with which the VM may be started here; each needs every condition below."""

ORIGINS: Mapping[str, tuple[Phase, ...]] = {
    "asked-to-shut-down": (Phase.RUNNING, Phase.SICK),
    "asked-to-power-off": (Phase.RUNNING, Phase.SICK),
    "killing": (Phase.STOPPING,),
    "stopping": (Phase.STOPPING,),
    "twin-owns-the-lease": (Phase.RUNNING,),
    "paused-and-taken": (Phase.SICK,),
    "start-takes-too-long": (Phase.STARTING,),
    "lost": (Phase.SICK,),
    "sick-too-long": (Phase.SICK,),
    "network-is-lost-here": (Phase.RUNNING,),
    "starting": (Phase.STANDBY, Phase.COOLDOWN),
    "sick": (Phase.RUNNING,),
    "here": (Phase.STARTING, Phase.SICK, Phase.STOPPING),
    "migrated-away": (Phase.RUNNING,),
    "cooling-down": (Phase.STARTING,),
}
"""Where a rule is met in the usual course; those without a row are met from everywhere."""


def markdown() -> str:
    """The whole page."""
    return "\n".join(
        (
            _INTRODUCTION,
            "",
            "## Phases",
            "",
            *_table(("phase", "published as", "score", "what it is"), (_phase(p) for p in Phase)),
            "",
            *_diagram(),
            "",
            "## Rules",
            "",
            _RULES,
            "",
            *_table(
                ("", "rule", "when", "phase", "done to the VM"),
                (_rule(number, row) for number, row in enumerate(rules.RULES, 1)),
            ),
            "",
            "## Conditions of a start",
            "",
            _CONDITIONS,
            "",
            *_table(
                ("", "a start needs"),
                ((str(n), (c.__doc__ or "").strip()) for n, c in enumerate(admission.CONDITIONS, 1)),
            ),
            "",
            "## Where the VM is",
            "",
            *_table(("place", "meaning"), ((f"`{p.value}`", PLACE[p]) for p in Place)),
            "",
            "## Other hosts",
            "",
            *_table(
                ("class", "what is known of the host"),
                ((f"`{k.value}`", peers.MEANING[k]) for k in peers.PeerClass),
            ),
            "",
            *_table(("claim", "meaning"), ((f"`{c.value}`", neighbours.CLAIM[c]) for c in peers.Claim)),
            "",
        )
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _line(head)
    yield "|---" * len(head) + "|"
    for row in rows:
        yield _line(row)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _phase(phase: Phase) -> tuple[str, ...]:
    published = f"`{phase.published}`" if phase.published is not None else "(cannot publish)"
    if score.worthless_in(phase) is not None:
        points = "0"
    else:
        points = "the sum" if score.memory_counts(phase) else "the sum, without free memory"
    return f"`{phase.value}`", published, points, PHASE[phase]


def _rule(number: int, row: Rule) -> tuple[str, ...]:
    done = row.command.__doc__ if row.command is not None else STARTS.get(row.name)
    return str(number), f"`{row.name}`", row.label, f"`{row.phase.value}`", (done or "nothing").strip()


def _diagram() -> Iterator[str]:
    """One arrow for each pair of phases, with the rules that lead from the one to the other."""
    arrows: dict[tuple[str, Phase], list[str]] = {}
    for row in rules.RULES:
        for origin in ORIGINS.get(row.name, ("any",)):
            arrows.setdefault((str(origin), row.phase), []).append(row.name)
    yield from ("```mermaid", "stateDiagram-v2", "    state any <<choice>>", "    [*] --> any")
    for (origin, phase), names in arrows.items():
        yield f"    {origin} --> {phase.value}: {', '.join(names)}"
    yield "```"


_INTRODUCTION = """\
# Phases and rules

Made by `ovirt-he-agent explain --rules` from the rows that the agent goes by (`core/rules.py`,
`core/admission.py`). What holds on a host now, with the figures, is shown by `ovirt-he-agent explain`.

At each look the rules are tested in their order, and the first that holds says the phase: no rule asks what
the phase was. The score is the sum that `status` shows, a base less penalties."""

_RULES = """\
In the picture above, an arrow from the choice is a rule that is met from everywhere; the others stand where
they are met in the usual course."""

_CONDITIONS = """\
The VM is started only when each of these is known to hold; what is unknown does not hold."""
