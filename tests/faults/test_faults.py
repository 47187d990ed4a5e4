"""Does the gate catch every fault, and name the layer of the fault as the culprit? `-s` prints the table as it grows.

Each fault first gets a short gate, the same for all. If that does not catch the fault, or names no culprit, the whole
gate runs: some faults show only in many answers, or in throughput. Faults that can be copied to a booted board share
one boot; the column `boot` tells which.
"""

import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from gate_run import GateResult, run_gate, unit_of
from shared_board import SharedBoard, shared_board

from fixtures.virt.faults import FAULTS

SHORT = ["-k", "not (192 or 256 or VarKey or VarTxt or SHA224 or SHA384 or LongMsg or window or throughput)"]
"""Options of the short gate: one key size, few vectors, two digests, no throughput; a quarter of the time."""
GATE_OPTIONS = shlex.split(os.environ.get("HIL_FAULTS_OPTIONS", ""))
"""Options of one gate that replaces the short and the whole one: HIL_FAULTS_OPTIONS="-k 'not SHA'"."""
SELECTED = os.environ.get("HIL_FAULTS", "").split()
"""Faults to run, by name or beginning of a name: HIL_FAULTS="driver/ engine/absent"; all if empty."""
MIN_RIGHT = 0.9
"""Least fraction of the faults whose layer must be named as the culprit."""


@dataclass(frozen=True)
class Row:
    """The result of the gate for one fault: a row of the table."""

    name: str
    run: GateResult
    gate: str
    """`short`, `whole`, or `own` for the options of HIL_FAULTS_OPTIONS."""
    boot: str
    """`shared` or `own`."""
    seconds: float

    @property
    def failed(self) -> list[str]:
        """The tests that failed."""
        return list(self.run.tests("failed"))

    @property
    def culprit(self) -> str | None:
        """The layer that the verdict names."""
        culprit: str | None = self.run.verdict["culprit"]
        return culprit

    @property
    def assessment(self) -> str:
        """Whether the culprit is the layer of the fault: `unknown`, `right` or `WRONG`."""
        return "unknown" if not self.culprit else "right" if self.culprit == FAULTS[self.name].layer else "WRONG"

    def __str__(self) -> str:
        """The row as text, with the columns of HEADER."""
        layer, _, name = self.name.partition("/")
        failed = self.failed
        caught_by = f"{failed[0]} and {len(failed) - 1} more" if failed else "nothing"
        culprit = f"{self.culprit or '-'} ({self.run.verdict.get('confidence', 'unknown')})"
        return (
            f"{name:20} {layer:10} {'yes' if failed else 'NO':6} {culprit:20} {self.assessment:8}"
            f" {self.gate:6} {self.boot:6} {self.seconds:4.0f} s  {caught_by}"
        )


HEADER = f"{'fault':20} {'layer':10} {'caught':6} {'culprit':20} {'verdict':8} {'gate':6} {'boot':6} {'time':>6}  by"


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, Row]]:
    """The rows of all faults, by name; printed at the end."""
    rows: dict[str, Row] = {}
    yield rows
    right = sum(row.assessment == "right" for row in rows.values())
    total = f"{sum(bool(row.failed) for row in rows.values())} of {len(rows)} caught, {right} culprits right"
    print("\n".join(["", HEADER, *map(str, rows.values()), total]))  # noqa: T201


def select_faults() -> list[str]:
    """Return the names of the faults to run, without the healthy boards of test_healthy.py."""
    prefixes = tuple(SELECTED) or ("",)
    return [name for name, fault in FAULTS.items() if not fault.healthy and name.startswith(prefixes)]


@pytest.fixture(scope="module")
def board() -> Iterator[SharedBoard]:
    """A board that is booted once for all faults that can be copied to it. It must be healthy again at the end."""
    with shared_board() as board:
        yield board
        run = board.run_gate_healthy(*(GATE_OPTIONS or SHORT))
        assert run.is_healthy, f"the board is not healthy after the last fault was removed:\n{run.text}"


def run_gates(name: str, board: SharedBoard) -> Row:
    """Run the short gate with a fault, then the whole gate if the short one does not name a culprit."""
    start = time.monotonic()
    unit = unit_of(FAULTS[name])
    options, gate = (GATE_OPTIONS, "own") if GATE_OPTIONS else (SHORT, "short")
    run, boot = board.run_gate(FAULTS[name], *options), "shared"
    if run is None:
        run, boot = run_gate("--board", unit, "--fault", name, *options, unit=unit), "own"
    if not GATE_OPTIONS and not (run.verdict["outcome"] == "bad" and run.verdict["culprit"]):
        run, gate, boot = run_gate("--board", unit, "--fault", name, unit=unit), "whole", "own"
    return Row(name, run, gate, boot, time.monotonic() - start)


@pytest.mark.parametrize("name", select_faults())
def test_fault_is_caught_and_no_other_layer_is_named_with_certainty(
    name: str, board: SharedBoard, table: dict[str, Row]
) -> None:
    row = table[name] = run_gates(name, board)
    print(f"\n{row}\n    {'; '.join(row.run.verdict['because'])}", flush=True)  # noqa: T201
    assert row.run.exit_status == 1, row.run.text
    assert row.run.verdict["outcome"] == "bad", row.run.verdict
    assert not (row.assessment == "WRONG" and row.run.verdict["confidence"] == "certain"), row.run.verdict


def test_most_culprits_are_right(table: dict[str, Row]) -> None:
    assert table, "no gate ended with a verdict: see the failures above"
    right = [row for row in table.values() if row.assessment == "right"]
    assert len(right) >= MIN_RIGHT * len(table), "\n".join(map(str, table.values()))
