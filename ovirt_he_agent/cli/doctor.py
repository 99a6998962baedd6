"""``doctor``: every prerequisite of the agent looked at, each with its remedy. Changes nothing.

It asks VDSM, sanlock and the storage itself, with the agent's own adapters, so
it works while the agent is down; only the last check asks the agent.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click

from ovirt_he_agent import config
from ovirt_he_agent.adapters import ha_conf, hosted_engine_conf, leases, time_zones, volumes
from ovirt_he_agent.adapters.ovfstore import search
from ovirt_he_agent.adapters.vdsm import endpoint, verbs
from ovirt_he_agent.agent import definitions, host_view, translation
from ovirt_he_agent.agent.deployment import HA_LOCKSPACE
from ovirt_he_agent.cli import options
from ovirt_he_agent.control import client
from ovirt_he_agent.core import model
from ovirt_he_agent.errors import ExitCode, HeAgentError

CHECK_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``ok`` None: it could not be looked at, because something before it failed."""

    check: str
    ok: bool | None
    detail: str


@dataclass(eq=False)
class Missing(HeAgentError):
    """A fact that the agent needs is unknown; ``reason`` says what and what to do."""

    reason: str
    msg: ClassVar[str] = "{self.reason}"


class NotLookedAt(Exception):
    """A check needs something that an earlier one did not find."""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="A list of {check, ok, detail}.")
@options.passed
@click.pass_context
def doctor(context: click.Context, given: options.Options, as_json: bool) -> None:
    """Check every prerequisite and say what to do about what is missing. Exit code 1: something is."""
    findings = asyncio.run(_look(given, (lambda finding: None) if as_json else _say))
    if as_json:
        rows = [{"check": f.check, "ok": f.ok, "detail": f.detail} for f in findings]
        click.echo(json.dumps(rows, indent=2))
    if not all(finding.ok for finding in findings):
        context.exit(ExitCode.FAILED)


def _say(finding: Finding) -> None:
    word = {True: "ok  ", False: "FAIL", None: "  - "}[finding.ok]
    click.echo(f"{word}  {finding.check}: {finding.detail}")


def _clock() -> model.MonotonicMs:
    return model.MonotonicMs(time.monotonic_ns() // 1_000_000)


async def _look(given: options.Options, said: Callable[[Finding], None]) -> list[Finding]:
    findings = []
    async with _Host.of(given) as host:
        for name, check in host.checks():
            try:
                async with asyncio.timeout(CHECK_LIMIT_S):
                    finding = Finding(check=name, ok=True, detail=await check())
            except HeAgentError as e:
                finding = Finding(check=name, ok=False, detail=str(e))
            except NotLookedAt as e:
                finding = Finding(check=name, ok=None, detail=f"not looked at: {e}")
            except TimeoutError:
                finding = Finding(check=name, ok=False, detail=f"no answer within {CHECK_LIMIT_S:g} s")
            findings.append(finding)
            said(finding)
    return findings


class _Host:
    """What the checks find and hand on to the ones after them."""

    def __init__(self, given: options.Options, loaded: config.Config | HeAgentError) -> None:
        self._given = given
        self._loaded = loaded
        self._conf: hosted_engine_conf.HostedEngineConf | None = None
        self._vdsm: verbs.Vdsm | None = None
        self._whiteboard: Path | None = None
        self._lockspace: Path | None = None
        self._sanlock = leases.Sanlock("doctor")

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, given: options.Options) -> AsyncIterator["_Host"]:
        try:
            loaded: config.Config | HeAgentError = config.load(given.paths, given.config_file)
        except HeAgentError as e:
            loaded = e
        host = cls(given, loaded)
        try:
            if isinstance(loaded, config.Config):
                async with verbs.Vdsm(endpoint.of(loaded.vdsm)) as host._vdsm:
                    yield host
            else:
                yield host
        finally:
            host._sanlock.close()

    def checks(self) -> tuple[tuple[str, Callable[[], Awaitable[str]]], ...]:
        return (
            ("our configuration", self._configuration),
            ("hosted-engine.conf", self._hosted_engine_conf),
            ("ha.conf", self._ha_conf),
            ("VDSM", self._vdsm_answers),
            ("haStats in VDSM", self._ha_stats),
            ("sanlock", self._sanlock_answers),
            ("storage domain", self._storage_domain),
            ("volumes", self._volumes),
            ("whiteboard", self._read_whiteboard),
            ("host id lease", self._host_id_lease),
            ("engine VM's definition", self._definition),
            ("agent", self._agent),
        )

    def _config(self) -> config.Config:
        if isinstance(self._loaded, HeAgentError):
            raise self._loaded
        return self._loaded

    def _deployed(self) -> hosted_engine_conf.HostedEngineConf:
        if self._conf is None:
            raise NotLookedAt("hosted-engine.conf is not good")
        return self._conf

    def _client(self) -> verbs.Vdsm:
        if self._vdsm is None:
            raise NotLookedAt("our configuration is not good")
        return self._vdsm

    async def _configuration(self) -> str:
        loaded = self._config()
        where = ", ".join(map(str, loaded.files)) or "defaults, no file"
        return "; ".join((where, *loaded.warnings))

    async def _hosted_engine_conf(self) -> str:
        self._conf = conf = hosted_engine_conf.load(self._given.paths.hosted_engine_conf)
        return f"{conf.path}: host id {conf.host_id}, VM {conf.vm_id}, storage domain {conf.domain_id}"

    async def _ha_conf(self) -> str:
        flag = ha_conf.HaConf(self._given.paths.ha_conf).read()
        if flag.value is None:
            raise Missing(flag.reason)
        return f"local maintenance is {'on' if flag.value else 'off'}"

    async def _vdsm_answers(self) -> str:
        vdsm = self._client()
        await vdsm.ping()
        return f"answers on {vdsm.endpoint}"

    async def _ha_stats(self) -> str:
        shown = (await self._client().host_stats()).ha
        if shown is None or not shown.configured:
            return (
                "VDSM does not show this host as configured: install the client package "
                "(vdsm_plugins) and restart vdsmd, else the engine sees no HA state of this host"
            )
        return f"configured, {'active' if shown.active else 'NOT active'}, score {shown.score}"

    async def _sanlock_answers(self) -> str:
        await self._sanlock.ping()
        return "the daemon answers"

    async def _storage_domain(self) -> str:
        domain_id = self._deployed().domain_id
        vitals = (await self._client().storage_vitals([domain_id])).get(domain_id)
        if vitals is None:
            return f"{domain_id} is not monitored by VDSM; the agent starts that"
        words = ["valid" if vitals.valid else f"NOT valid (code {vitals.code})"]
        words.append("host id acquired" if vitals.acquired else "host id not acquired yet")
        return f"{domain_id}: {', '.join(words)}, last read took {vitals.delay_s:g} s"

    async def _volumes(self) -> str:
        conf, vdsm = self._deployed(), self._client()
        self._whiteboard = await vdsm.prepare_image(conf.domain_id, *conf.whiteboard)
        self._lockspace = await vdsm.prepare_image(conf.domain_id, *conf.lockspace)
        return f"whiteboard {self._whiteboard}, lockspace {self._lockspace}"

    async def _read_whiteboard(self) -> str:
        if self._whiteboard is None:
            raise NotLookedAt("its volume is not prepared")
        with contextlib.closing(volumes.Whiteboard(clock=_clock, timeout_s=10.0)) as whiteboard:
            reading = await whiteboard.read(self._whiteboard, ())
        flag = reading.global_maintenance
        if flag.value is None:
            raise Missing(flag.reason)
        hosts = ", ".join(f"{n}{'' if s.readable else f' ({s.problem})'}" for n, s in reading.slots.items())
        return f"global maintenance is {'on' if flag.value else 'off'}; slots in use: {hosts or 'none'}"

    async def _host_id_lease(self) -> str:
        if self._lockspace is None:
            raise NotLookedAt("its volume is not prepared")
        lockspace = model.Lockspace(name=HA_LOCKSPACE, path=self._lockspace)
        held = await self._sanlock.membership(lockspace, self._deployed().host_id)
        return f"host id {self._deployed().host_id} in lockspace {HA_LOCKSPACE}: {held.value}"

    async def _definition(self) -> str:
        conf, vdsm = self._deployed(), self._client()
        store = search.OvfStore(vdsm, domain_id=conf.domain_id, vm_id=conf.vm_id, clock=_clock)
        with contextlib.closing(store):
            reading = await store.check()
        preferences = host_view.Preferences.of(self._config().definition, conf.bridge)
        view = host_view.HostView(vdsm, preferences, utc_offset_s=time_zones.utc_offset_s, clock=_clock)
        made = await translation.Translator(view).definition(reading.document)
        if isinstance(made, HeAgentError):
            raise definitions.Unusable(reading.volume_id, str(made)) from made
        facts = definitions.facts_of(made, reading)
        words = (made.made.value, *((made.reason,) if made.reason else ()), *made.warnings)
        return (
            f"{facts.source}; generation {facts.generation}, {len(facts.leases)} lease(s): startable; "
            f"domain XML: {'; '.join(words)}"
        )

    async def _agent(self) -> str:
        answer: dict[str, Any] = await asyncio.get_running_loop().run_in_executor(
            None, client.call, self._given.socket, "status"
        )
        return answer["summary"] or f"answers; not configured: {answer['reason']}"
