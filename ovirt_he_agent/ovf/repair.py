"""An embedded domain of ours made fit to be sent: what protects its disks, and what is another host's in it.

safety: nothing but what is listed in ``repairs`` is changed, and every image
disk that the OVF does not call shareable leaves here marked exclusive and with
a lease. VDSM adds neither by itself.
"""

from collections.abc import Sequence

from lxml import etree

from ovirt_he_agent.ovf import embedded, engine_xml, problems, rehost, safe_xml, unfit, vmspec
from ovirt_he_agent.ovf.engine_xml import OVIRT_VM
from ovirt_he_agent.ovf.host_facts import HostFacts
from ovirt_he_agent.ovf.problems import named
from ovirt_he_agent.ovf.value import Value

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


class Unfit(Exception):
    """It cannot be sent, not even repaired; ``reasons`` say why."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(problems.listed(reasons))


class Fitted(Value):
    xml: str
    repairs: tuple[str, ...]
    """What was changed; empty: nothing, ``xml`` is the embedded text itself."""
    warnings: tuple[str, ...]
    leases: tuple[vmspec.Lease, ...]


def fit(spec: vmspec.VmSpec, text: str, host: HostFacts) -> Fitted:
    """The embedded domain ``text`` of ``spec`` for ``host``, repaired where it has to be.

    Raises ``Unfit``, and ``refusals.NicsMissing`` for what another domain would lack as well.
    """
    root = safe_xml.parse_text(text)
    disks, nics = embedded.disks(root), embedded.nics(root)
    if faults := unfit.reasons(spec, root, disks, nics):
        raise Unfit(faults)
    repairs = problems.Warnings()
    warnings = problems.Warnings()
    _Protection(spec, root, host, repairs, warnings).complete(disks)
    rehost.adapt(spec, root, disks, nics, host, repairs, warnings)
    leases = tuple(engine_xml.leases_of(root))
    if not leases:
        raise Unfit(["neither a disk nor the VM has a lease"])
    done = repairs.texts()
    if done:
        text = f"{_DECLARATION}\n{etree.tostring(root, encoding='unicode')}"
    return Fitted(xml=text, repairs=done, warnings=warnings.texts(), leases=leases)


class _Protection:
    """Marks and leases of one domain; every change to the tree is noted."""

    def __init__(
        self,
        spec: vmspec.VmSpec,
        root: etree._Element,
        host: HostFacts,
        repairs: problems.Warnings,
        warnings: problems.Warnings,
    ) -> None:
        self._spec = spec
        self._root = root
        self._host = host
        self._leases = {
            (lease.findtext("key"), lease.findtext("lockspace")): lease
            for lease in root.iterfind("devices/lease")
        }
        self._repairs = repairs
        self._warnings = warnings

    def complete(self, all_disks: Sequence[embedded.Disk]) -> None:
        disks = {disk.volume_id: disk for disk in all_disks if disk.is_drive}
        for image in self._spec.plugged_images:
            if not image.shareable:
                self._mark(image, disks[image.volume_id].metadata[0])
                self._give_lease(image)
        self._see_to_vm_lease()

    def _mark(self, image: vmspec.ImageDisk, metadata: etree._Element) -> None:
        word = engine_xml.leaf(metadata, "shared")
        if word == "exclusive":
            return
        for old in metadata.findall(f"{OVIRT_VM}shared") + metadata.findall("shared"):
            metadata.remove(old)
        etree.SubElement(metadata, f"{OVIRT_VM}shared").text = "exclusive"
        self._repairs.add(f"disk {named(image.alias)} (volume {named(image.volume_id)}) is marked exclusive")

    def _give_lease(self, image: vmspec.ImageDisk) -> None:
        assert image.domain_id is not None  # unfit.reasons
        names = f"{image.volume_id}:{image.domain_id}"
        path, offset = f"LEASE-PATH:{names}", f"LEASE-OFFSET:{names}"
        of = f"disk {named(image.alias)} (volume {named(image.volume_id)})"
        lease = self._leases.get((image.volume_id, image.domain_id))
        if lease is None:
            self._add_lease(image.volume_id, image.domain_id, path, offset)
            self._repairs.add(f"{of} gets a lease on storage domain {named(image.domain_id)}")
        elif not _is_for_vdsm(self._place(lease)):
            # safety: a place that VDSM leaves as it is may be another volume's by now
            self._set_place(lease, path, offset)
            self._repairs.add(f"the lease of {of} gets a place for VDSM to fill in")

    def _see_to_vm_lease(self) -> None:
        """VDSM fills in nothing here: path and offset are the host's or the lease cannot be taken."""
        vm_id, known = self._spec.vm_id, self._host.vm_lease
        found = [lease for (key, _), lease in self._leases.items() if key == vm_id]
        domain_id = self._spec.lease_domain_id
        if known is not None and (known.key, known.lockspace) != (vm_id, domain_id):
            known = None  # safety: another lease's place protects nothing
        if known is not None and domain_id is not None and known.path and known.offset_bytes is not None:
            place = (known.path, str(known.offset_bytes))
            lease = self._leases.get((vm_id, domain_id))
            if lease is None:
                self._add_lease(vm_id, domain_id, *place)
                self._repairs.add(f"the VM lease on storage domain {named(domain_id)} is added")
            elif self._place(lease) != place:
                self._set_place(lease, *place)
                self._repairs.add("the VM lease gets the place where VDSM finds it")
            found = [other for other in found if other is not lease]
        elif domain_id is not None and not found:
            self._warnings.add(_vm_lease_not_taken(domain_id))
        for lease in found:
            place_now = self._place(lease)
            if place_now is None or not place_now[1].isdigit():
                lockspace = lease.findtext("lockspace")
                embedded.remove(lease)
                self._repairs.add("a VM lease without a place is taken out")
                self._warnings.add(_vm_lease_not_taken(lockspace))

    @staticmethod
    def _place(lease: etree._Element) -> tuple[str, str] | None:
        """None: path or offset is not there, which VDSM does not survive."""
        target = lease.find("target")
        if target is None:
            return None
        path, offset = target.get("path"), target.get("offset")
        return (path, offset) if path and offset else None

    @staticmethod
    def _set_place(lease: etree._Element, path: str, offset: str) -> None:
        target = lease.find("target")
        if target is None:
            target = etree.SubElement(lease, "target")
        target.set("path", path)
        target.set("offset", offset)

    def _add_lease(self, key: str, lockspace: str, path: str, offset: str) -> None:
        devices = self._root.find("devices")
        assert devices is not None  # unfit.reasons
        lease = etree.SubElement(devices, "lease")
        etree.SubElement(lease, "key").text = key
        etree.SubElement(lease, "lockspace").text = lockspace
        self._set_place(lease, path, offset)


def _is_for_vdsm(place: tuple[str, str] | None) -> bool:
    """Whether VDSM replaces it with the place of the volume that it has prepared."""
    return place is not None and place[0].startswith("LEASE-PATH") and place[1].startswith("LEASE-OFFSET")


def _vm_lease_not_taken(domain_id: str | None) -> str:
    return (
        f"the VM lease on storage domain {named(domain_id)} is not taken, for VDSM does not tell where it "
        "lies; the leases of the disks protect the VM"
    )
