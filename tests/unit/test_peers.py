"""What another host is taken for, and what its claim on the VM is worth: each row of both tables."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import peers, snapshot
from ovirt_he_agent.core.model import HostFlag
from ovirt_he_agent.core.peers import Claim, PeerClass
from ovirt_he_agent.core.snapshot import Evidence, PeerSlot
from tests.snapshots import NOW, ago, host, seen, slot, startable

FRESH, STALE = slot(), slot(changed_ago_s=300)
JUST_SEEN = slot(changed_ago_s=None, first_seen_ago_s=30)
NEVER_CHANGED = slot(changed_ago_s=None, first_seen_ago_s=90)
DAMAGED = slot(readable=False, problem="checksum")
LIVE, FAIL, DEAD, FREE = (host(flag) for flag in (HostFlag.LIVE, HostFlag.FAIL, HostFlag.DEAD, HostFlag.FREE))


def look(
    slot_: PeerSlot | None = None,
    sd: snapshot.HostSeen | None = None,
    ha: snapshot.HostSeen | None = None,
    *,
    claimed: bool = False,
    unprotected: bool = False,
    free_for_ms: int | None = None,
    **facts: Any,
) -> peers.Peer | None:
    """Host 2; None: nobody knows it."""
    snap = startable(
        slots=seen({2: slot_} if slot_ is not None else {}),
        sd_hosts=seen({1: host()} | ({2: sd} if sd is not None else {})),
        ha_hosts=seen({1: host()} | ({2: ha} if ha is not None else {})),
    )
    found = peers.look(
        replace(snap, **facts),
        NOW,
        claimed=frozenset({2} if claimed else ()),
        unprotected=frozenset({2} if unprotected else ()),
        free_for_ms=free_for_ms,
    )
    return found.get(2)


def kind(slot_: PeerSlot | None, sd: snapshot.HostSeen | None, **facts: Any) -> PeerClass:
    found = look(slot_, sd, **facts)
    assert found is not None
    return found.kind


@pytest.mark.parametrize(
    ("slot_", "sd", "expected"),
    [
        (None, FREE, PeerClass.GONE),
        (slot(stopped=True), FREE, PeerClass.LEFT),
        (slot(stopped=True), None, PeerClass.LEFT),
        (slot(stopped=True), LIVE, PeerClass.ALIVE),
        (slot(stopped=True, claims_vm=True), FREE, PeerClass.ALIVE),
        (FRESH, LIVE, PeerClass.ALIVE),
        (FRESH, FAIL, PeerClass.ALIVE),
        (FRESH, None, PeerClass.ALIVE),
        (STALE, host(renewed_ago_s=70), PeerClass.DYING),
        (DAMAGED, host(renewed_ago_s=70), PeerClass.DYING),
        (STALE, host(renewed_ago_s=50), PeerClass.SILENT),
        (STALE, LIVE, PeerClass.SILENT),
        (DAMAGED, LIVE, PeerClass.SILENT),
        (None, LIVE, PeerClass.SILENT),
        (NEVER_CHANGED, LIVE, PeerClass.SILENT),
        (STALE, FAIL, PeerClass.FAILING),
        (DAMAGED, FAIL, PeerClass.FAILING),
        (STALE, DEAD, PeerClass.DEAD),
        (JUST_SEEN, DEAD, PeerClass.DEAD),
        (STALE, FREE, PeerClass.DEAD),
        (STALE, None, PeerClass.DEAD),
        (DAMAGED, FREE, PeerClass.DEAD),
        (JUST_SEEN, LIVE, PeerClass.UNKNOWN),
        (JUST_SEEN, FAIL, PeerClass.UNKNOWN),
        (JUST_SEEN, FREE, PeerClass.UNKNOWN),
        (STALE, host(HostFlag.UNKNOWN), PeerClass.UNKNOWN),
        (slot(changed_ago_s=300, claims_vm=True), FREE, PeerClass.UNKNOWN),
    ],
)
def test_each_class_has_its_evidence(
    slot_: PeerSlot | None, sd: snapshot.HostSeen | None, expected: PeerClass
) -> None:
    assert kind(slot_, sd) is expected


def test_a_host_that_was_never_seen_is_none() -> None:
    assert look() is None


@pytest.mark.parametrize("ha", [None, LIVE, FAIL, DEAD, FREE])
@pytest.mark.parametrize(
    ("sd", "expected"),
    [(LIVE, PeerClass.SILENT), (FAIL, PeerClass.FAILING), (DEAD, PeerClass.DEAD), (FREE, PeerClass.DEAD)],
)
def test_a_hosts_life_is_judged_by_the_storage_domains_lockspace_alone(
    sd: snapshot.HostSeen, expected: PeerClass, ha: snapshot.HostSeen | None
) -> None:
    assert kind(STALE, sd, ha=ha) is expected


def test_an_empty_slot_of_a_joined_agent_is_not_gone() -> None:
    assert kind(None, FREE, ha=LIVE) is not PeerClass.GONE
    assert kind(None, FREE, ha=FREE) is PeerClass.GONE


def test_stale_is_what_reads_have_found_unchanged_for_60_s_and_not_what_was_not_read() -> None:
    not_read = Evidence({2: slot(changed_ago_s=70)}, ago(30))
    assert kind(None, LIVE, slots=not_read) is PeerClass.UNKNOWN
    assert kind(slot(changed_ago_s=70), LIVE) is PeerClass.SILENT


def test_dying_is_what_reads_have_found_unrenewed_and_not_what_was_not_read() -> None:
    hosts = Evidence({2: host(renewed_ago_s=70)}, ago(15))
    assert kind(STALE, None, sd_hosts=hosts) is PeerClass.SILENT


@pytest.mark.parametrize(("io_timeout_s", "expected"), [(2, PeerClass.DYING), (10, PeerClass.SILENT)])
def test_three_renewal_intervals_are_of_that_hosts_io_timeout(io_timeout_s: int, expected: PeerClass) -> None:
    assert kind(STALE, host(io_timeout_s=io_timeout_s, renewed_ago_s=20)) is expected


@pytest.mark.parametrize("name", ["slots", "sd_hosts"])
def test_without_one_of_its_witnesses_only_a_speaking_host_is_known(name: str) -> None:
    unknown: Evidence[Any] = Evidence()
    assert kind(STALE, LIVE, claimed=True, **{name: unknown}) is PeerClass.UNKNOWN
    spoken = kind(FRESH, LIVE, claimed=True, **{name: unknown})
    assert spoken is (PeerClass.ALIVE if name == "sd_hosts" else PeerClass.UNKNOWN)


# Claims

CLAIMS = slot(claims_vm=True)
OLD_CLAIM = slot(claims_vm=True, changed_ago_s=300)


def first_seen(ago_s: float) -> PeerSlot:
    return slot(claims_vm=True, changed_ago_s=None, first_seen_ago_s=ago_s)


LEFT_UP = slot(claims_vm=True, stopped=True)


@pytest.mark.parametrize(
    ("slot_", "facts", "expected"),
    [
        (FRESH, {}, Claim.NONE),
        (STALE, {"claimed": True}, Claim.NONE),
        (DAMAGED, {}, Claim.NONE),
        (CLAIMS, {}, Claim.VALID),
        (CLAIMS, {"free_for_ms": 60_000}, Claim.VALID),
        (OLD_CLAIM, {}, Claim.PERHAPS),
        (OLD_CLAIM, {"free_for_ms": 19_999}, Claim.PERHAPS),
        (OLD_CLAIM, {"free_for_ms": 20_000}, Claim.VOID),
        (DAMAGED, {"claimed": True}, Claim.PERHAPS),
        (DAMAGED, {"claimed": True, "free_for_ms": 20_000}, Claim.VOID),
        (
            slot(claims_vm=True, changed_ago_s=None, first_seen_ago_s=10),
            {"free_for_ms": 20_000},
            Claim.PERHAPS,
        ),
        (slot(claims_vm=True, changed_ago_s=None, first_seen_ago_s=25), {"free_for_ms": 20_000}, Claim.VOID),
        (slot(vm_word="unknown"), {}, Claim.NONE),
        (slot(vm_word="unknown"), {"claimed": frozenset({2})}, Claim.PERHAPS),
        (slot(vm_word="unknown"), {"claimed": frozenset({2}), "free_for_ms": 20_000}, Claim.VOID),
        # its VM holds no lease: free leases say nothing of it
        (OLD_CLAIM, {"unprotected": True, "free_for_ms": 60_000}, Claim.PERHAPS),
        (DAMAGED, {"claimed": True, "unprotected": True, "free_for_ms": 60_000}, Claim.PERHAPS),
        (OLD_CLAIM, {"unprotected": True, "free_for_ms": 60_000, "sd": FREE}, Claim.VOID),
        (OLD_CLAIM, {"unprotected": True, "free_for_ms": None, "sd": FREE}, Claim.PERHAPS),
        # its agent left while the VM was there
        (LEFT_UP, {}, Claim.PERHAPS),
        (LEFT_UP, {"free_for_ms": 0}, Claim.VOID),
        (LEFT_UP, {"unprotected": True, "free_for_ms": 60_000}, Claim.PERHAPS),
        # the dead claim nothing
        (OLD_CLAIM, {"sd": DEAD}, Claim.VOID),
        (OLD_CLAIM, {"unprotected": True, "sd": DEAD}, Claim.VOID),
        (DAMAGED, {"claimed": True, "sd": DEAD}, Claim.VOID),
    ],
)
def test_what_a_claim_is_worth(slot_: PeerSlot, facts: Mapping[str, Any], expected: Claim) -> None:
    found = look(slot_, **{"sd": LIVE, **facts})
    assert found is not None
    assert found.claim is expected


def test_a_free_host_id_makes_a_host_dead_only_when_its_claim_is_void() -> None:
    assert kind(OLD_CLAIM, FREE, claimed=True) is PeerClass.UNKNOWN
    assert kind(OLD_CLAIM, FREE, claimed=True, free_for_ms=20_000) is PeerClass.DEAD


slots = st.builds(
    slot,
    st.just(3),
    readable=st.booleans(),
    claims_vm=st.booleans(),
    stopped=st.booleans(),
    changed_ago_s=st.sampled_from([None, 1, 300]),
    state=st.text(),
    score=st.one_of(st.none(), st.integers()),
    engine_detail=st.text(),
)


@given(slots, st.sampled_from([None, FRESH, STALE, CLAIMS, OLD_CLAIM, DAMAGED]), st.sampled_from(HostFlag))
def test_whatever_stands_in_a_slot_touches_the_class_of_its_host_only(
    anything: PeerSlot, slot_: PeerSlot | None, flag: HostFlag
) -> None:
    """S12."""
    slots = {2: slot_} if slot_ is not None else {}
    alone = look(slot_, host(flag), claimed=True)
    beside = look(slot_, host(flag), claimed=True, slots=seen({**slots, 3: anything}))
    assert alone == beside


def test_each_class_has_a_meaning_for_people() -> None:
    assert set(peers.MEANING) == set(PeerClass)
