"""The status document as people read it: the summary line, then tables. No facts are made here."""

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

UNKNOWN = "?"
PIPE_WIDTH = 160


def console() -> Console:
    """Where tables are printed."""
    # what VDSM and other hosts say may have brackets
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def view(status: dict[str, Any]) -> RenderableType:
    """Everything below the summary line."""
    return Group(*_parts(status))


def whole(status: dict[str, Any]) -> RenderableType:
    """With the summary line, for a screen that is drawn again and again."""
    if not status["configured"]:
        return Text(f"not configured: {status['reason']}")
    return Group(Text(status["summary"]), view(status))


def _parts(status: dict[str, Any]) -> Iterator[RenderableType]:
    yield _facts(status)
    yield Text()
    yield _hosts(status["hosts"])
    broken = [c for c in status["components"] if c["ok"] is False]
    if broken:
        yield Text()
        yield _components(broken)


def _facts(status: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    score = status["score"]
    table.add_row(
        "This host",
        f"id {status['host_id']}, {status['state'] or status['phase']} for {_span(status['phase_since_s'])}",
    )
    table.add_row("Why", status["why"])
    penalties = "".join(f" - {p['points']} ({p['name']}: {p['reason']})" for p in score["penalties"])
    table.add_row("Score", f"{score['points']} = {score['base']}{penalties}")
    table.add_row(
        "Maintenance",
        f"global {_flag(status['global_maintenance'])}, local {_flag(status['local_maintenance'])}",
    )
    table.add_row("Engine VM", vm(status["vm"]))
    for number, text in enumerate(_definition(status["definition"])):
        table.add_row("" if number else "Definition", text)
    table.add_row("Leases", _leases(status["leases"]))
    if status["command"]:
        table.add_row("Last command", _command(status["command"]))
    if status["last_end"]:
        end = status["last_end"]
        table.add_row("Last end", f"{end['kind']}, {_span(end['s_ago'])} ago: {end['detail']}")
    for number, text in enumerate(status["waits_for"]):
        table.add_row("" if number else "Waits for", text)
    for number, text in enumerate(status["alarms"]):
        table.add_row("" if number else "Alarm", text)
    return table


def _hosts(hosts: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    leases = ("HA lease", "Storage lease")
    for name in ("Host", "Name", "Agent", "Class", "State", "Score", "Engine VM", *leases, "Slot"):
        table.add_column(name)
    for row in hosts:
        table.add_row(
            f"{row['host_id']}{' (this)' if row['local'] else ''}",
            row["name"] or "-",
            agent(row["upstream"]),
            row["class"] or "-",
            row["state"] or "-",
            _or_dash(row["score"]),
            _claim(row),
            row["ha_lease"] or "-",
            row["storage_lease"] or "-",
            row["slot_age"] or "-",
        )
    return table


def agent(upstream: bool | None) -> str:
    """Whose agent writes a host's slot."""
    return {None: "-", True: "upstream", False: "ours"}[upstream]


def _claim(row: dict[str, Any]) -> str:
    if row["claim"] in (None, "none"):
        return {None: "-", True: "here", False: "no"}[row["claims_vm"]]
    return {"valid": "claims it", "perhaps": "old claim, open", "void": "old claim, void"}[str(row["claim"])]


def _components(broken: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("In trouble", no_wrap=True)
    table.add_column("For", no_wrap=True)
    table.add_column("Next try", no_wrap=True)
    table.add_column("Reason", overflow="fold")
    for row in broken:
        next_try = f"in {_span(row['next_try_s'])}" if row["next_try_s"] is not None else "-"
        table.add_row(row["name"], _span(row["since_s"]), next_try, row["reason"] or "")
    return table


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _flag(flag: dict[str, Any]) -> str:
    if flag["value"] is None:
        return f"unknown ({flag['problem']})"
    return "on" if flag["value"] else "off"


def vm(vm: dict[str, Any]) -> str:
    """The engine VM in one line."""
    where = f" on host {vm['where_host_id']}" if vm["where_host_id"] is not None else ""
    text = f"{vm['name'] or UNKNOWN} {vm['id']}: {vm['where']}{where}, VDSM: {vm['status'] or 'unknown'}"
    if vm["exit_message"]:
        text += f" ({vm['exit_message']})"
    if vm["engine"]:
        text += f"; engine {vm['engine']}: {vm['engine_reason']} ({_span(vm['engine_age_s'])} ago)"
    return text


def _definition(definition: dict[str, Any]) -> Iterator[str]:
    problem = definition["problem"]
    if "sha256" not in definition:
        yield f"none: {problem or 'not read yet'}"
        return
    age = definition["age_s"]
    text = (
        f"{definition['source']}; {_generation(definition)}, number {definition['number']}, domain XML: "
        f"{definition['made']}, sha256 {definition['sha256'][:12]}; store checked "
        f"{f'{_span(age)} ago' if age is not None else 'never yet'}"
    )
    told = problem is None or problem == definition["chosen_because"]
    yield text if told else f"{text}; now: {problem}"
    if definition["chosen_because"]:
        yield (
            f"{definition['chosen'].upper()}, kept {_span(definition['kept_s_ago'])} ago: "
            f"{definition['chosen_because']}"
        )
    if definition["made_because"]:
        yield f"{definition['made']}: {definition['made_because']}"
    if definition["pending"]:
        running = definition["running"]
        yield (
            f"pending until next start: the VM runs from {_generation(running)}, "
            f"sha256 {running['sha256'][:12]}; `ovirt-he-agent ovf diff` shows what differs"
        )
    for damaged in definition["store"]["damaged"]:
        yield f"the other OVF_STORE cannot be used: {damaged}"
    for warning in definition["warnings"]:
        yield f"warning: {warning}"


def _generation(known: dict[str, Any]) -> str:
    return f"generation {UNKNOWN if known['generation'] is None else known['generation']}"


def _leases(leases: dict[str, Any]) -> str:
    domain = leases["storage_domain"]
    acquired = {None: domain["problem"] or "unknown", True: "acquired", False: "not acquired yet"}[
        domain["acquired"]
    ]
    parts = [f"host id {leases['host_id']['detail']}", f"storage domain {acquired}"]
    if not leases["vm"]:
        parts.append("VM leases are read only while the VM is not here")
    for row in leases["vm"]:
        owners = row["owners"]
        who = (
            row["problem"] or "unknown" if owners is None else "free" if not owners else f"owned by {owners}"
        )
        parts.append(
            f"VM lease {row['volume_id'][:8]} {who} ({_span(row['age_s'])} ago)"
            if row["age_s"] is not None
            else f"VM lease {row['volume_id'][:8]} {who}"
        )
    return "; ".join(parts)


def _command(command: dict[str, Any]) -> str:
    state = (
        "in flight"
        if command["in_flight"]
        else "dropped"
        if command["dropped"]
        else {True: "done", False: "failed", None: "outcome unknown"}[command["ok"]]
    )
    detail = f": {command['detail']}" if command["detail"] else ""
    return f"{command['kind']} {_span(command['given_s_ago'])} ago, {state}{detail}"
