"""The board around the processors: firmware, boot, SMBIOS, clock, power, and what follows an end.

Facts: ovirt-engine: LibvirtVmXmlBuilder; vdsm: lib/vdsm/virt/libvirtxml.py
replaces the SMBIOS placeholders with values of the host.
"""

from lxml import etree

from ovirt_he_agent.ovf import record, vmspec
from ovirt_he_agent.ovf.generate.draft import Draft, add

_LOADER = "/usr/share/OVMF/OVMF_CODE.secboot.fd"
_VARIABLES = "/usr/share/OVMF/OVMF_VARS.fd"
_SECURE_VARIABLES = "/usr/share/OVMF/OVMF_VARS.secboot.fd"
_UTC_NAMES = {"utc", "etc/utc", "gmt", "etc/gmt", "etc/universal", "universal", "zulu", "etc/zulu"}


def add_system(draft: Draft, root: etree._Element) -> None:
    """``os``, ``sysinfo``, ``features``, ``clock``, ``pm`` and the ``on_...`` elements."""
    spec, platform = draft.spec, draft.platform
    if platform.x86:
        _add_smbios(draft, root)
    _add_clock(draft, root)
    if platform.x86:
        features = add(root, "features")
        add(features, "acpi")
        if platform.secure_boot:
            add(features, "smm", state="on")
        if platform.windows:
            hyperv = add(features, "hyperv")
            add(hyperv, "relaxed", state="on")
            add(hyperv, "vapic", state="on")
            add(hyperv, "spinlocks", state="on", retries="8191")
        power = add(root, "pm")
        add(power, "suspend-to-disk", enabled="no")
        add(power, "suspend-to-mem", enabled="no")
    _add_os(draft, root)
    if spec.hosted_engine:
        # as the hook of upstream's set-up does for every hosted engine VM: a reboot inside it
        # ends it, and whoever watches over it starts it with its newest definition
        for event in ("on_poweroff", "on_reboot", "on_crash"):
            add(root, event, "destroy")
    if spec.stateless:
        draft.warn(
            "The VM is stateless, which only the engine can do: it starts as an ordinary VM and keeps what "
            "it writes."
        )


def _add_smbios(draft: Draft, root: etree._Element) -> None:
    system = add(add(root, "sysinfo", type="smbios"), "system")
    for name, value in (
        ("manufacturer", "oVirt"),
        ("product", "OS-NAME:"),
        ("version", "OS-VERSION:"),
        ("serial", _serial(draft)),
        ("uuid", draft.spec.vm_id),
    ):
        add(system, "entry", value, name=name)


def _serial(draft: Draft) -> str:
    """VDSM needs some text here; ``HOST-SERIAL:`` becomes the host's."""
    spec = draft.spec
    match spec.serial_number_policy:
        case 1:
            return spec.vm_id
        case 2 if spec.custom_serial_number:
            return spec.custom_serial_number
        case 2:
            draft.warn("The custom serial number is not given: the host's is used.")
        case None:
            draft.warn(
                "The serial number policy is the cluster's, which the OVF does not tell: the host's is used."
            )
    return "HOST-SERIAL:"


def _add_clock(draft: Draft, root: etree._Element) -> None:
    zone, offset_s = draft.spec.time_zone, draft.host.utc_offset_s
    if zone is None or zone.lower() in _UTC_NAMES:
        offset_s = 0
    elif offset_s is None:
        draft.warn(
            f"The offset of the time zone {record.shown(zone)} is not known here: the clock starts as UTC."
        )
        offset_s = 0
    clock = add(root, "clock", offset="variable", adjustment=str(offset_s))
    if draft.platform.x86:
        add(clock, "timer", name="rtc", tickpolicy="catchup")
        add(clock, "timer", name="pit", tickpolicy="delay")
        add(clock, "timer", name="hpet", present="no")
        if draft.platform.windows:
            add(clock, "timer", name="hypervclock", present="yes")


def _add_os(draft: Draft, root: etree._Element) -> None:
    spec, platform = draft.spec, draft.platform
    os = add(root, "os")
    add(os, "type", "hvm", arch=platform.arch, machine=platform.machine)
    template = spec.custom_properties.get("nvram_template")
    if platform.uefi:
        secure = "yes" if platform.secure_boot else "no"
        add(os, "loader", _LOADER, readonly="yes", secure=secure, type="pflash")
        add(
            os,
            "nvram",
            f"/var/lib/libvirt/qemu/nvram/{spec.vm_id}.fd",
            template=template or (_SECURE_VARIABLES if platform.secure_boot else _VARIABLES),
        )
        draft.warn(
            "UEFI variables are not in the OVF: the VM starts with those of this host, or with fresh ones."
        )
    elif template:
        draft.warn("The custom property nvram_template is left out: the VM has no UEFI firmware.")
    _add_kernel(draft, os)
    if platform.x86:
        add(os, "smbios", mode="sysinfo")
        if spec.console is vmspec.Console.SERIAL and draft.has_plugged("console", True):
            add(os, "bios", useserial="yes")
    if spec.boot_menu:
        add(os, "bootmenu", enable="yes", timeout="30000")


def _add_kernel(draft: Draft, os: etree._Element) -> None:
    """libvirt wants paths on the host; the engine's ``iso://`` names are known to the engine only."""
    spec = draft.spec
    if not spec.kernel:
        if spec.initrd or spec.kernel_parameters:
            draft.warn("The initrd and kernel parameters are left out: no kernel is given with them.")
        return
    unusable = [path for path in (spec.kernel, spec.initrd) if path and not path.startswith("/")]
    if unusable:
        names = " and ".join(map(record.shown, unusable))
        draft.warn(f"{names}: no path on a host, so the VM boots from its devices, not from this kernel.")
        return
    add(os, "kernel", spec.kernel)
    if spec.initrd:
        add(os, "initrd", spec.initrd)
    if spec.kernel_parameters:
        add(os, "cmdline", spec.kernel_parameters)
