"""The VDSM client against a scripted peer that speaks VDSM's golden frames as raw bytes."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ovirt_he_agent.adapters.vdsm import failures, replies, verbs
from ovirt_he_agent.adapters.vdsm.endpoint import Endpoint, TlsFiles
from ovirt_he_agent.adapters.vdsm.session import Timing, beat_period_s
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import OutcomeUnknown
from tests.contract import vdsm_peer
from tests.contract.vdsm_peer import VM_ID, Line, Peer

QUICK = Timing(retry_first_s=0.05, retry_max_s=0.1)
SD_ID = "11111111-1111-1111-1111-111111111111"
IMAGE_ID = "22222222-2222-2222-2222-222222222222"
VOLUME_ID = "33333333-3333-3333-3333-333333333333"
LONG_S = 50.0
"""A deadline that no test reaches."""


def client_of(peer: Peer, *, timing: Timing = QUICK, tls: TlsFiles | None = None) -> verbs.Vdsm:
    return verbs.Vdsm(Endpoint(host="127.0.0.1", port=peer.port, tls=tls), timing=timing)


async def session_stands(client: verbs.Vdsm) -> None:
    assert await client.next_news() is None


# session and calls


async def test_session_starts_calls_and_ends_with_the_golden_frames() -> None:
    async def vdsm(line: Line) -> None:
        assert await line.frame() == b"CONNECT\naccept-version:1.2\nheart-beat:6000,24000\n\n\0"
        line.send(b"CONNECTED\nversion:1.2\nheart-beat:24000,6000\n\n\0")
        line.reply_to, line.replies_id = await line.expect(vdsm_peer.SUBSCRIBE)
        assert await line.frame() == b"SUBSCRIBE\ndestination:jms.queue.events\nack:auto\nid:s-2\n\n\0"
        line.events_id = b"s-2"
        request = await line.request()
        assert (request.verb, request.params) == ("Host.ping2", {})
        line.send(line.answer(request, b"true"))
        await line.farewell()

    timing = Timing(sends_ms=6000, wants_ms=24000)
    async with Peer(vdsm) as peer, client_of(peer, timing=timing) as client:
        await client.ping()


async def test_answers_may_come_in_another_order_than_requests() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        requests = [await line.request() for _ in range(3)]
        for request in reversed(requests):
            line.send(line.answer(request, json.dumps(request.verb).encode()))
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        names = ["A.a", "B.b", "C.c"]
        assert await asyncio.gather(*(client.call(n, timeout_s=LONG_S) for n in names)) == names


async def test_event_and_answer_in_the_same_read_both_arrive() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        request = await line.request()
        line.send(line.event(b"Powering up", 2149267470), b"\n", line.answer(request, b"true"), b"\n\r\n")
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        await session_stands(client)
        await client.ping()
        report = await client.next_news()
    assert report == model.VmReport(
        vm_id=VM_ID,
        status=model.VmStatus.POWERING_UP,
        status_text="Powering up",
        event_time=2149267470,
    )


async def test_a_reply_of_8_mib_arrives_in_pieces() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        pad = b"x" * (8 << 20)
        raw = line.answer(await line.request(), b'{"pad": "%b"}' % pad)
        for start in range(0, len(raw), 50_000):
            line.send(raw[start : start + 50_000])
            await line.writer.drain()
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        result = await client.call("Peer.pad", timeout_s=LONG_S)
    assert len(result["pad"]) == 8 << 20


async def test_other_events_are_no_news_and_an_unusable_one_means_read_again() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        bodies = (
            b'{"method": "|net|host_conn|no_id", "params": {"notify_time": 1}}',
            b'{"method": "|virt|VM_status|x", "params": {"x": {}, "notify_time": 2}}',
            b"no json",
        )
        for body in bodies:
            line.send(vdsm_peer.MESSAGE % (b"jms.queue.events", line.events_id, len(body), body))
        line.send(line.event(b"Up", 3))
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        await session_stands(client)
        assert await client.next_news() is None
        while (report := await client.next_news()) is None:
            pass  # the first gap was read before the second came
        assert report.event_time == 3


async def test_a_cancelled_call_leaves_the_session_in_order_and_its_answer_is_dropped() -> None:
    cancelled = asyncio.Event()

    async def vdsm(line: Line) -> None:
        await line.open()
        late = await line.request()
        await cancelled.wait()
        line.send(line.answer(late, b'"late"'))
        await line.serve(b'"mine"')

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.call("A.a", timeout_s=LONG_S)
        cancelled.set()
        assert await client.call("B.b", timeout_s=LONG_S) == "mine"
        assert peer.connections == 1


# errors


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, failures.NoSuchVm),
        (4, failures.VmExists),
        (19, failures.GuestUnresponsive),
        (201, failures.NoSuchVolume),
        (268, failures.NoSuchImage),
        (358, failures.NoSuchDomain),
        (360, failures.StorageError),
        (661, failures.HostIdError),
        (900, failures.DomainInPool),
        (1500, failures.HookFailed),
        (-32601, failures.NoSuchMethod),
        (9, failures.CallRejected),
        (100, failures.CallRejected),
        (40, failures.VdsmError),
    ],
)
async def test_error_code_becomes_its_class(code: int, kind: type[failures.VdsmError]) -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        line.send(line.failure(await line.request(), code, b"as VDSM says"))
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(failures.VdsmError) as caught:
            await client.ping()
    assert type(caught.value) is kind
    assert (caught.value.verb, caught.value.code) == ("Host.ping2", code)
    assert str(caught.value).startswith(f"VDSM answered Host.ping2 with error {code}, as VDSM says; ")


async def test_an_unknown_vm_has_no_report_and_needs_no_destroying() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        for _ in range(2):
            line.send(line.failure(await line.request(), 1, b"Virtual machine does not exist"))
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        assert await client.vm_report(VM_ID) is None
        await client.destroy_vm(VM_ID)


@pytest.mark.parametrize("code", [99, 1100])
async def test_what_vdsm_did_not_look_at_is_sent_again(code: int) -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        for _ in range(2):
            line.send(line.failure(await line.request(), code, b"later"))
        line.send(line.answer(await line.request(), row()))
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        assert (await client.create_vm(VM_ID, "<domain/>")).vm_id == VM_ID


@pytest.mark.parametrize(("code", "kind"), [(99, failures.Recovering), (1100, failures.Busy)])
async def test_a_deadline_spent_waiting_for_vdsm_ends_in_what_it_said(
    code: int, kind: type[failures.VdsmError]
) -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        while (raw := await line.frame()).startswith(b"SEND"):
            match = vdsm_peer.SEND.fullmatch(raw)
            assert match is not None
            request = vdsm_peer.Request(id=json.loads(match[3])["id"], verb="", params={})
            line.send(line.failure(request, code, b"later"))
        assert raw.startswith(b"UNSUBSCRIBE")

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(kind):
            await client.create_vm(VM_ID, "<domain/>", timeout_s=0.6)


@pytest.mark.parametrize(
    ("result", "field"),
    [
        (b"true", "result"),
        (b'{"vmId": "%b", "statusTime": "1"}' % VM_ID.encode(), "status"),
        (b'{"vmId": "%b", "status": "Up", "statusTime": "x"}' % VM_ID.encode(), "statusTime"),
        (b'{"vmId": "other", "status": "WaitForLaunch", "statusTime": "1"}', "vmId"),
    ],
)
async def test_an_unusable_answer_to_create_names_the_field_and_leaves_the_outcome_open(
    result: bytes, field: str
) -> None:
    async def vdsm(line: Line) -> None:
        await (await line.open()).serve(result)

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(failures.BadReply, match=r"VM\.create") as caught:
            await client.create_vm(VM_ID, "<domain/>")
    assert caught.value.field == field
    assert isinstance(caught.value, OutcomeUnknown)


async def test_an_answer_without_result_fails_its_own_call_only() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        line.send(line.reply(b'{"jsonrpc": "2.0", "id": "%b"}' % (await line.request()).id.encode()))
        await line.serve(b"true")

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(failures.BadReply, match="result is missing"):
            await client.ping()
        await client.ping()


# lost connections


async def test_a_lost_connection_fails_every_pending_call_at_once() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        if line.number == 0:
            for _ in range(3):
                await line.request()
            return  # and hang up
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        async with asyncio.timeout(LONG_S / 5):
            outcomes = await asyncio.gather(
                *(client.call(f"A.{n}", timeout_s=LONG_S) for n in range(3)), return_exceptions=True
            )
        assert [type(outcome) for outcome in outcomes] == [failures.ConnectionLost] * 3
        assert all(isinstance(outcome, OutcomeUnknown) for outcome in outcomes)
        assert "A.0" in str(outcomes[0])
        assert "whether it was done is unknown, read the state" in str(outcomes[0])
        await session_stands(client)
        await session_stands(client)


async def test_reconnection_subscribes_again_and_tells_the_owner() -> None:
    destinations: list[bytes] = []

    async def vdsm(line: Line) -> None:
        await line.open()
        destinations.append(line.reply_to)
        if line.number == 0:
            line.send(line.event(b"Up", 1))
            return
        line.send(line.event(b"Down", 2))
        await line.serve(b"true")

    async with Peer(vdsm) as peer, client_of(peer) as client:
        news = [await client.next_news() for _ in range(4)]
        await client.ping()
    assert [report and report.status_text for report in news] == [None, "Up", None, "Down"]
    assert len(set(destinations)) == 2


async def test_calls_between_two_sessions_fail_at_once_and_say_why() -> None:
    hung_up = asyncio.Event()

    async def vdsm(line: Line) -> None:
        await line.open()
        line.hang_up()
        hung_up.set()

    slow = dataclasses.replace(QUICK, retry_first_s=LONG_S, retry_max_s=LONG_S)
    async with Peer(vdsm) as peer, client_of(peer, timing=slow) as client:
        await hung_up.wait()

        why = ""
        async with asyncio.timeout(LONG_S / 5):
            while not why:
                try:
                    await client.call("A.a", timeout_s=LONG_S)
                except failures.ConnectionLost:
                    pass  # it was written before the end was noticed
                except failures.VdsmAway as e:
                    why = str(e)
    assert f"127.0.0.1:{peer.port}" in why
    assert "VDSM closed the connection" in why


async def test_create_is_not_sent_again_after_a_lost_connection() -> None:
    seen: list[str] = []

    async def vdsm(line: Line) -> None:
        await line.open()
        if line.number == 0:
            seen.append((await line.request()).verb)
            return
        request = await line.request()
        seen.append(request.verb)
        line.send(line.answer(request, b"true"))
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(failures.ConnectionLost):
            await client.create_vm(VM_ID, "<domain/>")
        await session_stands(client)
        await session_stands(client)
        await client.ping()
    assert seen == ["VM.create", "Host.ping2"]


async def test_create_is_not_sent_again_after_its_deadline() -> None:
    seen: list[str] = []

    async def vdsm(line: Line) -> None:
        await line.open()
        for _ in range(2):
            request = await line.request()
            seen.append(request.verb)
        line.send(line.answer(request, b"true"))
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(failures.NoAnswer, match="may still be done") as caught:
            await client.create_vm(VM_ID, "<domain/>", timeout_s=0.1)
        assert isinstance(caught.value, OutcomeUnknown)
        await client.ping()
    assert seen == ["VM.create", "Host.ping2"]


async def test_create_refused_while_recovering_is_not_sent_again_once_it_may_have_arrived() -> None:
    seen: list[str] = []

    async def vdsm(line: Line) -> None:
        await line.open()
        if line.number > 0:
            await line.farewell()
            return
        for _ in range(2):
            request = await line.request()
            seen.append(request.verb)
            if len(seen) == 1:
                line.send(line.failure(request, 99, b"Recovering from crash or Initializing"))

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(failures.ConnectionLost):
            await client.create_vm(VM_ID, "<domain/>")
        await session_stands(client)
        await session_stands(client)
    assert seen == ["VM.create"] * 2


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"ERROR\ncontent-length:26\n\nSubscription not available\0", "Subscription not available"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "unknown command"),
        (b"CONNECTED\nversion:1.2\n\n\0", "Connected frame that nothing asked for"),
    ],
)
async def test_a_session_that_goes_wrong_is_renewed_and_says_why(raw: bytes, reason: str) -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        if line.number == 0:
            await line.request()
            line.send(raw)
            await line.gone()
            return
        await line.serve(b"true")

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(failures.ConnectionLost, match=reason):
            await client.ping(timeout_s=LONG_S)
        await session_stands(client)
        await session_stands(client)
        await client.ping()


async def test_an_answer_that_is_no_json_ends_the_session_for_all() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        if line.number == 0:
            await line.request()
            line.send(line.reply(b"{"))
            await line.gone()
            return
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(failures.ConnectionLost, match="no JSON"):
            await client.ping(timeout_s=LONG_S)
        await session_stands(client)
        await session_stands(client)


# heart-beats


def test_heart_beats_come_more_than_twice_in_the_agreed_interval() -> None:
    for announced, confirmed in ((20_000, 20_000), (500, 1000), (1000, 500)):
        period_s = beat_period_s(announced, confirmed)
        assert period_s is not None
        assert period_s < min(announced, confirmed) / 1000 / 2
    assert beat_period_s(20_000, 0) is None
    assert beat_period_s(0, 20_000) is None


async def test_idle_session_outlives_a_server_without_tolerance() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        for _ in range(4):
            async with asyncio.timeout(1.0):  # VDSM drops the client without a byte in that time
                assert await line.reader.readexactly(1) == b"\n"
        line.send(line.event(b"Up", 1))
        await line.farewell()

    timing = dataclasses.replace(QUICK, sends_ms=1000)
    async with Peer(vdsm) as peer, client_of(peer, timing=timing) as client:
        await session_stands(client)
        assert await client.next_news() is not None


async def test_a_silent_server_is_noticed() -> None:
    async def vdsm(line: Line) -> None:
        await line.open(heart_beat=b"100,20000")
        if line.number == 0:
            await line.request()
            await line.gone()
            return
        line.send(line.answer(await line.request(), b"true"))
        await line.gone()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        with pytest.raises(failures.ConnectionLost, match=r"not a byte came for 0\.2 s"):
            await client.ping(timeout_s=LONG_S)
        await session_stands(client)
        await session_stands(client)
        await client.ping()


async def test_heart_beats_alone_keep_a_session() -> None:
    async def vdsm(line: Line) -> None:
        await line.open(heart_beat=b"500,20000")
        for _ in range(30):
            line.send(b"\n")
            await asyncio.sleep(0.04)
        await line.serve(b"true")

    async with Peer(vdsm) as peer, client_of(peer) as client:
        await client.ping(timeout_s=LONG_S)
        assert peer.connections == 1


# load


async def test_no_more_than_eight_calls_are_in_flight() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        waiting = [await line.request() for _ in range(8)]
        for _ in range(12):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.03):
                    await line.frame()
            line.send(line.answer(waiting.pop(0), b"1"))
            waiting.append(await line.request())
        for request in waiting:
            line.send(line.answer(request, b"1"))
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        results = await asyncio.gather(*(client.call("A.a", timeout_s=LONG_S) for _ in range(20)))
    assert results == [1] * 20


async def test_a_call_that_finds_no_place_in_time_was_not_sent() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        waiting = [await line.request() for _ in range(8)]
        line.send(line.event(b"Up", 1))
        await told.wait()
        for request in waiting:
            line.send(line.answer(request, b"1"))
        await line.farewell()

    told = asyncio.Event()
    async with Peer(vdsm) as peer, client_of(peer) as client, asyncio.TaskGroup() as tasks:
        await session_stands(client)
        for _ in range(8):
            tasks.create_task(client.call("A.a", timeout_s=LONG_S))
        assert await client.next_news() is not None
        with pytest.raises(failures.NotSent, match=r"VM\.create was not sent within 0\.1 s"):
            await client.create_vm(VM_ID, "<domain/>", timeout_s=0.1)
        told.set()


# opening


async def test_nobody_listens() -> None:
    async def nobody(line: Line) -> None:
        raise AssertionError

    async with Peer(nobody) as peer:
        pass
    async with client_of(peer) as client:
        with pytest.raises(failures.VdsmAway) as caught:
            await client.ping()
    assert f"127.0.0.1:{peer.port}: connection refused; check that vdsmd.service runs" in str(caught.value)


async def test_vdsm_that_starts_later_is_found() -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        line.send(line.answer(await line.request(), b"true"))

    async with Peer(vdsm) as peer:
        pass  # its port is free again
    async with client_of(peer) as client:
        with pytest.raises(failures.VdsmAway):
            await client.ping()
        async with Peer(vdsm, port=peer.port):
            await session_stands(client)
            await client.ping()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"ERROR\ncontent-length:19\n\nVersion unsupported\0", "refused the session: Version unsupported"),
        (b"CONNECTED\nversion:1.1\n\n\0", "STOMP 1.1"),
        (b"RECEIPT\nreceipt-id:x\n\n\0", "answered CONNECT with Receipt"),
        (b"HTTP/1.1 400 Bad Request\r\n", "unknown command"),
        (b"", "reset"),
    ],
)
async def test_a_session_that_is_not_granted_says_why(answer: bytes, reason: str) -> None:
    async def other(line: Line) -> None:
        await line.expect(vdsm_peer.CONNECT)
        line.send(answer)

    slow = dataclasses.replace(QUICK, retry_first_s=LONG_S, retry_max_s=LONG_S)
    async with Peer(other) as peer, client_of(peer, timing=slow) as client:
        with pytest.raises(failures.VdsmAway, match=reason):
            await client.ping(timeout_s=LONG_S)


async def test_no_answer_to_connect() -> None:
    async def silent(line: Line) -> None:
        await line.gone()

    timing = dataclasses.replace(QUICK, open_s=0.1)
    async with Peer(silent) as peer, client_of(peer, timing=timing) as client:
        with pytest.raises(failures.VdsmAway, match=r"no session within 0.1 s"):
            await client.ping(timeout_s=LONG_S)


async def test_the_deadline_of_a_call_covers_the_connection() -> None:
    async def silent(line: Line) -> None:
        await line.gone()

    async with Peer(silent) as peer, client_of(peer) as client:
        with pytest.raises(failures.VdsmAway, match=r"no session within 0.05 s"):
            await client.ping(timeout_s=0.05)


# the end


@pytest.mark.parametrize("said", ["nothing", "only heart-beats"])
async def test_closing_does_not_wait_for_a_peer_that_does_not_answer(said: str) -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        async with asyncio.TaskGroup() as tasks:
            gone = tasks.create_task(line.gone())
            while not gone.done():
                if said == "only heart-beats":
                    line.send(b"\n")
                await asyncio.sleep(0.02)
        assert b"DISCONNECT" in gone.result()

    async with Peer(vdsm) as peer:
        client = client_of(peer)
        async with asyncio.timeout(LONG_S / 10), client:
            await session_stands(client)


async def test_an_owner_that_is_cancelled_still_leaves_in_order() -> None:
    async def vdsm(line: Line) -> None:
        await (await line.open()).farewell()

    async def owner(peer: Peer) -> None:
        async with client_of(peer) as client:
            await session_stands(client)
            standing.set()
            await client.next_news()

    standing = asyncio.Event()
    async with Peer(vdsm) as peer, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(owner(peer))
        await standing.wait()
        task.cancel()


async def test_an_error_of_the_owner_leaves_the_block_as_it_is() -> None:
    async def vdsm(line: Line) -> None:
        await (await line.open()).farewell()

    async def owner(peer: Peer) -> None:
        async with client_of(peer) as client:
            await session_stands(client)
            raise LookupError("mine")

    async with Peer(vdsm) as peer:
        with pytest.raises(LookupError, match="mine"):
            await owner(peer)


async def test_calls_of_a_closed_client_fail_at_once() -> None:
    async def vdsm(line: Line) -> None:
        await (await line.open()).farewell()

    async with Peer(vdsm) as peer:
        async with client_of(peer) as client:
            await session_stands(client)
        with pytest.raises(failures.VdsmAway, match="closed"):
            await client.ping(timeout_s=LONG_S)


# verbs


def row(**changes: object) -> bytes:
    return json.dumps({"vmId": VM_ID, "status": "WaitForLaunch", "statusTime": "7", **changes}).encode()


REPORT = model.VmReport(
    vm_id=VM_ID, status=model.VmStatus.WAIT_FOR_LAUNCH, status_text="WaitForLaunch", event_time=7
)
VOLUME = {
    "storagepoolID": verbs.BLANK_ID,
    "storagedomainID": SD_ID,
    "imageID": IMAGE_ID,
    "volumeID": VOLUME_ID,
}
Call = Callable[[verbs.Vdsm], Awaitable[Any]]
VERBS: list[tuple[Call, str, dict[str, Any], bytes, Any]] = [
    (lambda v: v.ping(), "Host.ping2", {}, b"true", None),
    (
        lambda v: v.host_stats(),
        "Host.getStats",
        {},
        b'{"memFree": 12345, "cpuLoad": "0.42", "network": {"ovirtmgmt": {"state": "up"}}, "haScore": 3400, '
        b'"haStats": {"configured": true, "active": true, "score": 3400, "globalMaintenance": false, '
        b'"localMaintenance": false}}',
        model.HostStats(
            mem_free_mib=12345,
            cpu_load=0.42,
            network_up={"ovirtmgmt": True},
            ha=model.HaStats(
                configured=True, active=True, score=3400, global_maintenance=False, local_maintenance=False
            ),
            ha_score=3400,
        ),
    ),
    (
        lambda v: v.capabilities(),
        "Host.getCapabilities",
        {},
        b'{"hostedEngineDeployed": true}',
        {"hostedEngineDeployed": True},
    ),
    (
        lambda v: v.bridges(),
        "Host.getCapabilities",
        {},
        b'{"networks": {"ovirtmgmt": {"iface": "ovirtmgmt", "bridged": true, "mtu": 1500}, '
        b'"on0123456789abc": {"iface": "on0123456789abc", "bridged": "True"}, '
        b'"migration": {"iface": "bond0.7", "bridged": false}}, "bridges": {}}',
        {"ovirtmgmt": "ovirtmgmt", "on0123456789abc": "on0123456789abc"},
    ),
    (lambda v: v.vm_reports(), "Host.getAllVmStats", {}, b"[" + row() + b"]", (REPORT,)),
    (lambda v: v.vm_report(VM_ID), "VM.getStats", {"vmID": VM_ID}, b"[" + row() + b"]", REPORT),
    (
        lambda v: v.vm_cpu(VM_ID),
        "VM.getStats",
        {"vmID": VM_ID},
        b"[" + row(cpuUser="3.10", cpuSys="0.90", cpuActual=True) + b"]",
        model.VmCpu(percent=4.0, is_real=True),
    ),
    (
        lambda v: v.create_vm(VM_ID, "<domain/>"),
        "VM.create",
        {"vmID": VM_ID, "vmParams": {"xml": "<domain/>"}},
        row(xml="<domain/>"),
        REPORT,
    ),
    (lambda v: v.destroy_vm(VM_ID), "VM.destroy", {"vmID": VM_ID}, b"true", None),
    (
        lambda v: v.shutdown_vm(VM_ID, delay_s=30, message="bye"),
        "VM.shutdown",
        {"vmID": VM_ID, "delay": 30, "message": "bye"},
        b"true",
        None,
    ),
    (
        lambda v: v.start_monitoring_domain(SD_ID, 3),
        "Host.startMonitoringDomain",
        {"sdUUID": SD_ID, "hostID": 3},
        b"true",
        None,
    ),
    (
        lambda v: v.stop_monitoring_domain(SD_ID),
        "Host.stopMonitoringDomain",
        {"sdUUID": SD_ID},
        b"true",
        None,
    ),
    (lambda v: v.storage_vitals([SD_ID]), "Host.getStorageRepoStats", {"domains": [SD_ID]}, b"{}", {}),
    (
        lambda v: v.connect_storage(1, [{"id": IMAGE_ID, "connection": "server:/export"}]),
        "StoragePool.connectStorageServer",
        {
            "storagepoolID": verbs.BLANK_ID,
            "domainType": 1,
            "connectionParams": [{"id": IMAGE_ID, "connection": "server:/export"}],
        },
        b'[{"id": "%b", "status": 477}]' % IMAGE_ID.encode(),
        [(IMAGE_ID, 477)],
    ),
    (
        lambda v: v.domain_info(SD_ID),
        "StorageDomain.getInfo",
        {"storagedomainID": SD_ID},
        b'{"uuid": "%b", "version": "5", "role": "Regular", "type": "NFS", "class": "Data", "pool": [], '
        b'"name": "hosted_storage", "block_size": 512, "alignment": 1048576, "remotePath": "server:/export"}'
        % SD_ID.encode(),
        replies.DomainInfo(
            domain_id=SD_ID,
            name="hosted_storage",
            type="NFS",
            version=5,
            block_size_bytes=512,
            alignment_bytes=1048576,
            pool_ids=(),
            remote_path="server:/export",
        ),
    ),
    (
        lambda v: v.domain_stats(SD_ID),
        "StorageDomain.getStats",
        {"storagedomainID": SD_ID},
        b'{"disktotal": "107374182400", "diskfree": 64424509440}',
        replies.DomainSpace(total_bytes=107374182400, free_bytes=64424509440),
    ),
    (
        lambda v: v.image_ids(SD_ID),
        "StorageDomain.getImages",
        {"storagedomainID": SD_ID},
        b'["%b"]' % IMAGE_ID.encode(),
        (IMAGE_ID,),
    ),
    (
        lambda v: v.volume_ids(SD_ID, IMAGE_ID),
        "StorageDomain.getVolumes",
        {"storagedomainID": SD_ID, "storagepoolID": verbs.BLANK_ID, "imageID": IMAGE_ID},
        b"[]",
        (),
    ),
    (
        lambda v: v.volume_info(SD_ID, IMAGE_ID, VOLUME_ID),
        "Volume.getInfo",
        VOLUME,
        b'{"voltype": "LEAF", "description": "d", "disktype": "OVFS", "apparentsize": "1024"}',
        model.VolumeInfo(
            domain_id=SD_ID,
            image_id=IMAGE_ID,
            volume_id=VOLUME_ID,
            is_leaf=True,
            description="d",
            disk_type="OVFS",
            apparent_size_bytes=1024,
            lease=None,
        ),
    ),
    (
        lambda v: v.prepare_image(SD_ID, IMAGE_ID, VOLUME_ID),
        "Image.prepare",
        VOLUME,
        b'{"path": "/run/vdsm/storage/x"}',
        Path("/run/vdsm/storage/x"),
    ),
    (
        lambda v: v.is_block_domain(SD_ID),
        "StorageDomain.getInfo",
        {"storagedomainID": SD_ID},
        b'{"uuid": "%b", "version": 5, "type": "ISCSI", "name": "he"}' % SD_ID.encode(),
        True,
    ),
    (
        lambda v: v.lease_info(SD_ID, VM_ID),
        "Lease.info",
        {"lease": {"sd_id": SD_ID, "lease_id": VM_ID}},
        b'{"sd_id": "%b", "lease_id": "%b", "path": "/x", "offset": 3145728}'
        % (SD_ID.encode(), VM_ID.encode()),
        replies.ExternalLease(path=Path("/x"), offset_bytes=3145728),
    ),
]


@pytest.mark.parametrize(("call", "verb", "params", "result", "value"), VERBS, ids=[v[1] for v in VERBS])
async def test_verb_is_sent_with_named_parameters_and_its_answer_is_typed(
    call: Call, verb: str, params: dict[str, Any], result: bytes, value: object
) -> None:
    async def vdsm(line: Line) -> None:
        await line.open()
        request = await line.request()
        assert (request.verb, request.params) == (verb, params)
        line.send(line.answer(request, result))
        await line.farewell()

    async with Peer(vdsm) as peer, client_of(peer) as client:
        assert await call(client) == value


async def test_stats_of_another_vm_are_refused() -> None:
    async def vdsm(line: Line) -> None:
        await (await line.open()).serve(b"[" + row(vmId="other") + b"]", b"[]")

    async with Peer(vdsm) as peer, client_of(peer) as client:
        for _ in range(2):
            with pytest.raises(failures.BadReply, match="vmId is not just"):
                await client.vm_report(VM_ID)
