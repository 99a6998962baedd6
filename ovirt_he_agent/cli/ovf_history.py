"""``ovf history`` and ``ovf restore``: the definitions that the agent has kept, and which one to go by."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click
from rich import box
from rich.table import Table

from ovirt_he_agent.adapters import definition_history
from ovirt_he_agent.cli import app, kept, options, ovf_file, status_view
from ovirt_he_agent.core.definitions import choice
from ovirt_he_agent.core.definitions.record import Record
from ovirt_he_agent.errors import BadInput


@dataclass(eq=False)
class NothingRestored(BadInput):
    directory: Path
    msg: ClassVar[str] = (
        "{self.directory}: nothing was restored, so there is nothing to undo; "
        "`ovirt-he-agent ovf history` shows which definition is used"
    )


@click.command
@kept.vm_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.passed
def history(given: options.Options, vm_id: str | None, as_json: bool) -> None:
    """List the definitions that the agent has kept, newest last.

    It works with the agent down too; the OVF_STORE is not read.
    """
    found = kept.read(given, vm_id)
    if as_json:
        click.echo(json.dumps(_document(found), indent=1))
        return
    if not found.records:
        click.echo(f"nothing is kept of VM {found.vm_id} yet ({found.directory})")
        return
    console = status_view.console()
    console.print(_table(found))
    for line in _notes(found):
        click.echo(app.one_line(line))


@click.command
@click.argument("which", required=False)
@kept.vm_option
@click.option("--undo", is_flag=True, help="Take the last `ovf restore` back.")
@options.passed
def restore(given: options.Options, which: str | None, vm_id: str | None, undo: bool) -> None:
    """Use definition WHICH at the next start, until the OVF_STORE has a newer generation than now.

    WHICH is a number of `ovf history`, or the beginning of a sha256. The VM that
    runs is left alone. After a restore of the engine from a backup this accepts
    its definition, whose generation is lower. A definition that failed to start
    gets two new tries. Every rule for a start holds as ever.
    """
    if undo == (which is not None):
        raise click.UsageError("give either WHICH or --undo")
    found = kept.read(given, vm_id)
    now_s = int(time.clock_gettime(time.CLOCK_REALTIME))
    if which is None:
        head = found.kept.standing.head
        if found.request is None and (head is None or not head.asked):
            raise NothingRestored(found.directory)
        definition_history.write_request(found.directory, None, now_s)
        click.echo(
            "undone: within seconds, or when it starts, the agent chooses as if nothing had been restored; "
            "`ovirt-he-agent ovf history` shows what"
        )
        return
    record = found.find(which)
    definition_history.write_request(found.directory, record.sha256, now_s)
    click.echo(
        f"definition {record.number} ({choice.generation(record)}) is used at the next start, until the "
        "OVF_STORE has a newer generation; `ovirt-he-agent ovf restore --undo` takes this back"
    )


def _document(found: kept.History) -> dict[str, Any]:
    life, head, chosen = found.kept.standing.life, found.kept.standing.head, found.choice
    return {
        "vm_id": found.vm_id,
        "directory": str(found.directory),
        "running": None if life is None else {"sha256": life.sha256, "since": ovf_file.utc(life.since_s)},
        "next": None if chosen is None else chosen.record.number,
        "fell_back": chosen is not None and chosen.why is choice.Why.FELL_BACK,
        "because": chosen.reason if chosen is not None and chosen.why is choice.Why.FELL_BACK else None,
        "restored": head is not None and head.asked,
        "request": None
        if found.request is None
        else {"sha256": found.request.sha256, "at": ovf_file.utc(found.request.at_s)},
        "skipped": list(found.kept.skipped),
        "definitions": [_listed(found, record) for record in found.records],
    }


def _listed(found: kept.History, record: Record) -> dict[str, Any]:
    life, chosen = found.kept.standing.life, found.choice
    runs = life is not None and life.sha256 == record.sha256
    is_next = chosen is not None and chosen.record is record
    return {
        "number": record.number,
        "sha256": record.sha256,
        "generation": record.facts.generation,
        "name": record.facts.name,
        "kept_at": ovf_file.utc(record.kept_s),
        "source": record.facts.source,
        "made": record.made,
        "made_because": record.made_because,
        "warnings": list(record.warnings),
        "leases": [ref.volume_id for ref in record.facts.leases],
        "started": record.started > 0,
        "started_at": ovf_file.utc(record.started_s),
        "failures": record.failures,
        "failed_at": ovf_file.utc(record.failed_s),
        "failure": record.failure,
        "running": runs,
        "next": is_next,
        "pending": is_next and life is not None and not runs,
    }


def _table(found: kept.History) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Number", "Generation", "Kept", "Made", "sha256", "Starts", "Use", "Source"):
        table.add_column(name, overflow="fold")
    for record in found.records:
        row = _listed(found, record)
        table.add_row(
            str(record.number),
            status_view.UNKNOWN if row["generation"] is None else str(row["generation"]),
            row["kept_at"] or status_view.UNKNOWN,
            app.one_line(record.made),
            record.sha256[:12],
            "; ".join(_starts(row)) or "none",
            ", ".join(_use(row)),
            app.one_line(record.facts.source),
        )
    return table


def _starts(row: dict[str, Any]) -> Iterator[str]:
    if row["started"]:
        yield f"good {row['started_at']}"
    if row["failures"]:
        yield "failed once" if row["failures"] == 1 else f"failed {row['failures']} times"


def _use(row: dict[str, Any]) -> Iterator[str]:
    if row["running"]:
        yield "running"
    if row["pending"]:
        yield "pending until next start"
    elif row["next"]:
        yield "next start"


def _notes(found: kept.History) -> Iterator[str]:
    chosen = found.choice
    if chosen is not None and chosen.why in (choice.Why.FELL_BACK, choice.Why.RESTORED):
        yield f"{chosen.why.value}: {chosen.reason}"
    if found.request is not None:
        what = "to undo that" if found.request.sha256 is None else f"for {found.request.sha256[:12]}"
        at = ovf_file.utc(found.request.at_s)
        yield f"an operator asked {what} at {at}; the agent has not taken that into account yet"
    for record in found.records:
        if record.failures and record.failure:
            yield f"definition {record.number}, last failure: {record.failure}"
