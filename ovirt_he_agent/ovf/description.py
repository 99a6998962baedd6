"""A volume's description, if it is an OVF_STORE's: whose it is, how new, how long.

VDSM cuts a description at 210 bytes, ordinary disks have JSON of their own,
and users write what they like there. So: a description that is not exactly an
OVF_STORE's is "not a store" and never an error.
(ovirt-engine: bll/storage/ovfstore; vdsm: lib/vdsm/storage/constants.py)
"""

import datetime
import json
import re
from dataclasses import dataclass

_MOST_CHARS = 4096
MOST_BYTES = 210
"""VDSM cuts what is longer."""
_KEYS = ("Updated", "Size", "Last Updated", "Storage Domains", "Disk Description")
"""In the engine's order."""
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_JAVA_DATE = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) (\S{1,10}) ([0-9]{4})"
)
_GMT_OFFSET = re.compile(r"(?:GMT|UTC)([+-])([0-9]{2}):?([0-9]{2})")
_ZONES_MINUTES = {
    # Only what means one offset to everybody; BST, CDT, CST, IST and others mean several. Where a date
    # is unknown the documents themselves decide (adapters/ovfstore).
    "UTC": 0, "Z": 0, "WET": 0, "WEST": 60, "CET": 60, "CEST": 120, "EET": 120, "EEST": 180,
    "MSK": 180, "JST": 540, "KST": 540, "AEST": 600, "AEDT": 660, "NZST": 720, "NZDT": 780,
    "EST": -300, "EDT": -240, "MST": -420, "MDT": -360, "PST": -480, "PDT": -420, "GMT": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDescription:
    """What the engine wrote beside a store."""

    domain_ids: tuple[str, ...]
    """The storage domain that it belongs to (one; a copied volume shows another's)."""
    updated: bool
    """False from before an upload until after it: the content may be torn."""
    last_updated: str | None
    """Of the last good content, as written; None: never written."""
    last_updated_s: int | None
    """The same in seconds since 1970; None too if it cannot be told which moment is meant."""
    size_bytes: int | None
    """Length of the archive, only known while ``updated``."""

    @property
    def preference(self) -> tuple[bool, int]:
        """Sorts stores, best first: updated ones, then the latest; an unknown date comes last."""
        return not self.updated, 1 if self.last_updated_s is None else -self.last_updated_s

    def rivals(self, other: "StoreDescription") -> bool:
        """The two do not tell which store is newer: the documents have to."""
        if self.updated != other.updated:
            return False
        return self.last_updated_s is None or other.last_updated_s in (None, self.last_updated_s)


def parse(text: str) -> StoreDescription | None:
    """The description of an OVF_STORE, or None if ``text`` is something else's."""
    if len(text) > _MOST_CHARS:
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("Disk Description") != "OVF_STORE":
        return None
    domains = fields.get("Storage Domains")
    last_updated = fields.get("Last Updated")
    size = fields.get("Size")
    if not isinstance(last_updated, str):
        last_updated = None
    return StoreDescription(
        domain_ids=tuple(
            domain["uuid"]
            for domain in (domains if isinstance(domains, list) else [])
            if isinstance(domain, dict) and isinstance(domain.get("uuid"), str)
        ),
        updated=fields.get("Updated") is True,
        last_updated=last_updated,
        last_updated_s=java_date(last_updated) if last_updated is not None else None,
        size_bytes=size if type(size) is int and size > 0 else None,
    )


def begun(text: str) -> str:
    """The description ``text`` of a store as it has to be while the store is written: not updated, no size.

    Raises ``ValueError`` if it is not an OVF_STORE's.
    """
    return _written(text, {"Updated": False})


def ended(text: str, size_bytes: int, at: datetime.datetime) -> str:
    """The same after a good update: the archive's length, and when it was written (``at``, UTC)."""
    if at.tzinfo is not datetime.UTC:
        raise ValueError("the time is not in UTC")
    day = f"{_DAYS[at.weekday()]} {_MONTHS[at.month - 1]} {at:%d %H:%M:%S} UTC {at.year}"
    return _written(text, {"Updated": True, "Size": size_bytes, "Last Updated": day})


def _written(text: str, values: dict[str, object]) -> str:
    if parse(text) is None:
        raise ValueError("it is not the description of an OVF_STORE")
    fields = {
        key: value for key, value in json.loads(text).items() if key not in ("Updated", "Size")
    } | values
    keys = [*(key for key in _KEYS if key in fields), *(key for key in fields if key not in _KEYS)]
    return json.dumps({key: fields[key] for key in keys}, separators=(",", ":"), ensure_ascii=False)


def java_date(text: str) -> int | None:
    """Seconds since 1970 of Java's ``Date.toString()``, ``Fri Jan 15 16:45:00 UTC 2021``; None if unclear."""
    found = _JAVA_DATE.fullmatch(text.strip())
    if found is None or found[1] not in _MONTHS:
        return None
    minutes = _zone_minutes(found[6])
    if minutes is None:
        return None
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    month, day, year = _MONTHS.index(found[1]) + 1, int(found[2]), int(found[7])
    try:
        moment = datetime.datetime(year, month, day, int(found[3]), int(found[4]), int(found[5]), tzinfo=zone)
    except ValueError:  # the 31st of February
        return None
    return int(moment.timestamp())


def _zone_minutes(zone: str) -> int | None:
    offset = _GMT_OFFSET.fullmatch(zone)
    if offset is None:
        return _ZONES_MINUTES.get(zone)
    minutes = int(offset[2]) * 60 + int(offset[3])
    if minutes >= 24 * 60:
        return None
    return -minutes if offset[1] == "-" else minutes
