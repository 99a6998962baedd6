"""Where is the engine VM? One verdict from three witnesses: VDSM here, the leases, the whiteboard.

The leases are the judge, slots are hints; where they differ, or where one of
them is unknown, nobody starts. ``Memory`` is what has to be
remembered between two looks: how long the leases have been free, which claims
were seen, whose sanlock came back.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ovirt_he_agent.core import model, snapshot

CLAIM_FRESH_MS = 60_000
VOID_AFTER_MS = 20_000
"""A stale claim is void when two fresh reads this far apart found every lease free."""
WATCHDOG_FIRE_S = 60
"""W of sanlock: a host is dead 8 T + W after its last renewal (sanlock(8), watchdog)."""

_RUNNING_HERE = frozenset(model.VmStatus) - {
    model.VmStatus.DOWN,
    model.VmStatus.MIGRATION_DESTINATION,
    model.VmStatus.MIGRATION_SOURCE,
}
_PENDING = {model.VmStatus.WAIT_FOR_LAUNCH}


class Place(enum.StrEnum):
    HERE = "here"
    HERE_PENDING = "here-pending"
    INCOMING = "incoming"
    OUTGOING = "outgoing"
    ELSEWHERE = "elsewhere"
    NOWHERE_SOON = "nowhere-soon"
    NOWHERE = "nowhere"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reasons`` in plain words, with UNCLEAR what is missing; ``host_id`` with ELSEWHERE, NOWHERE_SOON."""

    place: Place
    reasons: tuple[str, ...]
    host_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What earlier looks contribute. All values are replaced as a whole by ``remember``."""

    free_since: model.MonotonicMs | None = None
    """Time of the first of an unbroken row of reads that found every lease free."""
    free_until: model.MonotonicMs | None = None
    """Time of the last one."""
    claimed: frozenset[int] = frozenset()
    """Hosts whose last readable slot claimed the VM."""
    unprotected: frozenset[int] = frozenset()
    """Hosts that claimed freshly while every lease was free: their VM holds no lease."""
    owners: frozenset[int] = frozenset()
    """Hosts last seen as owner of a lease of the VM."""
    generations: tuple[tuple[int, int], ...] = ()
    """(host id, generation) in the storage domain's lockspace."""
    rises: tuple[tuple[int, model.MonotonicMs, int], ...] = ()
    """(host id, when its generation rose, milliseconds for which that proves nothing)."""


def remember(memory: Memory, snap: snapshot.Snapshot, now: model.MonotonicMs) -> Memory:
    """The memory after a look at ``snap``."""
    reads = [snap.vm_leases.get(ref, snapshot.Evidence()) for ref in snap.leases()]
    views = [read.known(now, snapshot.LEASE_OWNERS_LIMIT_MS) for read in reads]
    all_free = bool(views) and all(view is not None and view.owners == () for view in views)
    oldest = min((read.at for read in reads if read.at is not None), default=None)
    since, until = memory.free_since, memory.free_until
    if not all_free or oldest is None:
        since = until = None
    else:
        since, until = since if since is not None else oldest, oldest

    known_slots = snap.slots.known(now, snapshot.SLOT_LIMIT_MS)
    slots = known_slots or {}
    claimed = set(memory.claimed)
    if known_slots is not None:
        claimed &= set(known_slots)  # an emptied slot claims nothing
    for slot in slots.values():
        if slot.readable:  # a damaged one keeps its last claim
            (claimed.add if slot.claims_vm else claimed.discard)(slot.host_id)
    unprotected = {h for h in memory.unprotected if h in claimed}
    if all_free:
        unprotected |= {s.host_id for s in _claims(snap, slots) if _claim_is_fresh(s, now)}

    owners = {owner for view in views if view is not None for owner in view.owners or ()}
    hosts = snap.sd_hosts.known(now, snapshot.HOSTS_LIMIT_MS)
    generations, rises = dict(memory.generations), {r[0]: r for r in memory.rises}
    for host in hosts or ():
        before = generations.get(host.host_id)
        if before is not None and host.generation > before:
            span = (8 * host.io_timeout_s + WATCHDOG_FIRE_S) * 1000
            rises[host.host_id] = (host.host_id, now, span)
        generations[host.host_id] = host.generation
    return Memory(
        free_since=since,
        free_until=until,
        claimed=frozenset(claimed),
        unprotected=frozenset(unprotected),
        owners=frozenset(owners) or memory.owners,
        generations=tuple(sorted(generations.items())),
        rises=tuple(sorted(r for r in rises.values() if now - r[1] <= r[2])),
    )


def _claims(snap: snapshot.Snapshot, slots: Mapping[int, snapshot.PeerSlot]) -> tuple[snapshot.PeerSlot, ...]:
    return tuple(s for s in slots.values() if s.host_id != snap.host_id and s.readable and s.claims_vm)


def _claim_is_fresh(slot: snapshot.PeerSlot, now: model.MonotonicMs) -> bool | None:
    """None: we have not watched it long enough to know."""
    if slot.changed_at is not None and now - slot.changed_at <= CLAIM_FRESH_MS:
        return True
    watched_since = slot.changed_at if slot.changed_at is not None else slot.first_seen_at
    return None if now - watched_since <= CLAIM_FRESH_MS else False


def here(view: snapshot.VmView) -> Place | None:
    """What VDSM alone says; None: not here (Down or unknown to VDSM)."""
    if view.report is None or view.report.status is model.VmStatus.DOWN:
        return None
    match view.report.status:
        case model.VmStatus.MIGRATION_DESTINATION:
            return Place.INCOMING
        case model.VmStatus.MIGRATION_SOURCE:
            return Place.OUTGOING
        case status if status in _PENDING:
            return Place.HERE_PENDING
        case _:
            return Place.HERE


def locate(memory: Memory, snap: snapshot.Snapshot, now: model.MonotonicMs) -> Verdict:
    """The verdict on ``snap``; ``memory`` must already contain it (``remember``)."""
    view = snap.vm.known(now, snapshot.VM_LIMIT_MS)
    if view is None:
        return Verdict(
            Place.UNCLEAR, (f"the VM's status on this host is unknown: {snap.vm.why_unknown(now)}",)
        )
    if (place := here(view)) is not None:
        assert view.report is not None
        return Verdict(place, (f"VDSM says {view.report.status_text}",))
    if snap.command and snap.command.kind == "StartVm" and snap.command.done_at is None:
        return Verdict(Place.HERE_PENDING, ("our own start is in flight",))

    slots = snap.slots.known(now, snapshot.SLOT_LIMIT_MS)
    if slots is None:
        return Verdict(Place.UNCLEAR, (f"the whiteboard is unknown: {snap.slots.why_unknown(now)}",))
    hosts = snap.sd_hosts.known(now, snapshot.HOSTS_LIMIT_MS)
    flags = {h.host_id: h.flag for h in hosts or ()}

    for slot in _claims(snap, slots):
        if _claim_is_fresh(slot, now):
            return Verdict(
                Place.ELSEWHERE,
                (f"host {slot.host_id} ({slot.host_name}) says that it runs it",),
                slot.host_id,
            )
    if (verdict := _by_owners(snap, flags, now)) is not None:
        return verdict
    unclear = (*_unknown_leases(snap, now), *_open_claims(memory, snap, slots, flags, now))
    if hosts is None and (memory.owners | memory.claimed) - {snap.host_id}:
        # somebody had the VM: without the generations a rejoined sanlock would look like a free lease
        unclear += (f"the storage domain's hosts are unknown: {snap.sd_hosts.why_unknown(now)}",)
    if unclear:
        return Verdict(Place.UNCLEAR, unclear)
    return Verdict(Place.NOWHERE, ("every lease of the VM is free and no host claims it",))


def _by_owners(
    snap: snapshot.Snapshot, flags: Mapping[int, model.HostFlag], now: model.MonotonicMs
) -> Verdict | None:
    """A verdict from lease owners that are not dead."""
    for ref in snap.leases():
        view = snap.vm_leases.get(ref, snapshot.Evidence()).known(now, snapshot.LEASE_OWNERS_LIMIT_MS)
        for owner in (view.owners or ()) if view is not None else ():
            what = f"the lease of volume {ref.volume_id} is owned by host {owner}"
            if owner == snap.host_id:
                return Verdict(Place.UNCLEAR, (f"{what}, this host, although VDSM does not run the VM here",))
            match flags.get(owner):
                case model.HostFlag.DEAD:
                    continue
                case model.HostFlag.FAIL:
                    return Verdict(Place.NOWHERE_SOON, (f"{what}, which sanlock sees failing",), owner)
                case _:
                    return Verdict(Place.ELSEWHERE, (what,), owner)
    return None


def _unknown_leases(snap: snapshot.Snapshot, now: model.MonotonicMs) -> tuple[str, ...]:
    out = []
    for ref in snap.leases():
        read = snap.vm_leases.get(ref, snapshot.Evidence())
        view = read.known(now, snapshot.LEASE_OWNERS_LIMIT_MS)
        if view is None or view.owners is None:
            why = read.why_unknown(now) if view is None else "VDSM does not say who owns it"
            out.append(f"the lease of volume {ref.volume_id} is unknown: {why}")
    return tuple(out)


def _open_claims(
    memory: Memory,
    snap: snapshot.Snapshot,
    slots: Mapping[int, snapshot.PeerSlot],
    flags: Mapping[int, model.HostFlag],
    now: model.MonotonicMs,
) -> tuple[str, ...]:
    """Claims that are neither valid nor void, and hosts whose claim cannot be read any more."""
    free_for_ms = (
        memory.free_until - memory.free_since
        if memory.free_since is not None and memory.free_until is not None
        else None
    )
    void = free_for_ms is not None and free_for_ms >= VOID_AFTER_MS
    out = []
    for slot in _claims(snap, slots):
        name = f"host {slot.host_id} ({slot.host_name})"
        if _claim_is_fresh(slot, now) is None:
            out.append(f"{name} claims the VM and has not been watched for {CLAIM_FRESH_MS // 1000} s yet")
        elif slot.host_id in memory.unprotected:
            if flags.get(slot.host_id) is not model.HostFlag.DEAD:
                out.append(f"{name} claimed the VM while no lease was held; only its death ends that claim")
        elif not void:
            out.append(f"{name} has an old claim; the leases must be seen free for {VOID_AFTER_MS // 1000} s")
    for host_id in sorted(memory.claimed):
        damaged = slots.get(host_id)
        if damaged is None or damaged.readable or host_id == snap.host_id:
            continue
        dead = flags.get(host_id) in (model.HostFlag.DEAD, model.HostFlag.FREE)
        if not (dead and void):
            out.append(f"host {host_id} claimed the VM and its slot is damaged now: {damaged.problem}")
    for host_id, risen_at, span_ms in memory.rises:
        if host_id == snap.host_id or host_id not in memory.owners | memory.claimed:
            continue
        fresh = slots.get(host_id)
        says_no = (
            fresh is not None
            and fresh.readable
            and not fresh.claims_vm
            and fresh.changed_at is not None
            and fresh.changed_at > risen_at
        )
        if not says_no:
            left_s = (risen_at + span_ms - now) // 1000
            out.append(
                f"host {host_id} owned the VM and its sanlock came back: "
                f"its old VM may live for {left_s} s more"
            )
    return tuple(out)
