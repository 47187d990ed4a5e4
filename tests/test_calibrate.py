"""What is the throughput of a healthy unit? Runs with --calibrate, in place of test_throughput.py."""

from dataclasses import asdict

import pytest

from fixtures.lab.board import Board, Throughput
from fixtures.link.shell import Shell
from fixtures.record.record import RunRecord
from fixtures.throughput.calibrate import calibrate

pytestmark = pytest.mark.board


def test_throughput_of_a_healthy_unit_is_measured(
    throughput: Throughput, stack: Shell, board: Board, record: RunRecord
) -> None:
    for measured, calibration in calibrate(stack, board.openssl.engine, throughput):
        record.write(
            "throughput", layer="engine", algorithm=measured.algorithm, block=measured.block,
            processes=measured.processes, bytes_per_second=measured.median, low=measured.low, high=measured.high,
            cpu_seconds=measured.cpu_seconds, floor=None, ceiling=None,
        )  # fmt: skip
        record.write("calibration", **asdict(calibration))
