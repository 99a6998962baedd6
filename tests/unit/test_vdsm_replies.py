"""VDSM's answers as typed values: numbers as strings, absent fields, and errors that name the field."""

from typing import Any

import pytest

from ovirt_he_agent.adapters.vdsm import replies
from ovirt_he_agent.adapters.vdsm.failures import BadReply
from ovirt_he_agent.adapters.vdsm.fields import Fields
from ovirt_he_agent.adapters.vdsm.news import News
from ovirt_he_agent.core import model
from ovirt_he_agent.wire import jsonrpc

VM_ID = "5fa1c0de-0000-4000-8000-00000000beef"
SD_ID = "11111111-1111-1111-1111-111111111111"


def vm(**changes: object) -> dict[str, object]:
    return {"vmId": VM_ID, "status": "Up", "statusTime": "2149267470", **changes}


def read_vm(row: dict[str, object]) -> model.VmReport:
    return replies.vm_report("VM.getStats", Fields("VM.getStats", row))


def test_vm_that_is_down_has_its_exit() -> None:
    report = read_vm(vm(status="Down", exitCode=1, exitReason="1", exitMessage="no lock", timeOffset="0"))
    assert report.status is model.VmStatus.DOWN
    assert (report.exit_code, report.exit_reason, report.exit_message) == (
        1,
        model.ExitReason.GENERIC_ERROR,
        "no lock",
    )


def test_words_and_reasons_of_a_newer_vdsm_are_not_guessed() -> None:
    report = read_vm(vm(status="Teleporting", exitReason=99))
    assert (report.status, report.status_text) == (model.VmStatus.OTHER, "Teleporting")
    assert report.exit_reason is None


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (vm(status=None), "status"),
        (vm(status=7), "status"),
        (vm(statusTime="soon"), "statusTime"),
        (vm(statusTime=True), "statusTime"),
        (vm(vmId=None), "vmId"),
        (vm(exitCode="bad"), "exitCode"),
    ],
)
def test_unusable_vm_names_verb_and_field(row: dict[str, object], field: str) -> None:
    with pytest.raises(BadReply, match=rf"answer to VM.getStats .*: {field} is") as caught:
        read_vm(row)
    assert caught.value.field == field


def test_reports_are_ordered_by_number_not_by_text() -> None:
    old, new = read_vm(vm(statusTime="9999999999")), read_vm(vm(statusTime="10000000000"))
    assert model.newer(new, old)
    assert not model.newer(old, new)
    assert not model.newer(old, old)


VITALS: dict[str, object] = {
    "code": 0,
    "lastCheck": "1.2",
    "delay": "0.000412",
    "valid": True,
    "version": 5,
    "acquired": "true",
    "actual": True,
}


def test_vitals_accept_numbers_as_strings_and_leave_out_unmonitored_domains() -> None:
    found = replies.vitals("Host.getStorageRepoStats", {SD_ID: VITALS}, [SD_ID, VM_ID])
    assert found == {
        SD_ID: model.DomainVitals(
            domain_id=SD_ID,
            code=0,
            valid=True,
            acquired=True,
            actual=True,
            delay_s=0.000412,
            last_check_s=1.2,
        )
    }


@pytest.mark.parametrize("delay", ["nan", "inf", "", None, [], True])
def test_vitals_without_a_real_delay_are_refused(delay: object) -> None:
    with pytest.raises(BadReply) as caught:
        replies.vitals("Host.getStorageRepoStats", {SD_ID: {**VITALS, "delay": delay}}, [SD_ID])
    assert caught.value.field == f"{SD_ID}.delay"


def volume(**changes: object) -> model.VolumeInfo:
    result: dict[str, object] = {
        "voltype": "LEAF",
        "description": "{}",
        "disktype": "DATA",
        "apparentsize": "134217728",
        "lease": {"path": "/x.lease", "offset": "0", "owners": ["1"], "version": 3},
    }
    return replies.volume_info(
        "Volume.getInfo", {**result, **changes}, domain_id="d", image_id="i", volume_id="v"
    )


def test_volume_shows_its_size_and_lease() -> None:
    info = volume()
    assert (info.is_leaf, info.apparent_size_bytes) == (True, 134217728)
    assert info.lease == model.VolumeLease(path="/x.lease", offset_bytes=0, owners=(1,))


@pytest.mark.parametrize("lease", [None, {"path": "/x.lease", "offset": 0}, {"path": "/x", "owners": None}])
def test_a_lease_without_owners_is_unknown_and_not_free(lease: object) -> None:
    assert volume(lease=lease).lease is None


def test_a_free_lease_has_no_owners() -> None:
    free = volume(lease={"path": "/x.lease", "offset": 0, "owners": [], "version": None}).lease
    assert free is not None
    assert free.owners == ()


@pytest.mark.parametrize("owners", ["1", [None], [1.5], {}])
def test_owners_of_another_kind_are_refused(owners: object) -> None:
    with pytest.raises(BadReply) as caught:
        volume(lease={"path": "/x", "offset": 0, "owners": owners})
    assert caught.value.field == "lease.owners"


def test_volume_type_is_unknown_when_it_is_not_told() -> None:
    assert volume(voltype=None).is_leaf is None
    assert volume(voltype="INTERNAL").is_leaf is False


def test_host_stats_without_ha_and_network() -> None:
    stats = replies.host_stats("Host.getStats", {"memFree": "12", "network": {"b": {"state": "down"}}})
    assert stats == model.HostStats(
        mem_free_mib=12, cpu_load=None, network_up={"b": False}, ha=None, ha_score=None
    )


def test_host_stats_without_networks_do_not_say_that_all_are_down() -> None:
    assert replies.host_stats("Host.getStats", {"memFree": 12}).network_up is None
    assert replies.host_stats("Host.getStats", {"network": {"b": {}}}).network_up == {}


def cpu(**changes: object) -> model.VmCpu | None:
    return replies.vm_cpu("VM.getStats", Fields("VM.getStats", vm(**changes)))


@pytest.mark.parametrize(
    ("told", "is_real"),
    [
        ({"cpuActual": True, "cpuUsage": "0.00"}, True),
        ({"cpuActual": "false", "cpuUsage": "123"}, False),
        ({"cpuUsage": "123"}, True),
        ({"cpuUsage": "0.00"}, False),
        ({}, False),
    ],
)
def test_the_cpu_of_a_vm_is_user_and_system_and_real_when_vdsm_says_so(
    told: dict[str, object], is_real: bool
) -> None:
    assert cpu(cpuUser="12.50", cpuSys="3.25", **told) == model.VmCpu(percent=15.75, is_real=is_real)


@pytest.mark.parametrize("lacking", ["cpuUser", "cpuSys"])
def test_a_vm_without_cpu_figures_has_none_that_are_real(lacking: str) -> None:
    figures = {"cpuUser": "1", "cpuSys": "1", "cpuActual": True} | {lacking: None}
    assert cpu(**figures) == model.VmCpu(percent=None, is_real=False)


def test_a_vm_that_is_down_takes_no_cpu() -> None:
    assert cpu(status="Down", exitCode=0) is None


def test_cpu_figures_that_are_no_numbers_name_the_field() -> None:
    with pytest.raises(BadReply, match="cpuUser is 'nan', not a number"):
        cpu(cpuUser="nan", cpuSys="1")


@pytest.mark.parametrize(("value", "field"), [([], "result"), ([{}], "[0].id"), ({}, "result")])
def test_connection_statuses_of_another_shape(value: object, field: str) -> None:
    if value == []:
        assert replies.connection_statuses("v", value) == []
        return
    with pytest.raises(BadReply) as caught:
        replies.connection_statuses("v", value)
    assert caught.value.field == field


def status_event(params: dict[str, Any], *, subject: str = "VM_status", time: int = 1) -> jsonrpc.Event:
    return jsonrpc.Event(domain="virt", subject=subject, object_id=VM_ID, params=params, notify_time=time)


async def test_news_are_vm_status_events_in_order() -> None:
    news = News()
    news.event(status_event({VM_ID: {"progress": 5}}, subject="VM_migration_status"))
    news.event(status_event({VM_ID: {"status": "Up"}}, time=7))
    news.event(status_event({VM_ID: {"status": "Down", "exitCode": 0, "exitReason": 6}}, time=8))
    first, second = await news.next(), await news.next()
    assert first is not None
    assert second is not None
    assert (first.vm_id, first.status, first.event_time) == (VM_ID, model.VmStatus.UP, 7)
    assert (second.status, second.exit_reason) == (model.VmStatus.DOWN, model.ExitReason.ADMIN_SHUTDOWN)


async def test_news_that_nobody_reads_shrink_to_one_gap() -> None:
    news = News(limit=3)
    for time in range(4):
        news.event(status_event({VM_ID: {"status": "Up"}}, time=time))
    assert await news.next() is None
    last = await news.next()
    assert last is not None
    assert last.event_time == 3


@pytest.mark.parametrize("params", [{}, {VM_ID: {}}, {VM_ID: {"status": 1}}, {VM_ID: []}])
async def test_an_unusable_event_is_a_gap(params: dict[str, Any]) -> None:
    news = News()
    news.event(status_event(params))
    news.gap()  # one gap after another says nothing new
    news.event(status_event({VM_ID: {"status": "Up"}}))
    assert await news.next() is None
    assert await news.next() is not None


@pytest.mark.parametrize(
    ("reply", "field"),
    [
        ({}, "networks is missing"),
        ({"networks": []}, "networks is a list"),
        ({"networks": {"a": {"bridged": True}}}, "networks.a.iface is missing"),
        ({"networks": {"a": {"iface": "a"}}}, "networks.a.bridged is missing"),
    ],
)
def test_capabilities_without_networks_are_named(reply: object, field: str) -> None:
    with pytest.raises(BadReply, match=field):
        replies.bridges("Host.getCapabilities", reply)


@pytest.mark.parametrize(
    ("kind", "block"),
    [("NFS", False), ("GLUSTERFS", False), ("LOCALFS", False), ("ISCSI", True), ("FCP", True)],
)
def test_type_of_a_domain_says_whether_its_volumes_are_block_devices(kind: str, block: bool) -> None:
    info = replies.domain_info("x", {"uuid": SD_ID, "name": "he", "type": kind, "version": 5})
    assert info.is_block is block
