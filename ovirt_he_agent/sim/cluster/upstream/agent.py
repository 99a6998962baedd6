"""The old agent's process, from its start to its last words (he-ha: agent/hosted_engine.py)."""

from collections.abc import Callable, Generator
from typing import TypeVar

from ovirt_he_agent import errors
from ovirt_he_agent.core.model import VmStatus
from ovirt_he_agent.sim.cluster.upstream import machine, slots, transitions
from ovirt_he_agent.sim.cluster.upstream.broker import Broker, BrokerGone
from ovirt_he_agent.sim.cluster.upstream.machine import Action, State
from ovirt_he_agent.sim.cluster.upstream.process import Work
from ovirt_he_agent.sim.cluster.upstream.surroundings import Refused, Surroundings, Timeline, VdsmAway

STARTING_MS = 500
"""The interpreter and its imports."""
LOCAL_MAINTENANCE_POLL_MS = 2000
COLLECTING_MS = 10
"""Part of what a loop takes beyond 10 s; the rest is copying the history."""
HOUSEKEEPING_MS = 100
"""Services looked at, definition read."""
PUBLISHING_MS = 10
SERVICE_DOWN_S = 30
"""The pause of a loop that found vdsmd down, without a word on the whiteboard."""
COMMAND_MS = 300
"""``hosted-engine --vm-start`` and its like, until VDSM hears of it."""
CLEANING_TRIES = 10
CLEANING_MS = 1000
SHUTDOWN_DELAY_S = 120
VDSM_POLL_MS = 1000
VDSM_TRIES = 60
LAST_WORDS_MS = 50
"""From the last publication to the release of the host id."""

T = TypeVar("T")
Outcome = Generator[int, None, bool]


class ServiceDown(errors.Retryable):
    """vdsmd does not run."""

    msg = "vdsmd does not run: the old agent waits for it"


class Agent:
    """One run of the agent; ``run`` ends or raises when the process exits. systemd starts the next."""

    def __init__(
        self,
        timeline: Timeline,
        host: Surroundings,
        broker: Broker,
        *,
        loop_extra_ms: int,
        clock_ms: int,
        said: Callable[[str], None],
    ) -> None:
        self._timeline = timeline
        self._host = host
        self._broker = broker
        self._loop_extra_ms = loop_extra_ms
        self._clock_ms = clock_ms
        self._say = said
        self._parsed: dict[int, tuple[bytes, slots.Parsed]] = {}
        self._definition_read_s = 0
        self.standing = machine.begin(host.host_id)
        self.stopping = False
        """SIGTERM came; it is looked at once in a loop, after the step."""

    def run(self) -> Work:
        yield STARTING_MS
        while self._host.local_maintenance():
            yield LOCAL_MAINTENANCE_POLL_MS
        self._check_vdsm()
        self._broker.start_monitors()
        yield from self._broker.start_domain_monitor()
        yield from self._broker.lock_host_id()
        self._read_definition()
        try:
            yield from self._monitor()
        except errors.HeAgentError as e:
            self._say(f"agent: leaves its loop: {e}")
        yield from self._say_goodbye()

    # --- the loop

    def _monitor(self) -> Work:
        at_once = False
        while True:
            before = self.standing
            data = before.data
            start_s = self._now_s()
            if not machine.is_fresh(data, start_s):
                data = machine.refresh(data, self._collect(start_s, dict(self._broker.stats())))
                yield self._loop_extra_ms
            row = transitions.choose(before, data)
            ok = True
            if row.action is not None:
                ok = yield from self._act(row.action)
            self.standing = transitions.take(before, data, row, ok)
            loop_start_ms = self._timeline.now_ms()
            if self.stopping:
                return
            if self.standing.state is not before.state:
                self._say(f"agent: {before.state}-{self.standing.state} (score {self.standing.score})")
            delay_s = row.delay_s
            try:
                if not at_once:
                    yield HOUSEKEEPING_MS
                    self._check_vdsm()
                    self._read_definition()
                    yield from self._broker.lock_host_id()
                if self.standing.data.collected.local.maintenance:
                    self._stop_domain_monitor()
                else:
                    yield from self._broker.start_domain_monitor()
                yield PUBLISHING_MS
                self._publish(self.standing)
            except ServiceDown as e:
                self._say(f"agent: {e}")
                delay_s = max(delay_s, SERVICE_DOWN_S)
            at_once = delay_s == transitions.NOWAIT
            yield max(0, delay_s * 1000 - (self._timeline.now_ms() - loop_start_ms))

    def _now_s(self, later_ms: int = 0) -> int:
        return (self._clock_ms + self._timeline.now_ms() + later_ms) // 1000

    def _collect(self, start_s: int, stats: dict[int, bytes]) -> machine.Collected:
        """Everything for one refresh. Raises Uncaught, BrokerGone."""
        block = stats.pop(0, None)
        global_maintenance = block is not None and slots.parse_global(block.decode())
        hosts: dict[int, slots.Record | None] = {}
        for host_id, block in stats.items():
            if host_id == self._host.host_id:
                continue
            known = self._parsed.get(host_id)
            if known is None or known[0] != block:
                known = self._parsed[host_id] = (block, slots.parse(host_id, block.decode()))
            parsed = known[1]
            if parsed.uncaught:
                raise slots.Uncaught(parsed.uncaught)
            if not parsed.too_new:
                hosts[host_id] = parsed.record
        monitors = self._broker.monitors
        if monitors is None or not self._broker.listening:
            raise BrokerGone  # a broker that was restarted has none: its answer is no number
        return machine.Collected(
            start_s=start_s,
            finish_s=self._now_s(min(COLLECTING_MS, self._loop_extra_ms)),
            global_maintenance=global_maintenance,
            hosts=hosts,
            local=machine.Local(
                status=monitors.engine.status,
                network=monitors.network,
                bridge=monitors.bridge_up,
                memory_free_mib=monitors.memory_free_mib,
                cpu_load=monitors.cpu_load,
                maintenance=self._host.local_maintenance(),
                memory_needed_mib=self._host.memory_mib,
            ),
        )

    def _check_vdsm(self) -> None:
        try:
            self._host.vm_stats()
        except Refused:
            pass  # it answers
        except VdsmAway as e:
            raise ServiceDown from e

    def _read_definition(self) -> None:
        if not self._host.definition_ok():
            raise slots.Uncaught("the VM's definition cannot be read")
        self._definition_read_s = self._now_s()

    def _stop_domain_monitor(self) -> None:
        """Only if the VM is surely not up: its lease goes with the monitor."""
        if self.standing.data.vm != "up":
            self._broker.stop_domain_monitor()

    # --- what others see

    def _publish(self, standing: machine.Standing) -> None:
        data = standing.data
        timeout_s = None
        if data.timeout_start_s is not None and standing.state in machine.SHOWN_TIMERS:
            timeout_s = data.timeout_start_s + machine.TIMERS[standing.state]
        self._broker.put(
            self._host.host_id,
            slots.encode(
                slots.OwnSlot(
                    host_id=self._host.host_id,
                    host_name=self._host.host_name,
                    timestamp_s=data.collected.start_s,
                    score=standing.score,
                    status=data.collected.local.status,
                    state=standing.state,
                    local_maintenance=standing.state is State.LOCAL,
                    stopped=standing.state is State.STOPPED,
                    definition_read_s=self._definition_read_s,
                    timeout_s=timeout_s,
                )
            ),
        )

    def _say_goodbye(self) -> Work:
        """Raises when nothing was ever collected, or the broker is gone: the host id stays locked then."""
        stopped = machine.Standing(State.STOPPED, self.standing.data, 0)
        self.standing = stopped
        self._publish(stopped)
        self._say("agent: says that it stops")
        yield LAST_WORDS_MS
        yield from self._broker.release_host_id()
        self._stop_domain_monitor()

    # --- actions: generators that return whether they succeeded

    def _act(self, action: Action) -> Outcome:
        self._say(f"agent: {action}")
        try:
            match action:
                case Action.START_VM:
                    ok = yield from self._start_vm()
                case Action.STOP_VM | Action.FORCE_STOP_VM:
                    ok = yield from self._stop_vm(force=action is Action.FORCE_STOP_VM)
        except (VdsmAway, Refused) as e:
            self._say(f"agent: failed: {e}")
            ok = False
        return ok

    def _patiently(self, call: Callable[[], T]) -> Generator[int, None, T]:
        """The answer of VDSM, which is waited for a minute. Raises VdsmAway, Refused."""
        for _attempt in range(VDSM_TRIES):
            try:
                return call()
            except VdsmAway:
                yield VDSM_POLL_MS
        return call()

    def _start_vm(self) -> Outcome:
        if not self._host.definition_ok():
            return False
        for _attempt in range(CLEANING_TRIES):
            report = yield from self._patiently(self._host.vm_stats)
            if report is None or report.status in (VmStatus.POWERING_UP, VmStatus.UP):
                break
            self._say(f"agent: clears the VM, which is {report.status_text}")
            yield from self._patiently(self._host.destroy_vm)
            yield CLEANING_MS
        else:
            return False
        yield COMMAND_MS
        report = yield from self._patiently(self._host.vm_stats)
        if report is not None:
            if report.status not in (VmStatus.DOWN, VmStatus.PAUSED):
                return True  # "VM exists" is a success
            yield from self._patiently(self._host.destroy_vm)
        yield from self._patiently(self._host.create_vm)
        return True

    def _stop_vm(self, *, force: bool) -> Outcome:
        yield COMMAND_MS
        if (yield from self._patiently(self._host.vm_stats)) is None:
            return True  # "Virtual machine does not exist" is a success
        if force:
            yield from self._patiently(self._host.destroy_vm)
        else:
            yield from self._patiently(lambda: self._host.shutdown_vm(SHUTDOWN_DELAY_S))
        return True
