"""Does a healthy board ever turn the gate red? HIL_HEALTHY_RUNS tells how many whole gates run in a row; 2 if unset."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "planted"))
from gaterun import UNIT, ask

RUNS = int(os.environ.get("HIL_HEALTHY_RUNS", "2"))


@pytest.mark.parametrize("number", range(1, RUNS + 1))
def test_a_healthy_board_raises_no_alarm(number: int) -> None:
    run = ask("--board", UNIT)
    passed, failed = len(run.tests("passed")), run.tests("failed")
    print(f"\nhealthy run {number} of {RUNS}: {passed} passed, {len(failed)} failed", flush=True)  # noqa: T201
    assert not failed, "\n".join(f"{name}: {reason[:300]}" for name, reason in failed.items())
    assert run.status == 0, run.text
    assert (run.verdict["outcome"], run.verdict["culprit"], run.verdict["because"]) == ("good", None, [])
    assert passed > 0
