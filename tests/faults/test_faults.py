"""Does the gate catch every fault there is, and blame the right layer? `-s` shows the table as it grows.

A fault is first asked a short gate, the same for all. Where that does not catch it, or names nobody, the whole gate is
asked: some faults show in many answers, or in bounds, alone. One boot serves all faults that can be put on a board that
is up; `boot` in the table says which.
"""

import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from gate_run import UNIT, GateResult, run_gate
from up_once import UpOnce, up_once

from fixtures.virt.faults import FAULTS

SHORT = ["-k", "not (192 or 256 or VarKey or VarTxt or SHA224 or SHA384 or LongMsg or throughput)"]
"""One key size, few vectors, two digests, no `openssl speed`: a quarter of the time."""
ASKED = shlex.split(os.environ.get("HIL_FAULTS_ASK", ""))
"""What is asked in the place of both, for who is in a hurry: HIL_FAULTS_ASK="-k 'not SHA and not speed'"."""
ONLY = os.environ.get("HIL_FAULTS", "").split()
"""Which faults are asked: names or beginnings of names, HIL_FAULTS="driver/ engine/absent"; all where there is none."""
AT_LEAST = 0.9
"""How many of the culprits must be named, and right."""


@dataclass(frozen=True)
class Line:
    """What became of a fault."""

    name: str
    run: GateResult
    asked: str
    boot: str
    seconds: float

    @property
    def failed(self) -> list[str]:
        """The tests that caught it."""
        return list(self.run.tests("failed"))

    @property
    def named(self) -> str | None:
        """The layer that was blamed."""
        culprit: str | None = self.run.verdict["culprit"]
        return culprit

    @property
    def right(self) -> str:
        """Whether that is the layer that the fault is in."""
        return "unknown" if not self.named else "right" if self.named == self.name.partition("/")[0] else "WRONG"

    def __str__(self) -> str:
        """The line of the table."""
        layer, _, name = self.name.partition("/")
        failed = self.failed
        by = f"{failed[0]} and {len(failed) - 1} more" if failed else "nothing"
        culprit = f"{self.named or '-'} ({self.run.verdict.get('confidence', 'unknown')})"
        return (
            f"{name:20} {layer:10} {'yes' if failed else 'NO':6} {culprit:20} {self.right:8}"
            f" {self.asked:6} {self.boot:6} {self.seconds:4.0f} s  {by}"
        )


HEAD = f"{'fault':20} {'layer':10} {'caught':6} {'culprit':20} {'verdict':8} {'asked':6} {'boot':6} {'time':>6}  by"


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, Line]]:
    """A line a fault; printed at the end."""
    lines: dict[str, Line] = {}
    yield lines
    sure = sum(line.right == "right" for line in lines.values())
    end = f"{sum(bool(line.failed) for line in lines.values())} of {len(lines)} caught, {sure} culprits right"
    print("\n".join(["", HEAD, *map(str, lines.values()), end]))  # noqa: T201


def wanted() -> list[str]:
    """The faults that are asked; what is healthy belongs to test_healthy.py."""
    return [name for name, fault in FAULTS.items() if not fault.healthy and (not ONLY or name.startswith(tuple(ONLY)))]


@pytest.fixture(scope="module")
def board() -> Iterator[UpOnce]:
    """A board that is booted once for all the faults that can be put on it; it is healthy again at the end."""
    with up_once() as board:
        yield board
        run = board.ask_healthy(*(ASKED or SHORT))
        assert run.status == 0, f"a fault left something behind:\n{run.text}"


def gate(name: str, board: UpOnce) -> Line:
    """Ask a board with a fault, shortly, and wholly where that does not do."""
    start = time.monotonic()
    run, asked, boot = board.run_gate(FAULTS[name], *(ASKED or SHORT)), "own" if ASKED else "short", "shared"
    if run is None:
        run, boot = run_gate("--board", UNIT, "--fault", name, *(ASKED or SHORT)), "own"
    if not ASKED and not (run.verdict["outcome"] == "bad" and run.verdict["culprit"]):
        run, asked, boot = run_gate("--board", UNIT, "--fault", name), "whole", "own"
    return Line(name, run, asked, boot, time.monotonic() - start)


@pytest.mark.parametrize("name", wanted())
def test_a_fault_is_caught_and_no_other_layer_surely_blamed(name: str, board: UpOnce, table: dict[str, Line]) -> None:
    line = table[name] = gate(name, board)
    print(f"\n{line}\n    {'; '.join(line.run.verdict['because'])}", flush=True)  # noqa: T201
    assert line.run.status == 1, line.run.text
    assert line.run.verdict["outcome"] == "bad", line.run.verdict
    assert not (line.right == "WRONG" and line.run.verdict["confidence"] == "certain"), line.run.verdict


def test_the_culprit_is_right_often_enough(table: dict[str, Line]) -> None:
    assert table, "no fault was asked to its end"
    rights = [line for line in table.values() if line.right == "right"]
    assert len(rights) >= AT_LEAST * len(table), "\n".join(map(str, table.values()))
