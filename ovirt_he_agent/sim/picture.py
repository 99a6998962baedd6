"""The picture of a played story: one row a host, one for the VM, time from left to right, a letter a cell.

A cell shows the most telling of what was so in its time, so a start of one second is seen in a
picture of an hour. Letters say the same as the colours, which a pipe does not get.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.sim.cluster import timeline
from ovirt_he_agent.sim.cluster.play import Outcome
from ovirt_he_agent.sim.cluster.qemu import Guest
from ovirt_he_agent.sim.cluster.timeline import Span

WIDTH = 80
MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 720, 1440)
"""Between two marks of the ruler."""


@dataclass(frozen=True, slots=True)
class Cell:
    letter: str
    style: str
    means: str


HOST_CELLS: dict[str, Cell] = {
    Phase.KILLING.value: Cell("K", "white on red", "killing: powers the VM off"),
    Phase.STOPPING.value: Cell("P", "white on red", "stopping: shuts the VM down"),
    Phase.STARTING.value: Cell(
        "S", "black on yellow", "starting: the VM is started here, its engine not good yet"
    ),
    Phase.SICK.value: Cell("s", "black on bright_red", "sick: the VM is here, its engine not good"),
    Phase.RUNNING.value: Cell("R", "black on green", "running: the VM is here and its engine good"),
    Phase.COOLDOWN.value: Cell("c", "magenta", "cooldown: starts failed here, others go first"),
    Phase.AWAY.value: Cell("a", "cyan", "away: the VM has left, and is not seen elsewhere yet"),
    timeline.OFF: Cell(" ", "", "the host is off"),
    timeline.NO_AGENT: Cell("-", "red", "the host is on, no agent runs"),
    Phase.CUT.value: Cell("x", "red", "cut: no storage, or no host id lease"),
    Phase.BLIND.value: Cell("?", "yellow", "blind: VDSM does not answer"),
    Phase.LEAVING.value: Cell("l", "blue", "leaving: the agent was told to stop"),
    Phase.INIT.value: Cell("i", "blue", "init: just started"),
    Phase.FROZEN.value: Cell("G", "bright_blue", "frozen: global maintenance"),
    Phase.LOCAL.value: Cell("L", "bright_blue", "local maintenance"),
    Phase.STANDBY.value: Cell(".", "bright_black", "standby"),
}
"""The most telling first."""

VM_CELLS: dict[str, Cell] = {
    timeline.TWICE: Cell("2", "white on red", "two run"),
    timeline.NOWHERE: Cell(" ", "", "runs nowhere"),
    "paused": Cell("p", "red", "paused"),
    Guest.BOOTING.value: Cell("b", "black on yellow", "boots"),
    Guest.HUNG.value: Cell("h", "black on bright_red", "hangs"),
    Guest.PROCESS_DEAD.value: Cell("e", "black on bright_red", "the engine in it is dead"),
    Guest.DB_DOWN.value: Cell("d", "black on bright_red", "the engine's database is down"),
    Guest.SHUTTING_DOWN.value: Cell("P", "white on red", "shuts down"),
    timeline.GOOD: Cell("=", "black on green", "the engine is good"),
}
UNKNOWN = Cell("~", "yellow", "something else, of upstream's")


def draw(outcome: Outcome, *, width: int = WIDTH) -> Text:
    """Lines of at most ``width`` characters."""
    story = outcome.story
    names = {number: _name(outcome, number) for number in range(1, story.setup.hosts + 1)}
    label = max(len(name) for name in [*names.values(), "engine"]) + 2
    cells = max(10, width - label)
    ends_s = max(outcome.ends_s, 1.0)
    out = Text()
    for number, name in names.items():
        out.append(f"{name:<{label}}")
        _row(out, outcome.rows.get(number, ()), HOST_CELLS, cells, ends_s)
    out.append(f"{'engine':<{label}}")
    _row(out, outcome.rows.get(timeline.VM, ()), VM_CELLS, cells, ends_s)
    out.append(f"{'story':<{label}}")
    out.append(_marks(outcome, cells, ends_s).rstrip() + "\n")
    out.append(" " * label + _ruler(cells, ends_s).rstrip() + "\n", "bright_black")
    out.append(f"{_legend(outcome, width)}\n", "bright_black")
    return out


def _name(outcome: Outcome, number: int) -> str:
    setup = outcome.story.setup
    return f"host{number}" + (" u" if number > setup.hosts - setup.upstream else "")


def _row(out: Text, spans: Sequence[Span], meaning: dict[str, Cell], cells: int, ends_s: float) -> None:
    order = list(meaning)
    at = 0
    for cell in range(cells):
        begins, ends = ends_s * cell / cells, ends_s * (cell + 1) / cells
        while at < len(spans) and spans[at].ends_s <= begins:
            at += 1
        seen = []
        for span in spans[at:]:
            if span.begins_s >= ends:
                break
            seen.append(span.state)
        if not seen:
            out.append(" ")
            continue
        state = min(seen, key=lambda s: order.index(s) if s in meaning else len(order))
        shown = meaning.get(state, UNKNOWN)
        out.append(shown.letter, shown.style)
    out.append("\n")


def _marks(outcome: Outcome, cells: int, ends_s: float) -> str:
    """``^`` where something was done, ``!`` where an invariant broke."""
    marks = [" "] * cells
    for step in outcome.story.steps:
        if step.words[0] != "must" and step.at_s < ends_s:
            marks[int(step.at_s / ends_s * cells)] = "^"
    for violation in outcome.violations:
        marks[min(cells - 1, int(violation.ms / 1000 / ends_s * cells))] = "!"
    return "".join(marks)


def _ruler(cells: int, ends_s: float) -> str:
    """Minutes, at so many places as have room."""
    step = next((m for m in MINUTES if m * 60 / ends_s * cells >= 8), MINUTES[-1])
    out = ""
    minutes = 0
    while minutes * 60 < ends_s:
        place = int(minutes * 60 / ends_s * cells)
        text = f"|{minutes}" + (" min" if minutes == 0 else "")
        if place + len(text) > cells:
            break
        out = out.ljust(place) + text
        minutes += step
    return out


def _legend(outcome: Outcome, width: int) -> str:
    seen = {span.state for row, spans in outcome.rows.items() if row != timeline.VM for span in spans}
    hosts = [f"{c.letter} {s}" for s, c in HOST_CELLS.items() if s in seen and c.letter.strip()]
    engine = {span.state for span in outcome.rows.get(timeline.VM, ())}
    guest = [f"{c.letter} {c.means}" for s, c in VM_CELLS.items() if s in engine and c.letter.strip()]
    marks = ["^ a deed", *(["! broken"] if outcome.violations else [])]
    lines: list[str] = []
    for title, words in (("hosts", hosts), ("engine", guest), ("story", marks)):
        line = f"{title}:"
        for word in words:
            if len(line) + len(word) + 2 > width:
                lines.append(line)
                line = " " * len(title) + " "
            line += f" {word},"
        lines.append(line.rstrip(","))
    return "\n".join(lines)
