"""The daemon: argv -> configuration -> adapters -> signals -> exit code; nothing else.

Ready as soon as its socket answers: what it depends on may come later, and go,
and come back. SIGTERM and SIGINT end it within seconds in every state; the VM
and the host id lease stay as they are.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Protocol

import click

from ovirt_he_agent import config
from ovirt_he_agent.adapters import (
    agent_conf,
    definition_history,
    ha_conf,
    hosted_engine_conf,
    journal,
    leases,
    state_file,
    systemd,
    time_zones,
    vm_conf,
    volumes,
)
from ovirt_he_agent.adapters.monitors import cpu, liveliness, network
from ovirt_he_agent.adapters.ovfstore import search
from ovirt_he_agent.adapters.vdsm import endpoint, verbs
from ovirt_he_agent.agent import (
    definitions,
    host_view,
    loop,
    observers,
    report,
    settings,
    supervisor,
    translation,
)
from ovirt_he_agent.agent.deployment import Deployment, VolumeRef
from ovirt_he_agent.control import changes, permission, server
from ovirt_he_agent.core import policy, score
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.errors import ExitCode

log = logging.getLogger(__name__)

HEALTHY_S = 15.0
"""GET /healthz: the last tick may be this old."""
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_GRACE_S = 4.0
"""What does not end in order within this time is left behind, as a thread that hangs in the kernel is."""


def clock() -> MonotonicMs:
    """Goes on while the host is suspended: evidence from before must not look young afterwards."""
    return MonotonicMs(time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)


def wall_text(at: MonotonicMs) -> str:
    """Wall-clock text of a time on ``clock``, for people, as ctime(3) has it."""
    return time.ctime(time.clock_gettime(time.CLOCK_REALTIME) - (clock() - at) / 1000)


def utc_s() -> int:
    """For people; no rule compares it."""
    return int(time.clock_gettime(time.CLOCK_REALTIME))


class _Stop(Exception):
    """A signal asked for the end."""


class Publication:
    """The newest documents; everything that is asked from outside is answered from here."""

    def __init__(self, manager: systemd.ServiceManager) -> None:
        self._manager = manager
        self.latest: report.Told = report.NotConfigured("just started")
        self._at = clock()

    def publish(self, new: report.Told) -> None:
        """Take the documents of a finished tick; that is also what feeds the watchdog."""
        self.latest, self._at = new, clock()
        self._manager.status(new.line)
        self._manager.watchdog()

    def healthy(self) -> bool:
        return clock() - self._at < HEALTHY_S * 1000


class _Configuration:
    """hosted-engine.conf of this host, as the supervisor wants it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watched = hosted_engine_conf.Watched(path)
        self.fqdn = ""

    def load(self) -> Deployment:
        self._watched.remember()
        conf = hosted_engine_conf.load(self._path)
        self.fqdn = conf.fqdn
        return Deployment(
            source=str(conf.path),
            host_id=conf.host_id,
            vm_id=conf.vm_id,
            domain_id=conf.domain_id,
            vm_disk=_volume(conf.vm_disk),
            whiteboard=_volume(conf.whiteboard),
            lockspace=_volume(conf.lockspace),
            domain_type=conf.domain_type_number,
            bridge=conf.bridge,
            network_test=conf.network_test,
            is_up_to_date=conf.is_up_to_date,
            connections=conf.connections,
        )

    def changed(self) -> bool:
        return self._watched.changed()


def _volume(ids: tuple[str, str]) -> VolumeRef:
    return VolumeRef(image_id=ids[0], volume_id=ids[1])


async def serve(
    options: config.Config,
    weights: score.Weights,
    paths: config.Paths,
    socket_path: Path,
    stop: asyncio.Event,
) -> None:
    """Run until ``stop``. Raises ``control.server`` errors when the socket cannot be had."""
    manager = systemd.ServiceManager()
    publication = Publication(manager)
    configuration = _Configuration(paths.hosted_engine_conf)
    sanlock = leases.Sanlock()
    vdsm = verbs.Vdsm(endpoint.of(options.vdsm))

    async def run_agent(deployment: Deployment) -> None:
        history = definition_history.History(
            definition_history.directory_of(paths.state_dir, deployment.vm_id)
        )
        store = search.OvfStore(vdsm, domain_id=deployment.domain_id, vm_id=deployment.vm_id, clock=clock)
        whiteboard = volumes.Whiteboard(clock=clock, timeout_s=options.storage.read_timeout_s)
        url = options.engine.health_url.format(fqdn=configuration.fqdn)
        page = liveliness.HealthPage(url, timeout_s=options.engine.probe_timeout_s, clock=clock)
        conf = vm_conf.VmConfFile(paths.vm_conf)
        local_file = ha_conf.HaConf(paths.ha_conf)
        tests = network.Network(deployment.network_test)
        kept = state_file.StateFile(paths.state_file)
        with contextlib.ExitStack() as opened:
            for adapter in (store, whiteboard, history, conf, local_file, tests, kept):
                opened.enter_context(contextlib.closing(adapter))
            async with page:
                view = host_view.HostView(
                    vdsm,
                    host_view.Preferences.of(options.definition, deployment.bridge),
                    utc_offset_s=time_zones.utc_offset_s,
                    clock=clock,
                )
                translator = translation.Translator(view)
                world = observers.World(
                    vdsm=vdsm,
                    leases=sanlock,
                    whiteboard=whiteboard,
                    definitions=definitions.Definitions(store, translator, history, clock=clock, utc_s=utc_s),
                    host_view=view,
                    health=page,
                    local_maintenance=local_file,
                    vm_conf=conf,
                    network=tests,
                    statistics=vdsm,
                    cpu=cpu.Cpu(),
                    state_file=kept,
                    wall_text=wall_text,
                )
                agent = loop.Agent(
                    deployment, _settings(options, weights), world, clock=clock, published=publication.publish
                )
                with changing.serving(agent.requests):
                    await agent.run()

    allowed = permission.Permission(options.control.group)
    changing = changes.Changes(allowed, lambda: publication.latest.status["reason"])
    methods = {
        "status": server.reading(lambda: publication.latest.status),
        "haStatus": server.reading(lambda: publication.latest.ha_status),
        "explain": server.reading(lambda: publication.latest.explanation),
        **changing.methods,
    }
    control = server.ControlServer(
        socket_path, methods, mode=options.control.socket_mode, healthy=publication.healthy
    )
    try:
        async with control, vdsm, asyncio.TaskGroup() as tasks:
            manager.ready()
            log.info("ready, socket %s", socket_path)
            supervising = supervisor.Supervisor(configuration, run_agent, publication.publish)
            tasks.create_task(supervising.run(), name="supervisor")
            await stop.wait()
            manager.stopping()
            raise _Stop
    except* _Stop:
        log.info("stopped; the VM and the host id lease stay as they are")
    finally:
        sanlock.close()
        allowed.close()


def _settings(options: config.Config, weights: score.Weights) -> settings.Settings:
    rules = options.policy
    return settings.Settings(
        host_name=socket.gethostname(),
        weights=weights,
        policy=policy.Policy(
            profile=policy.Profile(rules.profile),
            fast=policy.Grace(
                db_down_ms=_ms(rules.db_down_grace_s),
                no_answer_ms=_ms(rules.no_answer_grace_s),
                guest_dead_ms=_ms(rules.guest_dead_grace_s),
                paused_ms=_ms(rules.paused_grace_s),
                start_ms=_ms(rules.start_limit_s),
            ),
            move_when_network_lost=rules.move_when_network_lost,
            network_lost_ms=_ms(rules.network_lost_s),
        ),
        sanlock_io_timeout_s=options.sanlock.io_timeout_s,
        whiteboard_s=options.storage.whiteboard_period_s,
        definition_s=options.definition.check_period_s,
        probe_s=options.engine.probe_period_s,
    )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


class Given(Protocol):
    """What stood on the command line."""

    @property
    def paths(self) -> config.Paths: ...
    @property
    def config_file(self) -> Path | None: ...
    @property
    def socket(self) -> Path: ...


@click.command("run")
@click.pass_obj
def command(given: Given) -> ExitCode:
    """Be the agent of this host, in the foreground, until SIGTERM or SIGINT."""
    return run(given.paths, given.config_file, given.socket)


def run(paths: config.Paths, config_file: Path | None, socket_path: Path) -> ExitCode:
    """Raises ``errors.HeAgentError`` for what keeps it from starting."""
    options = config.load(paths, config_file)
    weights = agent_conf.load(paths.agent_conf)
    journal.set_up(options.logging.level)
    for warning in options.warnings:
        log.warning("%s", warning)
    asyncio.run(_until_signalled(options, weights, paths, socket_path))
    return ExitCode.DONE


async def _until_signalled(
    options: config.Config, weights: score.Weights, paths: config.Paths, socket_path: Path
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def signalled(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(_end, stop)

    for number in _END_SIGNALS:
        # not add_signal_handler: what it sets becomes the default action, death, before the process ends
        signal.signal(number, signalled)
    try:
        await serve(options, weights, paths, socket_path, stop)
    finally:
        for number in _END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        _exit_now()  # the resolver's thread: a name look-up that hangs would keep the process


def _end(stop: asyncio.Event) -> None:
    if not stop.is_set():
        stop.set()
        last = threading.Timer(EXIT_GRACE_S, _give_up)
        last.daemon = True
        last.start()


def _give_up() -> None:
    log.warning("not everything ended within %s s and is left behind", EXIT_GRACE_S)
    _exit_now()


def _exit_now() -> None:
    logging.shutdown()
    os._exit(ExitCode.DONE)
