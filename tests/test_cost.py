"""What do requests cost, and what do they leave behind? Are answers right on every CPU, and after idleness?"""

from collections import Counter
from collections.abc import Callable

import pytest

from fixtures.gate.findings import Findings
from fixtures.gate.fixtures_answers import RunGroup
from fixtures.gate.fixtures_cost import CollectLoads, MeasureCpu
from fixtures.lab.board import Board
from fixtures.outcome import Evidence, ProductError
from fixtures.probe.protocol import Layer
from fixtures.vectors.conditions import cpus, idleness, lifetimes
from fixtures.vectors.model import VectorGroup

pytestmark = pytest.mark.board


@pytest.mark.parametrize("group", lifetimes(), ids=lambda group: group.id)
def test_freed_contexts_leave_no_session_and_no_descriptor(
    layer: Layer, group: VectorGroup, run_group: RunGroup
) -> None:
    result = run_group(layer, group)
    assert result.mismatches == []


@pytest.mark.parametrize("group", cpus(), ids=lambda group: group.id)
def test_answer_is_right_on_every_cpu(layer: Layer, group: VectorGroup, run_group: RunGroup) -> None:
    result = run_group(layer, group)
    assert result.mismatches == []


def test_first_request_after_idleness_is_right(
    idling: str, run_downwards: Callable[[VectorGroup], Findings[str]]
) -> None:
    assert run_downwards(idleness(idling)) == []


def test_requests_leave_no_kernel_memory_behind(sampled: str, collect_loads: CollectLoads, board: Board) -> None:
    if leaking := collect_loads(sampled):
        raise ProductError(
            "\n".join(load.describe_leak(board.cost.leaked_bytes) for load in leaking),
            evidence=[Evidence("kernel memory", sampled)],
        )


def test_kernel_log_does_not_grow_with_requests(sampled: str, noisy_components: list[str]) -> None:
    if noisy_components:
        raise ProductError("\n".join(noisy_components), evidence=[Evidence("kernel log", sampled)])


def test_promised_drivers_and_cryptodev_log_few_warnings(warnings_of_run: Counter[str], board: Board) -> None:
    limit = board.cost.log_lines
    if complaints := [
        f"{source} logged {lines} warnings or worse during this run, and `cost: log_lines` of the board file allows"
        f" {limit}. Check them with dmesg"
        for source, lines in warnings_of_run.items()
        if lines > limit
    ]:
        raise ProductError("\n".join(complaints), evidence=[Evidence("kernel log")])


def test_cpu_time_is_within_its_bound(sampled: str, find_costly_layers: MeasureCpu) -> None:
    """Needs a bound in the board file; without one, the CPU time is reported beside that of software."""
    if complaints := find_costly_layers(sampled):
        raise ProductError("\n".join(complaints), evidence=[Evidence("cpu cost", sampled)])
