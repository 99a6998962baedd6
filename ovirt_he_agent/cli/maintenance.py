"""``maintenance``: as ``hosted-engine --set-maintenance`` (he-setup: set_maintenance.py), by the agent."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import click

from ovirt_he_agent.cli import app, options, status_document
from ovirt_he_agent.control import client
from ovirt_he_agent.core.model import LocalMode
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.errors import HeAgentError

GLOBAL, LOCAL = "GLOBAL", LocalMode.LOCAL_MANUAL.value  # the latter sets the engine's switch, too

STEPS: dict[str, tuple[tuple[str, bool], ...]] = {
    "global": ((GLOBAL, True), (LOCAL, False)),
    "local": ((LOCAL, True), (GLOBAL, False)),
    "none": ((GLOBAL, False), (LOCAL, False)),
}
"""In this order. What protects comes before what is lifted: an error in between never leaves a host
active that was not and is not to be. Else the shared storage comes first, for it fails more easily."""

_HERE = {Place.HERE, Place.HERE_PENDING, Place.INCOMING, Place.OUTGOING}
_NOT_HERE = {Place.ELSEWHERE, Place.NOWHERE, Place.NOWHERE_SOON}


class VmIsHere(HeAgentError):
    # upstream's words, which scripts know
    msg = (
        "Unable to enter local maintenance mode: the engine VM is running on the current host, "
        "please migrate it before entering local maintenance mode."
    )


@dataclass(eq=False)
class VmUnknown(HeAgentError):
    why: str
    msg: ClassVar[str] = (
        "Unable to enter local maintenance mode: it is not known whether the engine VM is running on the "
        "current host ({self.why}); nothing was changed, `ovirt-he-agent status` shows what is in trouble"
    )


@click.command("maintenance")
@click.argument("mode", type=click.Choice(list(STEPS), case_sensitive=False))
@click.option("--json", "as_json", is_flag=True, help="Print what was set, as one JSON object.")
@options.passed
@click.pass_context
def maintenance(context: click.Context, given: options.Options, mode: str, as_json: bool) -> None:
    """Set maintenance: what `hosted-engine --set-maintenance --mode=MODE` sets.

    \b
    global  no host starts or stops the engine VM; local maintenance of this host ends
    local   this host does not start the engine VM; global maintenance ends
    none    both end

    Prints nothing when it is done.
    """
    if mode == "local":
        _check_vm(status_document.of(given)["vm"])
    done: list[tuple[str, bool]] = []
    error: HeAgentError | None = None
    for which, enabled in STEPS[mode]:
        try:
            client.call(
                given.socket,
                "setMaintenance",
                timeout_s=client.CHANGE_TIMEOUT_S,
                mode=which,
                enabled=enabled,
            )
        except HeAgentError as e:
            error = e
            break
        done.append((which, enabled))
    if as_json:
        click.echo(json.dumps(_document(mode, done, error), indent=2))
    if error is not None:
        app.complain(_said(mode, done, error))
        context.exit(error.exit_code)


def _check_vm(vm: dict[str, Any]) -> None:
    if vm["where"] in _HERE:
        raise VmIsHere
    if vm["where"] not in _NOT_HERE and vm["status"] != "not here":
        raise VmUnknown("; ".join(vm["where_reasons"]) or f"VDSM: {vm['status']}")


def _said(mode: str, done: list[tuple[str, bool]], error: HeAgentError) -> str:
    """The error, and before it what was done already, in words."""
    if not done:
        return str(error)
    which, enabled = STEPS[mode][len(done)]
    return f"{'; '.join(_is(*step) for step in done)}; switching {_name(which)} {_onoff(enabled)}: {error}"


def _is(which: str, enabled: bool) -> str:
    return f"{_name(which)} is {_onoff(enabled)} now"


def _name(which: str) -> str:
    return "global maintenance" if which == GLOBAL else "local maintenance"


def _onoff(enabled: bool) -> str:
    return "on" if enabled else "off"


def _document(mode: str, done: list[tuple[str, bool]], error: HeAgentError | None) -> dict[str, Any]:
    return {
        "mode": mode,
        "done": [{"mode": which, "enabled": enabled} for which, enabled in done],
        "error": str(error) if error is not None else None,
    }
