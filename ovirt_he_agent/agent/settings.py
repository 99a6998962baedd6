"""How often and how long: the agent's own knobs, from the configuration."""

from dataclasses import dataclass


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
    lease_owners_s: float = 5.0
    hosts_s: float = 5.0
    host_facts_s: float = 2.0
    """Looks whether anything is to be asked for again; mostly nothing is."""
    local_file_s: float = 2.0
    tick_s: float = 5.0
    """The loop turns at least this often: it feeds the watchdog."""
