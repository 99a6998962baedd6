"""The linters are tests: what they say is the failure."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOOK = "vdsm_plugins/after_get_stats/50_ovirt_he_agent"
SCRIPTS = ("script/bootstrap", "script/demo", "script/test", ".ci/run")


def check(*command: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=280, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


def python_module(*words: str) -> None:
    check(sys.executable, "-m", *words)


def test_ruff_finds_nothing() -> None:
    python_module("ruff", "check", ".")


def test_the_code_is_formatted() -> None:
    python_module("ruff", "format", "--diff", ".")


@pytest.mark.timeout(300)  # without its cache
def test_mypy_finds_nothing() -> None:
    python_module("mypy")


def test_ruff_finds_nothing_in_vdsm_plugins() -> None:
    python_module("ruff", "check", "--config", "vdsm_plugins/ruff.toml", "vdsm_plugins", HOOK)


def test_vdsm_plugins_are_formatted() -> None:
    python_module("ruff", "format", "--diff", "--config", "vdsm_plugins/ruff.toml", "vdsm_plugins", HOOK)


@pytest.mark.timeout(300)
def test_mypy_finds_nothing_in_vdsm_plugins() -> None:
    package = "vdsm_plugins/ovirt_hosted_engine_ha"
    python_module("mypy", "--config-file", "vdsm_plugins/mypy.ini", package)
    python_module("mypy", "--config-file", "vdsm_plugins/mypy.ini", HOOK)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_shell_accepts(script: str) -> None:
    check("/bin/sh", "-n", script)
    assert (ROOT / script).stat().st_mode & 0o111 == 0o111
