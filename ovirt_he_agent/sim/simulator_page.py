"""docs/simulator.md, made from what the simulator knows: deeds, forms of must, letters, invariants."""

from collections.abc import Iterable, Iterator, Mapping

from ovirt_he_agent.sim import picture
from ovirt_he_agent.sim.cluster import deeds, musts, story
from ovirt_he_agent.sim.cluster.world import Setup

SETUP: Mapping[str, str] = {
    "hosts": "so many hosts, numbered from 1; each has its number as host id",
    "upstream": "so many of them, the last ones, run upstream's agent and broker",
    "seed": "of all that chance decides",
    "boot-time": "seconds from the VM's start until its engine is good",
    "io-timeout": "sanlock's, T, in seconds",
    "shutdown-time": "seconds that the guest takes to shut down",
    "reboot-time": "seconds from a reset of a host until its services start",
    "watchdog": "W, the seconds from a lost lockspace to the reset of its host",
    "memory": "MiB that the VM needs",
    "jitter": "milliseconds by which sanlock's renewals may come late",
}

CHECKED: Mapping[str, str] = {
    "S1": "with each decision to start, on its evidence; with each start that leaves for VDSM, on the "
    "truth: leases, owners, leaves and maintenance as they are in the world",
    "S2": "with each command that leaves for VDSM, if slot 0 has said on for more than a second",
    "S3": "whenever a process opens the disk or is resumed; and every 15 s: no two hosts in RUNNING for "
    "longer than 2 T + 10 s",
    "S4": "with each decision to stop, and with each power-off of a twin: it must not hold the lease",
    "S5": "whenever VDSM's record is cleared: it must say Down",
    "S6": "whenever the domain's monitor is stopped: VDSM must know of no VM",
    "S7": "with each write: the host writes its own slot, and holds its host id; slot 0 is written on "
    "request",
    "S8": "with each write of a slot of ours: ASCII, 4096 bytes, parses, the model of upstream's reader "
    "takes it and ranks it, the timestamp grows within a boot",
    "S9": "with each write that says up: VDSM has said so within 30 s",
    "S10": "with each stop that begins for the network: there is a rival. For load and memory there is "
    "no rule",
    "S11": "with each decision: none while a command is in flight, and the same inputs once more give "
    "the same",
    "S12": "by what all other checks see in stories that damage slots; the readers themselves by "
    "property tests (tests/unit)",
    "S13": "with each decision to start, and with each command that leaves for VDSM: none of its "
    "evidence is past its limit, and what is read again is younger than a second",
    "S14": "with each stop that leaves for VDSM, if local maintenance is on and no operator asked",
    "L1": "after the first end of the VM in a cluster that was whole for 180 s (a crash, a shutdown or the "
    "death of its host), and after a cold start: the bound itself. Else every 15 s: a host could have "
    "started the VM for longer than all pauses, deaths and waits together take; and at rest: the VM runs",
    "L2": "as L1, when one host is alone",
    "L3": "every 15 s: a host is whole for 2 T + 15 s and still cut, blind or starting up; and at rest",
    "L4": "with each start of ours that fails: not more than 40 in an hour and host",
    "L5": "every 15 s: no maintenance is on for 10 s, and a host still says so",
    "L6": "as L1, in stories that damage slots, remove hosts and stop clocks",
    "L7": "as all others, in stories with upstream's hosts, whose waits are added to the time to come "
    "to rest; meanwhile the VM is not started anew more than twice",
    "L8": "every 15 s: a slot of ours is older than 12 s although its host can write",
}
"""What looks at each invariant of docs/decisions.md, and when."""

HEAD = """\
# The simulator

A cluster in virtual time, in one process: the real agent of each host (its loop, its decisions, its
reader and writer of the whiteboard) among simulated storage, sanlock, VDSM, VM, network and operators,
and a model of upstream's daemons for mixed clusters. An hour takes a second or two. The same story and
seed give the same history, to the millisecond.

    ovirt-he-agent simulate tests/scenarios/host-power-loss   # a scenario
    ovirt-he-agent simulate my-story                          # a story of yours
    ovirt-he-agent simulate --random --seed 7                 # a story by chance
    ovirt-he-agent simulate --random --seed 0 --runs 100      # a hundred of them, a line each
    ovirt-he-agent simulate --random --hosts 5 --upstream 2 --hours 4 --json

It exits with 1 when an invariant or a `must` broke, with 2 when the story makes no sense (and names the
line), else with 0.

This page is generated: `ovirt-he-agent simulate --page > docs/simulator.md`.

## A story

One thing a line; `#` begins a comment. The first line says what the cluster is made of, then come deeds
at their times, in seconds, and what must be so:

    hosts 3 upstream 1 boot-time 90
    at 300 power vm off                 # whoever runs the VM loses power
    at 300 must start within 142
    at 500 power all on
    until 900
    rest

`off N ...` leaves hosts switched off at the beginning; all others boot at 0. `until S` ends the story.
With `rest` everything is mended then, and the cluster has to come to rest: one VM, its engine good, every
host in standby or running. `ids 2=1` gives host 2 the host id 1.

HOSTS is a number, several with commas, `all`, or `vm` for the host that runs the VM.
"""

PICTURE = """\
## The picture

One row a host, one for the VM and its engine, time from left to right. A cell shows the most telling of
what was so in its time, in the order of these tables, so a start of a second is seen in a picture of an
hour. The row `story` has `^` where something was done and `!` where an invariant broke. `u` marks a host
with upstream's agent; its states are shown as the phases that they correspond to.
"""

FIGURES = """\
## The figures

*Engine away* is the time without a good engine, from the first time that it was good; the boot of the VM
is in it. Below the picture each deed, or a few that come within a minute, has a row: after how many
seconds the VM was started, where and by whom, and for how long the engine was away until the next row's
time. A start counts when qemu runs, one second after VDSM took it.

When something broke, the seed, the shortest story found that breaks the same, and the last decision of
each host before it are shown, with every rule and condition that was tested.

## What is checked

The invariants are those of [decisions.md](decisions.md). They are held against the truth of the simulated
world, which no host sees whole.
"""

TESTS = """\
## Tests

`tests/scenarios` holds a directory for each scenario: `README` (what must hold, and why), `story`, and
`expected.log`, the whole log. A scenario fails when its log differs, when an invariant or a `must`
breaks, or when a file is missing.

    pytest tests/scenarios                      # play all
    pytest tests/scenarios --update-scenarios   # rewrite the logs; read the difference before you commit it

`tests/simulation` lets Hypothesis choose the deeds, and plays random stories for a minute, other ones
each day. A story that breaks is to be mended first, and to become a scenario second.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield HEAD
    yield "### What the cluster is made of\n"
    plain = Setup()
    yield from _table(
        ("word", "what", "by itself"),
        ((f"`{word}`", SETUP[word], f"{getattr(plain, name):g}") for word, (name, _) in story.SETUP.items()),
    )
    yield "### Deeds\n"
    yield from _table(
        ("`at S` ...", "what it does"),
        ((f"`{_escape(deed.usage)}`", deed.does) for deed in deeds.DEEDS.values()),
    )
    yield "### What must be so\n"
    yield from _table(
        ("`at S must` ...", "means"),
        ((f"`{_escape(must.usage)}`", must.means) for must in musts.MUSTS.values()),
    )
    yield PICTURE
    for title, cells in (("host", picture.HOST_CELLS), ("engine", picture.VM_CELLS)):
        rows = ((f"`{cell.letter}`" if cell.letter.strip() else "", cell.means) for cell in cells.values())
        yield from _table((title, "means"), rows)
    yield FIGURES
    yield from _table(("#", "what looks at it, and when"), CHECKED.items())
    yield TESTS


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
