"""The emulator's wire against the transcripts of VDSM's own stack, as raw bytes."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.emulated_host import EmulatedHost
from tests.raw_stomp import RawClient, VdsmError

VM = "5fa1c0de-0000-4000-8000-00000000beef"
REQUESTS = b"destination:jms.topic.vdsm_requests\n"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedHost]:
    with EmulatedHost(tmp_path_factory.mktemp("h"), sanlock=False) as running:
        yield running


@pytest.fixture
async def client(host: EmulatedHost) -> AsyncIterator[RawClient]:
    async with RawClient(host.port) as c:
        yield c


@pytest.fixture
async def healed(host: EmulatedHost) -> AsyncIterator[None]:
    """For tests that break the emulator: the next one finds it whole."""
    yield
    async with RawClient(host.port) as c:
        await c.hello()
        await c.call("Sim.heal")


async def expect(client: RawClient, golden: bytes) -> None:
    assert await client.read(len(golden)) == golden


def call(body: bytes, *, reply_to: bytes = b"f00d0001-resp") -> bytes:
    return (
        b"SEND\n%scontent-type:application/json\nreply-to:%s\novirtCorrelationId:flow-1\ncontent-length:%d\n\n%s\0"
        % (REQUESTS, reply_to, len(body), body)
    )


def message(body: bytes) -> bytes:
    return (
        b"MESSAGE\ndestination:f00d0001-resp\ncontent-type:application/json\nsubscription:s-1\n"
        b"content-length:%d\n\n%s\0" % (len(body), body)
    )


CONNECT = b"CONNECT\naccept-version:1.2\nheart-beat:6000,24000\n\n\0"
CONNECTED = b"CONNECTED\nversion:1.2\nheart-beat:24000,6000\n\n\0"
SUBSCRIBE = b"SUBSCRIBE\ndestination:f00d0001-resp\nack:auto\nid:s-1\n\n\0"
PING = b'{"jsonrpc": "2.0", "method": "Host.ping2", "params": {}, "id": "r-1"}'
PONG = b'{"jsonrpc": "2.0", "id": "r-1", "result": true}'


async def test_a_session_and_a_call_are_byte_exact(client: RawClient) -> None:
    client.send(CONNECT)
    await expect(client, CONNECTED)
    client.send(SUBSCRIBE + call(PING))
    await expect(client, message(PONG))


@pytest.mark.parametrize(
    ("request_body", "response_body"),
    [
        (
            b'{"jsonrpc": "2.0", "method": "VM.getStats", "params": {"vmID": "%s"}, "id": "r-2"}'
            % VM.encode(),
            b'{"jsonrpc": "2.0", "id": "r-2", "error": {"code": 1, "message": '
            b"\"Virtual machine does not exist: {'vmId': '%s'}\"}}" % VM.encode(),
        ),
        (
            b'{"jsonrpc": "2.0", "method": "Host.noSuch", "params": {}, "id": "r-4"}',
            b'{"jsonrpc": "2.0", "id": "r-4", "error": {"code": -32601, "message": '
            b"\"The method does not exist or is not available: {'method': 'Host.noSuch'}\"}}",
        ),
        (
            b'{"jsonrpc": "2.0", "method": "VM.create", "params": {"vmID": "x", "vmParams": {}},'
            b' "id": "c-1"}',
            b'{"jsonrpc": "2.0", "id": "c-1", "error": {"code": 100, "message": '
            b'"General Exception: (\\"\'xml\'\\",)"}}',
        ),
        (b'[{"jsonrpc": "2.0", "method": "Host.ping2", "id": "r-1"}]', PONG),
        (b'{"jsonrpc": "2.0", "method": "Host.ping2", "params": [], "id": "r-1"}', PONG),
        (
            b'{"jsonrpc": "2.0", "method": "Host.ping2", "id": 7}',
            b'{"jsonrpc": "2.0", "id": 7, "result": true}',
        ),
    ],
)
async def test_answers_are_byte_exact(client: RawClient, request_body: bytes, response_body: bytes) -> None:
    client.send(CONNECT + SUBSCRIBE)
    await expect(client, CONNECTED)
    client.send(call(request_body))
    await expect(client, message(response_body))


async def test_requests_arrive_byte_by_byte(client: RawClient) -> None:
    for byte in CONNECT + SUBSCRIBE + call(PING):
        client.send(bytes((byte,)))
        await asyncio.sleep(0)
    await expect(client, CONNECTED + message(PONG))


async def test_crlf_and_heart_beats_between_frames_are_understood(client: RawClient) -> None:
    client.send(b"CONNECT\r\naccept-version:1.2\r\n\r\n\0\n\r\n\n" + SUBSCRIBE + b"\n" + call(PING))
    await expect(client, b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0" + message(PONG))


async def test_a_body_without_content_length_ends_at_nul(client: RawClient) -> None:
    client.send(CONNECT + SUBSCRIBE + b"SEND\n" + REQUESTS + b"reply-to:f00d0001-resp\n\n" + PING + b"\0")
    await expect(client, CONNECTED + message(PONG))


async def test_the_first_of_repeated_headers_counts(client: RawClient) -> None:
    client.send(b"CONNECT\naccept-version:1.2\naccept-version:1.1\n\n\0")
    await expect(client, b"CONNECTED\n")


@pytest.mark.parametrize("header", [b"", b"accept-version:1.1,1.2\n"])
async def test_another_version_is_an_error_and_the_connection_stays(client: RawClient, header: bytes) -> None:
    client.send(b"CONNECT\n" + header + b"\n\0" + CONNECT)
    await expect(client, b"ERROR\ncontent-length:19\n\nVersion unsupported\0" + CONNECTED)


async def test_sending_without_subscribers_is_an_error_and_the_connection_stays(client: RawClient) -> None:
    client.send(CONNECT + b"SEND\ndestination:nobody\n\nhello\0" + SUBSCRIBE + call(PING))
    await expect(client, CONNECTED + b"ERROR\ncontent-length:26\n\nSubscription not available\0")
    await expect(client, message(PONG))


async def test_a_repeated_subscription_id_is_an_error(client: RawClient) -> None:
    client.send(CONNECT + SUBSCRIBE + SUBSCRIBE)
    await expect(client, CONNECTED + b"ERROR\ncontent-length:30\n\nSubscription id already exists\0")


async def test_disconnect_with_receipt_is_answered_and_the_connection_stays(client: RawClient) -> None:
    client.send(CONNECT + SUBSCRIBE + b"DISCONNECT\nreceipt:bye-1\n\n\0" + call(PING))
    await expect(client, CONNECTED + b"RECEIPT\nreceipt-id:bye-1\n\n\0" + message(PONG))


@pytest.mark.parametrize(
    "fatal",
    [
        b"DISCONNECT\n\n\0",
        b"ACK\nid:1\n\n\0",
        b"STOMP\naccept-version:1.2\n\n\0",
        b"CONNECT\nhost:::1\n\n\0",
        b"CONNECT\nhost:a\\tb\n\n\0",
        b"SEND\n" + REQUESTS + b"content-length:3\n\nabcd\0",
        b"SEND\n\n\0",
    ],
)
async def test_what_vdsm_does_not_know_ends_the_connection(client: RawClient, fatal: bytes) -> None:
    client.send(CONNECT)
    await expect(client, CONNECTED)
    client.send(fatal)
    assert await client.closed()


@pytest.mark.parametrize(
    "first", [b"STOMP\naccept-version:1.2\n\n\0", b"\n" + CONNECT, b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_another_protocol_is_not_recognized(client: RawClient, first: bytes) -> None:
    client.send(first)
    assert await client.closed()


async def test_receipts_of_other_commands_never_come(client: RawClient) -> None:
    client.send(CONNECT + SUBSCRIBE.replace(b"ack:auto", b"receipt:x") + call(PING))
    await expect(client, CONNECTED + message(PONG))


async def test_unsubscribed_destinations_get_nothing(client: RawClient) -> None:
    client.send(CONNECT + SUBSCRIBE + b"UNSUBSCRIBE\nid:s-1\n\n\0" + call(PING) + SUBSCRIBE + call(PING))
    await expect(client, CONNECTED + message(PONG))


async def test_the_server_beats_and_hangs_up_on_a_silent_client(client: RawClient) -> None:
    client.send(b"CONNECT\naccept-version:1.2\nheart-beat:1,1\n\n\0")
    await expect(client, b"CONNECTED\nversion:1.2\nheart-beat:1000,1000\n\n\0")
    await expect(client, b"")
    assert await client.closed()


async def test_a_beating_client_stays_connected_and_gets_beats(client: RawClient) -> None:
    client.send(b"CONNECT\naccept-version:1.2\nheart-beat:1000,1000\n\n\0")
    await expect(client, b"CONNECTED\nversion:1.2\nheart-beat:1000,1000\n\n\0")
    for _ in range(5):
        await asyncio.sleep(0.5)
        client.send(b"\n")
    await expect(client, b"\n\n")


async def test_forwarding_reaches_subscribers_of_the_destination_and_its_parents(host: EmulatedHost) -> None:
    async with RawClient(host.port) as receiver, RawClient(host.port) as sender:
        receiver.send(
            CONNECT + b"SUBSCRIBE\ndestination:a.b\nid:p\n\n\0SUBSCRIBE\ndestination:a.b.c\nid:q\n\n\0"
        )
        await expect(receiver, CONNECTED)
        await receiver_is_subscribed(receiver)
        sender.send(CONNECT + b"SEND\ndestination:a.b.c\nx:1\\c2\n\nhello\0")
        for subscription in (b"p", b"q"):
            await expect(
                receiver,
                b"MESSAGE\nsubscription:%s\ndestination:a.b.c\nx:1\\c2\ncontent-length:5\n\nhello\0"
                % subscription,
            )


async def receiver_is_subscribed(client: RawClient) -> None:
    """Frames are handled in order: once the receipt is here, so are the subscriptions."""
    client.send(b"DISCONNECT\nreceipt:r\n\n\0")
    await expect(client, b"RECEIPT\nreceipt-id:r\n\n\0")


async def test_every_subscriber_of_the_reply_destination_gets_the_reply(host: EmulatedHost) -> None:
    async with RawClient(host.port) as other, RawClient(host.port) as caller:
        other.send(CONNECT + SUBSCRIBE)
        await expect(other, CONNECTED)
        await receiver_is_subscribed(other)
        caller.send(CONNECT + SUBSCRIBE + call(PING))
        await expect(caller, CONNECTED + message(PONG))
        await expect(other, message(PONG))


async def test_bad_requests_are_answered_elsewhere_without_id(client: RawClient) -> None:
    client.send(CONNECT + b"SUBSCRIBE\ndestination:jms.topic.vdsm_responses\nid:s-9\n\n\0")
    await expect(client, CONNECTED)
    client.send(call(b"{"))
    _, headers, body = await client.frame()
    assert headers["destination"] == "jms.topic.vdsm_responses"
    assert json.loads(body)["id"] is None
    assert json.loads(body)["error"]["code"] == -32700
    client.send(call(b'{"jsonrpc": "1.0", "method": "Host.ping2", "id": "x"}'))
    _, _, body = await client.frame()
    assert json.loads(body)["error"]["code"] == -32600


async def test_a_batch_of_two_runs_and_is_not_answered(client: RawClient) -> None:
    await client.hello()
    await client.call("Sim.calls", clear=True)
    client.request(
        b'[{"jsonrpc": "2.0", "method": "Host.ping2", "id": "a"},'
        b' {"jsonrpc": "2.0", "method": "Host.getVMList", "id": "b"}]'
    )
    calls = await client.until(lambda calls: len(calls) == 2, "Sim.calls")
    assert sorted(c["method"] for c in calls) == ["Host.getVMList", "Host.ping2"]
    assert await client.call("Host.ping2") is True  # and no reply to the batch came before this one


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_on_a_signal_with_clients_and_calls_under_way(
    tmp_path: Path, number: signal.Signals
) -> None:
    host = EmulatedHost(tmp_path, sanlock=False)
    with host:
        async with RawClient(host.port) as client:
            await client.hello()
            await client.call("Sim.delay", method="Host.getStats", seconds=60)
            client.request(b'{"jsonrpc": "2.0", "method": "Host.getStats", "id": 1}')
            assert host.stop_emulator(number) == 0
            assert await client.closed()


async def test_a_notification_ends_vdsms_parser(tmp_path: Path) -> None:
    with EmulatedHost(tmp_path, sanlock=False) as host:
        async with RawClient(host.port) as client:
            await client.hello()
            client.request(b'{"jsonrpc": "2.0", "method": "Host.ping2"}')
            client.request(b'{"jsonrpc": "2.0", "method": "Host.ping2", "id": "never answered"}')
            assert await client.call("Sim.calls") == []


@pytest.mark.usefixtures("healed")
async def test_a_full_queue_refuses_with_1100(client: RawClient) -> None:
    await client.hello()
    await client.call("Sim.delay", method="Host.ping2", seconds=0.1)
    ids = [f"n{number}" for number in range(100)]
    for request_id in ids:
        client.request(b'{"jsonrpc": "2.0", "method": "Host.ping2", "id": "%s"}' % request_id.encode())
    codes = []
    for _ in ids:
        _, _, body = await client.frame()
        codes.append(json.loads(body).get("error", {}).get("code"))
    assert codes.count(None) >= 80
    assert codes.count(1100) == 100 - codes.count(None) > 0


@pytest.mark.usefixtures("healed")
async def test_while_recovering_every_call_gets_99(client: RawClient) -> None:
    await client.hello()
    await client.call("Sim.recovering", seconds=60)
    with pytest.raises(VdsmError) as refused:
        await client.call("Host.ping2")
    assert (refused.value.code, refused.value.message) == (99, "Recovering from crash or Initializing")
    await client.call("Sim.heal")
    assert await client.call("Host.ping2") is True


async def test_failures_are_made_to_order(client: RawClient) -> None:
    await client.hello()
    await client.call("Sim.fail", method="Host.ping2", code=1100, message="later", count=2)
    assert [await client.error("Host.ping2") for _ in range(2)] == [1100, 1100]
    assert await client.call("Host.ping2") is True


async def test_a_muted_verb_runs_without_reply(client: RawClient) -> None:
    await client.hello()
    await client.call("Sim.calls", clear=True)
    await client.call("Sim.mute", method="Host.ping2")
    client.request(b'{"jsonrpc": "2.0", "method": "Host.ping2", "id": "lost"}')
    await client.until(bool, "Sim.calls")


async def test_an_outcome_can_get_lost_with_the_connection(host: EmulatedHost, client: RawClient) -> None:
    await client.hello()
    await client.call("Sim.calls", clear=True)
    await client.call("Sim.mute", method="Host.ping2", drop=True)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await client.call("Host.ping2")
    async with RawClient(host.port) as again:
        await again.hello()
        assert [c["method"] for c in await again.call("Sim.calls")] == ["Host.ping2"]


async def test_drop_closes_every_connection_after_the_answer(client: RawClient) -> None:
    await client.hello()
    assert await client.call("Sim.drop") is True
    assert await client.closed()


async def test_a_silent_server_answers_later(client: RawClient) -> None:
    await client.hello()
    await client.call("Sim.silent", seconds=1.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.call("Host.ping2")
    assert await client.call("Host.ping2") is True


@pytest.mark.usefixtures("healed")
async def test_a_reply_of_eight_mebibytes_passes(client: RawClient) -> None:
    await client.hello()
    text = "x" * (8 << 20)
    await client.call("Sim.stats", values={"pad": text})
    assert (await client.call("Host.getStats"))["pad"] == text
