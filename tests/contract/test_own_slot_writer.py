"""Who writes this host's slot, on a real volume: what it may write when, and the timestamps of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ovirt_he_agent.adapters import volumes
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.agent.ha_lease import HaLease
from ovirt_he_agent.agent.own_slot import Identity, NothingToSay, OwnSlot
from ovirt_he_agent.core import model, whiteboard
from ovirt_he_agent.core.host_figures import HostFigures
from ovirt_he_agent.core.publication import Published
from tests import own_slots
from tests.slot_watch import read_slot
from tests.snapshots import DISK, VM_ID

pytestmark = pytest.mark.real("direct-io")

HOST = 2
FIGURES = HostFigures(memory_free_mib=3900, memory_needed_mib=4096, bridge_up=True, failed_starts=1)
SAYS = Published(
    state="EngineUp",
    score=3400,
    engine=own_slots.UP,
    local_maintenance=False,
    stopped=False,
    others_first=False,
    figures=FIGURES,
)
LOCKSPACE = Path("/lockspace")


class Clock:
    """Milliseconds that pass when told."""

    def __init__(self, now: int = 1_000_000) -> None:
        self.now = now

    def __call__(self) -> model.MonotonicMs:
        return model.MonotonicMs(self.now)


class Sanlock:
    """A daemon that holds the host id, or does not."""

    held = True

    async def start_join(self, lockspace: model.Lockspace, host_id: int, *, io_timeout_s: int) -> None: ...

    async def membership(self, lockspace: model.Lockspace, host_id: int) -> model.Membership:
        return model.Membership.HELD if self.held else model.Membership.NOT_HELD

    async def hosts(self, lockspace_name: str) -> tuple[model.HostLease, ...] | None:
        return ()


class Daemon:
    """What one run of the agent has for its slot."""

    def __init__(self, volume: Path, clock: Clock) -> None:
        self.volume = volume
        self.sanlock = Sanlock()
        self.adapter = volumes.Whiteboard(clock=clock, timeout_s=10)
        self.board = Board(host_id=HOST, vm_id=VM_ID, deployed_lease=DISK, clock=clock)
        lease = HaLease(self.sanlock, HOST, io_timeout_s=1, clock=clock)
        who = Identity(host_name="node-b.example.org", policy_hash="0123abcd")
        self.own_slot = OwnSlot(self.board, self.adapter, lease, who, wall_text=str)

    async def write(self) -> None:
        await self.own_slot.write(self.volume, LOCKSPACE)

    async def says(self, published: Published) -> int:
        """Write it; the timestamp that stands there then."""
        self.own_slot.say(published)
        await self.write()
        slot = whiteboard.decode_slot(HOST, read_slot(self.volume, HOST))
        assert isinstance(slot, whiteboard.HostSlot)
        assert (slot.state, slot.ours, slot.figures) == (published.state, True, published.figures)
        return slot.timestamp


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "whiteboard"
    path.write_bytes(bytes(1 << 16))
    return path


@pytest.fixture
def daemon(volume: Path, clock: Clock) -> Iterator[Daemon]:
    it = Daemon(volume, clock)
    yield it
    it.adapter.close()


@pytest.fixture
def next_daemon(volume: Path, clock: Clock) -> Iterator[Daemon]:
    it = Daemon(volume, clock)
    yield it
    it.adapter.close()


async def test_the_timestamp_is_the_clock_and_grows_with_every_write(daemon: Daemon, clock: Clock) -> None:
    assert [await daemon.says(SAYS) for _ in range(3)] == [1000, 1001, 1002]
    clock.now = 1_010_900
    assert await daemon.says(SAYS) == 1010


async def test_it_goes_on_growing_in_the_next_daemon(
    daemon: Daemon, next_daemon: Daemon, clock: Clock
) -> None:
    for _ in range(5):
        last = await daemon.says(SAYS)
    clock.now += 1000
    assert await next_daemon.says(SAYS) == last + 1


async def test_what_another_boot_left_is_not_followed(
    daemon: Daemon, next_daemon: Daemon, clock: Clock
) -> None:
    await daemon.says(SAYS)
    clock.now = 90_000  # the clock has begun anew
    assert await next_daemon.says(SAYS) == 90


async def test_a_damaged_slot_is_written_over(daemon: Daemon) -> None:
    with daemon.volume.open("r+b") as f:
        f.seek(HOST * whiteboard.SLOT_BYTES)
        f.write(b"\xffgarbage")
    assert await daemon.says(SAYS) == 1000


async def test_without_the_host_id_nothing_is_written(daemon: Daemon) -> None:
    daemon.sanlock.held = False
    daemon.own_slot.say(SAYS)
    with pytest.raises(NothingToSay, match="id is not held in lockspace hosted-engine"):
        await daemon.write()
    assert not any(daemon.volume.read_bytes())


async def test_what_is_nothing_to_say_is_not_written(daemon: Daemon) -> None:
    with pytest.raises(NothingToSay, match="nothing that other hosts could rely on"):
        await daemon.write()
    assert not any(daemon.volume.read_bytes())


async def test_after_a_failure_it_is_tried_with_what_stands_there(daemon: Daemon, clock: Clock) -> None:
    """Cut off, a host has nothing to say; that writing works again is learnt all the same."""
    await daemon.says(SAYS)
    before = daemon.volume.read_bytes()
    daemon.board.own_slot = daemon.board.own_slot.failed("Input/output error")
    daemon.own_slot.say(None)
    clock.now += 30_000
    await daemon.write()
    assert daemon.volume.read_bytes() == before
    assert daemon.board.own_slot.problem is None
    assert daemon.board.own_slot.at == clock.now
    assert await daemon.says(replace(SAYS, state="EngineDown")) == 1030


async def test_after_a_failure_a_damaged_slot_is_mended(daemon: Daemon) -> None:
    """A write that failed may have left half a slot."""
    await daemon.says(SAYS)
    before = daemon.volume.read_bytes()
    with daemon.volume.open("r+b") as f:
        f.seek(HOST * whiteboard.SLOT_BYTES)
        f.write(b"\xffgarbage")
    daemon.board.own_slot = daemon.board.own_slot.failed("Input/output error")
    daemon.own_slot.say(None)
    await daemon.write()
    assert daemon.volume.read_bytes() == before
