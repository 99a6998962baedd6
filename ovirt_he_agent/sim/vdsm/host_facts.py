"""What the machine below tells about itself, in the shapes of Host.getStats and Host.getCapabilities.

Shapes: vdsm: lib/vdsm/host/api.py, host/stats.py, host/caps.py, network/netstats.py,
lib/vdsm/api/vdsm-api.yml (HostStats, VdsmCapabilities). Load, memory and
interfaces are this machine's; the management bridge is made up.
"""

import os
import time
from collections.abc import Collection
from pathlib import Path

from ovirt_he_agent.sim.vdsm import networks

CPU_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def _key_numbers(path: str) -> dict[str, int]:
    """A /proc file of ``Name: number kB`` lines."""
    lines = (line.split() for line in Path(path).read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}


def memory_mib() -> tuple[int, int, int, int]:
    """Total, free as VDSM counts it, swap total, swap free."""
    kib = _key_numbers("/proc/meminfo")
    free = sum(kib.get(name, 0) for name in ("MemFree", "Cached", "Buffers", "SReclaimable"))
    return kib["MemTotal"] // 1024, free // 1024, kib["SwapTotal"] // 1024, kib["SwapFree"] // 1024


class CpuSampler:
    """Percentages since the last look."""

    def __init__(self) -> None:
        self._last = self._read()

    @staticmethod
    def _read() -> dict[str, int]:
        with open("/proc/stat") as f:
            return dict(zip(CPU_FIELDS, (int(n) for n in f.readline().split()[1:9]), strict=False))

    def percent(self) -> dict[str, str]:
        """``cpuUser``, ``cpuSys``, ``cpuIdle``."""
        now, last = self._read(), self._last
        self._last = now
        passed = {name: now[name] - last[name] for name in now}
        total = sum(passed.values()) or 1

        def share(*names: str) -> str:
            return f"{sum(passed[name] for name in names) / total * 100:.2f}"

        return {
            "cpuUser": share("user", "nice"),
            "cpuSys": share("system", "irq", "softirq", "steal"),
            "cpuIdle": share("idle", "iowait"),
        }


def _interface(name: str, state: str = "up", counters: tuple[str, ...] = ("0",) * 8) -> dict[str, object]:
    rx, rx_errors, rx_dropped, tx, tx_errors, tx_dropped, *_ = counters
    return {
        "name": name,
        "state": state,
        "speed": "1000",
        "rx": rx,
        "rxErrors": rx_errors,
        "rxDropped": rx_dropped,
        "tx": tx,
        "txErrors": tx_errors,
        "txDropped": tx_dropped,
        "sampleTime": time.monotonic(),
    }


def interfaces() -> dict[str, dict[str, object]]:
    found = {networks.MANAGEMENT: _interface(networks.MANAGEMENT)}
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, rest = line.partition(":")
        n = rest.split()
        found[name.strip()] = _interface(name.strip(), "up", (n[0], n[2], n[3], n[8], n[10], n[11]))
    return found


def stats(cpu: CpuSampler) -> dict[str, object]:
    """Host.getStats without storage, VMs and HA."""
    total, free, swap_total, swap_free = memory_mib()
    percent = cpu.percent()
    cores = {
        str(n): {key: percent[key] for key in ("cpuUser", "cpuSys", "cpuIdle")} | {"nodeIndex": 0}
        for n in range(os.cpu_count() or 1)
    }
    return {
        **percent,
        "cpuLoad": f"{os.getloadavg()[0]:.2f}",
        "cpuSysVdsmd": "0.00",
        "cpuUserVdsmd": "0.00",
        "cpuStatistics": cores,
        "memUsed": str(100 - free * 100 // total),
        "memShared": 0,
        "anonHugePages": "0",
        "thpState": "madvise",
        "network": interfaces(),
        "rxDropped": "0",
        "txDropped": "0",
        "diskStats": {"/tmp": {"free": "1000"}},
        "numaNodeMemFree": {"0": {"memFree": str(free), "memPercent": 0, "hugepages": {}}},
        "elapsedTime": str(int(time.monotonic())),
        "bootTime": str(int(time.clock_gettime(time.CLOCK_REALTIME) - time.monotonic())),
        "memFree": free,
        "swapTotal": swap_total,
        "swapFree": swap_free,
        "dateTime": time.strftime("%Y-%m-%dT%H:%M:%S GMT", time.gmtime()),
        "momStatus": "active",
        "ksmState": False,
        "ksmPages": 100,
        "ksmCpu": 0,
        "ksmMergeAcrossNodes": True,
        "netConfigDirty": "False",
        "multipathHealth": {},
    }


def capabilities(host_id: int, network_names: Collection[str]) -> dict[str, object]:
    """Host.getCapabilities without hooks and HA."""
    total, _, _, _ = memory_mib()
    cpus = [str(n) for n in range(os.cpu_count() or 1)]
    initiator = f"iqn.1994-05.com.example:emulated-{host_id}"
    return {
        "kvmEnabled": "true",
        "cpuCores": str(len(cpus)),
        "cpuThreads": str(len(cpus)),
        "cpuSockets": "1",
        "onlineCpus": ",".join(cpus),
        "cpuTopology": [
            {"cpu_id": n, "numa_cell_id": 0, "socket_id": 0, "die_id": 0, "core_id": n}
            for n in range(len(cpus))
        ],
        "cpuSpeed": "2000",
        "cpuModel": "Emulated",
        "cpuFlags": "fpu,vmx,model_Haswell-noTSX",
        "vdsmToCpusAffinity": [1],
        "version_name": "Snow Man",
        "software_version": "4.50.7",
        "software_revision": "1",
        "supportedENGINEs": ["4.4", "4.5"],
        "clusterLevels": ["4.4", "4.5", "4.6", "4.7"],
        "uuid": f"4c4c4544-0000-2010-8020-80c04f2020{host_id % 256:02x}",
        "operatingSystem": {"name": "RHEL", "version": "9.4", "release": "1.el9", "pretty_name": "Emulated"},
        "packages2": {
            "vdsm": {"version": "4.50.7", "release": "1.el9"},
            "ovirt-hosted-engine-ha": {"version": "2.5.2", "release": "1.el9"},
        },
        "emulatedMachines": ["pc-q35-rhel9.0.0", "pc-i440fx-rhel7.6.0"],
        "ISCSIInitiatorName": initiator,
        "HBAInventory": {"iSCSI": [{"InitiatorName": initiator}], "FC": []},
        "vmTypes": ["kvm"],
        "memSize": str(total),
        "reservedMem": "321",
        "guestOverhead": "65",
        "rngSources": ["hwrng", "random"],
        "numaNodes": {"0": {"cpus": [int(n) for n in cpus], "totalMemory": str(total), "hugepages": {}}},
        "numaNodeDistance": {"0": [10]},
        "autoNumaBalancing": 1,
        "selinux": {"mode": "1"},
        "liveSnapshot": "true",
        "liveMerge": "true",
        "kdumpStatus": 0,
        "hostdevPassthrough": "false",
        "additionalFeatures": [],
        "hugepages": [2048],
        "vncEncrypted": "false",
        "backupEnabled": True,
        "fipsEnabled": False,
        "domain_versions": [0, 2, 3, 4, 5],
        "netConfigDirty": "False",
        "lastClientIface": "lo",
        "supportsIPv6": True,
        "nameservers": [],
        **networks.report(network_names),
        "bondings": {},
        "nics": {},
        "vlans": {},
    }
