"""The storage verbs over file storage domains below the root.

Model: vdsm: lib/vdsm/storage/hsm.py, sd.py, fileSD.py, volume.py, storageServer.py. The
storage servers are ``exports/<server:_path>`` below the root; to connect one is
to link it into rhev/data-center/mnt, to disconnect it removes the link. The
host is connected to one pool, ``POOL_ID``, as its SPM; a domain is in that pool
from StorageDomain.activate to deactivate.
"""

from collections.abc import Mapping
from pathlib import Path

from ovirt_he_agent.sim import storage_domain
from ovirt_he_agent.sim.storage_domain import BLANK_UUID
from ovirt_he_agent.sim.vdsm import domain_xml, monitor, owners, refusals, rpc, tasks, vm_leases

POOL_ID = "00000001-0001-0001-0001-000000000001"
FILE_TYPES = (1, 4, 6, 7)
"""domainType: NFS, local, POSIX, GlusterFS."""

MOUNT_PROBLEM = 477
CONNECTION_FAILED = 451


class Storage:
    def __init__(self, root: Path, host_id: int, *, check_every_s: float) -> None:
        self._exports = root / "exports"
        self._mounts = root / "rhev" / "data-center" / "mnt"
        self._prepared = root / "run" / "vdsm" / "storage"
        self._host_id = host_id
        self.monitor = monitor.Monitor(self._domain, check_every_s=check_every_s)
        self._tasks = tasks.Tasks()
        self._vm_leases = vm_leases.VmLeases(self._domain, self.monitor, self._tasks)

    def verbs(self) -> Mapping[str, rpc.Verb]:
        return {
            **self._tasks.verbs(),
            **self._vm_leases.verbs(),
            "Host.startMonitoringDomain": self.start_monitoring,
            "Host.stopMonitoringDomain": self.stop_monitoring,
            "Host.getStorageRepoStats": self.get_repo_stats,
            "Host.getConnectedStoragePools": self.get_pools,
            "Host.getStorageDomains": self.get_domains,
            "StoragePool.connectStorageServer": self.connect_server,
            "StoragePool.disconnectStorageServer": self.disconnect_server,
            "StorageDomain.getInfo": self.get_domain_info,
            "StorageDomain.getStats": self.get_domain_stats,
            "StorageDomain.getImages": self.get_images,
            "StorageDomain.getVolumes": self.get_volumes,
            "StorageDomain.activate": self.activate,
            "StorageDomain.deactivate": self.deactivate,
            "Image.prepare": self.prepare_image,
            "Image.teardown": self.teardown_image,
            "Image.getVolumes": self.get_image_volumes,
            "Volume.getInfo": self.get_volume_info,
            "Volume.getSize": self.get_volume_size,
            "Volume.setDescription": self.set_volume_description,
        }

    # Every plain function blocks: the RPC layer runs it in its worker's thread.

    def _domain(self, domain_id: object) -> storage_domain.StorageDomain:
        """Raises ``Refused`` (358)."""
        found = storage_domain.find(self._mounts, str(domain_id)) if storage_domain.is_name(domain_id) else []
        if not found:
            raise refusals.no_such_domain(domain_id)
        return found[0]

    @staticmethod
    def _check_pool(pool_id: object) -> None:
        if pool_id != POOL_ID:
            raise refusals.unknown_pool(pool_id)

    # host

    async def start_monitoring(self, sdUUID: str, hostID: object) -> None:
        self.monitor.start(sdUUID, int(str(hostID)))

    async def stop_monitoring(self, sdUUID: str) -> None:
        await self.monitor.stop(sdUUID)

    async def get_repo_stats(self, domains: object = ()) -> dict[str, object]:
        wanted = frozenset(domains) if isinstance(domains, list | tuple) else frozenset()
        return self.monitor.vitals(wanted)

    async def get_pools(self) -> list[str]:
        return [POOL_ID]

    def get_domains(
        self,
        storagepoolID: object = None,
        domainClass: object = None,
        storageType: object = None,
        remotePath: object = None,
    ) -> list[str]:
        return [
            domain.id
            for domain in storage_domain.find(self._mounts)
            if remotePath in (None, "", domain.metadata()["REMOTE_PATH"])
        ]

    # servers

    def connect_server(
        self, storagepoolID: object, domainType: object, connectionParams: list[dict[str, object]]
    ) -> list[dict[str, object]]:
        if not connectionParams:
            raise refusals.bad_storage_parameter("conList", connectionParams)
        return [
            {"id": connection["id"], "status": self._connect(domainType, connection)}
            for connection in connectionParams
        ]

    def _connect(self, domain_type: object, connection: dict[str, object]) -> int:
        if domain_type not in FILE_TYPES:
            return CONNECTION_FAILED
        name = storage_domain.mount_name(str(connection["connection"]))
        mount, export = self._mounts / name, self._exports / name
        if mount.is_dir():
            return 0
        if not export.is_dir():
            return MOUNT_PROBLEM
        self._mounts.mkdir(parents=True, exist_ok=True)
        mount.symlink_to(export.resolve())
        return 0

    def disconnect_server(
        self, storagepoolID: object, domainType: object, connectionParams: list[dict[str, object]]
    ) -> list[dict[str, object]]:
        for connection in connectionParams:
            mount = self._mounts / storage_domain.mount_name(str(connection["connection"]))
            if mount.is_symlink():
                mount.unlink()
        return [{"id": connection["id"], "status": 0} for connection in connectionParams]

    # domains

    def get_domain_info(self, storagedomainID: object) -> dict[str, object]:
        domain = self._domain(storagedomainID)
        metadata = domain.metadata()
        return {
            "uuid": domain.id,
            "type": metadata["TYPE"],
            "class": metadata["CLASS"],
            "name": metadata["DESCRIPTION"],
            "role": metadata["ROLE"],
            "pool": [pool for pool in metadata["POOL_UUID"].split(",") if pool],
            "version": metadata["VERSION"],
            "block_size": int(metadata["BLOCK_SIZE"]),
            "alignment": int(metadata["ALIGNMENT"]),
            "remotePath": metadata["REMOTE_PATH"],
        }

    def get_domain_stats(self, storagedomainID: object) -> dict[str, object]:
        domain = self._domain(storagedomainID)
        try:
            total, free = domain.space()
        except OSError as e:
            raise refusals.domain_not_accessible(domain.id) from e
        return {
            "disktotal": str(total),
            "diskfree": str(free),
            "mdavalid": True,
            "mdathreshold": True,
            "mdasize": 0,
            "mdafree": 0,
        }

    def get_images(self, storagedomainID: object) -> list[str]:
        return self._domain(storagedomainID).images()

    def get_volumes(
        self, storagedomainID: object, storagepoolID: object = BLANK_UUID, imageID: str = BLANK_UUID
    ) -> list[str]:
        return self._domain(storagedomainID).volumes(imageID)

    async def activate(self, storagedomainID: str, storagepoolID: object) -> None:
        self._check_pool(storagepoolID)
        await rpc.in_thread(self._domain, storagedomainID)
        self.monitor.start(storagedomainID, self._host_id, in_pool=True)

    async def deactivate(
        self,
        storagedomainID: str,
        storagepoolID: object,
        masterSdUUID: object = None,
        masterVersion: object = None,
    ) -> None:
        self._check_pool(storagepoolID)
        await self.monitor.leave_pool(storagedomainID)

    # images

    def prepare_image(
        self,
        storagepoolID: object,
        storagedomainID: object,
        imageID: str,
        volumeID: str,
        allowIllegal: object = False,
    ) -> dict[str, str]:
        if storagepoolID != BLANK_UUID:
            self._check_pool(storagepoolID)
        domain = self._domain(storagedomainID)
        if volumeID not in domain.volumes(imageID):
            raise refusals.no_such_volume(volumeID)
        for volume_id in domain.volumes(imageID):
            if domain.volume_metadata(imageID, volume_id)["LEGALITY"] == "ILLEGAL" and not allowIllegal:
                raise refusals.illegal_volume(volume_id)
        link = self._prepared / domain.id / imageID
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(domain.image_path(imageID))
        return {"path": str(link / volumeID)}

    def teardown_image(
        self, storagepoolID: object, storagedomainID: object, imageID: str, volumeID: object = None
    ) -> None:
        domain = self._domain(storagedomainID)
        (self._prepared / domain.id / imageID).unlink(missing_ok=True)

    def get_image_volumes(self, imageID: str, storagepoolID: object, storagedomainID: object) -> list[str]:
        return self._domain(storagedomainID).volumes(imageID)

    def prepare_for_vm(self, image: domain_xml.Image) -> domain_xml.PreparedImage:
        """For the launch of a VM. Raises ``LaunchFailed``."""
        try:
            path = self.prepare_image(image.pool_id, image.domain_id, image.image_id, image.volume_id)["path"]
        except refusals.Refused as e:
            raise domain_xml.LaunchFailed(f"Bad volume specification {image}: {e}") from e
        lease = self._domain(image.domain_id).lease_path(image.image_id, image.volume_id)
        return domain_xml.PreparedImage(path=path, lease_path=str(lease), lease_offset=0)

    # volumes

    async def get_volume_info(
        self, volumeID: str, storagepoolID: object, storagedomainID: object, imageID: str
    ) -> dict[str, object]:
        domain, info = await rpc.in_thread(self._volume_info, storagedomainID, imageID, volumeID)
        lease_path = domain.lease_path(imageID, volumeID)
        lease: dict[str, object] = {"path": str(lease_path), "offset": 0}
        info["lease"] = lease | await owners.inspect(self.monitor, domain, volumeID, lease_path, 0)
        return info

    def _volume_info(
        self, domain_id: object, image_id: str, volume_id: str
    ) -> tuple[storage_domain.StorageDomain, dict[str, object]]:
        domain = self._domain(domain_id)
        metadata = _volume_metadata(domain, image_id, volume_id)
        st = domain.volume_path(image_id, volume_id).stat()
        return domain, {
            "uuid": volume_id,
            "type": metadata["TYPE"],
            "format": metadata["FORMAT"],
            "disktype": metadata["DISKTYPE"],
            "voltype": metadata["VOLTYPE"],
            "capacity": metadata["CAP"],
            "parent": metadata["PUUID"],
            "description": metadata["DESCRIPTION"],
            "pool": "",
            "domain": metadata["DOMAIN"],
            "image": metadata["IMAGE"],
            "ctime": metadata["CTIME"],
            "mtime": "0",
            "legality": metadata["LEGALITY"],
            "generation": int(metadata["GEN"]),
            "sequence": int(metadata["SEQ"]),
            "apparentsize": str(st.st_size),
            "truesize": str(st.st_blocks * 512),
            "status": "ILLEGAL" if metadata["LEGALITY"] == "ILLEGAL" else "OK",
            "children": [],
        }

    def get_volume_size(
        self, volumeID: str, storagepoolID: object, storagedomainID: object, imageID: str
    ) -> dict[str, str]:
        domain = self._domain(storagedomainID)
        _volume_metadata(domain, imageID, volumeID)
        st = domain.volume_path(imageID, volumeID).stat()
        return {"apparentsize": str(st.st_size), "truesize": str(st.st_blocks * 512)}

    def set_volume_description(
        self,
        volumeID: str,
        storagepoolID: object,
        storagedomainID: object,
        imageID: str,
        description: object,
    ) -> None:
        self._check_pool(storagepoolID)
        domain = self._domain(storagedomainID)
        _volume_metadata(domain, imageID, volumeID)
        domain.set_description(imageID, volumeID, str(description))


def _volume_metadata(domain: storage_domain.StorageDomain, image_id: str, volume_id: str) -> dict[str, str]:
    try:
        return domain.volume_metadata(image_id, volume_id)
    except storage_domain.NoSuchImage as e:
        raise refusals.no_image_path(str(e.path)) from e
    except storage_domain.NoSuchVolume as e:
        raise refusals.no_such_volume(volume_id) from e
