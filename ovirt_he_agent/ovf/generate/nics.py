"""NICs: on which bridge of this host, of which model, and what is done about one that cannot be built."""

from lxml import etree

from ovirt_he_agent.ovf import problems, record, refusals, vmspec
from ovirt_he_agent.ovf.generate.draft import OVIRT_VM, Draft, add
from ovirt_he_agent.ovf.generate.metadata import add_custom

_NO_NETWORK = ";vdsmdummy;"
"""VDSM's bridge that leads nowhere (vdsm: lib/vdsm/network/api.py)."""
_BRIDGE_NAME_BYTES = 15
_MAX_QUEUES = 4
_VHOST = {"true": "vhost", "false": "qemu"}


def add_nics(draft: Draft, devices: etree._Element) -> None:
    """``interface`` elements.

    Raises ``refusals.CannotGenerate`` for a NIC that no host could build and that
    must not be left out, ``refusals.NicsMissing`` for those that only this one cannot.
    """
    profiles = []
    missing = []
    for nic in draft.spec.nics:
        if not nic.plugged:
            continue
        what = f"NIC {problems.named(nic.name or nic.id or nic.mac)}"
        lack = _lack(draft, nic)
        fault = lack or _fault(nic)
        if fault is not None:
            if lack is not None and not draft.host.without_missing_nics:
                missing.append(f"{what}: {lack}")
                continue
            if not draft.host.without_missing_nics:
                draft.refuse(f"{what} cannot be built on this host: {fault}")
            draft.warn(f"{what} is left out: {fault}.")
            continue
        _add_nic(draft, devices, nic, what)
        if nic.profile:
            profiles.append(what)
    if missing:
        raise refusals.NicsMissing(draft.spec.vm_id, tuple(missing))
    if profiles:
        draft.warn(
            "The network filter, bandwidth and isolation of a vNIC profile are not in the OVF: "
            f"{', '.join(profiles)} without them."
        )


def _lack(draft: Draft, nic: vmspec.Nic) -> str | None:
    """Why this host cannot build the NIC."""
    if nic.device == "hostdev" or nic.model is vmspec.NicModel.PCI_PASSTHROUGH:
        return "it is a device of one certain host (SR-IOV)"
    if nic.network is not None and draft.host.bridges is not None and nic.network not in draft.host.bridges:
        return f"the host has no network {record.shown(nic.network)}"
    return None


def _fault(nic: vmspec.Nic) -> str | None:
    """Why no host can build it."""
    if nic.mac is None:
        return "it has no MAC address"
    if not _is_unicast(nic.mac):
        return f"its MAC address {record.shown(nic.mac)} is none of a NIC"
    return None


def _is_unicast(mac: str) -> bool:
    groups = mac.split(":")
    digits = "".join(groups)
    if [len(group) for group in groups] != [2] * 6 or digits.strip("0123456789abcdefABCDEF"):
        return False
    return not int(groups[0], 16) & 1 and int(digits, 16) != 0


def _add_nic(draft: Draft, devices: etree._Element, nic: vmspec.Nic, what: str) -> None:
    mac = (nic.mac or "").lower()  # as libvirt writes it, or VDSM loses its metadata when it restarts
    element = add(devices, "interface", type="bridge")
    add(element, "mac", address=mac)
    model = _model(draft, nic, what)
    add(element, "model", type=model)
    add(element, "source", bridge=_bridge(draft, nic, what))
    add(element, "link", state="up" if nic.linked and nic.network is not None else "down")
    driver = _driver(draft, nic, model)
    if driver:
        add(element, "driver", **driver)
    _add_send_buffer(draft, element)
    draft.name(element, nic.id)
    if nic.boot_order is not None:
        draft.boots(element, nic.boot_order)
    draft.wish(element, nic.address, what, "spapr-vio" if model == "spapr-vlan" else "nic")
    if mac in draft.macs:
        draft.warn(f"{what} has the MAC address of another NIC: VDSM is told nothing of it.")
        return
    draft.macs.add(mac)
    metadata = add(draft.metadata, OVIRT_VM + "device", mac_address=mac)
    add_custom(draft, metadata, nic.custom_properties, what)


def _model(draft: Draft, nic: vmspec.Nic, what: str) -> str:
    if nic.model is None:
        draft.warn(f"{what}: its model is not known: taken as virtio.")
        return "virtio"
    if nic.model is not vmspec.NicModel.RTL8139_PV:
        return nic.model.value
    model = "rtl8139" if draft.platform.windows else "virtio"
    draft.warn(f"{what}: rtl8139_pv is one of two models, by what the guest has: taken as {model}.")
    return model


def _bridge(draft: Draft, nic: vmspec.Nic, what: str) -> str:
    if nic.network is None:
        return _NO_NETWORK
    if draft.host.bridges is not None:
        return draft.host.bridges[nic.network]
    if nic.network.isascii() and len(nic.network) <= _BRIDGE_NAME_BYTES:
        hint = "this is taken as its bridge's name"
    else:
        hint = "its bridge has another, generated name, without which the VM does not start"
    draft.warn(f"{what}: the host's network for {record.shown(nic.network)} is not known here; {hint}.")
    return nic.network


def _driver(draft: Draft, nic: vmspec.Nic, model: str) -> dict[str, str]:
    """``vhost`` is ``network:true,network:false``, by the engine's name of the network."""
    if model != "virtio":
        return {}
    driver = {}
    if draft.spec.multi_queues and draft.spec.vcpus > 1:
        driver = {"name": "vhost", "queues": str(min(draft.spec.vcpus, _MAX_QUEUES))}
    for part in filter(None, draft.spec.custom_properties.get("vhost", "").split(",")):
        network, _, switch = part.rpartition(":")
        name = _VHOST.get(switch.strip().lower())
        if name is None:
            draft.warn_once(
                f"{record.shown(part)} of the custom property vhost is left out: it cannot be read."
            )
        elif network.strip() == nic.network:
            driver["name"] = name
    return driver


def _add_send_buffer(draft: Draft, element: etree._Element) -> None:
    written = draft.spec.custom_properties.get("sndbuf")
    if not written:
        return
    size_bytes = record.number(written)
    if size_bytes is None or size_bytes < 0 or size_bytes >= 1 << 31:
        draft.warn_once(f"The custom property sndbuf is {record.shown(written)}, no size: it is left out.")
    else:
        add(add(element, "tune"), "sndbuf", str(size_bytes))
