"""What to think of each other host: a class from its slot and host id leases, and what its claim is worth.

A host's life is judged by the storage domain's lockspace (``sd``) alone: its leases protect the VM. The
``hosted-engine`` lockspace (``ha``) says who may write a slot, nothing more; a joined one outlives its agent.
"""

import enum
from collections.abc import Mapping
from typing import NamedTuple

from ovirt_he_agent.core import model, snapshot

FRESH_MS = 60_000
"""A host whose slot changed within this time has an agent that speaks (upstream: HOST_ALIVE_TIMEOUT_SECS)."""
VOID_AFTER_MS = 20_000
"""A stale claim is void when two fresh reads this far apart found every lease free."""
DYING_RENEWALS = 3
"""A host that sanlock still calls LIVE, and that was not seen to renew for so many intervals, is dying."""
WATCHDOG_FIRE_S = 60
"""W of sanlock: a host is dead 8 T + W after its last renewal (sanlock(8), watchdog)."""


class PeerClass(enum.StrEnum):
    GONE = "gone"
    LEFT = "left"
    ALIVE = "alive"
    DYING = "dying"
    SILENT = "silent"
    FAILING = "failing"
    DEAD = "dead"
    UNKNOWN = "unknown"


MEANING = {
    PeerClass.GONE: "its slot is empty and it is in no lockspace",
    PeerClass.LEFT: "its agent stopped in order, without the VM, and it left the storage domain",
    PeerClass.ALIVE: "its slot changed within 60 s",
    PeerClass.DYING: "its slot is stale, and it was not seen to renew its storage lease for three intervals",
    PeerClass.SILENT: "it renews its storage lease, and nobody speaks for it on the whiteboard",
    PeerClass.FAILING: "sanlock sees its storage lease failing",
    PeerClass.DEAD: "sanlock calls it dead, or it left the storage domain and its slot is stale",
    PeerClass.UNKNOWN: "not watched long enough, or the evidence is missing",
}


class Claim(enum.StrEnum):
    """What it says of the VM, and whether that counts."""

    NONE = "none"
    VALID = "valid"
    PERHAPS = "perhaps"
    """Stale, or not watched long enough, or damaged or unable to tell since it claimed: neither of them."""
    VOID = "void"


class Peer(NamedTuple):
    host_id: int
    kind: PeerClass
    claim: Claim
    slot: snapshot.PeerSlot | None
    sd: snapshot.HostSeen | None


def dead_after_ms(io_timeout_s: int) -> int:
    """From a host's last renewal until sanlock calls it dead: 8 T + W (spec of sanlock(8), "timeouts")."""
    return (8 * io_timeout_s + WATCHDOG_FIRE_S) * 1000


def is_fresh(slot: snapshot.PeerSlot, read_at: model.MonotonicMs, now: model.MonotonicMs) -> bool | None:
    """Whether its agent speaks; None: it was not watched long enough to know."""
    changed = slot.changed_at
    if changed is not None and now - changed <= FRESH_MS:
        return True
    # stale is only what a read has found unchanged for long enough: time without a read proves nothing
    since = changed if changed is not None else slot.first_seen_at
    return False if read_at - since > FRESH_MS else None


def look(
    snap: snapshot.Snapshot,
    now: model.MonotonicMs,
    *,
    claimed: frozenset[int],
    unprotected: frozenset[int],
    free_for_ms: int | None,
) -> Mapping[int, Peer]:
    """Every host but ours that slots or lockspaces know.

    ``claimed``: hosts whose last readable slot claimed the VM; ``unprotected``: those whose VM
    holds no lease. ``free_for_ms``: for how long reads have found every lease of the VM free;
    None: the last one did not.
    """
    slots = snap.slots.known(now, snapshot.SLOT_LIMIT_MS)
    sd = snap.sd_hosts.known(now, snapshot.HOSTS_LIMIT_MS)
    ha = snap.ha_hosts.known(now, snapshot.HOSTS_LIMIT_MS)
    read_at = snap.slots.at or now
    ids = set(slots or ()) | set(sd or ()) | set(ha or ()) | claimed
    ids.discard(snap.host_id)
    out: dict[int, Peer] = {}
    for host_id in ids:
        slot = slots.get(host_id) if slots is not None else None
        lease = sd.get(host_id) if sd is not None else None
        fresh = is_fresh(slot, read_at, now) if slot is not None and slots is not None else None
        flag = lease.flag if lease is not None else (model.HostFlag.FREE if sd is not None else None)
        void = free_for_ms is not None and free_for_ms >= VOID_AFTER_MS
        if fresh is None and slot is not None:  # an agent that speaks would have done so meanwhile
            void = void and read_at - slot.first_seen_at >= VOID_AFTER_MS
        claim = _claim(
            host_id, slot, fresh, flag, claimed, unprotected, free=free_for_ms is not None, void=void
        )
        kind = (
            _kind(snap, now, slot, fresh, lease, flag, claim, ha.get(host_id) if ha is not None else None)
            if slots is not None and sd is not None
            else PeerClass.ALIVE
            if slot is not None and slot.readable and fresh
            else PeerClass.UNKNOWN
        )
        out[host_id] = Peer(host_id, kind, claim, slot, lease)
    return out


def _kind(
    snap: snapshot.Snapshot,
    now: model.MonotonicMs,
    slot: snapshot.PeerSlot | None,
    fresh: bool | None,
    lease: snapshot.HostSeen | None,
    flag: model.HostFlag | None,
    claim: Claim,
    ha: snapshot.HostSeen | None,
) -> PeerClass:
    free = flag is model.HostFlag.FREE
    if slot is None:
        if free and (ha is None or ha.flag is model.HostFlag.FREE):
            return PeerClass.GONE
        fresh = False  # nobody speaks: only its leases can tell
    elif slot.readable:
        if free and slot.stopped and not slot.claims_vm:
            return PeerClass.LEFT
        if fresh:
            return PeerClass.ALIVE
    elif fresh is None or fresh:
        fresh = False  # damaged: what changes there is no speech
    if flag is model.HostFlag.DEAD:
        return PeerClass.DEAD
    if fresh is not False:
        return PeerClass.UNKNOWN
    if lease is not None and flag is model.HostFlag.LIVE:
        silent_for_ms = (snap.sd_hosts.at or now) - lease.renewed_at  # time without a read proves nothing
        dying = silent_for_ms > DYING_RENEWALS * 2 * lease.io_timeout_s * 1000
        return PeerClass.DYING if dying else PeerClass.SILENT
    if flag is model.HostFlag.FAIL:
        return PeerClass.FAILING
    if free and claim in (Claim.NONE, Claim.VOID):
        return PeerClass.DEAD
    return PeerClass.UNKNOWN


def _claim(
    host_id: int,
    slot: snapshot.PeerSlot | None,
    fresh: bool | None,
    flag: model.HostFlag | None,
    claimed: frozenset[int],
    unprotected: frozenset[int],
    *,
    free: bool,
    void: bool,
) -> Claim:
    if slot is not None and slot.tells_of_vm:
        if not slot.claims_vm:
            return Claim.NONE
        if slot.stopped and host_id not in unprotected:
            # its agent left while the VM was there: the leases know when the VM has ended
            return Claim.VOID if free else Claim.PERHAPS
        if fresh and not slot.stopped:
            return Claim.VALID
    elif host_id not in claimed:
        return Claim.NONE
    if flag is model.HostFlag.DEAD:
        return Claim.VOID
    if host_id in unprotected:
        # safety: it ran a VM without a lease, so free leases say nothing of it; a host that let go of the
        # storage domain in order has no VM on it (its VDSM stops the monitor only then)
        return Claim.VOID if void and flag is model.HostFlag.FREE else Claim.PERHAPS
    return Claim.VOID if void else Claim.PERHAPS
