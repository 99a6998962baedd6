"""VDSM's answers and events as typed values.

Shapes: vdsm: lib/vdsm/api/vdsm-api.yml, and what VDSM really sends where it deviates.

Every function raises ``BadReply`` with verb and field, and nothing else.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovirt_he_agent.adapters.vdsm.failures import BadReply
from ovirt_he_agent.adapters.vdsm.fields import Fields, flag, number, rows, text, texts, whole, wholes
from ovirt_he_agent.core import model
from ovirt_he_agent.wire import jsonrpc


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainInfo:
    domain_id: str
    name: str
    type: str
    """``NFS``, ``ISCSI``, ..."""
    version: int
    block_size_bytes: int | None
    alignment_bytes: int | None
    pool_ids: tuple[str, ...]
    remote_path: str | None
    """``server:/export`` of a file domain."""

    @property
    def is_block(self) -> bool:
        """vdsm: lib/vdsm/storage/sd.py (BLOCK_DOMAIN_TYPES)."""
        return self.type in ("ISCSI", "FCP")


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpace:
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalLease:
    """Where a lease of the domain's xleases volume lies."""

    path: Path
    offset_bytes: int


def vm_report(verb: str, row: Fields) -> model.VmReport:
    """A row of ``VM.getStats`` or ``Host.getAllVmStats``, or the result of ``VM.create``."""
    return _vm_report(row, row.need("vmId", text), row.need("statusTime", whole))


def vm_reports(verb: str, result: object) -> tuple[model.VmReport, ...]:
    return tuple(vm_report(verb, row) for row in rows(verb, result))


def vm_report_of_event(event: jsonrpc.Event) -> model.VmReport:
    name = f"event {event.subject}"
    status = Fields(name, event.params).inner(event.object_id)
    if status is None:
        raise BadReply(name, event.object_id, "is missing")
    return _vm_report(status, event.object_id, event.notify_time)


def _vm_report(fields: Fields, vm_id: str, event_time: int) -> model.VmReport:
    word = fields.need("status", text)
    return model.VmReport(
        vm_id=vm_id,
        status=_status(word),
        status_text=word,
        event_time=event_time,
        exit_code=fields.want("exitCode", whole),
        exit_reason=_exit_reason(fields.want("exitReason", whole)),
        exit_message=fields.want("exitMessage", text),
        pause_code=fields.want("pauseCode", text),
    )


def _status(word: str) -> model.VmStatus:
    try:
        return model.VmStatus(word)
    except ValueError:
        return model.VmStatus.OTHER


def _exit_reason(code: int | None) -> model.ExitReason | None:
    try:
        return None if code is None else model.ExitReason(code)
    except ValueError:
        return None  # a newer VDSM's; the message says more


def vm_cpu(verb: str, row: Fields) -> model.VmCpu | None:
    """A row of ``VM.getStats``; None: the VM is down, VDSM only remembers it.

    Old VDSM has no ``cpuActual``; there a ``cpuUsage`` of 0.00 is an initial value (he-ha:
    broker/submonitors/cpu_load_no_engine.py).
    """
    if row.need("status", text) == model.VmStatus.DOWN:
        return None
    user, system = row.want("cpuUser", number), row.want("cpuSys", number)
    if user is None or system is None:  # right after the start, and while it is migrated in
        return model.VmCpu(percent=None, is_real=False)
    is_real = row.want("cpuActual", flag)
    if is_real is None:
        is_real = row.want("cpuUsage", text) not in (None, "0.00")
    return model.VmCpu(percent=user + system, is_real=is_real)


def host_stats(verb: str, result: object) -> model.HostStats:
    stats = Fields(verb, result)
    network, ha = stats.inner("network"), stats.inner("haStats")
    return model.HostStats(
        mem_free_mib=stats.want("memFree", whole),
        cpu_load=stats.want("cpuLoad", number),
        network_up=None if network is None else _links(network),
        ha=None if ha is None else _ha_stats(ha),
        ha_score=stats.want("haScore", whole),
    )


def _links(network: Fields) -> Mapping[str, bool]:
    states = {name: link.want("state", text) for name, link in network.items()}
    return {name: state == "up" for name, state in states.items() if state is not None}


def _ha_stats(ha: Fields) -> model.HaStats:
    return model.HaStats(
        configured=ha.need("configured", flag),
        active=ha.need("active", flag),
        score=ha.need("score", whole),
        global_maintenance=ha.need("globalMaintenance", flag),
        local_maintenance=ha.need("localMaintenance", flag),
    )


def vitals(verb: str, result: object, domain_ids: Collection[str]) -> dict[str, model.DomainVitals]:
    """The asked domains of ``Host.getStorageRepoStats``; an absent one is not monitored."""
    return {
        domain_id: model.DomainVitals(
            domain_id=domain_id,
            code=row.need("code", whole),
            valid=row.need("valid", flag),
            acquired=row.need("acquired", flag),
            actual=row.need("actual", flag),
            delay_s=row.need("delay", number),
            last_check_s=row.need("lastCheck", number),
        )
        for domain_id in domain_ids
        if (row := Fields(verb, result).inner(domain_id)) is not None
    }


def connection_statuses(verb: str, result: object) -> list[tuple[str, int]]:
    return [(row.need("id", text), row.need("status", whole)) for row in rows(verb, result)]


def domain_info(verb: str, result: object) -> DomainInfo:
    info = Fields(verb, result)
    return DomainInfo(
        domain_id=info.need("uuid", text),
        name=info.need("name", text),
        type=info.need("type", text),
        version=info.need("version", whole),
        block_size_bytes=info.want("block_size", whole),
        alignment_bytes=info.want("alignment", whole),
        pool_ids=info.want("pool", texts) or (),
        remote_path=info.want("remotePath", text),
    )


def domain_space(verb: str, result: object) -> DomainSpace:
    stats = Fields(verb, result)
    return DomainSpace(
        total_bytes=stats.need("disktotal", whole),
        free_bytes=stats.need("diskfree", whole),
    )


def ids(verb: str, result: object) -> tuple[str, ...]:
    try:
        return texts(result)
    except ValueError as e:
        raise BadReply(verb, "result", f"is not {e}") from None


def volume_info(
    verb: str, result: object, *, domain_id: str, image_id: str, volume_id: str
) -> model.VolumeInfo:
    info = Fields(verb, result)
    kind = info.want("voltype", text)
    return model.VolumeInfo(
        domain_id=domain_id,
        image_id=image_id,
        volume_id=volume_id,
        is_leaf=None if kind is None else kind == "LEAF",
        description=info.want("description", text) or "",
        disk_type=info.want("disktype", text),
        apparent_size_bytes=info.want("apparentsize", whole),
        lease=_lease(info.inner("lease")),
    )


def _lease(lease: Fields | None) -> model.VolumeLease | None:
    """safety: VDSM leaves ``owners`` out when the lease needs repair. That is unknown, not free."""
    owners = None if lease is None else lease.want("owners", wholes)
    if lease is None or owners is None:
        return None
    return model.VolumeLease(
        path=lease.need("path", text), offset_bytes=lease.need("offset", whole), owners=owners
    )


def prepared_path(verb: str, result: object) -> Path:
    return Path(Fields(verb, result).need("path", text))


def external_lease(verb: str, result: object) -> ExternalLease:
    lease = Fields(verb, result)
    return ExternalLease(path=Path(lease.need("path", text)), offset_bytes=lease.need("offset", whole))


def bridges(verb: str, result: object) -> dict[str, str]:
    """Network to bridge, of ``Host.getCapabilities`` (vdsm: lib/vdsm/network/netinfo/cache.py)."""
    networks = Fields(verb, result).inner("networks")
    if networks is None:
        raise BadReply(verb, "networks", "is missing")
    return {
        name: network.need("iface", text)
        for name, network in networks.items()
        if network.need("bridged", flag)
    }


def capabilities(verb: str, result: object) -> Mapping[str, Any]:
    if not isinstance(result, dict):
        raise BadReply(verb, "result", f"is a {type(result).__name__}, not an object")
    return result
