"""The OVF of a VM that no engine has written one for: what its vm.conf says, as the engine's reader wants it.

That reader (ovirt-engine: utils/ovf/OvfReader.java, OvfOvirtReader.java,
OvfVmReader.java; OvfUtils.java for a store) takes attributes by their literal
prefixed name, a VM's name by the first ``<Name>`` in the text, and stumbles over
white space between the elements of the disk section and over attributes that
are missing where an empty one would do. So: no white space, every attribute.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from ovirt_he_agent.ovf import (
    document,
    engine_xml,
    problems,
    record,
    safe_xml,
    vmparams,
)
from ovirt_he_agent.ovf.record import RASD
from ovirt_he_agent.ovf.value import Value
from ovirt_he_agent.ovf.vmconf.reader import BadVmConf
from ovirt_he_agent.ovf.vmparams_devices import BLANK_ID
from ovirt_he_agent.ovf.writer import devices, numa
from ovirt_he_agent.ovf.writer import lost as losses
from ovirt_he_agent.ovf.writer.elements import OVF, XSI, add_item, child, properties

VSSD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData}"
_PREFIXES = {"ovf": OVF[1:-1], "rasd": RASD[1:-1], "vssd": VSSD[1:-1], "xsi": XSI[1:-1]}

_VERSION = "4.1.0.0"
"""What engines from 4.1 to 4.3 wrote; readers do not decide by it."""
_CLUSTER_VERSION = "4.2"
_ORIGIN = "6"
"""A hosted engine VM that its engine manages."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class NewDocument(Value):
    text: str
    vm_id: str
    warnings: tuple[str, ...]
    """What was assumed, and what of the vm.conf a VM made from this document would not have."""


def write(params: Mapping[str, Any], *, written_at: str, cluster_version: str | None = None) -> NewDocument:
    """The OVF of the VM that ``params`` (as ``vmconf.reader`` gives them) describe.

    ``written_at``: now, ``2021/01/15 16:45:00``, UTC. ``cluster_version``: the
    cluster's level, ``4.5``; None: as the XML says, else the oldest that engines
    of today know. Raises ``BadVmConf`` if an OVF cannot hold the VM.
    """
    params = {key: value for key, value in params.items() if value not in (None, "", "None")}
    for key, text in _texts(params):
        if _NOT_XML.search(text):
            raise BadVmConf(f"{record.shown(text)} holds a character that XML cannot", key=key)
    vm = _Vm(params, cluster_version)
    text = vm.document(written_at)
    try:
        spec = document.read(text.encode())
    except problems.BadDocument as e:
        raise BadVmConf(f"no OVF can be made of it: {e.reason}") from e
    xml = spec.engine_xml.text if spec.engine_xml else None
    lost = losses.between(params, vmparams.of(spec, xml))
    return NewDocument(text=text, vm_id=vm.vm_id, warnings=(*vm.warnings, *spec.warnings, *lost))


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every name and value, however deep, with the top-level key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield key or name, name
            yield from _texts(inner, key or name)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)
    else:
        yield key, str(value)


class _Vm:
    """The parameters, looked at as far as more than one place needs them."""

    def __init__(self, params: Mapping[str, Any], cluster_version: str | None) -> None:
        self.params = params
        self.warnings: list[str] = []
        self.domain = self._domain()
        self.vm_id = str(params.get("vmId") or self._of_domain("uuid") or "").lower()
        if not record.is_uuid(self.vm_id):
            raise BadVmConf(f"{record.shown(self.vm_id)} is not the UUID of a VM", key="vmId")
        self.name = params.get("vmName") or self._of_domain("name")
        if not self.name:
            raise BadVmConf("the VM's name is not given", key="vmName")
        memory_mib = self.count("memSize", at_least=1)
        if memory_mib is None:
            raise BadVmConf("the VM's memory in MiB is not given", key="memSize")
        self.memory_mib = memory_mib
        self.cluster_version = cluster_version or self._cluster_version()
        self.devices = devices.Devices(params.get("devices", []), self.vm_id, self.name, self.warnings)

    def count(self, key: str, *, at_least: int = 0) -> int | None:
        text = self.params.get(key)
        number = record.number(text) if isinstance(text, str) else None
        if text is not None and (number is None or number < at_least):
            raise BadVmConf(f"{record.shown(str(text))} is not a number of {at_least} or more", key=key)
        return number

    def _domain(self) -> etree._Element | None:
        if "xml" not in self.params:
            return None
        try:
            return safe_xml.parse_text(self.params["xml"])
        except problems.BadDocument:
            return None  # our own reader says so when it meets it in the document

    def _of_domain(self, path: str) -> str | None:
        return (self.domain.findtext(path) or None) if self.domain is not None else None

    def _cluster_version(self) -> str:
        names = (f"metadata/{engine_xml.OVIRT_VM}vm/{ns}clusterVersion" for ns in (engine_xml.OVIRT_VM, ""))
        known = next(filter(None, map(self._of_domain, names)), None)
        if known is None:
            self.warnings.append(
                f"the cluster's compatibility version is not in a vm.conf; {_CLUSTER_VERSION} was taken"
            )
        return known or _CLUSTER_VERSION

    def document(self, written_at: str) -> str:
        root = etree.Element(OVF + "Envelope", {OVF + "version": _VERSION}, nsmap=_PREFIXES)
        self.devices.disks.add_references(child(root, "References"))
        networks = child(root, "NetworkSection")
        child(networks, "Info", "List of networks")
        for network in self.devices.networks:
            child(networks, "Network", "", {OVF + "name": network})
        disks = child(root, "Section", None, {XSI + "type": "ovf:DiskSection_Type"})
        child(disks, "Info", "List of Virtual Disks")
        self.devices.disks.add_disks(disks)
        content = child(root, "Content", None, {OVF + "id": "out", XSI + "type": "ovf:VirtualSystem_Type"})
        for name, text in self._general(written_at).items():
            if text is not None:
                child(content, name, text)
        self._add_os(content)
        self._add_hardware(content)
        numa.add_section(content, self.params.get("guestNumaNodes", []))
        return '<?xml version="1.0" encoding="UTF-8"?>' + etree.tostring(root, encoding="unicode")

    def _general(self, written_at: str) -> dict[str, str | None]:
        """The simple elements; ``Name`` before anything that could hold the same text."""
        params, cpu = self.params, self.params.get("cpuType")
        serial = params.get("serial")
        more_memory = self.count("maxMemSize")
        return {
            "Name": self.name,
            "Description": "",
            "Comment": "",
            "CreationDate": written_at,
            "ExportDate": written_at,
            "default_boot_sequence": "0",
            "Generation": "1",
            "ClusterCompatibilityVersion": self.cluster_version,
            "VmType": "1",
            "NumOfIoThreads": str(self.count("numOfIoThreads") or 0),
            "MinAllocatedMem": str(self.count("memGuaranteedSize") or self.memory_mib),
            "MaxMemorySizeMb": str(more_memory or self.memory_mib),
            "IsStateless": "false",
            "IsRunAndPause": self._switch("launchPaused"),
            "IsBootMenuEnabled": self._switch("bootMenuEnable"),
            "SerialNumberPolicy": None if serial is None else "1" if serial == self.vm_id else "2",
            "CustomSerialNumber": None if serial in (None, self.vm_id) else serial,
            "initrd_url": params.get("initrd"),
            "kernel_url": params.get("kernel"),
            "kernel_params": params.get("kernelArgs"),
            "VncKeyboardLayout": params.get("keyboardLayout"),
            "CustomEmulatedMachine": params.get("emulatedMachine", ""),
            "BiosType": self._bios(),
            "CustomCpuName": "" if cpu == vmparams.HOST_CPU else cpu or "",
            "UseHostCpu": "true" if cpu == vmparams.HOST_CPU else "false",
            "CpuPinning": "_".join(f"{vcpu}#{cpus}" for vcpu, cpus in self._pins()),
            "PredefinedProperties": "",
            "UserDefinedProperties": properties(params.get("custom", {})),
            "LeaseDomainId": self.devices.lease_domain_id,
            "TemplateId": BLANK_ID,
            "TemplateName": "Blank",
            "IsInitilized": "true",
            "Origin": _ORIGIN,
            "DefaultDisplayType": self.devices.display_type(params.get("display")),
            "EngineXml": params.get("xml"),
        }

    def _pins(self) -> Iterator[tuple[str, str]]:
        for vcpu, cpus in self.params.get("cpuPinning", {}).items():
            if not isinstance(cpus, str):
                raise BadVmConf(f"the CPUs of vcpu {record.shown(vcpu)} are no list", key="cpuPinning")
            yield vcpu, cpus

    def _switch(self, key: str) -> str:
        return "true" if str(self.params.get(key, "")).lower() in ("true", "1", "yes") else "false"

    def _bios(self) -> str:
        """Engine's numbers; firmware other than SeaBIOS can only be seen in the XML."""
        if "q35" not in self.params.get("emulatedMachine", ""):
            return "0"
        loader = self.domain.find("os/loader") if self.domain is not None else None
        if loader is None:
            return "1"
        return "3" if loader.get("secure") == "yes" else "2"

    def _add_os(self, content: etree._Element) -> None:
        machine = self.params.get("emulatedMachine", "")
        architecture = "_ppc64" if machine.startswith("pseries") else ""
        architecture = "_s390x" if machine.startswith("s390") else architecture
        attributes = {OVF + "id": self.vm_id, OVF + "required": "false"}
        attributes[XSI + "type"] = "ovf:OperatingSystemSection_Type"
        section = child(content, "Section", None, attributes)
        child(section, "Info", "Guest Operating System")
        child(section, "Description", f"other_linux{architecture}")

    def _add_hardware(self, content: etree._Element) -> None:
        vcpus = self.count("smp", at_least=1) or 1
        cores = self.count("smpCoresPerSocket", at_least=1) or 1
        threads = self.count("smpThreadsPerCore", at_least=1) or 1
        if vcpus % (cores * threads):
            cores = threads = 1  # said among what is lost
        section = child(content, "Section", None, {XSI + "type": "ovf:VirtualHardwareSection_Type"})
        child(section, "Info", f"{vcpus} CPU, {self.memory_mib} Memory")
        child(child(section, "System"), VSSD + "VirtualSystemType", f"ENGINE {_VERSION}")
        add_item(
            section,
            Caption=f"{vcpus} virtual cpu",
            Description="Number of virtual CPU",
            InstanceId="1",
            ResourceType="3",
            num_of_sockets=str(vcpus // (cores * threads)),
            cpu_per_socket=str(cores),
            threads_per_cpu=str(threads),
            **({"max_num_of_vcpus": self.params["maxVCpus"]} if self.count("maxVCpus") is not None else {}),
            VirtualQuantity=str(vcpus),
        )
        add_item(
            section,
            Caption=f"{self.memory_mib} MB of memory",
            Description="Memory Size",
            InstanceId="2",
            ResourceType="4",
            AllocationUnits="MegaBytes",
            VirtualQuantity=str(self.memory_mib),
        )
        self.devices.add_items(section, self.params.get("display"))
