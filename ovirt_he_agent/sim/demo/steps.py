"""The steps of the demo's story: each makes something happen and waits until it is seen from outside."""

import asyncio
import json
import os
import signal
import time

from ovirt_he_agent.errors import ExitCode
from ovirt_he_agent.sim import deployment
from ovirt_he_agent.sim.demo.host import HOST_ID, Host, line_of
from ovirt_he_agent.sim.demo.story import StepFailed, Story

EDITED_GENERATION = 13
MAINTENANCE_WATCH_S = 4.0
"""Without maintenance the VM is started again in a fraction of this."""


async def first_start(host: Host, story: Story) -> None:
    vm_id, volume = host.deployed.vm_id, host.deployed.vm_disk.volume_id

    async def store_found() -> str | None:
        definition = (await host.ask_agent("status"))["definition"]
        newest = host.deployed.stores[0].volume_id
        if definition.get("sha256") != host.newest_sha256 or newest not in definition["source"]:
            return None
        return f"{definition['source']} (sha256 as written into the newer one)"

    async def ovf_read() -> str | None:
        definition = (await host.ask_agent("status"))["definition"]
        lease = definition["leases"][0]
        return (
            f"generation {definition['generation']}, {definition['memory_mib']} MiB, lease of volume {lease}"
        )

    async def lease_held() -> str | None:
        line = line_of(await host.sanlock_status(), f"s {deployment.HA_LOCKSPACE}:{HOST_ID}:")
        return line if line and not line.endswith(" ADD") else None  # ADD: the join is still under way

    async def vm_created() -> str | None:
        status = (await host.vdsm("VM.getStats", vmID=vm_id))[0]["status"]
        lease = line_of(await host.sanlock_status(), f"r {host.deployed.domain.id}:{volume}:")
        return f"VM {vm_id} is {status}; sanlock: {lease}" if lease else None

    async def engine_good() -> str | None:
        page = await host.page()
        state = (await host.ask_agent("status"))["state"]
        return (
            f"the guest's page: {page!r}; agent: {state}" if "DB Up" in page and state == "EngineUp" else None
        )

    async def ha_status() -> str | None:
        stats = await host.vdsm("Host.getStats")
        ha, hook = stats["haStats"], stats["haStatus"]
        if not (ha["active"] and stats["haScore"] == ha["score"] == hook["ha_score"] > 0):
            return None
        return f"haStats {json.dumps(ha)}, haScore {stats['haScore']}, haStatus {json.dumps(hook)}"

    async def own_slot() -> str | None:
        slot = host.slot(HOST_ID).decode("ascii")
        return slot if '"vm": "up", "health": "good"' in slot else None

    await story.until("OVF_STORE found", store_found)
    await story.until("OVF read", ovf_read)
    await story.until("host id lease held", lease_held)
    await story.until("VM created by UUID, lease held", vm_created)
    await story.until("engine good", engine_good)
    await story.until("Host.getStats on VDSM's wire", ha_status)
    await story.until("its slot of the whiteboard", own_slot)


async def edit(host: Host, story: Story, document: bytes) -> None:
    """What a change of the VM's memory in the engine leaves in the stores."""
    edited = document.replace(b"16777216", b"20971520")  # KiB, in the embedded domain
    for element in (b"<rasd:VirtualQuantity>", b"<MinAllocatedMem>", b'"int"&gt;'):
        edited = edited.replace(element + b"16384", element + b"20480")
    file = host.paths.root / "edited.ovf"
    file.write_bytes(edited.replace(b"<Generation>12<", b"<Generation>%d<" % EDITED_GENERATION))
    stores = [str(host.deployed.path(volume)) for volume in host.deployed.stores]
    _, written = await host.command("ovf", "put", str(file), "--store", stores[0], "--store", stores[1])
    if written.count("written and read back") != len(stores):
        raise StepFailed("ovf put", written)
    began = time.monotonic()
    story.tell("put an edited OVF, 20480 MiB, into both stores, one after the other")

    async def pending() -> str | None:
        definition = (await host.ask_agent("status"))["definition"]
        if definition["generation"] != EDITED_GENERATION or not definition["pending"]:
            return None
        return (
            f"generation {definition['generation']}, {definition['memory_mib']} MiB, for the next start "
            f"({time.monotonic() - began:.1f} s after the write); {definition['running']['generation']} runs"
        )

    await story.until("the edit is seen", pending)


async def crash(host: Host, story: Story) -> None:
    """The VM dies, and is started again from the edit."""
    victim, began = await _kill(host, story)
    await _is_saved(host, story, victim, began, "after the crash")

    async def from_the_edit() -> str | None:
        running = (await host.ask_agent("status"))["definition"]["running"]
        return f"generation {running['generation']}" if running["generation"] == EDITED_GENERATION else None

    await story.until("it runs from the edited OVF", from_the_edit)


async def _kill(host: Host, story: Story) -> tuple[int, float]:
    """The process that was the VM, and when it was killed."""
    victim = await host.lease_holder()
    if victim is None:
        raise StepFailed("the VM is killed", "nobody holds its lease")
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    story.tell(f"killed the VM: SIGKILL to process {victim}, which held the lease")
    return victim, began


async def _is_saved(host: Host, story: Story, victim: int, began: float, after: str) -> None:
    async def started_again() -> str | None:
        pid = await host.lease_holder()
        return (
            f"process {pid}, {time.monotonic() - began:.1f} s {after}" if pid not in (None, victim) else None
        )

    async def good_again() -> str | None:
        if "DB Up" not in await host.page() or (await host.ask_agent("status"))["state"] != "EngineUp":
            return None
        return f"{time.monotonic() - began:.1f} s {after}"

    await story.until("VM started again, lease held", started_again)
    await story.until("engine good again", good_again)


async def maintenance(host: Host, story: Story) -> None:
    """Global maintenance keeps the VM down, its end brings it back; local maintenance is not for its host."""

    async def in_slot_0() -> str | None:
        text = host.slot(0)
        return repr(text.decode()) if text == b"maintenance=1" else None

    async def in_ha_stats() -> str | None:
        stats = (await host.vdsm("Host.getStats"))["haStats"]
        return f"haStats {json.dumps(stats)}" if stats["globalMaintenance"] else None

    await _set(host, story, "global")
    await story.until("slot 0 of the whiteboard", in_slot_0)
    await story.until("Host.getStats on VDSM's wire", in_ha_stats)
    victim, began = await _kill(host, story)
    while (left_s := began + MAINTENANCE_WATCH_S - time.monotonic()) > 0:
        if await host.lease_holder() not in (None, victim):
            raise StepFailed("the VM stays down", "it was started in global maintenance")
        await asyncio.sleep(min(left_s, 0.2))
    _, shown = await host.command("status")
    summary = shown.partition("\n")[0]
    if summary != "Hosted Engine HA: Global Maintenance Enabled" or await host.lease_holder() is not None:
        raise StepFailed("the VM stays down", shown)
    story.show(
        f"nothing starts it for {MAINTENANCE_WATCH_S:.0f} s", f"status: {summary}; nobody holds the lease"
    )
    began = time.monotonic()
    await _set(host, story, "none")
    await _is_saved(host, story, victim, began, "after its end was asked for")
    code, said = await host.command("maintenance", "local")
    if code != ExitCode.FAILED or "the engine VM is running on the current host" not in said:
        raise StepFailed("local maintenance is refused", said)
    story.show("maintenance local is refused", said.strip())


async def _set(host: Host, story: Story, mode: str) -> None:
    story.tell(f"$ ovirt-he-agent maintenance {mode}")
    code, said = await host.command("maintenance", mode)
    if code != ExitCode.DONE:
        raise StepFailed(f"maintenance {mode}", said)


async def report(host: Host, story: Story) -> None:
    answer = await host.ask_agent("haStatus")
    story.show("haStatus by curl", json.dumps(answer))
    _, table = await host.command("status")
    if "Hosted Engine HA: Active" not in table:
        raise StepFailed("ovirt-he-agent status", table)
    print(f"\n$ ovirt-he-agent status\n{table}")
