"""The old broker: the whiteboard's thread and its queue of one, submonitors, host id, its way to die.

Facts: he-ha broker/status_broker.py, storage_broker.py, broker.py, and runs of them.
A call by the agent is a generator that takes its time, or raises ``BrokerGone``.
"""

from collections.abc import Callable

from ovirt_he_agent import errors
from ovirt_he_agent.core import model
from ovirt_he_agent.sim.cluster.upstream import slots
from ovirt_he_agent.sim.cluster.upstream.monitors import Monitors
from ovirt_he_agent.sim.cluster.upstream.process import Process, Work
from ovirt_he_agent.sim.cluster.upstream.surroundings import (
    Refused,
    StorageAway,
    Surroundings,
    Timeline,
    VdsmAway,
)

STARTING_MS = 2000
"""It sleeps so long before anything else."""
STORAGE_PERIOD_MS = 10_000
WRITE_MS = 5
READ_MS = 60
"""8 MB by direct I/O."""
DEAF_MS = 30_000
"""A broker that ends with submonitors running neither listens nor exits until its own timer fires."""
RESTART_MS = 100
JOIN_POLL_MS = 500
JOIN_TRIES = 5
JOIN_PAUSE_MS = 5000
LEAVE_MS = 3000
DOMAIN_POLL_MS = 5000
DOMAIN_WAIT_MS = 240_000
VDSM_POLL_MS = 1000
VDSM_TRIES = 60


class BrokerGone(errors.Retryable):
    """Nobody listens at the broker's socket, or what it answers is of no use."""

    msg = "the broker does not answer: it is restarted with the next start of the agent"


class Broker:
    """One host's broker, as systemd runs it: Restart=on-failure, pulled in by an agent's start."""

    def __init__(
        self,
        timeline: Timeline,
        host: Surroundings,
        *,
        vdsm_clock_ms: int,
        said: Callable[[str], None],
    ) -> None:
        self._timeline = timeline
        self._host = host
        self._vdsm_clock_ms = vdsm_clock_ms
        self._say = said
        self._alive = False
        self._wanted = False
        self._threads: list[Process] = []
        self._storage: Process | None = None
        self._monitoring: Process | None = None
        self._forget()

    def _forget(self) -> None:
        self.listening = False
        self.monitors: Monitors | None = None
        self._host_id: int | None = None
        self._pending: tuple[int, bytes] | None = None
        self._fresh: dict[int, bytes] | None = None
        self._cache: dict[int, bytes] = {}
        self._ending = False
        self._idle = False
        """The whiteboard's thread waits for its next turn."""
        self.busy = False
        """It serves one caller at a time."""

    # --- life

    def start(self) -> None:
        """By systemd; nothing happens while it runs, deaf or not."""
        self._wanted = True
        if not self._alive:
            self._kill_threads()
            self._forget()
            self._alive = True
            self._spawn(self._main())

    def stop(self) -> None:
        self._wanted = False
        if self._alive:
            self._sigterm()

    def kill(self) -> None:
        """With the host, or by SIGKILL: nothing is restarted."""
        self._wanted = self._alive = self.listening = False
        self._kill_threads()

    def _kill_threads(self) -> None:
        for thread in self._threads:
            thread.kill()
        self._threads = []

    def _spawn(self, work: Work) -> Process:
        thread = Process(self._timeline, work, self._thread_ended)
        self._threads = [*(thread for thread in self._threads if thread.alive), thread]
        return thread

    def _thread_ended(self, error: errors.HeAgentError | None) -> None:
        if error is not None:
            self._say(f"broker: {error}")
            self._exit(1)

    def _exit(self, code: int) -> None:
        wanted = self._wanted
        self.kill()
        self._wanted = wanted
        if code and wanted:
            self._spawn(self._restart())

    def _restart(self) -> Work:
        yield RESTART_MS
        self.start()

    def _sigterm(self) -> None:
        """Also what it sends to itself when the whiteboard fails."""
        if self._ending:
            return
        self._ending = True
        self.listening = False
        if self.monitors is not None:
            # stopping them fails: a dict is changed while it is walked [Q]
            self._say("broker: ends, deaf for 30 s")
            self._spawn(self._deaf())
        elif self._host_id is None:
            self._exit(1)
        else:
            self._host.leave_ha()
            self._exit(0)

    def _deaf(self) -> Work:
        yield DEAF_MS
        self._exit(0)

    def _main(self) -> Work:
        yield STARTING_MS
        for _attempt in range(VDSM_TRIES):
            try:
                self._host.vm_stats()
                break
            except Refused:
                break
            except VdsmAway:
                yield VDSM_POLL_MS
        else:
            self._exit(1)
            return
        self.listening = True
        self._storage = self._spawn(self._keep_whiteboard())

    # --- the whiteboard's thread

    def _keep_whiteboard(self) -> Work:
        while True:
            if self._pending is not None:
                number, block = self._pending
                self._pending = None
                try:
                    if self._may_write(number):
                        self._host.write_slot(number, block)
                except (StorageAway, BrokerGone) as e:
                    self._say(f"broker: cannot write: {e}")
                    self._sigterm()
                yield WRITE_MS
            try:
                read = slots.segments(self._host.read_slots())
            except (StorageAway, slots.Undecodable) as e:
                self._say(f"broker: cannot read: {e}")
                self._sigterm()
                yield READ_MS
            else:
                yield READ_MS
                self._fresh = read
            if self._pending is None:
                self._idle = True
                yield STORAGE_PERIOD_MS
                self._idle = False

    def _may_write(self, number: int) -> bool:
        if self._host_id is None:
            raise BrokerGone  # before it looks whether it is slot 0, which needs no host id [Q]
        return self._host.ha_lease() is model.Membership.HELD or number == 0

    def _check(self) -> None:
        if not self.listening:
            raise BrokerGone

    # --- what it is asked

    def put(self, number: int, block: bytes) -> None:
        """Queue of one for all slots [Q]: what was not written yet is lost. Raises BrokerGone."""
        self._check()
        self._cache[number] = block
        self._pending = (number, block)
        if self._idle and self._storage is not None:
            self._idle = False
            self._storage.wake()

    def stats(self) -> dict[int, bytes]:
        """Slots in the order in which they were first seen; none is ever forgotten [Q]. Raises BrokerGone."""
        self._check()
        if self._fresh is not None:
            self._cache.update(self._fresh)
            self._fresh = None
        return self._cache

    def start_monitors(self) -> None:
        self._check()
        if self._monitoring is not None:
            self._monitoring.kill()
        self.monitors = Monitors(self._timeline, self._host, vdsm_clock_ms=self._vdsm_clock_ms)
        self._monitoring = self._spawn(self.monitors.run())

    def lock_host_id(self) -> Work:
        """That it fails is not told to the caller [Q]; it takes minutes then. Raises BrokerGone."""
        self._check()
        self._host_id = self._host.host_id
        if self._host.ha_lease() is model.Membership.HELD:
            return
        self.busy = True
        for _attempt in range(JOIN_TRIES):
            if self._host.ha_lease() is model.Membership.NOT_HELD:
                self._host.join_ha()
                yield JOIN_POLL_MS
                while self._host.ha_lease() is model.Membership.IN_TRANSITION:
                    yield JOIN_POLL_MS
            if self._host.ha_lease() is model.Membership.HELD:
                self._say("broker: host id locked")
                break
            yield JOIN_PAUSE_MS
        else:
            self._say("broker: host id cannot be locked")
            self._host_id = None
        self.busy = False
        self._check()

    def release_host_id(self) -> Work:
        self._check()
        self.busy = True
        self._host.leave_ha()
        yield LEAVE_MS
        self._host_id = None
        self.busy = False
        self._check()

    def start_domain_monitor(self) -> Work:
        """Errors and the end of patience are swallowed [Q]. Raises BrokerGone."""
        self._check()
        try:
            if self._host.domain_lease() is model.Membership.HELD:
                return
            if self._host.domain_lease() is model.Membership.NOT_HELD:
                self._host.monitor_domain(True)
            self.busy = True
            for _poll in range(DOMAIN_WAIT_MS // DOMAIN_POLL_MS + 1):
                if self._host.domain_lease() is model.Membership.HELD:
                    break
                yield DOMAIN_POLL_MS
        except (VdsmAway, Refused) as e:
            self._say(f"broker: domain monitor: {e}")
        self.busy = False
        self._check()

    def stop_domain_monitor(self) -> None:
        self._check()
        try:
            if self._host.domain_lease() is not model.Membership.NOT_HELD:
                self._host.monitor_domain(False)
        except (VdsmAway, Refused) as e:
            self._say(f"broker: domain monitor: {e}")
