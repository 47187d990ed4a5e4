"""Groups share trips to the board: is each answered as if it had gone alone, and does a death stay with its group?"""

import math
from collections.abc import Sequence
from typing import cast

import pytest

from fixtures.gate import vector_batches as room
from fixtures.gate.vector_batches import VectorBatches
from fixtures.outcome import LabError
from fixtures.probe.protocol import Layer, Probe, ProbeCrash
from fixtures.probe.wire import Answer, GroupAnswers
from fixtures.vectors.model import Vector, VectorGroup


def group(name: str, size: int = 16) -> VectorGroup:
    vectors = tuple(Vector(f"COUNT = {n}", n, b"", b"", bytes([n]) * size, b"") for n in range(2))
    return VectorGroup("SHA1", "digest", name, "here", vectors)


A, B, C, D = (group(name) for name in "ABCD")


class Board:
    """Answers like a probe, with the group's name; dies in a group, or when all is done, or is out of reach once."""

    def __init__(self, *, dies_in: str = "", dies_after: str = "", damaged: bool = False) -> None:
        """See the class."""
        self.vector_batches: list[tuple[Layer, str]] = []
        self._dies_in, self._dies_after, self._damaged = dies_in, dies_after, damaged

    def run_groups(self, layer: Layer, groups: Sequence[VectorGroup]) -> list[GroupAnswers]:
        """As Probe.answers."""
        self.vector_batches.append((layer, "".join(each.name for each in groups)))
        if self._damaged:
            self._damaged = False
            raise LabError("answer lines damaged")
        found: list[GroupAnswers] = []
        for each in groups:
            if each.name == self._dies_in:
                found.append(GroupAnswers((Answer(b"", ""),) * 2, "", math.nan))
                raise ProbeCrash(f"died in {each.name}", tuple(found))
            found.append(GroupAnswers((Answer(each.name.encode(), ""),) * 2, "software", 0.1))
            if each.name == self._dies_after and each is groups[-1]:
                raise ProbeCrash(f"died after {each.name}", tuple(found))
        return found


def asked(board: Board, *plan: tuple[Layer, VectorGroup]) -> list[str]:
    """Ask in the order of the plan: the groups' names as answered, or what was raised."""
    vector_batches = VectorBatches(cast("Probe", board), plan)
    came = []
    for layer, each in plan:
        try:
            came.append(vector_batches.run_group(layer, each).answers[0].output.decode())
        except (ProbeCrash, LabError) as error:
            came.append(str(error))
    return came


def test_groups_that_follow_each_other_at_a_layer_go_in_one_trip() -> None:
    board = Board()
    plan: list[tuple[Layer, VectorGroup]] = [("engine", A), ("engine", B), ("afalg", A), ("engine", C), ("afalg", B)]
    assert asked(board, *plan) == ["A", "B", "A", "C", "B"]
    assert board.vector_batches == [("engine", "AB"), ("afalg", "A"), ("engine", "C"), ("afalg", "B")]


def test_a_load_is_not_exceeded_but_by_one_group_alone() -> None:
    board, heavy, light = Board(), group("H", room.BATCH_BYTES), group("L", room.BATCH_BYTES // 4)
    assert asked(board, ("engine", A), ("engine", heavy), ("engine", light), ("engine", B)) == ["A", "H", "L", "B"]
    assert board.vector_batches == [("engine", "A"), ("engine", "H"), ("engine", "LB")]


def test_what_is_sent_once_weighs_once() -> None:
    same = Vector("COUNT = 0", 0, b"", b"", bytes(room.BATCH_BYTES // 2), b"")
    board, many = Board(), VectorGroup("SHA1", "digest", "M", "here", (same,) * 2)
    assert asked(board, ("engine", many), ("engine", A)) == ["M", "A"]
    assert board.vector_batches == [("engine", "MA")]


def test_a_death_is_its_groups_and_the_others_are_asked_again() -> None:
    board = Board(dies_in="C")
    assert asked(board, *(("engine", each) for each in (A, B, C, D))) == ["A", "B", "died in C", "D"]
    assert board.vector_batches == [("engine", "ABCD"), ("engine", "D")]


def test_a_death_after_all_answers_is_the_last_groups() -> None:
    assert asked(Board(dies_after="B"), ("engine", A), ("engine", B)) == ["A", "died after B"]


def test_a_damaged_trip_is_made_again_for_those_that_did_not_raise() -> None:
    board = Board(damaged=True)
    assert asked(board, ("engine", A), ("engine", B), ("engine", C)) == ["answer lines damaged", "B", "C"]
    assert board.vector_batches == [("engine", "ABC"), ("engine", "BC")]


def test_a_group_that_is_asked_again_is_run_again() -> None:
    board = Board()
    assert asked(board, ("engine", A), ("engine", B), ("engine", A)) == ["A", "B", "A"]
    assert board.vector_batches == [("engine", "AB"), ("engine", "A")]


def test_what_was_not_planned_goes_alone() -> None:
    board = Board()
    vector_batches = VectorBatches(cast("Probe", board), [("engine", A)])
    assert vector_batches.run_group("engine", D).answers[0].output == b"D"
    with pytest.raises(ProbeCrash, match="died in B"):
        VectorBatches(cast("Probe", Board(dies_in="B")), []).run_group("engine", B)
