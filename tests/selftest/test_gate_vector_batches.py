"""Groups share batches: each is answered as if it were run alone, and a crash is the result of its group."""

import math
import random
from collections.abc import Sequence
from typing import cast

import pytest

from fixtures.gate.vector_batches import BATCH_BYTES, VectorBatches
from fixtures.outcome import LabError
from fixtures.probe.protocol import Layer, Probe, ProbeCrash
from fixtures.probe.wire import Answer, GroupAnswers
from fixtures.vectors.model import Vector, VectorGroup


def random_bytes(seed: int, size: int) -> bytes:
    """Return bytes without a period, which a batch would not send."""
    return random.Random(seed).randbytes(size)


def group(name: str, size: int = 16) -> VectorGroup:
    vectors = tuple(Vector(f"COUNT = {n}", n, b"", b"", random_bytes(n, size), b"") for n in range(2))
    return VectorGroup("SHA1", "digest", name, "here", vectors)


A, B, C, D = (group(name) for name in "ABCD")


class FakeProbe:
    """Probe that answers with the name of the group. It can crash in or after a group, or damage one batch."""

    def __init__(self, *, crashes_in: str = "", crashes_after: str = "", damages_first_batch: bool = False) -> None:
        """Store the groups to crash in or after by name, and whether the answers of the first batch are damaged."""
        self.batches: list[tuple[Layer, str]] = []
        self._crashes_in, self._crashes_after, self._damages_next_batch = crashes_in, crashes_after, damages_first_batch

    def run_groups(self, layer: Layer, groups: Sequence[VectorGroup]) -> list[GroupAnswers]:
        """Answer as `Probe.run_groups` does."""
        self.batches.append((layer, "".join(each.name for each in groups)))
        if self._damages_next_batch:
            self._damages_next_batch = False
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


def run_plan(probe: FakeProbe, *plan: tuple[Layer, VectorGroup]) -> list[str]:
    """Run the groups in the order of the plan; return the answer to each, the name of the group, or its error."""
    batches = VectorBatches(cast("Probe", probe), plan)
    texts = []
    for layer, each in plan:
        try:
            texts.append(batches.run_group(layer, each).answers[0].output.decode())
        except (ProbeCrash, LabError) as error:
            texts.append(str(error))
    return texts


def test_successive_groups_of_a_layer_are_one_batch() -> None:
    probe = FakeProbe()
    plan: list[tuple[Layer, VectorGroup]] = [("engine", A), ("engine", B), ("afalg", A), ("engine", C), ("afalg", B)]
    assert run_plan(probe, *plan) == ["A", "B", "A", "C", "B"]
    assert probe.batches == [("engine", "AB"), ("afalg", "A"), ("engine", "C"), ("afalg", "B")]


def test_only_a_single_group_exceeds_the_size_of_a_batch() -> None:
    probe, large, small = FakeProbe(), group("H", BATCH_BYTES), group("L", BATCH_BYTES // 4)
    assert run_plan(probe, ("engine", A), ("engine", large), ("engine", small), ("engine", B)) == ["A", "H", "L", "B"]
    assert probe.batches == [("engine", "A"), ("engine", "H"), ("engine", "LB")]


def test_repeated_fields_count_once() -> None:
    same = Vector("COUNT = 0", 0, b"", b"", random_bytes(0, BATCH_BYTES // 2), b"")
    probe, many = FakeProbe(), VectorGroup("SHA1", "digest", "M", "here", (same,) * 2)
    assert run_plan(probe, ("engine", many), ("engine", A)) == ["M", "A"]
    assert probe.batches == [("engine", "MA")]


def test_crash_is_the_result_of_its_group_and_the_others_run_again() -> None:
    probe = FakeProbe(crashes_in="C")
    assert run_plan(probe, *(("engine", each) for each in (A, B, C, D))) == ["A", "B", "crash in C", "D"]
    assert probe.batches == [("engine", "ABCD"), ("engine", "D")]


def test_crash_after_all_answers_is_the_result_of_the_last_group() -> None:
    assert run_plan(FakeProbe(crashes_after="B"), ("engine", A), ("engine", B)) == ["A", "crash after B"]


def test_damaged_batch_is_run_again_for_the_other_groups() -> None:
    probe = FakeProbe(damages_first_batch=True)
    assert run_plan(probe, ("engine", A), ("engine", B), ("engine", C)) == ["answer lines damaged", "B", "C"]
    assert probe.batches == [("engine", "ABC"), ("engine", "BC")]


def test_group_requested_again_is_run_again() -> None:
    probe = FakeProbe()
    assert run_plan(probe, ("engine", A), ("engine", B), ("engine", A)) == ["A", "B", "A"]
    assert probe.batches == [("engine", "AB"), ("engine", "A")]


def test_unplanned_group_runs_alone() -> None:
    probe = FakeProbe()
    batches = VectorBatches(cast("Probe", probe), [("engine", A)])
    assert batches.run_group("engine", D).answers[0].output == b"D"
    with pytest.raises(ProbeCrash, match="crash in B"):
        VectorBatches(cast("Probe", FakeProbe(crashes_in="B")), []).run_group("engine", B)
