"""What ails the engine of a VM that is here, and for how long it may: evidence has kinds, and each its grace.

What an unreachable page means depends on who cannot reach it: nothing is held against
the engine while this host's own name resolution or network is in doubt, or while another
host sees the page.
"""

import enum
from dataclasses import dataclass

from ovirt_he_agent.core import model, snapshot
from ovirt_he_agent.core.model import ProbeOutcome, VmStatus
from ovirt_he_agent.core.peers import PeerClass
from ovirt_he_agent.core.scene import Scene

CONFIRMED_MS = 15_000
"""Not good for so long is sick."""
CAME_WITHOUT_NETWORK_MS = 600_000
"""A VM that was started on a host without network stays so long at least: no other host had taken it."""
SEEN_MS = 30_000
"""What another host saw of the page excuses for so long."""


class Sickness(enum.StrEnum):
    DB_DOWN = "its database is down, or it answers with errors"
    NO_ANSWER = "it does not answer"
    GUEST_DEAD = "it does not answer and its guest agent is gone"
    PAUSED = "its VM is paused"


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Sickness
    excuse: str | None
    """Why this is not held against it now; None: it is."""


def examine(s: Scene) -> Finding | None:
    """None: nothing is known to be wrong."""
    report = s.view.report if s.view is not None else None
    if report is None or not s.is_here:
        return None
    if report.status is VmStatus.PAUSED:
        slots = s.snap.slots
        if slots.problem is not None and slots.known(s.now, snapshot.SLOT_LIMIT_MS) is not None:
            # VDSM resumes it some seconds after the storage is back; but not when that takes so long that
            # sanlock has lost the lockspace: then every second counts
            return Finding(Sickness.PAUSED, f"the storage fails here: {slots.problem}")
        # a pause gives the lease back; where storage fails for all, another start would not do better
        elsewhere = any(p.kind is PeerClass.ALIVE for p in s.peers.values())
        if elsewhere or _storage_is_fine_here(s):
            return Finding(Sickness.PAUSED, None)
        return Finding(Sickness.PAUSED, "the storage fails here, and no other host is alive to do better")
    if s.engine.bad_since is None or not s.snap.probes:
        return None
    kind = _kind(s.snap.probes[-1].outcome, report)
    if kind is None:
        return Finding(
            Sickness.NO_ANSWER, "its name cannot be resolved here: that says nothing of the engine"
        )
    if kind is not Sickness.DB_DOWN and s.network is not None and s.network < 1.0:
        return Finding(kind, f"only {s.network:.0%} of this host's own network probes succeed")
    return Finding(kind, excuse_of_others(s))


def _storage_is_fine_here(s: Scene) -> bool:
    slots = s.snap.slots
    return slots.problem is None and slots.known(s.now, snapshot.SLOT_LIMIT_MS) is not None


def _kind(outcome: ProbeOutcome, report: model.VmReport) -> Sickness | None:
    match outcome:
        case ProbeOutcome.DB_DOWN | ProbeOutcome.HTTP_ERROR | ProbeOutcome.GOOD:
            return Sickness.DB_DOWN
        case ProbeOutcome.NO_ANSWER:
            return Sickness.GUEST_DEAD if report.guest_agent_alive is False else Sickness.NO_ANSWER
        case ProbeOutcome.NO_RESOLUTION:
            return None


def excuse_of_others(s: Scene) -> str | None:
    """Others see the engine well, or may: what they say cannot be read. None: nobody does."""
    if s.snap.slots.known(s.now, snapshot.SLOT_LIMIT_MS) is None:
        return "the whiteboard is unknown: another host may see its page"
    witness = seen_good_by(s)
    return f"host {witness} sees its page" if witness is not None else None


def seen_good_by(s: Scene) -> int | None:
    """A living host of our kind that saw the engine's page good lately."""
    for peer in s.peers.values():
        slot = peer.slot
        if peer.kind is not PeerClass.ALIVE or slot is None or slot.engine_seen_ago_s is None:
            continue
        since_ms = s.now - slot.changed_at if slot.changed_at is not None else 0
        if slot.engine_seen_ago_s * 1000 + since_ms <= SEEN_MS:
            return peer.host_id
    return None


def grace_ms(s: Scene, finding: Finding) -> int:
    """How long it may be so, from the first look that found it."""
    grace = s.grace
    match finding.kind:
        case Sickness.DB_DOWN:
            return CONFIRMED_MS + grace.db_down_ms
        case Sickness.NO_ANSWER:
            return CONFIRMED_MS + grace.no_answer_ms
        case Sickness.GUEST_DEAD:
            return CONFIRMED_MS + grace.guest_dead_ms
        case Sickness.PAUSED:
            return grace.paused_ms


def is_lost(s: Scene, finding: Finding) -> bool:
    """Two witnesses say that the guest is dead: asking it to shut down would be a waste of time."""
    report = s.view.report if s.view is not None else None
    return (
        finding.kind is Sickness.GUEST_DEAD and report is not None and report.guest_active is False
    ) or finding.kind is Sickness.PAUSED


def start_limit_ms(s: Scene) -> int:
    """How long a start may take until the engine is good."""
    usual = s.state.usual_boot_ms
    limit = max(s.grace.start_ms, 3 * usual if usual is not None else 0)
    report = s.view.report if s.view is not None else None
    signs = report is not None and (report.guest_agent_alive is True or report.guest_active is True)
    return 3 * limit if signs else limit


def network_move_at(s: Scene) -> model.MonotonicMs | None:
    """When a network that stays lost is a reason to stop the VM here; None: it is not lost."""
    since = s.state.network_lost_since
    if since is None:
        return None
    came_later = s.state.here_since > since
    return model.MonotonicMs(
        s.state.here_since + CAME_WITHOUT_NETWORK_MS if came_later else since + s.rules.network_lost_ms
    )
