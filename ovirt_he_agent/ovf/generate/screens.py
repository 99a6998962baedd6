"""What a person sees and uses: graphics, video, pointer, sound, smartcard and USB through SPICE."""

from lxml import etree

from ovirt_he_agent.ovf import record, vmspec
from ovirt_he_agent.ovf.generate.draft import Draft, add, whole
from ovirt_he_agent.ovf.generate.metadata import level
from ovirt_he_agent.ovf.generate.platform import S390

_SECURE_CHANNELS = ("main", "inputs", "cursor", "playback", "record", "display", "smartcard", "usbredir")
_EXPIRED = "1970-01-01T00:00:01"
"""VDSM refuses a VNC console without an end of its password; nobody may use this one."""
_VIDEO_MODELS = ("qxl", "vga", "cirrus", "bochs", "virtio")
_SECONDARY = ("qxl", "virtio")
_SOUND_MODELS = ("ich6", "ich9", "ac97", "es1370", "sb16", "pcspk", "usb", "virtio")


def add_pointer(draft: Draft, devices: etree._Element) -> None:
    if draft.platform.chipset != S390:  # has no USB
        add(devices, "input", type="tablet", bus="usb")


def add_screens(draft: Draft, devices: etree._Element) -> None:
    """``graphics``, ``video``, and what only works through SPICE."""
    spice = vmspec.Graphics.SPICE in draft.spec.graphics
    for kind in dict.fromkeys(draft.spec.graphics):
        _add_graphics(draft, devices, kind)
    _add_videos(draft, devices)
    if spice:
        channel = add(devices, "channel", type="spicevmc")
        add(channel, "target", type="virtio", name="com.redhat.spice.0")
    for found in draft.records("smartcard"):
        if spice:
            card = add(devices, "smartcard", mode="passthrough", type="spicevmc")
            draft.name(card, found.id)
    for found in draft.records("redir"):
        if spice:
            redirected = add(devices, "redirdev", bus="usb", type="spicevmc")
            draft.name(redirected, found.id)
    if not spice and (draft.records("smartcard") or draft.records("redir")):
        draft.warn("The smartcard and USB redirection are left out: they need a SPICE console.")


def _add_graphics(draft: Draft, devices: etree._Element, kind: vmspec.Graphics) -> None:
    spec = draft.spec
    element = add(
        devices,
        "graphics",
        type=kind.value,
        port="-1",
        autoport="yes",
        passwd="*****",
        passwdValidTo=_EXPIRED,
    )
    if kind is vmspec.Graphics.SPICE:
        element.set("tlsPort", "-1")
        for name in _SECURE_CHANNELS:
            add(element, "channel", name=name, mode="secure")
        if spec.spice_copy_paste is False:
            add(element, "clipboard", copypaste="no")
        if spec.spice_file_transfer is False:
            add(element, "filetransfer", enable="no")
    elif spec.vnc_keymap is not None and spec.vnc_keymap != "none":
        element.set("keymap", spec.vnc_keymap)
    # VDSM makes this network of libvirt's from the host's display network
    add(element, "listen", type="network", network=f"vdsm-{draft.host.display_network}")


def _add_videos(draft: Draft, devices: etree._Element) -> None:
    """The first is the one with the boot screen; not every model can be a further one."""
    videos = []
    for found in draft.records("video"):
        model = found.device
        if model == "vga" and (level(draft.spec.cluster_version) or (0, 0)) >= (4, 6):
            model = "virtio"  # what the engine makes of it since that level
        if model in _VIDEO_MODELS:
            videos.append((model, found))
        else:
            draft.warn(f"The video device {record.shown(model or '')} is left out: it is not known.")
    videos.sort(key=lambda video: video[0] in _SECONDARY)
    draft.without_video = not videos
    if not videos:
        add(add(devices, "video"), "model", type="none")
    for number, (model, found) in enumerate(videos):
        if number and model not in _SECONDARY:
            draft.warn(f"A second video device is left out: {model} can only be the first.")
            continue
        video = add(devices, "video")
        element = add(video, "model", type=model)
        for key in ("vram", "ram", "vgamem", "heads"):
            value = whole(found.spec.get(key))
            if value is not None and (model == "qxl" or key not in ("ram", "vgamem")):
                element.set(key, value)
        draft.install(video, found, f"Video device {model}", "" if number else "video")


def add_sound(draft: Draft, devices: etree._Element) -> None:
    for found in draft.records("sound"):
        if found.device in _SOUND_MODELS:
            sound = add(devices, "sound", model=found.device)
            draft.install(sound, found, "Sound device")
        else:
            draft.warn(f"The sound device {record.shown(found.device or '')} is left out: it is not known.")
