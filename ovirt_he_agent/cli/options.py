"""What holds for all verbs: ``--root``, ``--config``, ``--socket``, before or after the verb."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from ovirt_he_agent.config import ROOT_VARIABLE, Paths

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says of where things are."""

    paths: Paths
    config_file: Path | None = None
    """``--config``; None: the main file and the drop-ins below ``paths``."""
    socket: Path
    """The agent's."""


_PATH = click.Path(path_type=Path)
_DECLARED = (
    (("--root",), "DIR", f"All files below DIR; also by {ROOT_VARIABLE}."),
    (("--config", "config_file"), "FILE", "This configuration only, and no drop-ins."),
    (("--socket",), "PATH", "The agent's socket."),
)


def parameters() -> list[click.Parameter]:
    """``params`` of the root group: the options before the verb."""
    return [click.Option(names, type=_PATH, metavar=m, help=text) for names, m, text in _DECLARED]


@click.pass_context
def remember(context: click.Context, /, **before: Path | None) -> None:
    """``callback`` of the root group."""
    context.obj = before


def passed(function: Callable[Concatenate[Options, P], R]) -> Callable[..., R]:
    """Decorator right above a verb's function: the verb takes the options, the function gets ``Options``."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> R:
        before = click.get_current_context().find_object(dict) or {}
        root, config_file, socket = (
            kwargs.pop(name) or before.get(name) for name in ("root", "config_file", "socket")
        )
        paths = Paths.find(root)
        given = Options(paths=paths, config_file=config_file, socket=socket or paths.socket)
        return function(given, *args, **kwargs)

    for names, metavar, text in reversed(_DECLARED):
        click.option(*names, type=_PATH, metavar=metavar, help=text)(command)
    return command
