"""Builders with defaults: a test shows only what matters to it."""

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, TypeVar

from ovirt_he_agent.core import decision, model, policy, snapshot
from ovirt_he_agent.core.snapshot import Evidence
from ovirt_he_agent.core.state import Phase, State

T = TypeVar("T")

NOW = model.MonotonicMs(1_000_000)
VM_ID = "b6bd28c6-cb69-431f-ad65-37efa6931f8c"
DOMAIN_ID = "76a79a20-8ce3-432d-8c1e-112b88ef9510"
DISK = snapshot.LeaseRef(
    domain_id=DOMAIN_ID,
    image_id="75413438-ca10-48f6-925b-537723a60606",
    volume_id="e2831e18-ce81-4abd-bab7-ae470b5b61a6",
)


def ago(seconds: float) -> model.MonotonicMs:
    return model.MonotonicMs(NOW - int(seconds * 1000))


def seen(value: T, *, ago_s: float = 1) -> Evidence[T]:
    return Evidence(value, model.MonotonicMs(NOW - int(ago_s * 1000)))


def report(status: model.VmStatus = model.VmStatus.UP, *, time: int = 1, **facts: Any) -> model.VmReport:
    return model.VmReport(vm_id=VM_ID, status=status, status_text=status.value, event_time=time, **facts)


def host(
    flag: model.HostFlag = model.HostFlag.LIVE,
    *,
    generation: int = 1,
    io_timeout_s: int = 10,
    renewed_ago_s: float = 1,
) -> snapshot.HostSeen:
    return snapshot.HostSeen(
        flag=flag,
        generation=generation,
        io_timeout_s=io_timeout_s,
        timestamp=1,
        renewed_at=model.MonotonicMs(NOW - int(renewed_ago_s * 1000)),
    )


def slot(
    host_id: int = 2, *, changed_ago_s: float | None = 5, first_seen_ago_s: float = 600, **facts: Any
) -> snapshot.PeerSlot:
    changed = None if changed_ago_s is None else model.MonotonicMs(NOW - int(changed_ago_s * 1000))
    return replace(
        snapshot.PeerSlot(
            host_id=host_id,
            readable=True,
            host_name=f"host{host_id}",
            score=3400,
            state="EngineDown",
            first_seen_at=model.MonotonicMs(NOW - int(first_seen_ago_s * 1000)),
            changed_at=changed,
        ),
        **facts,
    )


def definition(**facts: Any) -> snapshot.Definition:
    return replace(
        snapshot.Definition(
            vm_id=VM_ID,
            name="HostedEngine",
            sha256="d" * 64,
            generation=7,
            memory_mib=16384,
            leases=(DISK,),
            source="a test",
        ),
        **facts,
    )


def probe(outcome: model.ProbeOutcome = model.ProbeOutcome.GOOD, *, ago_s: float = 1) -> model.HealthProbe:
    return model.HealthProbe(
        at=model.MonotonicMs(NOW - int(ago_s * 1000)), outcome=outcome, reason=str(outcome)
    )


def free(*, ago_s: float = 1) -> dict[snapshot.LeaseRef, Evidence[snapshot.LeaseView]]:
    return owned_by(ago_s=ago_s)


def owned_by(*owners: int, ago_s: float = 1) -> dict[snapshot.LeaseRef, Evidence[snapshot.LeaseView]]:
    return {DISK: seen(snapshot.LeaseView(owners=owners, is_leaf=True), ago_s=ago_s)}


def startable(**facts: Any) -> snapshot.Snapshot:
    """A host on which every condition for a start holds."""
    return replace(
        snapshot.Snapshot(
            host_id=1,
            vm_id=VM_ID,
            deployed_lease=DISK,
            global_maintenance=seen(False),
            local_maintenance=seen(False),
            own_ha_lease=seen(snapshot.OwnLease(held=True, since=NOW, detail="held")),
            domain=seen(
                model.DomainVitals(
                    domain_id=DOMAIN_ID,
                    code=0,
                    valid=True,
                    acquired=True,
                    actual=True,
                    delay_s=0.001,
                    last_check_s=1.0,
                )
            ),
            ha_hosts=seen({1: host()}),
            sd_hosts=seen({1: host()}),
            slots=seen({}),
            definition=seen(definition()),
            vm=seen(snapshot.VmView(report=None)),
            vm_leases=free(),
            own_slot=seen(1),
            network=seen(1.0),
            bridge_up=seen(True),
            cpu_load=seen(0.1),
            memory_free_mib=seen(65536),
        ),
        **facts,
    )


# Decisions

JOINED = State(has_joined=True)
"""A host that has just joined and knows nothing yet."""


def running(**facts: Any) -> State:
    """A host whose VM has been up and good for ten minutes."""
    life = State(
        phase=Phase.RUNNING, has_joined=True, was_here=True, was_good=True, here_since=ago(600), last_runner=1
    )
    return replace(life, **facts)


def decide(
    snap: snapshot.Snapshot,
    state: State = JOINED,
    *,
    later_s: float = 0,
    rules_of: policy.Policy | None = None,
) -> decision.Decision:
    now = model.MonotonicMs(NOW + int(later_s * 1000))
    return decision.decide(state, snap, now, rules_of=rules_of or policy.Policy())


def aged(snap: snapshot.Snapshot, by_s: float) -> snapshot.Snapshot:
    """The same readings, taken ``by_s`` later; what they say of times stays: a slot is not written anew."""
    by_ms = int(by_s * 1000)

    def move(read: Any) -> Any:
        return replace(read, at=model.MonotonicMs(read.at + by_ms)) if read.at is not None else read

    changes = {f.name: move(v) for f in fields(snap) if isinstance(v := getattr(snap, f.name), Evidence)}
    good = snap.page_good_at
    return replace(
        snap,
        vm_leases={ref: move(read) for ref, read in snap.vm_leases.items()},
        probes=tuple(move(p) for p in snap.probes),
        page_good_at=model.MonotonicMs(good + by_ms) if good is not None else None,
        **changes,
    )


def lifetime(
    *steps: tuple[float, dict[str, Any]], state: State = JOINED, **always: Any
) -> list[decision.Decision]:
    """Decisions of consecutive moments: (seconds, what the snapshot shows, read one second before)."""
    out = []
    for later_s, facts in steps:
        decided = decide(aged(startable(**{**always, **facts}), later_s), state, later_s=later_s)
        state = decided.state
        out.append(decided)
    return out


def every(
    seconds: Iterable[float], facts: dict[str, Any], *, state: State = JOINED, **always: Any
) -> list[decision.Decision]:
    """The same evidence read again and again."""
    return lifetime(*((later_s, facts) for later_s in seconds), state=state, **always)


def vm(status: model.VmStatus, **facts: Any) -> dict[str, Any]:
    """VDSM's word on the VM here."""
    return {"vm": seen(snapshot.VmView(report=report(status, **facts)))}


ABSENT: dict[str, Any] = {"vm": seen(snapshot.VmView(report=None))}
GOOD: dict[str, Any] = {"probes": (probe(ago_s=2), probe(ago_s=1)), "page_good_at": ago(1)}
UP: dict[str, Any] = {**vm(model.VmStatus.UP), **GOOD, "vm_leases": {}}


def bad(outcome: model.ProbeOutcome = model.ProbeOutcome.NO_ANSWER, *, for_s: float = 5) -> dict[str, Any]:
    """An engine whose page has not been good for so long."""
    return {"probes": (probe(outcome, ago_s=for_s), probe(outcome, ago_s=1))}


def down(reason: model.ExitReason | None = None, *, message: str = "", code: int = 1) -> dict[str, Any]:
    return vm(model.VmStatus.DOWN, exit_reason=reason, exit_code=code, exit_message=message)


def command(kind: str, *, number: int = 1, ago_s: float = 0, **facts: Any) -> dict[str, Any]:
    """It has ended well, unless told otherwise."""
    at = ago(ago_s)
    ended = snapshot.Command(number=number, kind=kind, given_at=at, done_at=at, ok=True)
    return {"command": replace(ended, **facts)}


def neighbours(*slots: snapshot.PeerSlot, **flags: model.HostFlag) -> dict[str, Any]:
    """Hosts with these slots, live in both lockspaces; ``sd3=HostFlag.DEAD`` for host 3 says otherwise."""
    ids = {1, *(s.host_id for s in slots), *(int(name[2:]) for name in flags)}
    sd = {i: host(flags.get(f"sd{i}", model.HostFlag.LIVE)) for i in ids}
    return {
        "slots": seen({s.host_id: s for s in slots}),
        "sd_hosts": seen(sd),
        "ha_hosts": seen({i: host() for i in ids}),
    }
