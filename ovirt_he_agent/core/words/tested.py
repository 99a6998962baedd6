"""Every rule that was tested, with the figures that it looked at, then the conditions of a start.

``INPUTS`` has a row for every row of ``rules.RULES``. Made when somebody asks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ovirt_he_agent.core import admission, aftermath, rules, sickness, snapshot
from ovirt_he_agent.core.decision import Decision
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.state import End, Phase
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.words.figures import host, left, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """One rule or one condition of a start. ``holds`` None: it cannot be told, evidence is missing."""

    name: str
    label: str
    inputs: str
    """What it looked at, with figures."""
    holds: bool | None
    phase: Phase | None = None
    """Of a rule: what this host is when it is the first to hold. None: it is a condition."""


def scene_of(d: Decision) -> Scene:
    """What the rules of ``d`` were tested on: its scene before the rule that held changed the state."""
    first = d.scene.with_state(replace(d.before, memory=d.state.memory))
    return first.with_state(aftermath.learn(first))


def rows(d: Decision) -> tuple[Tested, ...]:
    """The rules up to the first that holds, in their order, then every condition of a start."""
    s = scene_of(d)
    out = []
    for row in rules.RULES:
        holds = row is d.rule
        out.append(
            Tested(
                name=row.name,
                label=row.label,
                inputs=INPUTS[row.name](s) or "-",
                holds=holds,
                phase=row.phase,
            )
        )
        if holds:
            break
    for condition in admission.CONDITIONS:
        check = condition(s)
        label = (condition.__doc__ or "").strip()
        out.append(Tested(name=check.name, label=label, inputs=check.detail or "-", holds=check.holds))
    return tuple(out)


def _flag(value: bool | None, read: snapshot.Evidence[Any], s: Scene) -> str:
    age = f", read {span(s.now - read.at)} ago" if read.at is not None else ""
    if value is None:
        return f"unknown ({read.why_unknown(s.now)})"
    return f"{'on' if value else 'off'}{age}"


def _reading(what: str, read: snapshot.Evidence[Any], s: Scene) -> str:
    if read.problem is not None:
        ago = f", last good {span(s.now - read.at)} ago" if read.at is not None else ""
        return f"{what} fails ({read.problem}){ago}"
    return f"{what} {'not read yet' if read.at is None else f'read {span(s.now - read.at)} ago'}"


def _vm(s: Scene) -> str:
    view = s.view
    if view is None:
        return f"VDSM on the VM: unknown ({s.snap.vm.why_unknown(s.now)})"
    age = f", {span(s.now - s.snap.vm.at)} ago" if s.snap.vm.at is not None else ""
    return f"VDSM on the VM: {view.report.status_text if view.report is not None else 'not here'}{age}"


def _place(s: Scene) -> str:
    where = f" (host {s.verdict.host_id})" if s.verdict.host_id is not None else ""
    return f"place {s.verdict.place.value}{where}: {'; '.join(s.verdict.reasons)}"


def _short_place(s: Scene) -> str:
    return f"place {s.verdict.place.value}"


def _stop(s: Scene) -> str:
    stop = s.state.stop
    if stop is None:
        return "no stop is under way"
    parts = [f"stop for {span(s.now - stop.since)}: {stop.why}"]
    if stop.told_at is None and not stop.kills:
        sent = f"{s.snap.command.kind} in flight" if s.busy and s.snap.command is not None else "no command"
        parts.append(f"nothing accepted by VDSM yet, {sent}")
    if stop.told_at is not None:
        parts.append(f"guest asked {span(s.now - stop.told_at)} ago, limit {span(rules.SHUTDOWN_LIMIT_MS)}")
    if stop.kill:
        parts.append("power off")
    if stop.killed_at is not None:
        parts.append(f"powered off {stop.kills} times, last {span(s.now - stop.killed_at)} ago")
    parts += [_page(s), _vm(s), _short_place(s)]
    return "; ".join(parts)


def _leaving(s: Scene) -> str:
    return "told to stop" if s.snap.leaving else "not told to stop"


def _local_without_vm(s: Scene) -> str:
    return f"local maintenance {_local(s)}; {_vm(s)}; {_short_place(s)}"


def _local(s: Scene) -> str:
    return _flag(s.local_maintenance, s.snap.local_maintenance, s)


def _evidence_is_coming(s: Scene) -> str:
    snap = s.snap
    first = (
        ("VM", snap.vm),
        ("domain", snap.domain),
        ("id lease", snap.own_ha_lease),
        ("whiteboard", snap.slots),
        ("local maintenance", snap.local_maintenance),
    )
    joined = "joined" if s.state.has_joined else "not joined yet"
    missing = ", ".join(name for name, read in first if read.at is None)
    failing = ", ".join(name for name, read in first if read.problem)
    return f"{joined}; not read yet: {missing or 'nothing'}; failing: {failing or 'nothing'}"


def _id_lease(s: Scene) -> str:
    read = s.snap.own_ha_lease
    lease = read.known(s.now, snapshot.OWN_LEASE_LIMIT_MS)
    if lease is None:
        return f"id lease unknown ({read.why_unknown(s.now)})"
    return f"id lease {'held' if lease.held else f'not held ({lease.detail})'}"


def _cut_off(s: Scene) -> str:
    storage = f"{_reading('whiteboard', s.snap.slots, s)}; {_reading('own slot', s.snap.own_slot, s)}"
    return f"{_id_lease(s)}; {storage}; limit {span(rules.STORAGE_FAILING_MS)}; local maintenance {_local(s)}"


def _asked(s: Scene) -> str:
    request = s.request
    if request is None:
        return "no request"
    return f"{request.kind.value}{' --force' if request.force else ''}; global maintenance {_global(s)}"


def _global(s: Scene) -> str:
    return _flag(s.global_maintenance, s.snap.global_maintenance, s)


def _frozen(s: Scene) -> str:
    return f"global maintenance {_global(s)}; before: {'on' if s.state.global_was_on else 'off'}"


def _blind(s: Scene) -> str:
    failing = (
        f"; {_reading('VDSM', s.snap.vm, s)}, limit {span(rules.VDSM_GONE_MS)}" if s.snap.vm.problem else ""
    )
    return f"{_vm(s)}{failing}"


def _twin(s: Scene) -> str:
    if s.state.twin is None:
        return f"{_short_place(s)}; no other host claims it beside this one"
    seen = s.state.twin_owner_seen
    read_at = [at for ref in s.snap.opened() if (at := s.snap.vm_leases.get(ref, _NEVER).at) is not None]
    for_ms = min(read_at) - seen if read_at and seen is not None else None
    owned = f"read as owner for {span(for_ms)}" if for_ms is not None else "not read as owner"
    limit = span(rules.TWIN_MS)
    twin = host(s, s.state.twin)
    return f"{_short_place(s)}; {twin} claims it, {owned}, limit {limit}; local maintenance {_local(s)}"


def _owners(s: Scene) -> str:
    parts = []
    for ref in s.snap.opened():
        read: snapshot.Evidence[snapshot.LeaseView] = s.snap.vm_leases.get(ref, _NEVER)
        view = read.known(s.now, snapshot.LEASE_OWNERS_LIMIT_MS)
        if view is None or view.owners is None:
            who = "unknown"
        else:
            who = f"owned by {', '.join(map(str, view.owners))}" if view.owners else "free"
        parts.append(f"lease {ref.volume_id[:8]} {who}")
    return ", ".join(parts)


_NEVER: snapshot.Evidence[snapshot.LeaseView] = snapshot.Evidence()


def _paused_and_taken(s: Scene) -> str:
    return f"{_vm(s)}; {_owners(s)}; local maintenance {_local(s)}"


def _life(s: Scene) -> str:
    if not s.state.was_here:
        return f"{_short_place(s)}; no life of the VM here is known"
    good = "was good" if s.state.was_good else "was never good"
    return f"{_short_place(s)}; VM here for {span(s.now - s.state.here_since)}, its engine {good}"


def _start_takes_too_long(s: Scene) -> str:
    return (
        f"{_life(s)}; limit {span(sickness.start_limit_ms(s))}; "
        f"{sickness.excuse_of_others(s) or _NO_WITNESS}; local maintenance {_local(s)}"
    )


def _witness(s: Scene) -> str:
    witness = sickness.seen_good_by(s)
    return _NO_WITNESS if witness is None else f"{host(s, witness)} sees its page"


_NO_WITNESS = "no other host sees its page"


def _lost(s: Scene) -> str:
    report = s.view.report if s.view is not None else None
    if report is None:
        return _sick_too_long(s)
    agent, active = _GUEST[report.guest_agent_alive], _GUEST[report.guest_active]
    guest = f"guest agent alive: {agent}, disks or CPUs active: {active}"
    return f"{report.status_text}; {guest}; {_sick_too_long(s)}"


_GUEST = {True: "yes", False: "no", None: "unknown"}


def _sick_too_long(s: Scene) -> str:
    finding = sickness.examine(s)
    if finding is None or not s.state.bad_ms:
        return f"{_short_place(s)}; nothing is held against the engine"
    excuse = f"; excused: {finding.excuse}" if finding.excuse is not None else ""
    limit = span(sickness.grace_ms(s, finding))
    return f"{finding.kind.value}, for {span(s.state.bad_ms)}, limit {limit}{excuse}; {_page(s)}"


def _page(s: Scene) -> str:
    at = s.snap.page_good_at
    return "page never seen good here" if at is None else f"page last good {span(s.now - at)} ago"


def _network(s: Scene) -> str:
    since, move_at = s.state.network_lost_since, sickness.network_move_at(s)
    if since is None or move_at is None:
        share = "unknown" if s.network is None else f"{s.network:.0%}"
        return f"network {share}"
    rivals = s.field.rivals
    gap = f"{rivals[0].score - s.able_while_running.points}" if rivals else "no rival"
    moves = "" if s.rules.move_when_network_lost else "; switched off"
    return (
        f"network lost for {span(s.now - since)}, limit {span(move_at - since)}; "
        f"best rival's lead: {gap}, needed {rules.SCORE_GAP}; {_witness(s)}{moves}"
    )


def _sick(s: Scene) -> str:
    bad_ms = max(s.state.bad_ms, s.engine.bad_for_ms(s.now))
    return f"{s.engine.detail}; bad for {span(bad_ms)}, limit {span(sickness.CONFIRMED_MS)}"


def _migrated_away(s: Scene) -> str:
    end = s.state.last_end
    ended = (
        f"last end {end.end.value} {span(s.now - end.at)} ago" if end is not None else "no end is remembered"
    )
    return f"{_vm(s)}; {ended}, limit {span(rules.MIGRATED_AWAY_MS)}"


def _cooling_down(s: Scene) -> str:
    failed = [a for a in s.state.attempts if a.end is End.START_FAILED]
    last = f", the last {span(s.now - failed[-1].at)} ago" if failed else ""
    return (
        f"failed starts in half an hour: {len(failed)}{last}, limit {aftermath.COOLDOWN_FAILURES} in 10 min"
    )


def _soon(s: Scene) -> str:
    if s.verdict.place is not Place.NOWHERE_SOON or s.verdict.free_at is None:
        return _short_place(s)
    return f"{_place(s)}; free in {left(s.verdict.free_at - s.now)}"


def _lacking(s: Scene) -> str:
    names = [check.name for condition, check in admission.lacking(s) if condition not in admission.WAITS]
    return f"lacking: {', '.join(names) or 'nothing'}"


def _waiting(s: Scene) -> str:
    names = [check.name for _, check in admission.lacking(s)]
    return f"lacking: {', '.join(names) or 'nothing'}"


INPUTS: Mapping[str, Callable[[Scene], str]] = {
    "leaving": _leaving,
    "local-without-vm": _local_without_vm,
    "evidence-is-coming": _evidence_is_coming,
    "cut-off": _cut_off,
    "asked-to-shut-down": _asked,
    "asked-to-power-off": _asked,
    "frozen": _frozen,
    "blind": _blind,
    "incoming": _short_place,
    "killing": _stop,
    "stopping": _stop,
    "twin-owns-the-lease": _twin,
    "paused-and-taken": _paused_and_taken,
    "start-takes-too-long": _start_takes_too_long,
    "lost": _lost,
    "sick-too-long": _sick_too_long,
    "network-is-lost-here": _network,
    "starting": _life,
    "sick": _sick,
    "here": _short_place,
    "migrated-away": _migrated_away,
    "cooling-down": _cooling_down,
    "elsewhere": _place,
    "soon": _soon,
    "unclear": _place,
    "not-fit": _lacking,
    "waiting": _waiting,
    "nowhere": _waiting,
}
"""By the name of the rule."""
