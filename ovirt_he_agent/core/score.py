"""The score that this host shows: a base and named penalties; their sum is published."""

from dataclasses import dataclass

from ovirt_he_agent.core.state import Phase

BASE_POINTS = 3400

_WORTHLESS = {
    Phase.INIT: "evidence is not complete",
    Phase.LOCAL: "local maintenance",
    Phase.COOLDOWN: "repeated failed starts",
    Phase.CUT: "cut off from the cluster",
}


@dataclass(frozen=True, slots=True)
class Penalty:
    name: str
    points: int


@dataclass(frozen=True, slots=True)
class Score:
    points: int
    base: int
    penalties: tuple[Penalty, ...]


def of_phase(phase: Phase) -> Score:
    """The score of a host in ``phase``: phases that may not run the VM show 0, as today's daemons expect."""
    penalties = (Penalty(_WORTHLESS[phase], BASE_POINTS),) if phase in _WORTHLESS else ()
    return Score(max(0, BASE_POINTS - sum(p.points for p in penalties)), BASE_POINTS, penalties)
