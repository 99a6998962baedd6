"""``ovf diff``: two definitions, field by field."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click

from ovirt_he_agent.cli import app, kept, options, ovf_file
from ovirt_he_agent.control import client
from ovirt_he_agent.core.definitions import choice
from ovirt_he_agent.core.definitions.record import Record
from ovirt_he_agent.errors import BadInput, ExitCode, HeAgentError
from ovirt_he_agent.ovf import document, facts

SAME, DIFFERENT, TROUBLE = ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE
"""As of ``diff``."""

_NAMES = ("image_id", "disk_id", "id", "mac", "key", "index", "alias")
"""What the parts of a list are called by, the first that is different for each."""
_ABSENT = object()


@dataclass(eq=False)
class NoSuchDefinition(BadInput):
    word: str
    reason: str
    msg: ClassVar[str] = "no definition is {self.word!r}: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Side:
    label: str
    facts: dict[str, Any]


@click.command
@click.argument("a", default="running")
@click.argument("b", default="pending")
@kept.vm_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.passed
def diff(given: options.Options, a: str, b: str, vm_id: str | None, as_json: bool) -> int:
    """Compare two definitions field by field; exit 0: the same, 1: different, 2: cannot be compared.

    A and B are files (an OVF document or an OVF_STORE), numbers or beginnings of a
    sha256 of `ovf history`, or the words running, pending (what the next start
    uses) and stored (what the OVF_STORE holds, as the agent read it last; the
    newest kept one if the agent cannot tell). Without them: what runs against what
    is pending.
    """
    try:
        left, right = _side(given, a, vm_id), _side(given, b, vm_id)
    except HeAgentError as e:
        app.complain(str(e))
        return TROUBLE
    found = list(differences(left.facts, right.facts))
    if as_json:
        rows = [{"field": path, "a": _plain(old), "b": _plain(new)} for path, old, new in found]
        same = {"a": left.label, "b": right.label, "equal": not found, "differences": rows}
        click.echo(json.dumps(same, indent=1))
    elif found:
        click.echo(app.one_line(f"--- {left.label}"))
        click.echo(app.one_line(f"+++ {right.label}"))
        for path, old, new in found:
            click.echo(app.one_line(f"{path}: {_shown(old)} -> {_shown(new)}"))
    return DIFFERENT if found else SAME


def differences(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, value in ``a``, value in ``b`` for each leaf that differs; ``_ABSENT`` where there is none."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in dict.fromkeys((*a, *b)):
            below = f"{path}.{name}" if path else str(name)
            yield from differences(a.get(name, _ABSENT), b.get(name, _ABSENT), below)
    elif isinstance(a, list) and isinstance(b, list):
        left, right = _named(a, b)
        for name in dict.fromkeys((*left, *right)):
            yield from differences(left.get(name, _ABSENT), right.get(name, _ABSENT), f"{path}[{name}]")
    elif a != b or type(a) is not type(b):
        yield path, a, b


def _named(a: list[Any], b: list[Any]) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
    """The parts by a name of their own, so that one more in front does not move all; else by place."""
    if all(isinstance(part, dict) for part in (*a, *b)):
        for name in _NAMES:
            left, right = ([part.get(name) for part in parts] for parts in (a, b))
            if None not in (*left, *right) and len(set(left)) == len(left) and len(set(right)) == len(right):
                return dict(zip(left, a, strict=True)), dict(zip(right, b, strict=True))
    return dict(enumerate(a)), dict(enumerate(b))


def _plain(value: Any) -> Any:
    return None if value is _ABSENT else value


def _shown(value: Any) -> str:
    return "(absent)" if value is _ABSENT else json.dumps(value, ensure_ascii=False)


def _side(given: options.Options, word: str, vm_id: str | None) -> _Side:
    path = Path(word)
    if "/" in word or path.exists():
        return _Side(word, _facts(_read(given, path, vm_id)))
    history = kept.read(given, vm_id)
    match word:
        case "running":
            record = history.running
            why = "this host's agent has not started the VM, or it does not run here any more"
        case "pending":
            chosen = history.choice
            record, why = chosen.record if chosen else None, "nothing is kept yet"
        case "stored":
            record, why = _stored(given, history), "nothing is kept yet"
        case _:
            record, why = history.find(word), ""
    if record is None:
        raise NoSuchDefinition(word, f"{why} ({history.directory})")
    return _Side(_label(word, record), _facts(record.document))


def _stored(given: options.Options, history: kept.History) -> Record | None:
    """The agent knows it; the store may hold one again that came long ago."""
    try:
        status = client.call(given.socket, "status")
        store = status["definition"]["store"] if status["vm"]["id"] == history.vm_id else None
        problem = "" if store else "the OVF_STORE gives none now"
    except (HeAgentError, KeyError, TypeError):
        store, problem = None, "the agent cannot be asked what the OVF_STORE holds"
    if store is not None and (record := history.by_sha256(store["sha256"])) is not None:
        return record
    if history.records:
        number = history.records[-1].number
        app.complain(
            f"warning: {problem or 'what it holds is not kept'}: shown is definition {number}, the last"
        )
        return history.records[-1]
    return None


def _label(word: str, record: Record) -> str:
    name = f"definition {record.number} ({choice.generation(record)})"
    return name if word == str(record.number) else f"{word}: {name}"


def _read(given: options.Options, path: Path, vm_id: str | None) -> bytes:
    with ovf_file.opened(path) as opened:
        return opened.document_of(kept.vm_of(given, vm_id)) if opened.is_store else opened.document()


def _facts(data: bytes) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(facts.of(document.read(data))))
    return plain
