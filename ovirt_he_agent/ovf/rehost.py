"""What an embedded domain has of another host, or of another time, is exchanged for what this host has.

The text is made without a host and stays as it is until the VM changes: names
of bridges, the network of the consoles, block or file storage.
"""

from collections.abc import Iterable, Sequence

from lxml import etree

from ovirt_he_agent.ovf import embedded, problems, refusals, vmspec
from ovirt_he_agent.ovf.engine_xml import OVIRT_VM
from ovirt_he_agent.ovf.host_facts import HostFacts
from ovirt_he_agent.ovf.problems import named

_LIBVIRT_NETWORK = "vdsm-"
"""VDSM's prefix of the libvirt networks made for consoles (vdsm: lib/vdsm/virt/libvirtnetwork.py)."""


def adapt(
    spec: vmspec.VmSpec,
    root: etree._Element,
    disks: Sequence[embedded.Disk],
    nics: Sequence[embedded.Nic],
    host: HostFacts,
    repairs: problems.Warnings,
    warnings: problems.Warnings,
) -> None:
    """Change ``root`` and note each change in ``repairs``. What the host does not tell stays as it is.

    Raises ``refusals.NicsMissing``.
    """
    work = _Adaption(spec, root, host, repairs, warnings)
    work.see_to_storage(disks)
    work.see_to_consoles()
    work.see_to_nics(nics)
    work.look_at_launch_paused()


class _Adaption:
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
        self._networks = {n.mac.lower() if n.mac else None: n.network for n in spec.nics}
        self._repairs = repairs
        self._warnings = warnings

    def see_to_storage(self, disks: Sequence[embedded.Disk]) -> None:
        if self._host.block_domain_ids is None:
            return
        for disk in disks:
            if disk.domain_id is None or disk.element.get("type") not in ("file", "block"):
                continue
            right = "block" if disk.domain_id in self._host.block_domain_ids else "file"
            if disk.element.get("type") == right:
                continue
            disk.element.set("type", right)
            for source in disk.element.findall("source"):
                old, new = ("file", "dev") if right == "block" else ("dev", "file")
                source.set(new, source.attrib.pop(old, ""))
            self._repairs.add(
                f"{disk.what} is of type {right}, as storage domain {disk.domain_id} is on this host"
            )

    def see_to_consoles(self) -> None:
        ours = _LIBVIRT_NETWORK + self._host.display_network
        for graphics in self._root.iterfind("devices/graphics"):
            kind = graphics.get("type") or "console"
            listens = graphics.findall("listen")
            if not listens:
                if "listen" in graphics.attrib:
                    del graphics.attrib["listen"]
                etree.SubElement(graphics, "listen", type="network", network=ours)
                self._repairs.add(f"{kind} listens on {ours}: VDSM starts no console that listens nowhere")
            for listen in listens:
                wanted = listen.get("network") or ""
                if listen.get("type") == "network" and self._is_missing(wanted):
                    self._repairs.add(
                        f"{kind} listens on {ours}, for this host has no network {named(wanted)}"
                    )
                    listen.set("network", ours)
            if kind == "vnc" and not graphics.get("passwdValidTo"):
                self._warnings.add(
                    "vnc has no password: VDSM starts it only where VNC uses SASL (vnc_sasl in qemu.conf)"
                )

    def _is_missing(self, libvirt_network: str) -> bool:
        bridges = self._host.bridges
        name = libvirt_network.removeprefix(_LIBVIRT_NETWORK)
        if bridges is None or name == self._host.display_network:
            return False
        return name not in bridges and name not in bridges.values()

    def see_to_nics(self, nics: Sequence[embedded.Nic]) -> None:
        missing: list[embedded.Nic] = []
        for nic in nics:
            is_of_one_host = nic.element.get("type") == "hostdev"
            if is_of_one_host or (nic.bridge is not None and not self._connect(nic, nic.bridge)):
                missing.append(nic)
        if missing and not self._host.without_missing_nics:
            raise refusals.NicsMissing(self._spec.vm_id, tuple(map(_lack, missing)))
        for nic in missing:
            embedded.remove(nic.element)
            for metadata in nic.metadata:
                embedded.remove(metadata)
            self._repairs.add(f"{nic.what} is taken out: {_lack(nic)}")
            self._warnings.add(f"the VM starts without {nic.what}: {_lack(nic)}")

    def _connect(self, nic: embedded.Nic, bridge: str) -> bool:
        """False: the host has neither a bridge for the engine's network of this NIC nor the one it names."""
        bridges = self._host.bridges
        if bridges is None:
            return True
        name = self._networks.get(nic.mac)
        if name is None or name not in bridges:
            return bridge in bridges.values()
        if bridges[name] == bridge:
            return True
        assert nic.source is not None
        nic.source.set("bridge", bridges[name])
        self._repairs.add(f"{nic.what} is on bridge {bridges[name]}, this host's of network {named(name)}")
        return True

    def look_at_launch_paused(self) -> None:
        metadata = embedded.metadata_of(self._root)
        words = [e.text or "" for e in _named(metadata, "launchPaused")]
        if len(set(words)) > 1:
            self._warnings.add(f"launchPaused is there {len(words)} times; VDSM obeys the last, {words[-1]}")


def _named(metadata: etree._Element | None, name: str) -> Iterable[etree._Element]:
    return (e for e in metadata if e.tag in (name, OVIRT_VM + name)) if metadata is not None else ()


def _lack(nic: embedded.Nic) -> str:
    if nic.element.get("type") == "hostdev":
        return f"{nic.what} is a device of one host"
    return f"{nic.what} needs bridge {named(nic.bridge)}, which this host does not have"
