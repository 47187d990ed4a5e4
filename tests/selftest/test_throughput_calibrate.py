"""Calibration: the derived bounds, the YAML to paste, and the runs that give no bounds."""

import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from run_records import complete

from fixtures.gate.calibration import format_calibration
from fixtures.lab.board import Bounds, Throughput, load_board
from fixtures.outcome import ProductError, UsageError
from fixtures.record.record import RunRecord, read_record
from fixtures.record.summary import summarise
from fixtures.record.verdict import decide
from fixtures.throughput.bounds import check_bounds
from fixtures.throughput.calibrate import Calibration, derive_bounds, format_yaml
from fixtures.throughput.openssl_speed import Measurement

BOARDS = Path(__file__).parents[2] / "boards"
STEADY = (50e6, 51e6, 49e6, 50e6, 50.5e6, 49.5e6, 50e6, 50e6, 51e6, 49e6)
NOISY = (0.1e6, 2e6, 0.9e6, 0.8e6, 1.1e6, 1.0e6, 0.7e6, 1.2e6, 1.0e6, 0.9e6)


def measurement(*samples: float, block: int = 16384, processes: int = 1) -> Measurement:
    return Measurement(
        "engine", "aes-128-cbc", block, processes, samples, statistics.median(samples), min(samples), max(samples), 0.1
    )


@pytest.mark.parametrize("samples", [STEADY, NOISY, (3e3, 3e3, 3e3), (1.04e9, 1.05e9, 1.06e9)])
@pytest.mark.parametrize("software", [2e3, 44e6, 900e6, 3e9])
def test_bounds_accept_every_run_they_are_derived_from(samples: tuple[float, ...], software: float) -> None:
    found = derive_bounds(measurement(*samples), software)
    assert found.floor <= 0.9 * min(samples)
    assert found.floor >= 0.4 * min(samples)
    assert found.ceiling >= 1.1 * max(samples)
    for sample in samples:
        board_bounds = Bounds(floor=found.floor, ceiling=found.ceiling)
        assert check_bounds(measurement(sample), board_bounds) is None
        assert check_bounds(measurement(min(samples) * 0.4), board_bounds) is not None


@pytest.mark.parametrize("rate", [1e-15, 0.4, 5e12, 1e13])
def test_rates_of_no_board_give_no_bounds(rate: float) -> None:
    with pytest.raises(ProductError, match="blocks of 16384 bytes: the rates give a floor of"):
        derive_bounds(measurement(rate, rate, rate), rate)


def test_one_slow_run_lowers_the_floor_and_not_the_ceiling() -> None:
    steady = derive_bounds(measurement(*STEADY), 1e6)
    assert (steady.floor, steady.ceiling) == (4.4e7, 5.7e7)
    with_slow_run = derive_bounds(measurement(*STEADY[:-1], 20e6), 1e6)
    assert with_slow_run.ceiling == 5.7e7
    assert with_slow_run.floor == 1.8e7  # a rate that a healthy unit showed is accepted


def test_ceiling_lies_between_offload_and_faster_software() -> None:
    found = derive_bounds(measurement(*STEADY), 1000e6)
    assert found.ceiling == pytest.approx((5.7e7 * 1e9) ** 0.5, rel=0.03)
    assert found.excludes_software
    assert "within these bounds" not in found.comments[1]


def test_bounds_that_include_software_carry_a_warning() -> None:
    found = derive_bounds(measurement(*STEADY), 52e6)
    assert not found.excludes_software
    assert found.comments[1] == "software 52 MB/s, within these bounds: only witnesses distinguish it from offload"


def load_throughput(text: str, folder: Path) -> tuple[Throughput, ...]:
    """Return the throughput of a board file that extends `virt` by this text."""
    (folder / "here.yaml").write_text(f"extends: {BOARDS}/virt.yaml\n{text}")
    return load_board(str(folder / "here.yaml"), BOARDS).throughput


def test_yaml_can_be_pasted_into_a_board_file(tmp_path: Path) -> None:
    calibrations = [
        derive_bounds(measurement(*NOISY, block=block, processes=processes), 44e6)
        for processes in (1, 2)
        for block in (1024, 16384)
    ]
    text = format_yaml(calibrations, 'today on virt/0, image "x": y # z')
    one, two = load_throughput(text, tmp_path)
    assert (one.algorithm, one.processes, two.processes, list(two.bounds)) == ("aes-128-cbc", 1, 2, [1024, 16384])
    assert one.calibrated == two.calibrated == 'today on virt/0, image "x": y # z'
    assert one.bounds[1024].floor == calibrations[0].floor
    assert one.bounds[1024].ceiling == calibrations[0].ceiling
    assert "median 0.95 MB/s, 0.1 MB/s to 2 MB/s in 10 runs" in text
    with pytest.raises(UsageError, match="processes: missing"):
        load_throughput(text.replace("    processes: 2\n", ""), tmp_path)


def calibration_output(
    folder: Path, *, proven: bool | None = True, outcome: str = "passed", promised: bool = True
) -> str:
    """Return what --calibrate prints at the end of a run; `proven` None: no witness was read."""
    with RunRecord.create(folder, "virt", version="0", unit="virt/0", image="x") as record:
        record.write("test", nodeid="tests/test_boot.py::t", outcome=outcome, seconds=1.0, reason="broken")
        record.write("test", nodeid="tests/test_boot.py::u", outcome="passed", seconds=1.0, reason="")
        record.write("algorithm", algorithm="AES-128-CBC", kernel="cbc(aes)", driver="d", promised=promised)
        fields: dict[str, Any] = {"test": "t", "algorithm": "AES-128-CBC", "name": "n", "operations": 1, "before": 0}
        record.write("witness", layer="openssl", after=0, proven=False, **fields)
        if proven is not None:
            record.write("witness", layer="engine", after=1, proven=proven, **fields)
        record.write("calibration", **asdict(derive_bounds(measurement(*STEADY), 1e6)))
    return shown_by(record)


def shown_by(record: RunRecord) -> str:
    """Return what --calibrate prints of a run that ran to its end with these lines: all but the checks of bounds."""
    records = complete(read_record(record.folder))
    records[0]["questions"].append("tests/test_throughput.py::test_throughput_is_within_its_bounds[aes-128-cbc-1]")
    assert decide(records).outcome != "good"
    return format_calibration(records, summarise(records, record.folder, decide(records)))


def test_healthy_run_ends_with_bounds(tmp_path: Path) -> None:
    text = calibration_output(tmp_path)
    intro, _, pasted = text.partition("\n\n")
    assert intro == "--calibrate: replace `throughput` in the board file by:"
    (entry,) = load_throughput(pasted, tmp_path)
    assert entry.bounds[16384].floor == 4.4e7
    assert entry.calibrated
    assert "on virt/0, image x, 10 runs of 1 s" in entry.calibrated


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"proven": False}, "offload of AES-128-CBC was not proven in this run"),
        ({"proven": None}, "offload of AES-128-CBC was not proven in this run"),
        ({"outcome": "failed"}, "the rest of this run is not good, but bad: tests/test_boot.py::t: broken"),
        ({"outcome": "error"}, "the rest of this run is not good, but lab: lab: tests/test_boot.py::t: broken"),
    ],
)
def test_run_that_is_not_healthy_gives_no_bounds(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    text = calibration_output(tmp_path, **how)
    assert text.startswith("--calibrate: no bounds to paste")
    assert why in text
    assert "floor" not in text


def test_algorithm_without_a_promise_needs_no_proof(tmp_path: Path) -> None:
    assert "floor: 4.4e+07" in calibration_output(tmp_path, proven=None, promised=False)


def test_run_without_measurements_gives_no_bounds(tmp_path: Path) -> None:
    with RunRecord.create(tmp_path, "virt", version="0") as record:
        record.write("test", nodeid="t", outcome="passed", seconds=1.0, reason="")
    assert "- nothing was measured" in shown_by(record)


def test_calibration_survives_the_record(tmp_path: Path) -> None:
    found = derive_bounds(measurement(*STEADY), 1e6)
    with RunRecord.create(tmp_path, "virt", version="0") as record:
        record.write("calibration", **asdict(found))
    line = read_record(record.folder)[-1]
    assert Calibration(**{name: line[name] for name in asdict(found)}) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibrate"], "--calibrate measures a unit: add --board NAME"),
        (
            ["--board", "virt", "--calibrate", "tests/test_throughput.py"],
            "--calibrate: test_throughput.py does not run with it",
        ),
        (["--board", "virt", "tests/test_calibrate.py"], "--calibrate: test_calibrate.py runs with it alone"),
        (["--board", "{here}/none.yaml", "--calibrate"], "--calibrate: board none lists no throughput; write the"),
    ],
)
def test_calibration_of_nothing_is_a_usage_error(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text(f"extends: {BOARDS}/virt.yaml\nthroughput: []\n")
    command = [sys.executable, "-m", "pytest", *(argument.format(here=tmp_path) for argument in arguments)]
    done = subprocess.run(command, cwd=BOARDS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert message in done.stdout + done.stderr


def test_calibrate_replaces_the_throughput_tests() -> None:
    for arguments, selected in (([], "tests/test_throughput.py"), (["--calibrate"], "tests/test_calibrate.py")):
        command = [sys.executable, "-m", "pytest", "--board", "virt", "--collect-only", "-q", *arguments]
        done = subprocess.run(command, cwd=BOARDS.parent, capture_output=True, text=True, check=True)
        files = {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line}
        assert files & {"tests/test_throughput.py", "tests/test_calibrate.py"} == {selected}
        assert "tests/test_offload.py" in files
