"""Builders with defaults: a test shows only what matters to it."""

from dataclasses import replace
from typing import Any, TypeVar

from ovirt_he_agent.core import model, snapshot
from ovirt_he_agent.core.snapshot import Evidence

T = TypeVar("T")

NOW = model.MonotonicMs(1_000_000)
VM_ID = "b6bd28c6-cb69-431f-ad65-37efa6931f8c"
DOMAIN_ID = "76a79a20-8ce3-432d-8c1e-112b88ef9510"
DISK = snapshot.LeaseRef(
    domain_id=DOMAIN_ID,
    image_id="75413438-ca10-48f6-925b-537723a60606",
    volume_id="e2831e18-ce81-4abd-bab7-ae470b5b61a6",
)


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
        ),
        **facts,
    )
