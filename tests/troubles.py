"""What every bad input must lead to under the real daemon: told, nothing started, lived through, healed."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ovirt_he_agent import __main__ as command
from ovirt_he_agent.cli import app
from ovirt_he_agent.sim import deployment
from tests.agent_process import AgentProcess
from tests.deployed_host import DeployedHost
from tests.waiting import eventually

T = TypeVar("T")
Change = Callable[[DeployedHost], Awaitable[None] | None]


@dataclass(frozen=True, eq=False)
class Trouble:
    """One bad thing. ``make`` puts it in place, ``heal`` takes it away while the daemon runs."""

    name: str
    make: Change
    says: tuple[str, ...]
    """Words that stand together in one line of what the agent waits for: what, where, what to do."""
    heal: Change = DeployedHost.restore_files
    alone: bool = True
    """Nothing else is missing for a start."""
    doctor: str = ""
    """The check of ``doctor`` that fails with the same words."""

    def __str__(self) -> str:
        return self.name


async def is_told_and_heals(host: DeployedHost, trouble: Trouble) -> None:
    """The scenario, from before the daemon starts until it has started the VM."""
    await _do(trouble.make, host)
    async with host.agent() as agent:
        pid = agent.pid
        await agent.until_it_waits_for(*trouble.says, alone=trouble.alone)
        assert_shown(host, *trouble.says)
        if trouble.doctor:
            await _doctor_says_it(host, trouble)
        await nothing_was_started(host, agent)
        await _do(trouble.heal, host)
        await vm_was_started(host, agent)
        assert agent.pid == pid


async def nothing_was_started(host: DeployedHost, agent: AgentProcess) -> None:
    assert await host.calls("VM.create") == []
    assert host.vm_pid() is None
    assert agent.is_ready


async def vm_was_started(host: DeployedHost, agent: AgentProcess) -> None:
    """The daemon goes on by itself, once."""
    await agent.until_state("EngineStarting", "EngineUp")
    await eventually(lambda: host.calls("VM.create"))  # it says so as soon as it has decided
    assert [call["code"] for call in await host.calls("VM.create")] == [None]
    assert agent.is_ready


def assert_shown(host: DeployedHost, *words: str) -> None:
    """They stand in what ``ovirt-he-agent status`` prints, on either stream; it folds lines."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        app.run(command.COMMANDS, ["--root", str(host.root), "status"])
    shown = "".join(out.getvalue().split())
    for word in words:
        assert "".join(word.split()) in shown, out.getvalue()


async def _do(change: Change, host: DeployedHost) -> None:
    done = change(host)
    if done is not None:
        await done


async def _doctor_says_it(host: DeployedHost, trouble: Trouble) -> None:
    code, out = await host.command("doctor")
    (line,) = (line for line in out.splitlines() if line.startswith(f"FAIL  {trouble.doctor}: "))
    assert all(word in line for word in trouble.says), line
    assert code == 1


# All of them take a while, nearly all of it waiting: they are played on several hosts at a time.

Outcomes = Mapping[T, BaseException | None]


def play(
    hosts: Sequence[DeployedHost],
    scenarios: Iterable[T],
    on_host: Callable[[DeployedHost, T], Awaitable[None]],
) -> Outcomes[T]:
    """What became of each."""
    return asyncio.run(_play(hosts, list(scenarios), on_host))


async def _play(
    hosts: Sequence[DeployedHost], waiting: list[T], on_host: Callable[[DeployedHost, T], Awaitable[None]]
) -> Outcomes[T]:
    outcomes: dict[T, BaseException | None] = {}

    async def play_on(host: DeployedHost) -> None:
        while waiting:
            scenario = waiting.pop(0)
            try:
                await on_host(host, scenario)
            except Exception as e:  # noqa: BLE001 its test raises it
                outcomes[scenario] = e
            else:
                outcomes[scenario] = None
            await host.restore()

    async with asyncio.TaskGroup() as tasks:
        for host in hosts:
            tasks.create_task(play_on(host))
    return outcomes


# what is done to both OVF_STOREs


def described(text: str) -> Change:
    def make(host: DeployedHost) -> None:
        for number in range(len(host.deployment.stores)):
            deployment.describe_ovf_store(host.deployment, number, text)

    return make


def overwritten(offset: int, data: bytes) -> Change:
    def make(host: DeployedHost) -> None:
        for volume in host.deployment.stores:
            with host.deployment.path(volume).open("r+b") as f:
                f.seek(offset)
                f.write(data)

    return make


def cut(keep_bytes: int) -> Change:
    def make(host: DeployedHost) -> None:
        for number in range(len(host.deployment.stores)):
            deployment.tear_ovf_store(host.deployment, number, keep_bytes)

    return make


def written(changes: Mapping[str, str] | None = None, **content: Any) -> Change:
    """Whole archives; ``changes`` replace text in the engine VM's document, as it stands in the archive."""

    def make(host: DeployedHost) -> None:
        for number, good in enumerate(deployment.TWO_STORES):
            host.write_store(number, replace(good, changes=changes or {}, **content))

    return make


# what is done to the host's files


def conf(data: bytes | None) -> Change:
    """hosted-engine.conf of these bytes, or (None) none."""

    def make(host: DeployedHost) -> None:
        host.conf_file.unlink()
        if data is not None:
            host.conf_file.write_bytes(data)

    return make


def conf_values(**values: str) -> Change:
    return lambda host: host.change_conf(**values)


def ha_conf(text: str | None) -> Change:
    """ha.conf of this text, or (None) none."""

    def make(host: DeployedHost) -> None:
        host.ha_conf.unlink()
        if text is not None:
            host.ha_conf.write_text(text)

    return make


def slot(number: int, content: bytes) -> Change:
    return lambda host: deployment.write_slot(host.deployment, number, content)


def certificates(*names: str, foreign: bool) -> Change:
    """Files of the agent's TLS: another data centre's, or gone."""

    def make(host: DeployedHost) -> None:
        for name in names:
            if foreign:
                host.take_foreign(name)
            else:
                (host.certificates / name).unlink()

    return make


def sim(verb: str, **params: Any) -> Change:
    """A ``Sim`` verb of the VDSM emulator."""

    async def make(host: DeployedHost) -> None:
        await host.vdsm(verb, **params)

    return make
