"""Scenarios of a generated domain: the VM itself. Devices have files of their own."""

import pytest

from ovirt_he_agent.errors import ExitCode
from ovirt_he_agent.ovf import host_facts, refusals, vmspec
from tests import generated
from tests.generated import HOST, Domain, domain
from tests.golden_ovf import S01, S02, S03, S04, S06, data

ENGINE = generated.spec(data(S02))
Q35 = generated.spec(data(S03))
OLD = generated.spec(data(S01))
ORDINARY = generated.spec(data(S06))


def refusal(vm: vmspec.VmSpec, host: host_facts.HostFacts = HOST, **changes: object) -> str:
    with pytest.raises(refusals.CannotGenerate) as caught:
        domain(vm, host, **changes)
    assert caught.value.exit_code is ExitCode.REFUSED
    assert vm.vm_id in str(caught.value)
    return caught.value.reason


# Machine and firmware


@pytest.mark.parametrize(
    ("bios", "written", "machine"),
    [
        (vmspec.Bios.I440FX_SEABIOS, "pc-i440fx-rhel7.6.0;pc-q35-rhel7.6.0", "pc-i440fx-rhel7.6.0"),
        (vmspec.Bios.Q35_SEABIOS, "pc-i440fx-rhel7.6.0;pc-q35-rhel7.6.0", "pc-q35-rhel7.6.0"),
        (None, "pc-i440fx-rhel7.6.0;pc-q35-rhel7.6.0", "pc-i440fx-rhel7.6.0"),
        (None, "pc-q35-rhel8.1.0", "pc-q35-rhel8.1.0"),
        (None, None, "pc"),
        (vmspec.Bios.Q35_SEABIOS, None, "q35"),
        (vmspec.Bios.Q35_SEABIOS, "pc-i440fx-rhel7.6.0", "pc-i440fx-rhel7.6.0"),
        (vmspec.Bios.Q35_UEFI_SECURE_BOOT, "pc-i440fx-rhel7.6.0", "q35"),
        (vmspec.Bios.I440FX_SEABIOS, "pseries-rhel8.1.0", "pc"),
    ],
)
def test_machine_is_the_one_that_suits_the_bios_type(
    bios: vmspec.Bios | None, written: str | None, machine: str
) -> None:
    assert domain(ENGINE, bios=bios, machine=written).one("os/type")["machine"] == machine


def test_root_ports_are_for_q35_only() -> None:
    ports = "devices/controller[@model='pcie-root-port']"
    assert len(domain(Q35).all(ports)) == 16
    assert domain(Q35).one("devices/controller[@model='pcie-root']")
    assert domain(ENGINE).all("devices/controller[@type='pci']") == []


@pytest.mark.parametrize(
    ("bios", "secure", "template"),
    [
        (vmspec.Bios.Q35_UEFI, "no", "/usr/share/OVMF/OVMF_VARS.fd"),
        (vmspec.Bios.Q35_UEFI_SECURE_BOOT, "yes", "/usr/share/OVMF/OVMF_VARS.secboot.fd"),
    ],
)
def test_uefi_has_its_loader_and_variables(bios: vmspec.Bios, secure: str, template: str) -> None:
    made = domain(Q35, bios=bios, custom_properties={})
    assert made.one("os/loader") == {"readonly": "yes", "secure": secure, "type": "pflash"}
    assert made.text("os/nvram") == f"/var/lib/libvirt/qemu/nvram/{Q35.vm_id}.fd"
    assert made.one("os/nvram") == {"template": template}
    assert (made.root.find("features/smm") is not None) == (secure == "yes")
    assert made.says("UEFI variables")


def test_seabios_has_neither() -> None:
    made = domain(Q35, bios=vmspec.Bios.Q35_SEABIOS, custom_properties={"nvram_template": "/x"})
    assert made.all("os/loader") == made.all("os/nvram") == made.all("features/smm") == []
    assert made.says("nvram_template", "left out")


@pytest.mark.parametrize(
    ("os", "arch", "machine", "cdrom_bus"),
    [
        ("rhel_8x64_ppc64", "ppc64le", "pseries", "scsi"),
        ("rhel_8x64_s390x", "s390x", "s390-ccw-virtio", "scsi"),
        ("other_linux", "x86_64", "pc-i440fx-rhel7.3.0", "ide"),
        (None, "x86_64", "pc-i440fx-rhel7.3.0", "ide"),
    ],
)
def test_operating_system_tells_the_architecture(
    os: str | None, arch: str, machine: str, cdrom_bus: str
) -> None:
    made = domain(ENGINE, os=os)
    assert made.one("os/type") == {"arch": arch, "machine": machine}
    assert made.device("disk[@device='cdrom']").get("target", "bus") == cdrom_bus
    assert bool(made.all("sysinfo")) == bool(made.all("features/acpi")) == (arch == "x86_64")


def test_windows_gets_what_makes_it_bearable() -> None:
    made = domain(ENGINE, os="windows_2022", time_zone="W. Europe Standard Time")
    assert made.one("features/hyperv/relaxed") == {"state": "on"}
    assert made.one("clock/timer[@name='hypervclock']")["present"] == "yes"
    assert made.one("clock")["adjustment"] == "7200"


def test_kernel_on_the_host_is_booted_and_one_of_the_engine_only_is_said() -> None:
    made = domain(ENGINE, kernel="/boot/vmlinuz", initrd="/boot/initrd", kernel_parameters="a=b <c>")
    assert [made.text(f"os/{tag}") for tag in ("kernel", "initrd", "cmdline")] == [
        "/boot/vmlinuz",
        "/boot/initrd",
        "a=b <c>",
    ]
    made = domain(ENGINE, kernel="iso://vmlinuz", initrd=None, kernel_parameters=None)
    assert made.all("os/kernel") == []
    assert made.says("iso://vmlinuz")


def test_boot_menu_waits_30_seconds() -> None:
    assert domain(ENGINE, boot_menu=True).one("os/bootmenu") == {"enable": "yes", "timeout": "30000"}
    assert domain(ENGINE).all("os/bootmenu") == []


def test_engine_vm_ends_at_a_reboot_and_an_ordinary_vm_does_not() -> None:
    assert [domain(ENGINE).text(f"on_{event}") for event in ("poweroff", "reboot", "crash")] == [
        "destroy"
    ] * 3
    assert domain(ORDINARY).text("on_reboot") is None


# Processors


def test_vcpus_are_the_product_and_sockets_hold_the_most() -> None:
    made = domain(ORDINARY)  # 1 socket, 4 cores, 2 threads, at most 16
    assert (made.text("vcpu"), made.one("vcpu")) == ("16", {"current": "8"})
    assert made.one("cpu/topology") == {"cores": "4", "threads": "2", "sockets": "2"}


@pytest.mark.parametrize(("written", "most"), [(None, 8), (20, 16), (5, 8), (16, 16), (0, 8)])
def test_most_vcpus_fill_whole_sockets(written: int | None, most: int) -> None:
    made = domain(ORDINARY, max_vcpus=written)
    assert made.text("vcpu") == str(most)
    assert made.says("most vcpus") == (written not in (None, 0, most))


def test_most_vcpus_are_no_more_than_every_machine_has() -> None:
    made = domain(ORDINARY, max_vcpus=256)
    assert (made.text("vcpu"), made.one("cpu/topology")["sockets"]) == ("240", "30")
    assert made.says("most vcpus", "240", "256")
    assert domain(ORDINARY, max_vcpus=256, os="rhel_9_ppc64", machine=None).text("vcpu") == "256"


EXACT, PASSED_THROUGH = {"match": "exact"}, {"mode": "host-passthrough"}
SKYLAKE = "Skylake-Server,+md-clear,-hle"


@pytest.mark.parametrize(
    ("changes", "attributes", "model", "flags"),
    [
        ({"cpu": SKYLAKE}, EXACT, "Skylake-Server", {"md-clear": "require", "hle": "disable"}),
        ({"cpu": "hostPassthrough"}, PASSED_THROUGH, None, {}),
        ({"cpu": "Haswell", "host_cpu_passthrough": True}, PASSED_THROUGH, None, {}),
        ({"cpu": None}, EXACT, "Haswell-noTSX", {"spec-ctrl": "require"}),
        (
            {"cpu": "Nehalem", "custom_properties": {"extra_cpu_flags": "+a"}},
            EXACT,
            "Nehalem",
            {"a": "require"},
        ),
        ({"cpu": "POWER9", "os": "rhel_8x64_ppc64"}, {"mode": "host-model"}, "power9", {}),
    ],
)
def test_cpu_model_and_flags(
    changes: dict[str, object], attributes: dict[str, str], model: str | None, flags: dict[str, str]
) -> None:
    made = domain(ENGINE.but(**changes))
    assert (made.one("cpu"), made.text("cpu/model")) == (attributes, model)
    assert {flag["name"]: flag["policy"] for flag in made.all("cpu/feature")} == flags


def test_nobody_names_a_cpu() -> None:
    made = domain(ENGINE, HOST.but(default_cpu=None), cpu=None)
    assert made.one("cpu") == {"mode": "host-model"}
    assert made.says("host-model")
    assert domain(ENGINE, cpu=None).says("configured")


def test_pinning_is_for_vms_that_stay_on_one_host() -> None:
    pinned = {"cpu_pinning": "0#1-2_1#3", "cpu_policy": "manual"}
    made = domain(ORDINARY.but(**pinned))
    assert made.all("cputune/vcpupin") == [{"vcpu": "0", "cpuset": "1-2"}, {"vcpu": "1", "cpuset": "3"}]
    assert made.metadata("cpuPolicy") == "manual"
    made = domain(ENGINE.but(**pinned))
    assert made.all("cputune") == []
    assert made.metadata("cpuPolicy") == "none"
    assert made.says("pinning", "left out")
    assert domain(ORDINARY, cpu_pinning="0#x").says("pinning", "cannot be read")


# Memory


def test_memory_is_kib_without_a_unit() -> None:
    made = domain(ENGINE)
    assert made.text("memory") == made.text("currentMemory") == str(16384 * 1024)
    assert made.one("memory") == {}
    assert (made.text("maxMemory"), made.one("maxMemory")) == (str(65536 * 1024), {"slots": "16"})
    assert made.one("cpu/numa/cell") == {"id": "0", "cpus": "0-63", "memory": str(16384 * 1024)}
    assert made.metadata("minGuaranteedMemoryMb") == "16384"
    assert made.one(f"metadata/{generated.OVIRT_VM}vm/{generated.OVIRT_VM}minGuaranteedMemoryMb") == {
        "type": "int"
    }


@pytest.mark.parametrize(("most_mib", "said"), [(None, False), (16384, False), (8192, True)])
def test_no_room_to_grow_is_no_ceiling(most_mib: int | None, said: bool) -> None:
    made = domain(ENGINE, max_memory_mib=most_mib)
    assert made.all("maxMemory") == made.all("cpu/numa") == []
    assert made.says("most memory") == said


def test_hugepages_and_who_shares_them() -> None:
    made = domain(ENGINE, custom_properties={"hugepages": "2048", "hugepages_shared": "true"})
    assert made.one("memoryBacking/hugepages/page") == {"size": "2048"}
    assert made.one("cpu/numa/cell")["memAccess"] == "shared"
    made = domain(ENGINE, custom_properties={"hugepages": "many"})
    assert made.all("memoryBacking") == []
    assert made.says("hugepages", "many")


def cells(*sizes: tuple[int, tuple[int, ...]]) -> tuple[vmspec.NumaCell, ...]:
    return tuple(
        vmspec.NumaCell(index=i, cpus=cpus, memory_mib=size, host_nodes=(i,), tune_mode="preferred")
        for i, (size, cpus) in enumerate(sizes)
    )


def test_numa_cells_hold_every_vcpu_and_all_memory() -> None:
    made = domain(ORDINARY, numa_cells=cells((2048, (0, 1, 2, 3)), (4096, (4, 5, 6, 7))))
    assert made.all("cpu/numa/cell") == [
        {"id": "0", "cpus": "0-3,8-15", "memory": str(2048 * 1024)},
        {"id": "1", "cpus": "4-7", "memory": str(4096 * 1024)},
    ]
    assert made.all("numatune/memnode")[1] == {"cellid": "1", "mode": "preferred", "nodeset": "1"}


def test_cells_that_do_not_add_up_are_one() -> None:
    made = domain(ENGINE, numa_cells=cells((2048, (0, 1)), (4096, (1, 2))))
    assert len(made.all("cpu/numa/cell")) == 1
    assert made.says("NUMA nodes", "left out")
    assert made.says("pinning to NUMA nodes")


def test_cells_that_are_left_out_are_not_pinned_although_there_is_one_for_hot_plug() -> None:
    made = domain(ORDINARY, numa_cells=cells((2048, (0, 1)), (4096, (1, 2))))
    assert len(made.all("cpu/numa/cell")) == 1  # libvirt refuses a pinned cell that is not there
    assert made.all("numatune") == []
    assert made.says("pinning to NUMA nodes")


def test_guarantee_is_no_more_than_the_memory() -> None:
    made = domain(ENGINE, guaranteed_memory_mib=20000)
    assert made.metadata("minGuaranteedMemoryMb") == "16384"
    assert made.says("guaranteed")


@pytest.mark.parametrize(
    "changes", [{"max_vcpus": 10**15}, {"memory_mib": 10**15}, {"iothreads": 10**9}, {"sockets": 10**9}]
)
def test_more_than_any_host_has_is_refused_before_it_costs_memory(changes: dict[str, object]) -> None:
    assert "more than" in refusal(ENGINE.but(**changes))


# Identity, clock, metadata


def test_name_is_what_libvirt_takes() -> None:
    assert domain(ENGINE, name="a <b> & ü").text("name") == "a <b> & ü"
    assert domain(ENGINE, name="a/b\nc").text("name") == "a_b_c"
    assert domain(ENGINE, name=None).text("name") == ENGINE.vm_id
    assert domain(ENGINE, name=" ").says("no name")


@pytest.mark.parametrize(
    ("policy", "custom", "serial", "said"),
    [
        (None, None, "HOST-SERIAL:", True),
        (0, None, "HOST-SERIAL:", False),
        (1, None, ENGINE.vm_id, False),
        (2, "A 1", "A 1", False),
        (2, None, "HOST-SERIAL:", True),
    ],
)
def test_serial_number(policy: int | None, custom: str | None, serial: str, said: bool) -> None:
    made = domain(ENGINE, serial_number_policy=policy, custom_serial_number=custom)
    assert made.text("sysinfo/system/entry[@name='serial']") == serial
    assert made.says("serial number") == said


@pytest.mark.parametrize(
    ("zone", "offset_s", "adjustment", "said"),
    [
        ("Europe/Berlin", 3600, "3600", False),
        ("Europe/Berlin", None, "0", True),
        ("Etc/GMT", None, "0", False),
        (None, None, "0", False),
        (None, 3600, "0", False),
    ],
)
def test_clock_is_the_zone_of_the_vm(
    zone: str | None, offset_s: int | None, adjustment: str, said: bool
) -> None:
    made = domain(ENGINE, HOST.but(utc_offset_s=offset_s), time_zone=zone)
    assert made.one("clock") == {"offset": "variable", "adjustment": adjustment}
    assert made.says("time zone") == said


def test_custom_properties_are_elements_if_they_can_be() -> None:
    odd = {"sap_agent": "true", "2nd": "x", "a b": "y", "ns:x": "z", "": "e", "ünicode": "u", "note": "<&>"}
    made = domain(ENGINE, custom_properties=odd)
    custom = made.root.find(f"metadata/{generated.OVIRT_VM}vm/{generated.OVIRT_VM}custom")
    assert custom is not None
    assert {child.tag: child.text for child in custom} == {
        generated.OVIRT_VM + "sap_agent": "true",
        generated.OVIRT_VM + "note": "<&>",
    }
    for key in ("2nd", "a b", "ns:x", "ünicode"):
        assert made.says(repr(key), "left out")


def test_everything_for_vdsm_is_in_its_namespace() -> None:
    root = domain(Q35).root
    metadata = root.find("metadata")
    assert metadata is not None
    for element in metadata.iterdescendants():
        assert str(element.tag).startswith(("{http://ovirt.org/vm/1.0}", "{http://ovirt.org/vm/tune/1.0}"))


def test_vm_wide_metadata() -> None:
    made = domain(
        ENGINE, start_paused=True, resume_behavior=vmspec.ResumeBehavior.KILL, balloon_enabled=False
    )
    assert made.metadata("launchPaused") == "true"
    assert made.metadata("resumeBehavior") == "kill"
    assert made.metadata("ballooningEnabled") == "false"
    assert made.metadata("clusterVersion") == "4.2"
    assert domain(OLD).metadata("resumeBehavior") == "auto_resume"
    assert domain(OLD).metadata("clusterVersion") is None
    assert domain(ENGINE, cluster_version="4.2.1").says("compatibility version")


def test_stateless_is_said() -> None:
    assert domain(ENGINE, stateless=True).says("stateless")


# Leases


def leases(made: Domain) -> list[tuple[str, str]]:
    return [
        (element.findtext("key") or "", element.findtext("lockspace") or "")
        for element in made.root.iterfind("devices/lease")
    ]


def test_every_disk_has_its_lease_with_placeholders() -> None:
    made = domain(Q35)
    expected = [(d.volume_id, d.domain_id) for d in Q35.disks if isinstance(d, vmspec.ImageDisk)]
    assert leases(made) == [(lease.key, lease.lockspace) for lease in made.leases] == expected
    volume, domain_id = expected[0]
    assert made.all("devices/lease/target")[0] == {
        "path": f"LEASE-PATH:{volume}:{domain_id}",
        "offset": f"LEASE-OFFSET:{volume}:{domain_id}",
    }


def test_vm_lease_is_written_out_for_vdsm_replaces_nothing_in_it() -> None:
    home = "6e91ed96-c20b-4552-89d9-159597ea520d"
    lease = vmspec.Lease(key=ENGINE.vm_id, lockspace=home, path="/xleases", offset_bytes=3 << 20)
    made = domain(ENGINE, HOST.but(vm_lease=lease), lease_domain_id=home)
    assert leases(made)[-1] == (ENGINE.vm_id, home)
    assert made.all("devices/lease/target")[-1] == {"path": "/xleases", "offset": str(3 << 20)}
    assert made.leases[-1] == lease
    assert leases(domain(ENGINE, HOST.but(vm_lease=lease))) == leases(domain(ENGINE))


@pytest.mark.parametrize(
    ("lease", "words"),
    [
        (None, "Lease.info"),
        (vmspec.Lease(key=ENGINE.vm_id, lockspace="d", path="/x", offset_bytes=None), "Lease.info"),
        (vmspec.Lease(key="other", lockspace="d", path="/x", offset_bytes=0), "other"),
        (vmspec.Lease(key=ENGINE.vm_id, lockspace="e", path="/x", offset_bytes=0), "on e"),
    ],
)
def test_vm_lease_that_is_not_known_is_no_start(lease: vmspec.Lease | None, words: str) -> None:
    assert words in refusal(ENGINE, HOST.but(vm_lease=lease), lease_domain_id="d")


def test_without_a_lease_nothing_is_started() -> None:
    assert "no lease" in refusal(ENGINE, disks=())
    assert "no lease" in refusal(ENGINE, disks=generated.disk(ENGINE, shareable=True))
    assert "no lease" in refusal(ENGINE, disks=generated.disk(ENGINE, plugged=False))


def test_engine_xml_without_a_lease_does_not_matter_here() -> None:
    assert leases(domain(data(S04)))
