"""Worker: one thread that may hang, and callers that may not."""

import asyncio
import errno
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ovirt_he_agent.blocking import Stuck, Worker
from tests.waiting import eventually


@asynccontextmanager
async def worker(name: str = "disk") -> AsyncIterator[Worker]:
    it = Worker(name)
    yield it
    it.close()


class Gate:
    """A blocking call that returns when told."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, value: object = None) -> object:
        self.entered.set()
        assert self.opened.wait(30)
        return value


async def test_a_call_returns_what_the_function_returns() -> None:
    async with worker() as disk:
        assert await disk.call(divmod, 7, 3, timeout_s=5) == (2, 1)
        assert disk.stuck is None


async def test_a_call_raises_what_the_function_raises() -> None:
    async with worker() as disk:
        with pytest.raises(ZeroDivisionError):
            await disk.call(divmod, 7, 0, timeout_s=5)
        assert await disk.call(divmod, 7, 1, timeout_s=5) == (7, 0)


async def test_a_timeout_of_the_function_is_its_own_error_and_not_a_hang() -> None:
    def times_out() -> None:
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    async with worker() as disk:
        with pytest.raises(TimeoutError) as caught:
            await disk.call(times_out, timeout_s=5)
        assert caught.value.errno == errno.ETIMEDOUT
        assert disk.stuck is None


async def test_callers_are_served_one_at_a_time_in_the_order_they_came() -> None:
    served, active = [], threading.Semaphore(1)

    def serve(number: int) -> None:
        assert active.acquire(blocking=False), "two at once"
        served.append(number)
        active.release()

    gate = Gate()
    async with worker() as disk, asyncio.TaskGroup() as callers:
        callers.create_task(disk.call(gate, timeout_s=30))
        await eventually(gate.entered.is_set)
        for number in range(20):
            callers.create_task(disk.call(serve, number, timeout_s=30))
        await asyncio.sleep(0)
        gate.opened.set()
    assert served == list(range(20))


async def test_a_call_over_its_limit_is_stuck_and_says_since_when_it_hangs() -> None:
    gate = Gate()
    async with worker("volume /x") as disk:
        with pytest.raises(Stuck, match=r"volume /x: read of slot 0 has not returned for \d+ s"):
            await disk.call(gate, timeout_s=0.05, what="read of slot 0")
        assert disk.stuck is not None
        assert disk.stuck.what == "read of slot 0"
        gate.opened.set()


async def test_while_one_call_hangs_the_next_are_refused_at_once() -> None:
    gate = Gate()
    async with worker() as disk:
        with pytest.raises(Stuck):
            await disk.call(gate, timeout_s=0.05, what="the first")
        async with asyncio.timeout(5):
            with pytest.raises(Stuck, match="the first"):
                await disk.call(divmod, 7, 3, timeout_s=1000)
        gate.opened.set()


async def test_a_caller_in_line_is_told_which_call_hangs() -> None:
    gate = Gate()
    async with worker() as disk:

        async def call(function: Callable[[], object], timeout_s: float, what: str) -> str:
            try:
                await disk.call(function, timeout_s=timeout_s, what=what)
            except Stuck as e:
                return e.what
            raise AssertionError("it returned")

        async with asyncio.TaskGroup() as callers:
            first = callers.create_task(call(gate, 0.1, "the first"))
            await eventually(gate.entered.is_set)
            impatient = callers.create_task(call(gate, 0.05, "the second"))
            patient = callers.create_task(call(gate, 1000, "the third"))
        assert (first.result(), impatient.result(), patient.result()) == ("the first",) * 3
        gate.opened.set()


async def test_the_worker_goes_on_when_the_hung_call_returns_and_its_late_result_is_dropped() -> None:
    gate = Gate()
    async with worker() as disk:
        with pytest.raises(Stuck):
            await disk.call(gate, "late", timeout_s=0.05)
        gate.opened.set()
        await eventually(lambda: disk.stuck is None)
        assert await disk.call(divmod, 7, 3, timeout_s=5) == (2, 1)


async def test_a_cancelled_caller_leaves_its_call_and_the_next_waits_for_its_end() -> None:
    gate = Gate()
    async with worker() as disk, asyncio.TaskGroup() as callers:
        cancelled = callers.create_task(disk.call(gate, timeout_s=30))
        await eventually(gate.entered.is_set)
        cancelled.cancel()
        await eventually(cancelled.cancelled)
        assert disk.stuck is None
        following = callers.create_task(disk.call(divmod, 7, 3, timeout_s=30))
        await asyncio.sleep(0.01)
        assert not following.done()
        gate.opened.set()
    assert following.result() == (2, 1)


async def test_a_call_whose_caller_was_cancelled_is_stuck_once_it_exceeds_its_limit() -> None:
    gate = Gate()
    async with worker() as disk:
        async with asyncio.TaskGroup() as callers:
            cancelled = callers.create_task(disk.call(gate, timeout_s=0.2, what="the first"))
            await eventually(gate.entered.is_set)
            cancelled.cancel()
        with pytest.raises(Stuck, match="the first"):
            await disk.call(divmod, 7, 3, timeout_s=1000)
        gate.opened.set()


async def test_a_caller_that_is_cancelled_in_line_holds_nobody_up() -> None:
    gate = Gate()
    never = Gate()
    async with worker() as disk, asyncio.TaskGroup() as callers:
        callers.create_task(disk.call(gate, timeout_s=30))
        await eventually(gate.entered.is_set)
        in_line = callers.create_task(disk.call(never, timeout_s=30))
        last = callers.create_task(disk.call(divmod, 7, 3, timeout_s=30))
        await asyncio.sleep(0)
        in_line.cancel()
        gate.opened.set()
    assert last.result() == (2, 1)
    assert not never.entered.is_set()


async def test_a_result_that_comes_in_the_tick_of_the_limit_is_not_lost() -> None:
    async with worker() as disk:

        def blocks_the_loop() -> str:
            stopped = threading.Event()
            loop.call_soon_threadsafe(stopped.wait, 0.2)  # the loop sees limit and result together
            return "there"

        loop = asyncio.get_running_loop()
        assert await disk.call(blocks_the_loop, timeout_s=0.1) == "there"


def test_a_loop_that_closes_over_a_call_leaves_a_worker_that_the_next_loop_can_use() -> None:
    disk, gate = Worker("disk"), Gate()

    async def leave() -> None:
        async with asyncio.TaskGroup() as callers:
            call = callers.create_task(disk.call(gate, timeout_s=30, what="the first"))
            in_line = callers.create_task(disk.call(gate, timeout_s=30))
            await eventually(gate.entered.is_set)
            call.cancel()
            in_line.cancel()

    async def try_again() -> tuple[int, int] | None:
        try:
            return await disk.call(divmod, 7, 3, timeout_s=5)
        except Stuck:
            return None

    async def come_back() -> tuple[int, int] | None:
        with pytest.raises(Stuck, match="the first"):
            await disk.call(divmod, 7, 3, timeout_s=5)
        gate.opened.set()
        return await eventually(try_again)

    asyncio.run(leave())
    assert asyncio.run(come_back()) == (2, 1)
    disk.close()


async def test_a_closed_worker_lets_its_thread_end_and_refuses_calls() -> None:
    disk = Worker("a thread of this test")
    await disk.call(divmod, 7, 3, timeout_s=5)
    disk.close()
    disk.close()
    with pytest.raises(RuntimeError, match="closed"):
        await disk.call(divmod, 7, 3, timeout_s=5)
    await eventually(lambda: all(t.name != "a thread of this test" for t in threading.enumerate()))


def test_a_process_exits_although_a_call_hangs() -> None:
    program = """
import asyncio, time
from ovirt_he_agent.blocking import Stuck, Worker

async def main():
    try:
        await Worker("disk").call(time.sleep, 1000, timeout_s=0.05)
    except Stuck as e:
        print(e)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert "disk: sleep has not returned" in done.stdout
