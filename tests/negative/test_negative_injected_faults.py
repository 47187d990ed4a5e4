"""An injected fault fails the tests that concern it, for the right reason, and no others."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from gate_run import ROOT, UNIT, run_gate, unit_of, unit_with
from one_flipped_bit import GROUP, INDEX, flip_bit

from fixtures.lab.board import load_board
from fixtures.vectors import sources
from fixtures.virt.faults import FAULTS

BOARD = load_board("virt", ROOT / "boards")
DIGESTS = ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512")
PROMISED = [name for name, algorithm in BOARD.algorithms.items() if algorithm.driver]


def _offload_tests(*layers: str, algorithms: Sequence[str] = PROMISED) -> set[str]:
    """Return the node ids of the offload tests of algorithms at these layers; of all that `virt` promises."""
    test = "test_offload.py::test_accelerator_did_the_work"
    return {f"{test}[{layer}-{name}]" for layer in layers for name in algorithms}


def test_right_answers_from_software_do_not_prove_offload() -> None:
    """The whole gate runs: only the offload tests of the layer `engine` fail, for root and for the other user."""
    run = run_gate("--board", UNIT, "--fault", "engine/offers-nothing")
    assert run.exit_status == 1, run.text
    failed = run.tests("failed")
    user = "test_environments.py::test_user_gets_the_accelerator[nobody]"
    assert set(failed) == {*_offload_tests("engine"), user} and not run.tests("error"), run.text
    assert len(run.tests("passed")) > 200, run.text
    for name in PROMISED:
        reason = failed[f"test_offload.py::test_accelerator_did_the_work[engine-{name}]"]
        assert reason.startswith(f"offload of {name} at layer engine is not proven, to encrypt 16, 1024, ")
    vectors = run.records_of("vectors")
    assert {line["layer"] for line in vectors} == set(BOARD.layers) and not any(line["failed"] for line in vectors)
    assert {
        line["algorithm"]: line["proven"] for line in run.records_of("witness") if line["layer"] == "engine"
    } == dict.fromkeys(PROMISED, False)
    assert (run.verdict["outcome"], run.verdict["exit_status"]) == ("bad", 1)


def test_one_flipped_bit_in_an_expected_answer_is_shown_in_full() -> None:
    run = run_gate(
        "--board", UNIT, "-p", "one_flipped_bit", "tests/test_aes.py", "-k", "AES-128-CBC and not Var",
        environment={"PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert run.exit_status == 1, run.text
    group = next(group for group in sources.aes().groups if group.id == GROUP)
    vector, source = group.vectors[INDEX], f"{group.source}:{group.vectors[INDEX].line}"
    failed = run.tests("failed")
    assert set(failed) == {f"test_aes.py::test_known_answers[{layer}-{GROUP}]" for layer in BOARD.layers}
    for layer in BOARD.layers:
        first, *rest = failed[f"test_aes.py::test_known_answers[{layer}-{GROUP}]"].splitlines()
        assert first.startswith(f"1 of {len(group.vectors)} answers wrong: {GROUP} at layer {layer}, served by ")
        assert rest == [
            f"{vector.label}, {source}",
            f"  key      {vector.key.hex()}",
            f"  iv       {vector.iv.hex()}",
            f"  input    {vector.input.hex()}",
            f"  expected {flip_bit(vector.output).hex()}",
            f"  found    {vector.output.hex()}",
        ]
    assert [line["failed"] for line in run.records_of("vectors") if line["group"] == GROUP] == [1] * len(BOARD.layers)
    assert sum(line["failed"] for line in run.records_of("vectors")) == len(BOARD.layers)


def test_unresolved_import_of_the_engine_is_named() -> None:
    files = [f"tests/test_{name}.py" for name in ("stack", "symbols", "offload")]
    run = run_gate("--board", UNIT, "--fault", "engine/import-missing", *files)
    assert run.exit_status == 1, run.text
    failed = run.tests("failed")
    symbols = ("test_every_symbol_of_the_engine_resolves", "test_engine_loads_with_immediate_binding")
    assert set(failed) == (
        {f"test_symbols.py::{test}" for test in (*symbols, "test_openssl_starts_without_complaint")}
        | {"test_stack.py::test_engine_is_listed"}
        | {f"test_stack.py::test_engine_offers_algorithm[{name}]" for name in BOARD.algorithms}
        | {f"test_stack.py::test_promised_driver_serves_algorithm[{name}]" for name in PROMISED}
        | _offload_tests("engine", "engine-explicit")
    ), run.text
    for test in symbols:
        assert "ERR_set_debuX" in failed[f"test_symbols.py::{test}"].splitlines()[0]
    assert "ERR_set_debuX" in run.verdict["why"][0], run.verdict["why"]


def test_engine_with_its_own_default_settings_offloads_no_digest() -> None:
    """CAAM's driver registers digests without KERN_DRIVER_ONLY: to the engine, they are software (ls1046a.yaml)."""
    unit = unit_with("caam")
    files = ["tests/test_offload.py", "-k", f"accelerator and ({' or '.join(DIGESTS)} or AES-128)"]
    run = run_gate("--board", unit, "--fault", "engine/refuses-soft-drivers", *files, unit=unit)
    assert run.exit_status == 1, run.text
    assert set(run.tests("failed")) == _offload_tests("engine", algorithms=DIGESTS), run.text
    proven = {(line["layer"], line["algorithm"]) for line in run.records_of("witness") if line["proven"]}
    assert {("engine", f"AES-128-{mode}") for mode in ("CBC", "ECB", "CTR")} <= proven
    assert {("engine-explicit", digest) for digest in DIGESTS} <= proven, "the gate itself sends the settings there"
    assert run.verdict["culprit"] == "engine"


def test_missing_module_ends_the_run() -> None:
    """The whole gate is started, and ends with the first test that needs the module."""
    run = run_gate("--board", UNIT, "--fault", "cryptodev/absent")
    assert run.exit_status == 1, run.text
    ((test, reason),) = run.tests("failed").items()
    assert test == "test_stack.py::test_cryptodev_is_loaded"
    assert (
        reason.startswith("modprobe cryptodev failed with exit status 1: ") and "cryptodev.ko" in reason.splitlines()[0]
    )
    assert {name.partition("::")[0] for name in run.tests("passed")} == {"test_boot.py", "test_openssl.py"}
    assert not run.tests("error")
    assert "the board cannot be used: the run ends" in run.text


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.healthy])
def test_unusual_healthy_board_is_good(name: str) -> None:
    """The promised driver is named at the kernel layers, whatever other algorithms that driver allocates."""
    files = [f"tests/test_{stem}.py" for stem in ("stack", "aes", "offload")]
    unit = unit_of(FAULTS[name])
    run = run_gate("--board", unit, "--fault", name, *files, "-k", "not (VarKey or VarTxt)")
    assert run.is_healthy, run.text
    board = load_board(unit.partition("/")[0], ROOT / "boards")
    promised = [name for name, algorithm in board.algorithms.items() if algorithm.driver]
    served = {
        (line["layer"], line["algorithm"]): line["driver"].partition(" (")[0]  # without the flag of the driver
        for kind in ("vectors", "witness")
        for line in run.records_of(kind)
        if line["layer"] in ("cryptodev", "afalg") and line["algorithm"] in promised
    }
    assert served == {
        (layer, algorithm): board.algorithms[algorithm].driver
        for layer in ("cryptodev", "afalg")
        for algorithm in promised
    }


def test_promised_driver_is_named_when_several_are_in_use(tmp_path: Path) -> None:
    """The promise is the driver's software fallback; without a promise, the highest priority counts."""
    board = tmp_path / "fallback.yaml"
    board.write_text(
        "extends: virt\nlayers: [openssl, afalg]\nalgorithms:\n"
        "  AES-128-CBC: {kernel: cbc(aes), driver: cbc(aes-generic)}\n"
        "  AES-192-CBC: {kernel: cbc(aes), driver: null}\n"
    )
    files = ("tests/test_aes.py", "-k", "afalg and (128-CBC or 192-CBC) and MMT")
    run = run_gate("--board", board, "--fault", "driver/software-fallback", *files, unit="fallback/0")
    assert run.is_healthy, run.text
    assert {line["algorithm"]: line["driver"] for line in run.records_of("vectors")} == {
        "AES-128-CBC": "cbc(aes-generic)",
        "AES-192-CBC": "virtio_crypto_aes_cbc",
    }


def test_threshold_that_the_board_file_states_is_no_failure(tmp_path: Path) -> None:
    """One boot: an engine that leaves less than 4 KiB to software, as the board file states for one key size."""
    board = tmp_path / "threshold.yaml"
    board.write_text("extends: virt\nalgorithms: {AES-128-CBC: {offloaded_from: 4096}}\n")
    fault = ("--fault", "engine/software-below-4-kib")
    run = run_gate("--board", board, *fault, "tests/test_offload.py", unit="threshold/0")
    assert run.exit_status == 1, run.text
    failed = run.tests("failed")
    assert set(failed) == _offload_tests("engine", "engine-explicit", algorithms=PROMISED[1:]), run.text
    for reason in failed.values():
        assert "in software up to 4080 bytes, served by the accelerator from 4096 bytes on" in reason
        assert "set `offloaded_from: 4096` under algorithms: AES-" in reason
    assert {(line["offloaded"], line["software"]) for line in run.records_of("threshold")} == {(4096, 4080)}
    assert (run.verdict["culprit"], run.verdict["confidence"]) == ("engine", "likely")


def test_throughput_out_of_bounds_fails(tmp_path: Path) -> None:
    """One boot: an unreachable floor, a ceiling below any machine, and bounds that hold."""
    bounds = {
        "aes-128-cbc": "{floor: 1.0e+12, ceiling: 1.0e+13}",
        "aes-192-cbc": "{floor: 1, ceiling: 1000}",
        "aes-256-cbc": "{floor: 1, ceiling: 1.0e+13}",
    }
    board = tmp_path / "bounded.yaml"
    board.write_text(
        "extends: virt\nthroughput:\n"
        + "".join(
            f"  - {{algorithm: {name}, processes: 1, calibrated: by this test, bounds: {{16384: {pair}}}}}\n"
            for name, pair in bounds.items()
        )
    )
    run = run_gate("--board", board, "tests/test_throughput.py", unit="bounded/0")
    assert run.exit_status == 1, run.text
    test = "test_throughput.py::test_throughput_is_within_its_bounds"
    failed = run.tests("failed")
    assert set(failed) == {f"{test}[aes-128-cbc-1]", f"{test}[aes-192-cbc-1]"}, run.text
    assert " is below the floor of 1000000 MB/s: aes-128-cbc at layer engine" in failed[f"{test}[aes-128-cbc-1]"]
    assert " is above the ceiling of 0.001 MB/s: aes-192-cbc at layer engine" in failed[f"{test}[aes-192-cbc-1]"]
    assert [name for name in run.tests("passed") if name.startswith(test)] == [f"{test}[aes-256-cbc-1]"]
