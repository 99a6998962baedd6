"""hosted-engine.conf, upstream's local file that says who this host is.

Format: he-ha: env/config_file.py. A line is ``key=value``, split at the first
``=`` and stripped; ``#`` starts a comment line; the last of repeated keys
counts; empty and ``None`` mean missing. No quotes, no escapes.
"""

import posixpath
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ovirt_he_agent.core import model
from ovirt_he_agent.errors import NotConfigured

BLANK_UUID = "00000000-0000-0000-0000-000000000000"
MAX_HOST_ID = 2000
DEFAULT_BRIDGE = "ovirtmgmt"
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_AGAIN = "deploy this host (engine: Hosts > Reinstall with Hosted Engine deploy), or mend the file"


@dataclass(eq=False)
class ConfMissing(NotConfigured):
    path: Path
    msg: ClassVar[str] = "{self.path} is missing: this host is not deployed for the hosted engine; " + _AGAIN


@dataclass(eq=False)
class ConfUnreadable(NotConfigured):
    path: Path
    reason: str
    msg: ClassVar[str] = (
        "{self.path} cannot be read: {self.reason}; it is a text file that user vdsm must be able to read "
        "(vdsm:kvm 0440)"
    )


@dataclass(eq=False)
class ConfDamaged(NotConfigured):
    path: Path
    reason: str
    msg: ClassVar[str] = "{self.path}: {self.reason}; " + _AGAIN


@dataclass(eq=False)
class BadValue(NotConfigured):
    path: Path
    key: str
    problem: str
    msg: ClassVar[str] = "{self.path}: {self.key} {self.problem}; " + _AGAIN


class Secret(str):
    """A password: text like any other, but a value that holds it can be shown and logged."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedEngineConf:
    """The deployment as the file says it, checked. Volumes are (image id, volume id)."""

    path: Path
    host_id: int
    vm_id: str
    domain_id: str
    fqdn: str
    bridge: str
    """The management network's; consoles listen on it."""
    network_test: model.NetworkTest
    is_up_to_date: bool
    """It names the shared configuration archive; without it upstream's hosts show a lower score."""
    vm_disk: tuple[str, str]
    whiteboard: tuple[str, str]
    lockspace: tuple[str, str]
    domain_type: str
    domain_type_number: int
    """VDSM's number (vdsm: lib/vdsm/storage/sd.py)."""
    connections: tuple[Mapping[str, Any], ...] = field(repr=False)
    """For StoragePool.connectStorageServer; none with fc."""


_TYPE_NUMBERS = {"nfs": 1, "nfs3": 1, "nfs4": 1, "fc": 2, "iscsi": 3, "glusterfs": 7}


def load(path: Path) -> HostedEngineConf:
    """Read and check hosted-engine.conf. Raises a ``NotConfigured``."""
    return _Values(path, _pairs(path)).conf()


def _pairs(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as e:
        raise ConfMissing(path) from e
    except OSError as e:
        raise ConfUnreadable(path, e.strerror or str(e)) from e
    except UnicodeDecodeError as e:
        raise ConfDamaged(path, f"byte {e.start} is not UTF-8 text") from e
    if not text.strip():
        raise ConfDamaged(path, "it is empty")
    values = {}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            values[key.strip()] = value.strip()
    return values


class _Values:
    """The file's values, each asked for once, by what it has to be."""

    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        self._path = path
        self._configured = values.get("configured", "True")
        self._values = {key: value for key, value in values.items() if value not in ("", "None")}

    def conf(self) -> HostedEngineConf:
        if self._configured != "True":
            raise self._bad("configured", f"is {self._configured!r}, not True: HA is off on this host")
        if (pool := self._uuid("spUUID")) != BLANK_UUID:
            raise self._bad("spUUID", f"is {pool}, not {BLANK_UUID}: a deployment of oVirt 3.5, not upgraded")
        domain_type = self._text("domainType")
        if domain_type not in _TYPE_NUMBERS:
            raise self._bad("domainType", f"is {domain_type!r}, not one of {', '.join(_TYPE_NUMBERS)}")
        conf = HostedEngineConf(
            path=self._path,
            host_id=self._host_id(),
            vm_id=self._uuid("vmid"),
            domain_id=self._uuid("sdUUID"),
            fqdn=self._fqdn(),
            bridge=self._bridge(),
            network_test=self._network_test(),
            is_up_to_date={"conf_image_UUID", "conf_volume_UUID"} <= self._values.keys(),
            vm_disk=(self._uuid("vm_disk_id"), self._uuid("vm_disk_vol_id")),
            whiteboard=(self._uuid("metadata_image_UUID"), self._uuid("metadata_volume_UUID")),
            lockspace=(self._uuid("lockspace_image_UUID"), self._uuid("lockspace_volume_UUID")),
            domain_type=domain_type,
            domain_type_number=_TYPE_NUMBERS[domain_type],
            connections=self._connections(domain_type),
        )
        owners: dict[str, str] = {}
        for key, (_, volume_id) in (
            ("vm_disk_vol_id", conf.vm_disk),
            ("metadata_volume_UUID", conf.whiteboard),
            ("lockspace_volume_UUID", conf.lockspace),
        ):
            if volume_id in owners:
                raise self._bad(key, f"contradicts {owners[volume_id]}: both are volume {volume_id}")
            owners[volume_id] = key
        return conf

    def _bad(self, key: str, problem: str) -> BadValue:
        return BadValue(self._path, key, problem)

    def _text(self, key: str) -> str:
        if key not in self._values:
            raise self._bad(key, "is missing")
        return self._values[key]

    def _uuid(self, key: str) -> str:
        text = self._text(key)
        try:
            number = str(uuid.UUID(text))
        except ValueError as e:
            raise self._bad(key, f"is {text!r}, not a UUID") from e
        if number != text.lower():  # UUID() takes braces and more, a path of storage does not
            raise self._bad(key, f"is {text!r}, not a UUID like {number}")
        return number

    def _fqdn(self) -> str:
        """Stands in a URL later."""
        text = self._text("fqdn")
        if not _HOST_NAME.fullmatch(text):
            raise self._bad("fqdn", f"is {text!r}, not a host name")
        return text

    def _bridge(self) -> str:
        """Stands in the domain XML later. Old deployments name none."""
        text = self._values.get("bridge", DEFAULT_BRIDGE)
        if not text.isprintable() or re.search(r"[\s/]", text):
            raise self._bad("bridge", f"is {text!r}, not the name of a network")
        return text

    def _network_test(self) -> model.NetworkTest:
        """Missing: ping (he-ha: broker/submonitors/network.py)."""
        word = self._values.get("network_test", model.NetworkTestKind.PING)
        try:
            kind = model.NetworkTestKind(word)
        except ValueError as e:
            raise self._bad(
                "network_test", f"is {word!r}, not one of {', '.join(model.NetworkTestKind)}"
            ) from e
        match kind:
            case model.NetworkTestKind.PING:
                return model.NetworkTest(kind=kind, address=self._address("gateway", kind))
            case model.NetworkTestKind.TCP:
                address, port = self._address("tcp_t_address", kind), self._port("tcp_t_port", kind)
                return model.NetworkTest(kind=kind, address=address, port=port)
            case _:
                return model.NetworkTest(kind=kind)

    def _address(self, key: str, kind: model.NetworkTestKind) -> str:
        """A name or a number of either family."""
        text = self._of_test(key, kind)
        if not text.isprintable() or re.search(r"[\s/]", text):
            raise self._bad(key, f"is {text!r}, not a host name or an address")
        return text

    def _port(self, key: str, kind: model.NetworkTestKind) -> int:
        text = self._of_test(key, kind)
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
            raise self._bad(key, f"is {text!r}, not a number from 1 to 65535")
        return int(text)

    def _of_test(self, key: str, kind: model.NetworkTestKind) -> str:
        if key not in self._values:
            raise self._bad(key, f"is missing, which network_test={kind} needs (set it, or network_test=dns)")
        return self._values[key]

    def _host_id(self) -> int:
        text = self._text("host_id")
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_HOST_ID:
            raise self._bad("host_id", f"is {text!r}, not a number from 1 to {MAX_HOST_ID}")
        return int(text)

    def _connections(self, domain_type: str) -> tuple[Mapping[str, Any], ...]:
        match domain_type:
            case "fc":
                return ()
            case "iscsi":
                return self._iscsi()
            case _:
                return (self._mounted(domain_type),)

    def _mounted(self, domain_type: str) -> Mapping[str, Any]:
        storage = self._text("storage")
        server, colon, path = storage.rpartition(":")
        if not (server and colon and path):
            raise self._bad("storage", f"is {storage!r}, not like server:/path")
        connection: dict[str, Any] = {
            "id": self._uuid("connectionUUID"),
            "connection": posixpath.normpath(storage),
            "user": "kvm",
        }
        match domain_type:
            case "glusterfs":
                connection["vfs_type"] = "glusterfs"
            case "nfs3" | "nfs4":
                connection["protocol_version"] = domain_type[-1]
            case _:
                version = self._values.get("nfs_version", "auto")
                connection["protocol_version"] = version.removeprefix("v").replace("_", ".")
        if options := self._values.get("mnt_options"):
            connection["mnt_options"] = options
        return connection

    def _iscsi(self) -> tuple[Mapping[str, Any], ...]:
        """One connection for each portal; with several targets all keys are lists of equal length."""
        addresses = self._text("storage").split(",")
        several = "," in self._text("iqn")
        columns = {"connection": addresses}
        for name, key in (
            ("port", "port"),
            ("iqn", "iqn"),
            ("tpgt", "portal"),
            ("user", "user"),
            ("password", "password"),
        ):
            optional = key in ("user", "password")
            text = self._values.get(key, "") if optional else self._text(key)
            column = text.split(",") if text and (several or key == "port") else [text] * len(addresses)
            if len(column) != len(addresses):
                parts = f"has {len(column)} parts between commas"
                raise self._bad(key, f"{parts}, storage has {len(addresses)}: they belong together")
            if key in ("port", "portal") and not all(re.fullmatch("[0-9]+", part) for part in column):
                raise self._bad(key, f"is {text!r}, not a number for each address of storage")
            columns[name] = [Secret(part) for part in column] if key == "password" else column
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if options := self._values.get("mnt_options"):
            rows[0]["mnt_options"] = options
        return tuple(
            {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{r['connection']}:{r['port']}/{r['iqn']}")), **r}
            for r in rows
        )


class Watched:
    """Notices by one stat that a file is another one than when ``remember`` was called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._look()

    def _look(self) -> tuple[int, int, int, int] | int | None:
        try:
            seen = self._path.stat()
        except OSError as e:
            return e.errno
        # the last is the time of its owner and mode, too: what could not be read may be readable now
        return (seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_ctime_ns)

    def remember(self) -> None:
        self._known = self._look()

    def changed(self) -> bool:
        return self._look() != self._known
