"""``ovf``: look at OVF documents and OVF_STORE volumes, offline."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click

from ovirt_he_agent.cli import app, host_options, options, ovf_file, ovf_from_vm_conf
from ovirt_he_agent.errors import ExitCode, Refused
from ovirt_he_agent.ovf import archive, document, domainxml, facts, problems, refusals, vmparams, vmspec
from ovirt_he_agent.ovf.vmconf import file as vmconf_file

_SHOWN_NAMES = 5


@dataclass(eq=False)
class RefusedFile(Refused):
    """The file can be read, but what was asked is not safe."""

    path: Path
    reason: str
    msg: ClassVar[str] = "{self.path}: {self.reason}"


_ELSEWHERE = {
    "diff": "ovirt_he_agent.cli.ovf_diff:diff",
    "fields": "ovirt_he_agent.cli.ovf_fields:fields",
    "history": "ovirt_he_agent.cli.ovf_history:history",
    "put": "ovirt_he_agent.cli.ovf_put:command",
    "restore": "ovirt_he_agent.cli.ovf_history:restore",
}


@click.group(cls=app.LazyGroup, lazy=_ELSEWHERE)
def ovf() -> None:
    """Look at OVF documents, OVF_STORE volumes and the definitions that the agent has kept.

    FILE is an OVF document, or the volume (a block device too) or tar of an
    OVF_STORE; its content tells which.
    """


ovf.add_command(ovf_from_vm_conf.command)

_file_argument = click.argument("file", type=click.Path(path_type=Path))
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@ovf.command(name="list")
@_file_argument
@_json_option
def list_entries(file: Path, as_json: bool) -> int:
    """List what is in FILE; exit 1 if it is damaged."""
    damage: list[str] = []
    entries: list[dict[str, Any]] = []
    with ovf_file.opened(file) as opened:
        for entry in _entries(opened, damage):
            if as_json:
                entries.append(entry)
            else:
                _print(_line(entry))
    if as_json:
        _print_json({"entries": entries, "damage": damage})
    else:
        _complain(file, damage)
    return ExitCode.FAILED if damage else ExitCode.DONE


@ovf.command()
@_file_argument
@click.option("--vm", "vm_id", type=options.Uuid(), help="Which VM's document of an OVF_STORE.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["spec", "domain-xml", "vm-params", "vm-conf"]),
    default="spec",
    show_default=True,
    help="What the OVF says, as JSON; the domain XML that VDSM gets; VDSM's legacy parameters with it, as "
    "JSON or as the vm.conf that tools read.",
)
@host_options.given
def show(file: Path, vm_id: str | None, form: str, host: host_options.HostOptions) -> None:
    """Show the VM in FILE.

    The domain XML is made for a host; what is not said of it is taken from the
    OVF, or named in a warning on stderr.
    """
    _, spec = read_vm(file, vm_id)
    if form == "spec":
        _print_json(facts.of(spec))
        return
    try:
        definition = domainxml.define(spec, host.facts(spec))
    except refusals.NotStartable as e:
        raise RefusedFile(file, str(e)) from e
    _warn(definition)
    match form:
        case "domain-xml":
            _print(definition.xml)
        case "vm-params":
            _print_json(vmparams.of(spec, definition.xml))
        case "vm-conf":
            _print(vmconf_file.of(spec, definition.xml).removesuffix("\n"))


def _warn(definition: domainxml.Definition) -> None:
    """On stderr, one line each: how the domain came about if it is not the engine's, and what is missing."""
    made = () if definition.reason is None else (f"{definition.made}: {definition.reason}",)
    for text in (*made, *definition.warnings):
        click.echo(app.one_line(f"warning: {text}"), err=True)


def read_vm(file: Path, vm_id: str | None) -> tuple[bytes, vmspec.VmSpec]:
    """A VM's document in FILE; ``vm_id`` may be left out if there is but one."""
    with ovf_file.opened(file) as opened:
        data = opened.document_of(vm_id or _only_vm(opened)) if opened.is_store else opened.document()
        spec = document.read(data)
        if vm_id is not None and spec.vm_id.lower() != vm_id:
            raise ovf_file.BadFile(file, f"this is the OVF of VM {spec.vm_id}, not of {vm_id}; give its own")
    return data, spec


@ovf.command()
@_file_argument
@_json_option
def check(file: Path, as_json: bool) -> int:
    """Read all of FILE and report what is wrong with it; exit 1 on damage."""
    report = _Report()
    with ovf_file.opened(file) as opened:
        if opened.is_store:
            for found in _survey(opened, report.damage):
                report.add_entry(found)
        else:
            report.add_document(file.name, opened.document())
    if as_json:
        _print_json(
            {
                "kind": "store" if opened.is_store else "document",
                "vms": report.vms,
                "templates": report.templates,
                "warnings": report.warnings,
                "damage": report.damage,
            }
        )
    else:
        kind = "OVF_STORE" if opened.is_store else "OVF document"
        state = f"damaged in {len(report.damage)} places" if report.damage else "good"
        _print(app.one_line(f"{file}: {kind}, VMs: {report.vms}, templates: {report.templates}: {state}"))
        for warning in report.warnings:
            _print(app.one_line(f"warning: {warning}"))
        _complain(file, report.damage)
    return ExitCode.FAILED if report.damage else ExitCode.DONE


class _Report:
    """What ``check`` finds."""

    def __init__(self) -> None:
        self.vms = 0
        self.templates = 0
        self.warnings: list[str] = []
        self.damage: list[str] = []

    def add_document(self, name: str, data: bytes, *, vm_id: str | None = None) -> None:
        """Raises ``problems.BadDocument`` for a document that must be refused, or that is not ``vm_id``'s."""
        try:
            spec = document.read(data)
        except problems.IsTemplate:
            self.templates += 1
            return
        if vm_id is not None and spec.vm_id.lower() != vm_id:
            raise _another(spec.vm_id)
        self.vms += 1
        self.warnings += [f"{name}: {warning}" for warning in spec.warnings]

    def add_entry(self, found: archive.Found) -> None:
        name = found.entry.name
        if found.damage is not None:
            self.damage.append(str(found.damage))
        if found.data is None:
            return
        try:
            if name.endswith(".ovf"):
                self.add_document(name, found.data, vm_id=name.removesuffix(".ovf"))
            else:
                json.loads(found.data)
        except problems.BadDocument as e:
            self.damage.append(f"entry {name} at byte {found.entry.offset}: {e}")
        except (ValueError, RecursionError):
            self.damage.append(
                f"entry {name} at byte {found.entry.offset}: it is not JSON as engines write it"
            )


def _survey(opened: ovf_file.OvfFile, damage: list[str]) -> Iterator[archive.Found]:
    """The entries as far as they can be reached; what keeps the others away goes to ``damage``."""
    try:
        yield from opened.survey()
    except archive.Damaged as e:
        damage.append(str(e))


def _entries(opened: ovf_file.OvfFile, damage: list[str]) -> Iterator[dict[str, Any]]:
    if not opened.is_store:
        data = opened.document()
        yield _record(opened.path.name, len(data), None) | _identified(document.identify(data))
        return
    for found in _survey(opened, damage):
        yield _listed(found, damage)


def _listed(found: archive.Found, damage: list[str]) -> dict[str, Any]:
    entry = found.entry
    record = _record(entry.name, entry.size, ovf_file.utc(entry.mtime))
    if found.damage is not None:
        damage.append(str(found.damage))
        return record | {"kind": "damaged"}
    if found.data is None or not entry.name.endswith(".ovf"):
        return record
    try:
        identity = document.identify(found.data)
        if not identity.is_template and f"{identity.vm_id.lower()}.ovf" != entry.name:
            raise _another(identity.vm_id)
    except problems.BadDocument as e:
        damage.append(f"entry {entry.name} at byte {entry.offset}: {e}")
        return record | {"kind": "damaged"}
    return record | _identified(identity)


def _another(vm_id: str) -> problems.BadDocument:
    return problems.Damaged(f"it holds the OVF of VM {vm_id}")


def _record(name: str, size: int, mtime: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "size": size,
        "mtime": mtime,
        "kind": "other",
        "vm_id": None,
        "vm_name": None,
        "generation": None,
    }


def _identified(identity: document.Identity) -> dict[str, Any]:
    return {
        "kind": "template" if identity.is_template else "vm",
        "vm_id": identity.vm_id,
        "vm_name": identity.name,
        "generation": identity.generation,
    }


def _only_vm(opened: ovf_file.OvfFile) -> str:
    """The id in the name of the only document of a store."""
    damage: list[str] = []
    names = [found.entry.name for found in _survey(opened, damage) if found.entry.name.endswith(".ovf")]
    if len(names) == 1:
        return names[0].removesuffix(".ovf")
    if not names and damage:
        raise ovf_file.BadFile(opened.path, damage[0])
    if not names:
        raise ovf_file.BadFile(
            opened.path, "there is no OVF in it; give the OVF_STORE of the VM's storage domain"
        )
    more = ", ..." if len(names) > _SHOWN_NAMES else ""
    raise click.UsageError(
        f"{opened.path} holds {len(names)} documents ({', '.join(names[:_SHOWN_NAMES])}{more}): say which "
        f"with --vm UUID; '{app.NAME} ovf list {opened.path}' shows all"
    )


def _print(text: str) -> None:
    click.echo(text.encode("utf-8", "backslashreplace"))


def _print_json(value: object) -> None:
    _print(json.dumps(value, ensure_ascii=False, indent=1))


def _line(entry: dict[str, Any]) -> str:
    """Columns as wide as the names and sizes that engines write."""
    name, generation = app.one_line(entry["vm_name"] or ""), entry["generation"]
    return (
        f"{app.one_line(entry['name']):<40}  {entry['size']:>9}  {entry['mtime'] or '-':<20}  "
        f"{entry['kind']:<8}  {'-' if generation is None else generation:>10}  {name}"
    ).rstrip()


def _complain(file: Path, damage: list[str]) -> None:
    for text in damage:
        app.complain(f"{file}: {text}")
