"""Scheduling of the tests of several gates: each test runs once, also if workers end, and groups stay together."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from fixtures.gate.options import WORKER_INPUT
from fixtures.gate.xdist_scheduler import NO_UNIT, Scheduling, group_of

TESTS = [
    "tests/test_boot.py::test_boots",
    *(f"tests/test_aes.py::test_known_answers[{layer}-AES-{n}]" for layer in ("openssl", "engine") for n in range(4)),
]


@dataclass(eq=False)
class Node:
    """A worker as the scheduler sees it. It runs all its tests but the last, and that one once it shuts down."""

    workerinput: dict[str, Any]
    workeroutput: dict[str, Any] = field(default_factory=dict)
    assigned: list[int] = field(default_factory=list)
    ended: bool = False

    def send_runtest_some(self, indices: list[int]) -> None:
        """Assign tests, as xdist's controller does."""
        assert not self.ended
        self.assigned += indices

    def shutdown(self) -> None:
        """End the worker after its last test."""
        self.ended = True


class Workers:
    """Workers of pytest-xdist under the scheduler, and the tests that they ran."""

    def __init__(self, *gates: int) -> None:
        """:param gates: number of the gate of each worker."""
        self.lost: list[tuple[int, list[str], str]] = []
        self.scheduling = Scheduling(len(gates), lambda *lost: self.lost.append(lost))
        self.nodes = [Node({WORKER_INPUT: {"gate": gate}}) for gate in gates]
        self.finished: list[tuple[Node, str]] = []
        for node in self.nodes:
            self.scheduling.add_node(cast("WorkerController", node))
        for node in self.nodes:
            assert not self.scheduling.tests_finished
            self.scheduling.add_node_collection(cast("WorkerController", node), TESTS)
        self.scheduling.schedule()

    def run_one_test(self, node: Node) -> bool:
        """Let a worker run a test, as xdist's do: only if another follows, or if it shuts down."""
        if len(node.assigned) < 2 and not (node.assigned and node.ended):
            return False
        index = node.assigned.pop(0)
        self.finished.append((node, TESTS[index]))
        self.scheduling.mark_reported(cast("WorkerController", node), TESTS[index])
        self.scheduling.mark_test_complete(cast("WorkerController", node), index)
        return True

    def remove(self, node: Node, why: str = "") -> None:
        """End a worker that has no unit. :param why: reason for the tests that no worker can run."""
        node.workeroutput[NO_UNIT] = why
        self.scheduling.remove_node(cast("WorkerController", node))
        self.nodes.remove(node)

    def run_all_tests(self) -> None:
        """Run until no worker has a test to run."""
        while sum(self.run_one_test(node) for node in self.nodes):
            pass
        assert all(node.ended and not node.assigned for node in self.nodes) and self.scheduling.tests_finished
        assert not self.scheduling.has_pending


def test_each_test_runs_once_and_groups_stay_together() -> None:
    workers = Workers(0, 0)
    workers.run_all_tests()
    assert sorted(test for _, test in workers.finished) == sorted(TESTS)
    for group in {group_of(test) for test in TESTS}:
        assert len({id(node) for node, test in workers.finished if group_of(test) == group}) == 1
    assert len({id(node) for node, _ in workers.finished}) == 2


def test_each_gate_runs_all_tests() -> None:
    workers = Workers(0, 1)
    workers.run_all_tests()
    for node in workers.nodes:
        assert [test for by, test in workers.finished if by is node] == TESTS


@pytest.mark.parametrize("after", [0, 1, 3])
def test_tests_of_an_ended_worker_go_to_the_other(after: int) -> None:
    workers = Workers(0, 0)
    first = workers.nodes[0]
    for _ in range(after):
        workers.run_one_test(first)
    workers.remove(first)
    workers.run_all_tests()
    assert sorted(test for _, test in workers.finished) == sorted(TESTS)
    assert not workers.lost


def test_returned_test_goes_to_the_other_worker() -> None:
    workers = Workers(0, 0)
    first = workers.nodes[0]
    workers.scheduling.mark_test_complete(cast("WorkerController", first), first.assigned.pop(0))  # without a report
    workers.remove(first)
    workers.run_all_tests()
    assert sorted(test for _, test in workers.finished) == sorted(TESTS)


def test_tests_without_a_worker_are_reported_with_the_reason() -> None:
    workers = Workers(0, 0, 1)
    for node in [node for node in workers.nodes if node.workerinput[WORKER_INPUT]["gate"] == 0]:
        workers.remove(node, "no unit is left")
    ((gate, tests, why),) = workers.lost
    assert (gate, sorted(tests), why) == (0, sorted(TESTS), "no unit is left")
    workers.run_all_tests()
    assert [test for _, test in workers.finished] == TESTS, "the other gate continues"


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/test_aes.py::test_known_answers[engine-AES-128-CBC-MMT]@virt/0", "tests/test_aes.py engine"),
        ("tests/test_aes.py::test_known_answers[engine-explicit-AES]", "tests/test_aes.py engine-explicit"),
        ("tests/test_stack.py::test_engine_offers_algorithm[AES-128-CBC]", "tests/test_stack.py "),
        ("tests/test_boot.py::test_boots", "tests/test_boot.py "),
    ],
)
def test_group_is_file_and_layer(nodeid: str, group: str) -> None:
    assert group_of(nodeid) == group
