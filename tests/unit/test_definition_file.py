"""What is kept, to bytes and back; anything else is refused with a reason."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import snapshot
from ovirt_he_agent.core.definitions import file
from ovirt_he_agent.core.definitions.record import Head, Life, Record, Request, Standing

TEXT = st.text(max_size=20)
NUMBER = st.integers(0, 2**40)
MAYBE_TEXT = st.none() | TEXT
MAYBE_NUMBER = st.none() | NUMBER
LEASES = st.lists(
    st.builds(snapshot.LeaseRef, domain_id=TEXT, image_id=TEXT, volume_id=TEXT), max_size=3
).map(tuple)


@st.composite
def records(draw: st.DrawFn) -> Record:
    document = draw(st.binary(max_size=60))
    return Record(
        number=draw(NUMBER),
        facts=snapshot.Definition(
            vm_id=draw(TEXT),
            name=draw(TEXT),
            sha256=hashlib.sha256(document).hexdigest(),
            generation=draw(MAYBE_NUMBER),
            memory_mib=draw(NUMBER),
            leases=draw(LEASES),
            source=draw(TEXT),
        ),
        document=document,
        domain_xml=draw(TEXT),
        made=draw(TEXT),
        made_because=draw(st.none() | TEXT),
        warnings=draw(st.lists(TEXT, max_size=3).map(tuple)),
        kept_s=draw(NUMBER),
        started=draw(NUMBER),
        started_s=draw(MAYBE_NUMBER),
        failures=draw(NUMBER),
        failed_s=draw(MAYBE_NUMBER),
        failure=draw(MAYBE_TEXT),
    )


HEADS = st.builds(
    Head,
    sha256=TEXT,
    floor=MAYBE_NUMBER,
    asked=st.booleans(),
    declined=MAYBE_TEXT,
    before=st.none() | st.tuples(TEXT, MAYBE_NUMBER),
)
LIVES = st.builds(Life, sha256=TEXT, since_s=NUMBER, up=st.booleans(), command=MAYBE_NUMBER)
STANDINGS = st.builds(Standing, head=st.none() | HEADS, life=st.none() | LIVES, request_id=MAYBE_TEXT)


@given(records())
def test_a_record_comes_back_exactly(record: Record) -> None:
    assert file.record(file.of_record(record)) == record


@given(STANDINGS)
def test_the_standing_comes_back_but_for_the_command_of_another_process(standing: Standing) -> None:
    assert file.standing(file.of_standing(standing)) == file.as_read_again(standing)


@given(st.builds(Request, id=TEXT, sha256=MAYBE_TEXT, at_s=NUMBER))
def test_a_request_comes_back_exactly(request: Request) -> None:
    assert file.request(file.of_request(request)) == request


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    for decode in (file.record, file.standing, file.request):
        with pytest.raises(file.BadFile):
            decode(data)


@given(records(), st.data())
def test_one_changed_byte_is_refused(record: Record, data: st.DataObject) -> None:
    good = bytearray(file.of_record(record))
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(file.BadFile):
        file.record(bytes(good))


def test_one_kind_is_not_another() -> None:
    with pytest.raises(file.BadFile, match="no definition file of this agent"):
        file.record(file.of_standing(Standing()))


@pytest.mark.parametrize("body", [b"[]\n", b"{}\n", b"nothing\n", b'{"number": true}\n', b"[" * 5000])
def test_a_good_checksum_alone_is_not_enough(body: bytes) -> None:
    data = b"ovirt-he-agent definition 1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    with pytest.raises(file.BadFile):
        file.record(data)
