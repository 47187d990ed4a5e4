"""Good is proven: no change of a record makes it good, and each condition of the deciding function matters."""

import ast
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_records import AT, number, with_verdict
from verdict_cases import CASES, TORN, A, B, Case, error, ran, session

from fixtures.record import verdict as verdicts
from fixtures.record.record import Record, parse_record
from fixtures.record.verdict import decide, decide_again

EXAMPLES = settings(max_examples=int(os.environ.get("HIL_EXAMPLES", "500")), deadline=None)
"""HIL_EXAMPLES=100000 for a search that takes minutes."""

DECIDING = (
    "recorded_tests",
    "decide",
    "decide_again",
    "find_damage",
    "find_open_questions",
    "_find_lost_lines",
    "_end_of_run",
    "_of_kind",
    "count_failures",
    "count_collection_errors",
)
"""The functions of fixtures/record/verdict.py that decide. The others write sentences."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_record_has_its_verdict(case: Case) -> None:
    found = (decide_again if case.again else decide)(case.records)
    assert (found.outcome, found.exit_status, found.culprit, len(found.why)) == case.expected, found.why
    assert any(reason.startswith(case.why) for reason in found.why) or not case.why, found.why


# Each condition of the deciding function, removed in turn


class Remover(ast.NodeTransformer):
    """Replaces one condition of a function by True or by False."""

    def __init__(self, number: int, value: bool) -> None:
        """:param number: of the condition, from 0, in the order of the source."""
        self.number, self.value, self.count, self.line = number, value, 0, 0

    def replaced(self, condition: ast.expr) -> ast.expr:
        """Return the condition, or the constant in its place."""
        self.count += 1
        if self.count - 1 != self.number:
            return condition
        self.line = condition.lineno
        return ast.copy_location(ast.Constant(self.value), condition)

    def visit_If(self, node: ast.If) -> ast.If:
        """A statement."""
        self.generic_visit(node)
        # A name that the condition binds must stay bound.
        if isinstance(node.test, ast.NamedExpr):
            self.count += 1
            if self.count - 1 == self.number:
                self.line = node.lineno
                node.test = ast.copy_location(
                    ast.BoolOp(ast.Or() if self.value else ast.And(), [node.test, ast.Constant(self.value)]), node.test
                )
        else:
            node.test = self.replaced(node.test)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.IfExp:
        """An expression."""
        self.generic_visit(node)
        node.test = self.replaced(node.test)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        """The filters of a comprehension."""
        self.generic_visit(node)
        node.ifs = [self.replaced(test) for test in node.ifs]
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.BoolOp:
        """The operands of `and` and `or`."""
        self.generic_visit(node)
        node.values = [self.replaced(value) for value in node.values]
        return node


SOURCE = Path(str(verdicts.__file__)).read_text()


def mutants() -> Iterator[Any]:
    """Yield the number of each condition of the deciding functions, and the value in its place."""
    counter = Remover(-1, True)
    for function in ast.parse(SOURCE).body:
        if isinstance(function, ast.FunctionDef) and function.name in DECIDING:
            before = counter.count
            counter.visit(function)
            for number in range(counter.count - before):
                for value in (True, False):
                    yield pytest.param(function.name, number, value, id=f"{function.name}-{number}-{value}")


def mutate(function_name: str, number: int, value: bool) -> tuple[ModuleType, str]:
    """Return the module with one condition replaced, and the line of source that has it."""
    tree = ast.parse(SOURCE)
    remover = Remover(number, value)
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == function_name:
            remover.visit(function)
    module = ModuleType("mutant")
    exec(compile(ast.fix_missing_locations(tree), "mutant", "exec"), module.__dict__)
    return module, SOURCE.splitlines()[remover.line - 1].strip()


@pytest.mark.parametrize(("function", "condition", "value"), list(mutants()))
def test_removed_condition_of_the_deciding_function_is_noticed(
    function: str, condition: int, value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mutant", ModuleType("mutant"))  # dataclasses look it up
    module, line = mutate(function, condition, value)
    assert not all(_is_right(case, module) for case in CASES.values()), f"no case notices: {line} -> {value}"


def _is_right(case: Case, module: ModuleType) -> bool:
    try:
        return case.is_right(module)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return False


# Changes of records

FACT: Record = {"kind": "fact", "name": "kernel", "value": "6.1"}


@st.composite
def good_records(draw: st.DrawFn) -> list[Record]:
    """Return the record of a good run: a plan, tests that passed or may be skipped, other lines, its end."""
    questions = draw(st.lists(st.sampled_from([A, B, "t.py::c", "t.py::d[x]"]), min_size=1, unique=True))
    outcomes = ["passed", *(draw(st.sampled_from(["passed", "skipped"])) for _ in questions[1:])]
    lines = [ran(nodeid, outcome) for nodeid, outcome in zip(questions, outcomes, strict=True)]
    lines += draw(st.lists(st.just(FACT), max_size=2))
    return with_verdict(draw(st.permutations(lines)))


def store(records: list[Record]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in records)


def answered(records: list[Record]) -> set[str]:
    """Return the questions that were answered, by the lines of tests alone."""
    tests = [line for line in records if line["kind"] == "test"]
    unanswered = {line["nodeid"] for line in tests if line["outcome"] in ("failed", "error")}
    return {line["nodeid"] for line in tests} - unanswered


LINE = st.integers(0, 30)
VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 5), st.floats(allow_nan=True), st.just([]), st.just({}),
    st.sampled_from(["", A, B, "passed", "skipped", "failed", "good", "bad", "no console", "test", "plan", "session"]),
)  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """Return a record with a line removed, repeated, moved, or with other fields or bytes; one to three times."""
    lines = content.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 3))):
        if not lines:
            break
        n = draw(LINE) % len(lines)
        match draw(st.sampled_from(["remove", "repeat", "move", "field", "bytes", "cut"])):
            case "remove":
                del lines[n]
            case "repeat":
                lines.insert(draw(LINE) % len(lines), lines[n])
            case "move":
                lines.insert(draw(LINE) % len(lines), lines.pop(n))
            case "field":
                lines[n] = _change_field(draw, lines[n])
            case "bytes":
                at = draw(st.integers(0, max(len(lines[n]) - 1, 0)))
                lines[n] = lines[n][:at] + bytes([draw(st.integers(0, 255))]) + lines[n][at + 1 :]
            case "cut":
                lines = b"".join(lines)[: -draw(st.integers(1, 200))].splitlines(keepends=True)
    return b"".join(lines)


def _change_field(draw: st.DrawFn, line: bytes) -> bytes:
    try:
        fields = json.loads(line)
        name = draw(st.sampled_from(sorted(fields)))
    except (ValueError, TypeError):
        return line
    return json.dumps({**fields, name: draw(VALUE)}).encode() + b"\n"


@EXAMPLES
@given(st.data(), good_records())
def test_changed_record_is_good_only_if_the_same_questions_are_answered(
    data: st.DataObject, records: list[Record]
) -> None:
    assert decide_again(records).outcome == "good"
    found = parse_record(data.draw(changed(store(records))))
    if decide_again(found).outcome == "good":
        assert answered(found) == answered(records)


FAILURES: dict[str, Record] = {
    "failed test": ran("t.py::new", "failed"),
    "failed test of the plan": ran(A, "failed"),
    "error of a test": ran("t.py::new", "error"),
    "error of the suite": error(),
    "unreadable line": TORN,
    "internal error": session(end="exception", why="x", exit_status=3),
    "interruption": session(end="signal", why="Ctrl-C", exit_status=2),
}


@EXAMPLES
@given(st.data(), good_records(), st.sampled_from(list(FAILURES)))
def test_record_with_a_failure_is_never_good(data: st.DataObject, records: list[Record], failure: str) -> None:
    """Wherever it stands, whatever the verdict in the record says, and whether or not the lines are numbered anew."""
    place = data.draw(st.integers(0, len(records)))
    lines = [*records[:place], {"at": AT, **FAILURES[failure]}, *records[place:]]
    if data.draw(st.booleans()):
        lines = number(lines)
    assert decide(lines).outcome != "good"
    assert decide_again(lines).outcome != "good"
