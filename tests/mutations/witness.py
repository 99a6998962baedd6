"""``python -m tests.mutations.witness NAME...``: for each mutation, ask its witness; one line of JSON each.

Each has a process of its own, so what it breaks reaches no other one, and one that hangs is killed. They are
forked from this one, which has loaded whatever of the interpreter they need, and nothing of the package.
"""

import gc
import json
import logging
import os
import signal
import sys
import traceback

from tests.mutations import faults, mutation, stories
from tests.mutations.mutation import CRASH, PACKAGE, Flag, Mutation

LIMIT_S = 30
AT_ONCE = min(2, os.cpu_count() or 1)


def ask(name: str) -> list[Flag]:
    """What the witness ``name`` flags in the package as it is imported in this process."""
    if name in stories.STORIES:
        from ovirt_he_agent.sim.cluster import play, story

        outcome = play.play(story.parse(stories.STORIES[name]), records=False)
        return [Flag(v.invariant, v.text) for v in outcome.violations]
    from tests.mutations import codec

    return [Flag(name, why) for why in codec.ASSERTIONS[name]()]


def _found(fault: Mutation) -> list[Flag]:
    mutation.put_in(fault)
    try:
        return ask(fault.witness)
    except Exception as e:  # noqa: BLE001 - whatever it is, the mutation did it
        return [Flag(CRASH, "".join(traceback.format_exception_only(e)).strip())]


def _forget_the_package() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def _begin(fault: Mutation) -> int:
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(LIMIT_S)
    line = json.dumps([fault.name, [[flag.invariant, flag.text] for flag in _found(fault)]])
    os.write(1, f"{line}\n".encode())
    os._exit(0)


def main(names: list[str]) -> None:
    logging.disable()
    gc.set_threshold(100_000, 20, 20)
    import hypothesis.strategies  # noqa: F401 - a helper of the codec's assertions uses it

    ask(next(iter(stories.STORIES)))
    _forget_the_package()
    gc.collect()
    gc.freeze()
    running: set[int] = set()
    for name in names:
        if len(running) >= AT_ONCE:
            running.discard(os.wait()[0])
        running.add(_begin(faults.BY_NAME[name]))
    while running:
        running.discard(os.wait()[0])


if __name__ == "__main__":
    main(sys.argv[1:])
