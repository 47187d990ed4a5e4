"""The fuzzers find what they shall find, and inputs that they once found are refused as they must be."""

import time
import zlib
from collections.abc import Callable
from pathlib import Path

import campaign
import pytest
from campaign import MAX_MEMORY, Finding, Target, call, fuzz, reduce
from fuzz import all_targets, format_findings, format_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import MAX_SIZE, mutated_binary, mutated_text

FOUND = Path(__file__).parents[1] / "fuzz/found"
SEED = b"size: 17\nname: caam\n"


def read_size(data: bytes) -> int:
    """Parse "size: NUMBER" correctly. :raises ValueError: it is something else."""
    name, _, value = data.partition(b":")
    words = value.split()
    if name != b"size" or not words or not words[0].isdigit() or len(words[0]) > 19:
        raise ValueError(name)
    return int(words[0])


def correct(data: bytes) -> str:
    """Parse a number, and find nothing wrong."""
    return "" if read_size(data) >= 0 else "negative"


def without_check(data: bytes) -> str:
    """Parse a number with a traceback if it is none."""
    return "" * int(data.split()[1])


def endless(data: bytes) -> str:
    """Take too long for a number that is not the seed's."""
    while read_size(data) != 17:
        pass
    return ""


def allocating(data: bytes) -> str:
    """Allocate as many bytes as a number says."""
    return "" if bytearray(4 * MAX_MEMORY if read_size(data) > MAX_MEMORY else 1) else "nothing"


def accepting(data: bytes) -> str:
    """Accept a negative number."""
    return "a negative size" if b"-1" in data else ""


def target(run: Callable[[bytes], str], *allowed: type[Exception]) -> Target:
    return Target("toy", lambda: mutated_text([SEED]), run, allowed)


@pytest.mark.parametrize(
    ("run", "allowed", "kinds"),
    [
        (correct, (ValueError,), set()),
        (without_check, (IndexError,), {"traceback"}),
        (endless, (ValueError,), {"hang"}),
        (allocating, (ValueError,), {"traceback"}),
        (accepting, (), {"nonsense"}),
    ],
)
def test_defect_of_each_kind_is_found(
    run: Callable[[bytes], str],
    allowed: tuple[type[Exception], ...],
    kinds: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(campaign, "CALL_TIMEOUT", 0.2)
    result = fuzz(target(run, *allowed), 3.0, tmp_path)
    assert {found.kind for found in result.findings.values()} == kinds
    assert result.inputs > 10


def test_inputs_of_earlier_runs_come_first(tmp_path: Path) -> None:
    found = fuzz(target(accepting), 1.0, tmp_path).findings["a negative size"]
    again: list[bytes] = []

    def record(data: bytes) -> str:
        again.append(data)
        return accepting(data)

    fuzz(target(record), 2.0, tmp_path)
    assert found.kind == "nonsense" and accepting(again[0])


def test_two_runs_try_the_same_inputs(tmp_path: Path) -> None:
    first, second = (inputs_of_a_run(tmp_path / name) for name in ("first", "second"))
    shared = min(len(first), len(second))
    assert shared > 10 and first[:shared] == second[:shared]


def inputs_of_a_run(database: Path) -> list[bytes]:
    inputs: list[bytes] = []

    def record(data: bytes) -> str:
        inputs.append(data)
        return ""

    fuzz(target(record), 2.0, database)
    return inputs


def test_example_is_reduced_to_what_the_defect_needs() -> None:
    found = Finding("nonsense", "a negative size", b"size: 17 and -1 and more")
    reduce(target(accepting), found, time.monotonic() + 10)
    assert found.example == b"-1"


def test_figures_and_examples_are_shown(tmp_path: Path) -> None:
    result = fuzz(target(accepting), 0.5, tmp_path)
    assert format_table([result]).splitlines()[1].split() == ["toy", str(result.inputs), "0", "0", "1"]
    assert "a negative size\ninput: b'-1'" in format_findings(result)


@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None, database=None)
@given(st.one_of(mutated_text([SEED, b""]), mutated_binary([SEED, b""])))
def test_mutated_inputs_are_bounded(data: bytes) -> None:
    assert len(data) <= MAX_SIZE


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_input_that_was_found_is_handled(path: Path) -> None:
    """The name of a file begins with the exception that refuses the input, or with `accepted`."""
    data = zlib.decompress(path.read_bytes()) if path.suffix == ".zlib" else path.read_bytes()
    parser = all_targets()[path.parent.name]
    assert call(parser, data) is None
    try:
        parser.run(data)
        outcome = "accepted"
    except parser.allowed as error:
        outcome = type(error).__name__
    assert outcome == path.name.partition("-")[0]
