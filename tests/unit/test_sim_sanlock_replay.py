"""The model of sanlock shows what real daemons showed: their recordings, replayed."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.sanlock_cluster import Cluster, Host
from tests.traces.scenarios import HOSTS, LOCKSPACE, RESOURCES, SCENARIOS

GOLDEN = Path(__file__).parents[1] / "golden/sanlock"
TOLERANCE_MS = 2600
"""A renewal interval (2T + 0.5 s), and the 0.1 s between two looks of the recorder.

Where in its interval a daemon is when something happens is chance. Largest
difference: 2.3 s, mean -0.2 s.
"""

BRIEF_MS = 300
"""What real daemons showed for less may be missing in the model.

When a lockspace is lost, other hosts turn FAIL in the same second; which is
first depends on the daemon's main loop. (Recorded once, for 215 ms.)
"""
BEFORE_MS = 1000
"""Virtual time begins so long before the recording, which looks around before its start."""

Row = tuple[str, str]
"""Observer, and what it observed."""


def sequences(changes: list[tuple[int, Row, Any]]) -> dict[Row, list[tuple[int, Any]]]:
    """Each observer's values of each thing in order, repetitions left out."""
    found: dict[Row, list[tuple[int, Any]]] = {}
    for at_ms, row, value in changes:
        values = found.setdefault(row, [])
        if not values or values[-1][1] != value:
            values.append((at_ms, value))
    return found


def without_brief(real: list[tuple[int, Any]], modelled: list[Any]) -> list[tuple[int, Any]]:
    """``real`` without the brief values that the model does not have at that place."""
    kept: list[tuple[int, Any]] = []
    ends = [at_ms for at_ms, _ in real[1:]]
    for (at_ms, value), end_ms in itertools.zip_longest(real, ends):
        brief = end_ms is not None and end_ms - at_ms < BRIEF_MS
        if not brief or modelled[len(kept) : len(kept) + 1] == [value]:
            kept.append((at_ms, value))
    return kept


class Replay:
    """The model, driven by the actions of a recording."""

    def __init__(self, recorded: dict[str, Any]) -> None:
        self.cluster = Cluster(
            tuple(f"host-{name}" for name in HOSTS),
            has_watchdog=False,
            watchdog_fire_s=recorded["watchdog_fire_s"],
        )
        self.hosts = dict(zip(HOSTS, self.cluster.hosts, strict=True))
        self.recorded = recorded
        self.watched = {
            name: sorted(
                {int(a["what"]) for a in recorded["actions"] if (a["host"], a["do"]) == (name, "join")}
            )
            for name in HOSTS
        }
        self.changes: list[tuple[int, Row, Any]] = []
        self.outcomes: dict[str, tuple[bool, int]] = {}
        """Of acquisitions: whether it was granted, and when (milliseconds)."""

    def run(self) -> None:
        actions = list(self.recorded["actions"])
        for at_ms in range(-500, self.recorded["end_ms"], 100):
            while actions and actions[0]["at_ms"] <= at_ms:
                action = actions.pop(0)
                self._go_to(action["at_ms"])
                self._do(self.hosts[action["host"]], action)
            self._go_to(at_ms)
            for name, host in self.hosts.items():
                self.changes += [(at_ms, (name, what), value) for what, value in self._look(name, host)]

    def _go_to(self, ms: int) -> None:
        self.cluster.time.run_until(ms + BEFORE_MS)

    def _do(self, host: Host, action: dict[str, Any]) -> None:
        what = action["what"]
        match action["do"]:
            case "join":
                host.join(int(what), self.recorded["io_timeout_s"])
            case "leave":
                host.sanlock.rem_lockspace(LOCKSPACE)
            case "acquire":
                self._acquire(host, what, action["holder"])
            case "end" if what == "holder":
                for pid in range(len(self.recorded["actions"])):
                    host.sanlock.release(pid)
            case "end":
                pass  # who only asked
            case "kill":
                host.sanlock.kill()
            case "start":
                host.sanlock.start()
            case "disk":
                host.disk.ok = what == "works"

    def _acquire(self, host: Host, resource: str, holder: str) -> None:
        def done(granted: bool) -> None:
            self.outcomes[holder] = (granted, self.cluster.time.now_ms() - BEFORE_MS)

        host.sanlock.acquire(LOCKSPACE, resource, int(holder.removeprefix("holder")), done)

    def _look(self, name: str, host: Host) -> list[tuple[str, Any]]:
        """What the recorder's observers note, in their words."""
        sanlock = host.sanlock
        hosts = sanlock.hosts(LOCKSPACE)
        seen: list[tuple[str, Any]] = []
        for host_id in self.watched[name]:
            seen.append((f"membership {host_id}", sanlock.membership(LOCKSPACE, host_id).value))
        for host_id in (1, 2, 3):
            known = [[h.flag.name, h.generation] for h in hosts or () if h.host_id == host_id]
            absent = None if hosts is None else "absent"
            seen.append((f"host {host_id}", known[0] if known else absent))
        for resource in RESOURCES:
            owners, raw = sanlock.owners(LOCKSPACE, resource), sanlock.raw_owner(LOCKSPACE, resource)
            seen.append((f"owners {resource}", None if owners is None else [*owners]))
            readable = host.disk.ok
            seen.append((f"raw {resource}", ([*raw] if raw else "free") if readable else None))
        return seen if sanlock.running else [(what, None) for what, _ in seen]


def golden(name: str) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return recorded


def test_every_scenario_has_its_recording() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_model_shows_what_real_daemons_showed(name: str) -> None:
    recorded = golden(name)
    replay = Replay(recorded)
    replay.run()
    expected = sequences(
        [
            (c["at_ms"], (c["host"], c["what"]), None if c["value"] == "error" else c["value"])
            for c in recorded["changes"]
        ]
    )
    shown = sequences(replay.changes)
    assert shown.keys() == expected.keys()
    for row, values in expected.items():
        values = without_brief(values, [value for _, value in shown[row]])
        assert [value for _, value in shown[row]] == [value for _, value in values], row
        for (modelled_ms, value), (real_ms, _) in zip(shown[row][1:], values[1:], strict=True):
            assert abs(modelled_ms - real_ms) <= TOLERANCE_MS, (row, value, modelled_ms, real_ms)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_model_grants_and_refuses_leases_as_real_daemons_did(name: str) -> None:
    recorded = golden(name)
    replay = Replay(recorded)
    replay.run()
    begun = {a["holder"]: a["at_ms"] for a in recorded["actions"] if a["do"] == "acquire"}
    real = {a["holder"]: a for a in recorded["acquisitions"]}
    assert replay.outcomes.keys() == real.keys()
    for holder, (granted, at_ms) in replay.outcomes.items():
        assert granted is (real[holder]["error"] is None), holder
        assert abs(at_ms - begun[holder] - real[holder]["took_ms"]) <= TOLERANCE_MS, holder


@pytest.mark.parametrize("name", ["leave", "disk_lost"])
def test_the_model_kills_holders_when_real_daemons_did(name: str) -> None:
    recorded = golden(name)
    replay = Replay(recorded)
    replay.run()
    granted = {a["holder"] for a in recorded["acquisitions"] if a["error"] is None}
    ((real_ms, holder),) = [(e["at_ms"], e["holder"]) for e in recorded["ends"] if e["holder"] in granted]
    ((modelled_ms, pid),) = [killed for host in replay.hosts.values() for killed in host.killed]
    assert f"holder{pid}" == holder
    assert abs(modelled_ms - BEFORE_MS - real_ms) <= TOLERANCE_MS
