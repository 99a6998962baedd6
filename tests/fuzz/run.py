"""Search for inputs that break a reader: ``python tests/fuzz/run.py document|archive CORPUS [OPTION...]``.

OPTION is one of libFuzzer's, as ``-max_total_time=1800``. Needs atheris
(``pip install '.[fuzz]'``). CORPUS is a directory of your own: what is found is
added to it; the kept corpus below tests/fuzz/corpus is read as well. An input
may take 2 s and the process 400 MiB, the fuzzer's own part included; more, or
any exception that is not the reader's own, ends the run and leaves the input
in a file ``crash-*``, ``timeout-*`` or ``oom-*``.
"""

import random
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

with atheris.instrument_imports(include=["ovirt_he_agent"]):
    from tests.fuzz import mutators, targets

TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[bytes, random.Random], bytes]]] = {
    "document": (targets.read_document, mutators.xml),
    "archive": (targets.read_archive, mutators.tar),
}
LIMITS = ("-timeout=2", "-rss_limit_mb=400", "-max_len=65536", "-print_final_stats=1")


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(TARGETS)} CORPUS [libFuzzer options]")
    name, corpus, *options = sys.argv[1:]
    target, mutate = TARGETS[name]
    Path(corpus).mkdir(parents=True, exist_ok=True)

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed = mutate(data, rng) if rng.random() < 0.8 else atheris.Mutate(data, max_size)
        return bytes(changed[:max_size])

    kept = HERE / "corpus" / name
    atheris.Setup([sys.argv[0], *LIMITS, *options, corpus, str(kept)], target, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
