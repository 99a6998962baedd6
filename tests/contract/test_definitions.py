"""The agent's side of a definition that is never lost: a scripted OVF_STORE, real files, any clock."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ovirt_he_agent.adapters import definition_history
from ovirt_he_agent.agent import definitions, kept
from ovirt_he_agent.agent.translation import Translator
from ovirt_he_agent.core import model, snapshot
from ovirt_he_agent.core.definitions.choice import Why
from ovirt_he_agent.core.model import VmStatus
from ovirt_he_agent.errors import HeAgentError, Retryable
from ovirt_he_agent.ovf import vmspec
from ovirt_he_agent.ovf.host_facts import UNKNOWN, HostFacts
from tests import golden_ovf, snapshots
from tests.contract.test_definition_history import full_disk
from tests.golden_ovf import S02, S02_VM


class Torn(Retryable):
    msg = "the store is torn"


@dataclass
class Reading:
    document: bytes
    volume_id: str = "vol-a"
    last_updated: str | None = "Fri Jan 15 16:45:00 UTC 2021"
    damaged: tuple[str, ...] = ()


class Store:
    """Gives what it is told to give."""

    def __init__(self) -> None:
        self.content: bytes | HeAgentError = Torn()
        self.damaged: tuple[str, ...] = ()
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def check(self) -> Reading:
        await self.hangs.wait()
        if isinstance(self.content, HeAgentError):
            raise self.content
        return Reading(self.content, damaged=self.damaged)


def document(generation: int, *changes: tuple[str, str]) -> bytes:
    return golden_ovf.altered(
        S02, ("<Generation>12</Generation>", f"<Generation>{generation}</Generation>"), *changes
    )


class Host:
    """What stays on one host: the state directory, the store, the clocks."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = definition_history.directory_of(state_dir, S02_VM)
        self.store = Store()
        self.facts = UNKNOWN
        self.ms = 1_000_000
        self._stack = ExitStack()

    def agent(self) -> definitions.Definitions:
        """A daemon that has just started."""
        history = definition_history.History(self.directory)
        self._stack.callback(history.close)
        return definitions.Definitions(
            self.store,
            Translator(self),
            history,
            clock=lambda: model.MonotonicMs(self.ms),
            utc_s=lambda: 1_700_000_000,
        )

    async def of(self, spec: vmspec.VmSpec) -> HostFacts:
        return self.facts

    async def running_agent(self) -> definitions.Definitions:
        """Store and files were looked at once."""
        agent = self.agent()
        await self.look(agent)
        return agent

    async def look(self, agent: definitions.Definitions) -> str | None:
        """Both slow sides once; what the store's says."""
        said = None
        try:
            await agent.look()
        except HeAgentError as e:
            said = str(e)
        await agent.see_to_history()
        return said

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def used(agent: definitions.Definitions) -> tuple[int | None, Why]:
    """Generation of the next start, and why."""
    current = agent.current()
    chosen = agent.account.choice
    assert current is not None
    assert chosen is not None
    return current.facts.generation, chosen.why


def seen(status: VmStatus | None = None, **facts: Any) -> snapshot.Snapshot:
    report = None if status is None else snapshots.report(status, **facts)
    return snapshots.startable(vm=snapshots.seen(snapshot.VmView(report=report)))


UP = seen(VmStatus.UP)
FAILED = seen(
    VmStatus.DOWN, exit_code=1, exit_reason=model.ExitReason.GENERIC_ERROR, exit_message="bad machine"
)


async def start(agent: definitions.Definitions, outcome: snapshot.Snapshot) -> None:
    current = agent.current()
    assert current is not None
    await agent.begin(current.facts.sha256, 1)
    agent.follow(lambda: outcome, snapshots.NOW)


async def test_nothing_is_chosen_before_store_and_files_have_had_their_say(host: Host) -> None:
    agent = host.agent()
    assert agent.current() is None
    host.store.content = document(12)
    await agent.look()
    assert agent.current() is None
    await agent.see_to_history()
    assert used(agent) == (12, Why.STORE)


@pytest.mark.parametrize("trouble", [Torn(), document(13, ("<Content", "<Kontent"))])
async def test_the_next_daemon_starts_from_what_was_kept(host: Host, trouble: bytes | HeAgentError) -> None:
    """The store is torn, or holds what cannot be started."""
    host.store.content = document(12)
    first = (await host.running_agent()).current()
    host.store.content = trouble
    agent = host.agent()
    assert await host.look(agent) is not None
    assert used(agent) == (12, Why.LAST_GOOD)
    again = agent.current()
    assert first is not None
    assert again is not None
    assert (again.domain_xml, again.facts) == (first.domain_xml, first.facts)


async def test_without_anything_kept_a_torn_store_gives_nothing(host: Host) -> None:
    agent = host.agent()
    assert await host.look(agent) == "the store is torn"
    assert agent.current() is None


async def test_a_store_that_hangs_is_waited_for_10_s(host: Host) -> None:
    host.store.content = document(12)
    await host.running_agent()
    agent = host.agent()
    await agent.see_to_history()
    host.store.hangs.clear()
    async with asyncio.TaskGroup() as tasks:
        look = tasks.create_task(agent.look())
        await asyncio.sleep(0)
        assert agent.current() is None
        host.ms += definitions.PATIENCE_MS
        assert used(agent) == (12, Why.LAST_GOOD)
        assert agent.account.trouble == "the OVF_STORE has not answered for 10 s"
        host.store.hangs.set()
        await look
    assert used(agent) == (12, Why.STORE)


async def test_a_store_that_is_lost_beside_a_good_one_is_told_once(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.store.content, host.store.damaged = document(12), ("volume vol-b: no archive",)
    agent = await host.running_agent()
    await host.look(agent)
    assert used(agent) == (12, Why.STORE)
    assert list(agent.account.damaged) == ["volume vol-b: no archive"]
    assert caplog.text.count("volume vol-a serves instead: volume vol-b: no archive") == 1
    host.store.damaged = ()
    await host.look(agent)
    assert not agent.account.damaged


async def test_a_look_of_long_ago_says_nothing(host: Host) -> None:
    """In local maintenance nobody looks."""
    host.store.content = document(12)
    agent = await host.running_agent()
    host.ms += definitions.LOOK_LIMIT_MS + 1
    assert agent.current() is None


# starts


async def test_what_runs_is_known_after_a_restart_and_an_edit_is_pending(host: Host) -> None:
    host.store.content = document(12)
    agent = await host.running_agent()
    await start(agent, UP)
    await agent.see_to_history()
    host.store.content = document(13)
    agent = await host.running_agent()
    account = agent.account
    assert used(agent) == (13, Why.STORE)
    assert account.running_record is not None
    assert account.running_record.facts.generation == 12
    assert (account.running_record.started, account.running_record.started_s) == (1, 1_700_000_000)


async def test_an_edit_that_fails_twice_falls_back_across_restarts_until_the_next_one(host: Host) -> None:
    host.store.content = document(12)
    await start(agent := await host.running_agent(), UP)
    await agent.see_to_history()
    host.store.content = document(13)
    for _ in range(2):  # each time by a daemon that was restarted
        agent = await host.running_agent()
        assert used(agent) == (13, Why.STORE)
        await start(agent, FAILED)
        await agent.see_to_history()
    assert used(agent) == (12, Why.FELL_BACK)
    agent = await host.running_agent()
    assert used(agent) == (12, Why.FELL_BACK)
    chosen = agent.account.choice
    assert chosen is not None
    assert "bad machine" in (chosen.reason or "")
    host.store.content = document(14)
    await host.look(agent)
    assert used(agent) == (14, Why.STORE)


async def test_an_operator_gives_a_failed_definition_two_new_tries(host: Host) -> None:
    host.store.content = document(12)
    await start(agent := await host.running_agent(), UP)
    host.store.content = document(13)
    await host.look(agent)
    for _ in range(2):
        await start(agent, FAILED)
    assert used(agent) == (12, Why.FELL_BACK)
    assert agent.account.offered is not None
    definition_history.write_request(host.directory, agent.account.offered.sha256, 1)
    await agent.see_to_history()
    assert used(agent)[0] == 13
    for _ in range(2):
        await start(agent, FAILED)
    assert used(agent) == (12, Why.FELL_BACK)


async def test_a_request_is_obeyed_once_and_undone_by_the_next(host: Host) -> None:
    host.store.content = document(12)
    agent = await host.running_agent()
    first = agent.current()
    assert first is not None
    host.store.content = document(13)
    await host.look(agent)
    definition_history.write_request(host.directory, first.facts.sha256, 1)
    await host.look(agent)
    assert used(agent) == (12, Why.RESTORED)
    assert used(await host.running_agent()) == (12, Why.RESTORED)  # remembered, not asked for again
    host.store.content = document(14)
    await host.look(agent)
    assert used(agent) == (14, Why.STORE)
    definition_history.write_request(host.directory, first.facts.sha256, 1)
    await host.look(agent)
    definition_history.write_request(host.directory, None, 2)
    await host.look(agent)
    assert used(agent) == (14, Why.STORE)


async def test_a_request_that_is_over_is_not_heard_again_when_the_standing_is_lost(host: Host) -> None:
    host.store.content = document(12)
    agent = await host.running_agent()
    first = agent.current()
    assert first is not None
    host.store.content = document(13)
    await host.look(agent)
    definition_history.write_request(host.directory, first.facts.sha256, 1)
    await host.look(agent)
    assert used(agent) == (12, Why.RESTORED)
    assert (host.directory / "request").exists()
    host.store.content = document(14)
    await host.look(agent)
    assert used(agent) == (14, Why.STORE)
    (host.directory / "standing").write_text("")
    with pytest.raises(kept.Skipped, match="standing"):
        await host.running_agent()
    assert used(agent) == (14, Why.STORE)
    assert not (host.directory / "request").exists()


async def test_a_request_in_force_survives_the_loss_of_the_standing(host: Host) -> None:
    host.store.content = document(12)
    agent = await host.running_agent()
    first = agent.current()
    assert first is not None
    host.store.content = document(13)
    await host.look(agent)
    definition_history.write_request(host.directory, first.facts.sha256, 1)
    await host.look(agent)
    (host.directory / "standing").unlink()
    assert used(await host.running_agent()) == (12, Why.RESTORED)


async def test_a_file_that_was_passed_over_is_told_until_it_is_gone(host: Host) -> None:
    host.store.content = document(12)
    await host.running_agent()
    (host.directory / "notes").write_text("call Bob")
    agent = host.agent()
    for _ in range(2):
        with pytest.raises(kept.Skipped, match="notes is no file of this agent; remove it"):
            await host.look(agent)
    (host.directory / "notes").unlink()
    await host.look(agent)


async def test_what_was_removed_while_the_agent_runs_is_written_again(host: Host) -> None:
    host.store.content = document(12)
    agent = await host.running_agent()
    host.store.content = document(13)
    await host.look(agent)
    before = definition_history.read(host.directory)
    for path in host.directory.iterdir():
        path.unlink()
    host.directory.rmdir()
    await host.look(agent)
    assert definition_history.read(host.directory) == before


async def test_a_request_for_what_is_not_kept_changes_nothing(host: Host) -> None:
    host.store.content = document(12)
    agent = await host.running_agent()
    definition_history.write_request(host.directory, "a" * 64, 1)
    await host.look(agent)
    assert used(agent) == (12, Why.STORE)


# safety


async def test_leases_of_the_same_disk_in_other_definitions_are_watched(host: Host) -> None:
    """A snapshot moved the disk to another volume."""
    new_leaf = "11111111-2222-4333-8444-555555555555"
    host.store.content = document(12)
    agent = await host.running_agent()
    first = agent.current()
    assert first is not None
    (old,) = first.facts.leases
    text = document(13).decode().replace(old.volume_id, new_leaf)
    host.store.content = text.encode()
    assert await host.look(agent) is None
    current = agent.current()
    assert current is not None
    assert [ref.volume_id for ref in current.facts.leases] == [new_leaf]
    assert current.facts.other_leases == (old,)
    snap = snapshots.startable(definition=snapshots.seen(current.facts))
    assert old in snap.leases()


# the disk


async def test_a_full_disk_costs_nobody_but_the_history(host: Host) -> None:
    host.store.content = document(12)
    agent = host.agent()
    with full_disk():
        await agent.look()
        with pytest.raises(definition_history.HistoryFailed, match="has room"):
            await agent.see_to_history()
        assert used(agent) == (12, Why.STORE)
        await start(agent, UP)
        assert not agent.is_saved
        host.store.content = Torn()
        with pytest.raises(Torn):
            await agent.look()
        assert used(agent) == (12, Why.LAST_GOOD)
    await agent.see_to_history()  # there is room again
    assert agent.is_saved
    (record,) = definition_history.read(host.directory).records
    assert (record.facts.generation, record.started) == (12, 1)


async def test_what_was_kept_before_comes_first_when_it_can_be_read_only_later(host: Host) -> None:
    host.store.content = document(12)
    await host.running_agent()
    aside = host.directory.rename(host.directory.with_name("aside"))
    host.directory.write_text("no directory")
    host.store.content = document(13)
    agent = host.agent()
    await agent.look()
    with pytest.raises(definition_history.HistoryFailed):
        await agent.see_to_history()
    assert used(agent) == (13, Why.STORE)
    host.directory.unlink()
    aside.rename(host.directory)
    await agent.see_to_history()
    found = {r.number: r.facts.generation for r in definition_history.read(host.directory).records}
    assert found == {1: 12, 2: 13}
    assert used(agent) == (13, Why.STORE)


async def test_a_damaged_file_is_told_and_its_number_never_given_again(host: Host) -> None:
    host.store.content = document(12)
    await host.running_agent()
    (host.directory / "000001.definition").write_bytes(b"x")
    agent = host.agent()
    await agent.look()
    with pytest.raises(kept.Skipped, match=r"000001\.definition is skipped: it is no definition file"):
        await agent.see_to_history()
    assert used(agent) == (12, Why.STORE)
    assert [r.number for r in definition_history.read(host.directory).records] == [2]


async def test_twenty_are_kept_and_among_them_what_runs(host: Host) -> None:
    host.store.content = document(12)
    await start(agent := await host.running_agent(), UP)
    for generation in range(13, 40):
        host.store.content = document(generation)
        await host.look(agent)
    found = definition_history.read(host.directory)
    generations = sorted(r.facts.generation or 0 for r in found.records)
    assert generations == [12, *range(21, 40)]


# The host that it is made for


async def test_a_host_that_lacks_a_bridge_starts_none_of_all_that_are_kept(host: Host) -> None:
    host.store.content = document(11)
    agent = await host.running_agent()
    host.store.content = document(12)
    await host.look(agent)
    host.facts = UNKNOWN.but(bridges={"storage": "storage"})
    said = await host.look(agent)
    assert said is not None
    assert "would lack a NIC on this host" in said
    assert agent.current() is None
    assert agent.account.trouble == said
    host.store.content = Torn()
    await host.look(agent)
    assert agent.current() is None, "the store's trouble gives the host no bridge"
    host.store.content, host.facts = document(12), UNKNOWN
    await host.look(agent)
    assert used(agent) == (12, Why.STORE)


async def test_what_was_repaired_is_told_and_made_again_for_a_host_that_changed(host: Host) -> None:
    host.store.content = golden_ovf.data(S02)
    agent = await host.running_agent()
    before = agent.current()
    assert before is not None
    host.facts = UNKNOWN.but(bridges={"ovirtmgmt": "br0"})
    await host.look(agent)
    after, chosen = agent.current(), agent.account.choice
    assert after is not None
    assert chosen is not None
    assert (after.facts.sha256, agent.account.kept) == (before.facts.sha256, 1)
    assert '<source bridge="br0"/>' in after.domain_xml
    assert chosen.record.made == "the engine's own, repaired"
    assert "bridge br0" in (chosen.record.made_because or "")
