"""Handing out the tests of several gates: is each asked once, whoever goes, and does a group stay together?"""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from fixtures.gate.options import WORKER_INPUT
from fixtures.gate.xdist_scheduler import GAVE_UP, Scheduling, group_of

TESTS = [
    "tests/test_boot.py::test_boots",
    *(f"tests/test_aes.py::test_known_answers[{layer}-AES-{n}]" for layer in ("openssl", "engine") for n in range(4)),
]


@dataclass(eq=False)
class Node:
    """A worker as the scheduler sees it: what it was given; runs all but the last, until it is told to end."""

    workerinput: dict[str, Any]
    workeroutput: dict[str, Any] = field(default_factory=dict)
    given: list[int] = field(default_factory=list)
    ended: bool = False

    def send_runtest_some(self, indices: list[int]) -> None:
        """As xdist's."""
        assert not self.ended
        self.given += indices

    def shutdown(self) -> None:
        """As xdist's."""
        self.ended = True


class Lab:
    """Workers, and what they were asked."""

    def __init__(self, *gates: int) -> None:
        """:param gates: a worker each, for these gates."""
        self.lost: list[tuple[int, list[str], str]] = []
        self.scheduling = Scheduling(len(gates), lambda *lost: self.lost.append(lost))
        self.nodes = [Node({WORKER_INPUT: {"gate": gate}}) for gate in gates]
        self.asked: list[tuple[Node, str]] = []
        for node in self.nodes:
            self.scheduling.add_node(cast("WorkerController", node))
        for node in self.nodes:
            assert not self.scheduling.tests_finished
            self.scheduling.add_node_collection(cast("WorkerController", node), TESTS)
        self.scheduling.schedule()

    def run_one(self, node: Node) -> bool:
        """Have a worker run a test as xdist's do: only with another behind it, or once it was told to end."""
        if len(node.given) < 2 and not (node.given and node.ended):
            return False
        index = node.given.pop(0)
        self.asked.append((node, TESTS[index]))
        self.scheduling.answered(cast("WorkerController", node), TESTS[index])
        self.scheduling.mark_test_complete(cast("WorkerController", node), index)
        return True

    def leave(self, node: Node, why: str = "") -> None:
        """Have a worker give up."""
        node.workeroutput[GAVE_UP] = why
        self.scheduling.remove_node(cast("WorkerController", node))
        self.nodes.remove(node)

    def run_all(self) -> None:
        """Run until nobody can."""
        while sum(self.run_one(node) for node in self.nodes):
            pass
        assert all(node.ended and not node.given for node in self.nodes) and self.scheduling.tests_finished
        assert not self.scheduling.has_pending


def test_each_test_is_asked_once_and_groups_stay_together() -> None:
    lab = Lab(0, 0)
    lab.run_all()
    assert sorted(test for _, test in lab.asked) == sorted(TESTS)
    for group in {group_of(test) for test in TESTS}:
        assert len({id(node) for node, test in lab.asked if group_of(test) == group}) == 1
    assert len({id(node) for node, _ in lab.asked}) == 2


def test_each_gate_is_asked_whole() -> None:
    lab = Lab(0, 1)
    lab.run_all()
    for node in lab.nodes:
        assert [test for by, test in lab.asked if by is node] == TESTS


@pytest.mark.parametrize("after", [0, 1, 3])
def test_what_a_worker_leaves_goes_to_the_other(after: int) -> None:
    lab = Lab(0, 0)
    first = lab.nodes[0]
    for _ in range(after):
        lab.run_one(first)
    lab.leave(first)
    lab.run_all()
    assert sorted(test for _, test in lab.asked) == sorted(TESTS)
    assert not lab.lost


def test_a_test_that_was_handed_back_unasked_goes_to_the_other() -> None:
    lab = Lab(0, 0)
    first = lab.nodes[0]
    lab.scheduling.mark_test_complete(cast("WorkerController", first), first.given.pop(0))  # and nothing was answered
    lab.leave(first)
    lab.run_all()
    assert sorted(test for _, test in lab.asked) == sorted(TESTS)


def test_what_nobody_is_left_to_ask_is_told_with_the_reason() -> None:
    lab = Lab(0, 0, 1)
    for node in [node for node in lab.nodes if node.workerinput[WORKER_INPUT]["gate"] == 0]:
        lab.leave(node, "no unit is left")
    ((gate, tests, why),) = lab.lost
    assert (gate, sorted(tests), why) == (0, sorted(TESTS), "no unit is left")
    lab.run_all()
    assert [test for _, test in lab.asked] == TESTS, "the other gate goes on"


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/test_aes.py::test_known_answers[engine-AES-128-CBC-MMT]@virt/0", "tests/test_aes.py engine"),
        ("tests/test_aes.py::test_known_answers[engine-explicit-AES]", "tests/test_aes.py engine-explicit"),
        ("tests/test_stack.py::test_engine_offers_algorithm[AES-128-CBC]", "tests/test_stack.py "),
        ("tests/test_boot.py::test_boots", "tests/test_boot.py "),
    ],
)
def test_groups_are_told_by_file_and_layer(nodeid: str, group: str) -> None:
    assert group_of(nodeid) == group
