"""What holds for all verbs: ``--root``, ``--config``, ``--socket``, before the verb or after it."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ovirt_he_agent.config import ROOT_VARIABLE, Paths

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Uuid(click.ParamType[str]):
    """A UUID, in lower case."""

    name = "uuid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _UUID.fullmatch(value):
            self.fail(f"{value!r} is not a UUID", param, ctx)
        return str(value).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The click context's object (``ctx.obj``); a command gets it by ``@options.passed``."""

    paths: Paths
    config_file: Path | None = None
    """``--config``; None: the main file and the drop-ins below ``paths``."""
    given_socket: Path | None = None

    @property
    def socket(self) -> Path:
        """The agent's."""
        return self.given_socket or self.paths.socket


passed = click.make_pass_decorator(Options)


def _parameters(**settings: Any) -> list[click.Parameter]:
    path = click.Path(path_type=Path)
    return [
        click.Option(
            ["--root"],
            type=path,
            metavar="DIR",
            help=f"All files below DIR, also by {ROOT_VARIABLE}.",
            **settings,
        ),
        click.Option(
            ["--config", "config_file"],
            type=path,
            metavar="FILE",
            help="This configuration only.",
            **settings,
        ),
        click.Option(["--socket"], type=path, metavar="PATH", help="The agent's socket.", **settings),
    ]


def parameters() -> list[click.Parameter]:
    """``params`` of the root group."""
    return _parameters()


@click.pass_context
def remember(
    context: click.Context, root: Path | None, config_file: Path | None, socket: Path | None
) -> None:
    """``callback`` of the root group."""
    context.obj = Options(paths=Paths.find(root), config_file=config_file, given_socket=socket)


def accept_after(command: click.Command) -> None:
    """Let a verb, and the verbs below it, take the same options as the root group; the later word counts."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            accept_after(below)
    elif not any(parameter.name == "root" for parameter in command.params):
        command.params.extend(_parameters(expose_value=False, hidden=True, callback=_override))


def _override(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    given = context.find_object(Options)
    if value is None or given is None:
        return
    match parameter.name:
        case "root":
            given = replace(given, paths=Paths.find(value))
        case "config_file":
            given = replace(given, config_file=value)
        case _:
            given = replace(given, given_socket=value)
    above: click.Context | None = context
    while above is not None:
        above.obj, above = given, above.parent
