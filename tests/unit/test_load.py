"""The CPU load without the engine VM: counters, the VM's share, figures not real yet, the average."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.core import load, model

STAT = """\
cpu  1000 20 300 8000 80 10 5 15 900 0
cpu0 500 10 150 4000 40 5 3 7 450 0
cpu1 500 10 150 4000 40 5 2 8 450 0
intr 12345 0
ctxt 999
"""


def at(seconds: float) -> model.MonotonicMs:
    return model.MonotonicMs(round(seconds * 1000))


def times(busy: int, total: int, cpus: int = 4) -> load.CpuTimes:
    return load.CpuTimes(busy=busy, total=total, cpus=cpus)


def test_guests_are_not_counted_twice_and_waiting_is_idle() -> None:
    assert load.cpu_times(STAT) == times(busy=1350, total=9430, cpus=2)


@pytest.mark.parametrize(
    "text",
    ["", "cpu", "cpu 1 2 3 4 5 6 7\ncpu0 1", "cpu 1 2 3 4 5 6 7 x\ncpu0 1", "cpu 1 2 3 4 5 6 7 8\n", "a b"],
)
def test_something_else_than_proc_stat_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it"):
        load.cpu_times(text)


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(ValueError):
        load.cpu_times("cpu " + text)


def test_the_busy_share_is_of_the_time_between() -> None:
    assert load.busy_share(times(100, 1000), times(400, 2000)) == 0.3
    assert load.busy_share(times(100, 1000), times(100, 1000)) is None
    assert load.busy_share(times(100, 1000), times(50, 900)) is None
    assert load.busy_share(times(100, 1000), times(1200, 2000)) == 1.0
    assert load.busy_share(times(100, 1000), times(90, 2000)) == 0.0


def vm(percent: float | None, *, is_real: bool = True) -> model.VmCpu:
    return model.VmCpu(percent=percent, is_real=is_real)


def test_the_vms_share_is_of_all_cpus_and_never_leaves_less_than_nothing() -> None:
    assert load.without_vm(0.75, vm(100.0), 4) == 0.5
    assert load.without_vm(0.2, vm(100.0), 4) == 0.0
    assert load.without_vm(0.75, vm(None, is_real=False), 4) == 0.75
    assert load.without_vm(0.75, None, 4) == 0.75


def test_measurements_are_due_after_10_s_and_then_each_minute() -> None:
    new = load.Load()
    assert new.due(at(0))
    first = new.measured(times(0, 0), None, at(0))
    assert (first.current, first.due(at(9.9)), first.due(at(10))) == (None, False, True)
    second = first.measured(times(300, 1000), None, at(10))
    assert (second.current, second.due(at(69.9)), second.due(at(70))) == (0.3, False, True)


def test_counters_that_were_reset_give_a_new_begin() -> None:
    before = load.Load().measured(times(500, 5000), None, at(0))
    reset = before.measured(times(0, 10), None, at(10))
    assert reset.current is None
    assert reset.measured(times(50, 110), None, at(20)).current == 0.5


def looks(figures: list[model.VmCpu | None]) -> list[float | None]:
    """The current load after each of these, one a minute, on a host that is half busy."""
    seen = load.Load().measured(times(0, 0), None, at(-60))
    result = []
    for minute, figure in enumerate(figures):
        seen = seen.measured(times(50 * (minute + 1), 100 * (minute + 1)), figure, at(60 * minute))
        result.append(seen.current)
    return result


UNREAL = vm(0.0, is_real=False)


def test_figures_that_are_not_real_are_ignored_for_5_minutes_and_then_used() -> None:
    assert looks([vm(100.0), *[UNREAL] * 6]) == [0.25, *[0.25] * 4, 0.5, 0.5]


def test_without_a_real_figure_before_the_wait_begins_with_the_first_look() -> None:
    assert looks([UNREAL] * 6) == [*[None] * 5, 0.5]


def test_real_figures_begin_the_wait_anew() -> None:
    assert looks([*[UNREAL] * 3, vm(40.0), *[UNREAL] * 4])[3:] == [0.4] * 5


def test_a_vm_that_is_not_here_needs_no_figures() -> None:
    assert looks([None, UNREAL, None]) == [0.5] * 3


def test_the_average_is_weighted_by_time() -> None:
    points = (load.Point(at(0), 0.0), load.Point(at(10), 1.0), load.Point(at(40), 1.0))
    assert load.average(points) == pytest.approx((10 * 0.5 + 30 * 1.0) / 40)


def test_no_time_no_average() -> None:
    assert load.average(()) is None
    assert load.average((load.Point(at(5), 0.5),)) is None
    assert load.average((load.Point(at(5), 0.5), load.Point(at(5), 0.7))) is None


def test_looks_between_measurements_hold_the_last_one_and_old_ones_are_forgotten() -> None:
    seen = load.Load().measured(times(0, 0), None, at(0)).noted(at(0))
    assert (seen.points, seen.average) == ((), None)
    seen = seen.measured(times(80, 100), None, at(10)).noted(at(10)).noted(at(20))
    assert seen.average == pytest.approx(0.8)
    seen = seen.measured(times(80, 200), None, at(70))
    for second in range(70, 1000, 10):
        seen = seen.noted(at(second))
    assert seen.points[0].at == at(90)
    assert seen.average == 0.0


@given(st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 1)), min_size=2, max_size=90))
def test_an_average_lies_between_its_values(steps: list[tuple[int, float]]) -> None:
    now, points = 0, []
    for step, value in steps:
        now += step
        points.append(load.Point(model.MonotonicMs(now), value))
    found = load.average(tuple(points))
    assert found is not None
    values = [value for _, value in steps]
    assert min(values) - 1e-9 <= found <= max(values) + 1e-9
