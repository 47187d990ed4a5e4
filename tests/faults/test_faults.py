"""Does the gate catch every fault there is, and blame the right layer? `-s` shows the table as it grows."""

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.virt.faults import FAULTS

sys.path.insert(0, str(Path(__file__).parents[1] / "planted"))
from gaterun import UNIT, Run, ask

ASKED = shlex.split(os.environ.get("HIL_FAULTS_ASK", ""))
"""What of the gate is asked; all of it, unless somebody is in a hurry: HIL_FAULTS_ASK="-k 'not SHA and not speed'"."""
AT_LEAST = 0.9
"""How many of the culprits must be named, and right."""


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, str]]:
    """A line a fault; printed at the end."""
    lines: dict[str, str] = {}
    yield lines
    head = f"{'fault':28} {'caught':6} {'culprit':22} {'verdict':8} by"
    print("\n".join(["", head, *lines.values()]))  # noqa: T201


def judged(name: str, run: Run) -> tuple[str, str]:
    """Whether the culprit is right, and the fault's line in the table."""
    failed = list(run.tests("failed"))
    named, sure = run.verdict["culprit"], run.verdict.get("confidence", "unknown")
    right = "right" if named == name.partition("/")[0] else "wrong" if named else "unknown"
    by = f"{failed[0]} and {len(failed) - 1} more" if failed else "nothing"
    return right, f"{name:28} {'yes' if failed else 'NO':6} {f'{named} ({sure})':22} {right:8} {by}"


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_caught_and_no_other_layer_is_surely_blamed(name: str, table: dict[str, str]) -> None:
    run = ask("--board", UNIT, "--fault", name, *ASKED)
    right, table[name] = judged(name, run)
    print(f"\n{table[name]}\n    {'; '.join(run.verdict['because'])}", flush=True)  # noqa: T201
    assert run.status == 1, run.text
    assert run.verdict["outcome"] == "bad", run.verdict
    assert not (right == "wrong" and run.verdict["confidence"] == "certain"), run.verdict


def test_the_culprit_is_right_often_enough(table: dict[str, str]) -> None:
    rights = [line for line in table.values() if " right " in line]
    assert len(rights) >= AT_LEAST * len(table), "\n".join(table.values())
