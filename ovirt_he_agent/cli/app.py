"""The command: finds a verb without loading the others, and turns every error into one line and a code.

Which verbs there are is said by the composition root (``ovirt_he_agent.__main__``).
"""

import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

import ovirt_he_agent
from ovirt_he_agent.cli import options
from ovirt_he_agent.errors import ExitCode, HeAgentError

NAME = "ovirt-he-agent"
INTERRUPTED = 128 + 2
"""What a shell shows for SIGINT."""


class LazyGroup(click.Group):
    """A group with commands that are imported when they are called; ``lazy``: name to module:attribute."""

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self._lazy, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = self._lazy.get(cmd_name)
        if where is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = where.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        options.accept_after(command)
        return command


def app(commands: Mapping[str, str]) -> click.Group:
    """The root of all verbs."""
    group = LazyGroup(
        name=NAME,
        lazy=commands,
        params=options.parameters(),
        callback=options.remember,
        help="High availability for oVirt's engine VM.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    return click.version_option(ovirt_he_agent.__version__, prog_name=NAME)(group)


def run(commands: Mapping[str, str], arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code; the only place that maps errors to codes.

    ``arguments`` are those of the process if None. Errors that are no
    ``HeAgentError`` are bugs and leave a traceback.
    """
    # what is logged on the way goes nowhere unless the verb sets it up: errors are one line, said once
    logging.getLogger(ovirt_he_agent.__name__).addHandler(logging.NullHandler())
    return int(_mapped(lambda: app(commands).main(arguments, prog_name=NAME, standalone_mode=False)))


def _mapped(command: Callable[[], Any]) -> int:
    try:
        code = command()
        sys.stdout.flush()
    except HeAgentError as e:
        complain(str(e))
        return e.exit_code
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.ClickException as e:
        _complain_of_usage(e)
        return e.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return INTERRUPTED
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it again at exit
        if e.filename is not None:
            complain(f"{e.filename}: {e.strerror}; check the path and its permissions")
        elif not isinstance(e, BrokenPipeError):  # else whoever read our output has had enough
            complain(f"the output cannot be written: {e.strerror}; make room or write elsewhere")
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.DONE


def _complain_of_usage(error: click.ClickException) -> None:
    text = error.format_message()
    if "\n" in text:  # a group without a verb: click's message is the whole help
        click.echo(text, err=True)
        return
    context = getattr(error, "ctx", None)
    complain(f"{text} (see '{context.command_path} --help')" if context is not None else text)


def complain(text: str) -> None:
    """One plain line on stderr, whatever characters the text holds."""
    click.echo(f"{NAME}: {one_line(text)}", err=True)


def one_line(text: str) -> str:
    """``text`` without line breaks and control characters: what a terminal or a log may be given."""
    plain = "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)
    return " ".join(plain.split())
