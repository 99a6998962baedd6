"""``simulate``: plays a story, or random ones, in a simulated cluster, and tells what came of it.

A story is a file, or a directory with a file ``story`` (tests/scenarios). Its language and the
picture are explained in docs/simulator.md. Exit codes: 1 an invariant or a ``must`` broke, 2 the
story makes no sense.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ovirt_he_agent.errors import ExitCode
from ovirt_he_agent.sim import picture, simulator_page
from ovirt_he_agent.sim.cluster import chance, play, timeline
from ovirt_he_agent.sim.cluster import story as stories
from ovirt_he_agent.sim.cluster.play import Outcome
from ovirt_he_agent.sim.cluster.story import Step, Story

PIPE_WIDTH = 80
SPLIT_S = 60.0
"""Deeds that are closer to each other are one failure."""


@click.command("simulate")
@click.argument("story", metavar="[STORY]", required=False, type=click.Path(path_type=Path, exists=True))
@click.option("--random", "at_random", is_flag=True, help="Random stories instead of STORY.")
@click.option("--seed", type=int, help="Of the first random story, or of chance in STORY.  [default: 0]")
@click.option("--runs", type=click.IntRange(min=1), default=1, help="So many seeds, one after the other.")
@click.option("--hosts", type=click.IntRange(1, 64), help="Of a random story.")
@click.option("--hours", type=click.FloatRange(min=0.1), help="That a random story takes.")
@click.option("--upstream", type=click.IntRange(min=0), help="So many of the hosts run upstream's agent.")
@click.option("--log/--no-log", default=None, help="What happened, line by line.  [default: for one run]")
@click.option(
    "--page", is_flag=True, help="Print docs/simulator.md instead: story language, picture, checks."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document for each run, a line each.")
def command(
    story: Path | None,
    at_random: bool,
    seed: int | None,
    runs: int,
    hosts: int | None,
    hours: float | None,
    upstream: int | None,
    log: bool | None,
    page: bool,
    as_json: bool,
) -> int:
    """Play a STORY (a file, or a scenario's directory), or random ones, in a simulated cluster.

    The real agent runs on every host that is not upstream's, in virtual time, and every step is
    checked. A broken check is shown with its seed, the shortest story that breaks it, and the
    rules that the hosts had tested last.
    """
    if page:
        print(simulator_page.markdown(), end="")
        return ExitCode.DONE
    if at_random == (story is not None):
        raise click.UsageError("give either STORY or --random")
    if not at_random and (hosts or hours or upstream is not None):
        raise click.UsageError("--hosts, --hours and --upstream are for --random: STORY says its own")
    if hosts is not None and upstream is not None and upstream > hosts:
        raise click.UsageError(f"{upstream} of {hosts} hosts cannot be upstream's")
    play.quick()
    tell = _Teller(log=runs == 1 if log is None else log, as_json=as_json)
    for number in range(runs):
        if story is not None:
            told = _read(story)
            if seed is not None or number:
                told = replace(told, setup=replace(told.setup, seed=(seed or 0) + number))
        else:
            told = chance.story(
                (seed or 0) + number,
                hosts=hosts,
                minutes=hours * 60 if hours is not None else None,
                upstream=upstream,
            )
        tell.outcome(play.play(told, records=tell.log, progress=_progress(told, number, runs)))
    return tell.end(runs)


def _read(path: Path) -> Story:
    """Raises ``BadStory``; an ``OSError`` of the file goes through."""
    file = path / "story" if path.is_dir() else path
    return stories.parse(file.read_text(encoding="utf-8", errors="replace"))


def _progress(story: Story, number: int, runs: int) -> Callable[[float], None] | None:
    """How far it is, on stderr, for a person who waits."""
    if not sys.stderr.isatty():
        return None
    whole_s = story.until_s

    def tell(now_s: float) -> None:
        if int(now_s) % 300 < play.PATROL_S:
            share = min(100, int(100 * now_s / whole_s))
            print(f"\rrun {number + 1} of {runs}, {share:3} % ", end="", file=sys.stderr, flush=True)

    return tell


class _Teller:
    """Says what came of each run, and remembers whether all was well."""

    def __init__(self, *, log: bool, as_json: bool) -> None:
        self.log = log
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console.width = PIPE_WIDTH
        self._broken: list[int] = []
        self._hours = 0.0

    def outcome(self, outcome: Outcome) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        self._hours += outcome.ends_s / 3600
        if not outcome.ok:
            self._broken.append(outcome.story.setup.seed)
        shorter = None if outcome.ok else _shortest(outcome)
        if self._as_json:
            print(json.dumps(document(outcome, shorter)), flush=True)
            return
        if self.log:
            print(play.log_of(outcome.lines))
        if self.log or not outcome.ok:
            self._console.print(picture.draw(outcome, width=min(self._console.width, 160)), end="\n")
            for line in summary(outcome):
                print(line)
        else:
            print(_one_line(outcome))
        if shorter is not None:
            print("\n".join(trouble(outcome, shorter)))

    def end(self, runs: int) -> int:
        if runs > 1 and not self._as_json:
            print(f"{runs} runs, {self._hours:.1f} simulated hours: {len(self._broken)} broken", end="")
            print(f", seeds {', '.join(map(str, self._broken))}" if self._broken else "")
        return ExitCode.FAILED if self._broken else ExitCode.DONE


def _shortest(outcome: Outcome) -> Story:
    """Breaks the same invariant with as few deeds as it takes."""
    what = outcome.violations[0].invariant

    def broken(story: Story) -> bool:
        return any(v.invariant == what for v in play.play(story, records=False).violations)

    return play.shortest(outcome.story, broken)


def _one_line(outcome: Outcome) -> str:
    setup = outcome.story.setup
    kinds = f"{setup.hosts} hosts" + (f", {setup.upstream} of them upstream's" if setup.upstream else "")
    starts = f"{len(outcome.starts)} {_plural('start', outcome.starts)}"
    return (
        f"seed {setup.seed}: {kinds}, {outcome.ends_s / 60:.0f} min, {starts}, "
        f"engine away for {outcome.outage_s:.0f} s"
    )


def _plural(word: str, things: Sequence[object]) -> str:
    return word if len(things) == 1 else f"{word}s"


@dataclass(frozen=True, slots=True)
class Failure:
    """What was done, and what it cost."""

    at_s: float
    deeds: tuple[str, ...]
    start_after_s: float | None
    start_on: int | None
    start_by: str | None
    outage_s: float
    """Without a good engine until the next failure, or the end."""


def failures(outcome: Outcome) -> list[Failure]:
    """One for each deed, or a few that come at almost the same time."""
    groups: list[list[Step]] = []
    for step in outcome.story.steps:
        if step.words[0] == "must" or step.at_s >= outcome.ends_s:
            continue
        if groups and step.at_s - groups[-1][-1].at_s < SPLIT_S:
            groups[-1].append(step)
        else:
            groups.append([step])
    return list(_cost(outcome, groups))


def _cost(outcome: Outcome, groups: list[list[Step]]) -> Iterator[Failure]:
    engine = outcome.rows.get(timeline.VM, ())
    for at, group in enumerate(groups):
        begins = group[0].at_s
        ends = groups[at + 1][0].at_s if at + 1 < len(groups) else outcome.ends_s
        start = next((s for s in outcome.starts if begins <= s[0] < ends), None)
        yield Failure(
            begins,
            tuple(" ".join(step.words) for step in group),
            round(start[0] - begins, 3) if start is not None else None,
            start[1] if start is not None else None,
            start[2] if start is not None else None,
            round(ends - begins - timeline.lasts_s(engine, timeline.GOOD, begins, ends), 3),
        )


def summary(outcome: Outcome) -> list[str]:
    """Outage, and what each failure cost."""
    out = [_one_line(outcome)]
    rows = failures(outcome)
    if rows:
        out.append(f"{'at':>9}    {'VM starts':<22} {'engine away':>11}  after")
    for row in rows:
        start = "-" if row.start_after_s is None else f"{row.start_after_s:.1f} s on host{row.start_on}"
        if row.start_by not in (None, "ours"):
            start += f" ({row.start_by})"
        out.append(f"{row.at_s:>9.1f} s  {start:<22} {row.outage_s:>9.1f} s  {'; '.join(row.deeds)}")
    return out


def trouble(outcome: Outcome, shorter: Story) -> list[str]:
    """What broke, how to see it again, the shortest story, and what the hosts had decided last."""
    story = outcome.story
    out = [
        *map(str, outcome.violations),
        "",
        f"the shortest story found that breaks it (seed {story.setup.seed}):",
    ]
    out += [f"  {line}" for line in str(shorter).splitlines()]
    for number, decided in sorted(outcome.decisions.items()):
        out += ["", f"host{number} before it broke: {decided.phase.value}: {decided.reason}"]
        out += [f"  {_HOLDS[check.holds]:<4} {check.name}: {check.detail}" for check in decided.trace]
    return out


_HOLDS = {True: "yes", False: "no", None: "?"}


def document(outcome: Outcome, shorter: Story | None) -> dict[str, Any]:
    """The outcome as JSON; times are seconds of the story."""
    return {
        "seed": outcome.story.setup.seed,
        "story": str(outcome.story),
        "ok": outcome.ok,
        "ends_s": outcome.ends_s,
        "outage_s": outcome.outage_s,
        "starts": [{"at_s": at, "host": host, "by": by} for at, host, by in outcome.starts],
        "failures": [asdict(row) for row in failures(outcome)],
        "violations": [
            {"invariant": v.invariant, "at_s": v.ms / 1000, "host": v.host, "text": v.text}
            for v in outcome.violations
        ],
        "shortest": str(shorter) if shorter is not None else None,
        "timeline": {
            "engine" if row == timeline.VM else f"host{row}": [asdict(span) for span in spans]
            for row, spans in outcome.rows.items()
        },
        "decisions": {
            f"host{number}": {
                "phase": decided.phase.value,
                "reason": decided.reason,
                "trace": [asdict(check) for check in decided.trace],
            }
            for number, decided in sorted(outcome.decisions.items())
        },
        "log": [{"at_s": line.ms / 1000, "who": line.who, "text": line.text} for line in outcome.lines],
    }
