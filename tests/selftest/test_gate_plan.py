"""The plan of a run names what pytest collects when nothing is left out, and it does not ask pytest."""

from pathlib import Path

import pytest
from gate_run import ROOT
from host_board import HostBoard

from fixtures.gate.options import Gate
from fixtures.gate.plan import CALIBRATION_FILE, CHECK_FILE, TEST_FILES, Question, make_plan
from fixtures.lab.board import Board, load_board
from fixtures.lab.board_files import list_boards
from fixtures.lab.labfile import Console, Unit
from fixtures.outcome import LabError, SkipReason

pytest_plugins = ["host_board"]

TESTS = ROOT / "tests"


def gate_of(board: Board, *, has_console: bool = True) -> Gate:
    """Return a gate on one unit, with a console or reached over SSH alone."""
    console = Console(url="socket://127.0.0.1:1") if has_console else None
    unit = Unit.model_construct(name="unit", board="x", console=console)
    return Gate(board.name, board, None, (unit,), None, 0.0, "tftp")


def plan_of(name: str) -> dict[str, Question]:
    """Return the plan of a board of this repository by node id."""
    questions = make_plan(gate_of(load_board(name, ROOT / "boards")), TESTS)
    return {question.nodeid: question for question in questions}


@pytest.mark.parametrize("name", list_boards(ROOT / "boards"))
@pytest.mark.parametrize("options", [(), ("--calibrate",)], ids=["checked", "calibrated"])
def test_plan_is_what_pytest_collects(host: HostBoard, name: str, options: tuple[str, ...]) -> None:
    host.board = {"extends": name, "made_by": None}
    run = host.run_gate("--collect-only", "-q", *options)
    if "--calibrate" in options and not load_board(name, ROOT / "boards").throughput:
        assert run.exit_status == 4, run.text
        return
    collected = {line for line in run.text.splitlines() if line.startswith("tests/") and "[NOTSET]" not in line}
    planned = set(plan_of(name))
    if "--calibrate" in options:  # measures in place of the checks, which the plan has all the same
        measured = {nodeid for nodeid in collected if nodeid.startswith(f"tests/{CALIBRATION_FILE}::")}
        assert measured
        collected -= measured
        planned = {nodeid for nodeid in planned if not nodeid.startswith(f"tests/{CHECK_FILE}::")}
    assert collected == planned


def test_plan_of_the_virtual_board_has_all_its_tests() -> None:
    plan = plan_of("virt")
    assert len(plan) == 1268
    assert plan["tests/test_boot.py::test_image_boots_to_a_login"].may_skip == ()
    assert plan["tests/test_offload.py::test_accelerator_did_the_work[engine-AES-128-CBC]"].may_skip == ()


SHAPES = "test_shapes.py::test_answer_is_right_in_every_request_shape"


def test_request_shape_is_planned_for_each_layer_that_makes_it() -> None:
    plan = plan_of("virt")
    layers = ("openssl", "engine", "engine-explicit", "cryptodev")
    assert all(plan[f"tests/{SHAPES}[{layer}-AES-128-CBC-in-place-encrypt]"].may_skip == () for layer in layers)
    assert plan[f"tests/{SHAPES}[afalg-AES-128-CBC-not-in-place-encrypt]"].may_skip == ()


@pytest.mark.parametrize(
    ("board", "nodeid", "reason"),
    [
        ("virt", "test_cryptodev.py::test_interface_behaves_as_cryptodev_linux[poll-native]", "missing algorithm"),
        ("virt", "test_cryptodev.py::test_interface_behaves_as_cryptodev_linux[poll-32-bit]", "no 32-bit caller"),
        ("virt", f"{SHAPES}[afalg-AES-128-CBC-in-place-encrypt]", "other request shape"),
        ("virt", "test_offload.py::test_accelerator_did_the_work[afalg-AES-128-CBC]", "af_alg without accelerators"),
        ("virt", "test_cost.py::test_kernel_log_does_not_grow_with_requests[AES-128-CBC]", "no kernel log"),
        ("ls1046a", "test_throughput.py::test_throughput_is_within_its_bounds[aes-128-cbc-1]", "uncalibrated"),
    ],
)
def test_skip_is_allowed_where_the_board_gives_the_reason(board: str, nodeid: str, reason: SkipReason) -> None:
    assert reason in plan_of(board)[f"tests/{nodeid}"].may_skip


def test_layer_without_software_fallback_may_skip_algorithms_that_the_board_file_does_not_list() -> None:
    board = load_board("virt", ROOT / "boards")
    board = board.model_copy(update={"algorithms": {"SHA1": board.algorithms["SHA1"]}})
    plan = make_plan(gate_of(board), TESTS)
    may_skip = {question.nodeid for question in plan if "no software fallback" in question.may_skip}
    assert "tests/test_aes.py::test_known_answers[cryptodev-AES-128-ECB-MMT-encrypt]" in may_skip
    assert not any("SHA1-" in nodeid or "[openssl-" in nodeid or "[engine-AES" in nodeid for nodeid in may_skip)


def test_boot_may_be_skipped_on_a_unit_without_console_alone() -> None:
    board = load_board("ls1046a", ROOT / "boards")
    plans = [make_plan(gate_of(board, has_console=console), TESTS) for console in (True, False)]
    boot = "tests/test_boot.py::test_image_boots_to_a_login"
    found = [question.may_skip for plan in plans for question in plan if question.nodeid == boot]
    assert found == [(), ("no console",)]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1\ny = (\n", r"SyntaxError: '\(' was never closed \(test_x\.py:2\)"),
        ("import no_such_module\n", r"ModuleNotFoundError: No module named 'no_such_module' \(test_x\.py:1\)"),
        ("import pytest\npytest.skip('no', allow_module_level=True)\n", r"Skipped: no \(test_x\.py:2\)"),
        ("class TestA:\n    def test_a(self): pass\n", "TestA: tests of a board are functions"),
    ],
)
def test_file_that_cannot_be_planned_is_a_lab_error(tmp_path: Path, text: str, error: str) -> None:
    for name in TEST_FILES:
        (tmp_path / name).touch()
    (tmp_path / "test_x.py").write_text(text)
    with pytest.raises(LabError, match=rf"test_x\.py cannot be planned: {error}"):
        make_plan(gate_of(load_board("virt", ROOT / "boards")), tmp_path)


def test_missing_test_file_does_not_shorten_the_plan(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"test_boot\.py cannot be planned: FileNotFoundError"):
        make_plan(gate_of(load_board("virt", ROOT / "boards")), tmp_path)
