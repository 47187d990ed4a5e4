"""Does a healthy board ever turn the gate red? HIL_HEALTHY_RUNS tells how many whole gates run in a row; 2 if unset."""

import os

import pytest
from gate_run import UNIT, run_gate

from fixtures.virt.faults import FAULTS

RUNS = int(os.environ.get("HIL_HEALTHY_RUNS", "2"))
HEALTHY = [name for name, fault in FAULTS.items() if fault.healthy]
"""Boards that are unusual, and healthy."""


@pytest.mark.parametrize("number", range(1, RUNS + 1))
def test_a_healthy_board_raises_no_alarm(number: int) -> None:
    raises_no_alarm(f"healthy run {number} of {RUNS}")


@pytest.mark.parametrize("name", HEALTHY)
def test_unusual_board_raises_no_alarm(name: str) -> None:
    raises_no_alarm(name, "--fault", name)


def raises_no_alarm(title: str, *options: str) -> None:
    """Run the whole gate."""
    run = run_gate("--board", UNIT, *options)
    passed, failed = len(run.tests("passed")), run.tests("failed")
    print(f"\n{title}: {passed} passed, {len(failed)} failed", flush=True)  # noqa: T201
    assert not failed, "\n".join(f"{name}: {reason[:300]}" for name, reason in failed.items())
    assert run.status == 0, run.text
    assert (run.verdict["outcome"], run.verdict["culprit"], run.verdict["because"]) == ("good", None, [])
    assert passed > 0
