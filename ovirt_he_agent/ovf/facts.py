"""A ``VmSpec`` as the plain object that ``ovf show --format spec`` prints.

Every key is always there; words of an enum are plain text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ovirt_he_agent.ovf import vmspec

_AS_THEY_ARE = (
    "vm_id", "name", "description", "os", "origin", "hosted_engine", "ovf_namespace", "generation",
    "export_date", "cluster_version", "memory_mib", "guaranteed_memory_mib", "max_memory_mib", "sockets",
    "cores_per_socket", "threads_per_core", "vcpus", "max_vcpus", "machine", "cpu", "host_cpu_passthrough",
    "bios", "tpm", "iothreads", "boot_menu", "start_paused", "stateless", "serial_number_policy",
    "custom_serial_number", "cpu_pinning", "custom_properties", "lease_domain_id", "graphics", "headless",
    "default_display_type_raw", "vnc_keymap", "cdrom", "controllers", "rng", "balloon", "console", "sound",
    "watchdog", "console_socket", "time_zone", "resume_behavior", "boot_devices", "kernel", "initrd",
    "kernel_parameters", "spice_file_transfer", "spice_copy_paste", "smartcard", "usb", "multi_queues",
    "virtio_scsi_multi_queues", "virtio_scsi_queues", "balloon_enabled", "cpu_policy", "active_snapshot_id",
    "warnings",
)  # fmt: skip
_IMAGE = (
    "alias", "image_id", "volume_id", "domain_id", "domain_ids", "pool_id_in_ovf", "interface", "format",
    "size_gib", "boot", "boot_order", "plugged", "read_only", "shareable", "pass_discard", "address",
    "device_alias", "snapshot_id", "custom_properties",
)  # fmt: skip
_LUN = (
    "alias", "disk_id", "lun_id", "interface", "boot", "plugged", "read_only", "shareable", "boot_order",
    "pass_discard", "scsi_reservation", "address",
)  # fmt: skip
_NIC = (
    "id", "name", "mac", "network", "profile", "model", "linked", "plugged", "boot_order", "address",
    "device", "alias", "custom_properties",
)  # fmt: skip
_NUMA_CELL = ("index", "cpus", "memory_mib", "host_nodes", "tune_mode")
_DEVICE = (
    "kind", "device", "id", "alias", "address", "boot_order", "plugged", "read_only", "spec",
    "custom_properties",
)  # fmt: skip


def of(spec: vmspec.VmSpec) -> dict[str, Any]:
    """The facts of ``spec``, ready for ``json.dumps``."""
    facts = _fields(spec, _AS_THEY_ARE)
    facts["numa_cells"] = [_fields(cell, _NUMA_CELL) for cell in spec.numa_cells]
    facts["disks"] = [_disk(disk) for disk in spec.disks]
    facts["nics"] = [_fields(nic, _NIC) for nic in spec.nics]
    facts["video"] = [_fields(video, ("device", "spec")) for video in spec.video]
    facts["devices"] = [_fields(device, _DEVICE) for device in spec.devices]
    facts |= _engine_xml(spec.engine_xml, spec.vm_id)
    facts["boot_disk_volume_id"] = spec.boot_disk.volume_id if spec.boot_disk else None
    facts["must_not_boot_volume_ids"] = [disk.volume_id for disk in spec.must_not_boot]
    facts["non_leaf_volume_ids"] = [
        volume_id
        for disk in spec.disks
        if isinstance(disk, vmspec.ImageDisk)
        for volume_id in disk.backing_volume_ids
    ]
    return facts


def _fields(value: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: _plain(getattr(value, name)) for name in names}


def _plain(value: object) -> object:
    match value:
        case str():
            return str(value)
        case tuple():
            return [_plain(part) for part in value]
        case Mapping():
            return dict(value)
    return value


def _disk(disk: vmspec.ImageDisk | vmspec.LunDisk) -> dict[str, Any]:
    if isinstance(disk, vmspec.LunDisk):
        return {"storage": "lun", **_fields(disk, _LUN)}
    return {"storage": "image", **_fields(disk, _IMAGE), "chain_length": len(disk.backing_volume_ids) + 1}


def _engine_xml(embedded: vmspec.EngineXml | None, vm_id: str) -> dict[str, Any]:
    leases = embedded.leases if embedded else ()
    vm_lease = next((lease for lease in leases if lease.key == vm_id), None)
    volume_leases = sorted(
        (lease for lease in leases if lease.key != vm_id), key=lambda lease: (lease.key, lease.lockspace)
    )
    return {
        "has_engine_xml": embedded is not None,
        "engine_xml_well_formed": embedded.well_formed if embedded else None,
        "engine_xml_uuid": embedded.uuid if embedded else None,
        "engine_xml_usable": embedded.usable if embedded else False,
        "engine_xml_exclusive_disks": list(embedded.exclusive_volume_ids) if embedded else [],
        "engine_xml_volume_leases": [
            {"key": lease.key or None, "lockspace": lease.lockspace or None} for lease in volume_leases
        ],
        "engine_xml_vm_lease": {
            "key": vm_lease.key,
            "lockspace": vm_lease.lockspace or None,
            "path": vm_lease.path,
            "offset": vm_lease.offset_bytes,
        }
        if vm_lease
        else None,
        "engine_xml_console_alias": embedded.console_alias if embedded else None,
        "engine_xml_min_guaranteed_mib": embedded.min_guaranteed_mib if embedded else None,
        "legacy_path_must_add": [str(word) for word in embedded.missing] if embedded else [],
    }
