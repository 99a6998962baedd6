"""What of a VM's parameters another set of them does not have: one sentence each."""

from collections.abc import Iterator, Mapping
from typing import Any

from ovirt_he_agent.ovf import record

_SAME = {
    # words for what is there in another word, or always
    ("iface", "virtio_scsi"): "scsi",
    ("iface", "spapr_vscsi"): "scsi",
    ("format", "qcow2"): "cow",
    ("nicModel", "virtio"): "pv",
    ("optional", "false"): None,
    ("launchPaused", "false"): None,
    ("bootMenuEnable", "false"): None,
    ("timeOffset", "0"): None,
}


def between(given: Mapping[str, Any], kept: Mapping[str, Any]) -> list[str]:
    """What ``given`` says and ``kept`` does not, or not so. What only ``kept`` has is no loss."""
    lost = list(_pairs("", {key: value for key, value in given.items() if key != "devices"}, kept))
    left = [device for device in kept.get("devices", []) if isinstance(device, Mapping)]
    for number, device in enumerate(given.get("devices", [])):
        if not isinstance(device, Mapping):
            continue
        place = f"devices[{number}] ({_name(device)})"
        same = next((other for other in left if _identity(other) == _identity(device)), None)
        if same is None:
            lost.append(f"{place} is not taken over")
        else:
            left.remove(same)
            lost += _pairs(f"{place} ", device, same)
    return lost


def _name(device: Mapping[str, Any]) -> str:
    return " ".join(str(device[key]) for key in ("type", "device") if device.get(key))


def _identity(device: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes it this device and not another of its kind; of those without, the next one counts."""
    kind = device.get("type")
    match kind, device.get("device"):
        case "disk", "cdrom" | "floppy" as removable:
            return kind, removable
        case "disk", _:
            return kind, device.get("imageID"), device.get("GUID")
        case "interface", _:
            return kind, _known(device.get("macAddr"))
        case "rng", _:
            return (kind,)
        case _, name:
            return kind, name


def _known(value: Any) -> Any:
    return None if value in ("", "None", {}) else value


def _pairs(place: str, given: Mapping[str, Any], kept: Mapping[str, Any]) -> Iterator[str]:
    for key, value in given.items():
        meant = _SAME.get((key, value), value) if isinstance(value, str) else value
        if _known(meant) is None or kept.get(key) == meant:
            continue
        if isinstance(meant, Mapping) and isinstance(kept.get(key), Mapping):
            yield from _pairs(f"{place}{key}.", meant, kept[key])
        elif key in kept:
            yield f"{place}{key}: {_shown(value)} becomes {_shown(kept[key])}"
        else:
            yield f"{place}{key}: {_shown(value)} is not taken over"


def _shown(value: Any) -> str:
    return record.shown(value if isinstance(value, str) else str(value))
