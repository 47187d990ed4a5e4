"""Questions about sizes: which algorithms and layers get them, the seed of a run, and wrong lengths at other layers."""

from pathlib import Path

import pytest
from gate_run import ROOT
from host_board import HostBoard

from fixtures.gate.findings import Findings
from fixtures.gate.fixtures_answers import GroupResult
from fixtures.gate.fixtures_sizes import run_and_compare
from fixtures.gate.plan import takes
from fixtures.gate.size_questions import SizeQuestion, choose_algorithms, size_questions
from fixtures.gate.skips import skip
from fixtures.lab.board import Algorithm, Board, load_board
from fixtures.layers import Layer
from fixtures.outcome import ProductError
from fixtures.probe.wire import Answer
from fixtures.stack.kernel_memory import available_memory
from fixtures.vectors.model import Vector, VectorGroup
from fixtures.vectors.sizes import AEAD, MAX_AGAIN, lengths_of, wrong_lengths

pytest_plugins = ["host_board"]

SEED = 17


def board_with(**algorithms: bool) -> Board:
    """Return a board with these algorithms, in their order; True: with a promised driver. `_` stands for a dash."""
    known = {
        name.replace("_", "-"): Algorithm(kernel="any", driver="any-caam" if promised else None)
        for name, promised in algorithms.items()
    }
    return load_board("virt", ROOT / "boards").model_copy(update={"algorithms": known})


@pytest.mark.parametrize(
    ("algorithms", "chosen"),
    [
        ({"AES_128_CBC": True, "AES_128_CTR": False, "SHA1": False}, ["AES-128-CBC", "SHA1"]),
        (
            {"AES_128_CBC": False, "AES_128_CTR": True, "SHA1": False, "SHA256": True},
            ["AES-128-CTR", "SHA256", "AES-128-CBC"],
        ),
        ({"AES_128_CBC": True, "SHA1": True}, ["AES-128-CBC", "SHA1"]),
        ({"SHA512": False}, ["SHA512"]),
        ({"DES_EDE3_CBC": True, "SHA1": True}, ["SHA1"]),
    ],
    ids=["one promised", "both promised", "all promised", "digest alone", "unknown cipher"],
)  # fmt: skip
def test_promised_algorithms_come_first(algorithms: dict[str, bool], chosen: list[str]) -> None:
    assert choose_algorithms(board_with(**algorithms)) == chosen


def test_layers_have_the_same_vectors_under_the_same_name() -> None:
    questions = size_questions(load_board("virt", ROOT / "boards"), SEED)
    groups: dict[str, VectorGroup] = {}
    for question in questions.values():
        assert groups.setdefault(question.group.id, question.group) == question.group
    assert {question.layer for question in questions.values() if question.group.algorithm == AEAD} == {
        "cryptodev",
        "afalg",
    }
    large = {question.layer for question in questions.values() if "-large-sizes-encrypt" in question.group.id}
    assert large == {"openssl", "engine", "engine-explicit", "cryptodev"}


def test_only_windows_have_other_layers_to_compare() -> None:
    questions = size_questions(load_board("virt", ROOT / "boards"), SEED).values()
    for question in questions:
        assert bool(question.others) == ("-window-sizes-at-" in question.group.id)
        assert question.layer not in question.others
    (cbc,) = [each for each in questions if each.layer == "afalg" and "CBC-window" in each.group.id]
    assert cbc.others == ("openssl", "engine", "engine-explicit", "cryptodev")


def test_groups_are_taken_where_they_have_their_shape() -> None:
    board = load_board("virt", ROOT / "boards")
    for question in size_questions(board, SEED).values():
        assert takes(board, question.layer, question.group)
    large = question_about("engine", "large").group
    in_pieces = question_about("afalg", "large").group
    assert {layer for layer in board.layers if takes(board, layer, large)} == {*board.layers} - {"afalg"}
    assert [layer for layer in board.layers if takes(board, layer, in_pieces)] == ["afalg"]
    sealed = next(each.group for each in size_questions(board, SEED).values() if each.group.algorithm == AEAD)
    assert [layer for layer in board.layers if takes(board, layer, sealed)] == ["cryptodev", "afalg"]


class FakeLayers:
    """Layers that are wrong for some lengths, or that give no answer."""

    def __init__(self, wrong: dict[Layer, set[int]], silent: dict[Layer, BaseException] | None = None) -> None:
        """:param wrong: layer -> lengths. :param silent: layer -> what running a group there raises."""
        self._wrong, self._silent = wrong, silent or {}
        self.runs: list[tuple[Layer, str, list[int]]] = []

    def run_group(self, layer: Layer, group: VectorGroup) -> GroupResult:
        """Return the result of a group, as the fixture `run_group` does."""
        self.runs.append((layer, group.id, [length for vector in group.vectors for length in lengths_of(vector)]))
        if layer in self._silent:
            raise self._silent[layer]
        pairs = [(vector, Answer(self._answer(layer, vector), "")) for vector in group.vectors]
        return GroupResult(Findings([pair for pair in pairs if wrong_lengths(pair[0], pair[1].output)]), 0.1, "any")

    def _answer(self, layer: Layer, vector: Vector) -> bytes:
        wrong = [length in self._wrong.get(layer, ()) for length in lengths_of(vector)]
        return b"".join(
            b"\0\0\0\0" if is_wrong else vector.output[4 * at : 4 * at + 4] for at, is_wrong in enumerate(wrong)
        )


def question_about(layer: Layer, kind: str = "window") -> SizeQuestion:
    questions = size_questions(load_board("virt", ROOT / "boards"), SEED).values()
    return next(each for each in questions if each.layer == layer and f"AES-128-CBC-{kind}" in each.group.id)


def test_wrong_lengths_of_one_layer_are_run_at_each_layer() -> None:
    question = question_about("cryptodev")
    bad = {length for vector in question.group.vectors for length in lengths_of(vector) if 20000 <= length < 20400}
    layers = FakeLayers({"cryptodev": bad, "afalg": bad, "engine": bad})
    result = run_and_compare(layers.run_group, question)
    assert result.mismatches
    again = [run for run in layers.runs if run[1] == "AES-128-CBC-window-sizes-at-cryptodev-again-encrypt"]
    assert [layer for layer, _, _ in again] == ["cryptodev", "openssl", "engine", "engine-explicit", "afalg"]
    assert all(set(lengths) == bad for _, _, lengths in again)
    shown = result.mismatches.text.splitlines()[-5:]
    assert [line.partition(": ")[0].strip() for line in shown] == [f"at {layer}" for layer, _, _ in again]
    assert shown[1] == "  at openssl: right"
    assert shown[4].startswith("  at afalg: wrong: ")


def test_lengths_that_are_run_again_are_bounded() -> None:
    layers = FakeLayers({"engine": set(range(65536))})
    run_and_compare(layers.run_group, question_about("engine"))
    assert {len(lengths) for _, group, lengths in layers.runs if "-again" in group} == {MAX_AGAIN}


def test_layer_without_an_answer_does_not_hide_the_failure() -> None:
    with pytest.raises(pytest.skip.Exception) as skipped:
        skip("missing algorithm", "not there")
    silent: dict[Layer, BaseException] = {"afalg": ProductError("no socket\nmore"), "engine": skipped.value}
    layers = FakeLayers({"cryptodev": set(range(65536))}, silent)
    text = run_and_compare(layers.run_group, question_about("cryptodev")).mismatches.text
    assert "  at afalg: not answered: no socket\n" in f"{text}\n"
    assert "  at engine: not answered: not there\n" in text


@pytest.mark.parametrize("kind", ["packet", "window"])
def test_right_answers_and_shared_groups_are_run_once(kind: str) -> None:
    layers = FakeLayers({} if kind == "window" else {"engine": {1408}})
    run_and_compare(layers.run_group, question_about("engine", kind))
    assert len(layers.runs) == 1


class FakeShell:
    """Shell of a board with this /proc/meminfo."""

    def __init__(self, text: str) -> None:
        """Keep the text."""
        self.text = text

    def run(self, _command: str) -> "FakeShell":
        """Return the text, as the output of a command."""
        return self


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("MemFree:          1000 kB\nMemAvailable:     3000 kB\n", 3000 * 1024),
        ("MemFree:          1000 kB\n", 1000 * 1024),
        ("MemAvailable: " + "9" * 30 + " kB\n", None),
        ("grep: /proc/meminfo: No such file or directory\n", None),
    ],
    ids=["available", "free", "too large", "none"],
)
def test_available_memory_is_read_from_the_board(text: str, memory: int | None) -> None:
    assert available_memory(FakeShell(text)) == memory  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", ["x", "-1", "4294967296", "1.5", "99999999999999999999"])
def test_seed_that_is_no_number_is_a_usage_error(host: HostBoard, seed: str) -> None:
    run = host.run_gate("--seed", seed, "--collect-only")
    assert run.exit_status == 4
    assert "expected a number from 0 to 4294967295" in run.text


SIZES = ROOT / "tests/test_sizes.py"


def test_seed_is_recorded_and_shown(host: HostBoard) -> None:
    run = host.run_gate("--seed", "4711", SIZES)
    assert len(list(run.tests("passed"))) == 6, run.text
    assert {line["seed"] for line in run.records_of("run")} == {4711}
    assert "repeat with --seed 4711" in run.text


def test_workers_have_the_seed_of_their_controller(host: HostBoard) -> None:
    run = host.run_gate("-n", "1", SIZES)
    assert len(list(run.tests("passed"))) == 6, run.text
    assert len({line["seed"] for line in run.records_of("run")}) == 1


def test_each_run_has_another_seed(host: HostBoard) -> None:
    seeds = [host.run_gate(SIZES, "-k", "SHA1-packet").records_of("run")[0]["seed"] for _ in range(2)]
    assert seeds[0] != seeds[1]


PLUGIN = """
from fixtures.gate import fixtures_answers

fixtures_answers.available_memory = lambda _shell: 16 << 20
"""


def test_messages_too_long_for_the_memory_are_left_out_and_recorded(host: HostBoard, tmp_path: Path) -> None:
    (tmp_path / "small_memory.py").write_text(PLUGIN)
    run = host.run_gate("-p", "small_memory", SIZES, "-k", "large", environment={"PYTHONPATH": str(tmp_path)})
    assert {(line["group"], line["total"]) for line in run.records_of("vectors")} == {
        ("AES-128-CBC-large-sizes-encrypt", 2),
        ("SHA1-large-sizes", 2),
    }
    left = [line for line in run.records_of("refused") if line["source"] == "fixtures/vectors/sizes.py"]
    assert [line["total"] for line in left] == [2, 2]
    assert all("longer than 1/8 of the board's available memory, 16777216 bytes" in line["why"] for line in left)
