"""VMs of the emulator: real processes that hold real leases, and VDSM's words for what becomes of them."""

import asyncio
import html
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovirt_he_agent.sim import deployment, engine_archives
from tests.emulated_host import EmulatedHost, is_alive, wait_until_gone
from tests.raw_stomp import RawClient

pytestmark = pytest.mark.real("sanlock", "direct-io")

VM = deployment.VM_ID
HELD_ELSEWHERE = "Failed to acquire lock: Lease is held by another host"
"""An ending that upstream's agent knows (ovirt-hosted-engine-ha: broker/submonitors/engine_health.py)."""

OPTIONS = ("--boot-delay", "0.3", "--shutdown-delay", "0.1", "--check-delay", "1")


def engine_xml() -> str:
    document = engine_archives.engine_document(engine_archives.StoreContent())
    found = re.search("<EngineXml>(.*?)</EngineXml>", document, re.S)
    assert found is not None
    return html.unescape(found[1])


def bare_xml(vm_id: str, name: str) -> str:
    """A VM without disk and lease."""
    return (
        f"<domain><uuid>{vm_id}</uuid><name>{name}</name><memory>1</memory><vcpu>1</vcpu><devices/></domain>"
    )


@dataclass(frozen=True)
class Cluster:
    """Two hosts, each with a sanlock daemon of its own, on one storage."""

    first: EmulatedHost
    second: EmulatedHost


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    base = tmp_path_factory.mktemp("c")
    roots = {1: base / "h1", 2: base / "h2"}
    with (
        EmulatedHost(roots[1], storage=base / "storage", deploy={"roots": roots}, arguments=OPTIONS) as first,
        EmulatedHost(roots[2], host_id=2, arguments=OPTIONS) as second,
    ):
        # both at once and early: sanlock needs some renewals before it knows that the other host lives
        asyncio.run(join_both(first.port, second.port))
        yield Cluster(first, second)


async def join_both(*ports: int) -> None:
    async with asyncio.TaskGroup() as joins:
        for host_id, port in enumerate(ports, start=1):
            joins.create_task(join(port, host_id))


async def join(port: int, host_id: int) -> None:
    async with RawClient(port) as client:
        await connect_and_monitor(client, host_id)


async def connect_and_monitor(client: RawClient, host_id: int) -> None:
    await client.hello()
    await client.call("Host.startMonitoringDomain", sdUUID=deployment.DOMAIN_ID, hostID=host_id)
    await client.until(
        lambda stats: stats[deployment.DOMAIN_ID]["acquired"], "Host.getStorageRepoStats", domains=[]
    )


async def forget_vms(client: RawClient) -> None:
    for row in await client.call("Host.getVMList"):
        await client.call("VM.destroy", vmID=row["vmId"])


@pytest.fixture
async def first(cluster: Cluster) -> AsyncIterator[RawClient]:
    async with RawClient(cluster.first.port) as client:
        await connect_and_monitor(client, 1)
        await forget_vms(client)
        await lease_is_free(client)
        yield client
        await forget_vms(client)


@pytest.fixture
async def second(cluster: Cluster) -> AsyncIterator[RawClient]:
    async with RawClient(cluster.second.port) as client:
        await connect_and_monitor(client, 2)
        await forget_vms(client)
        await lease_is_free(client)
        yield client
        await forget_vms(client)


async def start(client: RawClient) -> None:
    reply = await client.call("VM.create", vmID=VM, vmParams={"xml": engine_xml()})
    assert reply["status"] == "WaitForLaunch"
    assert reply["vmId"] == VM
    await client.status_event(VM, "Powering up")
    await client.status_event(VM, "Up")


DISK = {
    "volumeID": deployment.VM_DISK.volume_id,
    "imageID": deployment.VM_DISK.image_id,
    "storagedomainID": deployment.DOMAIN_ID,
    "storagepoolID": "00000000-0000-0000-0000-000000000000",
}


async def owners(client: RawClient) -> list[int]:
    info = await client.call("Volume.getInfo", **DISK)
    found: list[int] = info["lease"]["owners"]
    return found


async def lease_is_free(client: RawClient) -> None:
    """sanlock notices the end of a process at once, but after VDSM may have told it."""
    await client.until(lambda info: info["lease"]["owners"] == [], "Volume.getInfo", within_s=5, **DISK)


def fetch(port: int) -> tuple[int, str]:
    url = f"http://127.0.0.1:{port}/ovirt-engine/services/health"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read().decode()


async def test_the_lease_is_held_exactly_while_the_process_lives(cluster: Cluster, first: RawClient) -> None:
    await lease_is_free(first)
    await start(first)
    guest = cluster.first.guest(VM)
    assert f"r {deployment.DOMAIN_ID}:{deployment.VM_DISK.volume_id}:" in cluster.first.sanlock_status()
    assert f"p {guest['pid']}" in cluster.first.sanlock_status()
    assert await owners(first) == [1]
    os.kill(guest["pid"], signal.SIGKILL)
    down = await first.status_event(VM, "Down")
    assert (down["exitCode"], down["exitReason"]) == (1, 2)
    assert down["exitMessage"] == "Lost connection with qemu process"
    await lease_is_free(first)
    assert deployment.VM_DISK.volume_id not in cluster.first.sanlock_status()


async def test_the_health_page_tells_what_the_engine_does(cluster: Cluster, first: RawClient) -> None:
    await start(first)
    [stats] = await first.call("VM.getStats", vmID=VM)
    assert stats["simGuestPort"] == cluster.first.guest(VM)["port"]
    assert fetch(stats["simGuestPort"]) == (200, "DB Up!Welcome to Health Status!")
    await first.call("Sim.guest", vmID=VM, action="bad health")
    while (answer := fetch(stats["simGuestPort"])) != (500, "DB Down!"):
        assert answer[0] == 200
        await asyncio.sleep(0.02)
    await first.call("Sim.guest", vmID=VM, action="good health")
    while fetch(stats["simGuestPort"])[0] != 200:
        await asyncio.sleep(0.02)


async def test_a_booting_guest_refuses_connections(cluster: Cluster, first: RawClient) -> None:
    await first.call("VM.create", vmID=VM, vmParams={"xml": engine_xml()})
    await first.status_event(VM, "Powering up")
    with pytest.raises(urllib.error.URLError, match="refused"):
        fetch(cluster.first.guest(VM)["port"])


async def test_the_guests_port_can_be_fixed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ("--guest-port", str(port), "--boot-delay", "0")
    with EmulatedHost(tmp_path, sanlock=False, arguments=arguments) as host:
        async with RawClient(host.port) as client:
            await client.hello()
            for number, name in enumerate(("one", "two")):
                vm_id = f"5fa1c0de-0000-4000-8000-00000000000{number}"
                await client.call("VM.create", vmID=vm_id, vmParams={"xml": bare_xml(vm_id, name)})
                await client.status_event(vm_id, "Up")
            ports = [row["simGuestPort"] for row in await client.call("Host.getAllVmStats")]
    assert ports[0] == port
    assert ports[1] != port  # taken: any


async def test_shutdown_by_the_admin_is_a_normal_end(first: RawClient) -> None:
    await start(first)
    assert await first.call("VM.shutdown", vmID=VM, delay=1, timeout=5, message="") is True
    [stats] = await first.call("VM.getStats", vmID=VM)
    assert stats["status"] in ("Powering down", "Down")
    down = await first.status_event(VM, "Down")
    assert (down["exitCode"], down["exitReason"]) == (0, 6)
    assert await first.error("VM.shutdown", vmID=VM) == 1


async def test_shutdown_inside_the_guest_is_told_apart(first: RawClient) -> None:
    await start(first)
    await first.call("Sim.guest", vmID=VM, action="shutdown")
    down = await first.status_event(VM, "Down")
    assert (down["exitCode"], down["exitReason"]) == (0, 7)


async def test_a_reboot_of_the_engine_vm_ends_it(first: RawClient) -> None:
    await start(first)
    await first.call("Sim.guest", vmID=VM, action="reboot")
    await first.status_event(VM, "RebootInProgress")
    down = await first.status_event(VM, "Down")
    assert (down["exitCode"], down["exitReason"]) == (0, 13)
    assert down["exitMessage"] == "Down as a part of the reboot process"


async def test_a_crash_is_one_down_event_and_the_vm_stays_known(first: RawClient) -> None:
    await start(first)
    await first.call("Sim.guest", vmID=VM, action="crash")
    await first.status_event(VM, "Down")
    assert [row["status"] for row in await first.call("Host.getVMList")] == ["Down"]
    await first.call("VM.destroy", vmID=VM)
    assert await first.error("VM.getStats", vmID=VM) == 1
    assert first.events == []


async def test_a_hanging_guest_keeps_its_lease_and_does_not_answer(
    cluster: Cluster, first: RawClient
) -> None:
    await start(first)
    await first.call("Sim.guest", vmID=VM, action="hang")
    _, writer = await asyncio.open_connection("127.0.0.1", cluster.first.guest(VM)["port"])
    writer.close()  # the kernel accepts, nobody answers
    await writer.wait_closed()
    assert await owners(first) == [1]
    await first.call("Sim.guest", vmID=VM, action="resume")
    assert fetch(cluster.first.guest(VM)["port"])[0] == 200


async def test_a_paused_vm_gives_its_lease_back_and_takes_it_again(first: RawClient) -> None:
    await start(first)
    await first.call("Sim.guest", vmID=VM, action="pause")
    paused = await first.status_event(VM, "Paused")
    assert paused["pauseCode"] == "EIO"
    assert await owners(first) == []
    await first.call("VM.cont", vmID=VM)
    await first.status_event(VM, "Up")
    assert await owners(first) == [1]


async def test_a_vm_destroyed_during_its_start_is_forgotten_at_once(first: RawClient) -> None:
    await first.call("VM.create", vmID=VM, vmParams={"xml": engine_xml()})
    assert await first.call("VM.destroy", vmID=VM) is True
    assert await first.call("Host.getVMList") == []
    down = await first.status_event(VM, "Down")
    assert (down["exitCode"], down["exitReason"]) == (0, 10)
    await lease_is_free(first)


async def test_a_destroyed_vm_is_gone_with_its_process(cluster: Cluster, first: RawClient) -> None:
    await start(first)
    guest = cluster.first.guest(VM)
    assert await first.call("VM.destroy", vmID=VM) is True
    assert not is_alive(guest["pid"])
    assert await first.call("Host.getVMList") == []
    assert (await first.status_event(VM, "Down"))["exitReason"] == 6


async def test_the_domain_stays_joined_while_a_vm_holds_a_lease(cluster: Cluster, first: RawClient) -> None:
    await start(first)
    assert await first.call("Host.stopMonitoringDomain", sdUUID=deployment.DOMAIN_ID) is True
    assert await first.call("Host.getStorageRepoStats") == {}
    assert f"s {deployment.DOMAIN_ID}:1:" in cluster.first.sanlock_status()
    assert is_alive(cluster.first.guest(VM)["pid"])


async def test_a_lease_held_elsewhere_ends_the_start_with_libvirts_words(
    first: RawClient, second: RawClient
) -> None:
    await start(first)
    await second.call("VM.create", vmID=VM, vmParams={"xml": engine_xml()})
    down = await second.status_event(VM, "Down")
    assert down["exitCode"] == 1
    assert down["exitMessage"].endswith(HELD_ELSEWHERE)
    [stats] = await second.call("VM.getStats", vmID=VM)
    assert stats["exitMessage"] == down["exitMessage"]
    assert await second.error("VM.create", vmID=VM, vmParams={"xml": engine_xml()}) == 4
    await first.call("VM.destroy", vmID=VM)
    await second.call("VM.destroy", vmID=VM)
    await lease_is_free(second)
    await start(second)


async def test_a_paused_vm_cannot_go_on_when_the_lease_has_gone_elsewhere(
    first: RawClient, second: RawClient
) -> None:
    await start(first)
    await first.call("VM.pause", vmID=VM)
    await start(second)
    assert await first.error("VM.cont", vmID=VM) == 100
    [stats] = await first.call("VM.getStats", vmID=VM)
    assert stats["status"] == "Paused"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_guests_end_with_the_emulator(tmp_path: Path, number: signal.Signals) -> None:
    with EmulatedHost(tmp_path, sanlock=False, arguments=("--boot-delay", "0")) as host:
        async with RawClient(host.port) as client:
            await client.hello()
            await client.call("VM.create", vmID=VM, vmParams={"xml": bare_xml(VM, "bare")})
            await client.status_event(VM, "Up")
            guest = host.guest(VM)
            await client.call("Sim.guest", vmID=VM, action="hang")  # even one that cannot notice
        if number is signal.SIGTERM:
            assert host.stop_emulator() == 0
        else:
            host.kill_emulator()
        wait_until_gone(guest["pid"])
        host.start_emulator()
        async with RawClient(host.port) as client:
            await client.hello()
            assert await client.call("Host.getVMList") == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["storage"], "Cannot get interface MTU on 'ovirtmgmt'"),
        (["ovirtmgmt-2"], "No such device"),
    ],
)
async def test_a_bridge_that_the_host_lacks_ends_the_start(
    first: RawClient, names: list[str], words: str
) -> None:
    await first.call("Sim.networks", names=names)
    reported = await first.call("Host.getCapabilities")
    assert list(reported["networks"]) == list(reported["bridges"]) == names
    assert all(n["bridged"] and n["iface"] == name for name, n in reported["networks"].items())
    await first.call("VM.create", vmID=VM, vmParams={"xml": engine_xml()})
    assert words in (await first.status_event(VM, "Down"))["exitMessage"]
    await first.call("Sim.heal")
    assert list((await first.call("Host.getCapabilities"))["networks"]) == ["ovirtmgmt"]


async def test_a_console_on_a_network_that_the_host_lacks_ends_the_start(first: RawClient) -> None:
    xml = engine_xml().replace("vdsm-ovirtmgmt", "vdsm-consoles")
    await first.call("VM.create", vmID=VM, vmParams={"xml": xml})
    assert "'vdsm-consoles' has no device" in (await first.status_event(VM, "Down"))["exitMessage"]


async def test_a_vm_that_vdsm_would_start_unprotected_is_not_started(first: RawClient) -> None:
    xml = re.sub("<lease>.*</lease>", "", engine_xml())
    await first.call("VM.create", vmID=VM, vmParams={"xml": xml})
    message = (await first.status_event(VM, "Down"))["exitMessage"]
    assert "the emulator refuses what VDSM would not: disk vda is exclusive and has no lease" in message
