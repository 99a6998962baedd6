"""What stands between a host and a start of the VM, and with it the evidence as it were without that.

A ``Change`` is a thought, for people who ask what would have to be otherwise: it is never made.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ovirt_he_agent.core import aftermath, model, rules, score, snapshot
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.core.peers import Claim, PeerClass
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.snapshot import Evidence, LeaseRef, LeaseView, Snapshot, VmView
from ovirt_he_agent.core.state import End, State
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.words.figures import host, left


@dataclass(frozen=True, slots=True)
class Change:
    clause: str
    """After "if": in the subjunctive."""
    make: Callable[[Snapshot, State], tuple[Snapshot, State]]


def _evidence(clause: str, **facts: object) -> Change:
    return Change(clause, lambda snap, state: (replace(snap, **facts), state))  # type: ignore[arg-type]


def all_of(s: Scene) -> Iterator[Change]:
    """Every obstacle that is seen now; the VM is not here."""
    yield from _of_this_host(s)
    yield from _of_the_definition(s)
    yield from _of_the_leases(s)
    yield from _of_other_hosts(s)
    yield from _of_time(s)


def _of_this_host(s: Scene) -> Iterator[Change]:
    snap, now = s.snap, s.now
    if snap.leaving:
        yield _evidence("the agent were started again", leaving=False)
    if s.global_maintenance is not False:
        known = "were known to be off" if s.global_maintenance is None else "were off"
        yield _evidence(f"global maintenance {known}", global_maintenance=Evidence(False, now))
    if s.local_maintenance is not False:
        known = "were known to be off" if s.local_maintenance is None else "were off"
        yield _evidence(f"local maintenance {known}", local_maintenance=Evidence(False, now))
    lease = snap.own_ha_lease.known(now, snapshot.OWN_LEASE_LIMIT_MS)
    if lease is None or not lease.held or not s.state.has_joined or snap.own_ha_lease.problem:
        held = snapshot.OwnLease(held=True, since=now, detail="held")
        yield _evidence(
            "this host's id were held in lockspace hosted-engine", own_ha_lease=Evidence(held, now)
        )
    vitals = snap.domain.known(now, snapshot.DOMAIN_LIMIT_MS)
    good = vitals is not None and vitals.acquired and (vitals.valid or not vitals.actual)
    if vitals is None or not good or snap.domain.problem:
        well = model.DomainVitals(
            domain_id=snap.deployed_lease.domain_id,
            code=0,
            valid=True,
            acquired=True,
            actual=True,
            delay_s=0.0,
            last_check_s=0.0,
        )
        yield _evidence("VDSM had the host id acquired in the storage domain", domain=Evidence(well, now))
    if s.view is None or snap.vm.problem:
        yield _evidence("VDSM said that the VM is not here", vm=Evidence(VmView(report=None), now))
    if snap.slots.known(now, snapshot.SLOT_LIMIT_MS) is None or snap.slots.problem:
        yield _evidence("the whiteboard could be read", slots=Evidence(snap.slots.value or {}, now))
    if snap.own_slot.problem:
        yield _evidence("this host could write its slot", own_slot=Evidence(snap.own_slot.value or 0, now))


def _of_the_definition(s: Scene) -> Iterator[Change]:
    known = s.snap.definition.known(s.now, snapshot.DEFINITION_LIMIT_MS)
    if known is not None and known.leases and known.vm_id == s.snap.vm_id:
        return
    last = s.snap.definition.value
    made = snapshot.Definition(
        vm_id=s.snap.vm_id,
        name=last.name if last else "",
        sha256=last.sha256 if last else "",
        generation=last.generation if last else None,
        memory_mib=last.memory_mib if last else 0,
        leases=(last.leases if last else ()) or (s.snap.deployed_lease,),
        source="",
        other_leases=last.other_leases if last else (),
    )
    yield _evidence(
        "there were a definition of the VM with a lease for every exclusive disk",
        definition=Evidence(made, s.now),
    )


def _view(snap: Snapshot, ref: LeaseRef, now: MonotonicMs) -> LeaseView | None:
    read = snap.vm_leases.get(ref)
    return read.known(now, snapshot.LEASE_OWNERS_LIMIT_MS) if read is not None else None


def _of_the_leases(s: Scene) -> Iterator[Change]:
    snap, now = s.snap, s.now
    unknown = [ref for ref in snap.leases() if (view := _view(snap, ref, now)) is None or view.owners is None]
    if unknown:

        def read_as_free(snap: Snapshot, state: State) -> tuple[Snapshot, State]:
            views = dict(snap.vm_leases)
            for ref in snap.leases():  # of the definition as it may have been changed
                view = _view(snap, ref, now)
                if view is None or view.owners is None:
                    leaf = view.is_leaf if view is not None else True
                    views[ref] = Evidence(LeaseView(owners=(), is_leaf=leaf), now)
            return replace(snap, vm_leases=views), state

        ids = ", ".join(ref.volume_id[:8] for ref in unknown)
        yield Change(f"the lease of volume {ids} were read as free", read_as_free)
    # what no read has told is only unknown: that it is no leaf is not an obstacle of its own
    branches = [
        ref for ref in snap.opened() if (view := _view(snap, ref, now)) is not None and not view.is_leaf
    ]
    if branches:

        def ends_its_chain(snap: Snapshot, state: State) -> tuple[Snapshot, State]:
            views = dict(snap.vm_leases)
            for ref in branches:
                view = _view(snap, ref, now)
                if view is not None:
                    views[ref] = Evidence(LeaseView(owners=view.owners, is_leaf=True), now)
            return replace(snap, vm_leases=views), state

        ids = ", ".join(ref.volume_id[:8] for ref in branches)
        yield Change(f"volume {ids} were known to be the end of its chain", ends_its_chain)
    hosts = snap.sd_hosts.known(now, snapshot.HOSTS_LIMIT_MS)
    memory = s.state.memory
    if hosts is None and (memory.owners | memory.claimed) - {snap.host_id}:
        yield _evidence(
            "the storage domain's hosts could be read", sd_hosts=Evidence(snap.sd_hosts.value or {}, now)
        )


def _owners(s: Scene) -> set[int]:
    """Hosts that own a lease of the VM and are not dead."""
    found: set[int] = set()
    for ref in s.snap.leases():
        view = _view(s.snap, ref, s.now)
        found.update(view.owners or () if view is not None else ())
    dead = {p.host_id for p in s.peers.values() if p.sd is not None and p.sd.flag is model.HostFlag.DEAD}
    return found - dead


def _of_other_hosts(s: Scene) -> Iterator[Change]:
    owners = _owners(s)
    claims = {p.host_id: p.claim for p in s.peers.values() if p.claim in (Claim.VALID, Claim.PERHAPS)}
    for host_id in sorted(owners | claims.keys()):
        peer = s.peers.get(host_id)
        if peer is not None and peer.kind is PeerClass.FAILING and host_id in owners:
            when = f", in about {left(s.verdict.free_at - s.now)}" if s.verdict.free_at is not None else ""
            yield _dead(f"sanlock called {host(s, host_id)} dead{when}", host_id)
            continue
        why = {Claim.VALID: ["it claims it"], Claim.PERHAPS: ["its old claim is open"]}.get(
            claims.get(host_id, Claim.NONE), []
        )
        why = [*why, "it owns a lease of it"] if host_id in owners else why
        named = "this host" if host_id == s.snap.host_id else host(s, host_id)
        yield _let_go(f"{named} let go of the VM ({', and '.join(why)})", host_id, s.now)


def _dead(clause: str, host_id: int) -> Change:
    def make(snap: Snapshot, state: State) -> tuple[Snapshot, State]:
        hosts = dict(snap.sd_hosts.value or {})
        if host_id in hosts:
            hosts[host_id] = replace(hosts[host_id], flag=model.HostFlag.DEAD)
        return replace(snap, sd_hosts=replace(snap.sd_hosts, value=hosts)), state

    return Change(clause, make)


def _let_go(clause: str, host_id: int, now: MonotonicMs) -> Change:
    def make(snap: Snapshot, state: State) -> tuple[Snapshot, State]:
        slots = dict(snap.slots.value or {})
        if host_id in slots:
            slots[host_id] = replace(
                slots[host_id], readable=True, problem="", claims_vm=False, vm_word="down", changed_at=now
            )
        views = {
            ref: replace(
                read,
                value=replace(
                    read.value, owners=tuple(owner for owner in read.value.owners if owner != host_id)
                ),
            )
            if read.value is not None and read.value.owners
            else read
            for ref, read in snap.vm_leases.items()
        }
        claimed = state.memory.claimed - {host_id}
        return (
            replace(snap, slots=replace(snap.slots, value=slots), vm_leases=views),
            replace(state, memory=replace(state.memory, claimed=claimed)),
        )

    return Change(clause, make)


def _of_time(s: Scene) -> Iterator[Change]:
    state, now = s.state, s.now
    for host_id, risen_at, span_ms in state.memory.rises:
        peer = s.peers.get(host_id)
        if host_id in state.memory.owners | state.memory.claimed and s.verdict.place is Place.UNCLEAR:
            yield _forgotten_rise(
                f"{left(risen_at + span_ms - now)} passed, for which the old VM of "
                f"{host(s, host_id) if peer is not None else f'host {host_id}'} may live",
                host_id,
            )
    end = state.last_end
    if end is not None and end.end is End.MIGRATED and now - end.at < rules.MIGRATED_AWAY_MS:
        yield Change(
            f"{left(end.at + rules.MIGRATED_AWAY_MS - now)} passed without the VM showing up on another host",
            lambda snap, state: (
                snap,
                replace(state, last_end=replace(end, at=MonotonicMs(now - rules.MIGRATED_AWAY_MS))),
            ),
        )
    failed = [a for a in state.attempts if a.end is End.START_FAILED]
    cooling = aftermath.is_cooling_down(s)
    if failed and (cooling or s.inputs.failed_starts):
        window_ms = aftermath.COOLDOWN_MS if cooling else score.FAILED_STARTS_WINDOW_S * 1000
        kept = tuple(a for a in state.attempts if a.end is not End.START_FAILED)
        yield Change(
            f"{left(failed[-1].at + window_ms - now)} passed and the failed starts here were forgotten",
            lambda snap, state: (snap, replace(state, attempts=kept)),
        )
    if s.now < state.others_first_until:
        yield Change(
            f"{left(state.others_first_until - now)} passed, for which others go first",
            lambda snap, state: (snap, replace(state, others_first_until=now)),
        )
    if s.busy and s.snap.command is not None:
        yield _evidence(f"{s.snap.command.kind}, which is in flight, had ended", command=None)


def _forgotten_rise(clause: str, host_id: int) -> Change:
    def make(snap: Snapshot, state: State) -> tuple[Snapshot, State]:
        memory = state.memory
        kept = tuple(rise for rise in memory.rises if rise[0] != host_id)
        return snap, replace(state, memory=replace(memory, rises=kept))

    return Change(clause, make)
