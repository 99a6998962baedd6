"""The NUMA nodes of a vm.conf as the section of an OVF; see ``document``."""

from collections.abc import Mapping, Sequence
from typing import Any

from lxml import etree

from ovirt_he_agent.ovf import record
from ovirt_he_agent.ovf.vmconf.reader import BadVmConf
from ovirt_he_agent.ovf.writer.elements import XSI, child

_MAX_CPUS = 10_000


def add_section(content: etree._Element, nodes: Sequence[Any]) -> None:
    """Raises ``BadVmConf`` for a node that is not described in numbers."""
    cells = [cell for cell in nodes if isinstance(cell, Mapping)]
    if not cells:
        return
    section = child(content, "Section", None, {XSI + "type": "ovf:NumaNodeSection_Type"})
    for cell in cells:
        texts = [str(cell.get(name, "")) for name in ("nodeIndex", "memory", "cpus")]
        index, memory = record.number(texts[0]), record.number(texts[1])
        if index is None or memory is None:
            raise BadVmConf("a node without nodeIndex and memory in numbers", key="guestNumaNodes")
        node = child(section, "NumaNode")
        child(node, "Index", str(index))
        child(node, "cpuIdList", ",".join(map(str, _cpus(texts[2]))))
        child(node, "vdsNumaNodeList", "")
        child(node, "MemTotal", str(memory))


def _cpus(text: str) -> list[int]:
    """``0-2,5`` in numbers."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        low, high = record.number(first), record.number(last if dash else first)
        if low is None or high is None or low < 0 or high - low >= _MAX_CPUS:
            raise BadVmConf(f"cpus is {record.shown(text)}, not numbers and ranges", key="guestNumaNodes")
        numbers += range(low, high + 1)
        if len(numbers) > _MAX_CPUS:
            raise BadVmConf(f"cpus has more than {_MAX_CPUS} numbers", key="guestNumaNodes")
    return numbers
