"""All that a rule may look at: what is remembered, the evidence, and what was concluded of both."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, overload

from ovirt_he_agent.core import candidates, health, model, policy, score, snapshot, state, whereabouts
from ovirt_he_agent.core.peers import Peer, PeerClass

T = TypeVar("T")

DROPPED_PAUSE_MS = 2_000


class _Once(Generic[T]):
    """As ``functools.cached_property``, without the lock that it takes: a scene belongs to one thread."""

    def __init__(self, draw: Callable[[Any], T]) -> None:
        self._draw = draw
        self._name = draw.__name__
        self.__doc__ = draw.__doc__

    @overload
    def __get__(self, scene: None, of: type) -> "_Once[T]": ...
    @overload
    def __get__(self, scene: "Scene", of: type) -> T: ...
    def __get__(self, scene: "Scene | None", of: type) -> "T | _Once[T]":
        if scene is None:
            return self
        value = scene.__dict__[self._name] = self._draw(scene)  # found there first from now on
        return value


class Scene:
    """Read only. Conclusions that few rules need are drawn when they are asked for, once."""

    def __init__(
        self,
        state: state.State,
        snap: snapshot.Snapshot,
        now: model.MonotonicMs,
        *,
        rules: policy.Policy,
        weights: score.Weights,
        peers: Mapping[int, Peer],
        verdict: whereabouts.Verdict,
        engine: health.EngineHealth,
    ) -> None:
        self.state = state
        self.snap = snap
        self.now = now
        self.rules = rules
        self.weights = weights
        self.peers = peers
        self.verdict = verdict
        self.engine = engine
        self.lacking: tuple[Any, ...] | None = None
        """What ``admission.lacking`` found."""
        self.published: tuple[Any] | None = None
        """What ``publication.of`` made of it."""

    def with_state(self, state: state.State) -> "Scene":
        return Scene(
            state,
            self.snap,
            self.now,
            rules=self.rules,
            weights=self.weights,
            peers=self.peers,
            verdict=self.verdict,
            engine=self.engine,
        )

    # evidence, while it is young enough

    @_Once
    def view(self) -> snapshot.VmView | None:
        """What VDSM says of the VM here; None: unknown."""
        return self.snap.vm.known(self.now, snapshot.VM_LIMIT_MS)

    @_Once
    def global_maintenance(self) -> bool | None:
        return self.snap.global_maintenance.known(self.now, snapshot.GLOBAL_FLAGS_LIMIT_MS)

    @_Once
    def local_maintenance(self) -> bool | None:
        return self.snap.local_maintenance.known(self.now, snapshot.LOCAL_FILE_LIMIT_MS)

    @_Once
    def network(self) -> float | None:
        return self.snap.network.known(self.now, snapshot.NETWORK_LIMIT_MS)

    # conclusions

    @_Once
    def told(self) -> health.Told:
        """What is said of the engine, and what has to be remembered of that."""
        report = self.view.report if self.view is not None else None
        known = self.view is not None
        return health.tell(known, report, self.state.told_vm, page_good=self.engine.good)

    @property
    def is_here(self) -> bool:
        """The VM is on this host, in whatever condition."""
        return self.verdict.place in whereabouts.ON_THIS_HOST

    @property
    def request(self) -> snapshot.Request | None:
        """An operator's wish that has not been heard yet."""
        request = self.snap.request
        return request if request is not None and request.number > self.state.seen_request else None

    @property
    def busy(self) -> bool:
        """A command is in flight."""
        return self.snap.command is not None and self.snap.command.done_at is None

    @property
    def dropped_until(self) -> model.MonotonicMs | None:
        """The last command was dropped: its cause is in the evidence now, and until then none is given."""
        command = self.snap.command
        if command is None or not command.refused or command.done_at is None:
            return None
        until = model.MonotonicMs(command.done_at + DROPPED_PAUSE_MS)
        return until if self.now < until else None

    @_Once
    def grace(self) -> policy.Grace:
        alive = any(
            peer.kind is PeerClass.ALIVE and peer.slot is not None and not peer.slot.ours
            for peer in self.peers.values()
        )
        return self.rules.grace(upstream_alive=alive)

    @_Once
    def inputs(self) -> score.Inputs:
        snap, now = self.snap, self.now
        since = now - score.FAILED_STARTS_WINDOW_S * 1000
        definition = snap.definition.value
        return score.Inputs(
            config_up_to_date=snap.config_up_to_date,
            network=self.network,
            bridge_up=snap.bridge_up.known(now, snapshot.HOST_STATS_LIMIT_MS),
            cpu_load=snap.cpu_load.known(now, snapshot.CPU_LIMIT_MS),
            memory_free_mib=snap.memory_free_mib.known(now, snapshot.HOST_STATS_LIMIT_MS),
            memory_needed_mib=definition.memory_mib if definition is not None else None,
            failed_starts=sum(a.end is state.End.START_FAILED and a.at > since for a in self.state.attempts),
        )

    @_Once
    def able(self) -> score.Score:
        """What this host would bring to a choice between hosts, were it to start the VM."""
        return score.of(self.inputs, self.weights, memory_rule=True)

    @_Once
    def able_while_running(self) -> score.Score:
        """The same where the VM has its memory already."""
        return score.of(self.inputs, self.weights, memory_rule=False)

    @_Once
    def field(self) -> candidates.Field:
        """This host among the others that may start the VM."""
        state_ = self.state
        own = candidates.Candidate(
            host_id=self.snap.host_id,
            others_first=self.now < state_.others_first_until or score.lacks_memory(self.inputs),
            score=self.able.points,
            ran_last=state_.last_runner == self.snap.host_id,
        )
        return candidates.field(own, self.peers, state_.last_runner, favoured=state_.favoured)
