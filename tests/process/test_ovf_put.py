"""``ovf put`` on a host whose VDSM sets the descriptions: before, after, and when it refuses to."""

import re

import pytest

from ovirt_he_agent.adapters.ovfstore import one_store
from ovirt_he_agent.ovf import description
from ovirt_he_agent.sim.deployment import Volume
from tests.deployed_host import VM, DeployedHost

pytestmark = pytest.mark.real("sanlock", "direct-io", "openssl")


async def names(host: DeployedHost, volume: Volume) -> dict[str, str]:
    (pool,) = await host.vdsm("Host.getConnectedStoragePools")
    return {
        "storagepoolID": pool,
        "storagedomainID": host.deployment.domain.id,
        "imageID": volume.image_id,
        "volumeID": volume.volume_id,
    }


async def description_of(host: DeployedHost, volume: Volume) -> str:
    info = await host.vdsm("Volume.getInfo", **await names(host, volume))
    return str(info["description"])


async def describe(host: DeployedHost, volume: Volume, text: str) -> None:
    await host.vdsm("Volume.setDescription", description=text, **await names(host, volume))


async def described(host: DeployedHost) -> list[description.StoreDescription]:
    found = [description.parse(await description_of(host, volume)) for volume in host.deployment.stores]
    return [one for one in found if one is not None]


def longer(document: str, generation: int) -> str:
    text = re.sub(r"<Generation>[0-9]+<", f"<Generation>{generation}<", document)
    return text.replace("<Comment>", "<Comment>" + "x" * 30_000, 1)


async def test_both_stores_get_it_one_after_the_other_with_their_descriptions(host: DeployedHost) -> None:
    stores = [str(host.deployment.path(volume)) for volume in host.deployment.stores]
    document = one_store.read(host.deployment.path(host.deployment.stores[0]), VM).data.decode()
    new = host.root / "new.ovf"
    new.write_text(longer(document, 500))
    before = await described(host)
    await host.vdsm("Sim.calls", clear=True)
    code, out = await host.command("ovf", "put", str(new), "--store", stores[0], "--store", stores[1])
    assert code == 0, out
    assert out.count("its description says Updated") == 2
    after = await described(host)
    for volume, old, now in zip(host.deployment.stores, before, after, strict=True):
        assert now.updated
        assert now.domain_ids == old.domain_ids
        assert now.size_bytes is not None
        assert now.last_updated_s is not None
        assert old.last_updated_s is None or now.last_updated_s > old.last_updated_s
        path = host.deployment.path(volume)
        assert one_store.read(path, VM, now.size_bytes).identity.generation == 500
    told = [
        (call["params"]["volumeID"], description.parse(call["params"]["description"]))
        for call in await host.calls("Volume.setDescription")
    ]
    order = [volume_id for volume_id, _ in told]
    ids = [volume.volume_id for volume in host.deployment.stores]
    writes = [(volume_id, seen.updated) for volume_id, seen in told[len(ids) :] if seen is not None]
    first, second = order[len(ids)], order[-1]
    assert {first, second} == set(ids)
    assert writes == [(first, False), (first, True), (second, False), (second, True)]


async def test_a_put_that_was_cut_before_the_description_is_ended_by_the_same_put(host: DeployedHost) -> None:
    stores = [str(host.deployment.path(volume)) for volume in host.deployment.stores]
    document = one_store.read(host.deployment.path(host.deployment.stores[0]), VM).data.decode()
    new = host.root / "new.ovf"
    new.write_text(longer(document, 700))
    arguments = ("ovf", "put", str(new), "--store", stores[0], "--store", stores[1])
    assert (await host.command(*arguments))[0] == 0
    sizes = [now.size_bytes for now in await described(host)]
    volume = host.deployment.stores[0]
    text = await description_of(host, volume)
    begun = description.begun(text)
    await describe(host, volume, begun)
    code, out = await host.command(*arguments)
    assert code == 0, out
    assert out.count("unchanged") == 2
    assert [now.size_bytes for now in await described(host)] == sizes
    assert all(now.updated for now in await described(host))


async def test_a_store_of_another_domain_is_left_alone(host: DeployedHost) -> None:
    volume = host.deployment.stores[0]
    path = host.deployment.path(volume)
    document = one_store.read(path, VM).data.decode()
    new = host.root / "new.ovf"
    new.write_text(longer(document, 800))
    text = await description_of(host, volume)
    foreign = text.replace(host.deployment.domain.id, "11111111-2222-3333-4444-555555555555")
    await describe(host, volume, foreign)
    before = path.read_bytes()
    code, out = await host.command("ovf", "put", str(new), "--store", str(path))
    assert code == 1
    assert "another storage domain (11111111-2222-3333-4444-555555555555)" in out
    assert path.read_bytes() == before


async def test_a_description_that_vdsm_would_cut_is_not_set(host: DeployedHost) -> None:
    volume = host.deployment.stores[0]
    path = host.deployment.path(volume)
    document = one_store.read(path, VM).data.decode()
    text = await description_of(host, volume)
    long = text.replace("{", '{"x":"' + "y" * (210 - 7 - len(text)) + '",', 1)
    await describe(host, volume, long)
    new = host.root / "new.ovf"
    new.write_text(re.sub("<Generation>[0-9]+<", "<Generation>900<", document))
    code, out = await host.command("ovf", "put", str(new), "--store", str(path))
    assert code == 0, out
    assert "VDSM cuts what is longer than 210" in out
    assert "left as it is" in out
    assert await description_of(host, volume) == long


async def test_without_the_spm_the_description_stays_and_bounds_the_archive(host: DeployedHost) -> None:
    volume = host.deployment.stores[0]
    path = host.deployment.path(volume)
    document = one_store.read(path, VM).data.decode()
    await host.vdsm("Sim.fail", method="Volume.setDescription", code=654, message="Not SPM")
    new = host.root / "new.ovf"
    new.write_text(longer(document, 600) + " " * 300_000)
    before = path.read_bytes()
    code, out = await host.command("ovf", "put", str(new), "--store", str(path))
    assert code == 5
    assert "its description cannot be set" in out
    assert "only the storage pool's SPM host may" in out
    assert "readers stop after" in out
    assert path.read_bytes() == before
