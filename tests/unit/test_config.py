"""Our configuration: every value checked, every message names file, option, value and what is allowed."""

import json
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent import config
from ovirt_he_agent.cli import config as config_command
from ovirt_he_agent.cli import options
from ovirt_he_agent.errors import ExitCode, NotConfigured

SHIPPED = Path(__file__).parents[2] / "etc" / "ovirt-he-agent.yaml"


@pytest.fixture
def paths(tmp_path: Path) -> config.Paths:
    return config.Paths(root=tmp_path)


def write(paths: config.Paths, text: str, drop_in: str = "") -> Path:
    file = paths.drop_in_dir / drop_in if drop_in else paths.config_file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


# The shipped file


def test_the_shipped_file_changes_nothing_as_it_is(paths: config.Paths) -> None:
    write(paths, SHIPPED.read_text())
    loaded = config.load(paths)
    assert config.as_dict(loaded) == config.as_dict(config.load(config.Paths(root=paths.root), None))
    assert loaded.vdsm.port == config.Vdsm().port
    assert loaded.warnings == ()


def test_the_shipped_file_names_every_option_and_its_default(paths: config.Paths) -> None:
    uncommented = re.sub(r"^  #(\w+:)", r"  \1", SHIPPED.read_text(), flags=re.MULTILINE)
    assert yaml.safe_load(uncommented) == config.as_dict(config.Config())
    write(paths, uncommented)
    loaded = config.load(paths)
    assert loaded.warnings == ()
    assert config.as_dict(loaded) == config.as_dict(config.Config())


def test_every_seconds_option_says_so() -> None:
    for section in config.SECTIONS:
        for option in fields(getattr(config.Config(), section)):
            if re.search("timeout|period|interval|delay", option.name):
                assert option.name.endswith("_s")


# Files


def test_no_file_means_defaults_below_the_root(paths: config.Paths) -> None:
    loaded = config.load(paths)
    assert loaded.files == ()
    assert loaded.vdsm.port == 54321
    assert loaded.vdsm.key_file == paths.root / "etc/pki/vdsm/keys/vdsmkey.pem"
    assert loaded.control.socket_mode == 0o666
    url = loaded.engine.health_url.format(fqdn="e.example.org")
    assert url == "http://e.example.org/ovirt-engine/services/health"


def test_a_group_may_change_something_only_if_one_is_named(paths: config.Paths) -> None:
    assert config.load(paths).control.group is None
    write(paths, "control: {group: he-operators}\n")
    assert config.load(paths).control.group == "he-operators"
    for wrong in ("''", "a b", "[wheel]", "10"):
        write(paths, f"control: {{group: {wrong}}}\n")
        with pytest.raises(config.BadOption, match=r"control\.group is .*null or the name of a group"):
            config.load(paths)


def test_drop_ins_are_read_by_name_after_the_main_file(paths: config.Paths) -> None:
    main = write(paths, "vdsm: {port: 1, host: main.example.org}\n")
    last = write(paths, "vdsm:\n  port: 3\n", "20-b.yaml")
    first = write(paths, "vdsm: {port: 2}\nlogging: {level: debug}\n", "10-z.yaml")
    write(paths, "vdsm: {port: 99}\n", ".hidden.yaml")
    write(paths, "vdsm: {port: 98}\n", "30-c.yaml.rpmsave")
    loaded = config.load(paths)
    assert loaded.files == (main, first, last)
    assert (loaded.vdsm.port, loaded.vdsm.host, loaded.logging.level) == (3, "main.example.org", "debug")


def test_a_file_of_ones_choice_stands_alone(paths: config.Paths, tmp_path: Path) -> None:
    write(paths, "vdsm: {port: 1}\n")
    write(paths, "vdsm: {port: 2}\n", "a.yaml")
    chosen = tmp_path / "chosen.yaml"
    chosen.write_text("logging: {level: error}\n")
    loaded = config.load(paths, chosen)
    assert (loaded.files, loaded.vdsm.port, loaded.logging.level) == ((chosen,), 54321, "error")


def test_a_named_path_is_taken_as_it_is_written(paths: config.Paths) -> None:
    write(paths, "vdsm: {key_file: /elsewhere/key.pem}\n")
    vdsm = config.load(paths).vdsm
    assert vdsm.key_file == Path("/elsewhere/key.pem")
    assert vdsm.ca_file == paths.root / "etc/pki/vdsm/certs/cacert.pem"


def test_an_unknown_option_or_section_is_a_warning_that_names_the_file(paths: config.Paths) -> None:
    file = write(paths, "vdsm: {prot: 1, port: 5}\nvsdm: {port: 2}\n3: {}\n")
    loaded = config.load(paths)
    assert loaded.vdsm.port == 5
    assert len(loaded.warnings) == 3
    assert loaded.warnings[0].startswith(f"{file}: unknown option vdsm.prot ignored; known are host, port")
    assert loaded.warnings[1].startswith(f"{file}: unknown section vsdm ignored; known are vdsm, engine")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("vdsm: [\n", "line 2: "),
        ("vdsm: {port: 1}\nvdsm: {port: 2}\n", "line 2: vdsm is there twice"),
        ("vdsm:\n  port: 1\n  port: 2\n", "line 3: port is there twice"),
        ("vdsm: !!python/object:os.system {}\n", "line 1: could not determine a constructor"),
        ("just words\n", "holds no sections but 'just words'"),
        ("- vdsm\n", "holds no sections but ['vdsm']"),
        ("a: \x07\n", "is no YAML: "),
        ("? [a]\n: b\n", "line 1: found unhashable key"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(paths: config.Paths, text: str, reason: str) -> None:
    file = write(paths, text)
    with pytest.raises(config.BadFile) as caught:
        config.load(paths)
    assert str(caught.value).startswith(f"{file}: {reason}")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code is ExitCode.NOT_CONFIGURED


def test_a_file_that_is_no_text_is_refused(paths: config.Paths) -> None:
    write(paths, "").write_bytes(b"logging: \xff\n")
    with pytest.raises(config.BadFile, match=r"yaml: is no UTF-8 text \(byte 9\)"):
        config.load(paths)


def test_what_cannot_be_read_is_refused(paths: config.Paths, tmp_path: Path) -> None:
    with pytest.raises(config.BadFile, match=r"/absent: cannot be read: No such file"):
        config.load(paths, tmp_path / "absent")
    paths.etc_dir.mkdir(parents=True)
    paths.drop_in_dir.write_text("")
    with pytest.raises(config.BadFile, match=r"ovirt-he-agent.d: cannot be listed: Not a directory"):
        config.load(paths)
    paths.drop_in_dir.unlink()
    paths.config_file.symlink_to("nowhere")
    with pytest.raises(config.BadFile, match=r"yaml: cannot be read: No such file"):
        config.load(paths)


# Values

WRONG = [
    ("vdsm.host", "", "a host name or an address"),
    ("vdsm.host", "a b", "a host name or an address"),
    ("vdsm.host", "tcp://x", "a host name or an address"),
    ("vdsm.host", 7, "a host name or an address"),
    ("vdsm.port", 0, "a whole number from 1 to 65535"),
    ("vdsm.port", 65536, "a whole number from 1 to 65535"),
    ("vdsm.port", "54321", "a whole number from 1 to 65535"),
    ("vdsm.port", True, "a whole number from 1 to 65535"),
    ("vdsm.port", 1.0, "a whole number from 1 to 65535"),
    ("vdsm.port", None, "a whole number from 1 to 65535"),
    ("vdsm.tls", "yes", "true or false"),
    ("vdsm.tls", 1, "true or false"),
    ("vdsm.key_file", "keys/key.pem", "an absolute path"),
    ("vdsm.key_file", ["/a"], "an absolute path"),
    ("engine.health_url", "ftp://{fqdn}/", "a URL"),
    ("engine.health_url", "http://{fqdn.__class__}/", "a URL"),
    ("engine.health_url", "http://{fqdn!r}/", "a URL"),
    ("engine.health_url", "http://{}/", "a URL"),
    ("engine.health_url", "http://{host}/", "a URL"),
    ("engine.health_url", "http://{fqdn", "a URL"),
    ("engine.probe_timeout_s", 0, "a number from 1 to 60"),
    ("engine.probe_timeout_s", "20s", "a number from 1 to 60"),
    ("engine.probe_timeout_s", float("nan"), "a number from 1 to 60"),
    ("engine.probe_period_s", float("inf"), "a number from 1 to 60"),
    ("sanlock.io_timeout_s", 0.5, "a whole number from 0 to 60"),
    ("sanlock.io_timeout_s", -1, "a whole number from 0 to 60"),
    ("storage.whiteboard_period_s", 31, "a number from 1 to 30"),
    ("definition.start_without_missing_nics", "no", "true or false"),
    ("definition.networks", ["a"], "a map from networks"),
    ("definition.networks", {"a": "sixteen_letters_"}, "a map from networks"),
    ("definition.networks", {"a": "a/b"}, "a map from networks"),
    ("definition.networks", {1: "a"}, "a map from networks"),
    ("definition.default_cpu", "", "null or a CPU model"),
    ("definition.default_cpu", 486, "null or a CPU model"),
    ("control.socket_mode", 0o666, "permission bits in quotes"),
    ("control.socket_mode", 666, "permission bits in quotes"),
    ("control.socket_mode", "0o666", "permission bits in quotes"),
    ("control.socket_mode", "0444", "permission bits in quotes"),
    ("control.socket_mode", "4755", "permission bits in quotes"),
    ("control.socket_mode", "٠٦٦٦", "permission bits in quotes"),
    ("logging.level", "INFO", "one of debug, info, warning, error"),
    ("logging.level", ["info"], "one of debug, info, warning, error"),
]


@pytest.mark.parametrize(("option", "value", "allowed"), WRONG)
def test_a_wrong_value_is_refused_by_file_option_value_and_what_is_allowed(
    paths: config.Paths, option: str, value: object, allowed: str
) -> None:
    section, name = option.split(".")
    file = write(paths, yaml.safe_dump({section: {name: value}}))
    with pytest.raises(NotConfigured) as caught:
        config.load(paths)
    assert str(caught.value).startswith(f"{file}: {option} is {value!r}, allowed is {allowed}")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("vdsm.host", "::1", "::1"),
        ("vdsm.tls", False, False),
        ("engine.health_url", "https://10.0.0.1:8443/health?a={{b}}", "https://10.0.0.1:8443/health?a={{b}}"),
        ("engine.probe_timeout_s", 2.5, 2.5),
        ("sanlock.io_timeout_s", 1, 1),
        ("definition.start_without_missing_nics", True, True),
        (
            "definition.networks",
            {"a long name, öäü": "on0123456789abc"},
            {"a long name, öäü": "on0123456789abc"},
        ),
        ("definition.default_cpu", "Haswell-noTSX,+md-clear", "Haswell-noTSX,+md-clear"),
        ("definition.default_cpu", None, None),
        ("control.socket_mode", "0660", 0o660),
        ("control.socket_mode", "600", 0o600),
        ("logging.level", "debug", "debug"),
    ],
)
def test_a_good_value_is_taken(paths: config.Paths, option: str, value: object, expected: object) -> None:
    section, name = option.split(".")
    write(paths, yaml.safe_dump({section: {name: value}}))
    loaded = config.load(paths)
    assert getattr(getattr(loaded, section), name) == expected
    assert loaded.warnings == ()


def test_a_section_must_be_one(paths: config.Paths) -> None:
    write(paths, "vdsm: 5\n")
    with pytest.raises(config.BadOption, match=r"vdsm is 5, allowed is a section with options below it"):
        config.load(paths)


def test_options_that_contradict_each_other_are_refused_with_the_files(paths: config.Paths) -> None:
    main = write(paths, "storage: {whiteboard_period_s: 30}\n")
    drop_in = write(paths, "storage: {read_timeout_s: 30}\n", "a.yaml")
    with pytest.raises(config.Contradiction) as caught:
        config.load(paths)
    assert "whiteboard_period_s (30) and storage.read_timeout_s (30) are more than 50 s" in str(caught.value)
    assert f"(set in {main}, {drop_in})" in str(caught.value)


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*config.SECTIONS, "port", "socket_mode", "health_url", "other"])


@given(content=st.dictionaries(names, st.dictionaries(names, yaml_values, max_size=4) | yaml_values))
def test_no_content_raises_anything_but_not_configured(
    content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump(content))
    try:
        loaded = config.load(config.Paths(), file)
    except NotConfigured as e:
        message = str(e)
    else:
        message = f"{file} was taken"
        json.dumps(config.as_dict(loaded))
    assert message.startswith(str(file))
    assert "\n" not in message


# Paths


def test_the_root_is_given_or_in_the_environment_or_slash(tmp_path: Path) -> None:
    environ = {"OVIRT_HE_ROOT": "/elsewhere"}
    assert config.Paths.find(tmp_path, environ).root == tmp_path
    assert config.Paths.find(None, environ).root == Path("/elsewhere")
    assert config.Paths.find(None, {}).root == Path("/")
    assert config.Paths.find(Path("rel"), {}).root == Path(os.getcwd()) / "rel"


def test_the_root_moves_all_files() -> None:
    plain, moved = config.Paths(), config.Paths(root=Path("/r"))
    assert plain.socket == Path("/run/ovirt-he-agent/agent.socket")
    assert moved.socket == Path("/r/run/ovirt-he-agent/agent.socket")
    for name in ("config_file", "drop_in_dir", "state_dir", "run_dir", "hosted_engine_conf", "ha_conf"):
        assert str(getattr(moved, name)) == f"/r{getattr(plain, name)}"


# Commands


def command(paths: config.Paths, *words: str) -> Result:
    root = click.Group(
        commands=[config_command.group], params=options.parameters(), callback=options.remember
    )
    return CliRunner().invoke(root, ["--root", str(paths.root), *words])


def test_show_prints_a_file_that_says_the_same(paths: config.Paths) -> None:
    file = write(paths, "vdsm: {port: 5, prot: 6}\ncontrol: {socket_mode: '0600'}\n")
    done = command(paths, "config", "show")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"# from {file}\nvdsm:\n  host: localhost\n  port: 5\n")
    assert done.stderr.startswith(f"warning: {file}: unknown option vdsm.prot ignored")
    before = config.as_dict(config.load(paths))
    file.write_text(done.stdout)
    assert config.as_dict(config.load(paths)) == before


def test_show_prints_json(paths: config.Paths) -> None:
    assert json.loads(command(paths, "config", "show", "--json").stdout) == config.as_dict(config.load(paths))


def test_check_is_content_with_good_files_and_with_none(paths: config.Paths) -> None:
    done = command(paths, "config", "check")
    assert (done.exit_code, done.stdout) == (0, f"good: no file ({paths.config_file}), defaults\n")
    file = write(paths, "vdsm: {port: 5}\n")
    done = command(paths, "config", "check")
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"good: {file}\n", "")


def test_check_fails_on_a_warning(paths: config.Paths) -> None:
    write(paths, "vdsm: {prot: 5}\n")
    done = command(paths, "config", "check")
    assert (done.exit_code, done.stdout.startswith("good, with warnings")) == (ExitCode.FAILED, True)
    done = command(paths, "config", "check", "--json")
    assert done.exit_code == ExitCode.FAILED
    assert "vdsm.prot" in json.loads(done.stdout)["warnings"][0]


def test_check_raises_what_keeps_the_agent_from_starting(paths: config.Paths) -> None:
    write(paths, "vdsm: {port: x}\n")
    assert isinstance(command(paths, "config", "check").exception, NotConfigured)


def test_a_file_of_ones_choice_is_shown(paths: config.Paths, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.yaml"
    chosen.write_text("vdsm: {port: 7}\n")
    assert "port: 7" in command(paths, "--config", str(chosen), "config", "show").stdout


@pytest.mark.parametrize(
    ("words", "root", "socket", "config_file"),
    [
        (["probe"], "/env", "/env/run/ovirt-he-agent/agent.socket", None),
        (["--root", "/r", "probe"], "/r", "/r/run/ovirt-he-agent/agent.socket", None),
        (["probe", "--root", "/r"], "/r", "/r/run/ovirt-he-agent/agent.socket", None),
        (["--root", "/a", "probe", "--root", "/b", "--socket", "/s"], "/b", "/s", None),
        (["--socket", "/s", "--config", "c", "probe"], "/env", "/s", "c"),
        (["probe", "--config", "c"], "/env", "/env/run/ovirt-he-agent/agent.socket", "c"),
    ],
)
def test_the_common_options_stand_before_or_after_the_verb(
    words: list[str], root: str, socket: str, config_file: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[options.Options] = []

    @click.command
    @options.passed
    def probe(given: options.Options) -> None:
        seen.append(given)

    options.accept_after(probe)
    group = click.Group(commands=[probe], params=options.parameters(), callback=options.remember)
    monkeypatch.setenv("OVIRT_HE_ROOT", "/env")
    assert CliRunner().invoke(group, words).exit_code == 0
    assert (seen[0].paths.root, seen[0].socket) == (Path(root), Path(socket))
    assert seen[0].config_file == (Path(config_file) if config_file else None)
