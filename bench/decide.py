#!/usr/bin/env python3
"""How long one decision takes, and what the same step costs upstream's agent.

A decision on 8 and on 250 hosts, in the situations that a host is in: the VM elsewhere, here, and
nowhere; medians. Given a checkout of ovirt-hosted-engine-ha, one step of its own state machine in
the same cluster is measured beside the first: the refresh of its data with 15 minutes of history,
and the next state, which copies all of it. Neither includes input or output.

    python bench/decide.py [--rounds 300] [checkout]
"""

import argparse
import importlib
import logging
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from ovirt_he_agent.core import decision, model, snapshot  # noqa: E402 the repository's own
from ovirt_he_agent.core.state import State  # noqa: E402
from tests.snapshots import (  # noqa: E402
    JOINED,
    NOW,
    UP,
    host,
    owned_by,
    probe,
    running,
    seen,
    slot,
    startable,
)

LIMITS_MS = {8: 0.2, 250: 2.0}
LEAST_RATIO = 20
PERIOD_S = 10
HISTORY = 90
"""Entries of 15 minutes, one each loop of 10 s."""
SETTINGS = {
    "base-score": 3400,
    "network-score-penalty": 1600,
    "not-uptodate-config-penalty": 1000,
    "mgmt-bridge-score-penalty": 600,
    "free-memory-score-penalty": 400,
    "cpu-load-score-penalty": 1000,
    "engine-retry-score-penalty": 50,
    "cpu-load-penalty-min": 0.4,
    "cpu-load-penalty-max": 0.9,
}


def median_ms(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def situations(hosts: int) -> dict[str, tuple[State, snapshot.Snapshot]]:
    """What this host remembers and sees, as host 1 of a cluster of so many."""
    lockspace = seen({i: host() for i in range(1, hosts + 1)})
    others = {i: slot(i, ours=True, engine_seen_ago_s=5) for i in range(2, hosts + 1)}
    cluster: dict[str, Any] = {"ha_hosts": lockspace, "sd_hosts": lockspace, "slots": seen(others)}
    claimed = {**others, 2: slot(2, ours=True, claims_vm=True, engine_detail="Up", state="EngineUp")}
    probes = tuple(probe(ago_s=s) for s in range(30, 0, -1))
    return {
        "elsewhere": (JOINED, startable(**{**cluster, "slots": seen(claimed)}, vm_leases=owned_by(2))),
        "here": (running(), startable(**{**UP, **cluster, "probes": probes})),
        "nowhere": (JOINED, startable(**cluster)),
    }


def ours(hosts: int, rounds: int) -> tuple[bool, float]:
    """Whether the limit was kept, and the median of the first situation in ms."""
    limit_ms, medians = LIMITS_MS[hosts], {}
    for name, (state, snap) in situations(hosts).items():
        state = decision.decide(state, snap, NOW).state
        later = model.MonotonicMs(NOW + 1000)
        medians[name] = median_ms(lambda s=state, n=snap, t=later: decision.decide(s, n, t), rounds)  # type: ignore[misc]
    good = max(medians.values()) <= limit_ms
    cells = ", ".join(f"{name} {took_ms:.3f} ms" for name, took_ms in medians.items())
    print(f"{hosts:4} hosts: {cells} (limit {limit_ms:g})  {'PASS' if good else 'FAIL'}")
    return good, medians["elsewhere"]


# upstream's machine


def module(name: str, **names: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__dict__.update(names)
    sys.modules[name] = made
    return made


def load_upstream(checkout: Path) -> tuple[Any, Any]:
    """Its modules of the machine and of the states; what they import of VDSM and of the build is made up."""
    sys.path.insert(0, str(checkout))
    package = "ovirt_hosted_engine_ha"
    words = {"UP": "Up", "DOWN": "Down", "PAUSED": "Paused"}
    vmstatus = module("vdsm.virt.vmstatus", **words)
    vdsm_config, vdsm_client = module("vdsm.config", config=None), module("vdsm.client")
    module("vdsm", client=vdsm_client, config=vdsm_config)
    module("vdsm.virt", vmstatus=vmstatus)
    module("yajsonrpc", stomp=module("yajsonrpc.stomp"))
    for place in ("env", "agent"):
        parent = importlib.import_module(f"{package}.{place}")
        constants = module(f"{package}.{place}.constants")
        exec((checkout / package / place / "constants.py.in").read_text(), constants.__dict__)
        setattr(parent, "constants", constants)  # noqa: B010 a module has no such attribute for mypy
    importlib.import_module(f"{package}.lib").upgrade = module(  # type: ignore[attr-defined]
        f"{package}.lib.upgrade", is_conf_file_uptodate=lambda: True
    )
    return (
        importlib.import_module(f"{package}.agent.state_machine"),
        importlib.import_module(f"{package}.agent.states"),
    )


class Cluster:
    """What upstream's machine asks its agent for: the VM is up on host 2."""

    host_id = 1
    min_memory_threshold = 16384
    score_config = SETTINGS

    def __init__(self, hosts: int) -> None:
        self.hosts = hosts
        self.now_s = 100_000

    def monotonic(self) -> int:
        return self.now_s

    def collect_stats(self) -> dict[str, Any]:
        down = {"vm": "down", "health": "bad", "detail": "unknown", "reason": "vm not running on this host"}
        up = {"vm": "up", "health": "good", "detail": "Up"}
        hosts = {
            i: {
                "metadata_parse_version": 1,
                "metadata_feature_version": 1,
                "host-id": i,
                "host-ts": self.now_s - 3,
                "score": 3400,
                "engine-status": dict(up if i == 2 else down),
                "hostname": f"host{i}",
                "maintenance": False,
                "stopped": False,
                "crc32": "00000000",
                "conf_on_shared_storage": True,
                "local_conf_timestamp": self.now_s - 7,
                "extra": f"timestamp={self.now_s}\nhost-id={i}\nscore=3400\nstate=EngineDown\n",
            }
            for i in range(2, self.hosts + 1)
        }
        local = {
            "mem-free": 65536.0,
            "network": 1.0,
            "bridge": True,
            "cpu-load": 0.1,
            "engine-health": dict(down),
            "maintenance": False,
        }
        return {
            "metadata_too_new": False,
            "cluster": {"maintenance": False},
            "host_id": self.host_id,
            "hosts": hosts,
            "local": local,
            "maintenance": False,
        }


def upstreams(checkout: Path, hosts: int, rounds: int) -> float:
    """The median of a step in ms, with a full history."""
    machine, states = load_upstream(checkout)
    cluster = Cluster(hosts)
    machine.monotonic = types.SimpleNamespace(time=cluster.monotonic)
    logging.getLogger("upstream").setLevel(logging.WARNING)
    fsm = machine.EngineStateMachine(cluster, logging.getLogger("upstream"), {})
    data = fsm.state.data
    for _ in range(HISTORY):  # as its own refresh does it, without the copies in between
        cluster.now_s += PERIOD_S
        data = fsm.refresh(data)
    fsm._state = states.EngineDown(data)
    assert len(data.history) == HISTORY

    def step() -> None:
        cluster.now_s += PERIOD_S
        next(fsm)

    took_ms = median_ms(step, rounds)
    assert type(fsm.state).__name__ == "EngineDown", fsm.state
    return took_ms


def main() -> int:
    parser = argparse.ArgumentParser(description="one decision, and one step of upstream's machine")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("checkout", nargs="?", type=Path, help="of ovirt-hosted-engine-ha")
    options = parser.parse_args()
    results = []
    for hosts in LIMITS_MS:
        good, ours_ms = ours(hosts, options.rounds)
        results.append(good)
        if options.checkout is not None:
            theirs_ms = upstreams(options.checkout, hosts, max(3, options.rounds // 50))
            ratio = theirs_ms / ours_ms
            results.append(ratio >= LEAST_RATIO)
            print(
                f"     upstream's step: {theirs_ms:.1f} ms, ratio {ratio:.0f} (at least {LEAST_RATIO})  "
                f"{'PASS' if ratio >= LEAST_RATIO else 'FAIL'}"
            )
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
