"""The lease adapter against a real sanlock daemon."""

import asyncio
from pathlib import Path

import pytest

from ovirt_he_agent.adapters import leases
from ovirt_he_agent.core import model
from ovirt_he_agent.sim.sanlock_daemon import SanlockDaemon

pytestmark = pytest.mark.real("sanlock", "direct-io")


async def joined(sanlock: leases.Sanlock, lockspace: model.Lockspace, host_id: int) -> None:
    await sanlock.start_join(lockspace, host_id, io_timeout_s=1)
    async with asyncio.timeout(20):
        while await sanlock.membership(lockspace, host_id) is not model.Membership.HELD:
            await asyncio.sleep(0.05)


async def test_a_free_host_id_is_acquired_without_blocking_and_released(
    sanlock_host: SanlockDaemon, tmp_path: Path
) -> None:
    lockspace = model.Lockspace(name="hosted-engine", path=tmp_path / "lockspace")
    lockspace.path.write_bytes(bytes(1 << 20))
    leases.write_lockspace(lockspace, io_timeout_s=1)
    sanlock = leases.Sanlock()
    assert await sanlock.membership(lockspace, 1) is model.Membership.NOT_HELD
    await joined(sanlock, lockspace, 1)
    async with asyncio.timeout(10):
        while not (hosts := await sanlock.hosts(lockspace.name)):
            await asyncio.sleep(0.05)
    assert [h.host_id for h in hosts] == [1]
    await sanlock.leave(lockspace, 1, timeout_s=10)
    assert await sanlock.membership(lockspace, 1) is model.Membership.NOT_HELD
    sanlock.close()
