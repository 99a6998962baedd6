"""``status``: what this host's agent sees, decides and waits for."""

import json
import os
import time
from pathlib import Path
from typing import Any

import click
from rich.live import Live
from rich.text import Text

from ovirt_he_agent.cli import options, status_view
from ovirt_he_agent.control import client
from ovirt_he_agent.errors import ExitCode

WATCH_S = 1.0
NOT_ACTIVE = "Hosted Engine HA: Not Active"


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="The document as the agent gives it (docs/control.md).")
@click.option("--watch", is_flag=True, help="Show it anew every second, until Ctrl-C.")
@options.passed
@click.pass_context
def status(context: click.Context, given: options.Options, as_json: bool, watch: bool) -> None:
    """Show the summary line, the hosts, the engine VM, its definition and leases.

    Exit code 4: the agent does not answer. 3: this host is not configured.
    """
    try:
        document = client.call(given.socket, "status")
    except client.NoAgent:
        if os.path.exists(given.paths.hosted_engine_conf):
            _no_agent(as_json)
            raise
        problem = (
            f"{given.paths.hosted_engine_conf} is missing: this host is not deployed; the agent is down too"
        )
        _not_configured(context, {"configured": False, "active": False, "reason": problem}, as_json)
        return
    if not document["configured"]:
        _not_configured(context, document, as_json)
    elif as_json:
        click.echo(json.dumps(document, indent=2))
    elif watch:
        watch_agent(given.socket, document)
    else:
        console = status_view.console()
        click.echo(document["summary"])
        console.print(status_view.view(document))


def _no_agent(as_json: bool) -> None:
    click.echo(json.dumps({"active": False, "summary": NOT_ACTIVE}) if as_json else NOT_ACTIVE)


def _not_configured(context: click.Context, document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, indent=2))
    click.echo(f"ovirt-he-agent: not configured: {document['reason']}", err=True)
    context.exit(ExitCode.NOT_CONFIGURED)


def watch_agent(socket: Path, document: dict[str, Any]) -> None:
    """Draw ``document``, and what the agent says from then on, until interrupted; it may be restarted."""
    with Live(console=status_view.console(), auto_refresh=False, screen=False) as live:
        while True:
            live.update(status_view.whole(document), refresh=True)
            time.sleep(WATCH_S)
            while isinstance(found := _asked(socket), client.NoAgent):
                live.update(Text(f"{NOT_ACTIVE}\n{found}"), refresh=True)
                time.sleep(WATCH_S)
            document = found


def _asked(socket: Path) -> dict[str, Any] | client.NoAgent:
    try:
        document: dict[str, Any] = client.call(socket, "status")
    except client.NoAgent as e:
        return e
    return document
