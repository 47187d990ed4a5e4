"""Is it fast enough, and not suspiciously fast?"""

import pytest

from fixtures.gate.fixtures_offload import MeasureOperations
from fixtures.gate.skips import skip
from fixtures.lab.board import Board, Throughput
from fixtures.link.shell import Shell
from fixtures.outcome import Evidence, ProductError
from fixtures.record.record import RunRecord
from fixtures.throughput import operation_time
from fixtures.throughput.bounds import check_bounds
from fixtures.throughput.openssl_speed import measure

pytestmark = pytest.mark.board


def test_throughput_is_within_its_bounds(throughput: Throughput, stack: Shell, board: Board, record: RunRecord) -> None:
    complaints, is_slow = [], False
    for measured in measure(
        stack, "engine", board.openssl.engine, throughput.algorithm, throughput.processes, tuple(throughput.bounds)
    ):
        bounds = throughput.bounds[measured.block]
        record.write(
            "throughput", layer="engine", algorithm=measured.algorithm, block=measured.block,
            processes=measured.processes, bytes_per_second=measured.median, low=measured.low, high=measured.high,
            cpu_seconds=measured.cpu_seconds, floor=bounds.floor, ceiling=bounds.ceiling,
            uncalibrated=throughput.uncalibrated,
        )  # fmt: skip
        is_slow = is_slow or measured.median < bounds.floor
        complaints.append(check_bounds(measured, bounds))
    if throughput.uncalibrated:
        skip("uncalibrated", f"measured, and not judged: its bounds are not calibrated: {throughput.uncalibrated}")
    if any(complaints):
        evidence = [Evidence("below floor", throughput.algorithm)] if is_slow else []
        raise ProductError("\n".join(complaint for complaint in complaints if complaint), evidence=evidence)


def test_no_layer_is_far_slower_than_the_fastest(promised: str, operation_times: MeasureOperations) -> None:
    """Needs no bounds: a layer is compared with the others, and the accelerator with software."""
    if complaints := operation_time.find_slow_layers(operation_times(promised)):
        raise ProductError("\n".join(complaints), evidence=[Evidence("slow layer", promised)])
