"""A deployed hosted engine: the shared storage domain with everything in it, and each host's files.

What ``hosted-engine --deploy`` and the engine leave behind. Tests and the demo
stand on it. Writing leases needs a running sanlock daemon (SANLOCK_RUN_DIR).
Layouts: ovirt-hosted-engine-setup (ansible role), ovirt-hosted-engine-ha
(env/constants.py, lib/metadata.py), ovirt-engine (OVF_STORE).
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ovirt_he_agent.adapters import leases
from ovirt_he_agent.core import model
from ovirt_he_agent.sim import engine_archives, storage_domain
from ovirt_he_agent.sim.engine_archives import StoreContent
from ovirt_he_agent.sim.storage_domain import BLANK_UUID, MIB

VM_ID = "b6bd28c6-cb69-431f-ad65-37efa6931f8c"
DOMAIN_ID = "76a79a20-8ce3-432d-8c1e-112b88ef9510"
CONNECTION = "storage.example.org:/exports/hosted_engine"
HA_LOCKSPACE = "hosted-engine"
SLOT_BYTES = 4096
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Volume:
    """One raw volume of the domain, alone in its image."""

    image_id: str
    volume_id: str


VM_DISK = Volume("75413438-ca10-48f6-925b-537723a60606", "e2831e18-ce81-4abd-bab7-ae470b5b61a6")
"""The ids that the engine VM's document names."""

LOCKSPACE = Volume("5f0d7a36-0f0e-4e7b-8d0c-5b7f9f6d1a01", "0b5a6a0e-3c43-4f3a-9a7d-0d6a4f6e7b01")
WHITEBOARD = Volume("5f0d7a36-0f0e-4e7b-8d0c-5b7f9f6d1a02", "0b5a6a0e-3c43-4f3a-9a7d-0d6a4f6e7b02")
CONFIGURATION = Volume("5f0d7a36-0f0e-4e7b-8d0c-5b7f9f6d1a03", "0b5a6a0e-3c43-4f3a-9a7d-0d6a4f6e7b03")
STORE_BYTES = 128 * MIB

TWO_STORES = (StoreContent(age=timedelta(hours=26), generation=11), StoreContent())
"""A stale one and the current one, as the engine keeps them."""


def _store_volume(number: int) -> Volume:
    return Volume(
        f"5f0d7a36-0f0e-4e7b-8d0c-5b7f9f6d1b{number:02x}", f"0b5a6a0e-3c43-4f3a-9a7d-0d6a4f6e7c{number:02x}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """All ids and paths. ``domain`` is reached through the storage's own directory, not through a mount."""

    domain: storage_domain.StorageDomain
    connection: str
    roots: Mapping[int, Path]
    """Host id to the root of that host."""
    io_timeout_s: int
    vm_id: str = VM_ID
    vm_disk: Volume = VM_DISK
    lockspace: Volume = LOCKSPACE
    whiteboard: Volume = WHITEBOARD
    configuration: Volume = CONFIGURATION
    stores: tuple[Volume, ...]

    def path(self, volume: Volume) -> Path:
        return self.domain.volume_path(volume.image_id, volume.volume_id)

    def lease_path(self, volume: Volume) -> Path:
        return self.domain.lease_path(volume.image_id, volume.volume_id)

    def ha_lockspace(self) -> model.Lockspace:
        """Host ids of the HA agents."""
        return model.Lockspace(name=HA_LOCKSPACE, path=self.path(self.lockspace))

    def configuration_file(self, host_id: int) -> Path:
        return self.roots[host_id] / "etc" / "ovirt-hosted-engine" / "hosted-engine.conf"

    def ha_conf(self, host_id: int) -> Path:
        return self.roots[host_id] / "var" / "lib" / "ovirt-hosted-engine-ha" / "ha.conf"


def build(
    storage: Path,
    roots: Mapping[int, Path],
    *,
    stores: Sequence[StoreContent] = TWO_STORES,
    io_timeout_s: int = 1,
    connection: str = CONNECTION,
    mounted: bool = True,
    conf: Mapping[str, str] | None = None,
) -> Deployment:
    """Create the domain in ``storage`` and deploy the hosts, by id, in their roots.

    ``io_timeout_s`` goes into both lockspaces: sanlock's timings follow it.
    ``mounted``: false leaves the storage server unconnected on every host.
    ``conf`` replaces keys of hosted-engine.conf. Raises ``leases.CallFailed``
    without a sanlock daemon, ``OSError``.
    """
    storage.mkdir(parents=True, exist_ok=True)
    domain = storage_domain.StorageDomain.create(storage, connection, domain_id=DOMAIN_ID)
    domain.write_lockspace(io_timeout_s=io_timeout_s)
    deployment = Deployment(
        domain=domain,
        connection=connection,
        roots={host_id: root.absolute() for host_id, root in roots.items()},
        io_timeout_s=io_timeout_s,
        stores=tuple(_store_volume(number) for number in range(len(stores))),
    )
    for volume, size, alias, disk_type in (
        (VM_DISK, GIB, "he_virtio_disk", "HEVD"),
        (LOCKSPACE, GIB, "he_sanlock", "HESD"),
        (WHITEBOARD, 128 * MIB, "he_metadata", "HEMD"),
        (CONFIGURATION, GIB, "HostedEngineConfigurationImage", "HECI"),
        *((volume, STORE_BYTES, "OVF_STORE", "OVFS") for volume in deployment.stores),
    ):
        text = json.dumps({"DiskAlias": alias, "DiskDescription": alias}, separators=(",", ":"))
        domain.create_volume(volume.image_id, volume.volume_id, size, description=text, disk_type=disk_type)
        domain.write_lease(volume.image_id, volume.volume_id)
    leases.write_lockspace(deployment.ha_lockspace(), io_timeout_s=io_timeout_s)
    _write_at(deployment.path(WHITEBOARD), 0, bytes(MIB))
    set_global_maintenance(deployment, enabled=False)
    for number, content in enumerate(stores):
        write_ovf_store(deployment, number, content)
    for host_id in deployment.roots:
        _deploy_host(deployment, host_id, storage.absolute(), mounted=mounted, conf=conf or {})
    first = min(deployment.roots)
    _write_at(
        deployment.path(CONFIGURATION),
        0,
        engine_archives.configuration(_shared_files(deployment.configuration_file(first).read_text())),
    )
    return deployment


def _write_at(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as f:
        os.pwrite(f.fileno(), data, offset)
        os.fsync(f.fileno())


# the whiteboard


def write_slot(deployment: Deployment, number: int, content: bytes) -> None:
    """Slot ``number``, NUL padded; 0 is the global one."""
    _write_at(
        deployment.path(deployment.whiteboard),
        number * SLOT_BYTES,
        content.ljust(SLOT_BYTES, b"\0")[:SLOT_BYTES],
    )


def set_global_maintenance(deployment: Deployment, *, enabled: bool) -> None:
    write_slot(deployment, 0, b"maintenance=1" if enabled else b"maintenance=0")


# OVF_STOREs


def write_ovf_store(deployment: Deployment, number: int, content: StoreContent) -> None:
    """Update store ``number`` as the engine does on a file domain: mark it, truncate, write, mark it good.

    With ``content.updated`` false the last step is missing.
    """
    volume = deployment.stores[number]
    archive = engine_archives.ovf_store(deployment.domain.id, deployment.vm_id, content)
    _describe(deployment, volume, engine_archives.description(deployment.domain.id, content, None))
    with deployment.path(volume).open("wb") as f:
        f.write(archive)
        f.flush()
        os.fsync(f.fileno())
    if content.updated:
        _describe(
            deployment, volume, engine_archives.description(deployment.domain.id, content, len(archive))
        )


def tear_ovf_store(deployment: Deployment, number: int, keep_bytes: int) -> None:
    """Cut the archive short, as a reader sees it during an update; its description stays."""
    os.truncate(deployment.path(deployment.stores[number]), keep_bytes)


def describe_ovf_store(deployment: Deployment, number: int, description: str) -> None:
    """Any description, also a wrong one."""
    _describe(deployment, deployment.stores[number], description)


def _describe(deployment: Deployment, volume: Volume, description: str) -> None:
    deployment.domain.set_description(volume.image_id, volume.volume_id, description)


# hosts


def _deploy_host(
    deployment: Deployment, host_id: int, storage: Path, *, mounted: bool, conf: Mapping[str, str]
) -> None:
    root = deployment.roots[host_id]
    name = storage_domain.mount_name(deployment.connection)
    for directory, wanted in (("exports", True), ("rhev/data-center/mnt", mounted)):
        (root / directory).mkdir(parents=True, exist_ok=True)
        if wanted:
            (root / directory / name).symlink_to(storage)
    path = deployment.configuration_file(host_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {**_hosted_engine_conf(deployment, host_id), **conf}
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    ha_conf = deployment.ha_conf(host_id)
    ha_conf.parent.mkdir(parents=True, exist_ok=True)
    ha_conf.write_text("local_maintenance=False\nlocal_maintenance_manual=False\n")


def _hosted_engine_conf(deployment: Deployment, host_id: int) -> dict[str, str]:
    return {
        "fqdn": "engine.example.org",
        "vm_disk_id": deployment.vm_disk.image_id,
        "vm_disk_vol_id": deployment.vm_disk.volume_id,
        "vmid": deployment.vm_id,
        "storage": deployment.connection,
        "nfs_version": "auto",
        "mnt_options": "",
        "conf": "/var/run/ovirt-hosted-engine-ha/vm.conf",
        "host_id": str(host_id),
        "console": "vnc",
        "domainType": "nfs",
        "spUUID": BLANK_UUID,
        "sdUUID": deployment.domain.id,
        "connectionUUID": "e29cf818-5ee5-46e1-85c1-8aeefa33e95d",
        "vdsm_use_ssl": "true",
        "gateway": "127.0.0.1",
        "bridge": "ovirtmgmt",
        "network_test": "none",
        "tcp_t_address": "",
        "tcp_t_port": "",
        "metadata_volume_UUID": deployment.whiteboard.volume_id,
        "metadata_image_UUID": deployment.whiteboard.image_id,
        "lockspace_volume_UUID": deployment.lockspace.volume_id,
        "lockspace_image_UUID": deployment.lockspace.image_id,
        "conf_volume_UUID": deployment.configuration.volume_id,
        "conf_image_UUID": deployment.configuration.image_id,
        "iqn": "",
        "portal": "",
        "user": "",
        "password": "",
        "port": "",
    }


def _shared_files(hosted_engine_conf: str) -> dict[str, str]:
    """What the configuration archive holds: written once at the deployment, stale from then on."""
    shared = "".join(
        line for line in hosted_engine_conf.splitlines(keepends=True) if not line.startswith("host_id=")
    )
    return {
        "version": "2.5.2",
        "fhanswers.conf": "[environment:default]\nOVEHOSTED_NETWORK/fqdn=str:engine.example.org\n",
        "hosted-engine.conf": shared,
        "broker.conf": "[email]\nsmtp-server=localhost\n\n[notify]\nstate_transition=maintenance\n",
        "vm.conf": f"vmId={VM_ID}\nmemSize=4096\ndisplay=vnc\nvmName=HostedEngine\n",
    }
