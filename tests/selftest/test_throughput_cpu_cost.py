"""Is CPU time compared with software's, by the least of all measurements?"""

from pathlib import Path

import pytest

from fixtures.lab.board import Cost
from fixtures.probe.repeats import RepeatResult
from fixtures.record.summary import summarise
from fixtures.record.terminal import render
from fixtures.throughput.cpu_cost import (
    MAX_OPERATIONS,
    OPERATIONS,
    CpuCost,
    choose_count,
    compute_cost,
    find_costly,
)


def measured(operations: int, seconds: float, cpu_seconds: float, board_cpu_seconds: float = 0.0) -> RepeatResult:
    """Return a measurement of operations of 16 KiB."""
    return RepeatResult(operations, seconds, cpu_seconds, board_cpu_seconds, "driver")


def cost(process: float, board: float = 0.0, layer: str = "engine") -> CpuCost:
    """Return a cost in seconds for a MiB."""
    return CpuCost(layer, "AES-128-CBC", process, board, "driver")


def test_least_measurement_counts() -> None:
    windows = [measured(2, 0.01, 0.008), measured(2, 0.01, 0.004)]
    assert compute_cost("engine", "AES-128-CBC", windows, measured(50, 0.1, 0.3, 0.51)) == cost(0.128, 0.64)


def test_board_takes_at_least_the_time_of_the_process() -> None:
    assert compute_cost("engine", "AES-128-CBC", [], measured(64, 0.1, 0.1, 0.1)).board == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.002, 100), (10.0, OPERATIONS), (2e-9, MAX_OPERATIONS), (0.0, MAX_OPERATIONS)]
)
def test_long_measurement_takes_a_tenth_of_a_second(seconds: float, count: int) -> None:
    assert choose_count([measured(2, 20.0, 0.0), measured(2, seconds, 0.0)]) == count


@pytest.mark.parametrize(
    ("engine", "bounds", "keys"),
    [
        (cost(0.05, 5.0), Cost(), []),
        (cost(0.05), Cost(cpu_ratio=2.5), []),
        (cost(0.07), Cost(cpu_ratio=2.5), ["cpu_ratio"]),
        (cost(0.05, 0.2), Cost(board_cpu_ratio=2.5), ["board_cpu_ratio"]),
        (cost(0.07, 0.2), Cost(cpu_ratio=2.5, board_cpu_ratio=2.5), ["cpu_ratio", "board_cpu_ratio"]),
    ],
)
def test_cost_above_a_bound_is_found(engine: CpuCost, bounds: Cost, keys: list[str]) -> None:
    complaints = find_costly(engine, cost(0.025, 0.05, "openssl"), bounds)
    assert [line.partition("`cost: ")[2].partition("`")[0] for line in complaints] == keys


def test_least_of_two_costs_is_taken_field_by_field() -> None:
    assert cost(0.05, 0.3).least(cost(0.06, 0.2)) == cost(0.05, 0.2)


def test_verdict_shows_cpu_time_beside_that_of_software() -> None:
    common = {"kind": "cpu", "algorithm": "AES-128-CBC", "block": 16384, "driver": "d", "board": 0.5}
    records = [{**common, "layer": "openssl", "process": 0.025}, {**common, "layer": "engine", "process": 0.0236}]
    text = render(summarise(records, Path("runs/some")))
    assert "CPU time AES-128-CBC, blocks of 16384: 23.6 ms a MiB, software 25 ms\n" in text
