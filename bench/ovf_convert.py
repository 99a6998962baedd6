#!/usr/bin/env python3
"""Document to VmSpec, and document to domain XML, as multiples of lxml's bare parse of the same bytes.

All three run in turn, round by round; medians are compared. Samples with an
EngineXml are converted as they are and, a second time, as if they had none
("generated"). The import is what converting needs beyond lxml itself, each
time in a fresh interpreter, with bytecode as an installation has it.

    python bench/ovf_convert.py [--rounds 400] [--imports 15]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lxml import etree

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from ovirt_he_agent.ovf import document, domainxml, host_facts, refusals  # noqa: E402 the repository's own
from ovirt_he_agent.ovf.vmspec import VmSpec  # noqa: E402

SAMPLES = sorted((REPOSITORY / "tests/golden/ovf").glob("s0*.ovf"))
SPEC_LIMIT = 8.0
DOMAIN_LIMIT = 12.0
IMPORT_LIMIT_MS = 5.0
IMPORT_LIMIT_KIB = 1536
MODULES = ("ovirt_he_agent.ovf.document", "ovirt_he_agent.ovf.domainxml")
CHILD = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
start = time.perf_counter()
for module in sys.argv[2:]:
    __import__(module)
took_ms = (time.perf_counter() - start) * 1000
memory = dict(line.split(":") for line in open("/proc/self/smaps_rollup") if "kB" in line)
print(json.dumps([took_ms, int(memory["Rss"].split()[0]), int(memory["Pss"].split()[0])]))
"""


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ways(data: bytes) -> Iterator[tuple[str, Callable[[VmSpec], VmSpec]]]:
    """How the document becomes a domain: as it is, and without its EngineXml."""
    spec = document.read(data)
    if spec.engine_xml is not None:
        try:
            domainxml.define(spec, host_facts.UNKNOWN)
            yield "as is", lambda spec: spec
        except refusals.NotStartable:
            pass
    yield "generated", lambda spec: spec.but(engine_xml=None)


def convert(path: Path, rounds: int) -> bool:
    data = path.read_bytes()
    works: dict[str, Callable[[], object]] = {
        "parse": lambda: etree.fromstring(data),
        "VmSpec": lambda: document.read(data),
    }
    for name, prepare in ways(data):
        works[name] = lambda prepare=prepare: domainxml.define(  # type: ignore[misc]
            prepare(document.read(data)), host_facts.UNKNOWN
        )
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    bare_s = statistics.median(times.pop("parse"))
    good = True
    cells = []
    for name, taken_s in times.items():
        ratio = statistics.median(taken_s) / bare_s
        limit = SPEC_LIMIT if name == "VmSpec" else DOMAIN_LIMIT
        good &= ratio <= limit
        cells.append(f"{name} {ratio:5.2f} (limit {limit:g}) {'PASS' if ratio <= limit else 'FAIL'}")
    print(f"{path.stem[:3]} {len(data):6} bytes, parse {bare_s * 1e6:6.1f} us; " + "; ".join(cells))
    return good


def cost_of_import(*modules: str, number: int, environment: dict[str, str]) -> list[float]:
    """Medians: ms, KiB of resident memory, KiB of it in proportion to who shares it."""
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", CHILD, str(REPOSITORY), *modules],
                check=True,
                capture_output=True,
                env=environment,
            ).stdout
        )
        for _ in range(number)
    ]
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def imports(number: int) -> bool:
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        cost_of_import("lxml.etree", *MODULES, number=1, environment=environment)
        alone = cost_of_import("lxml.etree", number=number, environment=environment)
        full = cost_of_import("lxml.etree", *MODULES, number=number, environment=environment)
    took_ms, rss_kib, pss_kib = (both - lxml for both, lxml in zip(full, alone, strict=True))
    good = took_ms <= IMPORT_LIMIT_MS and max(rss_kib, pss_kib) <= IMPORT_LIMIT_KIB
    print(
        f"import beyond lxml ({alone[0]:.1f} ms): {took_ms:.2f} ms (limit {IMPORT_LIMIT_MS:g}), "
        f"resident {rss_kib:.0f} KiB, proportional {pss_kib:.0f} KiB (limit {IMPORT_LIMIT_KIB})  "
        f"{'PASS' if good else 'FAIL'}"
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="OVF conversion against lxml's bare parse")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--imports", type=int, default=15, help="fresh interpreters per median")
    options = parser.parse_args()
    results = [convert(path, options.rounds) for path in SAMPLES]
    return 0 if all([*results, imports(options.imports)]) else 1


if __name__ == "__main__":
    sys.exit(main())
