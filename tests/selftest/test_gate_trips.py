"""Groups share trips to the board: is each answered as if it had gone alone, and does a death stay with its group?"""

import math
from collections.abc import Sequence
from typing import cast

import pytest

from fixtures.gate import trips as room
from fixtures.gate.trips import Trips
from fixtures.outcome import LabError
from fixtures.probe.protocol import Layer, Probe, ProbeDiedError
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
        self.trips: list[tuple[Layer, str]] = []
        self._dies_in, self._dies_after, self._damaged = dies_in, dies_after, damaged

    def answers(self, layer: Layer, groups: Sequence[VectorGroup]) -> list[GroupAnswers]:
        """As Probe.answers."""
        self.trips.append((layer, "".join(each.name for each in groups)))
        if self._damaged:
            self._damaged = False
            raise LabError("answer lines damaged")
        found: list[GroupAnswers] = []
        for each in groups:
            if each.name == self._dies_in:
                found.append(GroupAnswers((Answer(b"", ""),) * 2, "", math.nan))
                raise ProbeDiedError(f"died in {each.name}", tuple(found))
            found.append(GroupAnswers((Answer(each.name.encode(), ""),) * 2, "software", 0.1))
            if each.name == self._dies_after and each is groups[-1]:
                raise ProbeDiedError(f"died after {each.name}", tuple(found))
        return found


def asked(board: Board, *plan: tuple[Layer, VectorGroup]) -> list[str]:
    """Ask in the order of the plan: the groups' names as answered, or what was raised."""
    trips = Trips(cast("Probe", board), plan)
    came = []
    for layer, each in plan:
        try:
            came.append(trips.answers(layer, each).answers[0].output.decode())
        except (ProbeDiedError, LabError) as error:
            came.append(str(error))
    return came


def test_groups_that_follow_each_other_at_a_layer_go_in_one_trip() -> None:
    board = Board()
    plan: list[tuple[Layer, VectorGroup]] = [("engine", A), ("engine", B), ("afalg", A), ("engine", C), ("afalg", B)]
    assert asked(board, *plan) == ["A", "B", "A", "C", "B"]
    assert board.trips == [("engine", "AB"), ("afalg", "A"), ("engine", "C"), ("afalg", "B")]


def test_a_load_is_not_exceeded_but_by_one_group_alone() -> None:
    board, heavy, light = Board(), group("H", room.LOAD), group("L", room.LOAD // 4)
    assert asked(board, ("engine", A), ("engine", heavy), ("engine", light), ("engine", B)) == ["A", "H", "L", "B"]
    assert board.trips == [("engine", "A"), ("engine", "H"), ("engine", "LB")]


def test_what_is_sent_once_weighs_once() -> None:
    same = Vector("COUNT = 0", 0, b"", b"", bytes(room.LOAD // 2), b"")
    board, many = Board(), VectorGroup("SHA1", "digest", "M", "here", (same,) * 2)
    assert asked(board, ("engine", many), ("engine", A)) == ["M", "A"]
    assert board.trips == [("engine", "MA")]


def test_a_death_is_its_groups_and_the_others_are_asked_again() -> None:
    board = Board(dies_in="C")
    assert asked(board, *(("engine", each) for each in (A, B, C, D))) == ["A", "B", "died in C", "D"]
    assert board.trips == [("engine", "ABCD"), ("engine", "D")]


def test_a_death_after_all_answers_is_the_last_groups() -> None:
    assert asked(Board(dies_after="B"), ("engine", A), ("engine", B)) == ["A", "died after B"]


def test_a_damaged_trip_is_made_again_for_those_that_did_not_raise() -> None:
    board = Board(damaged=True)
    assert asked(board, ("engine", A), ("engine", B), ("engine", C)) == ["answer lines damaged", "B", "C"]
    assert board.trips == [("engine", "ABC"), ("engine", "BC")]


def test_a_group_that_is_asked_again_is_run_again() -> None:
    board = Board()
    assert asked(board, ("engine", A), ("engine", B), ("engine", A)) == ["A", "B", "A"]
    assert board.trips == [("engine", "AB"), ("engine", "A")]


def test_what_was_not_planned_goes_alone() -> None:
    board = Board()
    trips = Trips(cast("Probe", board), [("engine", A)])
    assert trips.answers("engine", D).answers[0].output == b"D"
    with pytest.raises(ProbeDiedError, match="died in B"):
        Trips(cast("Probe", Board(dies_in="B")), []).answers("engine", B)
