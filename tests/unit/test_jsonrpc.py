"""JSON-RPC as VDSM speaks it: golden bodies, and what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.wire import jsonrpc
from ovirt_he_agent.wire.jsonrpc import ErrorKind

VM_ID = "5fa1c0de-0000-4000-8000-00000000beef"


def test_request_is_the_golden_one() -> None:
    assert (
        jsonrpc.request("Host.ping2", {}, "r-1")
        == b'{"jsonrpc": "2.0", "method": "Host.ping2", "params": {}, "id": "r-1"}'
    )


def test_a_notification_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="notification"):
        jsonrpc.request("Host.ping2", {}, "")


def test_reply_carries_any_result() -> None:
    assert jsonrpc.decode(b'{"jsonrpc": "2.0", "id": "r-1", "result": true}') == jsonrpc.Reply(
        request_id="r-1", result=True
    )
    assert jsonrpc.decode(b'{"jsonrpc": "2.0", "id": "r-1", "result": null}') == jsonrpc.Reply(
        request_id="r-1", result=None
    )


@pytest.mark.parametrize(
    ("body", "request_id", "code", "kind"),
    [
        (
            b'{"jsonrpc": "2.0", "id": "r-2", "error": {"code": 1, "message": "Virtual machine does not '
            b"exist: {'vmId': '5fa1c0de-0000-4000-8000-00000000beef'}\"}}",
            "r-2",
            1,
            ErrorKind.NO_SUCH_VM,
        ),
        (
            b'{"jsonrpc": "2.0", "id": "r-4", "error": {"code": -32601, "message": "The method does not '
            b"exist or is not available: {'method': 'Host.noSuch'}\"}}",
            "r-4",
            -32601,
            ErrorKind.NO_SUCH_METHOD,
        ),
        (
            b'{"jsonrpc": "2.0", "id": "c-5", "error": {"code": 99, "message": "Recovering from crash or '
            b'Initializing"}}',
            "c-5",
            99,
            ErrorKind.RECOVERING,
        ),
        (
            b'{"jsonrpc": "2.0", "id": "c-1", "error": {"code": 100, "message": "General Exception: '
            b'(\\"\'xml\'\\",)"}}',
            "c-1",
            100,
            ErrorKind.REJECTED,
        ),
        (
            b'{"jsonrpc": "2.0", "id": "x", "error": {"code": 1100, "message": "Not enough resources: '
            b"{'resource': 'jsonrpc', 'current_tasks': 80, 'reason': 'Too many tasks'}\"}}",
            "x",
            1100,
            ErrorKind.BUSY,
        ),
        (
            b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "Invalid JSON was received '
            b'by the server. An error occurred on the server while parsing the JSON text."}}',
            None,
            -32700,
            ErrorKind.OTHER,
        ),
    ],
)
def test_golden_failure(body: bytes, request_id: str | None, code: int, kind: ErrorKind) -> None:
    failure = jsonrpc.decode(body)
    assert isinstance(failure, jsonrpc.Failure)
    assert (failure.request_id, failure.code) == (request_id, code)
    assert failure.message == json.loads(body)["error"]["message"]
    assert jsonrpc.error_kind(failure.code) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (4, ErrorKind.VM_EXISTS),
        (201, ErrorKind.NO_SUCH_VOLUME),
        (268, ErrorKind.NO_SUCH_IMAGE),
        (358, ErrorKind.NO_SUCH_DOMAIN),
        (654, ErrorKind.NOT_SPM),
        (661, ErrorKind.HOST_ID),
        (360, ErrorKind.STORAGE),
        (1000, ErrorKind.STORAGE),
        (900, ErrorKind.DOMAIN_IN_POOL),
        (1500, ErrorKind.HOOK),
        (42, ErrorKind.OTHER),
        (-32603, ErrorKind.REJECTED),
        (9, ErrorKind.REJECTED),
    ],
)
def test_codes_that_the_agent_tells_apart(code: int, kind: ErrorKind) -> None:
    assert jsonrpc.error_kind(code) is kind


def test_golden_event() -> None:
    body = (
        b'{"jsonrpc": "2.0", "method": "|virt|VM_status|%(id)s", "params": {"%(id)s": '
        b'{"status": "Powering up"}, "notify_time": 2149267470}}' % {b"id": VM_ID.encode()}
    )
    assert len(body) == 190
    assert jsonrpc.decode(body) == jsonrpc.Event(
        domain="virt",
        subject="VM_status",
        object_id=VM_ID,
        params={VM_ID: {"status": "Powering up"}},
        notify_time=2149267470,
    )


def test_event_times_are_integers_even_when_sent_as_text() -> None:
    def event(notify_time: bytes) -> jsonrpc.Event:
        body = b'{"method": "|net|host_conn|no_id", "params": {"notify_time": %b}}' % notify_time
        message = jsonrpc.decode(body)
        assert isinstance(message, jsonrpc.Event)
        return message

    # as texts the longer one would be the smaller
    assert event(b'"10000000000"').notify_time > event(b"9999999999").notify_time


@pytest.mark.parametrize(
    ("body", "field", "request_id"),
    [
        (b"", "text", None),
        (b"\xff\xfe", "text", None),
        (b"[" * 100_000, "text", None),
        (b'{"id": "r-1", "result": ' + b"9" * 10_000 + b"}", "text", None),
        (b"[]", "message", None),
        (b'{"id": 7, "result": 1}', "id", None),
        (b'{"result": 1}', "id", None),
        (b'{"id": "r-1"}', "result", "r-1"),
        (b'{"id": "r-1", "error": "no"}', "error", "r-1"),
        (b'{"id": "r-1", "error": {"code": "x"}}', "error.code", "r-1"),
        (b'{"method": 1, "params": {}}', "method", None),
        (b'{"method": "VM_status", "params": {}}', "method", None),
        (b'{"method": "|virt|VM_status|x", "params": []}', "params", None),
        (b'{"method": "|virt|VM_status|x", "params": {}}', "params.notify_time", None),
        (b'{"method": "|virt|VM_status|x", "params": {"notify_time": true}}', "params.notify_time", None),
    ],
)
def test_other_messages_are_refused_with_the_field(body: bytes, field: str, request_id: str | None) -> None:
    with pytest.raises(jsonrpc.BadMessage) as caught:
        jsonrpc.decode(body)
    assert (caught.value.field, caught.value.request_id) == (field, request_id)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.text(min_size=1), st.dictionaries(st.text(), json_values))
def test_any_request_is_one_json_object_with_its_id(request_id: str, params: dict[str, object]) -> None:
    raw = jsonrpc.request("VM.create", params, request_id)
    assert b"\0" not in raw
    assert json.loads(raw)["id"] == request_id


@given(
    st.binary(max_size=100)
    | st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "result", "error", "method", "params"]), json_values
    ).map(lambda value: json.dumps(value).encode())
)
def test_random_messages_raise_nothing_but_bad_message(body: bytes) -> None:
    try:
        jsonrpc.decode(body)
    except jsonrpc.BadMessage:
        pass
