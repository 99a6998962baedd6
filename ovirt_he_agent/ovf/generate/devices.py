"""The devices that work unseen: agent channels, console, random numbers, balloon, watchdog, TPM."""

from lxml import etree

from ovirt_he_agent.ovf import record, vmspec
from ovirt_he_agent.ovf.generate.draft import Draft, add, whole
from ovirt_he_agent.ovf.generate.metadata import level
from ovirt_he_agent.ovf.generate.platform import I440FX, PSERIES, Q35, S390

_CHANNELS = "/var/lib/libvirt/qemu/channels"
_CONSOLES = "/var/run/ovirt-vmconsole-console"
_OLD_AGENT_BEFORE = (4, 4)
_RANDOM = {
    vmspec.RngSource.URANDOM: "/dev/urandom",
    vmspec.RngSource.RANDOM: "/dev/random",
    vmspec.RngSource.HWRNG: "/dev/hwrng",
}
_WATCHDOGS = {
    "i6300esb": (I440FX, Q35, PSERIES),
    "ib700": (I440FX, Q35),
    "itco": (Q35,),
    "diag288": (S390,),
}
_WATCHDOG_ACTIONS = ("reset", "shutdown", "poweroff", "pause", "none", "dump", "inject-nmi")
_TREATED = (
    "video", "graphics", "cdrom", "controller", "rng", "balloon", "watchdog", "sound", "smartcard", "redir",
    "tpm", "console",
)  # fmt: skip
_RUN_TIME = ("channel", "redirdev", "memory")
"""Records of what came and went while the VM ran."""


def add_agent_channels(draft: Draft, devices: etree._Element) -> None:
    """Without these nobody learns the guest's addresses."""
    names = ["org.qemu.guest_agent.0"]
    if (level(draft.spec.cluster_version) or (0, 0)) < _OLD_AGENT_BEFORE:
        names.insert(0, "ovirt-guest-agent.0")
    for name in names:
        channel = add(devices, "channel", type="unix")
        add(channel, "target", type="virtio", name=name)
        add(channel, "source", mode="bind", path=f"{_CHANNELS}/{draft.spec.vm_id}.{name}")


def add_devices(draft: Draft, devices: etree._Element) -> None:
    """All devices of this module but the channels; what cannot be had is said."""
    _add_random(draft, devices)
    _add_balloon(draft, devices)
    _add_watchdog(draft, devices)
    _add_tpm(draft, devices)
    _add_console(draft, devices)
    for device in draft.spec.devices:
        if device.kind in _TREATED or device.kind in _RUN_TIME or not device.plugged:
            continue
        what = " ".join(word for word in (device.kind, device.device) if word)
        why = "of one certain host" if device.kind in ("hostdev", "mdev") else "not known"
        draft.warn(f"The device {record.shown(what)} is left out: it is {why}.")


def _record(draft: Draft, kind: str) -> vmspec.Device | None:
    return next(iter(draft.records(kind)), None)


def _add_random(draft: Draft, devices: etree._Element) -> None:
    source = draft.spec.rng
    if source is None or not draft.has_plugged("rng", True):
        return
    found = _record(draft, "rng")
    rng = add(devices, "rng", model="virtio")
    size_bytes = whole(found.spec.get("bytes")) if found else None
    if found is not None and size_bytes is not None:
        rate = add(rng, "rate", bytes=size_bytes)
        period_ms = whole(found.spec.get("period"))
        if period_ms is not None:
            rate.set("period", period_ms)
    add(rng, "backend", _RANDOM[source], model="random")
    draft.install(rng, found, "Random number generator")


def _add_balloon(draft: Draft, devices: etree._Element) -> None:
    found = _record(draft, "balloon")
    model = found.spec.get("model", "virtio") if found else "virtio"
    if not draft.has_plugged("balloon", draft.spec.balloon) or model == "none":
        add(devices, "memballoon", model="none")
        return
    balloon = add(devices, "memballoon", model="virtio")
    add(balloon, "stats", period="5")
    draft.install(balloon, found, "Balloon")


def _add_watchdog(draft: Draft, devices: etree._Element) -> None:
    if draft.spec.watchdog is None or not draft.has_plugged("watchdog", True):
        return
    spec = draft.spec.watchdog
    model = spec.get("model") or "i6300esb"
    if model not in _WATCHDOGS:
        draft.warn(f"The watchdog {record.shown(model)} is left out: it is not known.")
        return
    if draft.platform.chipset not in _WATCHDOGS[model]:
        draft.warn(f"The watchdog {model} is left out: a machine of {draft.platform.chipset} has none.")
        return
    watchdog = add(devices, "watchdog", model=model)
    action = spec.get("action")
    if action in _WATCHDOG_ACTIONS:
        watchdog.set("action", action)
    elif action:
        draft.warn(f"The watchdog's action {record.shown(action)} is not known: it resets the VM.")
    draft.install(watchdog, _record(draft, "watchdog"), "Watchdog")


def _add_tpm(draft: Draft, devices: etree._Element) -> None:
    if not draft.has_plugged("tpm", draft.spec.tpm):
        return
    if draft.platform.chipset == S390:
        draft.warn("The TPM is left out: s390x has none.")
        return
    tpm = add(devices, "tpm", model="tpm-spapr" if draft.platform.chipset == PSERIES else "tpm-crb")
    add(tpm, "backend", type="emulator", version="2.0")
    found = _record(draft, "tpm")
    draft.name(tpm, found.id if found else None)
    draft.warn(
        "What the TPM holds is not in the OVF: the VM starts with what this host has, or with an empty one."
    )


def _add_console(draft: Draft, devices: etree._Element) -> None:
    """A serial console is libvirt's first serial port, written as both."""
    kind = draft.spec.console
    if kind is None or not draft.has_plugged("console", True):
        return
    tags = ("serial", "console") if kind is vmspec.Console.SERIAL else ("console",)
    console = devices
    for tag in tags:
        console = add(devices, tag, type="unix" if draft.spec.console_socket else "pty")
        if draft.spec.console_socket:
            add(console, "source", mode="bind", path=f"{_CONSOLES}/{draft.spec.vm_id}.sock")
        if tag == "serial":
            add(console, "target", port="0")
    add(console, "target", type=kind.value, port="0")
    found = _record(draft, "console")
    draft.name(console, found.id if found else None)
