"""agent.conf: the weights of the score, and what is wrong with them."""

import contextlib
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent import config
from ovirt_he_agent.adapters import agent_conf
from ovirt_he_agent.core import score
from ovirt_he_agent.errors import NotConfigured

SHIPPED = """\
[score]
# the same on every host
base-score=3400
network-score-penalty=1600
not-uptodate-config-penalty=1000
mgmt-bridge-score-penalty=600
free-memory-score-penalty=400
cpu-load-score-penalty=1000
engine-retry-score-penalty=50
cpu-load-penalty-min=0.4
cpu-load-penalty-max=0.9
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.conf"


def load(path: Path, text: str) -> score.Weights:
    path.write_text(text)
    return agent_conf.load(path)


def test_it_lies_where_upstream_has_it() -> None:
    assert config.Paths().agent_conf == Path("/etc/ovirt-hosted-engine-ha/agent.conf")


def test_the_file_as_it_is_shipped_says_the_defaults(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(path, SHIPPED) == score.Weights()
    assert caplog.records == []


def test_every_key_has_its_effect(path: Path) -> None:
    lines = [line.partition("=") for line in SHIPPED.splitlines() if "=" in line]
    assert len(lines) == 9
    seen = {
        load(path, f"[score]\n{key}={float(value) + 1 if '.' in value else int(value) + 1}\n")
        for key, _, value in lines
    }
    assert len(seen | {score.Weights()}) == 10


@pytest.mark.parametrize("text", ["", "[score]\n", "[other]\nbase-score=1\n"])
def test_what_is_not_named_has_its_default(path: Path, text: str) -> None:
    assert load(path, text) == score.Weights()


def test_no_file_is_no_trouble(path: Path) -> None:
    assert agent_conf.load(path) == score.Weights()


def test_an_unknown_key_is_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        weights = load(path, "[score]\nnetwork-score-penality=1\nnetwork_score_penalty=2\nbase-score=3000\n")
    assert weights == score.Weights(base_score=3000)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: [score] network-score-penality is not known and has no effect",
        f"{path}: [score] network_score_penalty is not known and has no effect",
    ]


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("base-score", "a lot", "a whole number"),
        ("base-score", "", "a whole number"),
        ("base-score", "3400.0", "a whole number"),
        ("free-memory-score-penalty", "400 # less", "a whole number"),
        ("cpu-load-penalty-min", "40%%", "a number like 0.4"),
        ("cpu-load-penalty-max", "nan", "a number like 0.4"),
        ("cpu-load-penalty-max", "inf", "a number like 0.4"),
    ],
)
def test_a_bad_number_names_file_key_and_value(path: Path, key: str, value: str, allowed: str) -> None:
    with pytest.raises(agent_conf.BadWeight) as caught:
        load(path, f"[score]\n{key}={value}\n")
    assert isinstance(caught.value, NotConfigured)
    shown = value.replace("%%", "%")
    assert str(caught.value).startswith(f"{path}: {key} is {shown!r}, allowed is {allowed}; ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"base-score=1\n", "no section headers"),
        (b"[score]\nbase-score=1\nbase-score=2\n", "already exists"),
        (b"[score]\nbase-score\n", "parsing errors"),
        (b"[score]\nbase-score=%(x)s\n", "interpolation"),
        (b"[score]\n\xff\n", "byte 8 is not UTF-8 text"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(agent_conf.AgentConfDamaged) as caught:
        agent_conf.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert reason in text
    assert "\n" not in text


def test_a_file_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    with pytest.raises(agent_conf.AgentConfDamaged, match="cannot be read: Is a directory"):
        agent_conf.load(tmp_path)


@given(st.binary(max_size=200))
def test_no_content_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-agent.conf"
    path.write_bytes(b"[score]\n" + content)
    with contextlib.suppress(agent_conf.AgentConfDamaged, agent_conf.BadWeight):
        agent_conf.load(path)
