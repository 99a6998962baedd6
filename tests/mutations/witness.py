"""``python -m tests.mutations.witness NAME``: put the mutation in, ask its witness, print what it flags as JSON.

One process for each mutation: what it breaks reaches no other test, and one that hangs is killed.
"""

import gc
import json
import logging
import sys

from tests.mutations import faults, mutation, stories
from tests.mutations.mutation import CRASH, Flag, Mutation


def ask(name: str) -> list[Flag]:
    """What the witness ``name`` flags in the package as it is imported in this process."""
    if name in stories.STORIES:
        from ovirt_he_agent.sim.cluster import play, story

        try:
            outcome = play.play(story.parse(stories.STORIES[name]), records=False)
        except Exception as e:  # noqa: BLE001 - whatever it is, the mutation did it
            return [Flag(CRASH, f"{type(e).__name__}: {e}")]
        return [Flag(v.invariant, v.text) for v in outcome.violations]
    from tests.mutations import codec

    return [Flag(name, why) for why in codec.ASSERTIONS[name]()]


def main(fault: Mutation) -> None:
    logging.disable()
    mutation.put_in(fault)
    gc.set_threshold(100_000, 20, 20)
    print(json.dumps([[flag.invariant, flag.text] for flag in ask(fault.witness)]))


if __name__ == "__main__":
    main(faults.BY_NAME[sys.argv[1]])
