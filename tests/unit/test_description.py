"""Volume descriptions: which one is an OVF_STORE's, and which store is newer."""

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.ovf import description
from tests import golden_ovf


def parsed(**changes: object) -> description.StoreDescription:
    fields = json.loads(golden_ovf.STORE["description"]) | changes
    found = description.parse(json.dumps(fields))
    assert found is not None
    return found


def test_sample_descriptions_are_read() -> None:
    current = description.parse(golden_ovf.STORE["description"])
    assert current == description.StoreDescription(
        domain_ids=(golden_ovf.DOMAIN,),
        updated=True,
        last_updated="Fri Jan 15 16:45:00 UTC 2021",
        last_updated_s=1_610_729_100,
        size_bytes=266_240,
    )
    stale = description.parse(golden_ovf.STORE["description_stale"])
    assert stale is not None
    assert (stale.updated, stale.size_bytes) == (False, None)
    never = description.parse(golden_ovf.STORE["description_never_written"])
    assert never is not None
    assert (never.last_updated, never.last_updated_s) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OVF_STORE",
        "OVF store for domain 76a79a20-8ce3-432d-8c1e-112b88ef9510",
        '{"DiskAlias":"OVF_STORE","DiskDescription":"OVF_STORE"}',
        '{"Disk Description":"my OVF_STORE"}',
        '{"Disk Description":["OVF_STORE"]}',
        '["OVF_STORE"]',
        "[" * 4000,
        '{"a":' * 5000,
    ],
)
def test_other_descriptions_are_not_a_store(text: str) -> None:
    assert description.parse(text) is None


def test_description_cut_at_210_bytes_is_not_a_store() -> None:
    long = json.loads(golden_ovf.STORE["description"]) | {"Comment": "x" * 200}
    assert description.parse(json.dumps(long)[:210]) is None


def test_missing_and_odd_values_are_unknown() -> None:
    bare = description.parse('{"Disk Description":"OVF_STORE"}')
    assert bare == description.StoreDescription(
        domain_ids=(), updated=False, last_updated=None, last_updated_s=None, size_bytes=None
    )
    odd = parsed(
        **{"Storage Domains": [1, {"uuid": 2}, {}, "x"], "Size": True, "Updated": "true", "Last Updated": 5}
    )
    assert odd == bare
    assert parsed(Size=-1).size_bytes is None


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("Fri Jan 15 16:45:00 UTC 2021", "2021-01-15T16:45:00"),
        ("Fri Jan 15 16:45:00 GMT 2021", "2021-01-15T16:45:00"),
        ("Fri Jan 15 17:45:00 CET 2021", "2021-01-15T16:45:00"),
        ("Thu Jul 15 18:45:00 CEST 2021", "2021-07-15T16:45:00"),
        ("Fri Jan 15 11:45:00 EST 2021", "2021-01-15T16:45:00"),
        ("Sat Jan 16 01:45:00 JST 2021", "2021-01-15T16:45:00"),
        ("Fri Jan 15 13:15:00 GMT-03:30 2021", "2021-01-15T16:45:00"),
    ],
)
def test_java_date_of_a_known_zone_is_read(text: str, utc: str) -> None:
    expected = datetime.datetime.fromisoformat(utc).replace(tzinfo=datetime.UTC)
    assert description.java_date(text) == int(expected.timestamp())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Fri Jan 15 16:45:00 IST 2021",
        "Fri Jan 15 16:45:00 CST 2021",
        "Fri Jan 15 16:45:00 BST 2021",
        "Fri Jan 15 16:45:00 GMT+99:00 2021",
        "ven. janv. 15 16:45:00 CET 2021",
        "Fri Jnn 15 16:45:00 UTC 2021",
        "Sun Feb 31 16:45:00 UTC 2021",
        "Sun Feb 01 24:61:00 UTC 2021",
        "Sun Feb 01 00:00:00 UTC 0000",
        "2021-01-15 16:45:00",
    ],
)
def test_java_date_that_is_unclear_is_unknown(text: str) -> None:
    assert description.java_date(text) is None


@given(st.integers(min_value=0, max_value=7_000_000_000))
def test_any_java_date_is_read_to_the_second(seconds: int) -> None:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    assert description.java_date(moment.strftime("%a %b %d %H:%M:%S UTC %Y")) == seconds


@given(st.text(max_size=300))
def test_any_text_is_a_store_or_not(text: str) -> None:
    assert description.parse(text) is None or "OVF_STORE" in text


def test_updated_comes_first_then_the_later_date_and_an_unknown_one_last() -> None:
    order = [
        parsed(),
        parsed(**{"Last Updated": "Fri Jan 15 16:44:59 UTC 2021"}),
        parsed(**{"Last Updated": "Fri Jan 15 16:44:59 IST 2021"}),
        parsed(Updated=False),
        parsed(**{"Updated": False, "Last Updated": None}),
    ]
    assert sorted(reversed(order), key=lambda d: d.preference) == order


def test_stores_are_rivals_where_their_dates_do_not_tell_which_is_newer() -> None:
    now, before = parsed(), parsed(**{"Last Updated": "Fri Jan 15 16:44:59 UTC 2021"})
    unknown = parsed(**{"Last Updated": "Fri Jan 15 16:44:59 IST 2021"})
    assert now.rivals(now)
    assert now.rivals(unknown)
    assert unknown.rivals(now)
    assert not now.rivals(before)
    assert not now.rivals(parsed(Updated=False))


def test_a_store_is_not_updated_and_has_no_size_while_it_is_written() -> None:
    while_written = description.begun(golden_ovf.STORE["description"])
    assert while_written == (
        '{"Updated":false,"Last Updated":"Fri Jan 15 16:45:00 UTC 2021",'
        f'"Storage Domains":[{{"uuid":"{golden_ovf.DOMAIN}"}}],"Disk Description":"OVF_STORE"}}'
    )


def test_afterwards_it_is_written_as_the_engine_writes_it() -> None:
    at = datetime.datetime.fromtimestamp(1_610_729_100, datetime.UTC)
    text = golden_ovf.STORE["description"]
    assert description.ended(description.begun(text), 266_240, at) == text
    assert len(description.ended(text, 134_217_728, at)) <= description.MOST_BYTES


@given(st.integers(min_value=0, max_value=7_000_000_000), st.integers(min_value=1))
def test_what_is_set_is_read_again(seconds: int, size_bytes: int) -> None:
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    found = description.parse(description.ended(golden_ovf.STORE["description"], size_bytes, at))
    assert found is not None
    assert (found.updated, found.size_bytes, found.last_updated_s) == (True, size_bytes, seconds)


@pytest.mark.parametrize("text", ["", "OVF_STORE", '{"DiskAlias":"x"}'])
def test_another_volumes_description_is_not_changed(text: str) -> None:
    with pytest.raises(ValueError, match="OVF_STORE"):
        description.begun(text)
