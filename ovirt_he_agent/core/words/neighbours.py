"""What this host thinks of every other one, in words: its life, its claim, whether it goes first, and why."""

from dataclasses import dataclass

from ovirt_he_agent.core import candidates, peers
from ovirt_he_agent.core.candidates import Candidate
from ovirt_he_agent.core.peers import Claim, Peer, PeerClass
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.snapshot import SLOT_LIMIT_MS, PeerSlot
from ovirt_he_agent.core.words import not_chosen, prospects
from ovirt_he_agent.core.words.figures import host, left, sentence, span

CLAIM = {
    Claim.NONE: "it does not claim the VM",
    Claim.VALID: "it claims the VM, and its claim is valid",
    Claim.PERHAPS: "it claimed the VM, and whether that still holds is open",
    Claim.VOID: "its claim of the VM is void: every lease was seen free for long enough, or it is dead",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    peer: Peer
    slot_age: str
    """When its slot changed, and whether that is stale."""
    choice: str
    """Whether it goes first, and why not."""
    text: str
    """All of it as one sentence."""


def of(s: Scene) -> tuple[Neighbour, ...]:
    """Every other host that slots or lockspaces know, by its number."""
    return tuple(_of(s, s.peers[host_id]) for host_id in sorted(s.peers))


def _of(s: Scene, peer: Peer) -> Neighbour:
    chosen = choice(s, peer)
    claim = prospects.end_of_claim(s, peer) if peer.claim is Claim.PERHAPS else CLAIM[peer.claim]
    age = slot_age(s, peer.slot)
    seen = f"slot: {age}{_lease(s, peer)}"
    life = f"{host(s, peer.host_id)} is {peer.kind.value}: {peers.MEANING[peer.kind]} ({seen})"
    return Neighbour(peer=peer, slot_age=age, choice=chosen, text=sentence(life, claim, chosen))


def slot_age(s: Scene, slot: PeerSlot | None) -> str:
    """When a slot changed; stale is what has not for 60 s while somebody looked."""
    if slot is None:
        if s.snap.slots.known(s.now, SLOT_LIMIT_MS) is None:
            return f"unknown, {s.snap.slots.why_unknown(s.now)}"
        return "empty"
    if not slot.readable:
        return f"damaged, {slot.problem or 'it cannot be decoded'}"
    limit = f"{peers.FRESH_MS // 1000} s"
    fresh = peers.is_fresh(slot, s.snap.slots.at or s.now, s.now)
    if slot.changed_at is not None:
        ago = f"changed {span(s.now - slot.changed_at)} ago"
        return ago if fresh else f"{ago}, stale after {limit}" if fresh is False else f"{ago}, not read since"
    watched = span(s.now - slot.first_seen_at)
    if fresh is None:
        return f"not seen to change yet, watched for {watched}, stale after {limit}"
    return f"stale, not changed in the {watched} since it was read first"


def _lease(s: Scene, peer: Peer) -> str:
    seen = peer.sd
    if seen is None:
        return ""
    renewed = span(s.now - seen.renewed_at)
    text = f"; storage lease: {seen.flag.name}, renewed {renewed} ago"
    if peer.kind is PeerClass.FAILING:
        dead_at = seen.renewed_at + peers.dead_after_ms(seen.io_timeout_s)
        text += f", dead in about {left(dead_at - s.now)}"
    return text


def choice(s: Scene, peer: Peer) -> str:
    """Whether it goes before this host, and what would change that, as far as figures are known."""
    rival = candidates.candidate(peer, s.state.last_runner)
    figures = not_chosen.of(s, peer)
    if rival is None:
        return f"it is not chosen: {figures or not_chosen.why_unable(peer)}"
    field = prospects.contest(s)
    own = field.own
    more = f"; it is not chosen: {figures}" if figures else ""
    if rival.order < own.order:
        if not field.rank:
            return "it would go first, but the VM's last end favours this host"
        because = prospects.yields_because(s) if own.others_first and not rival.others_first else ""
        return f"it goes before this host ({because or prospects.score_order(own, rival)}){more}"
    needed = score_needed(own, rival)
    if needed is not None and not more:
        more = f"; with {needed - rival.score} points more it would go first"
    return f"it goes after this host ({prospects.score_order(own, rival)}){more}"


def score_needed(first: Candidate, other: Candidate) -> int | None:
    """With how many points ``other`` goes before ``first``; None: points do not decide between the two."""
    if other.others_first != first.others_first:
        return None
    tie_breaks = (not other.ran_last, other.host_id) < (not first.ran_last, first.host_id)
    return first.score if tie_breaks else first.score + 1
