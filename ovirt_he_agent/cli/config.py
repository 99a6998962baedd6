"""``config show`` and ``config check``: our own configuration, without the agent."""

import json

import click
import yaml

from ovirt_he_agent import config
from ovirt_he_agent.cli import options
from ovirt_he_agent.errors import ExitCode


@click.group("config")
def group() -> None:
    """The agent's own configuration."""


@group.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@options.passed
def show(given: options.Options, as_json: bool) -> None:
    """Print the configuration in force: the defaults with what the files change."""
    loaded = config.load(given.paths, given.config_file)
    _warn(loaded)
    shown = config.as_dict(loaded)
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for file in loaded.files:
        click.echo(f"# from {file}")
    click.echo(yaml.safe_dump(shown, sort_keys=False, default_flow_style=False), nl=False)


@group.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@options.passed
def check(given: options.Options, as_json: bool) -> None:
    """Read the configuration and say what is wrong with it.

    Exit code 3: the agent would not start. 1: it would, and ignore something.
    """
    loaded = config.load(given.paths, given.config_file)
    if as_json:
        files = [str(file) for file in loaded.files]
        click.echo(json.dumps({"files": files, "warnings": loaded.warnings}, indent=2))
    else:
        _warn(loaded)
        read = ", ".join(map(str, loaded.files)) or f"no file ({given.paths.config_file}), defaults"
        click.echo(f"{'good, with warnings' if loaded.warnings else 'good'}: {read}")
    if loaded.warnings:
        click.get_current_context().exit(ExitCode.FAILED)


def _warn(loaded: config.Config) -> None:
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
