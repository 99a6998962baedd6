"""What this host says of itself on the whiteboard, drawn from one scene: upstream's words and rules."""

from dataclasses import dataclass

from ovirt_he_agent.core import score
from ovirt_he_agent.core.host_figures import HostFigures
from ovirt_he_agent.core.scene import Scene
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.core.whereabouts import Place
from ovirt_he_agent.core.whiteboard import EngineStatus, HealthWord, VmWord


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    state: str
    score: int
    engine: EngineStatus
    local_maintenance: bool
    stopped: bool
    others_first: bool
    """Other hosts of our kind go first."""
    figures: HostFigures
    """Behind the score, for people."""

    @property
    def urgent(self) -> tuple[object, ...]:
        """What has to be on the whiteboard at once when it changes; the rest waits for the next turn."""
        engine = self.engine
        return (
            self.state,
            self.local_maintenance,
            self.stopped,
            self.others_first,
            self.score == 0,
            engine.vm,
            engine.health,
            engine.detail,
        )


def of(s: Scene) -> Published | None:
    """None: in this phase nothing can be published. Drawn once for each scene."""
    if s.published is None:
        s.published = (_of(s),)
    published: Published | None = s.published[0]
    return published


def _of(s: Scene) -> Published | None:
    phase = s.state.phase
    name = phase.published
    if name is None:
        return None
    if s.view is None and (phase is Phase.INIT or (phase is Phase.LEAVING and s.snap.own_slot.at is None)):
        return None  # a daemon that has just been restarted must not take its VM's name off the whiteboard
    return Published(
        state=name,
        score=points(s).points,
        engine=_engine(s),
        local_maintenance=phase is Phase.LOCAL or (s.local_maintenance is True and not s.is_here),
        stopped=phase is Phase.LEAVING,
        others_first=s.now < s.state.others_first_until,
        figures=_figures(s.inputs),
    )


def points(s: Scene) -> score.Score:
    """The score that is shown, and what it is made of."""
    phase = s.state.phase
    worthless = score.worthless_in(phase)
    return score.of(s.inputs, s.weights, memory_rule=score.memory_counts(phase), worthless=worthless)


def _figures(inputs: score.Inputs) -> HostFigures:
    return HostFigures(
        memory_free_mib=inputs.memory_free_mib,
        memory_needed_mib=inputs.memory_needed_mib,
        network=inputs.network,
        bridge_up=inputs.bridge_up,
        cpu_load=inputs.cpu_load,
        failed_starts=inputs.failed_starts,
    )


def _engine(s: Scene) -> EngineStatus:
    told = s.told.engine
    if told.vm is VmWord.UP or s.verdict.place is not Place.NOWHERE_SOON:
        return told
    return EngineStatus(
        vm=told.vm,
        health=told.health or HealthWord.BAD,
        detail=told.detail,
        reason=f"waiting for the VM's lease: {s.verdict.reasons[0]}",
    )
