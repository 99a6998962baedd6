"""``ovf fields``: which field of an OVF goes where, and what became of those of a document."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ovirt_he_agent.cli import app, options, ovf
from ovirt_he_agent.ovf import domainxml, host_facts, refusals
from ovirt_he_agent.ovf import fields as ovf_fields

_NAME_WIDTH, _VALUE_WIDTH = 36, 44


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What was found in a document."""

    values: Mapping[ovf_fields.Key, Sequence[str]]
    made: domainxml.Made | None
    reason: str | None
    warnings: tuple[str, ...]

    def became(self, field: ovf_fields.Field) -> str:
        texts = self.values.get((field.place, field.name), ())
        return ovf_fields.became(field, texts, self.made, self.warnings)


@click.command
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--vm", "vm_id", type=options.Uuid(), help="Which VM's document of an OVF_STORE.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown"]),
    default="text",
    show_default=True,
    help="For people, or as docs/ovf-mapping.md (without FILE).",
)
def fields(file: Path | None, vm_id: str | None, as_json: bool, form: str) -> None:
    """Show where each field of an OVF goes, or why it is not needed to start the VM.

    With FILE (an OVF document or an OVF_STORE) also its value there and what
    became of it. Passwords and keys are not shown.
    """
    if file is None and vm_id is not None:
        raise click.UsageError("--vm needs a FILE")
    if form == "markdown":
        if file is not None or as_json:
            raise click.UsageError("--format markdown is the table alone: leave FILE and --json out")
        _print(ovf_fields.markdown().removesuffix("\n"))
        return
    looked = _look(file, vm_id) if file is not None else None
    if as_json:
        _print(json.dumps(_object(looked), ensure_ascii=False, indent=1))
        return
    place = ""
    for field in ovf_fields.FIELDS:
        if field.place != place:
            place = field.place
            _print(place)
        _print(f"  {_line(field, looked)}".rstrip())
    if looked is not None:
        _print(
            app.one_line(f"domain: {looked.made or 'none'}{f': {looked.reason}' if looked.reason else ''}")
        )
        for warning in looked.warnings:
            _print(app.one_line(f"warning: {warning}"))


def _look(file: Path, vm_id: str | None) -> _Looked:
    data, spec = ovf.read_vm(file, vm_id)
    values = ovf_fields.values(data)
    try:
        definition = domainxml.define(spec, host_facts.UNKNOWN)
    except refusals.NotStartable as e:
        return _Looked(values=values, made=None, reason=str(e), warnings=spec.warnings)
    return _Looked(
        values=values,
        made=definition.made,
        reason=definition.reason,
        warnings=(*spec.warnings, *definition.warnings),
    )


def _goes(field: ovf_fields.Field) -> str:
    goes = [f"vm.conf {field.vm_conf}"] if field.vm_conf else []
    goes += [f"domain {field.domain_xml}"] if field.domain_xml else []
    return "; ".join(goes) or "not needed"


def _line(field: ovf_fields.Field, looked: _Looked | None) -> str:
    note = f" ({field.note})" if field.note else ""
    if looked is None:
        return f"{field.name:<{_NAME_WIDTH}}  {_goes(field)}{note}"
    value = app.one_line(", ".join(looked.values.get((field.place, field.name), ())))
    if len(value) > _VALUE_WIDTH:
        value = value[: _VALUE_WIDTH - 3] + "..."
    became = looked.became(field)
    goes = "" if became == "not needed" else f"; {_goes(field)}"
    return f"{field.name:<{_NAME_WIDTH}}  {value:<{_VALUE_WIDTH}}  {app.one_line(became)}{goes}{note}"


def _object(looked: _Looked | None) -> dict[str, Any]:
    rows = []
    for field in ovf_fields.FIELDS:
        row: dict[str, Any] = {
            "place": field.place,
            "field": field.name,
            "since": field.since or None,
            "vm_conf": field.vm_conf or None,
            "domain_xml": field.domain_xml or None,
            "note": field.note or None,
        }
        if looked is not None:
            row["values"] = list(looked.values.get((field.place, field.name), ()))
            row["became"] = looked.became(field)
        rows.append(row)
    if looked is None:
        return {"fields": rows}
    made = looked.made
    return {
        "fields": rows,
        "domain": str(made) if made else None,
        "reason": looked.reason,
        "warnings": looked.warnings,
    }


def _print(text: str) -> None:
    click.echo(text.encode("utf-8", "backslashreplace"))
