"""A mutation is one deliberate fault, and who must notice it: values, and how to run one in this process.

The fault is an exact piece of a module's source and what stands there instead. Whatever
it breaks must be flagged by a story played in the simulated cluster (``stories``) or by
an assertion on the whiteboard's bytes (``codec``). Nothing of the package is imported here:
a process puts the fault in first, and then imports.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[2]
PACKAGE = "ovirt_he_agent"
CRASH = "crash"
"""In place of an invariant: the simulation itself ends with an exception."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """``module`` is below the package, with dots; ``old`` stands there exactly once."""

    name: str
    breaks: str
    """In words, what a host does with it."""
    module: str
    old: str
    new: str
    witness: str
    """Name of a story, or of an assertion in ``codec``."""
    flagged: str = ""
    """The invariant, or the story's line beginning with ``must``; empty with an assertion."""

    @property
    def path(self) -> Path:
        return ROOT.joinpath(PACKAGE, *self.module.split(".")).with_suffix(".py")

    def mutated(self) -> str:
        """The module's source with the fault. Raises ``StaleMutation``."""
        source = self.path.read_text()
        if (count := source.count(self.old)) != 1:
            raise StaleMutation(
                f"{self.name}: {self.old!r} stands {count} times in {self.path.name}, not once"
            )
        return source.replace(self.old, self.new)


class StaleMutation(Exception):
    """The list does not fit the code any more: write the mutation anew."""


@dataclass(frozen=True, slots=True)
class Flag:
    """What was found: an invariant and its text, or ``must`` and the line."""

    invariant: str
    text: str

    def is_meant(self, flagged: str) -> bool:
        return flagged in (self.invariant, self.text)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, mutation: Mutation) -> None:
        super().__init__(fullname, str(mutation.path))
        self._mutation = mutation

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self._mutation.mutated(), self.path, "exec", dont_inherit=True)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation
        self._name = f"{PACKAGE}.{mutation.module}"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, self._mutation)
        return importlib.util.spec_from_file_location(fullname, loader.path, loader=loader)


def put_in(mutation: Mutation) -> None:
    """From now on the module is imported with the fault; nothing of the package may be imported yet."""
    if found := [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        raise RuntimeError(f"imported already: {', '.join(found)}")
    sys.meta_path.insert(0, _Finder(mutation))
