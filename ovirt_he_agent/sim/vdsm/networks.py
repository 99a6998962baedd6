"""The emulated host's networks: as VDSM reports them, and what a domain may use of them.

Shape: vdsm: lib/vdsm/network/netinfo/cache.py (_getNetInfo, networks_base_info). Reported are
the names that VDSM was given: those of the engine, or, where one is too long for
an interface, a generated one ("on" and 13 digits of the network's id). A bridged
network's ``iface`` has that name.
"""

import xml.etree.ElementTree as ET
from collections.abc import Collection

MANAGEMENT = "ovirtmgmt"
DUMMY_BRIDGE = ";vdsmdummy;"
LIBVIRT_PREFIX = "vdsm-"


class NetworkMissing(Exception):
    """libvirt cannot start the domain on this host."""


def report(names: Collection[str]) -> dict[str, object]:
    """``networks`` and ``bridges`` of Host.getCapabilities."""
    return {
        "networks": {name: _network(name) for name in names},
        "bridges": {name: _device(name) for name in names},
    }


def _device(name: str) -> dict[str, object]:
    return {
        "ports": [],
        "stp": "off",
        "addr": "",
        "netmask": "",
        "ipv4addrs": [],
        "ipv6addrs": [],
        "ipv6autoconf": False,
        "gateway": "",
        "ipv6gateway": "::",
        "ipv4defaultroute": False,
        "mtu": 1500,
        "dhcpv4": False,
        "dhcpv6": False,
    }


def _network(name: str) -> dict[str, object]:
    return _device(name) | {"iface": name, "bridged": True, "switch": "legacy", "southbound": None}


def check(domain_xml: str, names: Collection[str]) -> None:
    """Raises ``NetworkMissing`` for a bridge, or a network of a console, that the host does not have."""
    root = ET.fromstring(domain_xml)
    for source in root.findall("devices/interface/source"):
        bridge = source.get("bridge")
        if bridge is not None and bridge not in (*names, DUMMY_BRIDGE):
            raise NetworkMissing(f"Cannot get interface MTU on '{bridge}': No such device")
    for listen in root.findall("devices/graphics/listen"):
        network = listen.get("network") or ""
        if listen.get("type") == "network" and network.removeprefix(LIBVIRT_PREFIX) not in names:
            raise NetworkMissing(
                f"internal error: network '{network}' has no device on this host, so a console cannot listen"
            )
