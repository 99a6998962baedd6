"""What a story can say that must be so: one function for each form, its arguments as text.

``MUSTS`` is the list. A form looks at the world now, or from now on for some seconds; what is not so
is told as a violation ``must``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ovirt_he_agent.core import whiteboard
from ovirt_he_agent.core.state import Phase
from ovirt_he_agent.sim.cluster.world import World

Told = Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class Must:
    usage: str
    means: str
    look: Callable[[World, Sequence[str], Told], None]
    """Calls the last argument with whether it is so, now or later. Raises ``ValueError``."""


def find(words: Sequence[str]) -> tuple[Must, Sequence[str]]:
    """The form that ``words``, those after ``must``, have, and its arguments. Raises ``ValueError``."""
    for size in (2, 1):
        must = MUSTS.get(" ".join(words[:size]))
        if must is not None and len(words) >= size:
            return must, words[size:]
    raise ValueError(f"known are: {'; '.join(must.usage for must in MUSTS.values())}")


def check(world: World, words: Sequence[str]) -> None:
    """See to it that what ``words`` say, those after ``must``, is so. Raises ``ValueError``."""
    must, args = find(words)

    def told(holds: bool) -> None:
        if not holds:
            world.checks.broken("must", None, f"must {' '.join(words)}")

    must.look(world, args, told)


def _later(world: World, seconds: str, look: Callable[[], None]) -> None:
    world.at(world.now_s() + float(seconds), look)


def _run(world: World, args: Sequence[str], told: Told) -> None:
    match args:
        case []:
            told(world.running is not None)
        case ["on", number]:
            told(any(qemu.runs and qemu.number == int(number) for qemu in world.qemus))
        case _:
            raise ValueError(" ".join(args))


def _not_run(world: World, args: Sequence[str], told: Told) -> None:
    match args:
        case []:
            told(world.running is None)
        case ["on", number]:
            told(not any(qemu.runs and qemu.number == int(number) for qemu in world.qemus))
        case _:
            raise ValueError(" ".join(args))


def _good(world: World, args: Sequence[str], told: Told) -> None:
    match args:
        case []:
            told(world.good_since_ms is not None)
        case ["within", seconds]:
            _later(world, seconds, lambda: told(world.good_since_ms is not None))
        case _:
            raise ValueError(" ".join(args))


def _start_within(world: World, args: Sequence[str], told: Told) -> None:
    before = len(world.starts)
    number = None
    match args:
        case [_]:
            pass
        case [_, "on", word]:
            number = int(word)
        case _:
            raise ValueError(" ".join(args))

    def look() -> None:
        told(any(number in (None, qemu.number) for _, qemu in world.starts[before:]))

    _later(world, args[0], look)


def _no_start(world: World, args: Sequence[str], told: Told) -> None:
    before = len(world.starts)
    _later(world, args[0], lambda: told(len(world.starts) == before))


def _no_stop(world: World, args: Sequence[str], told: Told) -> None:
    qemu = world.running
    _later(world, args[0], lambda: told(qemu is not None and qemu.alive))


def _phase(world: World, args: Sequence[str], told: Told) -> None:
    number, phase = args
    decided = world.checks.decisions().get(int(number))
    told(decided is not None and decided.phase is Phase(phase))


def _global(world: World, args: Sequence[str], told: Told) -> None:
    told((world.checks.slots.global_on_ms is not None) is {"on": True, "off": False}[args[0]])


def _slot(world: World, args: Sequence[str], told: Told) -> None:
    number, *words = args
    said = world.storage.decode(int(number), world.storage.slots.get(int(number), b""))
    told(isinstance(said, whiteboard.HostSlot) and all(word in _said(said) for word in words))


def _said(slot: whiteboard.HostSlot) -> tuple[str, ...]:
    """Words that a story may expect in a slot: its state, the VM's, and the flags that are set."""
    vm = slot.engine_status.vm.value if slot.engine_status is not None else "?"
    flags = {
        "stopped": slot.stopped,
        "maintenance": slot.local_maintenance,
        "others-first": slot.others_first,
    }
    return (slot.state or "", vm, *(name for name, is_set in flags.items() if is_set))


MUSTS: dict[str, Must] = {
    "run": Must("run [on N]", "the VM runs now, on host N", _run),
    "not run": Must("not run [on N]", "the VM does not run now, or not on host N", _not_run),
    "good": Must("good [within S]", "the engine is good now, or S seconds later", _good),
    "start within": Must(
        "start within S [on N]", "in the next S seconds the VM is started, on host N", _start_within
    ),
    "no start": Must("no start S", "in the next S seconds the VM is not started", _no_start),
    "no stop": Must("no stop S", "the VM that runs now lives for S more seconds", _no_stop),
    "phase": Must("phase N PHASE", "the agent of host N, one of ours, is in PHASE now", _phase),
    "slot": Must(
        "slot N WORD...",
        "host N's slot says: its state, the VM's word, or stopped, maintenance, others-first",
        _slot,
    ),
    "global": Must("global on|off", "what slot 0 says now of global maintenance", _global),
}
"""By the words that a form begins with."""
