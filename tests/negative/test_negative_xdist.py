"""Several units at once: is everything asked once, on a unit that is well, and said where?"""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from gate_run import Gate, GateResult, processes, qemu_of

from fixtures.lab.lease import acquire, acquire_any
from fixtures.outcome import LabError
from fixtures.virt import UNITS

FEW = ("tests/test_boot.py", "tests/test_aes.py", "-k", "boot or CTR")
MORE = ("tests/test_boot.py", "tests/test_aes.py", "-k", "boot or CBC")


@contextmanager
def free(count: int) -> Iterator[list[str]]:
    """Hold all units of virt but so many; returns those that are free then."""
    ids = [f"virt/{name}" for name in UNITS]
    with ExitStack() as rest:
        with ExitStack() as mine:
            chosen = [mine.enter_context(acquire_any(ids, wait=60)).unit_id for _ in range(count)]
            for unit_id in ids:
                if unit_id not in chosen:
                    with suppress(LabError):  # another run has it
                        rest.enter_context(acquire(unit_id))
        yield chosen


def asked_once(run: GateResult) -> Counter[str]:
    """Whether no test was answered twice; how many were by each unit."""
    tests = [(record["nodeid"], record["unit"]) for record in run.of("test") if record["outcome"] != "error"]
    assert len(dict(tests)) == len(tests), Counter(nodeid for nodeid, _ in tests).most_common(3)
    return Counter(unit for _, unit in tests)


def test_two_units_share_a_gate(tmp_path: Path) -> None:
    with free(2) as units, Gate(tmp_path, "--board", "virt", "-n", "2", *FEW) as gate:
        run = gate.end()
    assert run.status == 0, run.text
    shares = asked_once(run)
    assert sorted(shares) == sorted(units), shares
    layers = {record["nodeid"].partition("[")[2].partition("-AES")[0]: record["unit"] for record in run.of("test")}
    for record in run.of("test"):  # the questions of a layer stay on one unit
        assert layers[record["nodeid"].partition("[")[2].partition("-AES")[0]] == record["unit"]


def test_a_worker_without_a_unit_leaves_all_to_the_other(tmp_path: Path) -> None:
    with free(1) as units, Gate(tmp_path, "--board", "virt", "-n", "2", *FEW) as gate:
        run = gate.end()
    assert run.status == 0, run.text
    assert list(asked_once(run)) == units


def test_two_boards_have_a_gate_each(tmp_path: Path) -> None:
    with free(2) as (one, other):
        arguments = ("--board", one, "--board", other, "-n", "2", *FEW)
        with Gate(tmp_path, *arguments) as gate:
            run = gate.end()
    assert run.status == 0, run.text
    assert run.text.count("OUTCOME  good") == 2 and one in run.text and other in run.text
    assert len(asked_once(run)) == 1, "this record is of one of the two"
    assert len(run.tests("passed")) == 92, run.text


def test_a_unit_that_dies_hands_what_is_left_to_the_other(tmp_path: Path) -> None:
    with free(2) as units, Gate(tmp_path, "--board", "virt", "-n", "2", "-v", *MORE) as gate:
        for worker in ("[gw0]", "[gw1]"):
            gate.await_text(worker)
        os.kill(qemu_of(f"{tmp_path}/hil-{units[0].replace('/', '@')}@"), signal.SIGKILL)
        run = gate.end()
    assert run.status == 9, run.text
    ((_, reason),) = run.tests("error").items()
    assert "lost" in reason, reason
    assert asked_once(run)[units[1]] > asked_once(run)[units[0]]
    assert [record["by"] for record in run.of("recovery")][-1] == "set aside"
    assert len(run.tests("passed")) == 151, run.text


@pytest.fixture(autouse=True)
def _nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.glob("hil-*")) and not processes(str(tmp_path))
