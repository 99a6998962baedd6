"""What is remembered between two decisions, and the names of what a host can be doing."""

import enum
from dataclasses import dataclass, field

from ovirt_he_agent.core import model, whereabouts, whiteboard


class Phase(enum.StrEnum):
    """What this host is doing; ``published`` is upstream's name for it, which people and scripts read."""

    INIT = "init"
    STANDBY = "standby"
    STARTING = "starting"
    RUNNING = "running"
    SICK = "sick"
    STOPPING = "stopping"
    KILLING = "killing"
    AWAY = "away"
    COOLDOWN = "cooldown"
    FROZEN = "frozen"
    LOCAL = "local"
    BLIND = "blind"
    CUT = "cut"
    LEAVING = "leaving"

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
    Phase.STOPPING: "EngineStop",
    Phase.KILLING: "EngineForceStop",
    Phase.AWAY: "EngineMaybeAway",
    Phase.COOLDOWN: "EngineUnexpectedlyDown",
    Phase.FROZEN: "GlobalMaintenance",
    Phase.LOCAL: "LocalMaintenance",
    Phase.BLIND: "UnknownLocalVmState",
    Phase.LEAVING: "AgentStopped",
}


class End(enum.StrEnum):
    """What kind of end a try or a life of the VM came to."""

    LOCK_FAILED = "lock failed"
    START_FAILED = "start failed"
    GUEST_REBOOT = "guest reboot"
    USER_SHUTDOWN = "shut down in the guest"
    ADMIN_SHUTDOWN = "shut down by an administrator"
    HOST_SHUTDOWN = "the host is going down"
    STORAGE = "storage trouble here"
    MIGRATED = "migrated away"
    STOPPED_BY_US = "stopped by this agent"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Attempt:
    at: model.MonotonicMs
    end: End
    detail: str
    definition_sha256: str | None = None
    """With which definition it was started here; None: unknown, or not by us."""


class StopCause(enum.StrEnum):
    SICK = "sick"
    START_TOO_LONG = "start too long"
    NETWORK_LOST = "network lost"
    TWIN = "twin"
    ASKED = "asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A stop of the VM that is under way."""

    cause: StopCause
    why: str
    since: model.MonotonicMs
    told_at: model.MonotonicMs | None = None
    """When VDSM accepted the shutdown."""
    kill: bool = False
    """The polite way is over, or makes no sense."""
    kills: int = 0
    """Power-offs that VDSM accepted."""
    killed_at: model.MonotonicMs | None = None
    """When the last one ended, whatever came of it."""


_NEVER = model.MonotonicMs(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered between two decisions."""

    phase: Phase = Phase.INIT
    phase_since: model.MonotonicMs = _NEVER
    memory: whereabouts.Memory = field(default_factory=whereabouts.Memory)
    told_vm: whiteboard.VmWord = whiteboard.VmWord.DOWN
    """The last word that was told of the VM (upstream's engine-health monitor remembers it too)."""
    was_here: bool = False
    """The VM was seen here, or our start of it was accepted, and its end has not been seen."""
    here_since: model.MonotonicMs = _NEVER
    """With ``was_here``: since when."""
    started_from: str | None = None
    """Hash of the definition of this life, if our start of it was accepted."""
    was_good: bool = False
    """In this life of the VM its engine was good."""
    rebooting: bool = False
    """The last word of VDSM in this life was that the guest reboots."""
    bad_ms: int = 0
    """How long the engine has been known to be bad; stands still while nobody can tell."""
    bad_until: model.MonotonicMs = _NEVER
    """Up to when ``bad_ms`` counts."""
    usual_boot_ms: int | None = None
    """How long the last boot here took until the engine was good."""
    stop: Stop | None = None
    network_lost_since: model.MonotonicMs | None = None
    twin: int | None = None
    """A host that claims the VM, which is here."""
    twin_owner_seen: model.MonotonicMs | None = None
    """When the twin was first read as the lease's owner after both claims."""
    last_runner: int | None = None
    """The host that was last known to run the VM."""
    nowhere_since: model.MonotonicMs | None = None
    """Since when the VM has been known to run nowhere."""
    not_before: model.MonotonicMs = _NEVER
    """No start before this time: back-off."""
    favoured: bool = False
    """The VM's last end favours this host: it need not let better ones go first."""
    others_first_until: model.MonotonicMs = _NEVER
    """Until then every other host that may start the VM goes first."""
    attempts: tuple[Attempt, ...] = ()
    """Ends of the last half hour."""
    last_end: Attempt | None = None
    seen_command: int = 0
    """Number of the newest command whose result has been taken into account."""
    seen_request: int = 0
    global_was_on: bool = False
    """The last value of global maintenance that could be read was: on."""
    has_joined: bool = False
    """Our host id in the HA lockspace was held at some time since the start."""
    joined_at: model.MonotonicMs = _NEVER
    """With ``has_joined``: since when."""
