"""What the outside sees: plain JSON documents made from one snapshot and its decision.

``status`` is described in docs/control.md; ``ha_status`` is the feature page's.
Unknown is null, except in ``ha_status``, whose five members have fixed types:
there a flag that was never read is false, with ``active`` false beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ovirt_he_agent import __version__
from ovirt_he_agent.agent.component import Condition
from ovirt_he_agent.agent.deployment import Deployment
from ovirt_he_agent.agent.ports import DefinitionAccount
from ovirt_he_agent.core import decision, model, publication, snapshot, whereabouts
from ovirt_he_agent.core.snapshot import Evidence
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.core.words import explain, figures, neighbours

FORMAT_VERSION = 1

HaStatus = dict[str, bool | int]


class Report:
    """What one tick has to tell; each document is made when somebody asks for it."""

    def __init__(
        self,
        deployment: Deployment,
        snap: snapshot.Snapshot,
        decided: decision.Decision,
        conditions: Callable[[], Sequence[Condition]],
        account: Callable[[], DefinitionAccount],
        now: model.MonotonicMs,
    ) -> None:
        self._deployment = deployment
        self._snap = snap
        self.decided = decided
        self._conditions = conditions
        self._account = account
        self._now = now

    @cached_property
    def ha_status(self) -> HaStatus:
        """The feature page's."""
        phase, snap = self.decided.phase, self._snap
        active = phase not in (Phase.INIT, Phase.CUT)
        return {
            "configured": True,
            "active": active,
            "globalMaintenance": snap.global_maintenance.value is True,
            "localMaintenance": snap.local_maintenance.value is True,
            "score": publication.points(self.decided.scene).points if active else 0,
        }

    @cached_property
    def line(self) -> str:
        """For the service manager."""
        return f"{summary(self.ha_status)}; {self.decided.phase.value}: {self.decided.reason}"

    @cached_property
    def status(self) -> dict[str, Any]:
        return _status(self)

    @cached_property
    def explanation(self) -> dict[str, Any]:
        """Why, in sentences, and what was looked at."""
        return explain.document(self.decided)


class NotConfigured:
    """As ``Report``, of a host whose hosted-engine.conf is missing or bad."""

    def __init__(self, problem: str) -> None:
        self._problem = problem
        self.line = f"not configured: {problem}"
        self.ha_status: HaStatus = {
            "configured": False,
            "active": False,
            "globalMaintenance": False,
            "localMaintenance": False,
            "score": 0,
        }
        self.status: dict[str, Any] = {
            "format": FORMAT_VERSION,
            "version": __version__,
            "configured": False,
            "active": False,
            "summary": None,
            "reason": problem,
            "waits_for": [problem],
        }
        self.explanation: dict[str, Any] = {
            "configured": False,
            "reason": problem,
            "sentences": [figures.sentence(f"this host is not configured: {problem}")],
        }


Told = Report | NotConfigured
"""What can be published."""


def summary(ha_status: HaStatus) -> str:
    """The line that the engine shows for a configured host."""
    if not ha_status["active"]:
        text = "Not Active"
    elif ha_status["globalMaintenance"]:
        text = "Global Maintenance Enabled"
    elif ha_status["localMaintenance"]:
        text = "Local Maintenance Enabled"
    else:
        text = f"Active (score: {ha_status['score']})"
    return f"Hosted Engine HA: {text}"


def _status(report: Report) -> dict[str, Any]:
    snap, decided, now, account = report._snap, report.decided, report._now, report._account()
    phase, points = decided.phase, publication.points(decided.scene)
    return {
        "format": FORMAT_VERSION,
        "version": __version__,
        "configured": True,
        "active": report.ha_status["active"],
        "summary": summary(report.ha_status),
        "host_id": snap.host_id,
        "configuration": report._deployment.source,
        "state": phase.published,
        "phase": phase.value,
        "phase_since_s": _seconds(now - decided.state.phase_since),
        "why": explain.first_sentence(decided),
        "reason": decided.reason,
        "waits_for": list(decided.waits_for),
        "alarms": list(decided.alarms),
        "score": {
            "points": points.points,
            "base": points.base,
            "penalties": [{"name": p.name, "points": p.points, "reason": p.reason} for p in points.penalties],
        },
        "global_maintenance": _flag(snap.global_maintenance, now, snapshot.GLOBAL_FLAGS_LIMIT_MS),
        "local_maintenance": _flag(snap.local_maintenance, now, snapshot.LOCAL_FILE_LIMIT_MS),
        "vm": _vm(snap, decided, now),
        "definition": _definition(snap, account, now),
        "leases": _leases(snap, now),
        "hosts": _hosts(decided, now),
        "components": [_component(c, now) for c in report._conditions()],
        "command": _command(snap.command, now),
        "last_end": _last_end(decided, now),
    }


def _seconds(milliseconds: int) -> float:
    return round(milliseconds / 1000, 1)


def _age(read: Evidence[Any], now: model.MonotonicMs) -> float | None:
    return None if read.at is None else _seconds(now - read.at)


def _flag(read: Evidence[bool], now: model.MonotonicMs, limit_ms: int) -> dict[str, Any]:
    known = read.known(now, limit_ms)
    return {
        "value": known,
        "age_s": _age(read, now),
        "problem": read.why_unknown(now) if known is None else None,
    }


def _vm(snap: snapshot.Snapshot, decided: decision.Decision, now: model.MonotonicMs) -> dict[str, Any]:
    report = snap.vm.value.report if snap.vm.value else None
    definition = snap.definition.value
    probe = snap.probes[-1] if snap.probes else None
    known = snap.vm.known(now, snapshot.VM_LIMIT_MS) is not None
    return {
        "id": snap.vm_id,
        "name": definition.name if definition else None,
        "where": decided.verdict.place.value,
        "where_host_id": decided.verdict.host_id,
        "where_reasons": list(decided.verdict.reasons),
        "status": report.status_text if report else ("not here" if known else None),
        "exit_message": report.exit_message if report else None,
        "age_s": _age(snap.vm, now),
        "engine": probe.outcome.value if probe else None,
        "engine_reason": probe.reason if probe else None,
        "engine_age_s": _seconds(now - probe.at) if probe else None,
    }


def _definition(
    snap: snapshot.Snapshot, account: DefinitionAccount, now: model.MonotonicMs
) -> dict[str, Any]:
    """Of the next start; what runs and what the store holds beside it."""
    definition, chosen = snap.definition.value, account.choice
    facts: dict[str, Any] = {
        "age_s": _seconds(account.read_ago_ms) if account.read_ago_ms is not None else None,
        "problem": account.trouble or snap.definition.problem,
    }
    if definition is None or chosen is None:
        return facts
    record = chosen.record
    return facts | {
        "source": definition.source,
        "sha256": definition.sha256,
        "generation": definition.generation,
        "memory_mib": definition.memory_mib,
        "leases": [ref.volume_id for ref in definition.leases],
        "number": record.number,
        "made": record.made,
        "made_because": record.made_because,
        "warnings": list(record.warnings),
        "kept_s_ago": account.chosen_age_s,
        "chosen": chosen.why.value,
        "chosen_because": chosen.reason,
        "pending": _pending(snap, account, definition),
        "running": _running(account),
        "store": _store(account),
        "kept": account.kept,
    }


def _pending(
    snap: snapshot.Snapshot, account: DefinitionAccount, definition: snapshot.Definition
) -> bool | None:
    """The next start uses another definition than what runs here; None: nothing runs here, or unknown."""
    here = snap.vm.value is not None and whereabouts.here(snap.vm.value) is not None
    return account.running.sha256 != definition.sha256 if here and account.running is not None else None


def _running(account: DefinitionAccount) -> dict[str, Any] | None:
    life, record = account.running, account.running_record
    if life is None:
        return None
    return {
        "sha256": life.sha256,
        "number": record.number if record else None,
        "generation": record.facts.generation if record else None,
        "given_s_ago": account.running_age_s,
    }


def _store(account: DefinitionAccount) -> dict[str, Any]:
    offered = account.offered
    return {
        "sha256": offered.sha256 if offered else None,
        "generation": offered.generation if offered else None,
        "verdict": account.verdict.value if account.verdict else None,
        "problem": account.trouble,
        "damaged": list(account.damaged),
    }


def _leases(snap: snapshot.Snapshot, now: model.MonotonicMs) -> dict[str, Any]:
    own, domain = snap.own_ha_lease, snap.domain
    return {
        "host_id": {
            "held": own.value.held if own.value else None,
            "detail": own.problem or (own.value.detail if own.value else "not read yet"),
            "age_s": _age(own, now),
        },
        "storage_domain": {
            "acquired": domain.value.acquired if domain.value else None,
            "valid": domain.value.valid if domain.value else None,
            "problem": domain.problem,
            "age_s": _age(domain, now),
        },
        "vm": [
            {
                "volume_id": ref.volume_id,
                "owners": list(read.value.owners) if read.value and read.value.owners is not None else None,
                "leaf": read.value.is_leaf if read.value else None,
                "problem": read.problem,
                "age_s": _age(read, now),
            }
            for ref, read in snap.vm_leases.items()
        ],
    }


def _hosts(decided: decision.Decision, now: model.MonotonicMs) -> list[dict[str, Any]]:
    snap = decided.scene.snap
    ha, sd = snap.ha_hosts.value or {}, snap.sd_hosts.value or {}
    slots = snap.slots.value or {}
    return [
        _host(decided, host_id, slots.get(host_id), ha, sd, now)
        for host_id in sorted(ha.keys() | sd.keys() | slots.keys() | {snap.host_id})
    ]


def _host(
    decided: decision.Decision,
    host_id: int,
    slot: snapshot.PeerSlot | None,
    ha: Mapping[int, snapshot.HostSeen],
    sd: Mapping[int, snapshot.HostSeen],
    now: model.MonotonicMs,
) -> dict[str, Any]:
    changed = slot.changed_at if slot else None
    peer = decided.scene.peers.get(host_id)
    return {
        "host_id": host_id,
        "local": host_id == decided.scene.snap.host_id,
        "name": slot.host_name if slot else None,
        "state": slot.state if slot else None,
        "score": slot.score if slot else None,
        "claims_vm": slot.claims_vm if slot and slot.readable else None,
        "local_maintenance": slot.local_maintenance if slot else None,
        "slot_problem": slot.problem or None if slot else None,
        "slot_changed_s": _seconds(now - changed) if changed is not None else None,
        "slot_age": neighbours.slot_age(decided.scene, slot) if slot or peer else None,
        "ha_lease": ha[host_id].flag.name if host_id in ha else None,
        "storage_lease": sd[host_id].flag.name if host_id in sd else None,
        "class": peer.kind.value if peer is not None else None,
        "claim": peer.claim.value if peer is not None else None,
        "upstream": not slot.ours if slot and slot.readable else None,
    }


def _component(condition: Condition, now: model.MonotonicMs) -> dict[str, Any]:
    next_try = condition.next_try
    return {
        "name": condition.name,
        "ok": condition.ok,
        "reason": condition.reason or None,
        "since_s": _seconds(now - condition.since),
        "next_try_s": _seconds(max(0, next_try - now)) if next_try is not None else None,
    }


def _command(command: snapshot.Command | None, now: model.MonotonicMs) -> dict[str, Any] | None:
    if command is None:
        return None
    return {
        "kind": command.kind,
        "given_s_ago": _seconds(now - command.given_at),
        "in_flight": command.done_at is None,
        "ok": command.ok,
        "dropped": command.refused,
        "detail": command.detail or None,
    }


def _last_end(decided: decision.Decision, now: model.MonotonicMs) -> dict[str, Any] | None:
    end = decided.state.last_end
    if end is None:
        return None
    return {"kind": end.end.value, "detail": end.detail, "s_ago": _seconds(now - end.at)}
