"""``simulate`` as its users run it: pictures, figures, documents and exit codes."""

import json
from pathlib import Path

import pytest

from ovirt_he_agent.__main__ import COMMANDS
from ovirt_he_agent.cli import app
from ovirt_he_agent.sim import picture, simulate
from ovirt_he_agent.sim.cluster import play, story

CRASH = "hosts 2\nat 150 vm crash\nat 150 must start within 2\nuntil 300\n"
BROKEN = "hosts 1\nat 100 load 1 0.5\nat 150 must not run\nuntil 160\n"


def run(tmp_path: Path, text: str, *options: str) -> int:
    file = tmp_path / "story"
    file.write_text(text)
    return app.run(COMMANDS, ["simulate", str(file), *options])


def test_a_story_is_told_with_picture_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, CRASH) == 0
    out = capsys.readouterr().out
    assert "150.0 s  host1    the VM crashes" in out
    assert "host1   " in out
    assert "150.0 s  1.0 s on host1              61.0 s  vm crash" in out
    picture_lines = [line for line in out.splitlines() if line.startswith(("host1 ", "host2 ", "engine "))]
    assert all(len(line) <= 80 for line in picture_lines)
    assert "\x1b" not in out


def test_a_directory_holds_a_story(tmp_path: Path) -> None:
    (tmp_path / "story").write_text(CRASH)
    assert app.run(COMMANDS, ["simulate", str(tmp_path), "--no-log"]) == 0


def test_what_broke_is_told_with_seed_shortest_story_and_traces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, BROKEN, "--seed", "4") == 1
    out = capsys.readouterr().out
    assert "must broken at 150.0 s on -: must not run" in out
    shortest = out.partition("the shortest story found")[2].splitlines()
    assert "(seed 4)" in shortest[0]
    assert [line.strip() for line in shortest[1:4]] == ["hosts 1 seed 4", "at 150 must not run", "until 160"]
    assert "host1 before it broke: running: " in out
    assert "yes  here: the VM is on this host" in out


def test_a_bad_story_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "hosts 1\nat 5 explode\n") == 2
    assert run(tmp_path, "hosts 1\nat 5 power 3 on\n") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "line 2 of the story, 'at 5 explode': unknown deed explode" in first
    assert "power 3 on: usage: power HOSTS on|off" in second


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--random", "story"],
        ["story", "--hosts", "3"],
        ["--random", "--hosts", "2", "--upstream", "3"],
        ["no-such-file"],
    ],
)
def test_what_does_not_go_together_is_usage(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "story").write_text(CRASH)
    monkeypatch.chdir(tmp_path)
    assert app.run(COMMANDS, ["simulate", *arguments]) == 2


def test_the_document_is_json_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, CRASH, "--json", "--runs", "2") == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["seed"], second["seed"]) == (0, 1)
    assert first["ok"] is True
    assert first["starts"][-1] == {"at_s": 151.0, "host": 1, "by": "ours"}
    assert first["failures"] == [
        {
            "at_s": 150.0,
            "deeds": ["vm crash"],
            "start_after_s": 1.0,
            "start_on": 1,
            "start_by": "ours",
            "outage_s": 61.0,
        }
    ]
    assert first["timeline"]["host1"][-1]["state"] == "running"
    assert first["decisions"]["host2"]["phase"] == "standby"


def test_random_runs_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--random", "--seed", "3", "--runs", "2", "--hosts", "2", "--hours", "0.2"]
    assert app.run(COMMANDS, ["simulate", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 3: 2 hosts")
    assert lines[2].startswith("2 runs, ")


def test_a_short_moment_is_seen_in_a_long_picture() -> None:
    outcome = play.play(story.parse("hosts 1\nat 3000 vm crash\nuntil 7200\n"))
    row = picture.draw(outcome).plain.splitlines()[0]
    assert "RSR" in row.replace("SS", "S")


def test_failures_that_come_together_are_one() -> None:
    outcome = play.play(
        story.parse("hosts 2\nat 150 load 2 0.2\nat 160 vm crash\nat 300 vm crash\nuntil 420\n")
    )
    rows = simulate.failures(outcome)
    assert [row.deeds for row in rows] == [("load 2 0.2", "vm crash"), ("vm crash",)]
    assert rows[0].start_after_s == 11.0
