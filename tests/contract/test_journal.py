"""Log records on stderr, and in a real journal."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import pytest

from ovirt_he_agent.adapters import journal

SAY = """
import logging
from ovirt_he_agent.adapters import journal

journal.set_up("info")
log = logging.getLogger("ovirt_he_agent.somewhere")
log.debug("not shown")
log.info("state %s -> %s", "down", "up", extra={"HE_STATE": "EngineUp", "HE_SCORE": 3400})
try:
    raise ValueError("no number")
except ValueError:
    log.exception("it failed", extra={"HE_VM_ID": "a b"})
"""

# What systemd does for a service: stderr is a stream to journald, JOURNAL_STREAM says which.
CONNECTED = """
import os
there = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{there.st_dev}:{there.st_ino}"
"""

# A private journald on a private /run; it ends with the name space's shell.
IN_PRIVATE_JOURNAL = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/log/journal
/lib/systemd/systemd-journald &
journald=$!
trap 'kill $journald' EXIT
tries=0
until [ -S /run/systemd/journal/stdout ]; do tries=$((tries + 1)); [ $tries -lt 200 ]; sleep 0.02; done
systemd-cat "$@"
tries=0
until journalctl -q -D /run/log/journal -o json --output-fields=MESSAGE "MESSAGE=the end" | grep -q .; do
    tries=$((tries + 1)); [ $tries -lt 200 ]; sleep 0.02
done
journalctl -q -D /run/log/journal -o json "_EXE=$(readlink -f "$1")"
"""


def formatted(message: str, *arguments: object, extra: Mapping[str, Any] | None = None) -> str:
    record = logging.getLogger("x").makeRecord(
        "x", logging.INFO, "file", 1, message, arguments, None, extra=dict(extra or {})
    )
    return journal.FieldsFormatter("%(levelname)s %(name)s: %(message)s").format(record)


def test_a_record_without_facts_is_its_text() -> None:
    assert formatted("state %s", "up") == "INFO x: state up"


def test_facts_follow_the_text_as_key_and_value() -> None:
    extra = {"HE_STATE": "EngineUp", "HE_SCORE": 3400, "other": "not a fact"}
    assert formatted("hello", extra=extra) == "INFO x: hello HE_SCORE=3400 HE_STATE=EngineUp"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a b", '"a b"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("two\nlines", '"two\\nlines"'),
        ("\x1b[2J", '"\\u001b[2J"'),
        (None, "None"),
        (1.5, "1.5"),
    ],
)
def test_a_value_that_could_be_misread_is_quoted(value: object, shown: str) -> None:
    assert formatted("m", extra={"HE_X": value}) == f"INFO x: m HE_X={shown}"


def test_a_text_of_several_lines_is_one_line() -> None:
    assert formatted("one\ntwo", extra={"HE_X": 1}) == "INFO x: one\\ntwo HE_X=1"


def test_stderr_gets_lines_and_a_traceback_after_its_line() -> None:
    done = subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, timeout=30)
    lines = done.stderr.splitlines()
    assert lines[0].endswith(
        " INFO ovirt_he_agent.somewhere: state down -> up HE_SCORE=3400 HE_STATE=EngineUp"
    )
    assert lines[1].endswith(' ERROR ovirt_he_agent.somewhere: it failed HE_VM_ID="a b"')
    assert (lines[2], lines[-1]) == ("Traceback (most recent call last):", "ValueError: no number")
    assert done.stdout == ""


@pytest.mark.parametrize("stream", ["1:2", "", "nonsense"])
def test_a_journal_that_is_not_ours_gets_nothing(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", stream)
    assert type(journal.handler()) is logging.StreamHandler


@pytest.mark.real("systemd")
def test_the_journal_is_used_if_stderr_is_connected_to_it() -> None:
    import systemd.journal

    with tempfile.TemporaryFile() as stream:
        there = os.fstat(stream.fileno())
        show = "from ovirt_he_agent.adapters import journal; print(type(journal.handler()).__name__)"
        done = subprocess.run(
            [sys.executable, "-c", show],
            env=os.environ | {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"},
            stderr=stream,
            stdout=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert done.stdout.strip() == systemd.journal.JournalHandler.__name__


def test_without_the_binding_records_go_to_stderr() -> None:
    hide = "import sys; sys.modules['systemd'] = None"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join((hide, CONNECTED, SAY))], capture_output=True, text=True, timeout=30
    )
    assert "state down -> up HE_SCORE=3400" in done.stderr


@pytest.mark.real("systemd")
def test_facts_are_fields_of_a_real_journal() -> None:
    own = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urmf"]
    program = CONNECTED + SAY + 'log.info("the end")\n'
    done = subprocess.run(
        [*own, "sh", "-c", IN_PRIVATE_JOURNAL, "sh", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    first, second, _ = [e for e in entries if e.get("SYSLOG_IDENTIFIER") == "ovirt-he-agent"]
    assert first["MESSAGE"] == "state down -> up"
    assert (first["HE_STATE"], first["HE_SCORE"], first["PRIORITY"]) == ("EngineUp", "3400", "6")
    assert first["LOGGER"] == "ovirt_he_agent.somewhere"
    assert second["MESSAGE"].startswith("it failed\nTraceback")
    assert (second["HE_VM_ID"], second["PRIORITY"]) == ("a b", "3")
