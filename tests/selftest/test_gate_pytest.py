"""pytest's own options and an IDE's run button work on a gate. This host is its unit."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gate_run import ROOT, RUNS, GateResult
from host_board import HostBoard
from one_flipped_bit import GROUP as WRONG_GROUP

from fixtures.gate.findings import Findings, pytest_assertrepr_compare

pytest_plugins = ["host_board"]

BOOT = "tests/test_boot.py::test_command_runs_on_the_board"
GROUP = "openssl-AES-128-CBC-KeySbox-encrypt"
AES = f"tests/test_aes.py::test_known_answers[{GROUP}]"
PARTIAL = "OUTCOME  partial, exit status 2"

ONE_RIGHT_ONE_WRONG = """\
import pytest

from fixtures.link.shell import Shell

pytestmark = pytest.mark.board


def test_right(shell: Shell) -> None:
    assert shell.run("true").exit_status == 0


def test_wrong(shell: Shell) -> None:
    assert shell.run("echo no").text == "yes\\n"
"""


@pytest.fixture
def failing_file(tmp_path: Path) -> Path:
    """A file with a test that passes and, after it, one that fails."""
    path = tmp_path / "test_wrong.py"
    path.write_text(ONE_RIGHT_ONE_WRONG)
    return path


def names_of_tests(run: GateResult, outcome: str) -> list[str]:
    """Return the functions of the tests with an outcome, in the order in which they ran."""
    return [nodeid.rpartition("::")[2] for nodeid in run.tests(outcome)]


def run_pytest(
    *arguments: str | Path, environment: dict[str, str], cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run pytest as an IDE does: with its arguments, and the board in the environment or nowhere."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HIL_", "TOX"))}
    command = [sys.executable, "-m", "pytest", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False, timeout=120
    )


def write_board_files(host: HostBoard) -> dict[str, str]:
    """Write the files of a host board. Return the environment that names them."""
    (host.folder / "host.yaml").write_text(json.dumps(host.board))
    (host.folder / "lab.yaml").write_text(json.dumps({"units": host.units}))
    return {"HIL_BOARD": str(host.folder / "host.yaml"), "HIL_LAB": str(host.folder / "lab.yaml")}


def test_last_failed_runs_the_failed_test_alone(host: HostBoard, failing_file: Path) -> None:
    cache = ("-o", f"cache_dir={host.folder}/cache")
    assert names_of_tests(host.run_gate(*cache, failing_file, BOOT), "failed") == ["test_wrong"]
    run = host.run_gate(*cache, "--lf", failing_file, BOOT)
    assert (names_of_tests(run, "passed"), names_of_tests(run, "failed")) == ([], ["test_wrong"]), run.text


def test_failed_first_runs_the_failed_test_first(host: HostBoard, failing_file: Path) -> None:
    cache = ("-o", f"cache_dir={host.folder}/cache")
    host.run_gate(*cache, failing_file, BOOT)
    run = host.run_gate(*cache, "--ff", failing_file, BOOT)
    order = [line["nodeid"].rpartition("::")[2] for line in run.records_of("test")]
    assert order[0] == "test_wrong" and len(order) == 3, run.text


def test_option_x_stops_at_the_first_failure(host: HostBoard, failing_file: Path) -> None:
    failing_file.write_text(failing_file.read_text() + "\n\ndef test_later(shell: Shell) -> None:\n    assert shell\n")
    run = host.run_gate("-x", failing_file, BOOT)
    assert run.exit_status == 1 and names_of_tests(run, "failed") == ["test_wrong"], run.text
    assert names_of_tests(run, "passed") == ["test_right"] and run.records_of("unasked")[0]["total"] == 2


def test_pdb_opens_at_the_failed_assert_and_the_verdict_follows(host: HostBoard, failing_file: Path) -> None:
    run = host.run_gate("--pdb", failing_file, BOOT)  # standard input is empty, so the debugger ends the run
    assert 'assert shell.run("echo no").text == "yes\\n"' in run.text and "(Pdb)" in run.text, run.text
    assert names_of_tests(run, "failed") == ["test_wrong"] and "OUTCOME  bad, exit status 1" in run.text


def test_plugin_xdist_can_be_named(host: HostBoard) -> None:
    run = host.run_gate("-p", "xdist", "-n", "1", BOOT)
    assert run.exit_status == 2 and PARTIAL in run.text, run.text


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "-n 1"])
def test_collect_only_lists_node_ids_and_uses_no_unit(host: HostBoard, workers: tuple[str, ...]) -> None:
    runs = sorted(RUNS.glob("*host*"))
    run = host.run_gate("--collect-only", "-q", *workers, "tests/test_aes.py", "tests/test_boot.py")
    assert run.exit_status == 0 and AES in run.text.splitlines() and BOOT in run.text.splitlines(), run.text
    assert "OUTCOME" not in run.text and sorted(RUNS.glob("*host*")) == runs


def test_collect_only_boots_no_virtual_board() -> None:
    done = run_pytest("--board", "virt", "--collect-only", "-q", environment={})
    assert done.returncode == 0 and "test_known_answers[engine-AES-128-CBC-VarKey-encrypt]" in done.stdout, done.stdout
    assert "test_accelerator_did_the_work[engine-AES-128-CBC]" in done.stdout
    assert re.search(r"test_interface_behaves_as_cryptodev_linux\[\S+-native\]", done.stdout)
    assert "powering on" not in done.stdout


@pytest.mark.parametrize("test", [AES, f"{ROOT}/{AES}"], ids=["relative", "absolute"])
def test_single_test_runs_on_the_board_of_the_environment(host: HostBoard, test: str) -> None:
    done = run_pytest(test, environment=write_board_files(host))
    assert done.returncode == 2 and PARTIAL in done.stdout, done.stdout + done.stderr


def test_option_wins_over_the_environment(host: HostBoard) -> None:
    run = host.run_gate(BOOT, environment={"HIL_BOARD": "no_such_board"})
    assert run.exit_status == 2 and PARTIAL in run.text, run.text


def test_single_test_without_a_board_is_a_usage_error_that_names_option_and_variable() -> None:
    done = run_pytest(AES, environment={})
    assert done.returncode == 4
    assert [line for line in done.stderr.splitlines() if line.startswith("ERROR")] == [
        "ERROR: test_aes.py needs a board: add --board NAME (virt needs no hardware), or set HIL_BOARD=NAME"
    ]


def test_parametrised_fixtures_and_the_marker_are_documented() -> None:
    shown = run_pytest("--fixtures", environment={}).stdout
    for name in ("layer", "promised", "offered", "offloading", "row", "caller", "throughput"):
        assert re.search(rf"^{name} -- .*\n +Return ", shown, re.MULTILINE), name
    assert "@pytest.mark.board: the test runs on a board" in run_pytest("--markers", environment={}).stdout


def test_options_with_outside_paths_keep_the_root_folder(host: HostBoard, tmp_path: Path) -> None:
    """In a folder with a project of its own, whose configuration pytest would take."""
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntestpaths = 'none'\n")
    run = host.run_gate(BOOT)
    assert run.exit_status == 2 and [line["nodeid"] for line in run.records_of("test")] == [BOOT], run.text
    assert f"rootdir: {ROOT}\n" in run.text


@pytest.mark.parametrize("options", [("--no-summary",), ("-q",), ("-rN", "--tb=no")], ids=" ".join)
def test_verdict_is_printed_once_whatever_pytest_prints(host: HostBoard, options: tuple[str, ...]) -> None:
    run = host.run_gate(*options, BOOT)
    assert run.exit_status == 2 and run.text.count("OUTCOME  ") == 1, run.text


def test_findings_are_printed_though_pytest_prints_no_summary(host: HostBoard) -> None:
    run = host.run_gate("-p", "early_stop", BOOT, environment={"EARLY_STOP": "status"})
    assert run.exit_status == 9 and len(re.findall("^record   runs/", run.text, re.MULTILINE)) == 1, run.text


def test_reason_of_a_failed_assert_is_its_message(host: HostBoard, failing_file: Path) -> None:
    (reason,) = host.run_gate(failing_file, BOOT).tests("failed").values()
    assert reason.splitlines()[0] == "'no\\n' == 'yes\\n'"


def test_reason_of_a_wrong_answer_shows_the_vector_in_full(host: HostBoard) -> None:
    run = host.run_gate("-p", "one_flipped_bit", "tests/test_aes.py", "-k", WRONG_GROUP)
    assert run.exit_status == 1, run.text
    ((test, reason),) = run.tests("failed").items()
    first, *vector = reason.splitlines()
    assert test == f"test_aes.py::test_known_answers[openssl-{WRONG_GROUP}]"
    assert first.startswith("1 of ") and f"answers wrong: {WRONG_GROUP} at layer openssl, served by software" in first
    assert [line.split()[0] for line in vector[1:]] == ["key", "iv", "input", "expected", "found"], reason
    assert [line["failed"] for line in run.records_of("vectors")] == [1]


def test_tests_after_a_lost_connection_get_a_new_shell(host: HostBoard, tmp_path: Path) -> None:
    path = tmp_path / "test_lost.py"
    path.write_text(
        "import pytest\n\nfrom fixtures.outcome import LabError\n\npytestmark = pytest.mark.board\n\n\n"
        "def test_before(probe, stack):\n    test_before.shell = stack\n\n\n"
        "def test_lost(stack):\n    raise LabError('the connection was lost')\n\n\n"
        "def test_after(probe, stack):\n    assert stack is not test_before.shell\n"
        "    assert stack.run('echo alive').text == 'alive\\n'\n"
    )
    run = host.run_gate(path, BOOT)
    assert names_of_tests(run, "passed") == ["test_before", "test_after", "test_command_runs_on_the_board"], run.text
    assert names_of_tests(run, "error") == ["test_lost"], run.text
    assert [line["by"] for line in run.records_of("recovery")] == ["reconnect"]


def test_gates_on_two_units_keep_their_failures_apart() -> None:
    """`--lf` on one unit does not run the failures of the other, even if both runs end at the same time."""
    folders = []
    for name in ("virt/0", "virt/1"):
        done = run_pytest("--collect-only", "-v", "tests/test_boot.py", environment={"HIL_BOARD": name})
        folders += re.findall(r"^cachedir: (\S+)", done.stdout, re.MULTILINE)
    assert folders == [".pytest_cache/virt%2F0", ".pytest_cache/virt%2F1"]


def test_node_ids_on_the_terminal_name_the_board_if_there_are_several(host: HostBoard) -> None:
    host.add_board("other")
    run = host.run_gate("-n", "2", "-v", BOOT)
    assert run.exit_status == 2, run.text
    for name in ("host", "other"):
        assert f"{BOOT}@{host.folder}/{name}.yaml" in run.text, run.text
    assert [line["nodeid"] for line in run.records_of("test")] == [BOOT]


def test_findings_show_their_text() -> None:
    findings = Findings([1, 2], "2 of 3 answers wrong\n  key 00")
    assert pytest_assertrepr_compare("==", findings, []) == ["2 of 3 answers wrong", "  key 00"]
    assert pytest_assertrepr_compare("==", [1], []) is None
    assert Findings(["a", "b"]).text == "a\nb"
