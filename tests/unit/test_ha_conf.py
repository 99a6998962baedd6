"""ha.conf as text: good, odd and damaged ones, and what setting a value makes of them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.adapters.ha_conf import LOCAL, MANUAL, HaConf, with_values
from ovirt_he_agent.agent import ports

BOTH_OFF = {LOCAL: "False", MANUAL: "False"}


@pytest.fixture
def ha_conf(tmp_path: Path) -> Path:
    return tmp_path / "ha.conf"


def test_it_is_the_agents_port(ha_conf: Path) -> None:
    port: ports.LocalMaintenance = HaConf(ha_conf)
    assert port.read().value is None


@pytest.mark.parametrize(
    ("local", "manual", "value"),
    [
        ("False", "False", False),
        ("True", "False", True),
        ("False", "True", True),
        ("yes", "no", True),
        ("1", "0", True),
        ("0", "N", False),
        ("nonsense", "f", False),  # by its first letter, as upstream
    ],
)
def test_local_maintenance_is_either_of_the_two(ha_conf: Path, local: str, manual: str, value: bool) -> None:
    ha_conf.write_text(f"local_maintenance={local}\nlocal_maintenance_manual={manual}\n")
    assert HaConf(ha_conf).read().value is value


def test_a_file_from_before_the_manual_switch_is_known(ha_conf: Path) -> None:
    for text, value in (("False", False), ("True", True)):
        ha_conf.write_text(f"local_maintenance={text}\n")
        assert HaConf(ha_conf).read().value is value


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "is missing: write it with `ovirt-he-agent maintenance none`"),
        (b"", "it is empty"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b"something=else\n", "local_maintenance is missing"),
        (b"local_maintenance=\nlocal_maintenance_manual=False\n", "local_maintenance is ''"),
        (b"local_maintenance=False\nlocal_maintenance_manual=\n", "local_maintenance_manual is ''"),
        (b"local_maintenance=perhaps\n", "local_maintenance is 'perhaps'"),
        (b"local_maintenance=False\nlocal_maintenance_manual=?\n", "local_maintenance_manual is '?'"),
    ],
)
def test_anything_else_is_unknown_with_the_reason(ha_conf: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        ha_conf.write_bytes(content)
    seen = HaConf(ha_conf).read()
    assert seen.value is None
    assert why in seen.reason
    assert str(ha_conf) in seen.reason


@given(st.binary(max_size=300))
def test_no_content_makes_reading_raise(content: bytes) -> None:
    assert read(content) in (True, False, None)


def read(content: bytes) -> bool | None:
    descriptor = os.memfd_create("conf")
    try:
        os.write(descriptor, content)
        return HaConf(Path(f"/proc/self/fd/{descriptor}")).read().value
    finally:
        os.close(descriptor)


# what setting a value makes of a file


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"local_maintenance=True\nlocal_maintenance_manual=False\n", None),
        (
            b"# ours\n\n local_maintenance = yes\nother=x=y\nlocal_maintenance_manual=no\n#end\n",
            b"# ours\n\nlocal_maintenance=False\nother=x=y\nlocal_maintenance_manual=False\n#end\n",
        ),
        (b"a=1\nlocal_maintenance=True", b"a=1\nlocal_maintenance=False\nlocal_maintenance_manual=False\n"),
        (
            b"local_maintenance=1\na=1\nlocal_maintenance=?\n",
            b"local_maintenance=False\na=1\nlocal_maintenance_manual=False\n",
        ),
        (
            b"#local_maintenance=True\n",
            b"#local_maintenance=True\nlocal_maintenance=False\nlocal_maintenance_manual=False\n",
        ),
        (b"a=\xff\nb=2\n", b"b=2\nlocal_maintenance=False\nlocal_maintenance_manual=False\n"),
        (b"", None),
    ],
)
def test_only_the_lines_of_the_keys_change(before: bytes, after: bytes | None) -> None:
    off = b"local_maintenance=False\nlocal_maintenance_manual=False\n"
    assert with_values(before, BOTH_OFF) == (off if after is None else after)


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_after_setting_both_any_file_is_readable_and_setting_again_changes_nothing(
    content: bytes, local: bool, manual: bool
) -> None:
    values = {LOCAL: str(local), MANUAL: str(manual)}
    once = with_values(content, values)
    assert read(once) is (local or manual)
    assert with_values(once, values) == once


LINES = st.lists(st.text("ab=# \té", max_size=8).filter(lambda line: "\n" not in line), max_size=6)


@given(LINES)
def test_lines_of_others_stay_in_their_order(lines: list[str]) -> None:
    before = "".join(f"{line}\n" for line in lines)
    after = with_values(before.encode(), BOTH_OFF).decode()
    assert after == before + f"{LOCAL}=False\n{MANUAL}=False\n"
