"""haStats, HA maintenance and hooks of the emulator, as VDSM has them."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ovirt_he_agent.config import Paths
from ovirt_he_agent.errors import Retryable
from tests.asked_agent import RecordedRequests, serving
from tests.emulated_host import EmulatedHost
from tests.raw_stomp import RawClient, VdsmError

PLUGINS = Path(__file__).parents[2] / "vdsm_plugins"


class WhiteboardAway(Retryable):
    msg = "the whiteboard is away; try again when it is back"


DEFAULTS = {
    "configured": False,
    "active": False,
    "score": 0,
    "globalMaintenance": False,
    "localMaintenance": False,
}

PACKAGE = '''
"""Stands for the HA package: it reads what to answer from a file below the root."""
import json, os

class HAClient:
    class MaintenanceMode:
        LOCAL, GLOBAL = "LOCAL", "GLOBAL"

    class GlobalMdFlags:
        MAINTENANCE = "maintenance"

    def _answer(self):
        with open(os.path.join(os.environ["OVIRT_HE_ROOT"], "ha.json")) as f:
            return json.load(f)

    def is_deployed(self):
        return True

    def get_local_host_id(self):
        return self._answer()["host_id"]

    def get_all_stats(self, timeout):
        assert timeout == 5
        return {int(key): value for key, value in self._answer()["stats"].items()}

    def set_maintenance_mode(self, mode, value, timeout):
        assert timeout == 60
        answer = self._answer()
        answer["maintenance"] = [mode, value]
        with open(os.path.join(os.environ["OVIRT_HE_ROOT"], "ha.json"), "w") as f:
            json.dump(answer, f)
'''


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedHost]:
    base = tmp_path_factory.mktemp("a")
    package = base / "plugins" / "ovirt_hosted_engine_ha" / "client"
    package.mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").touch()
    (package / "client.py").write_text(PACKAGE)
    deployed = base / "h" / "etc" / "ovirt-hosted-engine" / "hosted-engine.conf"
    deployed.parent.mkdir(parents=True)
    deployed.write_text("host_id=1\n")
    arguments = ("--ha-client", str(base / "plugins"))
    with EmulatedHost(base / "h", sanlock=False, arguments=arguments) as running:
        yield running


@pytest.fixture
async def client(host: EmulatedHost) -> AsyncIterator[RawClient]:
    async with RawClient(host.port) as c:
        await c.hello()
        yield c
    (host.root / "ha.json").unlink(missing_ok=True)
    for script in host.root.glob("usr/libexec/vdsm/hooks/*/*"):
        script.unlink()


def answer(host: EmulatedHost, **values: object) -> None:
    (host.root / "ha.json").write_text(json.dumps(values))


def hook(host: EmulatedHost, point: str, name: str, script: str, *, mode: int = 0o755) -> None:
    path = host.root / "usr/libexec/vdsm/hooks" / point / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)


async def test_without_an_answer_haStats_keep_their_defaults(client: RawClient) -> None:
    stats = await client.call("Host.getStats")
    assert stats["haStats"] == DEFAULTS
    assert "haScore" not in stats


async def test_haStats_are_what_the_package_says(client: RawClient, host: EmulatedHost) -> None:
    own = {"live-data": True, "score": 3400, "maintenance": False}
    answer(host, host_id=2, stats={"0": {"maintenance": True}, "2": own})
    stats = await client.call("Host.getStats")
    assert stats["haScore"] == 3400
    assert stats["haStats"] == {
        "configured": True,
        "active": True,
        "score": 3400,
        "globalMaintenance": True,
        "localMaintenance": False,
    }
    assert (await client.call("Host.getCapabilities"))["hostedEngineDeployed"] is True


async def test_what_failed_on_the_way_keeps_its_default(client: RawClient, host: EmulatedHost) -> None:
    answer(host, host_id=2, stats={"2": {"live-data": True}})
    stats = await client.call("Host.getStats")
    assert stats["haStats"] == DEFAULTS | {"configured": True, "active": True}


async def test_maintenance_reaches_the_package(client: RawClient, host: EmulatedHost) -> None:
    answer(host, host_id=1, stats={})
    done = await client.call("Host.setHaMaintenanceMode", mode="local", enabled=True)
    assert done == {"code": 0, "message": "Done"}
    assert json.loads((host.root / "ha.json").read_text())["maintenance"] == ["LOCAL", True]
    assert await client.error("Host.setHaMaintenanceMode", mode="nearby", enabled=True) == 61


async def test_maintenance_reaches_the_agent_through_the_shipped_package(tmp_path: Path) -> None:
    deployed = tmp_path / "etc/ovirt-hosted-engine/hosted-engine.conf"
    deployed.parent.mkdir(parents=True)
    deployed.write_text("host_id=1\n")
    agent = RecordedRequests(failing={"global": WhiteboardAway()})
    arguments = ("--ha-client", str(PLUGINS))
    async with serving(Paths(root=tmp_path).socket, agent):
        with EmulatedHost(tmp_path, sanlock=False, arguments=arguments) as shipped:
            async with RawClient(shipped.port) as client:
                await client.hello()
                for enabled in (True, False):
                    done = await client.call("Host.setHaMaintenanceMode", mode="Local", enabled=enabled)
                    assert done == {"code": 0, "message": "Done"}
                assert await client.error("Host.setHaMaintenanceMode", mode="GLOBAL", enabled=True) == 61
    assert agent.asked == [("LOCAL", True), ("LOCAL", False), ("global", True)]


async def test_a_failing_package_is_error_61(client: RawClient) -> None:
    assert await client.error("Host.setHaMaintenanceMode", mode="GLOBAL", enabled=True) == 61


async def test_a_deployed_host_without_the_package_says_40(tmp_path: Path) -> None:
    deployed = tmp_path / "etc/ovirt-hosted-engine/hosted-engine.conf"
    deployed.parent.mkdir(parents=True)
    deployed.write_text("host_id=1\n")
    with EmulatedHost(tmp_path, sanlock=False, arguments=("--ha-client", str(tmp_path))) as bare:
        async with RawClient(bare.port) as client:
            await client.hello()
            assert await client.error("Host.setHaMaintenanceMode", mode="LOCAL", enabled=True) == 40
            assert (await client.call("Host.getStats"))["haStats"] == DEFAULTS


async def test_a_host_that_is_not_deployed_keeps_the_flags_itself(tmp_path: Path) -> None:
    with EmulatedHost(tmp_path, sanlock=False) as fresh:
        async with RawClient(fresh.port) as client:
            await client.hello()
            await client.call("Host.setHaMaintenanceMode", mode="GLOBAL", enabled=True)
            assert (await client.call("Host.getStats"))["haStats"]["globalMaintenance"] is True


async def test_hooks_hand_one_file_through_in_order(client: RawClient, host: EmulatedHost) -> None:
    hook(host, "after_get_stats", "20_second", 'sed -i "s/mark-1/mark-2/" "$_hook_json"')
    hook(host, "after_get_stats", "10_first", 'sed -i "s/^{/{\\"mark\\": \\"mark-1\\", /" "$_hook_json"')
    hook(host, "after_get_stats", "30_not_executable", 'echo broken >"$_hook_json"', mode=0o644)
    assert (await client.call("Host.getStats"))["mark"] == "mark-2"


async def test_status_two_ends_the_row_and_after_points_go_on(client: RawClient, host: EmulatedHost) -> None:
    hook(host, "after_get_stats", "10_stops", 'sed -i "s/^{/{\\"mark\\": 1, /" "$_hook_json"; exit 2')
    hook(host, "after_get_stats", "20_never", 'echo {} >"$_hook_json"')
    assert (await client.call("Host.getStats"))["mark"] == 1


async def test_broken_json_is_an_internal_error(client: RawClient, host: EmulatedHost) -> None:
    hook(host, "after_get_stats", "10_breaks", 'echo "{" >"$_hook_json"')
    assert await client.error("Host.getStats") == -32603


async def test_a_failing_before_hook_refuses_the_verb(client: RawClient, host: EmulatedHost) -> None:
    hook(host, "before_get_stats", "10_refuses", "echo no >&2; exit 1")
    with pytest.raises(VdsmError) as refused:
        await client.call("Host.getStats")
    assert (refused.value.code, refused.value.message) == (1500, "Hook Error: (b'no\\n',)")


async def test_installed_hooks_stand_in_the_capabilities_and_may_change_them(
    client: RawClient, host: EmulatedHost
) -> None:
    hook(host, "after_get_caps", "50_x", 'sed -i "s/Emulated/Changed/" "$_hook_json"')
    capabilities = await client.call("Host.getCapabilities")
    assert capabilities["cpuModel"] == "Changed"
    assert list(capabilities["hooks"]["after_get_caps"]) == ["50_x"]


async def test_a_before_vm_start_hook_may_change_or_stop_a_start(
    client: RawClient, host: EmulatedHost
) -> None:
    vm_id = "5fa1c0de-0000-4000-8000-00000000beef"
    xml = (
        f"<domain><name>guarded</name><uuid>{vm_id}</uuid><memory>1024</memory><vcpu>1</vcpu>"
        "<devices/></domain>"
    )
    hook(host, "before_vm_start", "10_guard", f'test "$vmId" = {vm_id} && echo guarded >&2; exit 1')
    await client.call("VM.create", vmID=vm_id, vmParams={"xml": xml})
    down = await client.status_event(vm_id, "Down")
    assert (down["exitCode"], down["exitReason"]) == (1, 1)
    assert down["exitMessage"] == "Hook Error: (b'guarded\\n',)"
    await client.call("VM.destroy", vmID=vm_id)
    hook(host, "before_vm_start", "10_guard", 'sed -i "s/<vcpu>1/<vcpu>3/" "$_hook_domxml"')
    await client.call("VM.create", vmID=vm_id, vmParams={"xml": xml})
    await client.status_event(vm_id, "Powering up")
    assert (await client.call("VM.getStats", vmID=vm_id))[0]["vcpuCount"] == "3"
    await client.call("VM.destroy", vmID=vm_id)
