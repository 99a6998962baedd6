"""The directions of imports, and what pure means. docs/architecture.md has the table.

A *unit* is a module or package directly below ``ovirt_he_agent``, or below its
``adapters``; inside a unit everything may import everything.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = "ovirt_he_agent"

PURE = {"core", "ovf", "wire"}
BASE = {"config", "errors", "blocking", "directio", "atomic_file"}
EDGES = {"adapters.*", "control"}
INSIDE = PURE | BASE | EDGES | {"agent"}

# unit -> what it may import of ours, besides itself and the version in __init__
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "atomic_file": {"errors"},
    "blocking": {"errors"},
    "config": {"errors"},
    "directio": {"errors"},
    "core": {"errors", "ovf.vmspec"},
    "ovf": {"errors"},
    "wire": {"errors"},
    "adapters": set(),
    "adapters.*": PURE | BASE,
    "agent": PURE | BASE,
    "control": PURE | BASE,
    "daemon": INSIDE,
    "cli": INSIDE,
    "sim": INSIDE,
    "__main__": INSIDE | {"daemon", "cli", "sim"},
}

# Bindings that only the distribution has: one importer each.
BINDINGS = {
    "sanlock": {"adapters.leases"},
    "systemd.daemon": {"adapters.systemd"},
    "systemd.journal": {"adapters.journal"},
}

# What a pure package may import besides ours: the standard library without these ...
PURE_MODULES = sys.stdlib_module_names - {
    *("asyncio", "concurrent", "ctypes", "fcntl", "glob", "http", "importlib", "logging", "mmap"),
    *("multiprocessing", "os", "random", "secrets", "select", "selectors", "shutil", "signal"),
    *("socket", "socketserver", "ssl", "subprocess", "tempfile", "threading", "time", "urllib"),
}
PURE_LIBRARIES = {"ovf": {"lxml"}}  # ... and these

# A path is only a name there, and who needs a file's content, a time or a number at random is given it.
IMPURE_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}
IMPURE_ATTRIBUTES = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "open", "touch", "unlink", "mkdir", "rename"),
    *("exists", "is_file", "is_dir", "is_block_device", "stat", "lstat", "iterdir", "glob", "rglob"),
    *("resolve", "absolute", "expanduser", "cwd", "home", "symlink_to", "readlink"),
    *("now", "today", "utcnow", "uuid1", "uuid4"),
}


def unit_of(module: str) -> str:
    """ovirt_he_agent.adapters.vdsm.verbs -> adapters.vdsm; ovirt_he_agent itself -> __init__."""
    words = module.split(".")[1:]
    if not words:
        return "__init__"
    return ".".join(words[:2]) if words[0] == "adapters" else words[0]


def rule_of(unit: str) -> set[str] | None:
    return ALLOWED.get("adapters.*" if unit.startswith("adapters.") else unit)


def matches(module: str, allowed: set[str]) -> bool:
    below = module.removeprefix(f"{OURS}.")
    return any(
        below == word or below.startswith(f"{word.removesuffix('*').rstrip('.')}.") for word in allowed
    )


def imported(tree: ast.AST, known: set[str]) -> Iterator[tuple[int, str]]:
    """(line, absolute name of a module), wherever in the file it is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            for alias in node.names:
                # "from package import module" means the module, if it is one
                below = f"{origin}.{alias.name}"
                yield node.lineno, below if below in known or node.module == "systemd" else origin


def wrong_imports(module: str, tree: ast.AST, known: set[str]) -> Iterator[str]:
    unit = unit_of(module)
    allowed = rule_of(unit)
    if allowed is None:
        yield f"{module}: nothing says what {unit} may import: give it a row in docs/architecture.md and here"
        return
    for line, name in imported(tree, known):
        top = name.split(".")[0]
        if name.startswith("."):
            yield f"{module}:{line}: relative import {name}"
        elif top == OURS:
            if name != OURS and unit_of(name) != unit and not matches(name, allowed):
                yield f"{module}:{line}: {unit} must not import {name}"
        elif unit in PURE and top not in PURE_MODULES | PURE_LIBRARIES.get(unit, set()):
            yield f"{module}:{line}: {unit} is pure and must not import {name}"
        for binding, importers in BINDINGS.items():
            if (name == binding or name.startswith(f"{binding}.")) and unit not in importers:
                yield f"{module}:{line}: only {', '.join(importers)} may import {name}"


def wrong_calls(module: str, tree: ast.AST) -> Iterator[str]:
    if unit_of(module) not in PURE:
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in IMPURE_CALLS:
                yield f"{module}:{node.lineno}: pure, but calls {name}()"
            case ast.Attribute(attr=name) if name in IMPURE_ATTRIBUTES:
                yield f"{module}:{node.lineno}: pure, but calls .{name}()"


def violations(sources: Mapping[str, str]) -> list[str]:
    """What is wrong in these modules (name -> source)."""
    known = set(sources)
    found: list[str] = []
    for module, source in sources.items():
        tree = ast.parse(source)
        found += wrong_imports(module, tree, known)
        found += wrong_calls(module, tree)
    return found


def module_name(path: Path) -> str:
    words = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


def test_every_import_goes_in_an_allowed_direction() -> None:
    sources = {module_name(p): p.read_text() for p in sorted((ROOT / OURS).rglob("*.py"))}
    assert OURS in sources
    wrong = violations(sources)
    assert not wrong, "\n".join(wrong)


def test_no_rule_reads_the_words() -> None:
    for path in sorted((ROOT / OURS / "core").rglob("*.py")):
        if path.parent.name != "words":
            assert "core.words" not in path.read_text(), path.name


KNOWN = {
    f"{OURS}.{name}": ""
    for name in (
        *("core", "ovf", "wire", "adapters", "control", "cli", "sim"),
        *("core.model", "ovf.vmspec", "ovf.archive", "wire.stomp", "errors", "config", "blocking"),
        *("adapters.leases", "adapters.vdsm.verbs", "adapters.vdsm.connection"),
        *("agent", "control.server", "daemon", "cli.app", "sim.vdsm"),
    )
}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.x", "from ovirt_he_agent.ovf import vmspec"),
        ("core.x", "from ovirt_he_agent.errors import BadInput"),
        ("core.x", "import datetime, uuid; from pathlib import Path"),
        ("ovf.x", "from lxml import etree"),
        ("ovf.x", "import io; io.BytesIO()"),
        ("adapters.vdsm.x", "from ovirt_he_agent.adapters.vdsm import verbs"),
        ("adapters.x", "from ovirt_he_agent.wire import stomp; from ovirt_he_agent import config, blocking"),
        ("agent", "from ovirt_he_agent.core import model"),
        ("daemon", "from ovirt_he_agent.adapters import leases; from ovirt_he_agent import agent"),
        ("cli.x", "from ovirt_he_agent.adapters.vdsm import verbs; from ovirt_he_agent import __version__"),
        ("sim.x", "from ovirt_he_agent import agent"),
        ("__main__", "from ovirt_he_agent import daemon; from ovirt_he_agent.cli import app"),
        ("adapters.journal", "from systemd import journal"),
    ],
)
def test_an_allowed_import_is_accepted(module: str, source: str) -> None:
    assert violations(KNOWN | {f"{OURS}.{module}": source}) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.x", "from ovirt_he_agent.ovf import archive"),
        ("core.x", "from ovirt_he_agent import ovf"),
        ("core.x", "from ovirt_he_agent import config"),
        ("core.x", "def f():\n import os"),
        ("core.x", "import aiohttp"),
        ("core.x", "import os.path"),
        ("core.x", "from lxml import etree"),
        ("core.x", "open('x')"),
        ("core.x", "datetime.datetime.now()"),
        ("ovf.x", "from ovirt_he_agent.core import model"),
        ("ovf.x", "path.read_bytes()"),
        ("core.x", "path.exists()"),
        ("wire.x", "import uuid; uuid.uuid4()"),
        ("wire.x", "from . import stomp"),
        ("errors", "from ovirt_he_agent import config"),
        ("config", "from ovirt_he_agent import blocking"),
        ("adapters.x", "from ovirt_he_agent.adapters import leases"),
        ("adapters.x", "import ovirt_he_agent.adapters.vdsm.verbs"),
        ("adapters.x", "from ovirt_he_agent import agent"),
        ("adapters.x", "from ovirt_he_agent.control import server"),
        ("agent", "from ovirt_he_agent.adapters import leases"),
        ("agent", "from ovirt_he_agent.control import server"),
        ("control.x", "from ovirt_he_agent import agent"),
        ("daemon", "from ovirt_he_agent.cli import app"),
        ("cli.x", "from ovirt_he_agent import daemon"),
        ("cli.x", "from ovirt_he_agent.sim import vdsm"),
        ("sim.x", "from ovirt_he_agent.daemon import main"),
        ("sim.x", "from ovirt_he_agent.cli import app"),
        ("sim.x", "import sanlock"),
        ("agent", "import systemd.daemon"),
        ("agent", "from systemd import journal"),
        ("newcomer", ""),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(violations(KNOWN | {f"{OURS}.{module}": source})) == 1


def test_vdsm_plugins_import_the_standard_library_and_themselves_only() -> None:
    plugins = ROOT / "vdsm_plugins"
    files = [*plugins.rglob("*.py"), *(plugins / "after_get_stats").iterdir()]
    assert len(files) >= 4
    for path in files:
        for line, name in imported(ast.parse(path.read_text()), set()):
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names | {"ovirt_hosted_engine_ha"}, f"{path}:{line}: {name}"
