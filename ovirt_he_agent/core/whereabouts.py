"""Where is the engine VM? One verdict from three witnesses: VDSM here, the leases, the whiteboard.

The leases are the judge, slots are hints; where they differ, or where one of
them is unknown, nobody starts. ``Memory`` is what has to be
remembered between two looks: how long the leases have been free, which claims
were seen, whose sanlock came back.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ovirt_he_agent.core import model, peers, snapshot
from ovirt_he_agent.core.peers import Claim, Peer, PeerClass

REAFFIRMED_MS = 30_000
"""A claim that is written anew so long after the leases were free, or another's, is of a VM that holds none:
an agent that only lags behind has noticed the VM's end by then (upstream's loops take 20 s together)."""

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


ON_THIS_HOST = frozenset((Place.HERE, Place.HERE_PENDING, Place.INCOMING, Place.OUTGOING))


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reasons`` in plain words, with UNCLEAR what is missing; ``host_id`` with ELSEWHERE, NOWHERE_SOON."""

    place: Place
    reasons: tuple[str, ...]
    host_id: int | None = None
    free_at: model.MonotonicMs | None = None
    """With NOWHERE_SOON: when sanlock will call the owner dead."""


@dataclass(frozen=True, slots=True)
class Reads:
    """An unbroken row of reads that told of every lease of the VM, and found the same owners."""

    owners: frozenset[int]
    since: model.MonotonicMs
    until: model.MonotonicMs

    @property
    def free_for_ms(self) -> int | None:
        """For how long every lease has been free; None: one is owned."""
        return None if self.owners else self.until - self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What earlier looks contribute. All values are replaced as a whole by ``remember``."""

    reads: Reads | None = None
    """None: the last look did not tell of every lease."""
    claimed: frozenset[int] = frozenset()
    """Hosts whose last readable slot claimed the VM."""
    unprotected: frozenset[int] = frozenset()
    """Hosts that went on claiming while every lease was free or another host's: their VM holds none."""
    owners: frozenset[int] = frozenset()
    """Hosts last seen as owner of a lease of the VM."""
    generations: tuple[tuple[int, int], ...] = ()
    """(host id, generation) in the storage domain's lockspace."""
    rises: tuple[tuple[int, model.MonotonicMs, int], ...] = ()
    """(host id, when its generation rose or was seen first, milliseconds for which that proves nothing)."""
    migrated_at: model.MonotonicMs | None = None
    """When a migration of the VM was last seen on any host."""

    @property
    def free_for_ms(self) -> int | None:
        """How long reads have found every lease free; None: the last look did not."""
        return self.reads.free_for_ms if self.reads is not None else None


_MIGRATING = ("Migration Source", "Migration Destination")


def remember(memory: Memory, snap: snapshot.Snapshot, now: model.MonotonicMs) -> Memory:
    """The memory after a look at ``snap``; the same object when it taught nothing."""
    is_whole = bool(snap.vm_leases)
    oldest: model.MonotonicMs | None = None
    owners: set[int] = set()
    owned_at: dict[int, model.MonotonicMs] = {}
    for ref in snap.leases():
        read = snap.vm_leases.get(ref)
        view = read.known(now, snapshot.LEASE_OWNERS_LIMIT_MS) if read is not None else None
        if read is None or view is None or view.owners is None:
            is_whole = False
        elif read.at is not None and (oldest is None or read.at < oldest):
            oldest = read.at
        if read is not None and view is not None and read.at is not None:
            owned_at.update(dict.fromkeys(view.owners or (), read.at))
        if view is not None and view.owners:
            owners.update(view.owners)
    reads = _gone_on(memory.reads, frozenset(owners), oldest) if is_whole and oldest is not None else None
    free_for_ms = reads.free_for_ms if reads is not None else None

    claimed, unprotected, migrated_at = memory.claimed, memory.unprotected, memory.migrated_at
    slots = snap.slots.known(now, snapshot.SLOT_LIMIT_MS)
    if slots is not None:
        found = {
            slot.host_id
            for slot in slots.values()
            # who cannot tell, or is damaged, keeps its last claim; an emptied one has none
            if (slot.claims_vm if slot.tells_of_vm else slot.host_id in memory.claimed)
        }
        # safety: of a VM without a lease nothing but the claim tells, and its agent may live on without a
        # voice: who cleans such a slot does not end the VM
        found |= {
            host_id
            for host_id in unprotected - owners
            if host_id not in slots and _may_live(host_id, snap, now, free_for_ms)
        }
        found.discard(snap.host_id)
        claimed = frozenset(found)
        # a claim that ends and comes again begins anew, and a VM that was seen to own a lease is protected
        lasting = {host_id for host_id in unprotected if host_id in found and host_id not in owners}
        if reads is not None:
            lasting.update(
                host_id
                for host_id in (found & slots.keys()) - owners
                if (changed := slots[host_id].changed_at) is not None
                and slots[host_id].claims_vm
                and not slots[host_id].stopped
                and changed - reads.since >= REAFFIRMED_MS
            )
        unprotected = frozenset(lasting)
        for host_id in found & slots.keys():
            slot, changed = slots[host_id], slots[host_id].changed_at
            if slot.engine_detail in _MIGRATING and changed is not None and changed > (migrated_at or 0):
                migrated_at = changed
    last_owners = frozenset(owners) if owners else memory.owners
    view_here = snap.vm.known(now, snapshot.VM_LIMIT_MS)
    if view_here is not None and (place := here(view_here)) is not None:
        if place in (Place.INCOMING, Place.OUTGOING):
            migrated_at = now
        elif place is Place.HERE and not owners:
            last_owners = frozenset((snap.host_id,))  # whoever had it before has it no more

    generations, rises = memory.generations, memory.rises
    hosts = snap.sd_hosts.known(now, snapshot.HOSTS_LIMIT_MS)
    if hosts is not None:
        generations, rises = _rises(memory, hosts, snap.sd_hosts.at or now, now)
    new = Memory(
        reads=reads,
        claimed=claimed,
        unprotected=unprotected,
        owners=last_owners,
        generations=generations,
        # a lease that is owned after the rise is owned with the new generation
        rises=tuple(r for r in rises if now - r[1] <= r[2] and owned_at.get(r[0], 0) < r[1]),
        migrated_at=migrated_at,
    )
    return memory if new == memory else new


def _gone_on(reads: Reads | None, owners: frozenset[int], at: model.MonotonicMs) -> Reads:
    """With a read at ``at``. Did nobody look for too long, what was between is unknown: it begins anew."""
    if reads is None or reads.owners != owners or at - reads.until > snapshot.LEASE_OWNERS_LIMIT_MS:
        return Reads(owners, at, at)
    return Reads(owners, reads.since, at)


def _may_live(host_id: int, snap: snapshot.Snapshot, now: model.MonotonicMs, free_for_ms: int | None) -> bool:
    """As a claim that stands: only death ends it, or leaving the storage domain and leases free for long."""
    hosts = snap.sd_hosts.known(now, snapshot.HOSTS_LIMIT_MS)
    if hosts is None:
        return True
    flag = hosts[host_id].flag if host_id in hosts else model.HostFlag.FREE
    if flag is model.HostFlag.FREE:
        return free_for_ms is None or free_for_ms < peers.VOID_AFTER_MS
    return flag is not model.HostFlag.DEAD


def _rises(
    memory: Memory,
    hosts: Mapping[int, snapshot.HostSeen],
    read_at: model.MonotonicMs,
    now: model.MonotonicMs,
) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, model.MonotonicMs, int], ...]]:
    known = dict(memory.generations)
    risen = {}
    changed = False
    for host_id, host in hosts.items():
        before = known.get(host_id)
        if before != host.generation:
            changed = True
            known[host_id] = host.generation
            span_ms = peers.dead_after_ms(host.io_timeout_s)
            if before is not None and host.generation > before:
                risen[host_id] = (host_id, now, span_ms)
            elif before is None and host.flag not in (model.HostFlag.FREE, model.HostFlag.DEAD):
                # safety: of a host that is seen for the first time nobody knows when its generation rose
                risen[host_id] = (host_id, read_at, span_ms)
    if not changed:
        return memory.generations, memory.rises
    rises = tuple(sorted(({r[0]: r for r in memory.rises} | risen).values()))
    return tuple(sorted(known.items())), rises


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


def locate(
    memory: Memory, snap: snapshot.Snapshot, found: Mapping[int, Peer], now: model.MonotonicMs
) -> Verdict:
    """The verdict on ``snap``; ``memory`` must already contain it (``remember``), ``found`` rest on it."""
    view = snap.vm.known(now, snapshot.VM_LIMIT_MS)
    if view is None:
        return Verdict(
            Place.UNCLEAR, (f"the VM's status on this host is unknown: {snap.vm.why_unknown(now)}",)
        )
    if (place := here(view)) is not None:
        assert view.report is not None
        return Verdict(place, (f"VDSM says {view.report.status_text}",))
    if (pending := _pending_start(snap)) is not None:
        return Verdict(Place.HERE_PENDING, (pending,))
    if snap.slots.known(now, snapshot.SLOT_LIMIT_MS) is None:
        return Verdict(Place.UNCLEAR, (f"the whiteboard is unknown: {snap.slots.why_unknown(now)}",))

    for peer in found.values():
        if peer.claim is Claim.VALID:
            return Verdict(Place.ELSEWHERE, (f"{named(peer)} says that it runs it",), peer.host_id)
    verdict = _by_owners(snap, found, now)
    if verdict is not None and verdict.place is not Place.NOWHERE_SOON:
        return verdict
    unclear = [*_unknown_leases(snap, now), *_open_claims(memory, snap, found, verdict, now)]
    if snap.sd_hosts.known(now, snapshot.HOSTS_LIMIT_MS) is None and (
        (memory.owners | memory.claimed) - {snap.host_id}
    ):
        # somebody had the VM: without the generations a rejoined sanlock would look like a free lease
        unclear.append(f"the storage domain's hosts are unknown: {snap.sd_hosts.why_unknown(now)}")
    if unclear:
        return Verdict(Place.UNCLEAR, tuple(unclear))
    if verdict is not None:
        return verdict
    return Verdict(Place.NOWHERE, ("every lease of the VM is free and no host claims it",))


def _pending_start(snap: snapshot.Snapshot) -> str | None:
    """What VDSM said before our start says nothing of it."""
    command = snap.command
    if command is None or command.kind != "StartVm":
        return None
    if command.done_at is None:
        return "our own start is in flight"
    if command.ok is not False and (snap.vm.at or 0) <= command.done_at:
        return "our own start was given, and VDSM has not been asked since"
    return None


def named(peer: Peer) -> str:
    """For people."""
    name = peer.slot.host_name if peer.slot is not None else ""
    return f"host {peer.host_id} ({name})" if name else f"host {peer.host_id}"


def _by_owners(snap: snapshot.Snapshot, found: Mapping[int, Peer], now: model.MonotonicMs) -> Verdict | None:
    """A verdict from lease owners that are not dead: somebody who lives before somebody who fails."""
    soon: Verdict | None = None
    for ref in snap.leases():
        view = snap.vm_leases.get(ref, _NEVER_READ).known(now, snapshot.LEASE_OWNERS_LIMIT_MS)
        for owner in (view.owners or ()) if view is not None else ():
            what = f"the lease of volume {ref.volume_id} is owned by host {owner}"
            if owner == snap.host_id:
                return Verdict(Place.UNCLEAR, (f"{what}, this host, although VDSM does not run the VM here",))
            peer = found.get(owner)
            flag = peer.sd.flag if peer is not None and peer.sd is not None else None
            if flag is model.HostFlag.DEAD:
                continue
            if peer is None or peer.sd is None or peer.kind is not PeerClass.FAILING:
                return Verdict(Place.ELSEWHERE, (what,), owner)
            free_at = model.MonotonicMs(peer.sd.renewed_at + peers.dead_after_ms(peer.sd.io_timeout_s))
            left_s = max(0, free_at - now) // 1000
            reason = (
                f"{what}, which sanlock sees failing: it is dead, and the lease free, in about {left_s} s"
            )
            if soon is None or soon.free_at is None or soon.free_at < free_at:
                soon = Verdict(Place.NOWHERE_SOON, (reason,), owner, free_at)
    return soon


_NEVER_READ: snapshot.Evidence[snapshot.LeaseView] = snapshot.Evidence()

_SEEN_LATE_MS = 11_000
"""A slot is read at least every 10 s: what is seen to change was written that much earlier at most."""


def _early_ms(span_ms: int) -> int:
    """How long before a rise of its generation a host's "not here" may have been seen.

    safety: an old VM can only be one from before its sanlock ended, and from there to the rise it
    takes 2 T at least (a join). So what was written within 2 T before the rise was written when
    such a VM would have been seen by the VDSM there, and when no new one could get a lease.
    """
    io_timeout_ms = (span_ms - peers.WATCHDOG_FIRE_S * 1000) // 8
    return max(0, 2 * io_timeout_ms - _SEEN_LATE_MS)


def _unknown_leases(snap: snapshot.Snapshot, now: model.MonotonicMs) -> tuple[str, ...]:
    out = []
    for ref in snap.leases():
        read = snap.vm_leases.get(ref, _NEVER_READ)
        view = read.known(now, snapshot.LEASE_OWNERS_LIMIT_MS)
        if view is None or view.owners is None:
            why = read.why_unknown(now) if view is None else "VDSM does not say who owns it"
            out.append(f"the lease of volume {ref.volume_id} is unknown: {why}")
    return tuple(out)


def _open_claims(
    memory: Memory,
    snap: snapshot.Snapshot,
    found: Mapping[int, Peer],
    soon: Verdict | None,
    now: model.MonotonicMs,
) -> tuple[str, ...]:
    """Claims that are neither valid nor void, and hosts whose claim cannot be read any more."""
    out = []
    for peer in found.values():
        if peer.claim is not Claim.PERHAPS:
            continue
        if soon is not None and soon.host_id == peer.host_id and peer.host_id not in memory.unprotected:
            continue  # its lease is what is waited for
        if peer.slot is not None and not peer.slot.readable:
            out.append(f"{named(peer)} claimed the VM and its slot is damaged now: {peer.slot.problem}")
        elif peer.slot is not None and not peer.slot.tells_of_vm and peer.host_id not in memory.unprotected:
            out.append(
                f"{named(peer)} claimed the VM and cannot tell of it now; "
                f"the leases must be seen free for {peers.VOID_AFTER_MS // 1000} s"
            )
        elif peer.host_id in memory.unprotected:
            out.append(f"{named(peer)} claimed the VM while it held no lease; only its death ends that claim")
        else:
            needed_s = peers.VOID_AFTER_MS // 1000
            out.append(f"{named(peer)} has an old claim; the leases must be seen free for {needed_s} s")
    for host_id, risen_at, span_ms in memory.rises:
        if host_id == snap.host_id or host_id not in memory.owners | memory.claimed:
            continue
        risen = found.get(host_id)
        slot = risen.slot if risen is not None else None
        says_no = (
            slot is not None
            and slot.tells_of_vm
            and not slot.claims_vm
            and slot.changed_at is not None
            and slot.changed_at > risen_at - _early_ms(span_ms)
        )
        if not says_no:
            left_s = (risen_at + span_ms - now) // 1000
            out.append(
                f"host {host_id} owned the VM and its sanlock came back: "
                f"its old VM may live for {left_s} s more"
            )
    return tuple(out)
