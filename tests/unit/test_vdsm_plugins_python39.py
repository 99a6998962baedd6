"""What VDSM runs must be good for Python 3.9 (EL9) without anything installed.

ruff (target py39) has a say, too; on a real 3.9 it runs before a release.
"""

import ast
import subprocess
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "vdsm_plugins"
HOOK = PLUGINS / "after_get_stats" / "50_ovirt_he_agent"
FILES = [HOOK, *sorted(PLUGINS.rglob("*.py"))]
SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PLUGINS)))
def test_the_syntax_is_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(), filename=str(path), feature_version=(3, 9))


def run(code: str) -> str:
    done = subprocess.run(
        [SYSTEM_PYTHON, "-I", "-S", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_importing_the_client_changes_nothing_in_vdsm() -> None:
    out = run(
        f"""
import logging, os, signal, socket, sys, threading
sys.path.insert(0, {str(PLUGINS)!r})
def state():
    root = logging.getLogger()
    return (list(root.handlers), root.level, root.manager.disable, logging.getLoggerClass(),
            threading.active_count(), socket.getdefaulttimeout(), signal.getsignal(signal.SIGPIPE),
            dict(os.environ), sorted(os.listdir("/proc/self/fd")))
before = state()
from ovirt_hosted_engine_ha.client import client
client.HAClient()
assert state() == before
print(sorted(m for m in sys.modules if m.split(".")[0] not in sys.stdlib_module_names and m != "__main__"))
"""
    )
    assert out.split() == [
        "['ovirt_hosted_engine_ha',",
        "'ovirt_hosted_engine_ha.client',",
        "'ovirt_hosted_engine_ha.client.client']",
    ]


def test_the_hook_is_executable_and_isolated() -> None:
    assert HOOK.stat().st_mode & 0o555 == 0o555
    shebang = HOOK.read_text().splitlines()[0]
    assert shebang == f"#!{SYSTEM_PYTHON} -IS"  # -I: VDSM hands its PYTHONPATH to hooks
