"""What is known of the host: asked rarely, kept through failures, never waited for for long."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ovirt_he_agent.agent import host_view
from ovirt_he_agent.agent.translation import Translator
from ovirt_he_agent.core.model import MonotonicMs
from ovirt_he_agent.errors import HeAgentError, Retryable
from ovirt_he_agent.ovf import document, domainxml, vmspec
from tests.golden_ovf import DOMAIN, S02, S02_VM, S04, altered, data

WITH_LEASE = ("<EngineXml>", f"<LeaseDomainId>{DOMAIN}</LeaseDomainId><EngineXml>")


class Away(Retryable):
    msg = "VDSM is away"


@dataclass
class Place:
    path: Path = Path("/xleases")
    offset_bytes: int = 3145728


@dataclass
class ScriptedVdsm:
    """Answers, counts what it was asked, and fails or hangs at the verbs named."""

    networks: dict[str, str] = field(default_factory=lambda: {"ovirtmgmt": "ovirtmgmt"})
    block: bool = False
    place: Place = field(default_factory=Place)
    asked: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)

    async def _answer(self, verb: str) -> None:
        self.asked.append(verb)
        if verb in self.hanging:
            await asyncio.Event().wait()
        if verb in self.failing:
            raise Away

    async def bridges(self) -> Mapping[str, str]:
        await self._answer("bridges")
        return dict(self.networks)

    async def is_block_domain(self, domain_id: str) -> bool:
        await self._answer("is_block_domain")
        return self.block

    async def lease_info(self, domain_id: str, lease_id: str) -> Place:
        assert (domain_id, lease_id) == (DOMAIN, S02_VM)
        await self._answer("lease_info")
        return self.place


class Clock:
    def __init__(self) -> None:
        self.now = MonotonicMs(1_000)

    def __call__(self) -> MonotonicMs:
        return self.now

    def passes(self, ms: int) -> None:
        self.now = MonotonicMs(self.now + ms)


@pytest.fixture
def vdsm() -> ScriptedVdsm:
    return ScriptedVdsm()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def view_of(vdsm: ScriptedVdsm, clock: Clock, **preferences: object) -> host_view.HostView:
    wanted = host_view.Preferences(**{"display_network": "ovirtmgmt", **preferences})  # type: ignore[arg-type]
    return host_view.HostView(vdsm, wanted, utc_offset_s=lambda zone: 0, clock=clock)


def spec(*changes: tuple[str, str]) -> vmspec.VmSpec:
    return document.read(altered(S02, *changes))


async def test_everything_is_asked_once_for_a_document(vdsm: ScriptedVdsm, clock: Clock) -> None:
    view, wanted = view_of(vdsm, clock, default_cpu="Haswell"), spec(WITH_LEASE)
    vdsm.block = True
    facts = await view.of(wanted)
    assert facts.bridges == {"ovirtmgmt": "ovirtmgmt"}
    assert facts.block_domain_ids == frozenset({DOMAIN})
    assert facts.vm_lease == vmspec.Lease(key=S02_VM, lockspace=DOMAIN, path="/xleases", offset_bytes=3145728)
    assert (facts.utc_offset_s, facts.default_cpu, facts.without_missing_nics) == (0, "Haswell", False)
    for _ in range(3):
        await view.look()
        assert await view.of(wanted) == facts
    assert vdsm.asked == ["bridges", "is_block_domain", "lease_info"]


async def test_networks_and_the_vm_lease_are_asked_for_again_after_minutes(
    vdsm: ScriptedVdsm, clock: Clock
) -> None:
    view, wanted = view_of(vdsm, clock), spec(WITH_LEASE)
    await view.of(wanted)
    vdsm.networks["storage"] = "storage"
    vdsm.place = Place(offset_bytes=4194304)
    clock.passes(host_view.GOOD_FOR_MS - 1)
    await view.look()
    assert len(vdsm.asked) == 3
    clock.passes(1)
    await view.look()
    assert vdsm.asked[3:] == ["bridges", "lease_info"]
    facts = await view.of(wanted)
    assert facts.bridges is not None
    assert "storage" in facts.bridges
    assert facts.vm_lease is not None
    assert facts.vm_lease.offset_bytes == 4194304


async def test_new_document_is_a_reason_to_ask_again(vdsm: ScriptedVdsm, clock: Clock) -> None:
    view = view_of(vdsm, clock)
    await view.of(spec())
    await view.of(spec())
    assert vdsm.asked == ["bridges", "is_block_domain", "bridges"]


async def test_network_that_is_not_there_yet_is_looked_for_sooner(vdsm: ScriptedVdsm, clock: Clock) -> None:
    vdsm.networks = {}
    view, wanted = view_of(vdsm, clock), spec()
    assert (await view.of(wanted)).bridges == {}
    vdsm.networks = {"ovirtmgmt": "ovirtmgmt"}
    clock.passes(host_view.LACKING_GOOD_FOR_MS)
    await view.look()
    assert (await view.of(wanted)).bridges == {"ovirtmgmt": "ovirtmgmt"}


async def test_network_with_a_generated_name_is_found_by_the_operators_word(
    vdsm: ScriptedVdsm, clock: Clock
) -> None:
    vdsm.networks = {"on0123456789abc": "on0123456789abc"}
    names = {"a very long network name": "on0123456789abc", "not here": "on999"}
    facts = await view_of(vdsm, clock, networks=names).of(spec())
    assert facts.bridges == {
        "on0123456789abc": "on0123456789abc",
        "a very long network name": "on0123456789abc",
    }


@pytest.mark.parametrize("verb", ["bridges", "is_block_domain", "lease_info"])
async def test_failing_call_takes_only_its_own_answer_away(
    vdsm: ScriptedVdsm, clock: Clock, verb: str
) -> None:
    view, wanted = view_of(vdsm, clock), spec(WITH_LEASE)
    vdsm.failing = {verb}
    facts = await view.of(wanted)
    unknown = {
        "bridges": facts.bridges is None,
        "is_block_domain": facts.block_domain_ids is None,
        "lease_info": facts.vm_lease is None,
    }
    assert [name for name, missing in unknown.items() if missing] == [verb]
    with pytest.raises(host_view.NotAllKnown, match="VDSM is away"):
        await view.look()
    vdsm.failing = set()
    await view.look()
    assert (await view.of(wanted)).vm_lease is not None


async def test_answer_outlives_later_failures(vdsm: ScriptedVdsm, clock: Clock) -> None:
    view, wanted = view_of(vdsm, clock), spec(WITH_LEASE)
    facts = await view.of(wanted)
    vdsm.failing = {"bridges", "lease_info"}
    clock.passes(host_view.GOOD_FOR_MS)
    with pytest.raises(host_view.NotAllKnown):
        await view.look()
    assert await view.of(wanted) == facts


async def test_vdsm_that_hangs_is_not_waited_for(
    vdsm: ScriptedVdsm, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_view, "FIRST_LOOK_S", 0.01)
    vdsm.hanging = {"bridges"}
    view, wanted = view_of(vdsm, clock), spec()
    async with asyncio.TaskGroup() as tasks:
        component = tasks.create_task(view.look())
        facts = await view.of(wanted)
        component.cancel()
    assert (facts.bridges, facts.block_domain_ids) == (None, None)
    vdsm.hanging = set()
    await view.look()
    assert (await view.of(wanted)).block_domain_ids == frozenset()


async def test_without_a_document_nothing_is_asked(vdsm: ScriptedVdsm, clock: Clock) -> None:
    await view_of(vdsm, clock).look()
    assert vdsm.asked == []


# Translating


async def test_definition_is_made_again_only_when_document_or_host_change(
    vdsm: ScriptedVdsm, clock: Clock
) -> None:
    view = view_of(vdsm, clock, without_missing_nics=True)
    translator = Translator(view)

    async def made(content: bytes) -> domainxml.Definition:
        definition = await translator.definition(content)
        assert isinstance(definition, domainxml.Definition)
        return definition

    first = await made(data(S04))
    assert await made(data(S04)) is first
    clock.passes(host_view.GOOD_FOR_MS)
    await view.look()
    assert await made(data(S04)) is first, "the host has not changed"
    vdsm.networks = {"other": "other"}
    clock.passes(host_view.GOOD_FOR_MS)
    await view.look()
    second = await made(data(S04))
    assert "without NIC" in second.warnings[0]
    assert (await made(data(S02))).vm_id == S02_VM


async def test_document_that_cannot_be_read_is_read_once(vdsm: ScriptedVdsm, clock: Clock) -> None:
    translator = Translator(view_of(vdsm, clock))
    first = await translator.definition(b"no XML")
    assert isinstance(first, HeAgentError)
    assert await translator.definition(b"no XML") is first
    assert vdsm.asked == []
