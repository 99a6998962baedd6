"""Which host goes first: the order of those that may start the VM, and this host's place in it.

A host's word counts as it stands on the whiteboard: its published state, never a guess from its score.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ovirt_he_agent.core.peers import Peer, PeerClass

MAY_START = frozenset(
    {
        "EngineDown",
        "EngineStart",
        "EngineStarting",
        "EngineUp",
        "EngineUpBadHealth",
        "EngineStop",
        "EngineForceStop",
        "EngineMaybeAway",
    }
)
"""Published states of hosts that act; those in others wait, recover or are in maintenance."""


class Candidate(NamedTuple):
    host_id: int
    others_first: bool
    score: int
    ran_last: bool

    @property
    def order(self) -> tuple[bool, int, bool, int]:
        """The lower goes first."""
        return self.others_first, -self.score, not self.ran_last, self.host_id


@dataclass(frozen=True, slots=True)
class Field:
    own: Candidate
    rivals: tuple[Candidate, ...]
    """The other hosts that may start the VM now, in their order."""
    rank: int
    """How many of them go before this host."""


def why_not(peer: Peer) -> str | None:
    """For people: what keeps a host from starting the VM; None: nothing that can be seen from here."""
    slot = peer.slot
    if peer.kind is not PeerClass.ALIVE or slot is None:
        return f"it is {peer.kind.value}"
    if slot.local_maintenance:
        return "it is in local maintenance"
    if slot.stopped:
        return "its agent has stopped"
    if slot.state not in MAY_START:
        return f"its state is {slot.state or 'not told'}"
    if (slot.score or 0) <= 0:
        return f"its score is {slot.score or 0}"
    return None


def candidate(peer: Peer, last_runner: int | None) -> Candidate | None:
    """None: it is not eligible."""
    if why_not(peer) is not None or peer.slot is None:
        return None
    slot = peer.slot
    return Candidate(peer.host_id, slot.others_first, slot.score or 0, peer.host_id == last_runner)


def field(own: Candidate, peers: Mapping[int, Peer], last_runner: int | None, *, favoured: bool) -> Field:
    """``favoured``: the VM's last end was of a kind that lets this host go first."""
    found = [c for c in (candidate(peer, last_runner) for peer in peers.values()) if c is not None]
    rivals = tuple(sorted(found, key=lambda c: c.order))
    rank = 0 if favoured else sum(rival.order < own.order for rival in rivals)
    return Field(own, rivals, rank)
