"""PCI and CCW addresses of the last run: kept, because guests name their devices by them.

All of them go into the domain, or, if two devices claim one place and so the
set is of no one run, only those of the NICs, whose names in the guest hang on
them; an address that cannot be on this machine is dropped alone. Devices
without one get theirs from libvirt, around those that are written.
"""

import functools
from collections.abc import Mapping
from typing import Any

from ovirt_he_agent.ovf.generate.draft import Draft, Wish, add
from ovirt_he_agent.ovf.generate.platform import I440FX, PSERIES, Q35, S390

ROOT_PORTS = 16
"""As many as the engine gives to a q35 machine: each is a bus for one device."""
_MAX_BUS = 64
_KEYS = {
    "pci": ("domain", "bus", "slot", "function"),
    "ccw": ("cssid", "ssid", "devno"),
    "spapr-vio": ("reg",),
}

_KINDS = {
    I440FX: ("pci",),
    Q35: ("pci",),
    PSERIES: ("pci", "spapr-vio"),
    S390: ("ccw",),
}
_BOARD = {I440FX: (0, 1), Q35: (0, 31), PSERIES: (0,), S390: ()}
"""Slots of bus 0 that the chipset itself fills ..."""
_OWN = {
    (I440FX, "ide"): ((1, 1),),
    (I440FX, "usb"): ((1, 2),),
    (Q35, "sata"): ((31, 2),),
}
"""... and whose these places in them are: slot and function."""
_VIDEO_SLOT = {I440FX: 2, Q35: 1}

Place = tuple[Any, ...]
"""The kind of address, and its numbers in the order of the keys."""


@functools.lru_cache(maxsize=512)
def integer(text: str) -> int | None:
    """``0x1f`` or ``31``; None if it is neither."""
    digits, base = (text[2:], 16) if text.startswith(("0x", "0X")) else (text, 10)
    try:
        return int(digits, base) if digits.isalnum() and len(digits) <= 8 else None
    except ValueError:
        return None


def settle(draft: Draft) -> int:
    """Write the addresses that can be kept; the highest bus among them."""
    chipset = draft.platform.chipset
    placed = {}
    for wish in draft.wishes:
        place = _place(chipset, wish)
        if place is None:
            draft.warn(
                f"{wish.what}: its address is left out, because this machine has no such place for it."
            )
        else:
            placed[wish] = place
    placed = _without_collisions(draft, placed)
    _yield_to_video(draft, placed)
    _drop_orphans(draft, placed)
    slots = [place[:-1] for place in placed.values()]
    for wish, place in placed.items():
        element = add(wish.element, "address", type=place[0])
        for key in _KEYS[place[0]]:
            element.set(key, wish.address.get(key, "0"))
        if place[0] == "pci" and place[-1] == 0 and slots.count(place[:-1]) > 1:
            element.set("multifunction", "on")
    return max((place[2] for place in placed.values() if place[0] == "pci"), default=0)


def _place(chipset: str, wish: Wish) -> Place | None:
    """Where exactly; None if there is no such place, or not for this device."""
    address = wish.address
    kind = address.get("type", "")
    if kind not in _KINDS[chipset] or (kind == "spapr-vio") != (wish.role == "spapr-vio"):
        return None
    place = (kind, *[integer(address.get(key, "0")) for key in _KEYS[kind]])
    if None in place or (kind == "pci" and not _is_free(chipset, place, wish.role)):
        return None
    return place


def _is_free(chipset: str, place: Place, role: str) -> bool:
    """Whether a PCI place exists on the machine and no part of the board sits there."""
    _, domain, bus, slot, function = place
    if domain != 0 or slot > 31 or function > 7:
        return False
    if bus == 0:
        return slot not in _BOARD[chipset] or (slot, function) in _OWN.get((chipset, role), ())
    return chipset == Q35 and bus <= _MAX_BUS and slot == 0


def _without_collisions(draft: Draft, placed: Mapping[Wish, Place]) -> dict[Wish, Place]:
    nics = {wish: place for wish, place in placed.items() if wish.role == "nic"}
    for kept in (placed, nics):
        if len(set(kept.values())) == len(kept):
            break
    else:
        kept = {}
    if len(kept) < len(placed):
        draft.warn(
            "Two devices have one address in the OVF, so its addresses are of no one run: "
            f"{'only those of the NICs are' if kept else 'none is'} kept."
        )
    return dict(kept)


def _yield_to_video(draft: Draft, placed: dict[Wish, Place]) -> None:
    """The first video device belongs in one certain slot, where libvirt puts it if it has no address."""
    slot = _VIDEO_SLOT.get(draft.platform.chipset)
    if slot is None or draft.without_video or any(wish.role == "video" for wish in placed):
        return
    for wish, place in list(placed.items()):
        if place[:4] == ("pci", 0, 0, slot):
            draft.warn(f"{wish.what}: its address is left out, because it is the video device's.")
            del placed[wish]


def _drop_orphans(draft: Draft, placed: dict[Wish, Place]) -> None:
    """A guest looks at the functions of a slot only if there is a function 0."""
    places = set(placed.values())
    for wish, place in list(placed.items()):
        kind, *numbers = place
        if kind != "pci" or numbers[-1] == 0 or (kind, *numbers[:-1], 0) in places:
            continue
        if numbers[1] == 0 and numbers[2] in _BOARD[draft.platform.chipset]:
            continue  # function 0 is a part of the board
        draft.warn(f"{wish.what}: its address is left out, because nothing has function 0 of this slot.")
        del placed[wish]
