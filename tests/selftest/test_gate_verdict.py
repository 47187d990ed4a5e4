"""The verdict is never better than the outcomes that pytest saw. This host is the unit of each gate."""

import re
from pathlib import Path

import pytest
from gate_run import GateResult
from host_board import HostBoard

pytest_plugins = ["host_board"]

BOOT = "tests/test_boot.py"
STACK = "tests/test_stack.py::test_cryptodev_device_node_exists"
ONE_PROCESS, ONE_WORKER = (), ("-n", "1")
CONTINUE = "--continue-on-collection-errors"

IN_ONE_AND_IN_TWO_PROCESSES = pytest.mark.parametrize("workers", [ONE_PROCESS, ONE_WORKER], ids=["alone", "-n 1"])


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A test file with a syntax error in its second line."""
    path = tmp_path / "test_broken.py"
    path.write_text("x = 1\ny = (\n")
    return path


def outcome_line(run: GateResult) -> str:
    """Return the line with the verdict. Assert that it is printed once, as the last line, and names the exit status."""
    (line,) = re.findall(r"^OUTCOME  .*$", run.text, re.MULTILINE)
    assert run.text.endswith(f"{line}\n") and line.endswith(f", exit status {run.exit_status}"), run.text
    return str(line)


def break_modprobe(host: HostBoard) -> None:
    """Let modprobe fail, as on a board whose image lacks the module."""
    (host.programs / "modprobe").write_text("#!/bin/sh\necho not found >&2; exit 1\n")


@IN_ONE_AND_IN_TWO_PROCESSES
def test_selection_of_tests_is_no_verdict_on_a_release(host: HostBoard, workers: tuple[str, ...]) -> None:
    run = host.run_gate(*workers, BOOT, STACK)
    assert run.exit_status == 2 and outcome_line(run) == "OUTCOME  partial, exit status 2"
    (reason,) = run.verdict["why"]
    assert re.match(r"not run: tests/test_openssl\.py::\S+ and \d+ more, of the \d+ tests of a whole run", reason)


@IN_ONE_AND_IN_TWO_PROCESSES
@pytest.mark.parametrize("more", [(), (CONTINUE,), ("-x",)], ids=["", CONTINUE, "-x"])
def test_file_that_cannot_be_collected_is_a_lab_error(
    host: HostBoard, broken: Path, workers: tuple[str, ...], more: tuple[str, ...]
) -> None:
    run = host.run_gate(*workers, *more, BOOT, broken)
    assert run.exit_status == 9, run.text
    assert outcome_line(run) == "OUTCOME  lab trouble, exit status 9"
    (error,) = run.records_of("harness_error")
    assert error["source"] == "collection"
    assert error["reason"].endswith(" cannot be collected: SyntaxError: '(' was never closed (test_broken.py:2)")
    assert run.verdict["why"][0] == f"lab: {error['reason']}"


@IN_ONE_AND_IN_TWO_PROCESSES
def test_nothing_but_a_file_that_cannot_be_collected_is_a_lab_error(
    host: HostBoard, broken: Path, workers: tuple[str, ...]
) -> None:
    run = host.run_gate(*workers, BOOT, broken, "-k", "no_test_has_this_name")
    assert run.exit_status == 9, run.text
    assert "was never closed" in run.verdict["why"][0]


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        ("import pytest\n\nx = 1 / 0\n", "ZeroDivisionError: division by zero", 3),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'", 1),
    ],
)
def test_collection_error_names_file_and_line(host: HostBoard, broken: Path, text: str, error: str, line: int) -> None:
    broken.write_text(text)
    (found,) = host.run_gate(BOOT, broken).records_of("harness_error")
    assert re.search(rf" cannot be collected: {re.escape(error)} \(\S*test_broken\.py:{line}\)$", found["reason"])


@IN_ONE_AND_IN_TWO_PROCESSES
def test_file_that_skips_itself_is_a_lab_error(host: HostBoard, tmp_path: Path, workers: tuple[str, ...]) -> None:
    path = tmp_path / "test_skips.py"
    path.write_text('import pytest\n\npytest.skip("not today", allow_module_level=True)\n')
    run = host.run_gate(*workers, BOOT, path)
    assert run.exit_status == 9, run.text
    (reason,) = run.verdict["why"]
    assert reason.endswith(" cannot be collected: it skips itself: Skipped: not today")


@IN_ONE_AND_IN_TWO_PROCESSES
def test_failed_test_outweighs_a_file_that_cannot_be_collected(
    host: HostBoard, broken: Path, workers: tuple[str, ...]
) -> None:
    break_modprobe(host)
    run = host.run_gate(*workers, CONTINUE, STACK, broken)
    assert run.exit_status == 1, run.text
    first, second = run.verdict["why"]
    assert first.startswith("tests/test_stack.py::test_cryptodev_device_node_exists: modprobe kernel failed")
    assert "cannot be collected" in second


@IN_ONE_AND_IN_TWO_PROCESSES
def test_evidence_of_a_failed_test_reaches_the_record_and_the_diagnosis(
    host: HostBoard, workers: tuple[str, ...]
) -> None:
    break_modprobe(host)
    run = host.run_gate(*workers, CONTINUE, STACK)
    (failed,) = (line for line in run.records_of("test") if line["outcome"] == "failed")
    (evidence,) = failed["evidence"]
    assert (evidence["kind"], evidence["subject"]) == ("module does not load", "kernel")
    assert (run.verdict["culprit"], run.verdict["confidence"]) == ("cryptodev", "certain")


@IN_ONE_AND_IN_TWO_PROCESSES
@pytest.mark.parametrize("more", [(), ("-x",)], ids=["", "-x"])
def test_product_that_ends_the_run_early_is_bad(
    host: HostBoard, workers: tuple[str, ...], more: tuple[str, ...]
) -> None:
    break_modprobe(host)
    run = host.run_gate(*workers, *more, BOOT, "tests/test_stack.py")
    assert run.exit_status == 1, run.text
    assert outcome_line(run) == "OUTCOME  bad, exit status 1"


@IN_ONE_AND_IN_TWO_PROCESSES
def test_failure_that_the_record_lost_is_a_lab_error(host: HostBoard, workers: tuple[str, ...]) -> None:
    break_modprobe(host)
    run = host.run_gate(*workers, "-p", "forgetful_record", BOOT, STACK)
    assert run.exit_status == 9, run.text
    assert run.verdict["why"] == ["lab: failures that pytest counted: 1; failures in the run record: 0"]


@IN_ONE_AND_IN_TWO_PROCESSES
def test_run_that_a_plugin_stops_is_unfinished(host: HostBoard, workers: tuple[str, ...]) -> None:
    run = host.run_gate(*workers, "-p", "early_stop", BOOT, STACK)
    assert run.exit_status == 2, run.text
    assert outcome_line(run) == "OUTCOME  unfinished, exit status 2"
    assert run.verdict["why"][0].startswith("interrupted by pytest (")


def test_failure_without_a_failed_test_is_a_lab_error(host: HostBoard) -> None:
    """In one process; with -n, xdist reports it as an interruption."""
    run = host.run_gate("-p", "early_stop", BOOT, environment={"EARLY_STOP": "fail"})
    assert run.exit_status == 9, run.text
    assert run.verdict["why"] == [
        "lab: pytest ended as after a failure (stopped by a plugin), and the run record has none"
    ]


def test_file_that_cannot_be_collected_is_a_lab_error_of_every_board(host: HostBoard, broken: Path) -> None:
    """Both of boards whose tests pass and of boards whose tests fail."""
    host.add_board("other")
    run = host.run_gate("-n", "2", CONTINUE, BOOT, broken)
    assert run.exit_status == 9, run.text
    assert run.text.count("OUTCOME  lab trouble, exit status 9") == 2
    break_modprobe(host)
    run = host.run_gate("-n", "2", CONTINUE, STACK, broken)
    assert run.exit_status == 1, run.text
    assert run.text.count("OUTCOME  bad, exit status 1") == 2
