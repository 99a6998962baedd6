"""The emulator's storage verbs on a deployed hosted-engine domain, and the deployment itself."""

import json
import os
import re
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ovirt_he_agent.sim import deployment, engine_archives, sanlock_daemon
from ovirt_he_agent.sim.engine_archives import StoreContent
from ovirt_he_agent.sim.storage_domain import BLANK_UUID
from tests.emulated_host import EmulatedHost
from tests.raw_stomp import RawClient

pytestmark = pytest.mark.real("sanlock", "direct-io")

UNKNOWN = "11111111-2222-3333-4444-555555555555"
SD = deployment.DOMAIN_ID
POOL = "00000001-0001-0001-0001-000000000001"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedHost]:
    base = tmp_path_factory.mktemp("s")
    # the storage server is not connected: the emulator makes a domain of its own beside it
    with EmulatedHost(
        base / "h1", storage=base / "storage", deploy={"mounted": False}, arguments=("--check-delay", "0.2")
    ) as running:
        yield running


@pytest.fixture
def built(host: EmulatedHost) -> deployment.Deployment:
    return host.deployment


def connection(name: str = deployment.CONNECTION) -> dict[str, Any]:
    return {"id": "e29cf818-5ee5-46e1-85c1-8aeefa33e95d", "connection": name, "protocol_version": "auto"}


@pytest.fixture
async def client(host: EmulatedHost) -> AsyncIterator[RawClient]:
    async with RawClient(host.port) as c:
        await c.hello()
        [status] = await c.call(
            "StoragePool.connectStorageServer",
            storagepoolID=BLANK_UUID,
            domainType=1,
            connectionParams=[connection()],
        )
        assert status == {"id": "e29cf818-5ee5-46e1-85c1-8aeefa33e95d", "status": 0}
        yield c


async def volume_info(client: RawClient, volume: deployment.Volume) -> dict[str, Any]:
    info: dict[str, Any] = await client.call("Volume.getInfo", **where(volume))
    return info


def where(volume: deployment.Volume) -> dict[str, Any]:
    return {
        "volumeID": volume.volume_id,
        "imageID": volume.image_id,
        "storagedomainID": SD,
        "storagepoolID": BLANK_UUID,
    }


async def test_a_domain_is_known_only_while_its_server_is_connected(
    client: RawClient, host: EmulatedHost
) -> None:
    assert (await client.call("StorageDomain.getInfo", storagedomainID=SD))["uuid"] == SD
    await client.call(
        "StoragePool.disconnectStorageServer",
        storagepoolID=BLANK_UUID,
        domainType=1,
        connectionParams=[connection()],
    )
    assert await client.error("StorageDomain.getInfo", storagedomainID=SD) == 358
    assert await client.call("Host.getStorageDomains") == [host.domain_id]


async def test_connecting_names_what_failed(client: RawClient) -> None:
    [status] = await client.call(
        "StoragePool.connectStorageServer",
        storagepoolID=BLANK_UUID,
        domainType=1,
        connectionParams=[connection("nobody:/nothing")],
    )
    assert status["status"] == 477
    assert (
        await client.error(
            "StoragePool.connectStorageServer", storagepoolID=BLANK_UUID, domainType=1, connectionParams=[]
        )
        == 1000
    )


async def test_unknown_things_have_vdsms_codes(client: RawClient) -> None:
    disk = where(deployment.VM_DISK)
    assert await client.error("StorageDomain.getInfo", storagedomainID=UNKNOWN) == 358
    assert await client.error("Volume.getInfo", **disk | {"storagedomainID": UNKNOWN}) == 358
    assert await client.error("Volume.getInfo", **disk | {"volumeID": UNKNOWN}) == 201
    assert await client.error("Volume.getInfo", **disk | {"imageID": UNKNOWN}) == 254
    assert await client.error("Image.prepare", **disk | {"volumeID": UNKNOWN}) == 201
    assert await client.error("Image.prepare", **disk | {"storagepoolID": UNKNOWN}) == 309
    assert await client.error("Task.getStatus", taskID=UNKNOWN) == 401
    assert await client.error("Volume.getPath", **disk) == -32601
    assert await client.error("Volume.getInfo") == -32603


async def test_images_and_volumes_are_listed(client: RawClient, built: deployment.Deployment) -> None:
    volumes = [built.vm_disk, built.lockspace, built.whiteboard, built.configuration, *built.stores]
    images = await client.call("StorageDomain.getImages", storagedomainID=SD)
    assert sorted(images) == sorted(v.image_id for v in volumes)
    found = await client.call(
        "StorageDomain.getVolumes", storagedomainID=SD, storagepoolID=BLANK_UUID, imageID=BLANK_UUID
    )
    assert sorted(found) == sorted(v.volume_id for v in volumes)
    [one] = await client.call(
        "Image.getVolumes", imageID=built.vm_disk.image_id, storagedomainID=SD, storagepoolID=BLANK_UUID
    )
    assert one == built.vm_disk.volume_id


async def test_volume_info_has_vdsms_shape(client: RawClient, built: deployment.Deployment) -> None:
    info = await volume_info(client, built.vm_disk)
    assert info["lease"] == {
        "path": str(built.roots[1] / "rhev/data-center/mnt" / mounted_name() / relative_lease(built)),
        "offset": 0,
        "owners": [],
        "version": None,
    }
    assert (info["voltype"], info["disktype"], info["format"]) == ("LEAF", "HEVD", "RAW")
    assert info["apparentsize"] == info["capacity"] == str(1 << 30)
    assert info["children"] == []
    assert json.loads(info["description"])["DiskAlias"] == "he_virtio_disk"


def same(one: Path, other: Path) -> bool:
    return one.samefile(other)


def is_link(path: Path) -> bool:
    return path.is_symlink()


def mounted_name() -> str:
    return "storage.example.org:_exports_hosted__engine"


def relative_lease(built: deployment.Deployment) -> str:
    disk = built.vm_disk
    return f"{SD}/images/{disk.image_id}/{disk.volume_id}.lease"


async def test_a_prepared_image_is_a_link_until_torn_down(
    client: RawClient, built: deployment.Deployment
) -> None:
    prepared = await client.call("Image.prepare", **where(built.whiteboard))
    path = Path(prepared["path"])
    assert (
        path
        == built.roots[1] / "run/vdsm/storage" / SD / built.whiteboard.image_id / built.whiteboard.volume_id
    )
    assert same(path, built.path(built.whiteboard))
    assert await client.call("Image.prepare", **where(built.whiteboard)) == prepared
    assert await client.call("Image.teardown", **where(built.whiteboard)) is True
    assert not is_link(path.parent)


async def test_a_description_is_set_through_the_pool_and_cut_at_its_limit(
    client: RawClient, built: deployment.Deployment
) -> None:
    volume = built.configuration
    assert await client.error("Volume.setDescription", **where(volume), description="x") == 309
    await client.call(
        "Volume.setDescription", **where(volume) | {"storagepoolID": POOL}, description="d" * 300
    )
    assert (await volume_info(client, volume))["description"] == "d" * 210


async def test_a_monitored_domain_gets_its_host_id_and_gives_it_back(
    client: RawClient, host: EmulatedHost
) -> None:
    assert await client.call("Host.getStorageRepoStats") == {}
    for _ in range(2):
        assert await client.call("Host.startMonitoringDomain", sdUUID=SD, hostID=7) is True
    stats = await client.until(lambda s: s[SD]["acquired"], "Host.getStorageRepoStats", domains=[SD])
    vitals = stats[SD]
    assert (vitals["code"], vitals["valid"], vitals["actual"], vitals["version"]) == (0, True, True, 5)
    assert float(vitals["delay"]) < 10
    assert float(vitals["lastCheck"]) < 10
    assert f"s {SD}:7:" in host.sanlock_status()
    assert (await client.call("Host.getStats"))["storageDomains"][SD]["acquired"] is True
    await client.call("Host.stopMonitoringDomain", sdUUID=SD)
    assert f"s {SD}" not in host.sanlock_status()


async def test_an_unknown_domain_is_monitored_as_invalid(client: RawClient) -> None:
    await client.call("Host.startMonitoringDomain", sdUUID=UNKNOWN, hostID=1)
    stats = await client.until(lambda s: s[UNKNOWN]["actual"], "Host.getStorageRepoStats", domains=[UNKNOWN])
    assert (stats[UNKNOWN]["code"], stats[UNKNOWN]["valid"], stats[UNKNOWN]["acquired"]) == (
        358,
        False,
        False,
    )
    await client.call("Host.stopMonitoringDomain", sdUUID=UNKNOWN)


async def test_a_domain_of_the_pool_stays_monitored(client: RawClient, host: EmulatedHost) -> None:
    own = host.domain_id
    assert await client.call("Host.getConnectedStoragePools") == [POOL]
    await client.call("StorageDomain.activate", storagedomainID=own, storagepoolID=POOL)
    assert await client.error("Host.stopMonitoringDomain", sdUUID=own) == 900
    await client.call(
        "StorageDomain.deactivate",
        storagedomainID=own,
        storagepoolID=POOL,
        masterSdUUID=UNKNOWN,
        masterVersion=1,
    )
    assert own not in await client.call("Host.getStorageRepoStats")


async def test_vm_leases_live_in_the_xleases_volume(client: RawClient, built: deployment.Deployment) -> None:
    lease = {"sd_id": SD, "lease_id": UNKNOWN}
    assert await client.error("Lease.info", lease=lease) == 936
    task = await client.call("Lease.create", lease=lease)
    assert (await client.call("Task.getStatus", taskID=task))["taskResult"] == "success"
    assert task in await client.call("Host.getAllTasksStatuses")
    await client.call("Task.clear", taskID=task)
    assert await client.error("Task.getStatus", taskID=task) == 401
    info = await client.call("Lease.info", lease=lease)
    assert info["offset"] == 3 << 20
    assert same(Path(info["path"]), built.domain.xleases_path)
    assert await client.call("Lease.status", lease=lease) == {"owners": [], "version": None}
    await client.call("Lease.delete", lease=lease)
    assert await client.error("Lease.info", lease=lease) == 936


async def test_without_sanlock_a_domain_is_monitored_but_not_acquired(tmp_path: Path) -> None:
    with EmulatedHost(tmp_path, sanlock=False) as host:
        async with RawClient(host.port) as client:
            await client.hello()
            await client.call("Host.startMonitoringDomain", sdUUID=host.domain_id, hostID=1)
            stats = await client.until(lambda s: s[host.domain_id]["actual"], "Host.getStorageRepoStats")
            assert (stats[host.domain_id]["valid"], stats[host.domain_id]["acquired"]) == (True, False)


# the deployment


def test_the_lockspaces_are_written_with_their_io_timeout(built: deployment.Deployment) -> None:
    program = sanlock_daemon.executable()
    assert program is not None
    for lockspace in (built.ha_lockspace(), built.domain.lockspace):
        dump = subprocess.run(
            [program, "direct", "read_leader", "-s", f"{lockspace.name}:1:{lockspace.path}:0"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert re.search(r"^io_timeout 1$", dump, re.M)
        assert re.search(rf"^space_name {lockspace.name}$", dump, re.M)


def test_slot_zero_is_exactly_upstreams_text(built: deployment.Deployment) -> None:
    with built.path(built.whiteboard).open("rb") as f:
        assert f.read(8192) == b"maintenance=0".ljust(8192, b"\0")
    deployment.set_global_maintenance(built, enabled=True)
    with built.path(built.whiteboard).open("rb") as f:
        assert f.read(4096).rstrip(b"\0") == b"maintenance=1"


def test_the_configuration_archive_has_its_five_files_and_its_size(built: deployment.Deployment) -> None:
    with built.path(built.configuration).open("rb") as f:
        data = f.read(engine_archives.CONFIGURATION_BYTES)
        assert f.read(512) == bytes(512)
    assert len(data) == 20480
    with tarfile.open(built.path(built.configuration)) as tar:
        assert tar.getnames() == ["version", "fhanswers.conf", "hosted-engine.conf", "broker.conf", "vm.conf"]


def test_stores_are_what_the_engine_leaves(built: deployment.Deployment) -> None:
    content = StoreContent(age=timedelta(hours=1), generation=44, other_vms=200)
    deployment.write_ovf_store(built, 0, content)
    store = built.stores[0]
    description = json.loads(built.domain.volume_metadata(store.image_id, store.volume_id)["DESCRIPTION"])
    assert description == {
        "Updated": True,
        "Size": built.path(store).stat().st_size,
        "Last Updated": "Fri Jan 16 15:45:00 UTC 2026",
        "Storage Domains": [{"uuid": SD}],
        "Disk Description": "OVF_STORE",
    }
    assert description["Size"] % 10240 == 0
    with tarfile.open(built.path(store)) as tar:
        names = tar.getnames()
        document = tar.extractfile(f"{deployment.VM_ID}.ovf")
        assert document is not None
        assert b"<Generation>44<" in document.read()
    assert (names[0], names[-1], len(names)) == ("info.json", "metadata.json", 203)


def test_a_failed_update_leaves_the_store_marked(built: deployment.Deployment) -> None:
    deployment.write_ovf_store(built, 1, StoreContent(updated=False))
    store = built.stores[1]
    description = json.loads(built.domain.volume_metadata(store.image_id, store.volume_id)["DESCRIPTION"])
    assert description["Updated"] is False
    assert "Size" not in description
    deployment.tear_ovf_store(built, 1, 1000)
    assert os.stat(built.path(store)).st_size == 1000
