"""The plan of a run: the questions that pytest collects, computed without it."""

import subprocess
import sys
from pathlib import Path

import pytest
from gate_run import ROOT

from fixtures.gate.options import Gate
from fixtures.gate.plan import Question, make_plan
from fixtures.lab.board import load_board
from fixtures.outcome import LabError

GATE = Gate("virt", load_board("virt", ROOT / "boards"), None, (), None, 0.0, "tftp")


@pytest.mark.parametrize("options", [(), ("--calibrate",)], ids=str)
def test_plan_has_the_tests_that_pytest_collects(options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "pytest", "--board", "virt", "--collect-only", "-q", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    collected = [line for line in done.stdout.splitlines() if line.startswith("tests/")]
    plan = make_plan(GATE, ROOT / "tests", calibrate=bool(options))
    assert collected and sorted(question.nodeid for question in plan) == sorted(collected), done.stderr


def plan_of(folder: Path, source: str) -> list[Question]:
    (folder / "test_new.py").write_text(f"import pytest\n{source}\n")
    return make_plan(GATE, folder, calibrate=False)


def test_question_may_be_skipped_for_the_reasons_of_its_parameters(tmp_path: Path) -> None:
    questions = plan_of(tmp_path, "def test_a(offloading): pass\ndef test_b(shell): pass")
    afalg, *others = (question for question in questions if question.may_skip)
    assert afalg == Question(f"{tmp_path.name}/test_new.py::test_a[afalg]", ("af_alg without accelerators",))
    assert not others and len(questions) == len(GATE.board.layers)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import nothing_of_this_name", r"No module named 'nothing_of_this_name' \(test_new.py:2\)"),
        ("def test_a(:", "invalid syntax"),
        ("pytest.skip('no', allow_module_level=True)", "Skipped: no"),
        ("class TestA: pass", "TestA: tests of a board are functions"),
    ],
)
def test_file_that_cannot_be_planned_is_a_lab_error(source: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=f"test_new.py cannot be planned: .*{why}"):
        plan_of(tmp_path, source)
