"""The order in which devices are booted from: every number once, as libvirt wants it."""

from ovirt_he_agent.ovf.generate.draft import Draft, add


def settle(draft: Draft) -> None:
    """Write the orders; if two devices have one, all are counted anew in the order that is nearest."""
    highest = max((order for order, _ in draft.boot_orders if order is not None), default=0)
    orders = [(highest + 1 if order is None else order, element) for order, element in draft.boot_orders]
    numbers = [order for order, _ in orders]
    if len(set(numbers)) < len(numbers):
        draft.warn("Two devices have one place in the boot order: the order of the OVF decides between them.")
        orders.sort(key=lambda one: one[0])
        orders = [(number, element) for number, (_, element) in enumerate(orders, start=1)]
    for order, element in orders:
        add(element, "boot", order=str(order))
