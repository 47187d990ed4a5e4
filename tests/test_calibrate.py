"""What does a healthy unit show? Asked with --calibrate, in the place of test_throughput.py."""

from dataclasses import asdict

from fixtures.lab.board import Board, Throughput
from fixtures.link.shell import Shell
from fixtures.record.record import RunRecord
from fixtures.throughput.calibrate import calibrate


def test_what_a_healthy_unit_shows(throughput: Throughput, stack: Shell, board: Board, record: RunRecord) -> None:
    for measured, calibration in calibrate(stack, board.openssl.engine, throughput):
        record.write(
            "throughput", layer="engine", algorithm=measured.algorithm, block=measured.block,
            processes=measured.processes, bytes_per_second=measured.median, low=measured.low, high=measured.high,
            cpu_seconds=measured.cpu_seconds, floor=None, ceiling=None,
        )  # fmt: skip
        record.write("calibration", **asdict(calibration))
