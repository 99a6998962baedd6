"""From a decision to plain sentences: why the engine is here or is not, until when, what would change it.

Nothing here is read by a rule; it is made when somebody asks. The document is described in docs/control.md.
"""

from typing import Any

from ovirt_he_agent.core import peers, publication, score
from ovirt_he_agent.core.commands import CleanVdsmEntry, DestroyVm, ShutdownVm, StartVm
from ovirt_he_agent.core.decision import Decision
from ovirt_he_agent.core.words import counterfactual, neighbours, not_chosen, tested, why
from ovirt_he_agent.core.words.figures import sentence, span


def first_sentence(decided: Decision) -> str:
    """Why the engine VM is not running, or why it is here, and until when."""
    return why.sentence_of(decided)


def what_would_change(decided: Decision) -> tuple[str, ...]:
    """The smallest changes that would make this host start the VM, or no longer start it, or stop it."""
    return counterfactual.what_would_change(decided)


def sentences(decided: Decision) -> tuple[str, ...]:
    """All that there is to say, the most important first."""
    return (*_of_this_host(decided), *(neighbour.text for neighbour in neighbours.of(decided.scene)))


def _of_this_host(decided: Decision) -> list[str]:
    s = decided.scene
    out = [first_sentence(decided)]
    out += [sentence(f"alarm: {alarm}") for alarm in decided.alarms]
    end = s.state.last_end
    if end is not None:
        out.append(
            sentence(f"the VM's last end here: {end.end.value}, {span(s.now - end.at)} ago ({end.detail})")
        )
    shown = publication.points(s)
    out.append(sentence(f"the score of this host is {_sum(shown)}"))
    if not s.is_here and s.able.points != shown.points:
        out.append(sentence(f"in a choice between hosts it would count as {_sum(s.able)}"))
    figures = not_chosen.of_this_host(s)
    if figures and not isinstance(decided.command, StartVm | CleanVdsmEntry):
        out.append(sentence(f"this host was not chosen: {figures}"))
    return out


def _sum(points: score.Score) -> str:
    less = "".join(f" - {p.points} ({p.name}: {p.reason})" for p in points.penalties)
    total = f"{points.points} = {points.base}{less}" if less else f"{points.points}, without a penalty"
    below = points.base - sum(p.points for p in points.penalties) < points.points
    return f"{total}; it is never below 0" if below else total


def document(decided: Decision) -> dict[str, Any]:
    """For the socket and the command: JSON, figures of time in seconds, unknown is null."""
    s = decided.scene
    others = neighbours.of(s)
    free_at = s.verdict.free_at
    return {
        "configured": True,
        "host_id": s.snap.host_id,
        "phase": decided.phase.value,
        "phase_since_s": _seconds(s.now - s.state.phase_since),
        "rule": decided.rule.name,
        "sentences": [*_of_this_host(decided), *(neighbour.text for neighbour in others)],
        "what_would_change": list(what_would_change(decided)),
        "score": _score(publication.points(s)) | {"in_a_choice": _score(s.able)},
        "hosts": [_host(decided, neighbour) for neighbour in others],
        "verdict": {
            "place": s.verdict.place.value,
            "host_id": s.verdict.host_id,
            "reasons": list(s.verdict.reasons),
            "free_in_s": _seconds(max(0, free_at - s.now)) if free_at is not None else None,
        },
        "command": _command(decided),
        "trace": [_tested(row) for row in tested.rows(decided)],
    }


def _seconds(milliseconds: int) -> float:
    return round(milliseconds / 1000, 1)


def _score(points: score.Score) -> dict[str, Any]:
    return {
        "points": points.points,
        "base": points.base,
        "penalties": [{"name": p.name, "points": p.points, "reason": p.reason} for p in points.penalties],
    }


def _host(decided: Decision, neighbour: neighbours.Neighbour) -> dict[str, Any]:
    peer, now = neighbour.peer, decided.scene.now
    slot = peer.slot if peer.slot is not None and peer.slot.readable else None
    changed = peer.slot.changed_at if peer.slot is not None else None
    return {
        "host_id": peer.host_id,
        "name": (slot.host_name or None) if slot is not None else None,
        "class": peer.kind.value,
        "meaning": peers.MEANING[peer.kind],
        "claim": peer.claim.value,
        "upstream": not slot.ours if slot is not None else None,
        "state": (slot.state or None) if slot is not None else None,
        "score": slot.score if slot is not None else None,
        "slot_changed_s": _seconds(now - changed) if changed is not None else None,
        "slot_age": neighbour.slot_age,
        "choice": neighbour.choice,
    }


def _command(decided: Decision) -> dict[str, Any] | None:
    command = decided.command
    if command is None:
        return None
    return {
        "kind": type(command).__name__,
        "why": command.why if isinstance(command, ShutdownVm | DestroyVm) else None,
        "definition_sha256": command.definition_sha256 if isinstance(command, StartVm) else None,
    }


def _tested(row: tested.Tested) -> dict[str, Any]:
    return {
        "kind": "condition" if row.phase is None else "rule",
        "name": row.name,
        "label": row.label,
        "inputs": row.inputs,
        "holds": row.holds,
        "phase": row.phase.value if row.phase is not None else None,
    }
