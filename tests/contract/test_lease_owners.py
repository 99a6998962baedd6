"""Who owns the VM's leases, when volumes of earlier definitions are gone from storage."""

from typing import Any, cast

import pytest

from ovirt_he_agent.adapters.vdsm import failures
from ovirt_he_agent.agent import observers
from ovirt_he_agent.agent.board import Board
from ovirt_he_agent.agent.deployment import Deployment, VolumeRef
from ovirt_he_agent.agent.own_slot import Identity
from ovirt_he_agent.agent.settings import Settings
from ovirt_he_agent.core import model, snapshot
from tests.snapshots import DISK, DOMAIN_ID, NOW, VM_ID, definition, seen

MERGED = snapshot.LeaseRef(domain_id=DOMAIN_ID, image_id=DISK.image_id, volume_id="merged")


class Vdsm:
    """Knows the deployed disk's volume, free, and no other."""

    async def vm_report(self, vm_id: str) -> None:
        return None

    async def volume_info(self, domain_id: str, image_id: str, volume_id: str) -> model.VolumeInfo:
        if volume_id != DISK.volume_id:
            raise failures.NoSuchVolume("Volume.getInfo", 201, "Volume does not exist")
        return model.VolumeInfo(
            domain_id=domain_id,
            image_id=image_id,
            volume_id=volume_id,
            is_leaf=True,
            description="",
            disk_type=None,
            apparent_size_bytes=None,
            lease=model.VolumeLease(path="/lease", offset_bytes=0, owners=()),
        )


@pytest.fixture
def board() -> Board:
    return Board(host_id=1, vm_id=VM_ID, deployed_lease=DISK, clock=lambda: NOW)


def looking(board: Board) -> observers.Observers:
    volume = VolumeRef(image_id=DISK.image_id, volume_id=DISK.volume_id)
    deployed = Deployment(
        source="a test", host_id=1, vm_id=VM_ID, domain_id=DOMAIN_ID, vm_disk=volume,
        whiteboard=volume, lockspace=volume, domain_type=1, bridge="ovirtmgmt", connections=(),
        network_test=model.NetworkTest(kind=model.NetworkTestKind.NONE), is_up_to_date=True,
    )  # fmt: skip
    nobody = cast("Any", Vdsm())
    nobody.see_to_history = nobody.look = None
    world = observers.World(
        vdsm=nobody, leases=nobody, whiteboard=nobody, definitions=nobody, health=nobody,
        host_view=nobody, local_maintenance=nobody, vm_conf=nobody, network=nobody, statistics=nobody,
        cpu=nobody, state_file=nobody, wall_text=str,
    )  # fmt: skip
    return observers.Observers(deployed, board, Settings(), world, Identity(host_name="h", policy_hash="0"))


async def owners(board: Board, ref: snapshot.LeaseRef) -> tuple[int, ...] | None:
    await looking(board).reread_vm_evidence()
    view = board.vm_leases[ref].value
    return view.owners if view is not None else None


async def test_a_volume_of_an_earlier_definition_that_was_merged_away_has_no_owner(board: Board) -> None:
    board.definition = seen(definition(other_leases=(MERGED,)))
    assert await owners(board, MERGED) == ()


async def test_a_volume_of_the_definition_itself_that_is_missing_is_unknown(board: Board) -> None:
    board.definition = seen(definition(leases=(MERGED,)))
    assert await owners(board, MERGED) is None
    assert "Volume does not exist" in (board.vm_leases[MERGED].problem or "")
