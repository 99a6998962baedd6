"""The nastiest documents up to the size limit are read or refused in 2 s of processor time and 200 MiB.

Each is read in a process of its own under these limits.
"""

import html
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ovirt_he_agent.ovf import safe_xml
from tests import golden_ovf
from tests.golden_ovf import S02, S06

REPOSITORY = Path(__file__).parents[2]
CPU_S = 2
PEAK_MIB = 200
READER = f"""
import json, resource, sys
from ovirt_he_agent.ovf import document, domainxml, facts, host_facts, problems, refusals
resource.setrlimit(resource.RLIMIT_CPU, ({CPU_S}, {CPU_S}))
try:
    spec = document.read(sys.stdin.buffer.read())
    json.dumps(facts.of(spec), ensure_ascii=False).encode()
    domainxml.define(spec, host_facts.UNKNOWN)
except (problems.BadDocument, refusals.NotStartable) as e:
    assert len(str(e)) < 2000
with open("/proc/self/status") as status:  # ru_maxrss counts what the parent had when it forked
    peak_mib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) >> 10
sys.exit(f"{{peak_mib}} MiB" if peak_mib > {PEAK_MIB} else 0)
"""

TEXT = golden_ovf.data(S06).decode()
ROOM = safe_xml.MAX_BYTES - len(TEXT) - 1000
DEVICES = 4900


def in_content(inner: str) -> bytes:
    return TEXT.replace("</Content>", inner + "</Content>").encode()


def items(make: Callable[[int], str], count: int = DEVICES) -> bytes:
    end = TEXT.rindex("</Item>") + len("</Item>")
    return (TEXT[:end] + "".join(f"<Item>{make(i)}</Item>" for i in range(count)) + TEXT[end:]).encode()


def volume(i: int) -> str:
    return f"00000000-0000-0000-0000-{i:012d}"


def chain() -> bytes:
    """One image of as many volumes as may be, each the parent of the next."""
    rasd = "<rasd:{0}>{1}</rasd:{0}>"
    data = items(
        lambda i: (
            rasd.format("InstanceId", volume(i))
            + rasd.format("ResourceType", 17)
            + rasd.format("HostResource", f"{volume(0)}/{volume(i)}")
            + rasd.format("Parent", volume(i - 1) if i else "")
        )
    )
    disks = "".join(
        f'<Disk ovf:diskId="{volume(i)}" ovf:disk-interface="IDE" ovf:volume-format="RAW"/>'
        for i in range(DEVICES)
    )
    return data.replace(b"</Disk></Section>", f"</Disk>{disks}</Section>".encode(), 1)


def embedded(metadata: str, devices: str) -> bytes:
    text = golden_ovf.data(S02).decode()
    domain = (
        f"<domain><uuid>{golden_ovf.S02_VM}</uuid><metadata xmlns:o='http://ovirt.org/vm/1.0'><o:vm>{metadata}"
        f"</o:vm></metadata><devices>{devices}</devices></domain>"
    )
    start, end = text.index("<EngineXml>") + len("<EngineXml>"), text.index("</EngineXml>")
    return (text[:start] + html.escape(domain, quote=False) + text[end:]).encode()


def many_attributes(count: int) -> str:
    return "<Disk " + " ".join(f'ovf:a{i}=""' for i in range(count)) + "/>"


def section(kind: str, inner: str) -> str:
    return f'<Section xsi:type="ovf:{kind}Section_Type">{inner}</Section>'


CASES: dict[str, Callable[[], bytes]] = {
    "text": lambda: TEXT.replace("<Name>", "<Name>" + "x" * ROOM).encode(),
    "wide text": lambda: TEXT.replace("<Name>", "<Name>\U0001f600" + "x" * (ROOM - 10)).encode(),
    "references": lambda: TEXT.replace("<Name>", "<Name>" + "&amp;" * (ROOM // 5)).encode(),
    "long name of a NIC": lambda: (
        TEXT.replace("<rasd:Name>", "<rasd:Name>" + "x" * ROOM, 1).replace("MACAddress", "M").encode()
    ),
    "semicolons": lambda: TEXT.replace(
        "<UserDefinedProperties>", "<UserDefinedProperties>" + ";" * ROOM
    ).encode(),
    "properties": lambda: items(
        lambda i: (
            "<Type>t</Type><CustomProperties>"
            + "".join(f"{i}x{j};" for j in range(99))
            + "</CustomProperties>"
        )
    ),
    "addresses": lambda: items(
        lambda i: (
            "<Type>t</Type><rasd:Address>" + ",".join(f"{i}x{j}=" for j in range(19)) + "</rasd:Address>"
        )
    ),
    "depth": lambda: in_content("<a>" * 60 + "<b/>" * 290_000 + "</a>" * 60),
    "unknown elements": lambda: in_content("".join(f"<a{i}/>" for i in range(290_000))),
    "unknown sections": lambda: in_content("".join(f'<Section xsi:type="a{i}"/>' for i in range(140_000))),
    "empty items": lambda: items(lambda i: "", 290_000),
    "SpecParams": lambda: items(
        lambda i: "<Type>t</Type><SpecParams>" + "".join(f"<a{j}/>" for j in range(45)) + "</SpecParams>"
    ),
    "attributes of one element": lambda: TEXT.replace(
        "<Disk ", many_attributes(100_000) + "<Disk ", 1
    ).encode(),
    "attributes of many elements": lambda: TEXT.replace(
        "<Disk ", many_attributes(60) * DEVICES + "<Disk ", 1
    ).encode(),
    "attribute values that look like an end": lambda: TEXT.replace(
        "<Disk ", '<Disk x=">" ' + many_attributes(100_000)[6:] + "<Disk ", 1
    ).encode(),
    "blanks in a tag": lambda: TEXT.replace("<Disk ", "<Disk x" + " " * ROOM, 1).encode(),
    "half attributes": lambda: TEXT.replace("<Disk ", "<Disk " + "a= " * (ROOM // 3), 1).encode(),
    "namespaces": lambda: in_content(
        "".join("<q " + " ".join(f'xmlns:a{d}x{i}="{d}x{i}"' for i in range(60)) + ">" for d in range(55))
        + "<a1x1:q/>" * 250_000
        + "</q>" * 55
    ),
    "chain": chain,
    "NUMA nodes": lambda: in_content(
        section(
            "NumaNode",
            "".join(
                f"<NumaNode><Index>{i}</Index><cpuIdList>{'1000,' * 2000}</cpuIdList></NumaNode>"
                for i in range(250)
            ),
        )
    ),
    "snapshots": lambda: in_content(section("Snapshots", "<Snapshot><q/></Snapshot>" * 90_000)),
    "embedded leases": lambda: embedded("", "".join(f"<lease><key>{i}</key></lease>" for i in range(12_000))),
    "embedded and around": lambda: embedded("<a/>" * 24_000, "<b/>" * 24_000).replace(
        b"</Content>", b"<q/>" * 290_000 + b"</Content>"
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_document_costs_at_most_2_s_and_200_mib(case: str) -> None:
    data = CASES[case]()
    assert len(data) <= safe_xml.MAX_BYTES
    done = subprocess.run(
        [sys.executable, "-c", READER], input=data, cwd=REPOSITORY, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_document_of_more_than_8_mib_is_refused_whatever_it_holds() -> None:
    data = TEXT.replace("<Name>", "<Name>" + "x" * safe_xml.MAX_BYTES).encode()
    done = subprocess.run(
        [sys.executable, "-c", READER.replace("assert len", "sys.exit(str(e)); assert len")],
        input=data,
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert b"larger than 8 MiB" in done.stderr
