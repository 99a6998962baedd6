"""The order in which devices are booted from: every number once, as libvirt wants it."""

from ovirt_he_agent.ovf.generate.draft import Draft, add

_RANKS = {"disk": 0, "lun": 0, "interface": 1, "cdrom": 2}


def settle(draft: Draft) -> None:
    """Write the orders; if two devices have one, all are counted anew, disks first."""
    highest = max((order for order, _ in draft.boot_orders if order is not None), default=0)
    orders = [(highest + 1 if order is None else order, element) for order, element in draft.boot_orders]
    numbers = [order for order, _ in orders]
    if len(set(numbers)) < len(numbers):
        draft.warn(
            "Two devices have one place in the boot order: disks are before NICs, and those before CD-ROMs."
        )
        orders.sort(key=lambda one: (one[0], _RANKS[one[1].get("device", one[1].tag)]))
        orders = [(number, element) for number, (_, element) in enumerate(orders, start=1)]
    for order, element in orders:
        add(element, "boot", order=str(order))
