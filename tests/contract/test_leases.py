"""The lease adapter against real sanlock daemons."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovirt_he_agent.adapters import leases
from ovirt_he_agent.agent import ports
from ovirt_he_agent.core import model
from ovirt_he_agent.sim.sanlock_daemon import SanlockDaemon
from tests.waiting import eventually

pytestmark = pytest.mark.real("sanlock", "direct-io")

HELD, IN_TRANSITION, NOT_HELD = (
    model.Membership.HELD,
    model.Membership.IN_TRANSITION,
    model.Membership.NOT_HELD,
)

CHILD = """
import asyncio, sys
from pathlib import Path
from ovirt_he_agent.adapters import leases
from ovirt_he_agent.core import model

async def main():
{body}

asyncio.run(main())
"""
JOIN = """
    lockspace = model.Lockspace(name=sys.argv[1], path=Path(sys.argv[2]))
    sanlock = leases.Sanlock()
    await sanlock.start_join(lockspace, int(sys.argv[3]), io_timeout_s=1)
    while await sanlock.membership(lockspace, int(sys.argv[3])) is not model.Membership.HELD:
        await asyncio.sleep(0.05)
    print("held", flush=True)
    sys.stdin.read()
"""
ACQUIRE = """
    leases.acquire(leases.register(), sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    print("held", flush=True)
    sys.stdin.read()
"""
ASK_NOBODY = """
    lockspace = model.Lockspace(name="hosted-engine", path=Path(sys.argv[1]))
    sanlock = leases.Sanlock()
    for ask in (
        sanlock.ping(),
        sanlock.membership(lockspace, 1),
        sanlock.hosts("hosted-engine"),
        sanlock.start_join(lockspace, 1),
        sanlock.leave(lockspace, 1, timeout_s=5),
    ):
        try:
            print("answered:", await ask)
        except leases.SanlockAway as e:
            print(e)
"""


@contextmanager
def child(body: str, *arguments: object, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A client of another daemon: libsanlock knows one daemon per process. It ends with its stdin."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(body=body), *map(str, arguments)],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            yield process
            process.kill()
    finally:
        process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def lockspace(sanlock_host: SanlockDaemon, tmp_path: Path) -> model.Lockspace:
    lockspace = model.Lockspace(name="hosted-engine", path=tmp_path / "lockspace")
    lockspace.path.write_bytes(bytes(1 << 20))
    leases.write_lockspace(lockspace, io_timeout_s=1)
    return lockspace


@pytest.fixture
async def sanlock(sanlock_host: SanlockDaemon) -> AsyncIterator[leases.Sanlock]:
    it = leases.Sanlock()
    yield it
    it.close()


async def join(sanlock: leases.Sanlock, lockspace: model.Lockspace, host_id: int) -> None:
    await sanlock.start_join(lockspace, host_id, io_timeout_s=1)

    async def held() -> bool:
        return await sanlock.membership(lockspace, host_id) is HELD

    await eventually(held, within_s=20)


def test_it_is_the_agents_port(sanlock: leases.Sanlock) -> None:
    port: ports.Leases = sanlock
    assert port is sanlock


async def test_a_free_host_id_is_acquired_without_blocking_and_released(
    sanlock: leases.Sanlock, lockspace: model.Lockspace, tmp_path: Path
) -> None:
    assert await sanlock.membership(lockspace, 1) is NOT_HELD
    await sanlock.start_join(lockspace, 1, io_timeout_s=1)
    assert await sanlock.membership(lockspace, 1) is IN_TRANSITION
    await join(sanlock, lockspace, 1)  # asked again while it is under way

    hosts = await eventually(lambda: sanlock.hosts(lockspace.name)) or ()
    assert [h.host_id for h in hosts] == [1]
    await sanlock.start_join(lockspace, 1, io_timeout_s=1)  # and when it is held

    with pytest.raises(leases.OtherHostId, match=r"already as host id 1 on .*lockspace, not as host id 2"):
        await sanlock.start_join(lockspace, 2, io_timeout_s=1)
    assert await sanlock.membership(lockspace, 2) is NOT_HELD

    await sanlock.leave(lockspace, 1, timeout_s=10)
    assert await sanlock.membership(lockspace, 1) is NOT_HELD
    assert await sanlock.hosts(lockspace.name) is None
    await sanlock.leave(lockspace, 1, timeout_s=10)  # not in it: nothing to do


async def test_owners_of_a_lease_are_those_whose_process_lives(
    sanlock: leases.Sanlock, sanlock_host: SanlockDaemon, lockspace: model.Lockspace, tmp_path: Path
) -> None:
    resource = tmp_path / "lease"
    resource.write_bytes(bytes(1 << 20))
    leases.write_resource(lockspace.name, "vm-disk", resource)
    assert leases.read_owners(lockspace.name, "vm-disk", resource)[0] == []
    await join(sanlock, lockspace, 3)
    with child(ACQUIRE, lockspace.name, "vm-disk", resource, environment=sanlock_host.environment) as vm:
        assert said(vm) == "held"
        owners, version = leases.read_owners(lockspace.name, "vm-disk", resource)
        assert [(o.host_id, o.generation, version) for o in owners] == [(3, 1, 1)]
        with pytest.raises(leases.LockspaceFailed, match="leave lockspace 'hosted-engine'"):
            await sanlock.leave(lockspace, 3, timeout_s=10, unused=True)
        vm.kill()
        await eventually(lambda: not leases.read_owners(lockspace.name, "vm-disk", resource)[0])
    await sanlock.leave(lockspace, 3, timeout_s=10)


# what is wrong is said at once, where sanlock itself would only say later that it did not work


async def test_a_missing_lockspace_volume_is_named(
    sanlock: leases.Sanlock, lockspace: model.Lockspace
) -> None:
    gone = model.Lockspace(name=lockspace.name, path=lockspace.path.with_name("gone"))
    with pytest.raises(leases.LockspaceFailed, match=r"/gone: sanlock cannot open that volume"):
        await sanlock.start_join(gone, 1, io_timeout_s=1)
    assert await sanlock.membership(gone, 1) is NOT_HELD


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "too short"),
        (b"x" * 100, "too short"),
        (bytes(1 << 20), "no lockspace is written there; .* --reinitialize-lockspace"),
        (b"rubbish!" * (1 << 17), "no lockspace is written there"),
    ],
)
async def test_a_volume_without_a_lockspace_is_refused(
    sanlock: leases.Sanlock, lockspace: model.Lockspace, content: bytes, problem: str
) -> None:
    lockspace.path.write_bytes(content)
    with pytest.raises(leases.LockspaceFailed, match=problem):
        await sanlock.start_join(lockspace, 1, io_timeout_s=1)


async def test_a_lockspace_of_another_name_is_refused(
    sanlock: leases.Sanlock, lockspace: model.Lockspace
) -> None:
    other = model.Lockspace(name="another", path=lockspace.path)
    with pytest.raises(leases.LockspaceFailed, match="the lockspace there is 'hosted-engine'"):
        await sanlock.start_join(other, 1, io_timeout_s=1)


def test_without_a_daemon_every_question_says_so(lockspace: model.Lockspace, tmp_path: Path) -> None:
    nobody = {"SANLOCK_RUN_DIR": str(tmp_path)}
    with child(ASK_NOBODY, lockspace.path, environment=nobody) as client:
        lines = client.communicate(timeout=30)[0].splitlines()
    assert len(lines) == 5
    for line in lines:
        assert line.startswith("sanlock does not answer: Sanlock get lockspaces failure: No such file")
        assert "check that sanlock.service runs" in line


def test_a_daemon_that_died_is_away(lockspace: model.Lockspace, tmp_path: Path) -> None:
    daemon = SanlockDaemon(tmp_path / "sl", "test-host-2")
    daemon.start()
    assert daemon.process is not None
    daemon.process.kill()  # its socket stays behind
    daemon.process.wait()
    with child(ASK_NOBODY, lockspace.path, environment=daemon.environment) as client:
        lines = client.communicate(timeout=30)[0].splitlines()
    assert len(lines) == 5
    for line in lines:
        assert "sanlock does not answer" in line
        assert "Connection refused" in line


@pytest.mark.timeout(150)
async def test_a_host_id_that_a_live_host_holds_is_in_transition_for_a_minute_and_then_not_held(
    sanlock: leases.Sanlock, lockspace: model.Lockspace, tmp_path: Path
) -> None:
    """8 io timeouts and the watchdog's 60 s (sanlock gives no way to shorten those): 69 s here."""
    neighbour = SanlockDaemon(tmp_path / "sl", "test-host-2")
    neighbour.start()
    try:
        with child(JOIN, lockspace.name, lockspace.path, 5, environment=neighbour.environment) as agent:
            assert said(agent) == "held"
            await sanlock.start_join(lockspace, 5, io_timeout_s=1)
            seen = []

            async def over() -> bool:
                seen.append(await sanlock.membership(lockspace, 5))
                assert await sanlock.hosts(lockspace.name) is None
                return seen[-1] is not IN_TRANSITION

            await eventually(over, within_s=120, every_s=0.5)
            assert len(seen) > 1
            assert seen[-1] is NOT_HELD
            # the neighbour was not disturbed, and a free id is still to be had
            await join(sanlock, lockspace, 6)
            hosts = await eventually(lambda: sanlock.hosts(lockspace.name)) or ()
            assert {5, 6} >= {h.host_id for h in hosts} >= {6}
            await sanlock.leave(lockspace, 6, timeout_s=10)
    finally:
        neighbour.stop()
