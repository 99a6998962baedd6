"""What the old daemons see of their host and of time: the protocols that a simulated world implements.

Every call answers at once or raises; what takes its time shows later, in the
next answer. The errors are told apart because the old daemons treat them so:
``VdsmAway`` is nobody listening, ``Refused`` an answer that is an error.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from ovirt_he_agent import errors
from ovirt_he_agent.core import model


class VdsmAway(errors.Retryable):
    """No connection to VDSM."""

    msg = "VDSM does not answer: wait until vdsmd runs again"


class Refused(errors.Rejected):
    """VDSM answered, with an error."""

    msg = "VDSM refused the request: its log says why"


class StorageAway(errors.Retryable):
    """The whiteboard cannot be read or written from this host."""

    msg = "the whiteboard cannot be read or written: check the path to the shared storage"


class Cancel(Protocol):
    def cancel(self) -> None: ...


class Timeline(Protocol):
    """The world's clock and its queue of events."""

    def now_ms(self) -> int: ...

    def at(self, ms: int, act: Callable[[], None]) -> Cancel:
        """Call ``act`` when the clock shows ``ms``, after what was asked for earlier for the same time."""
        ...


class Surroundings(Protocol):
    """One host, as its two daemons see it."""

    host_id: int
    host_name: str
    vm_id: str
    memory_mib: int
    """What the engine VM needs."""

    def vm_stats(self) -> model.VmReport | None:
        """None: no such VM. ``event_time`` is now, in ms of the timeline. Raises VdsmAway, Refused."""
        ...

    def create_vm(self) -> None:
        """The outcome shows in ``vm_stats``. Raises VdsmAway, Refused."""
        ...

    def shutdown_vm(self, delay_s: int) -> None:
        """Raises VdsmAway, Refused."""
        ...

    def destroy_vm(self) -> None:
        """Raises VdsmAway, Refused."""
        ...

    def read_slots(self) -> Mapping[int, bytes]:
        """Blocks of 4096 bytes by number, 0 included; those that start with NUL may be left out.

        Raises StorageAway.
        """
        ...

    def write_slot(self, number: int, block: bytes) -> None:
        """Raises StorageAway."""
        ...

    def ha_lease(self) -> model.Membership:
        """Of the lockspace ``hosted-engine``."""
        ...

    def join_ha(self) -> None:
        """Asked for; ``ha_lease`` shows IN_TRANSITION from now on, and HELD or NOT_HELD at its end."""
        ...

    def leave_ha(self) -> None: ...

    def domain_lease(self) -> model.Membership:
        """Of the storage domain's lockspace, as VDSM's monitor says; NOT_HELD: not monitored.

        Raises VdsmAway, Refused.
        """
        ...

    def monitor_domain(self, on: bool) -> None:
        """Raises VdsmAway, Refused."""
        ...

    def page_good(self) -> bool:
        """The engine's health page, asked from this host."""
        ...

    def network(self) -> float:
        """Share of the network tests that succeed, 0..1."""
        ...

    def bridge_up(self) -> bool:
        """Raises VdsmAway, Refused."""
        ...

    def cpu_load(self) -> float:
        """Without the engine VM's own share, 0..1."""
        ...

    def memory_free_mib(self) -> int:
        """Raises VdsmAway, Refused."""
        ...

    def local_maintenance(self) -> bool: ...

    def definition_ok(self) -> bool:
        """False: the VM's definition cannot be read or makes no vm.conf."""
        ...
