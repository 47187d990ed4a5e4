"""Throughput measurements are checked against floors and ceilings."""

import dataclasses

import pytest

from fixtures.lab.board import Bounds
from fixtures.throughput.bounds import check_bounds, format_rate
from fixtures.throughput.openssl_speed import Measurement

BOUNDS = Bounds(floor=2.0e7, ceiling=4.0e7)
GOOD = Measurement("engine", "aes-128-cbc", 16384, 2, (2.4e7, 2.5e7, 9.9e7), 2.5e7, 2.4e7, 9.9e7, 0.31)


@pytest.mark.parametrize("median", [2.0e7, 2.5e7, 4.0e7])
def test_median_within_the_bounds_is_accepted(median: float) -> None:
    assert check_bounds(dataclasses.replace(GOOD, median=median), BOUNDS) is None


def test_extremes_may_exceed_the_bounds() -> None:
    assert GOOD.high > BOUNDS.ceiling
    assert check_bounds(GOOD, BOUNDS) is None


def test_median_below_the_floor_is_refused() -> None:
    slow = dataclasses.replace(GOOD, samples=(1.21e7, 1.23e7, 1.26e7), median=1.23e7, low=1.21e7, high=1.26e7)
    complaint = check_bounds(slow, BOUNDS)
    assert complaint is not None
    assert complaint.startswith(
        "12.3 MB/s is below the floor of 20 MB/s: aes-128-cbc at layer engine, blocks of 16384 bytes, 2 processes; "
        "median of 3 runs, 12.1 MB/s to 12.6 MB/s, 0.31 s of CPU time per run. "
    )


def test_median_above_the_ceiling_is_refused() -> None:
    complaint = check_bounds(dataclasses.replace(GOOD, median=4.75e7, processes=1), BOUNDS)
    assert complaint is not None
    assert complaint.startswith("47.5 MB/s is above the ceiling of 40 MB/s: ")
    assert "1 process;" in complaint
    assert "Check whether software did the work" in complaint


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(1.23e7, "12.3 MB/s"), (2e7, "20 MB/s"), (2.945e9, "2945 MB/s"), (19_996_000, "20 MB/s"), (1234, "0.001234 MB/s")],
)
def test_megabyte_is_a_million_bytes(rate: float, shown: str) -> None:
    assert format_rate(rate) == shown
