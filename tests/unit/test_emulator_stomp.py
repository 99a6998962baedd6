"""The emulator's own STOMP codec: however the bytes arrive, the frames are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.sim.vdsm import stomp

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
frames = st.builds(
    stomp.Frame,
    st.sampled_from((stomp.SEND, stomp.MESSAGE, stomp.CONNECT)),
    st.dictionaries(texts.filter(lambda name: name != "content-length"), texts, max_size=4),
    st.binary(max_size=200),
)


@given(st.lists(frames, min_size=1, max_size=4), st.data())
def test_frames_survive_any_cut(sent: list[stomp.Frame], data: st.DataObject) -> None:
    wire = b"\n".join(frame.encode() for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    parser = stomp.Parser()
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        received += parser.feed(wire[start:end])
    assert received == sent


@given(st.binary(max_size=300))
def test_garbage_is_frames_or_broken_and_nothing_else(data: bytes) -> None:
    try:
        stomp.Parser().feed(data)
    except stomp.Broken:
        pass


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"SEND\n\nabc\0", b"abc"),
        (b"SEND\ncontent-length:3\n\na\0c\0", b"a\0c"),
        (b"\n\r\nSEND\r\n\r\n\0", b""),
        (b"SEND\ncontent-length:-1\n\nabc\0", b"abc"),
    ],
)
def test_bodies_end_where_vdsm_ends_them(data: bytes, body: bytes) -> None:
    [frame] = stomp.Parser().feed(data)
    assert frame.body == body


@pytest.mark.parametrize("data", [b"SEND\nx\n\n\0", b"SEND\na:b:c\n\n\0", b"SEND\na:\\t\n\n\0"])
def test_what_vdsm_cannot_parse_is_broken(data: bytes) -> None:
    with pytest.raises(stomp.Broken):
        stomp.Parser().feed(data)
