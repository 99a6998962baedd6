"""The kernel's CPU counters, as they are, and files that are none."""

from pathlib import Path

import pytest

from ovirt_he_agent.adapters.monitors import cpu
from ovirt_he_agent.agent import ports
from ovirt_he_agent.core import load
from ovirt_he_agent.errors import Retryable


def test_this_kernels_counters_are_read_and_grow() -> None:
    monitor: ports.CpuCounters = cpu.Cpu()
    first = monitor.read()
    assert 0 < first.busy < first.total
    assert first.cpus >= 1
    later = monitor.read()
    while later.total == first.total:  # the kernel counts in ticks of 10 ms
        later = monitor.read()
    share = load.busy_share(first, later)
    assert share is not None
    assert 0.0 <= share <= 1.0


@pytest.mark.parametrize("content", [b"", b"cpu 1 2 3", b"\xff\xfe", b"intr 1\n"])
def test_another_files_content_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stat"
    path.write_bytes(content)
    with pytest.raises(cpu.CpuTimesUnreadable) as caught:
        cpu.Cpu(path).read()
    assert isinstance(caught.value, Retryable)
    assert str(caught.value).startswith(f"{path}: its first line is not cpu")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(cpu.CpuTimesUnreadable, match="No such file"):
        cpu.Cpu(tmp_path / "stat").read()
