"""However a run ends, its last line is made from its exit status. Good needs an answer to every question."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gate_run import ROOT, RUNS, GateResult
from host_board import HostBoard

from fixtures.record.record import RECORD_FILE

pytest_plugins = ["host_board"]

BOOT = "tests/test_boot.py"
STACK = "tests/test_stack.py::test_cryptodev_device_node_exists"
BOTH = pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "-n 1"])

PARTIAL, LAB, UNFINISHED = ("partial", 2), ("lab trouble", 9), ("unfinished", 2)


def last_line(run: GateResult) -> tuple[str, int]:
    """Return outcome and exit status of the last line. Assert that the process ended with that status."""
    found = re.fullmatch(r"OUTCOME  ([a-z ]+), exit status (\d+)", run.text.rstrip("\n").rpartition("\n")[2])
    assert found and int(found[2]) == run.exit_status and run.text.count("OUTCOME  ") == 1, run.text
    return found[1], int(found[2])


def end_badly(host: HostBoard, kind: str, *arguments: str | Path) -> GateResult:
    """Run two tests that pass, with the plugin bad_end."""
    return host.run_gate(*arguments, "-p", "bad_end", BOOT, STACK, environment={"BAD_END": kind})


ENDS: dict[str, tuple[tuple[str, int], str]] = {
    "truncate": (LAB, "lines of the run record are missing"),
    "remove": (LAB, "no run record to read"),
    "block report": (LAB, "Is a directory"),
    "exit 0": (UNFINISHED, "interrupted by pytest (stopped by a plugin)"),
    "exit 4": (UNFINISHED, "interrupted by pytest (stopped by a plugin)"),
    "SIGTERM": (UNFINISHED, "interrupted by SIGTERM"),
    "SIGINT": (UNFINISHED, "interrupted by Ctrl-C"),
    "SIGQUIT": (UNFINISHED, "interrupted by SIGQUIT"),
    "hidden status": (PARTIAL, "not run: "),
    "hidden failure": (LAB, "it failed"),
    "status 4": (LAB, "pytest ended with exit status 4"),
    "status -1": (LAB, "pytest ended with exit status 9"),
    "late error": (LAB, "pytest was ended: KeyError: 'raised by a plugin'"),
    "late SIGINT": (UNFINISHED, "interrupted by Ctrl-C"),
    "last error": (LAB, "pytest was ended: KeyError: 'raised by a plugin'"),
    "last SIGINT": (UNFINISHED, "interrupted by Ctrl-C"),
    "few": (PARTIAL, "not run: "),
    "none": (LAB, "no test passed or failed"),
    "skip all": (LAB, "no test passed or failed"),
    "rerun": (LAB, "no reason given"),
}
"""What the plugin bad_end does -> the outcome, and a part of the reason."""
ENDS_WITH_WORKERS = ("truncate", "SIGTERM", "SIGINT", "late error", "few", "hidden failure", "rerun")
"""Those that happen in a worker, or that the process without tests must notice too."""


@pytest.mark.parametrize("kind", ENDS)
def test_end_of_a_run_has_its_outcome(host: HostBoard, kind: str) -> None:
    check_end(end_badly(host, kind), kind)


@pytest.mark.parametrize("kind", ENDS_WITH_WORKERS)
def test_end_of_a_run_with_workers_has_its_outcome(host: HostBoard, kind: str) -> None:
    check_end(end_badly(host, kind, "-n", "1"), kind)


def check_end(run: GateResult, kind: str) -> None:
    """Assert that a run ended with its outcome, and says why."""
    outcome, why = ENDS[kind]
    assert last_line(run) == outcome
    assert why in " ".join(run.text.split()), run.text


def test_signal_before_the_run_is_no_failure(host: HostBoard) -> None:
    """Without a test file on the command line, pytest determines its rootdir twice: see `fixtures/gate/options.py`."""
    run = host.run_gate("-p", "bad_end", environment={"BAD_END": "early SIGTERM"})
    assert last_line(run) == UNFINISHED and "interrupted before the run began" in run.text


@BOTH
def test_internal_error_of_a_plugin_has_its_documented_status(host: HostBoard, workers: tuple[str, ...]) -> None:
    run = host.run_gate(*workers, "-p", "bad_end", BOOT, environment={"BAD_END": "internal error"}, may_crash=True)
    assert last_line(run) == ("lab trouble", 3)


@BOTH
def test_text_of_an_internal_error_is_escaped(host: HostBoard, workers: tuple[str, ...]) -> None:
    environment = {"BAD_END": "internal error with commands"}
    run = host.run_gate(*workers, "-p", "bad_end", BOOT, environment=environment, may_crash=True)
    assert r"\x1b]0;x\x07 #\x23vso[task.complete]" in run.text
    assert "\x1b" not in run.text and "##vso[" not in run.text and "\n::error" not in run.text


@pytest.mark.parametrize("kind", ["os._exit", "SIGKILL"])
def test_worker_that_dies_is_a_lab_error(host: HostBoard, kind: str) -> None:
    run = end_badly(host, kind, "-n", "1")
    assert last_line(run) == LAB
    assert "its worker ended" in " ".join(run.text.split()), run.text


@pytest.mark.parametrize(
    ("prefix", "arguments", "why"),
    [
        (("prlimit", "--fsize=8192"), (), "cannot write the run record: "),
        ((), ("--junitxml=/dev/full",), "OSError: [Errno 28] No space left on device"),
    ],
    ids=["record", "junit.xml"],
)
def test_file_that_cannot_be_written_is_a_lab_error(
    host: HostBoard, prefix: tuple[str, ...], arguments: tuple[str, ...], why: str
) -> None:
    run = host.run_gate(*arguments, BOOT, STACK, prefix=prefix)
    assert last_line(run) == LAB
    assert why in " ".join(run.text.split()), run.text


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("shell", ['"$@" >/dev/full', '"$@" | head -1; exit ${PIPESTATUS[0]}'])
def test_verdict_that_cannot_be_printed_is_a_lab_error(host: HostBoard, shell: str, unbuffered: str) -> None:
    prefix = ("bash", "-c", shell, "bash")
    done = host.run_gate(BOOT, prefix=prefix, environment={"PYTHONUNBUFFERED": unbuffered})
    assert done.exit_status == 9 and "the verdict cannot be printed: " in done.text, done.text


def pass_all(host: HostBoard, *options: str | Path) -> GateResult:
    """Run the whole plan, with tests that all pass."""
    return host.run_gate(*options, "-p", "bad_end", environment={"BAD_END": "pass all"})


@BOTH
def test_whole_run_is_good(host: HostBoard, workers: tuple[str, ...]) -> None:
    assert last_line(pass_all(host, *workers)) == ("good", 0)


@pytest.mark.parametrize(
    "options",
    [
        ("-n", "1", "-k", "not device_node"),
        ("-k", "not device_node"),
        ("-m", "not parametrize"),
        ("-o", "python_functions=test_[a-r]*"),
        ("-o", "python_files=test_[a-r]*.py"),
        ("-o", "testpaths=tests/test_aes.py"),
        ("--ignore", BOOT),
        ("--ignore-glob=*boot*",),
        ("--deselect", BOOT),
        (BOOT, "tests/test_aes.py"),
    ],
    ids=" ".join,
)
def test_shortened_run_is_partial(host: HostBoard, options: tuple[str, ...]) -> None:
    assert last_line(pass_all(host, *options)) == PARTIAL


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """A file with three tests, of which the second fails."""
    path = tmp_path / "test_steps.py"
    path.write_text("def test_one(shell): pass\ndef test_two(shell): assert not shell\ndef test_three(shell): pass\n")
    return path


def run_twice(host: HostBoard, *options: str | Path) -> list[list[str]]:
    """Return the tests that ran in each of two runs with the same cache."""
    runs = [host.run_gate("-o", f"cache_dir={host.folder}/cache", *options) for _ in range(2)]
    return [[line["nodeid"].rpartition("::")[2] for line in run.records_of("test")] for run in runs]


def test_stepwise_continues_where_the_run_before_stopped(host: HostBoard, steps: Path) -> None:
    assert run_twice(host, "--stepwise", steps, STACK) == [["test_one", "test_two"], ["test_two"]]


@BOTH
def test_last_failed_runs_the_failed_test_alone(host: HostBoard, steps: Path, workers: tuple[str, ...]) -> None:
    assert run_twice(host, *workers, "--lf", steps, STACK)[1] == ["test_two"]


def test_stepwise_with_workers_is_refused(host: HostBoard, steps: Path) -> None:
    run = host.run_gate("-n", "1", "--stepwise", steps, STACK)
    assert run.exit_status == 4 and "ERROR: --stepwise does nothing with -n" in run.text, run.text


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-f",), "never ends"),
        (("-n", "-1"), "expected a number of workers"),
        (("-d", "--tx=2*popen"), "give their number with -n"),
        (("--tx=popen",), "give their number with -n"),
        (("-n", "1", "--rsyncdir=/tmp"), "leave it out"),
        (("-n", "1", "--maxprocesses=-1"), "expected a number of workers"),
        (("-n", "1", "--max-worker-restart=x"), "expected a number"),
    ],
    ids=str,
)
def test_workers_that_cannot_be_scheduled_are_refused(host: HostBoard, options: tuple[str, ...], why: str) -> None:
    run = host.run_gate(*options, BOOT)
    assert run.exit_status == 4 and re.search(f"^ERROR: .*{why}", run.text, re.MULTILINE), run.text


def test_workers_are_at_most_those_of_maxprocesses(host: HostBoard) -> None:
    assert last_line(host.run_gate("-n", "2", "--maxprocesses", "1", BOOT)) == PARTIAL


# The preconditions of a run


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (("--assert=plain",), {}),
        (("-W", "ignore"), {"PYTHONOPTIMIZE": "1"}),
        (("--noconftest",), {}),
        (("-p", "no:fixtures.gate.plan"), {}),
        (("-p", "no:fixtures.gate.run_end"), {}),
        (("-p", "no:junitxml"), {}),
        (("-p", "no:skipping"), {}),
        (("-o", "faulthandler_exit_on_timeout=true"), {}),
        (("-o", "addopts=--co"), {}),
        ((), {"PYTEST_ADDOPTS": "--markers"}),
        (("--rootdir=tests",), {}),
    ],
    ids=str,
)
def test_weakened_run_is_refused(host: HostBoard, options: tuple[str, ...], environment: dict[str, str]) -> None:
    run = host.run_gate(*options, BOOT, environment=environment)
    assert run.exit_status == 4 and "OUTCOME" not in run.text, run.text
    assert len(re.findall(r"^ERROR: .*(?:run it|run the gate) without ", run.text, re.MULTILINE)) == 1, run.text


def test_interactive_python_is_refused(host: HostBoard) -> None:
    """It ends with its own exit status, whatever that of the run was."""
    run = host.run_gate(BOOT, environment={"PYTHONINSPECT": "1"}, may_crash=True)
    assert run.exit_status != 0 and "run the gate without them" in run.text and "OUTCOME" not in run.text, run.text


@pytest.mark.parametrize(
    ("redirection", "result"), [(">&-", (4, "ERROR: standard output is closed")), ("2>&- <&-", (2, "OUTCOME  partial"))]
)
def test_closed_stream_has_its_status(host: HostBoard, redirection: str, result: tuple[int, str]) -> None:
    run = host.run_gate(BOOT, prefix=("sh", "-c", f'"$@" {redirection}', "sh"))
    assert run.exit_status == result[0] and result[1] in run.text, run.text


@pytest.mark.parametrize("setting", ["faulthandler_timeout=x", "tmp_path_retention_count=-1"])
def test_setting_that_is_no_number_is_a_usage_error(host: HostBoard, setting: str) -> None:
    run = host.run_gate("-o", setting, BOOT)
    assert run.exit_status == 4 and "expected a number, 0 or more" in run.text, run.text


@BOTH
def test_tests_of_another_folder_answer_no_question(host: HostBoard, tmp_path: Path, workers: tuple[str, ...]) -> None:
    """pytest gives files outside its rootdir node ids from the folder that is named: those of the plan."""
    shutil.copytree(ROOT / "tests", tmp_path / "own/tests", ignore=lambda _, names: [n for n in names if "." not in n])
    run = pass_all(host, *workers, "--import-mode=importlib", tmp_path / "own", BOOT)
    assert last_line(run) == LAB and "has the node id of" in " ".join(run.text.split()), run.text


@pytest.mark.parametrize("obstacle", ["a file", "latest is a folder"])
def test_folder_of_runs_that_cannot_be_used_is_a_usage_error(host: HostBoard, tmp_path: Path, obstacle: str) -> None:
    runs = tmp_path / "own_runs"
    if obstacle == "a file":
        runs.touch()
    else:
        (runs / "latest").mkdir(parents=True)
    run = host.run_gate(BOOT, environment={"HIL_RUNS": str(runs)})
    assert run.exit_status == 4 and f"ERROR: {runs}" in run.text, run.text


# A record that is read again


def show_record(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m fixtures.record`."""
    command = [sys.executable, "-m", "fixtures.record", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_record_that_was_changed_is_damaged(host: HostBoard) -> None:
    (host.programs / "modprobe").write_text("#!/bin/sh\nexit 1\n")
    host.run_gate(STACK)
    path = (RUNS / "latest").resolve() / RECORD_FILE
    assert "OUTCOME  bad, exit status 1" in show_record(path.parent).stdout
    *lines, verdict = path.read_text().splitlines()
    forged = re.sub('"outcome": "bad", "exit_status": 1', '"outcome": "good", "exit_status": 0', verdict)
    path.write_text("\n".join([*lines, "garbage", forged, ""]))
    shown = show_record(path.parent)
    assert shown.returncode == 9 and "OUTCOME  record damaged, exit status 9" in shown.stdout, shown.stdout
    assert f"line {len(lines) + 1} of the run record cannot be read" in " ".join(shown.stdout.split())
