"""The command as its users run it: a VM as legacy parameters and vm.conf, and an OVF of an old vm.conf."""

import stat
from pathlib import Path

from ovirt_he_agent.ovf import document
from ovirt_he_agent.ovf.vmconf import reader
from tests.golden_ovf import HERE, S02
from tests.process.test_ovf_command import run

VM_CONFS = Path(__file__).parents[1] / "golden" / "vmconf"


def test_a_vm_is_shown_as_parameters_and_as_the_vm_conf_that_stands_for_them() -> None:
    params = run("ovf", "show", HERE / S02, "--format", "vm-params")
    assert (params.code, params.err) == (0, "")
    vm_conf = run("ovf", "show", HERE / S02, "--format", "vm-conf", LC_ALL="C")
    assert (vm_conf.code, vm_conf.err) == (0, "")
    assert vm_conf.out == (VM_CONFS / "s02.conf").read_text()
    assert reader.parse(vm_conf.out) == params.json


def test_an_old_vm_conf_becomes_an_ovf_on_stdout_and_its_losses_a_line_each_on_stderr() -> None:
    done = run("ovf", "from-vm-conf", VM_CONFS / "v34.conf", "--cluster-version", "3.6")
    assert done.code == 0
    spec = document.read(done.out.encode())
    assert (spec.name, spec.cluster_version) == ("HostedEngine", "3.6")
    lines = done.err.splitlines()
    assert all(line.startswith(f"ovirt-he-agent: {VM_CONFS}/v34.conf: warning: ") for line in lines)
    assert "tabletEnable: 'true' is not taken over" in done.err


def test_the_ovf_goes_to_a_file_as_a_whole_and_into_a_device_without_replacing_it(tmp_path: Path) -> None:
    out, link = tmp_path / "engine.ovf", tmp_path / "link"
    link.symlink_to(out)
    assert run("ovf", "from-vm-conf", VM_CONFS / "s02.conf", "-o", link).out == ""
    assert link.is_symlink()
    assert document.read(out.read_bytes()).memory_mib == 16384
    assert run("ovf", "from-vm-conf", VM_CONFS / "s02.conf", "-o", "/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_bad_input_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    bad = tmp_path / "vm.conf"
    bad.write_text("vmId=1\ndevices={type:disk\n")
    run("ovf", "from-vm-conf", bad).fails_with(
        1, f"{bad}: line 2, key 'devices': a closing brace is missing; mend that"
    )
    run("ovf", "from-vm-conf", tmp_path).fails_with(1, "cannot be read: Is a directory")
    run("ovf", "from-vm-conf", VM_CONFS / "s02.conf", "-o", tmp_path / "a" / "b").fails_with(
        1, "cannot be written: No such file or directory"
    )
    run("ovf", "from-vm-conf", bad, "--cluster-version", "x").fails_with(
        2, "'x' is not a compatibility version"
    )
