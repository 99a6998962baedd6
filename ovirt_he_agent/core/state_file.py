"""The state's file, bytes to values and back: what a restarted daemon goes on with.

Times are of the monotonic clock, so they count only within one boot of the host. What is
evidence, or a span that evidence has to prove anew, is not written.
"""

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

from ovirt_he_agent.core import state as states
from ovirt_he_agent.core import whereabouts
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.core.state import Attempt, End, Phase, State, Stop, StopCause
from ovirt_he_agent.core.whiteboard import VmWord

FORMAT = 1
_MARK = f"ovirt-he-agent state {FORMAT}"
_EVIDENCE: dict[str, Any] = {
    # what has to be seen anew after a restart
    "bad_ms": 0,
    "bad_until": MonotonicMs(0),
    "network_lost_since": None,
    "nowhere_since": None,
    "twin": None,
    "twin_owner_seen": None,
    "seen_command": 0,
    "seen_request": 0,
    "has_joined": False,
    "joined_at": MonotonicMs(0),
}


class BadState(ValueError):
    """Not a state file of ours, or not whole; the text says why."""


def durable(state: State) -> State:
    """What of ``state`` survives a restart of the daemon."""
    memory = replace(state.memory, reads=None)
    return replace(state, memory=memory, **_EVIDENCE)


def encode(state: State, boot_id: str) -> bytes:
    """``state`` should be ``durable``."""
    content = {"boot_id": boot_id, "state": _plain(state)}
    body = json.dumps(content, indent=1).encode("ascii") + b"\n"
    return f"{_MARK} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def decode(data: bytes, boot_id: str) -> State:
    """The state to go on with; of another boot only what does not depend on time. Raises ``BadState``."""
    first, _, body = data.partition(b"\n")
    mark, _, checksum = first.rpartition(b" ")
    if mark != _MARK.encode():
        raise BadState(f"it is no state file of this agent (format {FORMAT})")
    if checksum != hashlib.sha256(body).hexdigest().encode():
        raise BadState("it is cut or was altered: its checksum is wrong")
    try:
        content = json.loads(body)
        kept = _state(content["state"])
        same_boot = content["boot_id"] == boot_id
    except (KeyError, TypeError, ValueError, RecursionError) as e:
        raise BadState(f"its content is not understood: {e!r}") from e
    if not same_boot:
        return State(usual_boot_ms=kept.usual_boot_ms, last_runner=kept.last_runner)
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, State | Stop | Attempt | whereabouts.Memory):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _state(given: dict[str, Any]) -> State:
    memory = given["memory"]
    stop = given["stop"]
    last_end = given["last_end"]
    return State(
        **{
            **given,
            "phase": Phase(given["phase"]),
            "told_vm": VmWord(given["told_vm"]),
            "attempts": tuple(_attempt(a) for a in given["attempts"]),
            "last_end": _attempt(last_end) if last_end is not None else None,
            "stop": Stop(**{**stop, "cause": StopCause(stop["cause"])}) if stop is not None else None,
            "memory": whereabouts.Memory(
                **{
                    **memory,
                    "claimed": frozenset(memory["claimed"]),
                    "unprotected": frozenset(memory["unprotected"]),
                    "owners": frozenset(memory["owners"]),
                    "generations": tuple((h, g) for h, g in memory["generations"]),
                    "rises": tuple((h, at, span) for h, at, span in memory["rises"]),
                }
            ),
        }
    )


def _attempt(given: dict[str, Any]) -> Attempt:
    return states.Attempt(
        MonotonicMs(given["at"]), End(given["end"]), given["detail"], given["definition_sha256"]
    )
