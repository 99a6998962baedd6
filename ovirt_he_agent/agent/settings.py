"""How often and how long: the agent's own knobs, from the configuration."""

from dataclasses import dataclass, field

from ovirt_he_agent.core.policy import Policy
from ovirt_he_agent.core.score import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All in seconds. An *alert* period applies while the engine is not known to be good."""

    sanlock_io_timeout_s: int = 0
    """0: sanlock's own default."""
    whiteboard_s: float = 10.0
    whiteboard_alert_s: float = 2.0
    definition_s: float = 5.0
    probe_s: float = 10.0
    probe_alert_s: float = 1.0
    vm_poll_s: float = 10.0
    vm_poll_alert_s: float = 2.0
    lease_owners_s: float = 10.0
    lease_owners_alert_s: float = 2.0
    own_lease_s: float = 5.0
    hosts_s: float = 5.0
    hosts_alert_s: float = 1.0
    """While a host's lease is about to run out."""
    host_facts_s: float = 2.0
    """Looks whether anything is to be asked for again; mostly nothing is."""
    local_file_s: float = 2.0
    history_s: float = 2.0
    """Looks whether an operator has asked for a kept definition."""
    state_file_s: float = 60.0
    """It is written when something has changed; this is how often a failed write is tried again."""
    tick_s: float = 5.0
    """The loop turns at least this often: it feeds the watchdog."""
    host_name: str = "localhost"
    """What other hosts read on the whiteboard."""
    policy: Policy = field(default_factory=Policy)
    weights: Weights = field(default_factory=Weights)
