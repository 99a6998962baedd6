"""One session with VDSM, from CONNECT to its end; when it ends, every call under way fails at once."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ovirt_he_agent.adapters.vdsm import failures
from ovirt_he_agent.adapters.vdsm.endpoint import Endpoint
from ovirt_he_agent.adapters.vdsm.news import News
from ovirt_he_agent.wire import jsonrpc, stomp

log = logging.getLogger(__name__)

REQUESTS = "jms.topic.vdsm_requests"
EVENTS = "jms.queue.events"

_READ_BYTES = 1024 * 1024
_REPLIES_ID, _EVENTS_ID = "s-1", "s-2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Limits and paces of a session and of what keeps it."""

    open_s: float = 10.0
    """TCP, TLS and CONNECTED together; VDSM itself allows 10 s for TLS and 10 s for the first frame."""
    sends_ms: int = 20_000
    """We promise to write this often, and do so more than twice as often."""
    wants_ms: int = 10_000
    """VDSM is asked to write this often; silent for twice as long, it is taken for dead."""
    farewell_s: float = 0.5
    """How long to wait for the answer to DISCONNECT."""
    shut_s: float = 0.2
    """How long the transport may take to close: once politely, once hard."""
    retry_first_s: float = 1.0
    retry_max_s: float = 10.0


def beat_period_s(sends_ms: int, server_wants_ms: int) -> float | None:
    """How often to write a newline; None: never.

    VDSM drops a connection after exactly the agreed interval without a byte; a client that
    writes at that pace, or at half of it when the loop is late, is dropped now and then.
    """
    if sends_ms == 0 or server_wants_ms == 0:
        return None
    return 0.4 * min(sends_ms, server_wants_ms) / 1000


class _Ended(Exception):
    """Ends the session's tasks; the text is the reason."""


_Answer = jsonrpc.Reply | jsonrpc.Failure | jsonrpc.BadMessage | None
"""None: the session ended first."""


class Session:
    """Made by ``open_session``. ``call`` needs ``run`` to be running."""

    def __init__(
        self,
        endpoint: Endpoint,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        news: News,
        timing: Timing,
        clock: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._writer = writer
        self._news = news
        self._timing = timing
        self._clock = clock
        self._decoder = stomp.Decoder()
        self._early: list[stomp.Frame] = []  # read together with CONNECTED
        self._reply_to = str(uuid.uuid4())
        self._receipt_id = str(uuid.uuid4())
        self._answers: dict[str, asyncio.Future[_Answer]] = {}
        self._farewell_done = asyncio.Event()
        self._beat_s: float | None = None
        self._silence_s: float | None = None
        self._heard_at = clock()
        self._end = "it has not begun"

    async def begin(self) -> None:
        """CONNECT, CONNECTED, both subscriptions. Raises ``VdsmAway``; the caller limits the time."""
        timing = self._timing
        self._writer.write(stomp.connect(client_sends_ms=timing.sends_ms, client_wants_ms=timing.wants_ms))
        frames: list[stomp.Frame] = []
        try:
            while not frames:
                data = await self._reader.read(_READ_BYTES)
                if not data:
                    raise self._endpoint.dropped(None)
                frames = self._decoder.feed(data)
        except OSError as e:
            raise self._endpoint.dropped(e) from e
        except stomp.BadFrame as e:
            raise self._endpoint.foreign(e.reason) from e
        self._early = frames[1:]
        match frames[0]:
            case stomp.Connected(version="1.2") as connected:
                self._agree(connected)
            case stomp.Connected(version=version):
                raise self._endpoint.foreign(f"it speaks STOMP {version}")
            case stomp.Error(text=text):
                raise self._endpoint.foreign(f"it refused the session: {text}")
            case other:
                raise self._endpoint.foreign(f"it answered CONNECT with {type(other).__name__}")
        self._writer.write(stomp.subscribe(self._reply_to, _REPLIES_ID) + stomp.subscribe(EVENTS, _EVENTS_ID))

    def _agree(self, connected: stomp.Connected) -> None:
        self._beat_s = beat_period_s(self._timing.sends_ms, connected.server_wants_ms)
        if connected.server_sends_ms:
            self._silence_s = 2 * connected.server_sends_ms / 1000

    async def run(self) -> str:
        """Until the session ends; returns the reason. All calls under way have failed by then."""
        self._end = "this agent ended it"
        self._heard_at = self._clock()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(), name="vdsm-read")
                if self._beat_s is not None:
                    tasks.create_task(self._beat(self._beat_s), name="vdsm-heart-beat")
                if self._silence_s is not None:
                    tasks.create_task(self._watch(self._silence_s), name="vdsm-silence")
        except* _Ended as group:
            self._end = str(group.exceptions[0])
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result(None)
            self._farewell_done.set()
        return self._end

    async def call(self, verb: str, params: Mapping[str, Any]) -> Any:
        """The result of ``verb``. The caller limits the time; what comes later is dropped.

        Raises ``VdsmError``, ``BadReply``, ``ConnectionLost``.
        """
        request_id = str(uuid.uuid4())
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        body = jsonrpc.request(verb, params, request_id)
        self._answers[request_id] = answer
        try:
            self._writer.write(
                stomp.send(REQUESTS, reply_to=self._reply_to, body=body, flow_id=f"he-{request_id[:8]}")
            )
            outcome = await answer
        finally:
            del self._answers[request_id]
        match outcome:
            case jsonrpc.Reply(result=result):
                return result
            case jsonrpc.Failure(code=code, message=message):
                raise failures.from_code(verb, code, message)
            case jsonrpc.BadMessage(field=field, problem=problem):
                raise failures.BadReply(verb, field, problem)
            case None:
                raise failures.ConnectionLost(verb, str(self._endpoint), self._end)

    async def farewell(self) -> None:
        """UNSUBSCRIBE, DISCONNECT, and wait shortly for the receipt; VDSM then leaves closing to us."""
        self._writer.write(
            stomp.unsubscribe(_EVENTS_ID)
            + stomp.unsubscribe(_REPLIES_ID)
            + stomp.disconnect(self._receipt_id)
        )
        try:
            async with asyncio.timeout(self._timing.farewell_s):
                await self._farewell_done.wait()
        except TimeoutError:
            log.debug("%s: no answer to DISCONNECT", self._endpoint)

    async def shut(self) -> None:
        """Close the transport, within two times ``shut_s``."""
        self._writer.close()
        if not await self._is_closed():
            self._writer.transport.abort()
            await self._is_closed()

    async def _is_closed(self) -> bool:
        try:
            async with asyncio.timeout(self._timing.shut_s):
                await self._writer.wait_closed()
        except TimeoutError:
            return False
        except OSError:
            pass  # how the connection ended is known already
        return True

    # tasks

    async def _read(self) -> None:
        self._take(self._early)
        while True:
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError as e:
                raise _Ended(f"the connection broke: {e}") from e
            if not data:
                raise _Ended("VDSM closed the connection")
            self._heard_at = self._clock()
            try:
                self._take(self._decoder.feed(data))
            except stomp.BadFrame as e:
                self._take(e.frames)
                raise _Ended(str(e)) from e

    async def _beat(self, period_s: float) -> None:
        while True:
            await asyncio.sleep(period_s)
            self._writer.write(stomp.HEART_BEAT)

    async def _watch(self, limit_s: float) -> None:
        while True:
            left_s = self._heard_at + limit_s - self._clock()
            if left_s <= 0:
                raise _Ended(f"not a byte came for {limit_s:g} s")
            await asyncio.sleep(left_s)

    # frames

    def _take(self, frames: "list[stomp.Frame] | tuple[stomp.Frame, ...]") -> None:
        for frame in frames:
            match frame:
                case stomp.Message(subscription=subscription, body=body) if subscription == _REPLIES_ID:
                    self._take_answer(body)
                case stomp.Message(subscription=subscription, body=body) if subscription == _EVENTS_ID:
                    self._take_event(body)
                case stomp.Receipt(receipt_id=receipt_id) if receipt_id == self._receipt_id:
                    self._farewell_done.set()
                case stomp.Error(text=text):  # a subscription may be missing now
                    raise _Ended(f"VDSM refused a frame of ours: {text}")
                case other:
                    raise _Ended(f"VDSM sent a {type(other).__name__} frame that nothing asked for")

    def _take_answer(self, body: bytes) -> None:
        answer: _Answer
        try:
            match jsonrpc.decode(body):
                case jsonrpc.Event(subject=subject):
                    raise _Ended(f"VDSM sent event {subject} where answers belong")
                case message:
                    answer, request_id = message, message.request_id
        except jsonrpc.BadMessage as e:
            if e.request_id is None:  # nobody can be told, so all are
                raise _Ended(str(e)) from e
            answer, request_id = e, e.request_id
        waiting = self._answers.get(request_id) if request_id is not None else None
        if waiting is None or waiting.done():
            log.debug("%s: an answer came that nobody waits for: %s", self._endpoint, request_id)
        else:
            waiting.set_result(answer)

    def _take_event(self, body: bytes) -> None:
        try:
            message = jsonrpc.decode(body)
        except jsonrpc.BadMessage as e:
            log.warning("an event of VDSM at %s was dropped: %s", self._endpoint, e)
            self._news.gap()
            return
        if isinstance(message, jsonrpc.Event):
            self._news.event(message)


async def open_session(
    endpoint: Endpoint, *, news: News, timing: Timing, clock: Callable[[], float]
) -> Session:
    """A session that stands: CONNECTED has come. Raises ``VdsmAway`` within ``timing.open_s``."""
    try:
        async with asyncio.timeout(timing.open_s):
            reader, writer = await endpoint.open()
            session = Session(endpoint, reader, writer, news=news, timing=timing, clock=clock)
            try:
                await session.begin()
            except BaseException:  # a cancellation too must not leave the socket open
                await session.shut()
                raise
            return session
    except TimeoutError:
        raise endpoint.silent(timing.open_s) from None
