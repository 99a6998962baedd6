"""What is remembered between two decisions, and the names of what a host can be doing."""

import enum
from dataclasses import dataclass, field

from ovirt_he_agent.core import model, whereabouts


class Phase(enum.StrEnum):
    """What this host is doing; ``published`` is upstream's name for it, which people and scripts read."""

    INIT = "init"
    STANDBY = "standby"
    STARTING = "starting"
    RUNNING = "running"
    SICK = "sick"
    AWAY = "away"
    COOLDOWN = "cooldown"
    FROZEN = "frozen"
    LOCAL = "local"
    BLIND = "blind"
    CUT = "cut"

    @property
    def published(self) -> str | None:
        """None: in this phase nothing can be published."""
        return _PUBLISHED.get(self)


_PUBLISHED = {
    Phase.INIT: "ReinitializeFSM",
    Phase.STANDBY: "EngineDown",
    Phase.STARTING: "EngineStarting",
    Phase.RUNNING: "EngineUp",
    Phase.SICK: "EngineUpBadHealth",
    Phase.AWAY: "EngineMaybeAway",
    Phase.COOLDOWN: "EngineUnexpectedlyDown",
    Phase.FROZEN: "GlobalMaintenance",
    Phase.LOCAL: "LocalMaintenance",
    Phase.BLIND: "UnknownLocalVmState",
}


class End(enum.StrEnum):
    """What kind of failure a try or a life ended in."""

    LOCK_FAILED = "lock failed"
    START_FAILED = "start failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Attempt:
    at: model.MonotonicMs
    end: End
    detail: str
    definition_sha256: str | None = None
    """With which definition it was started here; None: unknown, or not by us."""


_NEVER = model.MonotonicMs(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered between two decisions."""

    phase: Phase = Phase.INIT
    phase_since: model.MonotonicMs = _NEVER
    memory: whereabouts.Memory = field(default_factory=whereabouts.Memory)
    was_here: bool = False
    """The VM was seen here, or our start of it was accepted, and its end has not been seen."""
    started_from: str | None = None
    """Hash of the definition of this life, if our start of it was accepted."""
    was_good: bool = False
    """In this life of the VM its engine was good."""
    not_before: model.MonotonicMs = _NEVER
    """No start before this time: back-off."""
    attempts: tuple[Attempt, ...] = ()
    """Ends of the last ten minutes."""
    last_end: Attempt | None = None
    seen_command: int = 0
    """Number of the newest command whose result has been taken into account."""
    global_was_on: bool = False
    """The last value of global maintenance that could be read was: on."""
    has_joined: bool = False
    """Our host id in the HA lockspace was held at some time since the start."""
