"""What the agent has kept of definitions, for people: read from its files, whether it runs or not."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import click

from ovirt_he_agent.adapters import definition_history, hosted_engine_conf
from ovirt_he_agent.cli import app, options
from ovirt_he_agent.core.definitions import choice
from ovirt_he_agent.core.definitions.record import Record, Request
from ovirt_he_agent.errors import BadInput, NotConfigured

vm_option = click.option(
    "--vm", "vm_id", type=options.Uuid(), help="The VM; this host's engine VM if not given."
)

_PREFIX = re.compile(r"[0-9a-f]{4,64}")


@dataclass(eq=False)
class NotKept(BadInput):
    """There is no such definition, or several."""

    what: str
    directory: Path
    reason: str
    msg: ClassVar[str] = (
        "definition {self.what}: {self.reason} in {self.directory}; `ovirt-he-agent ovf history` lists them"
    )


@dataclass(frozen=True, slots=True)
class History:
    """One VM's, as its files are now."""

    vm_id: str
    directory: Path
    kept: definition_history.Kept
    request: Request | None
    """An operator's request that the agent has not taken into account yet."""

    @property
    def records(self) -> tuple[Record, ...]:
        """Oldest first."""
        return tuple(sorted(self.kept.records, key=lambda r: r.number))

    @property
    def choice(self) -> choice.Choice | None:
        """For the next start, as far as the files tell: the store is not read here."""
        return choice.choose(self.kept.records, self.kept.standing.head, None, None)

    @property
    def running(self) -> Record | None:
        life = self.kept.standing.life
        return None if life is None else self.by_sha256(life.sha256)

    def by_sha256(self, sha256: str) -> Record | None:
        return next((r for r in self.kept.records if r.sha256 == sha256), None)

    def find(self, word: str) -> Record:
        """By number, or by the beginning of the hash. Raises ``NotKept``."""
        found = [r for r in self.records if str(r.number) == word]
        if not found and _PREFIX.fullmatch(word.lower()):
            found = [r for r in self.records if r.sha256.startswith(word.lower())]
        if len(found) == 1:
            return found[0]
        reason = "several begin so" if found else "there is none"
        raise NotKept(word, self.directory, reason)


def vm_of(given: options.Options, vm_id: str | None) -> str:
    """The VM that is meant: the one given, or this host's. Raises ``NotConfigured``."""
    return vm_id or hosted_engine_conf.load(given.paths.hosted_engine_conf).vm_id


def read(given: options.Options, vm_id: str | None) -> History:
    """Raises ``HistoryFailed``, and ``NotConfigured`` if it is unclear which VM is meant."""
    try:
        vm_id = vm_of(given, vm_id)
    except NotConfigured:
        only = _directories(given.paths.state_dir / definition_history.DIRECTORY)
        if len(only) != 1:
            raise
        vm_id = only[0]
    directory = definition_history.directory_of(given.paths.state_dir, vm_id)
    kept = definition_history.read(directory)
    request, problem = definition_history.read_request(directory)
    for text in (*kept.skipped, *((problem,) if problem else ())):
        app.complain(text)
    if request is not None and request.id == kept.standing.request_id:
        request = None
    return History(vm_id, directory, kept, request)


def _directories(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
