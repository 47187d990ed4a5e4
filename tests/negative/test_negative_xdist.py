"""Several units at once: each test runs once, on a healthy unit, and the record names that unit."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from gate_run import Gate, GateResult, find_processes, find_qemu

from fixtures.lab.lease import acquire
from fixtures.virt import UNITS

CTR_TESTS = ("tests/test_boot.py", "tests/test_aes.py", "-k", "boot or CTR")
CBC_TESTS = ("tests/test_boot.py", "tests/test_aes.py", "-k", "boot or 128-CBC")


def write_board(folder: Path, name: str) -> Path:
    """Write a board file that makes virtual units of its own: no other test leases units of this name."""
    path = folder / f"{name}.yaml"
    path.write_text("extends: virt\n")
    return path


@contextmanager
def free_units(board: Path, count: int) -> Iterator[list[str]]:
    """Lease all units of a board but `count`; yield the ids of the free ones."""
    ids = [f"{board.stem}/{name}" for name in UNITS]
    with ExitStack() as leases:
        for unit_id in ids[count:]:
            leases.enter_context(acquire(unit_id))
        yield ids[:count]


def count_by_unit(run: GateResult) -> Counter[str]:
    """Return how many tests each unit ran. Assert that no test ran twice."""
    tests = [(record["nodeid"], record["unit"]) for record in run.records_of("test") if record["outcome"] != "error"]
    assert len(dict(tests)) == len(tests), Counter(nodeid for nodeid, _ in tests).most_common(3)
    return Counter(unit for _, unit in tests)


def test_two_units_share_a_gate(tmp_path: Path) -> None:
    board = write_board(tmp_path, "shared")
    with free_units(board, 2) as units, Gate(tmp_path, "--board", board, "-n", "2", *CTR_TESTS) as gate:
        run = gate.wait()
    assert run.is_healthy, run.text
    shares = count_by_unit(run)
    assert sorted(shares) == sorted(units), shares
    layers = {
        record["nodeid"].partition("[")[2].partition("-AES")[0]: record["unit"] for record in run.records_of("test")
    }
    for record in run.records_of("test"):  # all tests of a layer run on one unit
        assert layers[record["nodeid"].partition("[")[2].partition("-AES")[0]] == record["unit"]


def test_worker_without_a_unit_leaves_all_tests_to_the_other(tmp_path: Path) -> None:
    board = write_board(tmp_path, "single")
    with free_units(board, 1) as units, Gate(tmp_path, "--board", board, "-n", "2", *CTR_TESTS) as gate:
        run = gate.wait()
    assert run.is_healthy, run.text
    assert list(count_by_unit(run)) == units


def test_two_boards_have_a_gate_each(tmp_path: Path) -> None:
    one, other = write_board(tmp_path, "one"), write_board(tmp_path, "other")
    with Gate(tmp_path, "--board", one, "--board", other, "-n", "2", *CTR_TESTS) as gate:
        run = gate.wait()
    assert run.is_healthy, run.text
    assert run.text.count("OUTCOME  partial") == 2 and "one/0" in run.text and "other/0" in run.text
    assert len(count_by_unit(run)) == 1, "each board has a record of its own"
    assert len(run.tests("passed")) == 92, run.text


def test_dead_unit_leaves_its_tests_to_the_other(tmp_path: Path) -> None:
    board = write_board(tmp_path, "dying")
    with free_units(board, 2) as units, Gate(tmp_path, "--board", board, "-n", "2", "-v", *CBC_TESTS) as gate:
        for worker in ("[gw0]", "[gw1]"):
            gate.await_text(worker)
        os.kill(find_qemu(f"{tmp_path}/hil-{units[0].replace('/', '@')}@"), signal.SIGKILL)
        run = gate.wait()
    assert run.exit_status == 9, run.text
    ((_, reason),) = run.tests("error").items()
    assert "lost" in reason, reason
    assert count_by_unit(run)[units[1]] > count_by_unit(run)[units[0]]
    assert [record["by"] for record in run.records_of("recovery")][-1] == "quarantine"
    assert len(run.tests("passed")) == 51, run.text


@pytest.fixture(autouse=True)
def _nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.glob("hil-*")) and not find_processes(str(tmp_path))
