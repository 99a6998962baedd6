"""``ovf put`` on a host whose VDSM sets the descriptions: before, after, and when it refuses to."""

import re

import pytest

from ovirt_he_agent.adapters.ovfstore import one_store
from ovirt_he_agent.ovf import description
from tests.deployed_host import VM, DeployedHost

pytestmark = pytest.mark.real("sanlock", "direct-io", "openssl")


async def described(host: DeployedHost) -> list[description.StoreDescription]:
    found = []
    for volume in host.deployment.stores:
        info = await host.vdsm(
            "Volume.getInfo",
            storagepoolID="00000000-0000-0000-0000-000000000000",
            storagedomainID=host.deployment.domain.id,
            imageID=volume.image_id,
            volumeID=volume.volume_id,
        )
        parsed = description.parse(info["description"])
        assert parsed is not None
        found.append(parsed)
    return found


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
    assert "readers stop after" in out
    assert path.read_bytes() == before
