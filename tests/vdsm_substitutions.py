"""What libvirt gets of a domain XML that VDSM was sent, and libvirt's own word on it.

Facts: vdsm: lib/vdsm/virt/vm.py (_buildDomainXML), domxml_preprocess.py,
vmdevices/{storagexml,lease}.py, libvirtxml.py. VDSM takes ``on_reboot`` away,
fills in the SMBIOS placeholders, the path and type of every disk that its
metadata makes one of its images, and the place of every lease of such a disk.
"""

from collections.abc import Collection

from lxml import etree

OVIRT_VM = "{http://ovirt.org/vm/1.0}"
_SMBIOS = {
    "OS-NAME:": "RHEL",
    "OS-VERSION:": "9.4-1.el9",
    "HOST-SERIAL:": "4c4c4544-0000-2010-8020-80c04f202020",
}
_IDS = ("poolID", "domainID", "imageID", "volumeID")


def substituted(xml: str, block_domain_ids: Collection[str] = ()) -> str:
    """The domain XML after VDSM's changes, on a host where all storage is well."""
    root = etree.fromstring(xml.encode())
    for element in root.findall("on_reboot"):
        root.remove(element)
    for entry in root.iterfind("sysinfo/system/entry"):
        entry.text = _SMBIOS.get(entry.text or "", entry.text)
    images = _images(root)
    for disk in root.iterfind("devices/disk"):
        image = images.get(_child(disk, "target").get("dev", ""))
        if image is not None:
            _set_source(disk, image, image["domainID"] in block_domain_ids)
    leaves = [(image["volumeID"], image["domainID"]) for image in images.values()]
    offsets_bytes = {leaf: number << 20 for number, leaf in enumerate(leaves, start=1)}
    for lease in root.iterfind("devices/lease"):
        _set_place(lease, offsets_bytes)
    return etree.tostring(root, encoding="unicode")


def _child(element: etree._Element, name: str) -> etree._Element:
    child = element.find(name)
    assert child is not None, f"VDSM wants a {name} in {element.tag}"
    return child


def _images(root: etree._Element) -> dict[str, dict[str, str]]:
    """VDSM's images by the disk's name: only metadata with all four ids makes one."""
    images = {}
    for device in root.iterfind(f"metadata/{OVIRT_VM}vm/{OVIRT_VM}device[@devtype='disk']"):
        leaves = {etree.QName(child).localname: child.text or "" for child in device}
        if all(leaves.get(name) for name in _IDS):
            images[device.get("name", "")] = leaves
    return images


def _set_source(disk: etree._Element, image: dict[str, str], block: bool) -> None:
    source = _child(disk, "source")
    for attribute in ("file", "dev"):
        source.attrib.pop(attribute, "")
    disk.set("type", "block" if block else "file")
    where = "/".join(image[name] for name in ("domainID", "imageID", "volumeID"))
    source.set("dev" if block else "file", f"/run/vdsm/storage/{where}")
    if source.find("seclabel") is None:
        etree.SubElement(source, "seclabel", model="dac", relabel="no")


def _set_place(lease: etree._Element, offsets_bytes: dict[tuple[str, str], int]) -> None:
    key, lockspace = lease.findtext("key") or "", lease.findtext("lockspace") or ""
    target = _child(lease, "target")
    offset_bytes = offsets_bytes.get((key, lockspace))
    if offset_bytes is None:
        return  # a VM lease to VDSM: what stands there stays there
    if target.get("path", "").startswith("LEASE-PATH:"):
        target.set("path", f"/rhev/data-center/mnt/host:_he/{lockspace}/dom_md/leases")
    if target.get("offset", "").startswith("LEASE-OFFSET:"):
        target.set("offset", str(offset_bytes))


def refusal(xml: str, block_domain_ids: Collection[str] = ()) -> str | None:
    """Why libvirt's test driver does not define what VDSM would hand over; None: it defines it.

    Needs the real part "libvirt".
    """
    import libvirt

    libvirt.registerErrorHandler(lambda *_: None, None)  # it prints every refusal
    connection = libvirt.open("test:///default")
    try:
        connection.defineXML(substituted(xml, block_domain_ids)).undefine()
    except libvirt.libvirtError as e:
        return str(e)
    finally:
        connection.close()
    return None
