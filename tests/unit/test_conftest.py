"""The checks that every test runs under, tried on tests that break their rules."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(tmp_path: Path, body: str, **environ: str) -> str:
    """Output of a pytest run, with our conftest, of a file with this body."""
    (tmp_path / "test_scratch.py").write_text(
        "import asyncio, subprocess, threading, time, pytest\n" + textwrap.dedent(body)
    )
    arguments = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml", "--rootdir", "."]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, str(tmp_path / "test_scratch.py")],
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=50,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_test_that_breaks_the_rules_fails_by_name_and_its_neighbours_do_not(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        async def test_task():
            loop = asyncio.get_running_loop()
            loop.keep = loop.create_task(asyncio.sleep(60), name="idler")
        def test_thread():
            threading.Thread(target=time.sleep, args=(3,), daemon=True, name="dozer").start()
        def test_orphan():
            subprocess.run("sleep 61 & disown", shell=True, executable="/bin/bash")
        def test_unclosed():
            open("/dev/null")
        @pytest.mark.real("opensl")
        def test_misspelt(): pass
        def test_tidy():
            subprocess.run(["true"])
        """,
        LEFTOVER_GRACE_S="0.2",
    )
    assert "1 failed, 4 passed, 4 errors" in out
    for error in ("idler", "dozer", "sleep 61", "ResourceWarning", "no real part is called 'opensl'"):
        assert error in out
    assert "of test_tidy" not in out


REAL = """
    @pytest.mark.real("openssl")
    def test_missing(): pass
    @pytest.mark.real("direct-io")
    def test_real(): pass
    def test_plain(): pass
    """


@pytest.mark.real("direct-io")
def test_a_missing_real_part_skips_with_the_reason_and_the_others_are_counted(tmp_path: Path) -> None:
    out = run(tmp_path, REAL, PATH=str(tmp_path), REQUIRE_REAL="")
    assert "2 passed, 1 skipped" in out
    assert "not on this machine: openssl (script/bootstrap installs it)" in out
    assert "tests that ran on real parts: 1\n" in out


@pytest.mark.real("direct-io")
def test_a_missing_real_part_fails_when_real_parts_are_required(tmp_path: Path) -> None:
    assert "2 passed, 1 error" in run(tmp_path, REAL, PATH=str(tmp_path), REQUIRE_REAL="1")
