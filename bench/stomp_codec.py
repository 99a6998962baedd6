"""How long the STOMP codec takes for an 8 MiB reply, as a multiple of json.loads on its body.

    python bench/stomp_codec.py

The limit is 3.0, however small the reads; both are the best of several runs.
"""

import functools
import json
import time
from collections.abc import Callable

from ovirt_he_agent.wire import jsonrpc, stomp

MIB = 1024 * 1024
RUNS = 7
LIMIT = 3.0


def best_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def frame(body: bytes) -> bytes:
    head = "MESSAGE\ndestination:r\ncontent-type:application/json\nsubscription:s-1\ncontent-length:%d\n\n"
    return (head % len(body)).encode() + body + b"\0"


def decode(pieces: list[bytes]) -> bytes:
    decoder = stomp.Decoder()
    frames = [f for piece in pieces for f in decoder.feed(piece)]
    assert len(frames) == 1
    assert isinstance(frames[0], stomp.Message)
    return frames[0].body


def decode_all(pieces: list[bytes]) -> object:
    return jsonrpc.decode(decode(pieces))


def main() -> None:
    rows = [
        {"vmId": f"{i:036d}", "status": "Up", "statusTime": str(i), "cpuUser": "3.10"} for i in range(82_000)
    ]
    bodies = {
        "one long text": {"pad": "x" * 8 * MIB},
        "rows of small fields": rows,
    }
    for name, result in bodies.items():
        body = json.dumps({"jsonrpc": "2.0", "id": "r-1", "result": result}).encode()
        raw = frame(body)
        loads_s = best_s(functools.partial(json.loads, body))
        print(f"{name}: {len(body) / MIB:.1f} MiB, json.loads {loads_s * 1000:.1f} ms")
        for read in (1024, 4096, 16 * 1024, 256 * 1024, len(raw)):
            pieces = [raw[i : i + read] for i in range(0, len(raw), read)]
            codec_s = best_s(functools.partial(decode, pieces))
            both_s = best_s(functools.partial(decode_all, pieces))
            print(
                f"  reads of {read:>8} bytes: stomp {codec_s * 1000:6.1f} ms, ratio {codec_s / loads_s:.2f}; "
                f"stomp and jsonrpc {both_s * 1000:6.1f} ms, ratio {both_s / loads_s:.2f} (limit {LIMIT})"
            )


if __name__ == "__main__":
    main()
