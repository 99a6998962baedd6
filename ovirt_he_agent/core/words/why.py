"""Why the engine VM is not running, or why it is here, and until when: one sentence for each rule.

Made from a decision when somebody asks; it decides nothing. ``CLAUSES`` has a row for every
row of ``rules.RULES``.
"""

from collections.abc import Callable, Mapping

from ovirt_he_agent.core import admission, aftermath, model, peers, rules, snapshot
from ovirt_he_agent.core.commands import CleanVdsmEntry, StartVm
from ovirt_he_agent.core.decision import Decision
from ovirt_he_agent.core.peers import Claim
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.state import End
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.words import prospects, why_here
from ovirt_he_agent.core.words.figures import host, left, listed, sentence, span
from ovirt_he_agent.core.words.prospects import goes_first, in_phase, place

_ENDS_IT = "`ovirt-he-agent maintenance none` ends it"


def sentence_of(d: Decision) -> str:
    """The answer to "why is my engine not running, or why is it here, and until when"."""
    if isinstance(d.command, StartVm | CleanVdsmEntry):
        return sentence(*_started(d))
    return sentence(*CLAUSES[d.rule.name](d.scene))


# A start


def _started(d: Decision) -> tuple[str, ...]:
    s = d.scene
    how = (
        "the engine VM ran nowhere and is started here now"
        if isinstance(d.command, StartVm)
        else "the engine VM ran nowhere and is started here in a moment: VDSM's record of its last life goes"
    )
    asked = admission.is_asked_for(s) or (d.heard is not None and d.heard.granted)
    if d.rule.name == "frozen":
        return how, "an operator wants it in spite of global maintenance"
    if asked:
        return how, "an operator asked for it, and every other condition holds"
    if d.rule.name == "cooling-down":
        return how, f"starts failed here repeatedly, but {goes_first(s)}"
    turn = admission.turn_at(s)
    if s.field.rank and turn <= s.now:
        return (
            how,
            f"{goes_first(s)} and has not started it within {span(s.now - _its_turn_since(s))}",
        )
    return how, f"every condition for a start holds, and {goes_first(s)}"


def _its_turn_since(s: Scene) -> model.MonotonicMs:
    """Since when a better host could have started the VM while this one watched."""
    since = s.state.nowhere_since if s.state.nowhere_since is not None else s.now
    return max(since, s.state.joined_at)


# Maintenance, evidence, trouble


def _leaving(s: Scene) -> tuple[str, ...]:
    if s.is_here:
        return (
            f"{place(s)} and is left as it is: this agent was told to stop",
            "nobody watches over the VM until the agent is started again",
        )
    return (
        "this host does not start the engine VM: its agent was told to stop",
        f"{_aside(s)}the agent starts it again only when it is started itself",
    )


def _aside(s: Scene) -> str:
    """Where the VM is, in passing."""
    if s.verdict.place is Place.UNCLEAR:
        return ""
    return f"{place(s)}; "


def _local_without_vm(s: Scene) -> tuple[str, ...]:
    return (
        f"{place(s)}, and this host does not start it: {_is_on('local', s)}",
        _ENDS_IT,
    )


def _evidence_is_coming(s: Scene) -> tuple[str, ...]:
    snap = s.snap
    awaited = [
        what
        for what, read in (
            ("VDSM's word on the VM", snap.vm),
            ("the storage domain's state in VDSM", snap.domain),
            ("this host's id lease", snap.own_ha_lease),
            ("the whiteboard", snap.slots),
            ("local maintenance", snap.local_maintenance),
        )
        if read.at is None
    ]
    lease = snap.own_ha_lease.value
    if not s.state.has_joined and lease is not None:
        awaited.append(f"its host id in lockspace hosted-engine ({lease.detail or 'not held yet'})")
    here = f"{place(s)}, and " if s.is_here else ""
    what = listed(awaited) if awaited else "its host id in lockspace hosted-engine"
    return (f"{here}this agent has just started and does nothing to the engine VM until it knows {what}",)


def _cut_off(s: Scene) -> tuple[str, ...]:
    head = (
        f"{place(s)} and is left alone: this host has been cut off"
        if s.is_here
        else "this host cannot start the engine VM: it has been cut off"
    )
    return f"{head} for {in_phase(s)}: {'; '.join(cut_because(s))}", "it goes on by itself when that is back"


def cut_because(s: Scene) -> tuple[str, ...]:
    """What is lost."""
    out = []
    read = s.snap.own_ha_lease
    lease = read.known(s.now, snapshot.OWN_LEASE_LIMIT_MS)
    if lease is None:
        out.append(f"its host id in lockspace hosted-engine is unknown ({read.why_unknown(s.now)})")
    elif not lease.held:
        out.append(f"its host id in lockspace hosted-engine is not held ({lease.detail or 'not told why'})")
    for what, evidence in (("the whiteboard", s.snap.slots), ("its own slot", s.snap.own_slot)):
        if evidence.problem is not None and evidence.known(s.now, rules.STORAGE_FAILING_MS) is None:
            ago = f"for {span(s.now - evidence.at)}" if evidence.at is not None else "ever since the start"
            out.append(f"{what} has failed {ago} ({evidence.problem})")
    return tuple(out) or ("its host id or the storage was lost",)


def _is_on(kind: str, s: Scene) -> str:
    """It may have begun in another phase: with the VM here, or before an operator's own stop."""
    return f"{kind} maintenance has been on for at least {in_phase(s)}"


def _frozen(s: Scene) -> tuple[str, ...]:
    read = s.snap.global_maintenance
    if s.is_here:
        head = f"{place(s)} and is neither stopped nor started again"
    elif s.verdict.place is Place.UNCLEAR:
        head = "nobody starts or stops the engine VM, wherever it is"
    else:
        head = f"{place(s)}, and nobody starts or stops it"
    if s.global_maintenance is None:
        ago = f", {span(s.now - read.at)} ago" if read.at is not None else ""
        return (
            f"{head}: global maintenance was on when it could last be read{ago}, and is unknown now "
            f"({read.why_unknown(s.now)})",
            "this ends when it is read as off",
        )
    return f"{head}: {_is_on('global', s)}", _ENDS_IT


def _blind(s: Scene) -> tuple[str, ...]:
    read = s.snap.vm
    ago = f"for {span(s.now - read.at)}" if read.at is not None else "since the start"
    return (
        "this host does nothing to the engine VM: whether it is here has been unknown "
        f"{ago} ({read.why_unknown(s.now)})",
        "it goes on as soon as VDSM tells",
    )


# The VM is not here


def _migrated_away(s: Scene) -> tuple[str, ...]:
    end = s.state.last_end
    since = s.now - end.at if end is not None else 0
    return (
        f"the engine VM migrated away from here {span(since)} ago and has not shown up on another host yet",
        f"this host does not start it for {left(rules.MIGRATED_AWAY_MS - since)}",
    )


def _cooling_down(s: Scene) -> tuple[str, ...]:
    failed = [a for a in s.state.attempts if a.end is End.START_FAILED]
    head = (
        f"{place(s)}, and this host cools down: {len(failed)} starts failed here, the last one "
        f"{span(s.now - failed[-1].at)} ago ({failed[-1].detail})"
    )
    ends = f"that ends in {left(failed[-1].at + aftermath.COOLDOWN_MS - s.now)}"
    if s.verdict.place is Place.ELSEWHERE:
        return head, ends
    if s.field.rivals:
        return head, goes_first(s), ends
    lacks = prospects.lacks(s)
    if lacks:
        return head, f"a start here needs {lacks}", ends
    return head, prospects.pause(s) or goes_first(s), ends


def _elsewhere(s: Scene) -> tuple[str, ...]:
    peer = s.peers.get(s.verdict.host_id or 0)
    if peer is not None and peer.claim is Claim.VALID and peer.slot is not None:
        changed = peer.slot.changed_at
        ago = f", last {span(s.now - changed)} ago" if changed is not None else ""
        health = f" with engine health {peer.slot.engine_health!r}" if peer.slot.engine_health else ""
        return (
            f"{place(s)}: it says so itself{ago}{health}",
            f"this host acts when that is older than {peers.FRESH_MS // 1000} s and the VM's leases are free",
        )
    known = f" ({peers.MEANING[peer.kind]})" if peer is not None else ""
    return (
        f"{place(s)}: {'; '.join(s.verdict.reasons)}{known}",
        "this host acts when the lease is free or sanlock calls that host dead",
    )


def _soon(s: Scene) -> tuple[str, ...]:
    owner = host(s, s.verdict.host_id)
    free_at = s.verdict.free_at if s.verdict.free_at is not None else s.now
    free_in = left(free_at - s.now)
    head = f"{place(s)}: {owner} owned it and is failing; its lease is free in about {free_in}, then "
    lacks = prospects.lacks(s)
    if lacks:
        return (f"{head}any host that may start it does; this one cannot: {lacks}",)
    if s.field.rank or (s.field.rivals and aftermath.is_cooling_down(s)):
        later = (
            ""
            if aftermath.is_cooling_down(s)
            else f", and this one starts it {_after_rank(s)} later if it must"
        )
        return (f"{head}{goes_first(s)}{later}",)
    pause_ms = prospects.pauses_until(s) - max(free_at, s.now)
    when = f"{left(pause_ms)} later" if pause_ms > 0 else "at once"
    return (f"{head}host {s.snap.host_id} starts it here {when}",)


def _after_rank(s: Scene) -> str:
    return left(s.field.rank * s.rules.rank_step_ms)


def _unclear(s: Scene) -> tuple[str, ...]:
    return (
        f"{place(s)}, and this host does not start it until it can: {'; '.join(s.verdict.reasons)}",
        *prospects.open_claims(s),
    )


def _not_fit(s: Scene) -> tuple[str, ...]:
    others = (
        "no other host may start it"
        if not s.field.rivals
        else f"{host(s, s.field.rivals[0].host_id)} may start it (score {s.field.rivals[0].score})"
    )
    needs = prospects.lacks(s) or "more than it has"
    return f"{place(s)}, and this host cannot start it, which needs {needs}", others


def _waiting(s: Scene) -> tuple[str, ...]:
    if s.busy and s.snap.command is not None:
        ago = span(s.now - s.snap.command.given_at)
        return (f"{place(s)}, and this host waits for the end of {s.snap.command.kind}, sent {ago} ago",)
    wait_ms = prospects.start_at(s) - s.now
    if s.field.rank and admission.turn_at(s) > s.now:
        pause = prospects.pause(s)
        return (
            f"{place(s)} and is being waited for: {goes_first(s)}",
            f"if no other host starts it, this one does in {left(wait_ms)}",
            *((f"before that {pause}",) if pause else ()),
        )
    return (f"{place(s)}: {prospects.pause(s) or 'this host waits'}, then {_then(s)}",)


def _then(s: Scene) -> str:
    return f"it starts it ({goes_first(s)})"


def _nowhere(s: Scene) -> tuple[str, ...]:
    return (f"{place(s)}, and every condition for a start here holds",)


CLAUSES: Mapping[str, Callable[[Scene], tuple[str, ...]]] = {
    **why_here.CLAUSES,
    "leaving": _leaving,
    "local-without-vm": _local_without_vm,
    "evidence-is-coming": _evidence_is_coming,
    "cut-off": _cut_off,
    "frozen": _frozen,
    "blind": _blind,
    "migrated-away": _migrated_away,
    "cooling-down": _cooling_down,
    "elsewhere": _elsewhere,
    "soon": _soon,
    "unclear": _unclear,
    "not-fit": _not_fit,
    "waiting": _waiting,
    "nowhere": _nowhere,
}
"""By the name of the rule that decided."""
