"""The daemon at rest: 60 s of a real agent whose engine is up; run by hand.

Starts the demo's host (`demo --keep`), waits until nothing is new, and prints
resident memory, CPU time, reads, and processes forked, which must be none: forks
are counted by strace, or said to be unknown where there is no strace.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ovirt_he_agent.sim import playground

RESIDENT_LIMIT_MIB = 60
COMMAND = [sys.executable, "-m", "ovirt_he_agent"]


def agent_pid(root: Path) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"run" in words and str(root).encode() in words:
                return int(entry.name)
    raise SystemExit("no agent runs there")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # children that were waited for included


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def bytes_read(pid: int) -> int:
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


def forks_during(pid: int, seconds: float) -> int | None:
    """Processes (not threads) that ``pid`` creates within the time; None: strace is not installed."""
    if shutil.which("strace") is None:
        time.sleep(seconds)
        return None
    with tempfile.NamedTemporaryFile() as log:
        tracer = subprocess.Popen(
            [
                "strace",
                "-f",
                "-qq",
                "-e",
                "trace=fork,vfork,clone,clone3,execve",
                "-o",
                log.name,
                "-p",
                str(pid),
            ]
        )
        time.sleep(seconds)
        tracer.terminate()
        tracer.wait()
        calls = Path(log.name).read_text().splitlines()
    return sum("CLONE_THREAD" not in call for call in calls)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60)
    seconds = arguments.parse_args().seconds
    subprocess.run([*COMMAND, "demo", "--keep"], check=True, stdout=subprocess.DEVNULL)
    try:
        [root] = playground.kept()
        pid = agent_pid(root)
        time.sleep(15)  # the second full read of the store belongs to the start
        before_cpu, before_read, began = cpu_s(pid), bytes_read(pid), time.monotonic()
        time.sleep(seconds)
        spent, took = cpu_s(pid) - before_cpu, time.monotonic() - began
        resident, read = resident_mib(pid), bytes_read(pid) - before_read
        forks = forks_during(pid, min(seconds, 20))
        print(
            json.dumps(
                {
                    "seconds": round(took, 1),
                    "resident_mib": round(resident, 1),
                    "resident_ok": resident <= RESIDENT_LIMIT_MIB,
                    "cpu_s": round(spent, 2),
                    "cpu_percent": round(100 * spent / took, 2),
                    "bytes_read": read,
                    "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
                    "forks_and_execs": forks,
                },
                indent=1,
            )
        )
    finally:
        subprocess.run([*COMMAND, "demo", "--stop"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
