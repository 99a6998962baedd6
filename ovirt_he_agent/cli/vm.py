"""``vm``: start and stop the engine VM through the agent, by its rules, and see where it is."""

import json
from typing import Any

import click

from ovirt_he_agent.cli import app, options, status_document, status_view
from ovirt_he_agent.control import client


@click.group("vm")
def group() -> None:
    """The engine VM."""


_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_force = click.option(
    "--force", is_flag=True, help="Also where a rule stands against it that may be overridden."
)


@group.command()
@_force
@_json
@options.passed
def start(given: options.Options, force: bool, as_json: bool) -> None:
    """Start the engine VM on this host. Exit code 5: it could run elsewhere, or could not run safely."""
    _ask(given, "startVm", force=force, as_json=as_json)


@group.command()
@_force
@_json
@options.passed
def shutdown(given: options.Options, force: bool, as_json: bool) -> None:
    """Ask the engine VM on this host to shut down."""
    _ask(given, "shutdownVm", force=force, as_json=as_json)


@group.command()
@_force
@_json
@options.passed
def poweroff(given: options.Options, force: bool, as_json: bool) -> None:
    """Switch the engine VM on this host off, as by pulling its plug."""
    _ask(given, "powerOffVm", force=force, as_json=as_json)


@group.command()
@_json
@options.passed
def status(given: options.Options, as_json: bool) -> None:
    """Show where the engine VM is, and how it and the engine in it are."""
    document = status_document.of(given)
    if as_json:
        facts = {name: document[name] for name in ("vm", "command", "last_end")}
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(app.one_line(status_view.vm(document["vm"])))


def _ask(given: options.Options, method: str, *, force: bool, as_json: bool) -> None:
    answer: dict[str, Any] = client.call(given.socket, method, timeout_s=client.CHANGE_TIMEOUT_S, force=force)
    click.echo(json.dumps(answer, indent=2) if as_json else app.one_line(answer["detail"]))
