"""Groups share batches: each is answered as if it were run alone, and a crash is the result of its group."""

import math
from collections.abc import Sequence
from typing import cast

import pytest

from fixtures.gate.vector_batches import BATCH_BYTES, VectorBatches
from fixtures.outcome import LabError
from fixtures.probe.protocol import Layer, Probe, ProbeCrash
from fixtures.probe.wire import Answer, GroupAnswers
from fixtures.vectors.model import Vector, VectorGroup


def group(name: str, size: int = 16) -> VectorGroup:
    vectors = tuple(Vector(f"COUNT = {n}", n, b"", b"", bytes([n]) * size, b"") for n in range(2))
    return VectorGroup("SHA1", "digest", name, "here", vectors)


A, B, C, D = (group(name) for name in "ABCD")


class Board:
    """Answers like a probe, with the name of the group; crashes in or after a group, or damages one batch."""

    def __init__(self, *, crashes_in: str = "", crashes_after: str = "", damaged: bool = False) -> None:
        """Store the name of the group to crash in or after."""
        self.batches: list[tuple[Layer, str]] = []
        self._crashes_in, self._crashes_after, self._damaged = crashes_in, crashes_after, damaged

    def run_groups(self, layer: Layer, groups: Sequence[VectorGroup]) -> list[GroupAnswers]:
        """Answer as `Probe.run_groups` does."""
        self.batches.append((layer, "".join(each.name for each in groups)))
        if self._damaged:
            self._damaged = False
            raise LabError("answer lines damaged")
        answers: list[GroupAnswers] = []
        for each in groups:
            if each.name == self._crashes_in:
                answers.append(GroupAnswers((Answer(b"", ""),) * 2, "", math.nan))
                raise ProbeCrash(f"crash in {each.name}", tuple(answers))
            answers.append(GroupAnswers((Answer(each.name.encode(), ""),) * 2, "software", 0.1))
            if each.name == self._crashes_after and each is groups[-1]:
                raise ProbeCrash(f"crash after {each.name}", tuple(answers))
        return answers


def results(board: Board, *plan: tuple[Layer, VectorGroup]) -> list[str]:
    """Run the groups in the order of the plan; return the name that each answered, or its error."""
    batches = VectorBatches(cast("Probe", board), plan)
    texts = []
    for layer, each in plan:
        try:
            texts.append(batches.run_group(layer, each).answers[0].output.decode())
        except (ProbeCrash, LabError) as error:
            texts.append(str(error))
    return texts


def test_successive_groups_of_a_layer_are_one_batch() -> None:
    board = Board()
    plan: list[tuple[Layer, VectorGroup]] = [("engine", A), ("engine", B), ("afalg", A), ("engine", C), ("afalg", B)]
    assert results(board, *plan) == ["A", "B", "A", "C", "B"]
    assert board.batches == [("engine", "AB"), ("afalg", "A"), ("engine", "C"), ("afalg", "B")]


def test_only_a_single_group_exceeds_the_size_of_a_batch() -> None:
    board, large, small = Board(), group("H", BATCH_BYTES), group("L", BATCH_BYTES // 4)
    assert results(board, ("engine", A), ("engine", large), ("engine", small), ("engine", B)) == ["A", "H", "L", "B"]
    assert board.batches == [("engine", "A"), ("engine", "H"), ("engine", "LB")]


def test_repeated_fields_count_once() -> None:
    same = Vector("COUNT = 0", 0, b"", b"", bytes(BATCH_BYTES // 2), b"")
    board, many = Board(), VectorGroup("SHA1", "digest", "M", "here", (same,) * 2)
    assert results(board, ("engine", many), ("engine", A)) == ["M", "A"]
    assert board.batches == [("engine", "MA")]


def test_crash_is_the_result_of_its_group_and_the_others_run_again() -> None:
    board = Board(crashes_in="C")
    assert results(board, *(("engine", each) for each in (A, B, C, D))) == ["A", "B", "crash in C", "D"]
    assert board.batches == [("engine", "ABCD"), ("engine", "D")]


def test_crash_after_all_answers_is_the_result_of_the_last_group() -> None:
    assert results(Board(crashes_after="B"), ("engine", A), ("engine", B)) == ["A", "crash after B"]


def test_damaged_batch_is_run_again_for_the_other_groups() -> None:
    board = Board(damaged=True)
    assert results(board, ("engine", A), ("engine", B), ("engine", C)) == ["answer lines damaged", "B", "C"]
    assert board.batches == [("engine", "ABC"), ("engine", "BC")]


def test_group_requested_again_is_run_again() -> None:
    board = Board()
    assert results(board, ("engine", A), ("engine", B), ("engine", A)) == ["A", "B", "A"]
    assert board.batches == [("engine", "AB"), ("engine", "A")]


def test_unplanned_group_runs_alone() -> None:
    board = Board()
    batches = VectorBatches(cast("Probe", board), [("engine", A)])
    assert batches.run_group("engine", D).answers[0].output == b"D"
    with pytest.raises(ProbeCrash, match="crash in B"):
        VectorBatches(cast("Probe", Board(crashes_in="B")), []).run_group("engine", B)
