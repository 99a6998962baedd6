"""The unit file as systemd's own checker and an administrator read it."""

import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "ovirt-he-agent.service"
PROGRAM = "/usr/bin/ovirt-he-agent"


def verify(tmp_path: Path, text: str) -> str:
    """What systemd-analyze says of this unit, its program being one that every machine has."""
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "SYSTEMD_LOG_COLOR": "0"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    # it exits with 0 on an unknown key, so what counts is what it says, of this unit
    return "".join(line for line in done.stderr.splitlines(True) if UNIT.name in line)


@pytest.mark.real("systemd")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    assert verify(tmp_path, UNIT.read_text()) == ""


@pytest.mark.real("systemd")
def test_a_misspelt_key_would_be_noticed(tmp_path: Path) -> None:
    said = verify(tmp_path, UNIT.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "Unknown key" in said


def test_the_unit_orders_itself_after_vdsm_and_never_pulls_it_in() -> None:
    lines = [line.partition("=") for line in UNIT.read_text().splitlines()]
    said = {key: value.split() for key, equals, value in lines if equals and not key.startswith("#")}
    assert "vdsmd.service" in said["After"]
    assert not {"Wants", "Requires", "Requisite", "BindsTo", "PartOf", "Upholds"} & set(said)
    assert said["Conflicts"] == ["ovirt-ha-agent.service", "ovirt-ha-broker.service"]
    assert said["ExecStart"] == [PROGRAM, "run"]
