"""``explain``: why the engine VM is not running, or why it is here, and what would change that."""

import json
import os
from typing import Any

import click
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ovirt_he_agent.cli import options, status_document, status_view
from ovirt_he_agent.control import client
from ovirt_he_agent.core.words import states_page

_HOLDS = {True: "yes", False: "no", None: "unknown"}


@click.command("explain")
@click.option("--json", "as_json", is_flag=True, help="The document as the agent gives it (docs/control.md).")
@click.option("--rules", is_flag=True, help="Print docs/states.md: all phases and rules. Asks no agent.")
@options.passed
def explain(given: options.Options, as_json: bool, rules: bool) -> None:
    """Say why the engine VM is not running, or why it is here, until when, and what would change it.

    Then every rule that was tested, with what it looked at, and every
    condition of a start. Exit code 4: the agent does not answer. 3: this
    host is not configured.
    """
    if rules:
        if as_json:
            raise click.UsageError("--rules is a page of text: leave --json out")
        click.echo(states_page.markdown(), nl=False)
        return
    document = _document(given)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        status_view.console().print(view(document))


def _document(given: options.Options) -> dict[str, Any]:
    try:
        document: dict[str, Any] = client.call(given.socket, "explain")
    except client.NoAgent as e:
        if os.path.exists(given.paths.hosted_engine_conf):
            raise
        missing = f"{given.paths.hosted_engine_conf} is missing: this host is not deployed"
        raise status_document.NotDeployed(f"{missing}; the agent is down too") from e
    if not document["configured"]:
        raise status_document.NotDeployed(document["reason"])
    return document


def view(document: dict[str, Any]) -> RenderableType:
    """Sentences, then what would change it, then tables."""
    first, *others = document["sentences"]
    parts: list[RenderableType] = [Text(first, style="bold"), Text()]
    parts += [Text(text) for text in others]
    if document["what_would_change"]:
        parts += [Text(), Text("What would change it:", style="bold")]
        parts += [Text(f"- {text}") for text in document["what_would_change"]]
    if document["hosts"]:
        parts += [Text(), _hosts(document["hosts"])]
    trace = document["trace"]
    parts += [
        Text(),
        _tested("Rule", [row for row in trace if row["kind"] == "rule"]),
        Text(),
        _tested("A start needs", [row for row in trace if row["kind"] == "condition"]),
    ]
    return Group(*parts)


def _hosts(hosts: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Host", "Name", "Class", "Claim", "Agent", "State", "Score", "Slot"):
        table.add_column(name)
    for row in hosts:
        table.add_row(
            str(row["host_id"]),
            row["name"] or "-",
            row["class"],
            row["claim"],
            status_view.agent(row["upstream"]),
            row["state"] or "-",
            "-" if row["score"] is None else str(row["score"]),
            row["slot_age"],
        )
    return table


def _tested(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(title, ratio=4)
    table.add_column("Holds", no_wrap=True)
    table.add_column("Looked at", ratio=6, overflow="fold")
    for row in rows:
        table.add_row(row["label"], _HOLDS[row["holds"]], row["inputs"])
    return table
