"""The STOMP codec: golden frames of VDSM, cut in every way, damaged, and random bytes."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovirt_he_agent.wire import stomp

# Server frames exactly as VDSM's own stack wrote them, and what they say.
EVENT_BODY = (
    b'{"jsonrpc": "2.0", "method": "|virt|VM_status|5fa1c0de-0000-4000-8000-00000000beef", '
    b'"params": {"5fa1c0de-0000-4000-8000-00000000beef": {"status": "Powering up"}, '
    b'"notify_time": 2149267470}}'
)
GOLDEN: list[tuple[bytes, stomp.Frame]] = [
    (
        b"CONNECTED\nversion:1.2\nheart-beat:24000,6000\n\n\0",
        stomp.Connected(version="1.2", server_sends_ms=24000, server_wants_ms=6000),
    ),
    (
        b"MESSAGE\ndestination:f00d0001-resp\ncontent-type:application/json\nsubscription:s-1\n"
        b'content-length:47\n\n{"jsonrpc": "2.0", "id": "r-1", "result": true}\0',
        stomp.Message(
            destination="f00d0001-resp",
            subscription="s-1",
            body=b'{"jsonrpc": "2.0", "id": "r-1", "result": true}',
        ),
    ),
    (
        b"MESSAGE\ndestination:jms.queue.events\ncontent-type:application/json\nsubscription:s-2\n"
        b"content-length:190\n\n" + EVENT_BODY + b"\0",
        stomp.Message(destination="jms.queue.events", subscription="s-2", body=EVENT_BODY),
    ),
    (b"RECEIPT\nreceipt-id:bye-1\n\n\0", stomp.Receipt(receipt_id="bye-1")),
    (
        b"ERROR\ncontent-length:19\n\nVersion unsupported\0",
        stomp.Error(text="Version unsupported"),
    ),
]
STREAM = b"\n".join(raw for raw, _ in GOLDEN)
FRAMES = [frame for _, frame in GOLDEN]


def decoded(*pieces: bytes) -> list[stomp.Frame]:
    decoder = stomp.Decoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def bytewise(raw: bytes) -> list[stomp.Frame]:
    return decoded(*(raw[i : i + 1] for i in range(len(raw))))


@pytest.mark.parametrize(("raw", "frame"), GOLDEN)
def test_golden_frame_is_read_whole_and_byte_by_byte(raw: bytes, frame: stomp.Frame) -> None:
    assert decoded(raw) == [frame]
    assert bytewise(raw) == [frame]


def test_several_frames_and_heart_beats_in_one_read() -> None:
    assert decoded(b"\n\r\n" + STREAM + b"\n\n") == FRAMES


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_where_the_stream_is_cut_does_not_matter(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert decoded(*(STREAM[a:b] for a, b in itertools.pairwise(edges))) == FRAMES


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            stomp.connect(client_sends_ms=6000, client_wants_ms=24000),
            b"CONNECT\naccept-version:1.2\nheart-beat:6000,24000\n\n\0",
        ),
        (
            stomp.subscribe("jms.queue.events", "s-2"),
            b"SUBSCRIBE\ndestination:jms.queue.events\nack:auto\nid:s-2\n\n\0",
        ),
        (
            stomp.send(
                "jms.topic.vdsm_requests",
                reply_to="f00d0001-resp",
                flow_id="flow-1",
                body=b'{"jsonrpc": "2.0", "method": "Host.ping2", "params": {}, "id": "r-1"}',
            ),
            b"SEND\ndestination:jms.topic.vdsm_requests\ncontent-type:application/json\n"
            b"reply-to:f00d0001-resp\novirtCorrelationId:flow-1\ncontent-length:69\n\n"
            b'{"jsonrpc": "2.0", "method": "Host.ping2", "params": {}, "id": "r-1"}\0',
        ),
        (stomp.unsubscribe("s-2"), b"UNSUBSCRIBE\nid:s-2\n\n\0"),
        (stomp.disconnect("bye-1"), b"DISCONNECT\nreceipt:bye-1\n\n\0"),
    ],
)
def test_client_frame_is_the_golden_one(raw: bytes, expected: bytes) -> None:
    assert raw == expected


def test_client_frame_escapes_what_vdsm_would_take_for_syntax() -> None:
    assert stomp.unsubscribe("a:b\\c\nd\re") == b"UNSUBSCRIBE\nid:a\\cb\\\\c\\nd\\re\n\n\0"


# Server frames of any content, put together here without the codec.

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", ":": "\\c"}


def escaped(text: str) -> bytes:
    return "".join(ESCAPES.get(char, char) for char in text).encode()


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, stomp.Message]:
    destination, subscription = draw(texts), draw(texts)
    with_length, end = draw(st.booleans()), draw(st.sampled_from((b"\n", b"\r\n")))
    body = draw(st.binary(max_size=200))
    headers = [(b"destination", escaped(destination)), (b"subscription", escaped(subscription))]
    if with_length:
        headers.append((b"content-length", b"%d" % len(body)))
    else:
        body = body.replace(b"\0", b"")
    headers = draw(st.permutations(headers))
    # repeated: the first wins; unknown: ignored
    headers += [(b"destination", b"again"), (b"x-other", b"y:z"), (b"subscription", b"again")]
    raw = end.join((b"MESSAGE", *(name + b":" + value for name, value in headers), b"", body)) + b"\0"
    return raw, stomp.Message(destination=destination, subscription=subscription, body=body)


@given(st.lists(messages(), max_size=4), st.integers(1, 50))
def test_any_message_comes_out_as_it_went_in(items: list[tuple[bytes, stomp.Message]], step: int) -> None:
    stream = b"\n\n".join(raw for raw, _ in items)
    expected = [message for _, message in items]
    assert decoded(stream) == expected
    assert decoded(*(stream[i : i + step] for i in range(0, len(stream), step))) == expected


GARBAGE = {
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n",
    "a TLS record": b"\x15\x03\x01\x00\x02\x02\x50" * 4,
    "no line end": b"X" * 64,
    "a client's frame": b"CONNECT\n",
    "a header without colon": b"ERROR\nnonsense\n",
    "NUL in a header": b"ERROR\nmessage:a\0\n",
    "an unknown escape": b"ERROR\nmessage:a\\tb\n",
    "a lone backslash": b"ERROR\nmessage:a\\\n",
    "no UTF-8": b"ERROR\nmessage:\xff\n",
    "a negative length": b"ERROR\ncontent-length:-1\n\n",
    "a length of digits that are not ASCII": "ERROR\ncontent-length:٣\n\n".encode(),
    "a length beyond the limit": b"ERROR\ncontent-length:268435457\n\n",
    "a length of many digits": b"ERROR\ncontent-length:" + b"9" * 5000 + b"\n\n",
    "a wrong length": b"ERROR\ncontent-length:2\n\nabc\0",
    "headers without end": b"ERROR\n" + b"a:b\n" * 20_000,
    "a header without end": b"ERROR\na:" + b"b" * 70_000,
    "CONNECTED without version": b"CONNECTED\n\n\0",
    "CONNECTED with a bad heart-beat": b"CONNECTED\nversion:1.2\nheart-beat:a,b\n\n\0",
    "MESSAGE without subscription": b"MESSAGE\ndestination:a\n\n\0",
    "RECEIPT without id": b"RECEIPT\n\n\0",
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_after_the_good_frames_and_from_then_on(raw: bytes) -> None:
    decoder = stomp.Decoder()
    with pytest.raises(stomp.BadFrame) as caught:
        decoder.feed(STREAM + raw)
    assert list(caught.value.frames) == FRAMES
    with pytest.raises(stomp.BadFrame):
        decoder.feed(STREAM)
    with pytest.raises(stomp.BadFrame):
        bytewise(raw)


def test_a_body_without_length_is_limited_too() -> None:
    decoder = stomp.Decoder(max_body_bytes=100)
    assert decoder.feed(b"ERROR\n\n" + b"x" * 100) == []
    with pytest.raises(stomp.BadFrame, match="more than 100"):
        decoder.feed(b"x")


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from(
                [b"MESSAGE\n", b"ERROR\n", b"\n", b"\r", b"\0", b":", b"\\", b"content-length:3\n", b"abc"]
            ),
            max_size=30,
        ).map(b"".join),
    )
)
def test_random_bytes_raise_nothing_but_bad_frame_and_the_same_when_cut(raw: bytes) -> None:
    def outcome(*pieces: bytes) -> tuple[list[stomp.Frame], bool]:
        decoder, frames = stomp.Decoder(), []
        try:
            for piece in pieces:
                frames += decoder.feed(piece)
        except stomp.BadFrame as e:
            return frames + list(e.frames), True
        return frames, False

    assert outcome(raw) == outcome(*(raw[i : i + 1] for i in range(len(raw))))
