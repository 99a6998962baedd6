"""What no OVF says and an operator may: options for every format that is made for a host."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import click

from ovirt_he_agent.adapters import time_zones
from ovirt_he_agent.ovf import host_facts, vmspec

P = ParamSpec("P")
R = TypeVar("R")


class _Name(click.ParamType[str]):
    """What may be the name of a network, a bridge, a CPU: one word."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value or not value.isprintable() or any(c.isspace() for c in value):
            self.fail(f"{value!r} is not a name", param, ctx)
        return str(value)


class _Pair(click.ParamType[tuple[str, str]]):
    """Two words with a separator, which the first may hold as well."""

    def __init__(self, name: str, separator: str, check: Callable[[str], bool] = bool) -> None:
        self.name = name
        self._separator = separator
        self._check = check

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        first, _, second = value.rpartition(self._separator)
        if not first or not value.isprintable() or not self._check(second):
            self.fail(f"{value!r} is not {self.name.upper()}", param, ctx)
        return first, second


def _is_offset(text: str) -> bool:
    return text.isascii() and text.isdigit()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """The options as given; ``facts`` makes of them what the conversion wants."""

    networks: tuple[tuple[str, str], ...]
    display_network: str | None
    block: bool | None
    vm_lease: tuple[str, str] | None
    default_cpu: str | None
    without_missing_nics: bool

    def facts(self, spec: vmspec.VmSpec) -> host_facts.HostFacts:
        return host_facts.HostFacts(
            display_network=self.display_network or host_facts.UNKNOWN.display_network,
            bridges=dict(self.networks) or None,
            block_domain_ids=self._block_domain_ids(spec),
            vm_lease=self._vm_lease(spec),
            utc_offset_s=time_zones.utc_offset_s(spec.time_zone),
            default_cpu=self.default_cpu,
            without_missing_nics=self.without_missing_nics,
        )

    def _block_domain_ids(self, spec: vmspec.VmSpec) -> frozenset[str] | None:
        if not self.block:
            return None if self.block is None else frozenset()
        return frozenset(disk.domain_id for disk in spec.plugged_images if disk.domain_id is not None)

    def _vm_lease(self, spec: vmspec.VmSpec) -> vmspec.Lease | None:
        if self.vm_lease is None:
            return None
        if spec.lease_domain_id is None:
            raise click.UsageError("--vm-lease: the OVF has no LeaseDomainId, so the VM has no such lease")
        path, offset = self.vm_lease
        return vmspec.Lease(
            key=spec.vm_id, lockspace=spec.lease_domain_id, path=path, offset_bytes=int(offset)
        )


_OPTIONS = (
    click.option(
        "--network",
        "networks",
        type=_Pair("name=bridge", "="),
        multiple=True,
        help="This network of the engine is that bridge of the host; give all that the host has.",
    ),
    click.option("--display-network", type=_Name(), help="The network on which consoles listen."),
    click.option(
        "--block/--file", default=None, help="The disks lie on block storage (iSCSI, FC), or on files (NFS)."
    ),
    click.option(
        "--vm-lease",
        type=_Pair("path:offset", ":", _is_offset),
        help="Where the VM lease lies, as VDSM's Lease.info says it.",
    ),
    click.option("--default-cpu", type=_Name(), metavar="MODEL", help="The CPU, if the OVF names none."),
    click.option(
        "--without-missing-nics", is_flag=True, help="Leave NICs out that the host has no bridge for."
    ),
)


def given(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options to ``command``, which gets them as ``host``."""

    @functools.wraps(command)
    def with_host(**arguments: Any) -> R:
        names = HostOptions.__dataclass_fields__.keys()
        host = HostOptions(**{name: arguments.pop(name) for name in names})
        return command(**arguments, host=host)

    result: Callable[..., R] = with_host
    for option in reversed(_OPTIONS):
        result = option(result)
    return result
