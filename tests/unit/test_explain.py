"""The words: exact sentences for each phase and rule, and that there is one for whatever may be decided."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import decision, rules, score, snapshot
from ovirt_he_agent.core.commands import CleanVdsmEntry, StartVm
from ovirt_he_agent.core.host_figures import HostFigures
from ovirt_he_agent.core.model import ExitReason, HostFlag, MonotonicMs, ProbeOutcome, VmStatus
from ovirt_he_agent.core.snapshot import Evidence, LeaseView, OwnLease, Request, RequestKind, VmView
from ovirt_he_agent.core.state import Attempt, End, Phase, State, Stop, StopCause
from ovirt_he_agent.core.words import explain, tested, why
from ovirt_he_agent.core.words.states_page import STARTS
from tests.snapshots import (
    DISK,
    GOOD,
    NOW,
    UP,
    ago,
    bad,
    decide,
    definition,
    down,
    host,
    owned_by,
    probe,
    report,
    running,
    seen,
    slot,
    startable,
    vm,
)

STANDBY = State(has_joined=True, phase=Phase.STANDBY, phase_since=ago(720))
FAIL = {1: host(), 2: host(HostFlag.FAIL, renewed_ago_s=83)}
LIVE = {1: host(), 2: host()}


def look(state: State = STANDBY, **facts: Any) -> decision.Decision:
    """What is decided on a host where, but for these facts, every condition for a start holds."""
    return decide(startable(**facts), state)


def here(**facts: Any) -> State:
    """The VM has been here for 15 min, and its engine good for 12 of them."""
    return replace(running(here_since=ago(900), phase_since=ago(720)), **facts)


def ended(end: End, *, ago_s: float, detail: str = "no such network") -> Attempt:
    return Attempt(ago(ago_s), end, detail)


def failed(*ago_s: float) -> State:
    attempts = tuple(ended(End.START_FAILED, ago_s=s) for s in ago_s)
    return replace(STANDBY, attempts=attempts, last_end=attempts[-1])


def stop(**facts: Any) -> Stop:
    begun = Stop(cause=StopCause.SICK, why="it does not answer, for 75 s", since=ago(31))
    return replace(begun, **facts)


VM_UP = vm(VmStatus.UP)
RIVAL: dict[str, Any] = {"slots": seen({3: slot(3, score=3400)})}
CASES: list[tuple[str, State, dict[str, Any], str]] = [
    (
        "leaving",
        here(),
        {**VM_UP, "leaving": True},
        "The engine VM runs here and is left as it is: this agent was told to stop; "
        "nobody watches over the VM until the agent is started again.",
    ),
    (
        "leaving",
        STANDBY,
        {"leaving": True},
        "This host does not start the engine VM: its agent was told to stop; the engine VM is not running; "
        "the agent starts it again only when it is started itself.",
    ),
    (
        "local-without-vm",
        replace(STANDBY, phase=Phase.LOCAL),
        {"local_maintenance": seen(True)},
        "The engine VM is not running, and this host does not start it: local maintenance has been on for "
        "at least 12 min; `ovirt-he-agent maintenance none` ends it.",
    ),
    (
        "evidence-is-coming",
        State(),
        {
            "own_ha_lease": seen(OwnLease(held=False, since=NOW, detail="joining for 12 s")),
            "domain": Evidence(),
        },
        "This agent has just started and does nothing to the engine VM until it knows the storage domain's "
        "state in VDSM and its host id in lockspace hosted-engine (joining for 12 s).",
    ),
    (
        "cut-off",
        replace(STANDBY, phase=Phase.CUT),
        {"own_slot": Evidence(1, ago(25), "Input/output error")},
        "This host cannot start the engine VM: it has been cut off for 12 min: its own "
        "slot has failed for 25 s "
        "(Input/output error); it goes on by itself when that is back.",
    ),
    (
        "cut-off",
        here(phase=Phase.CUT),
        {**VM_UP, "own_ha_lease": seen(OwnLease(held=False, since=NOW, detail="lost"))},
        "The engine VM runs here and is left alone: this host has been cut off for 12 min: its host id in "
        "lockspace hosted-engine is not held (lost); it goes on by itself when that is back.",
    ),
    (
        "asked-to-shut-down",
        here(),
        {**VM_UP, "request": Request(number=1, kind=RequestKind.SHUTDOWN, force=False)},
        "The engine VM is being shut down here: an operator asked for it; the guest is asked now.",
    ),
    (
        "asked-to-power-off",
        here(),
        {**VM_UP, "request": Request(number=1, kind=RequestKind.POWER_OFF, force=False)},
        "The engine VM is being powered off here: an operator asked for it; VDSM is told now.",
    ),
    (
        "frozen",
        replace(STANDBY, phase=Phase.FROZEN),
        {"global_maintenance": seen(True)},
        "The engine VM is not running, and nobody starts or stops it: global maintenance has been on for "
        "at least 12 min; `ovirt-he-agent maintenance none` ends it.",
    ),
    (
        "frozen",
        here(global_was_on=True),
        {**VM_UP, "global_maintenance": Evidence(True, ago(40), "slot 0 is damaged")},
        "The engine VM runs here and is neither stopped nor started again: global maintenance was on when "
        "it could last be read, 40 s ago, and is unknown now (slot 0 is damaged); "
        "this ends when it is read as off.",
    ),
    (
        "blind",
        STANDBY,
        {"vm": Evidence(VmView(report=None), ago(30), "VDSM does not answer")},
        "This host does nothing to the engine VM: whether it is here has been unknown for 30 s "
        "(VDSM does not answer); it goes on as soon as VDSM tells.",
    ),
    (
        "incoming",
        STANDBY,
        vm(VmStatus.MIGRATION_DESTINATION),
        "The engine VM is migrating to this host; VDSM says Migration Destination, "
        "and it is left alone until it has come.",
    ),
    (
        "killing",
        here(phase=Phase.KILLING, stop=stop(told_at=ago(200), kills=1, killed_at=ago(20))),
        {**VM_UP, **bad(for_s=40)},
        "The engine VM is being powered off here: it does not answer, for 75 s; VDSM accepted that 1 time, "
        "last 20 s ago, and the VM is still here; next try in 40 s.",
    ),
    (
        "stopping",
        here(phase=Phase.STOPPING, stop=stop(told_at=ago(30))),
        {**VM_UP, **bad(for_s=40)},
        "The engine VM is being shut down here: it does not answer, for 75 s; the guest was asked 30 s ago; "
        "if it is not down in 120 s, it is powered off.",
    ),
    (
        "stopping",
        here(
            phase=Phase.STOPPING,
            stop=stop(cause=StopCause.ASKED, why="an operator asked for it", told_at=ago(30)),
        ),
        {**VM_UP, **bad(for_s=40)},
        "The engine VM is being shut down here: an operator asked for it; the guest was asked 30 s ago; "
        "if it does not follow within 120 s, it goes on running.",
    ),
    (
        "stopping",
        here(phase=Phase.KILLING, stop=stop(kills=1, killed_at=ago(20))),
        {**VM_UP, **bad(for_s=40), "page_good_at": ago(4)},
        "The engine VM is being shut down here: it does not answer, for 75 s; "
        "held back, because its page was good 4 s ago.",
    ),
    (
        "twin-owns-the-lease",
        here(twin=2, twin_owner_seen=ago(25)),
        {
            **VM_UP,
            **GOOD,
            "vm_leases": owned_by(2),
            "sd_hosts": seen(LIVE),
            "slots": seen({2: slot(claims_vm=True)}),
        },
        "The engine VM is being powered off here: host 2 runs the VM with its lease: the VM here holds none; "
        "VDSM is told now.",
    ),
    (
        "paused-and-taken",
        here(bad_ms=5_000, bad_until=NOW),
        {**vm(VmStatus.PAUSED), "vm_leases": owned_by(2), "sd_hosts": seen(LIVE), "slots": seen({2: slot()})},
        "The engine VM is being powered off here: its VM is paused, for 5 s; another host has taken "
        "its lease meanwhile; VDSM is told now.",
    ),
    (
        "start-takes-too-long",
        here(was_good=False, here_since=ago(640)),
        {**VM_UP, **bad(for_s=40)},
        "The engine VM is being shut down here: its engine was not good 640 s after the start; "
        "the guest is asked now.",
    ),
    (
        "lost",
        here(phase=Phase.SICK, bad_ms=76_000, bad_until=NOW),
        {**vm(VmStatus.UP, guest_agent_alive=False, guest_active=False), **bad(for_s=40)},
        "The engine VM is being powered off here: it does not answer and its guest agent is gone, for 76 s; "
        "its guest cannot be asked to shut down; VDSM is told now.",
    ),
    (
        "sick-too-long",
        here(phase=Phase.SICK, bad_ms=76_000, bad_until=NOW),
        {**VM_UP, **bad(for_s=40)},
        "The engine VM is being shut down here: it does not answer, for 76 s; the guest is asked now.",
    ),
    (
        "network-is-lost-here",
        here(network_lost_since=ago(70)),
        {**UP, "network": seen(0.0), **RIVAL},
        "The engine VM is being shut down here: the network is lost here for 70 s, and host 3 has "
        "1600 points more; the guest is asked now.",
    ),
    (
        "starting",
        here(was_good=False, here_since=ago(30), usual_boot_ms=90_000),
        {**VM_UP, **bad(for_s=5)},
        "The engine VM has been starting here for 30 s (the last boot took 90 s), and "
        "its engine has not been good "
        "yet (no-answer); if it is not good in 570 s, it is shut down here.",
    ),
    (
        "starting",
        here(was_good=False, here_since=ago(640)),
        {**VM_UP, **bad(for_s=5), "slots": Evidence({}, ago(100))},
        "The engine VM has been starting here for 10 min, and its engine has not been good yet (no-answer); "
        "it is not stopped for that now: the whiteboard is unknown: another host may see its page.",
    ),
    (
        "sick",
        here(phase=Phase.SICK, bad_ms=30_000, bad_until=NOW),
        {**VM_UP, **bad(for_s=30)},
        "The engine VM runs here and its engine is sick: it does not answer, for 30 s; "
        "if it stays so, it is shut down here in 45 s.",
    ),
    (
        "sick",
        here(phase=Phase.SICK, bad_ms=30_000, bad_until=NOW),
        {**VM_UP, **bad(for_s=30), "slots": seen({2: slot(ours=True, engine_seen_ago_s=3)})},
        "The engine VM runs here and its engine is sick: it does not answer, for 30 s; "
        "it is not stopped for that now: host 2 sees its page.",
    ),
    (
        "here",
        here(),
        {**UP},
        "The engine VM runs here and its engine has been good for 12 min.",
    ),
    (
        "here",
        here(),
        {**VM_UP, **bad(for_s=6)},
        "The engine VM runs here, and its engine has not been good for 6 s (no-answer): "
        "it counts as sick in 9 s.",
    ),
    (
        "here",
        here(twin=2),
        {**UP, "slots": seen({2: slot(claims_vm=True)})},
        "The engine VM runs here and its engine has been good for 12 min; host 2 (host2) "
        "says that it runs it, too: "
        "it is powered off here only when that host has owned its lease for 20 s.",
    ),
    (
        "migrated-away",
        replace(STANDBY, last_end=ended(End.MIGRATED, ago_s=5)),
        down(ExitReason.MIGRATION_SUCCEEDED),
        "The engine VM migrated away from here 5 s ago and has not shown up on another host yet; "
        "this host does not start it for 35 s.",
    ),
    (
        "cooling-down",
        failed(500, 200, 30),
        RIVAL,
        "The engine VM is not running, and this host cools down: 3 starts failed here, the last one 30 s ago "
        "(no such network); host 3 (host3) may start it, and goes first while this host cools down; "
        "that ends in 570 s.",
    ),
    (
        "cooling-down",
        replace(failed(500, 200, 30), not_before=MonotonicMs(NOW + 90_000)),
        {},
        "The engine VM is not running, and this host cools down: 3 starts failed here, the last one 30 s ago "
        "(no such network); this host waits 90 s after the last end here (start failed: no such network); "
        "that ends in 570 s.",
    ),
    (
        "elsewhere",
        STANDBY,
        {"slots": seen({2: slot(claims_vm=True, engine_health="good")})},
        "The engine VM is on host 2 (host2): it says so itself, last 5 s ago with engine health 'good'; "
        "this host acts when that is older than 60 s and the VM's leases are free.",
    ),
    (
        "elsewhere",
        STANDBY,
        {"vm_leases": owned_by(2), "sd_hosts": seen(LIVE), "slots": seen({2: slot(changed_ago_s=83)})},
        f"The engine VM is on host 2 (host2): the lease of volume {DISK.volume_id} is "
        "owned by host 2 (it renews "
        "its storage lease, and nobody speaks for it on the whiteboard); this host acts "
        "when the lease is free "
        "or sanlock calls that host dead.",
    ),
    (
        "soon",
        STANDBY,
        {"vm_leases": owned_by(2), "sd_hosts": seen(FAIL)},
        "The engine VM is not running: host 2 owned it and is failing; its lease is free in about 57 s, "
        "then host 1 starts it here at once.",
    ),
    (
        "soon",
        STANDBY,
        {"vm_leases": owned_by(2), "sd_hosts": seen(FAIL), "cpu_load": seen(0.65), **RIVAL},
        "The engine VM is not running: host 2 owned it and is failing; its lease is free in about 57 s, "
        "then host 3 (host3) goes first (score 3400, here 2900), and this one starts it "
        "12 s later if it must.",
    ),
    (
        "unclear",
        STANDBY,
        {"slots": seen({2: slot(claims_vm=True, changed_ago_s=300)})},
        "Where the engine VM is cannot be told, and this host does not start it until it can: host 2 (host2) "
        "has an old claim; the leases must be seen free for 20 s; the claim of host 2 "
        "(host2) is void in about "
        "20 s if every lease of the VM stays free.",
    ),
    (
        "unclear",
        STANDBY,
        {"vm_leases": {DISK: Evidence(problem="VDSM: timed out")}},
        "Where the engine VM is cannot be told, and this host does not start it until it can: "
        f"the lease of volume {DISK.volume_id} is unknown: VDSM: timed out.",
    ),
    (
        "not-fit",
        STANDBY,
        {"definition": Evidence(problem="the OVF_STORE is torn")},
        "The engine VM is not running, and this host cannot start it, which needs a "
        "definition with a lease for "
        "every exclusive disk (the OVF_STORE is torn); no other host may start it.",
    ),
    (
        "waiting",
        replace(STANDBY, nowhere_since=ago(3)),
        {"cpu_load": seen(0.65), **RIVAL},
        "The engine VM is not running and is being waited for: host 3 (host3) goes first "
        "(score 3400, here 2900); "
        "if no other host starts it, this one does in 9 s.",
    ),
    (
        "waiting",
        replace(
            STANDBY,
            last_end=ended(End.LOCK_FAILED, ago_s=5, detail="Lease is held by another host"),
            not_before=MonotonicMs(NOW + 25_000),
            nowhere_since=ago(60),
        ),
        {},
        "The engine VM is not running: this host waits 25 s after the last end here "
        "(lock failed: Lease is held by "
        "another host), less when another host has had the lease meanwhile, then it starts it "
        "(no other host may start it).",
    ),
    (
        "waiting",
        replace(STANDBY, joined_at=ago(1)),
        {},
        "The engine VM is not running: this host waits 2 s, so that hosts that come together know of each "
        "other, then it starts it (no other host may start it).",
    ),
    (
        "waiting",
        replace(STANDBY, joined_at=ago(1), nowhere_since=ago(60)),
        {"cpu_load": seen(0.65), **RIVAL},
        "The engine VM is not running and is being waited for: host 3 (host3) goes first "
        "(score 3400, here 2900); if no other host starts it, this one does in 11 s; before that this host "
        "waits 2 s, so that hosts that come together know of each other.",
    ),
    (
        "nowhere",
        STANDBY,
        {},
        "The engine VM ran nowhere and is started here now; every condition for a start holds, and "
        "no other host may start it.",
    ),
    (
        "nowhere",
        replace(STANDBY, nowhere_since=ago(60), joined_at=ago(14)),
        {"cpu_load": seen(0.65), **RIVAL},
        "The engine VM ran nowhere and is started here now; host 3 (host3) goes first "
        "(score 3400, here 2900) and has not started it within 14 s.",
    ),
    (
        "nowhere",
        replace(STANDBY, nowhere_since=ago(13)),
        {"cpu_load": seen(0.65), **RIVAL},
        "The engine VM ran nowhere and is started here now; host 3 (host3) goes first "
        "(score 3400, here 2900) "
        "and has not started it within 13 s.",
    ),
]


@pytest.mark.parametrize(("rule", "state", "facts", "text"), CASES, ids=[case[0] for case in CASES])
def test_first_sentence_says_why_and_until_when(
    rule: str, state: State, facts: dict[str, Any], text: str
) -> None:
    decided = look(state, **facts)
    assert decided.rule.name == rule
    assert explain.first_sentence(decided) == text
    check_document(decided)


def test_every_rule_has_a_case_a_sentence_and_inputs() -> None:
    names = {row.name for row in rules.RULES}
    assert {case[0] for case in CASES} == names
    assert why.CLAUSES.keys() == names
    assert tested.INPUTS.keys() == names


# What would change it


def test_more_memory_by_the_missing_figure_would_bring_this_host_first() -> None:
    facts: dict[str, Any] = {
        "definition": seen(definition(memory_mib=4096)),
        "memory_free_mib": seen(3900),
        **RIVAL,
    }
    decided = look(**facts)
    assert explain.what_would_change(decided) == (
        "If nothing changes, this host starts the VM in 12 s.",
        "If 196 MiB more memory were free here (3900 MiB are), this host would start the VM at once.",
    )
    assert look(**(facts | {"memory_free_mib": seen(3900 + 195)})).command is None
    assert isinstance(look(**(facts | {"memory_free_mib": seen(3900 + 196)})).command, StartVm)


def test_less_load_here_or_fewer_points_there_would_bring_this_host_first() -> None:
    load: dict[str, Any] = {"cpu_load": seen(0.8), "slots": seen({3: slot(3, score=3000)})}
    assert explain.what_would_change(look(**load)) == (
        "If nothing changes, this host starts the VM in 12 s.",
        "If the CPU load here were 60 % (80% now), this host would start the VM at once.",
        "If host 3 (host3) had at most 2600 points (it has 3000), this host would start the VM at once.",
    )


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"global_maintenance": seen(True)}, "If global maintenance were off,"),
        ({"local_maintenance": seen(True)}, "If local maintenance were off,"),
        (
            {"definition": Evidence(problem="torn")},
            "If there were a definition of the VM with a lease for every exclusive disk,",
        ),
        ({"vm": Evidence(problem="away")}, "If VDSM said that the VM is not here,"),
        ({"vm_leases": {}}, f"If the lease of volume {DISK.volume_id[:8]} were read as free,"),
        ({"slots": Evidence(problem="EIO")}, "If the whiteboard could be read,"),
        (
            {"vm_leases": owned_by(2), "sd_hosts": seen(FAIL)},
            "If sanlock called host 2 dead, in about 57 s,",
        ),
        ({"vm_leases": owned_by(1)}, "If this host let go of the VM (it owns a lease of it),"),
        (
            {"vm_leases": {DISK: seen(LeaseView(owners=(), is_leaf=False))}},
            f"If volume {DISK.volume_id[:8]} were known to be the end of its chain,",
        ),
    ],
)
def test_a_single_obstacle_is_the_single_change(facts: dict[str, Any], text: str) -> None:
    assert explain.what_would_change(look(**facts)) == (f"{text} this host would start the VM at once.",)


def test_another_hosts_vm_is_started_after_the_better_hosts_time() -> None:
    decided = look(slots=seen({2: slot(claims_vm=True, score=3500)}))
    assert explain.what_would_change(decided) == (
        "If host 2 (host2) let go of the VM (it claims it), this host would start the VM in 12 s.",
    )


def test_a_host_that_has_just_joined_starts_the_vm_when_others_have_heard_of_it() -> None:
    joined = replace(STANDBY, joined_at=ago(1))
    decided = look(joined)
    assert decided.command is None
    assert explain.what_would_change(decided) == ("If nothing changes, this host starts the VM in 2 s.",)
    (settled,) = (row for row in tested.rows(decided) if row.name == "settled")
    assert (settled.inputs, settled.holds) == ("2 s left", False)
    assert explain.what_would_change(look(joined, cpu_load=seen(0.65), **RIVAL)) == (
        "If nothing changes, this host starts the VM in 12 s.",
        "If the CPU load here were 40 % (65% now), this host would start the VM in 2 s.",
        "If host 3 (host3) had at most 2900 points (it has 3400), this host would start the VM in 2 s.",
    )


def test_a_host_that_has_not_joined_would_still_wait_until_others_have_heard_of_it() -> None:
    joining = seen(OwnLease(held=False, since=NOW, detail="joining"))
    assert explain.what_would_change(look(State(), own_ha_lease=joining)) == (
        "If this host's id were held in lockspace hosted-engine, this host would start the VM in 3 s.",
    )


def test_several_obstacles_are_named_together_and_what_is_none_is_left_out() -> None:
    decided = look(global_maintenance=seen(True), definition=Evidence(problem="torn"), **RIVAL)
    assert explain.what_would_change(decided) == (
        "This host would start the VM only if all of this came true: global maintenance were off; "
        "there were a definition of the VM with a lease for every exclusive disk.",
    )


def test_a_host_that_starts_the_vm_says_what_another_one_lacks() -> None:
    decided = look(
        slots=seen({2: slot(score=3000), 3: slot(3, changed_ago_s=83)}),
        sd_hosts=seen({1: host(), 2: host(), 3: host()}),
    )
    assert isinstance(decided.command, StartVm)
    assert explain.what_would_change(decided) == (
        "With 401 points more, 3401 in place of 3000, host 2 (host2) would go first.",
        "Host 3 (host3) could go first only if it were able to start the VM: it is silent.",
        "Global maintenance would keep every host from starting it.",
    )
    assert explain.sentences(decided)[2:] == (
        "Host 2 (host2) is alive: its slot changed within 60 s (slot: changed 5 s ago; storage lease: LIVE, "
        "renewed 1 s ago); it does not claim the VM; it goes after this host (score 3000, here 3400); "
        "with 401 points more it would go first.",
        "Host 3 (host3) is silent: it renews its storage lease, and nobody speaks for it on the whiteboard "
        "(slot: changed 83 s ago, stale after 60 s; storage lease: LIVE, renewed 1 s ago); "
        "it does not claim the VM; it is not chosen: it is silent.",
    )


def test_a_running_vm_says_when_it_would_be_stopped() -> None:
    texts = explain.what_would_change(look(here(), **UP))
    assert texts[0] == (
        "If the engine's page did not answer for 75 s, and no other host saw it good, "
        "the VM would be stopped here."
    )
    assert "A better score elsewhere alone does not stop it" in texts[-1]


@pytest.mark.parametrize("alive", [None, True])
def test_the_guest_agent_counts_only_where_it_is_known(alive: bool | None) -> None:
    """VDSM's stats do not tell."""
    told = {**UP, **vm(VmStatus.UP, guest_agent_alive=alive)}
    texts = explain.what_would_change(look(here(), **told))
    assert any("guest agent" in text for text in texts) is (alive is not None)


# Slots, score, trace


@pytest.mark.parametrize(
    ("seen_slot", "text"),
    [
        (slot(changed_ago_s=5), "changed 5 s ago"),
        (slot(changed_ago_s=83), "changed 83 s ago, stale after 60 s"),
        (
            slot(changed_ago_s=None, first_seen_ago_s=20),
            "not seen to change yet, watched for 20 s, stale after 60 s",
        ),
        (
            slot(changed_ago_s=None, first_seen_ago_s=70),
            "stale, not changed in the 70 s since it was read first",
        ),
        (slot(readable=False, problem="checksum wrong"), "damaged, checksum wrong"),
    ],
)
def test_a_stale_slot_is_said_to_be_stale_and_why(seen_slot: snapshot.PeerSlot, text: str) -> None:
    (row,) = explain.document(look(slots=seen({2: seen_slot}), sd_hosts=seen(LIVE)))["hosts"]
    assert row["slot_age"] == text


def test_score_is_a_sum_with_figures() -> None:
    decided = look(definition=seen(definition(memory_mib=4096)), memory_free_mib=seen(3900))
    assert explain.sentences(decided)[1] == (
        "The score of this host is 3000 = 3400 - 400 (memory: 3900 MiB are free, the "
        "engine VM needs 4096 MiB)."
    )
    local = look(local_maintenance=seen(True))
    assert explain.sentences(local)[1:3] == (
        "The score of this host is 0 = 3400 - 3400 (state: local maintenance).",
        "In a choice between hosts it would count as 3400, without a penalty.",
    )


def test_trace_has_the_rules_up_to_the_one_that_holds_and_all_conditions() -> None:
    decided = look(here(bad_ms=30_000, bad_until=NOW), **VM_UP, **bad(for_s=30))
    trace = explain.document(decided)["trace"]
    of_rules = [row for row in trace if row["kind"] == "rule"]
    assert [row["name"] for row in of_rules if row["holds"]] == ["sick"]
    assert of_rules[-1] == {
        "kind": "rule",
        "name": "sick",
        "label": "the VM is here and its engine has not been good for 15 s",
        "inputs": "no-answer; bad for 30 s, limit 15 s",
        "holds": True,
        "phase": "sick",
    }
    assert len(trace) - len(of_rules) == 12


def test_a_stop_that_begins_is_not_yet_in_the_inputs_of_the_rules_before_it() -> None:
    decided = look(here(phase=Phase.SICK, bad_ms=76_000, bad_until=NOW), **VM_UP, **bad(for_s=40))
    inputs = {row.name: row.inputs for row in tested.rows(decided)}
    assert inputs["stopping"] == "no stop is under way"
    assert inputs["sick-too-long"] == "it does not answer, for 76 s, limit 75 s; page never seen good here"


@pytest.mark.parametrize(
    ("rule", "state", "facts", "text"),
    [
        (
            "killing",
            here(phase=Phase.SICK, bad_ms=76_000, bad_until=NOW, stop=stop()),
            {**VM_UP, **bad(for_s=40)},
            "stop for 31 s: it does not answer, for 75 s; nothing accepted by VDSM yet, no command; "
            "page never seen good here; VDSM on the VM: Up, 1 s ago; place here",
        ),
        (
            "twin-owns-the-lease",
            here(twin=2, twin_owner_seen=ago(15)),
            {
                **UP,
                "vm_leases": owned_by(2),
                "sd_hosts": seen(LIVE),
                "slots": seen({2: slot(claims_vm=True)}),
            },
            "place here; host 2 (host2) claims it, read as owner for 14 s, limit 20 s; "
            "local maintenance off, read 1 s ago",
        ),
        (
            "lost",
            here(phase=Phase.SICK, bad_ms=30_000, bad_until=NOW),
            {**vm(VmStatus.UP, guest_agent_alive=False), **bad(for_s=40)},
            "Up; guest agent alive: no, disks or CPUs active: unknown; "
            "it does not answer and its guest agent is gone, for 30 s, limit 60 s; page never seen good here",
        ),
    ],
)
def test_inputs_of_a_rule_are_what_its_guard_looks_at(
    rule: str, state: State, facts: dict[str, Any], text: str
) -> None:
    decided = look(state, **facts)
    assert next(row.inputs for row in tested.rows(decided) if row.name == rule) == text


# Whatever is decided


ages = st.sampled_from([1_000] * 8 + [0, 16_000, 26_000, 70_000, -5_000, None])


@st.composite
def readings(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Evidence[Any]:
    age = draw(ages)
    problem = draw(st.sampled_from([None, None, None, "it broke.\nmend it", ""]))
    return Evidence(draw(values), None if age is None else MonotonicMs(NOW - age), problem)


texts = st.sampled_from(["", "x", "two\nlines.", "[/red]", "100 %; {0}"])
times = st.sampled_from([0, 10, 25, 100, 580, 640, -30, -600]).map(ago)
maybe_times = st.none() | times
reports = st.none() | st.builds(
    report,
    st.sampled_from(VmStatus),
    exit_reason=st.none() | st.sampled_from(ExitReason),
    exit_code=st.sampled_from([None, 0, 1]),
    exit_message=st.none() | texts | st.just("Failed to acquire lock: error -243"),
    guest_agent_alive=st.sampled_from([None, True, False]),
    guest_active=st.sampled_from([None, True, False]),
)
slots = st.dictionaries(
    st.integers(1, 4),
    st.builds(
        slot,
        st.just(2),
        changed_ago_s=st.sampled_from([None, 1, 70, 300]),
        first_seen_ago_s=st.sampled_from([5, 600]),
        claims_vm=st.booleans(),
        readable=st.booleans(),
        stopped=st.booleans(),
        local_maintenance=st.sampled_from([None, True, False]),
        score=st.sampled_from([None, 0, 2000, 2400, 3000, 3350, 3400]),
        host_name=texts,
        state=st.sampled_from(["EngineDown", "EngineUp", "LocalMaintenance", ""]),
        ours=st.booleans(),
        policy_hash=st.sampled_from([None, score.policy_hash(score.Weights())]),
        conf_on_shared_storage=st.sampled_from([None, True, False]),
        figures=st.builds(
            HostFigures,
            memory_free_mib=st.sampled_from([None, 3900]),
            memory_needed_mib=st.sampled_from([None, 4096]),
            cpu_load=st.sampled_from([None, 0.5, 1.0]),
            failed_starts=st.sampled_from([None, 0, 1, 4]),
        ),
        others_first=st.booleans(),
        engine_seen_ago_s=st.sampled_from([None, 1, 40]),
        engine_detail=st.sampled_from(["", "Up", "Migration Source"]),
        engine_health=texts,
        problem=texts,
    ),
).map(lambda found: {number: replace(each, host_id=number) for number, each in found.items()})
hosts = st.dictionaries(
    st.integers(1, 4),
    st.builds(
        host,
        st.sampled_from(HostFlag),
        generation=st.integers(1, 2),
        renewed_ago_s=st.sampled_from([1, 70, 130, 500]),
    ),
)
snapshots = st.builds(
    startable,
    global_maintenance=readings(st.sampled_from([False] * 4 + [True, None])),
    local_maintenance=readings(st.sampled_from([False] * 4 + [True, None])),
    own_ha_lease=readings(st.builds(OwnLease, held=st.booleans(), since=times, detail=texts)),
    sd_hosts=readings(hosts),
    ha_hosts=readings(hosts),
    slots=readings(slots),
    definition=readings(
        st.sampled_from([definition()] * 3 + [None, definition(leases=()), definition(vm_id="another")])
    ),
    vm=readings(st.none() | reports.map(lambda r: VmView(report=r))),
    vm_leases=readings(
        st.none()
        | st.builds(
            LeaseView,
            owners=st.sampled_from([()] * 3 + [None, (1,), (2,), (2, 3)]),
            is_leaf=st.sampled_from([True, True, None, False]),
        )
    ).map(lambda e: {DISK: e})
    | st.just({}),
    probes=st.lists(
        st.builds(probe, st.sampled_from(ProbeOutcome), ago_s=st.sampled_from([1, 20, 40])), max_size=3
    ).map(tuple),
    command=st.none()
    | st.builds(
        snapshot.Command,
        number=st.integers(1, 2),
        kind=st.sampled_from(["StartVm", "CleanVdsmEntry", "ShutdownVm", "DestroyVm"]),
        given_at=times,
        done_at=maybe_times,
        ok=st.sampled_from([None, True, False]),
        refused=st.booleans(),
        detail=texts,
    ),
    page_good_at=maybe_times,
    own_slot=readings(st.just(1)),
    network=readings(st.sampled_from([0.0, 0.4, 1.0])),
    bridge_up=readings(st.booleans()),
    cpu_load=readings(st.sampled_from([0.0, 0.5, 1.0])),
    memory_free_mib=readings(st.sampled_from([0, 3900, 20_000])),
    config_up_to_date=st.booleans(),
    request=st.none()
    | st.builds(Request, number=st.integers(0, 2), kind=st.sampled_from(RequestKind), force=st.booleans()),
    leaving=st.sampled_from([False] * 7 + [True]),
)
attempts = st.builds(Attempt, times, st.sampled_from(End), texts)
states = st.builds(
    State,
    phase=st.sampled_from(Phase),
    phase_since=times,
    was_here=st.booleans(),
    here_since=times,
    was_good=st.booleans(),
    bad_ms=st.sampled_from([0, 1, 30_000, 400_000]),
    bad_until=times,
    usual_boot_ms=st.sampled_from([None, 90_000]),
    stop=st.none()
    | st.builds(
        Stop,
        cause=st.sampled_from(StopCause),
        why=texts,
        since=times,
        told_at=maybe_times,
        kill=st.booleans(),
        kills=st.integers(0, 4),
        killed_at=maybe_times,
    ),
    network_lost_since=maybe_times,
    twin=st.sampled_from([None, 2]),
    twin_owner_seen=maybe_times,
    last_runner=st.sampled_from([None, 1, 2]),
    nowhere_since=maybe_times,
    not_before=times,
    favoured=st.booleans(),
    others_first_until=times,
    attempts=st.lists(attempts, max_size=4).map(lambda found: tuple(sorted(found, key=lambda a: a.at))),
    last_end=st.none() | attempts,
    seen_request=st.integers(0, 1),
    global_was_on=st.booleans(),
    has_joined=st.sampled_from([True, True, False]),
    joined_at=st.just(ago(600)) | times,
)


def check_document(decided: decision.Decision) -> None:
    """What must hold of any explanation."""
    document = explain.document(decided)
    assert json.loads(json.dumps(document)) == document
    for text in (*document["sentences"], *document["what_would_change"]):
        assert len(text) > 1
        assert text.endswith(".")
        assert "\n" not in text
        assert text[0] == text[0].upper()
    assert all(row["inputs"] for row in document["trace"])
    assert next(row for row in rules.RULES if row.guard(tested.scene_of(decided))) is decided.rule


@given(states, st.lists(snapshots, min_size=1, max_size=3))
def test_there_are_words_for_whatever_is_decided(state: State, history: list[snapshot.Snapshot]) -> None:
    for snap in history:
        decided = decision.decide(state, snap, NOW)
        state = decided.state
        check_document(decided)
        if isinstance(decided.command, StartVm | CleanVdsmEntry):
            assert decided.rule.name in STARTS
