"""How patient the rules are: every constant of theirs that an operator may set, and the two profiles.

``compat`` has upstream's patience with an engine that is not well (ovirt-hosted-engine-ha:
agent/constants.py, 300 and 600 s), ``fast`` goes by what kind of sickness it is. By default
``fast`` applies while no host with upstream's agent is alive.
"""

import enum
from dataclasses import dataclass


class Profile(enum.StrEnum):
    AUTO = "auto"
    COMPAT = "compat"
    FAST = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """How long an engine may be unwell before its VM is stopped, by what is seen of it."""

    db_down_ms: int
    """Its page answers, and says that the database is down, or an HTTP error."""
    no_answer_ms: int
    """The page does not answer, the guest is alive or nobody can tell."""
    guest_dead_ms: int
    """The page does not answer, and the guest's agent is gone."""
    paused_ms: int
    start_ms: int
    """From the start until the engine is good, at least; longer where its boots are known to take longer."""


FAST = Grace(
    db_down_ms=180_000, no_answer_ms=60_000, guest_dead_ms=45_000, paused_ms=20_000, start_ms=600_000
)
COMPAT = Grace(
    db_down_ms=300_000, no_answer_ms=300_000, guest_dead_ms=300_000, paused_ms=300_000, start_ms=600_000
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    profile: Profile = Profile.AUTO
    fast: Grace = FAST
    move_when_network_lost: bool = True
    """Stop a VM whose host has lost the network when another host sees it."""
    network_lost_ms: int = 60_000
    rank_step_ms: int = 12_000
    """Each better host gets so long to start the VM first: a loop of upstream's agent and a little."""

    def grace(self, *, upstream_alive: bool) -> Grace:
        if self.profile is Profile.COMPAT or (self.profile is Profile.AUTO and upstream_alive):
            return COMPAT
        return self.fast
