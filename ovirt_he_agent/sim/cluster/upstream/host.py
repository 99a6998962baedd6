"""A host with the old daemons: what a simulated cluster creates, starts, stops and kills.

Deterministic: the same calls on the same timeline give the same life. Nothing is
raised out of the timeline's callbacks.
"""

from collections.abc import Callable

from ovirt_he_agent import errors
from ovirt_he_agent.core import model
from ovirt_he_agent.sim.cluster.upstream import slots
from ovirt_he_agent.sim.cluster.upstream.agent import Agent
from ovirt_he_agent.sim.cluster.upstream.broker import Broker, BrokerGone
from ovirt_he_agent.sim.cluster.upstream.process import Process, Work
from ovirt_he_agent.sim.cluster.upstream.surroundings import Surroundings, Timeline

RESTART_MS = 10_000
"""RestartSec of the agent's unit, which has Restart=always."""
STOP_TIMEOUT_MS = 90_000
"""systemd's patience with a process that was told to stop."""
BUSY_POLL_MS = 100
VDSM_CLOCK_BASE_MS = 2**31 - 1
"""What VDSM's event clock shows when a host boots (vdsm: lib/vdsm/common/time.py)."""


def _nothing(text: str) -> None:
    pass


class UpstreamHost:
    """Both daemons of one host under systemd.

    ``loop_extra_ms`` is what a loop takes beyond 10 s (upstream: 10..150 and more,
    by host and load). ``uptime_ms`` is how long the host is up when the timeline
    shows 0: the base of the timestamps in its slot and of VDSM's clock.
    ``said`` gets each change of state, each action, and what goes wrong.
    """

    def __init__(
        self,
        timeline: Timeline,
        host: Surroundings,
        *,
        loop_extra_ms: int,
        uptime_ms: int = 1_000_000_000,
        said: Callable[[str], None] = _nothing,
    ) -> None:
        self._timeline = timeline
        self._host = host
        self._loop_extra_ms = loop_extra_ms
        self._uptime_ms = uptime_ms
        self._said = said
        self._silent = False
        self._wanted = False
        self._agent: Agent | None = None
        self._process: Process | None = None
        self._helpers: list[Process] = []
        self._broker = Broker(timeline, host, vdsm_clock_ms=VDSM_CLOCK_BASE_MS + uptime_ms, said=self._say)

    @property
    def state(self) -> str:
        """Upstream's state name; empty when no agent runs."""
        return "" if self._agent is None else self._agent.standing.state

    @property
    def score(self) -> int:
        """As last published or about to be; 0 when no agent runs."""
        return 0 if self._agent is None else self._agent.standing.score

    def start(self) -> None:
        """systemd starts broker and agent."""
        self._wanted = True
        self._silent = False
        self._start_agent()

    def stop(self) -> None:
        """systemd stops the agent, then the broker. The agent looks at it once in a loop."""
        self._wanted = False
        if self._agent is None:
            self._stop_broker()
        else:
            self._agent.stopping = True
            self._help(self._lose_patience(self._agent))

    def kill(self) -> None:
        """Power loss, or SIGKILL of both units: nothing runs any more, nobody says anything."""
        self._wanted = False
        self._silent = True  # also who called this from within a call of the daemons themselves
        self._agent = None
        self._broker.kill()
        for process in (self._process, *self._helpers):
            if process is not None:
                process.kill()
        self._helpers = []

    def vm_event(self, report: model.VmReport) -> None:
        """VDSM's event about a VM."""
        monitors = self._broker.monitors
        if monitors is not None and report.vm_id == self._host.vm_id:
            monitors.engine.take(report)

    def set_global_maintenance(self, on: bool) -> None:
        """``hosted-engine --set-maintenance`` here: success means that the broker took it, no more [Q]."""
        self._help(self._set_global_maintenance(on))

    def _say(self, text: str) -> None:
        if not self._silent:
            self._said(text)

    def _help(self, work: Work) -> None:
        self._helpers = [process for process in self._helpers if process.alive]
        self._helpers.append(Process(self._timeline, work, self._helper_ended))

    def _helper_ended(self, error: errors.HeAgentError | None) -> None:
        if error is not None:
            self._say(f"hosted-engine: {error}")

    def _start_agent(self) -> None:
        self._broker.start()
        if self._agent is not None:
            self._agent.stopping = False
            return
        if self._process is not None:
            self._process.kill()
        self._agent = Agent(
            self._timeline,
            self._host,
            self._broker,
            loop_extra_ms=self._loop_extra_ms,
            clock_ms=self._uptime_ms,
            said=self._say,
        )
        self._process = Process(self._timeline, self._agent.run(), self._agent_ended)

    def _agent_ended(self, error: errors.HeAgentError | None) -> None:
        self._agent = None
        self._say("agent: exits" if error is None else f"agent: exits: {error}")
        if self._wanted:
            self._process = Process(self._timeline, self._restart(), self._helper_ended)
        else:
            self._stop_broker()

    def _restart(self) -> Work:
        yield RESTART_MS
        if self._wanted:
            self._start_agent()

    def _stop_broker(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._broker.stop()

    def _lose_patience(self, agent: Agent) -> Work:
        yield STOP_TIMEOUT_MS
        if self._agent is agent and agent.stopping:
            if self._process is not None:
                self._process.kill()
            self._broker.busy = False
            self._agent_ended(None)

    def _set_global_maintenance(self, on: bool) -> Work:
        while self._broker.busy:
            yield BUSY_POLL_MS
        try:
            self._broker.stats()
            self._broker.put(0, slots.global_block(on))
        except BrokerGone as e:
            self._say(f"hosted-engine: global maintenance not set: {e}")
            return
        self._say(f"hosted-engine: global maintenance {'on' if on else 'off'}")
