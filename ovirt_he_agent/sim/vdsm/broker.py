"""The message broker inside VDSM: subscriptions, forwarding, who gets which reply.

Models vdsm: lib/yajsonrpc/stompserver.py. One ``Broker`` per emulator, one
``Session`` per connection; no socket here.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ovirt_he_agent.sim.vdsm import stomp

REQUEST_QUEUES = ("jms.topic.vdsm_requests", "jms.topic.vdsm_irs_requests")
RESPONSES = "jms.topic.vdsm_responses"
EVENTS = "jms.queue.events"

MIN_HEART_BEAT_MS = 1000


class Outlet(Protocol):
    """What the broker needs of a connection."""

    def queue(self, frame: stomp.Frame) -> None:
        """Send ``frame`` after those queued before; ignored once the connection is closed."""

    def set_heart_beat(self, *, send_ms: int, expect_ms: int) -> None:
        """Beat after ``send_ms`` of own silence, hang up after ``expect_ms`` of the client's; 0: off."""


@dataclass(eq=False, slots=True)
class Subscription:
    id: str
    destination: str
    outlet: Outlet


class Broker:
    def __init__(self) -> None:
        self.on_request: Callable[[bytes], None] = lambda body: None
        """Where request bodies go; set by the RPC layer."""
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._reply_to: dict[object, str | None] = {}
        """Request id to reply destination: ONE map for all connections, as in VDSM."""

    def reply(self, response: dict[str, object]) -> None:
        """Deliver a JSON-RPC response to every subscriber of its reply destination.

        Without a known id it goes to ``RESPONSES``; without ``reply-to`` it is dropped.
        """
        destination: str | None = RESPONSES
        try:
            if response["id"] in self._reply_to:
                destination = self._reply_to.pop(response["id"])
        except TypeError:
            return  # an unhashable id raises in VDSM's worker: no reply either
        if destination is not None:
            self.publish(destination, json.dumps(response).encode())

    def publish(self, destination: str, body: bytes) -> None:
        """A MESSAGE of VDSM's own: to the subscribers of exactly this destination."""
        for subscription in self._subscriptions.get(destination, ()):
            headers = {
                "destination": destination,
                "content-type": "application/json",
                "subscription": subscription.id,
            }
            subscription.outlet.queue(stomp.Frame(stomp.MESSAGE, headers, body))

    def subscribe(self, subscription: Subscription) -> None:
        self._subscriptions.setdefault(subscription.destination, []).append(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        remaining = self._subscriptions.get(subscription.destination, [])
        if subscription in remaining:
            remaining.remove(subscription)
        if not remaining:
            self._subscriptions.pop(subscription.destination, None)

    def forward(self, destination: str, frame: stomp.Frame) -> bool:
        """To the subscribers of the destination and of its dot-separated parents; False if there is none."""
        parts = destination.split(".")
        found = [
            subscription
            for length in range(1, len(parts) + 1)
            for subscription in self._subscriptions.get(".".join(parts[:length]), ())
        ]
        for subscription in found:
            headers = {"subscription": subscription.id} | frame.headers
            subscription.outlet.queue(stomp.Frame(stomp.MESSAGE, headers, frame.body))
        return bool(found)

    def request(self, body: bytes, reply_to: str | None) -> None:
        try:
            self._remember(json.loads(body), reply_to)
        except (ValueError, TypeError, AttributeError):
            pass  # the RPC layer complains about such a request
        self.on_request(body)

    def _remember(self, request: object, reply_to: str | None) -> None:
        if isinstance(request, list):
            for one in request:
                self._remember(one, reply_to)
        elif isinstance(request, dict):
            self._reply_to[request.get("id")] = reply_to


class Session:
    """One connection's STOMP commands. ``handle`` raises ``stomp.Broken`` when VDSM would hang up."""

    def __init__(self, broker: Broker, outlet: Outlet) -> None:
        self._broker = broker
        self._outlet = outlet
        self._subscriptions: dict[str, Subscription] = {}

    def handle(self, frame: stomp.Frame) -> None:
        match frame.command:
            case stomp.CONNECT:
                self._connect(frame)
            case stomp.SUBSCRIBE:
                self._subscribe(frame)
            case stomp.UNSUBSCRIBE:
                self._unsubscribe(frame)
            case stomp.SEND:
                self._send(frame)
            case stomp.DISCONNECT:
                self._disconnect(frame)
            case other:
                raise stomp.Broken(f"unknown command {other}")

    def close(self) -> None:
        """Forget the connection's subscriptions."""
        for subscription in self._subscriptions.values():
            self._broker.unsubscribe(subscription)
        self._subscriptions.clear()

    def _error(self, text: str) -> None:
        self._outlet.queue(stomp.Frame(stomp.ERROR, body=text.encode()))

    def _connect(self, frame: stomp.Frame) -> None:
        if frame.headers.get("accept-version") != "1.2":
            self._error("Version unsupported")
            return
        client_sends, client_expects = _heart_beat(frame.headers.get("heart-beat", "0,0"))
        self._outlet.queue(
            stomp.Frame(stomp.CONNECTED, {"version": "1.2", "heart-beat": f"{client_expects},{client_sends}"})
        )
        self._outlet.set_heart_beat(send_ms=client_expects, expect_ms=client_sends)

    def _subscribe(self, frame: stomp.Frame) -> None:
        destination, sub_id = frame.headers.get("destination"), frame.headers.get("id")
        if not destination or not sub_id:
            self._error("Missing destination or subscription id header")
        elif sub_id in self._subscriptions:
            self._error("Subscription id already exists")
        else:
            subscription = Subscription(sub_id, destination, self._outlet)
            self._subscriptions[sub_id] = subscription
            self._broker.subscribe(subscription)

    def _unsubscribe(self, frame: stomp.Frame) -> None:
        sub_id = frame.headers.get("id")
        if not sub_id:
            self._error("Missing id header")
        elif sub_id in self._subscriptions:
            self._broker.unsubscribe(self._subscriptions.pop(sub_id))

    def _send(self, frame: stomp.Frame) -> None:
        destination = frame.headers.get("destination")
        if destination is None:
            raise stomp.Broken("SEND without destination")
        forwarded = self._broker.forward(destination, frame)
        if any(destination == queue or destination.startswith(f"{queue}.") for queue in REQUEST_QUEUES):
            self._broker.request(frame.body or b"", frame.headers.get("reply-to"))
        elif not forwarded:
            self._error("Subscription not available")

    def _disconnect(self, frame: stomp.Frame) -> None:
        receipt = frame.headers.get("receipt")
        if receipt is None:
            raise stomp.Broken("DISCONNECT without receipt")
        if receipt:
            self._outlet.queue(stomp.Frame(stomp.RECEIPT, {"receipt-id": receipt}))


def _heart_beat(header: str) -> tuple[int, int]:
    """What the client can send and wants to receive, in ms: unreadable is 0, too short is raised."""
    first, comma, second = header.partition(",")
    return (_interval(first), _interval(second)) if comma else (0, 0)


def _interval(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        return 0
    return max(value, MIN_HEART_BEAT_MS) if value else 0
