"""What a story can do to a simulated cluster: one function for each word, its arguments as text.

``DEEDS`` is the list: word, arguments, what it does. A story's line ``at 300 storage 1 off`` calls the
deed ``storage`` with ``1 off`` at 300 s. An argument that makes no sense raises ``BadDeed``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ovirt_he_agent.agent.requests import Requests
from ovirt_he_agent.core.model import ExitReason, VmStatus
from ovirt_he_agent.errors import BadInput, ExitCode
from ovirt_he_agent.sim.cluster import vdsm
from ovirt_he_agent.sim.cluster.host import SimHost
from ovirt_he_agent.sim.cluster.qemu import Guest
from ovirt_he_agent.sim.cluster.world import VOLUME_ID, World


@dataclass(eq=False)
class BadDeed(BadInput):
    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
    line: str
    reason: str
    msg: ClassVar[str] = "{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Deed:
    usage: str
    does: str
    act: Callable[[World, Sequence[str]], None]


def do(world: World, words: Sequence[str]) -> None:
    """Do what ``words`` say now. Raises ``BadDeed``."""
    line = " ".join(words)
    deed = DEEDS.get(words[0]) if words else None
    if deed is None:
        raise BadDeed(line, f"unknown; known are {', '.join(DEEDS)}")
    try:
        deed.act(world, words[1:])
    except (ValueError, IndexError, KeyError) as e:
        raise BadDeed(line, f"usage: {deed.usage} ({type(e).__name__}: {e})") from e


def _hosts(world: World, word: str) -> list[SimHost]:
    if word == "all":
        return list(world.hosts.values())
    if word == "vm":  # the host that runs it
        return [world.hosts[q.number] for q in world.qemus if q.runs][:1]
    return [world.hosts[int(n)] for n in word.split(",")]


def _on(word: str) -> bool:
    return {"on": True, "off": False}[word]


def _power(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        host.boot() if _on(args[1]) else host.power_off()


def _shutdown(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        host.shut_down()


def _suspend(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        if host.powered:
            host.suspend(float(args[1]))


def _storage(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        match args[1]:
            case "on":
                host.way.read_only, host.way.latency_s = False, 0.0
                host.way.healed_ms = world.loop.now_ms()
                host.heal_storage()
            case "off":
                host.cut_storage()
            case "hang":
                host.cut_storage(hang=True)
            case "read-only":
                host.say("its storage is read-only")
                host.way.read_only = True
            case "slow":
                host.say(f"its storage is slow: {args[2]} s")
                host.way.latency_s = float(args[2])
            case word:
                raise ValueError(word)


def _network(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        host.network_up = _on(args[1])
        host.dns_up = host.network_up
        host.say(f"its network is {args[1]}")


def _bridge(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        host.bridge_up = _on(args[1])
        host.say(f"its bridge is {args[1]}")


def _dns(world: World, args: Sequence[str]) -> None:
    if args[0] == "all":
        world.dns_up = _on(args[1])
        world.say(f"name resolution is {args[1]}")
        return
    for host in _hosts(world, args[0]):
        host.dns_up = _on(args[1])
        host.say(f"its name resolution is {args[1]}")


def _switch(world: World, args: Sequence[str]) -> None:
    world.switch_up = _on(args[0])
    world.say(f"the switch is {args[0]}")


def _gateway(world: World, args: Sequence[str]) -> None:
    if len(args) == 1:
        world.gateway_up = _on(args[0])
        world.say(f"the gateway is {args[0]}")
        return
    for host in _hosts(world, args[0]):
        host.gateway_up = _on(args[1])
        host.say(f"its way to the gateway is {args[1]}")


def _vm(world: World, args: Sequence[str]) -> None:
    guests = {
        "hang": Guest.HUNG,
        "db-down": Guest.DB_DOWN,
        "process-dead": Guest.PROCESS_DEAD,
        "good": Guest.GOOD,
    }
    word = args[0]
    if word in guests:
        for qemu in world.qemus:
            if qemu.runs:
                world.guest(qemu, guests[word])
        return
    match word:
        case "crash":
            world.crash_vm()
        case "reboot":
            world.reboot_guest()
        case "shutdown":
            world.shut_guest_down()
        case "pause":
            for qemu in world.qemus:
                host = world.hosts[qemu.number]
                if qemu.runs and host.vdsm.qemu is qemu:
                    host.say("the VM is paused")
                    qemu.paused = True
                    host.sanlock.release(qemu.pid)
                    host.vdsm.status(VmStatus.PAUSED)
                    world.count()
        case "resume":
            for host in world.hosts.values():
                if host.vdsm.qemu is not None and host.vdsm.qemu.paused:
                    host.resume_vm(host.vdsm.qemu)
        case "pause-timeout":
            for qemu in list(world.qemus):
                if qemu.paused:
                    world.hosts[qemu.number].vdsm.ended(
                        qemu, ExitReason.DESTROYED_ON_PAUSE_TIMEOUT, 1, "paused for too long"
                    )
        case _:
            raise ValueError(word)


def _migrate(world: World, args: Sequence[str]) -> None:
    takes_s = float(args[1]) if len(args) > 1 and args[1] != "fails" else 20.0
    world.migrate(int(args[0]), takes_s=takes_s, fails="fails" in args)


def _agent(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        match args[1]:
            case "kill":
                host.say("its agent is killed")
                host.kill_agent()
            case "dies":
                host.say("its agent dies for good")
                host.kill_agent(restart=False)
            case "stop":
                host.say("its agent is stopped")
                host.stop_agent()
            case "start":
                host.say("its agent is started")
                host.start_agent()
            case "restart":
                host.say("its agent is restarted")
                host.restart_agent()
            case "freeze":
                if host.agent is not None:
                    host.say(f"its agent is frozen for {args[2]} s")
                    host.agent.freeze(float(args[2]))
            case "crash-at":
                host.crash_at = args[2]
            case "upgrade":
                host.say("is upgraded")
                host.change_kind(upstream=False)
            case "downgrade":
                host.say("is downgraded")
                host.change_kind(upstream=True)
            case word:
                raise ValueError(word)


def _sanlock(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        {"kill": host.kill_sanlock, "start": host.restart_sanlock}[args[1]]()


def _vdsm(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        faults, word = host.vdsm.faults, args[1]
        if not host.powered:
            continue
        match word:
            case "stop":
                host.stop_vdsm()
            case "start":
                if not host.vdsm.up:
                    host.start_vdsm(float(args[2]) if len(args) > 2 else 5.0)
            case "restart":
                host.stop_vdsm()
                host.start_vdsm(float(args[2]) if len(args) > 2 else 15.0)
            case "delay-events":
                faults.delay_events_s = float(args[2])
            case "slow":
                faults.latency_s = float(args[2])
            case "lose-events" | "double-events" | "reorder-events":
                setattr(faults, word.replace("-", "_"), int(args[2]))
            case "fail-launch":
                faults.fail_launches = int(args[2])
            case "refuse-create":
                faults.refuse_creates = int(args[2])
            case "lose-reply":
                faults.lose_replies = int(args[2])
            case "heal":
                host.vdsm.faults = type(faults)()
            case _:
                raise ValueError(word)
        if word not in ("stop", "start", "restart"):
            host.say(f"its VDSM: {' '.join(args[1:])}")


def _global(world: World, args: Sequence[str]) -> None:
    on = _on(args[0])
    if len(args) > 1 and args[1] == "by":
        for host in _hosts(world, args[2]):
            host.say(f"an operator sets global maintenance {args[0]}")
            host.set_global(on)
    else:
        world.write_global(on)


def _local(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        host.set_local(_on(args[1]))


def _slot(world: World, args: Sequence[str]) -> None:
    number, word = int(args[0]), args[1]
    old = world.storage.slots.get(number, bytes(4096))
    match word:
        case "garbage":
            world.garbage(number)
            return
        case "clean":
            world.clean_slot(number)
        case "torn":
            world.storage.slots[number] = old[:256] + world.random.randbytes(256) + old[512:]
        case "non-ascii":
            world.storage.slots[number] = old[:100] + "é".encode() + old[102:]
        case "too-new":
            world.storage.slots[number] = b"2|9|whatever comes".ljust(4096, b"\0")
        case _:
            raise ValueError(word)
    world.say(f"slot {number} is {word}")


def _load(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        host.cpu_load = float(args[1])


def _memory(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        host.memory_free_mib = int(args[1])


def _definition(world: World, args: Sequence[str]) -> None:
    offered = {
        "ok": world.make_definition(VOLUME_ID),
        "lease-less": world.make_definition(VOLUME_ID, with_lease=False),
        "none": None,
        "snapshot": None,
    }
    word = args[0]
    new = offered[word]
    if word == "snapshot":  # the disk moves to a new volume, whose lease is another one
        world.storage.leaves[VOLUME_ID] = False
        world.storage.leaves["after-snapshot"] = True
        new = world.make_definition("after-snapshot")
    world.say(f"definition: {' '.join(args)}")
    if len(args) > 2 and args[1] == "on":
        for host in _hosts(world, args[2]):
            world.definitions_of[host.number] = new
    else:
        world.definition = new
        world.definitions_of.clear()


def _by_hand(world: World, args: Sequence[str]) -> None:
    for host in _hosts(world, args[0]):
        record = host.vdsm.record
        if record is not None and record.status is VmStatus.DOWN:
            host.vdsm.record = None
        try:
            host.vdsm.create(volume_id=VOLUME_ID, with_lease="lease-less" not in args, by="admin")
            host.say("somebody starts the VM by hand")
        except (vdsm.VmThere, vdsm.VdsmGone) as e:
            host.say(f"somebody cannot start the VM by hand: {e}")


def _request(world: World, args: Sequence[str]) -> None:
    force = "force" in args
    wishes: dict[str, Callable[[Requests], object]] = {
        "start": lambda r: r.start_vm(force=force),
        "shutdown": lambda r: r.shut_down_vm(force=force),
        "poweroff": lambda r: r.power_off_vm(force=force),
    }
    for host in _hosts(world, args[0]):
        if host.agent is not None:
            host.agent.ask(wishes[args[1]], " ".join(args[1:]))  # type: ignore[arg-type]


def _boot(world: World, args: Sequence[str]) -> None:
    world.boot_s = float(args[0])


def _heal(world: World, args: Sequence[str]) -> None:
    """Everything but what has happened to the VM."""
    world.say("everything is mended")
    world.switch_up = world.dns_up = world.gateway_up = True
    if world.definition is None or not world.definition.facts.leases:
        world.definition = world.make_definition(next(v for v, leaf in world.storage.leaves.items() if leaf))
    world.definitions_of.clear()
    for number, block in list(world.storage.slots.items()):
        if number and not block.isascii():
            world.clean_slot(number)
    for host in world.hosts.values():
        host.mend()
    world.write_global(False)


DEEDS: dict[str, Deed] = {
    "power": Deed("power HOSTS on|off", "power loss, or the host boots", _power),
    "shutdown": Deed("shutdown HOSTS", "an orderly shutdown of the host", _shutdown),
    "suspend": Deed("suspend HOSTS SECONDS", "the host stands still, its clock goes on", _suspend),
    "storage": Deed("storage HOSTS on|off|hang|read-only|slow S", "the way to the storage", _storage),
    "network": Deed("network HOSTS on|off", "the host's network, DNS with it", _network),
    "bridge": Deed("bridge HOSTS on|off", "the management bridge, as VDSM reports it", _bridge),
    "dns": Deed("dns HOSTS|all on|off", "name resolution", _dns),
    "switch": Deed("switch on|off", "the switch between the hosts, and the gateway", _switch),
    "gateway": Deed("gateway [HOSTS] on|off", "what the network test pings, or a host's way to it", _gateway),
    "vm": Deed(
        "vm crash|reboot|shutdown|hang|db-down|process-dead|good|pause|resume|pause-timeout",
        "what happens to the VM and the engine in it",
        _vm,
    ),
    "migrate": Deed("migrate N [SECONDS] [fails]", "the engine migrates its VM to host N", _migrate),
    "agent": Deed(
        "agent HOSTS kill|dies|stop|start|restart|freeze S|crash-at POINT|upgrade|downgrade",
        "the agent's process; POINT is before- or after-create, -shutdown, -destroy",
        _agent,
    ),
    "sanlock": Deed("sanlock HOSTS kill|start", "the sanlock daemon", _sanlock),
    "vdsm": Deed(
        "vdsm HOSTS stop|start|restart [S]|slow S|delay-events S|lose-events N|double-events N|"
        "reorder-events N|fail-launch N|refuse-create N|lose-reply N|heal",
        "VDSM, and what goes wrong in it",
        _vdsm,
    ),
    "global": Deed("global on|off [by N]", "global maintenance, by host N or written straight", _global),
    "local": Deed("local HOSTS on|off", "local maintenance", _local),
    "slot": Deed("slot N garbage|torn|clean|non-ascii|too-new", "what lies in a slot", _slot),
    "load": Deed("load HOSTS SHARE", "CPU load, 0..1", _load),
    "memory": Deed("memory HOSTS MIB", "free memory", _memory),
    "definition": Deed(
        "definition ok|lease-less|none|snapshot [on HOSTS]", "what the OVF_STORE offers", _definition
    ),
    "by-hand": Deed(
        "by-hand N [lease-less]", "somebody starts the VM through VDSM, past all agents", _by_hand
    ),
    "request": Deed("request N start|shutdown|poweroff [force]", "what an operator asks of host N", _request),
    "boot-time": Deed("boot-time SECONDS", "of the guest, from now on", _boot),
    "heal": Deed("heal", "everything is mended, maintenance ends, all hosts are on", _heal),
}
