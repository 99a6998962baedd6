"""Who starts the VM, and when: the clauses that several sentences share. Nothing is decided here."""

from ovirt_he_agent.core import admission, aftermath, candidates, model, peers
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.core.peers import Claim
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.state import End
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.words.figures import host, left, span


def place(s: Scene) -> str:
    """Where the VM is, as the first words of a sentence."""
    match s.verdict.place:
        case Place.HERE:
            paused = s.view is not None and s.view.report is not None and s.view.report.status
            return f"the engine VM {'is paused' if paused is model.VmStatus.PAUSED else 'runs'} here"
        case Place.HERE_PENDING:
            return "the engine VM is being started here"
        case Place.INCOMING:
            return "the engine VM is migrating to this host"
        case Place.OUTGOING:
            return "the engine VM is migrating away from this host"
        case Place.ELSEWHERE:
            return f"the engine VM is on {host(s, s.verdict.host_id)}"
        case Place.NOWHERE_SOON | Place.NOWHERE:
            return "the engine VM is not running"
        case Place.UNCLEAR:
            return "where the engine VM is cannot be told"


def score_order(own: candidates.Candidate, rival: candidates.Candidate) -> str:
    """What decided which of the two goes first."""
    if own.others_first != rival.others_first:
        return "this host lets others go first" if own.others_first else "that host lets others go first"
    if own.score != rival.score:
        return f"score {rival.score}, here {own.score}"
    if own.ran_last != rival.ran_last:
        return f"both have score {own.score}, and {'this' if own.ran_last else 'that'} host ran the VM last"
    return f"both have score {own.score}, and the lower id goes first"


def contest(s: Scene) -> candidates.Field:
    """The hosts in their order, were the VM to be started now; where it is here, its memory comes free."""
    if not s.is_here:
        return s.field
    own = s.field.own._replace(
        score=s.able_while_running.points, others_first=s.now < s.state.others_first_until
    )
    return candidates.field(own, s.peers, s.state.last_runner, favoured=s.state.favoured)


def yields_because(s: Scene) -> str:
    """Why this host lets others go first; empty: it does not."""
    if s.now < s.state.others_first_until:
        end = f" ({s.state.last_end.end.value})" if s.state.last_end else ""
        left_ms = s.state.others_first_until - s.now
        return f"the VM's last end here{end} lets others go first for {left(left_ms)}"
    inputs = s.inputs
    if s.field.own.others_first:
        free = "unknown" if inputs.memory_free_mib is None else f"{inputs.memory_free_mib} MiB"
        return f"free memory here is {free}, the VM needs {inputs.memory_needed_mib} MiB"
    return ""


def goes_first(s: Scene) -> str:
    """Which host starts the VM, and why that one."""
    field = s.field
    if not field.rivals:
        return "no other host may start it"
    first = field.rivals[0]
    if aftermath.is_cooling_down(s):
        return f"{host(s, first.host_id)} may start it, and goes first while this host cools down"
    if field.rank:
        because = yields_because(s) if not first.others_first else ""
        return f"{host(s, first.host_id)} goes first ({because or score_order(field.own, first)})"
    if first.order < field.own.order and s.state.last_end is not None:
        return f"this host goes first after the VM's last end here ({s.state.last_end.end.value})"
    return f"this host goes first (before {host(s, first.host_id)}: {score_order(field.own, first)})"


def end_of_claim(s: Scene, peer: peers.Peer) -> str:
    """When a claim that is neither valid nor void will be void."""
    named = host(s, peer.host_id)
    memory = s.state.memory
    if peer.host_id in memory.unprotected:
        flag = f", whose storage lease is {peer.sd.flag.name} now" if peer.sd is not None else ""
        return f"the claim of {named} ends when it says so itself or when sanlock calls that host dead{flag}"
    if memory.free_for_ms is None:
        needed = peers.VOID_AFTER_MS // 1000
        return f"the claim of {named} is void when every lease of the VM has been read as free for {needed} s"
    left_ms = peers.VOID_AFTER_MS - memory.free_for_ms
    if peer.slot is not None and s.snap.slots.at is not None:
        left_ms = max(left_ms, peers.VOID_AFTER_MS - (s.snap.slots.at - peer.slot.first_seen_at))
    return f"the claim of {named} is void in about {left(left_ms)} if every lease of the VM stays free"


def open_claims(s: Scene) -> tuple[str, ...]:
    """For each claim that is neither valid nor void: what ends it."""
    return tuple(end_of_claim(s, peer) for peer in s.peers.values() if peer.claim is Claim.PERHAPS)


def lacks(s: Scene) -> str:
    """What a start here needs beside the VM being nowhere and time."""
    return "; ".join(
        f"{(condition.__doc__ or '').strip()} ({check.detail})"
        for condition, check in admission.lacking(s)
        if condition not in admission.WAITS and check.name != "vm-nowhere"
    )


def start_at(s: Scene) -> MonotonicMs:
    """When this host starts the VM if time alone is wanting: after its pauses, and in its turn."""
    return s.now if admission.is_asked_for(s) else max(admission.turn_at(s), pauses_until(s))


def pauses_until(s: Scene) -> MonotonicMs:
    """Until then this host waits even if no better one may start the VM."""
    if admission.is_asked_for(s):
        return s.now
    return max(admission.pause_until(s), admission.settled_at(s))


def pause(s: Scene) -> str:
    """Why this host pauses, and for how long; empty: it does not."""
    left_ms = pauses_until(s) - s.now
    if left_ms <= 0:
        return ""
    if admission.settled_at(s) > admission.pause_until(s):
        return f"this host waits {left(left_ms)}, so that hosts that come together know of each other"
    end = s.state.last_end
    if end is None:
        return f"this host waits {left(left_ms)}"
    text = f"this host waits {left(left_ms)} after the last end here ({end.end.value}: {end.detail})"
    if end.end is End.LOCK_FAILED:
        text += ", less when another host has had the lease meanwhile"
    return text


def in_phase(s: Scene) -> str:
    """For how long the phase has been what it is."""
    return span(s.now - s.state.phase_since)
