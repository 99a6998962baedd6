"""Time zones as an OVF may name them."""

import pytest

from ovirt_he_agent.adapters import time_zones


@pytest.mark.parametrize(
    ("zone", "offset_s"),
    [(None, 0), ("", 0), ("Etc/GMT", 0), ("Asia/Kolkata", 19800), ("America/Phoenix", -25200)],
)
def test_zone_has_its_offset(zone: str | None, offset_s: int) -> None:
    assert time_zones.utc_offset_s(zone) == offset_s


@pytest.mark.parametrize(
    "zone", ["W. Europe Standard Time", "Nowhere/City", "../../etc/passwd", "Europe", "a\0b", "x" * 5000]
)
def test_zone_that_the_host_does_not_know_is_unknown(zone: str) -> None:
    assert time_zones.utc_offset_s(zone) is None
