"""What the engine left is made fit for this host: repaired, adapted, or refused for what the host lacks."""

import html
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ovirt_he_agent.sim import deployment, engine_archives
from tests.deployed_host import DeployedHost
from tests.troubles import Outcomes, assert_shown, nothing_was_started, play, vm_was_started

pytestmark = pytest.mark.real("sanlock", "openssl")

Scenario = Callable[[DeployedHost], Awaitable[None]]
NOW = deployment.TWO_STORES[1].generation
DOMAIN = deployment.DOMAIN_ID
VOLUME = deployment.VM_DISK.volume_id
REPAIRED = "the engine's own, repaired"


def unprotected() -> dict[str, str]:
    """What turns the document into one of an engine of 4.4: neither a mark nor a lease in its domain."""
    text = engine_archives.engine_document(engine_archives.StoreContent())
    found = re.search("&lt;lease&gt;.*&lt;/lease&gt;", text)
    assert found is not None
    mark = html.escape("<ovirt-vm:shared>exclusive</ovirt-vm:shared>", quote=False)
    assert mark in text
    return {found[0]: "", mark: ""}


def written(host: DeployedHost, generation: int, changes: Mapping[str, str]) -> None:
    """The engine saves the VM."""
    for number, content in enumerate(deployment.TWO_STORES):
        host.write_store(number, replace(content, generation=generation, changes=changes))


def host_facts(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """The component that asks VDSM for what definitions depend on."""
    (row,) = (row for row in status["components"] if row["name"] == "host-facts")
    found: Mapping[str, Any] = row
    return found


async def domain_without_protection(host: DeployedHost) -> None:
    """It is repaired: the VM runs and holds a real lease, and everybody is told."""
    written(host, NOW, unprotected())
    async with host.agent() as agent:
        status = await agent.until_state("EngineUp")
        assert host.holds_vm_lease()
        definition = status["definition"]
        assert definition["made"] == REPAIRED
        assert f"(volume {VOLUME}) is marked exclusive" in definition["made_because"]
        assert f"gets a lease on storage domain {DOMAIN}" in definition["made_because"]
        assert definition["leases"] == [VOLUME]
        assert_shown(host, f"domain XML: {REPAIRED}", "gets a lease on storage domain")
        (call,) = await host.calls("VM.create")
        assert f"<key>{VOLUME}</key>" in call["params"]["vmParams"]["xml"]
    assert "domain XML: the engine's own, repaired; disk" in (await host.command("doctor"))[1]


async def capabilities_that_cannot_be_had(host: DeployedHost) -> None:
    """The VM starts with what is known; the status says what is not, until it is."""
    await host.vdsm("Sim.fail", method="Host.getCapabilities", code=100, count=None)
    async with host.agent() as agent:
        await agent.until_state("EngineUp")
        status = await agent.until(lambda s: host_facts(s)["ok"] is False)
        told = "not known: VDSM answered Host.getCapabilities with error 100"
        assert told in host_facts(status)["reason"]
        assert_shown(host, "host-facts", "definitions are made with what is known of this host")
        await host.vdsm("Sim.heal")
        await agent.until(lambda s: host_facts(s)["ok"])
        asked = len(await host.calls("Host.getCapabilities"))
        await agent.until(lambda s: s["definition"]["age_s"] < 1)
        assert len(await host.calls("Host.getCapabilities")) == asked


async def network_that_the_host_lacks(host: DeployedHost) -> None:
    """The VM does not start, until the network is there and the engine has saved the VM."""
    await host.vdsm("Sim.networks", names=["storage"])
    async with host.agent() as agent:
        await agent.until_it_waits_for(
            "NIC 00:16:3e:5d:1f:88 needs bridge ovirtmgmt", "definition.start_without_missing_nics"
        )
        await nothing_was_started(host, agent)
        await host.vdsm("Sim.networks", names=["storage", "ovirtmgmt"])
        written(host, NOW + 1, {})
        await vm_was_started(host, agent)


async def nic_that_the_operator_gave_up(host: DeployedHost) -> None:
    """The VM starts without it, and the status says so."""
    await host.vdsm("Sim.networks", names=["storage"])
    host.change_conf(bridge="storage")
    drop_in = host.root / "etc/ovirt-he-agent/ovirt-he-agent.d/nics.yaml"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("definition: {start_without_missing_nics: true}\n")
    try:
        async with host.agent() as agent:
            status = await agent.until_state("EngineUp")
            assert status["definition"]["made"] == REPAIRED
            assert_shown(host, "warning: the VM starts without NIC 00:16:3e:5d:1f:88")
            (call,) = await host.calls("VM.create")
            assert "<interface" not in call["params"]["vmParams"]["xml"]
            assert 'network="vdsm-storage"' in call["params"]["vmParams"]["xml"]
    finally:
        drop_in.unlink()


SCENARIOS: tuple[Scenario, ...] = (
    domain_without_protection,
    capabilities_that_cannot_be_had,
    network_that_the_host_lacks,
    nic_that_the_operator_gave_up,
)
PLAYED = "test_the_definition_is_made_for_this_host"


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, hosts: Sequence[DeployedHost]) -> Outcomes[Scenario]:
    """Of those that this run asks for, beside each other."""
    chosen = {item.name for item in request.session.items}
    asked = [scenario for scenario in SCENARIOS if f"{PLAYED}[{scenario.__name__}]" in chosen]
    return play(hosts, asked, lambda host, scenario: scenario(host))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_definition_is_made_for_this_host(outcomes: Outcomes[Scenario], scenario: Scenario) -> None:
    problem = outcomes[scenario]
    if problem is not None:
        raise problem
