"""Does the gate pass on healthy boards? HIL_HEALTHY_RUNS is the number of whole gates in a row, 2 by default."""

import os

import pytest
from gate_run import UNIT, run_gate, unit_of

from fixtures.virt.faults import FAULTS

RUNS = int(os.environ.get("HIL_HEALTHY_RUNS", "2"))
BOARDS: dict[str, tuple[str, ...]] = {
    **{f"healthy run {number} of {RUNS}": () for number in range(1, RUNS + 1)},
    **{name: ("--fault", name) for name, fault in FAULTS.items() if fault.healthy},
}
"""Name of a run -> options of the gate: the plain virtual board, then each unusual board that is healthy too."""


@pytest.mark.parametrize("name", BOARDS)
def test_healthy_board_passes(name: str) -> None:
    unit = unit_of(FAULTS[name]) if name in FAULTS else UNIT
    run = run_gate("--board", unit, *BOARDS[name], unit=unit)
    passed, failed = len(run.tests("passed")), run.tests("failed")
    print(f"\n{name}: {passed} passed, {len(failed)} failed", flush=True)  # noqa: T201
    assert not failed, "\n".join(f"{test}: {reason[:300]}" for test, reason in failed.items())
    assert run.exit_status == 0, run.text
    assert (run.verdict["outcome"], run.verdict["culprit"], run.verdict["because"]) == ("good", None, [])
    assert passed > 0
