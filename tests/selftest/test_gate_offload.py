"""Proofs of offload by size: which sizes, the search for a threshold, and what a failure states."""

from pathlib import Path

import pytest

from fixtures.gate.offload_proofs import (
    AES_BLOCK,
    FEW_OPERATIONS,
    MAX_PROOFS,
    OPERATIONS,
    SizeProof,
    Threshold,
    describe_unproven,
    operations_per_proof,
    proof_sizes,
    search_threshold,
    step_of,
)
from fixtures.lab.board import Board, load_board
from fixtures.stack.witness import Proof

BOARDS = Path(__file__).parents[2] / "boards"


def board_with(tmp_path: Path, text: str) -> Board:
    """Return the board `virt` with changes."""
    (tmp_path / "other.yaml").write_text(f"extends: {BOARDS}/virt.yaml\n{text}")
    return load_board(str(tmp_path / "other.yaml"), BOARDS)


@pytest.mark.parametrize(
    ("algorithm", "change", "sizes"),
    [
        ("AES-128-CBC", "", (16, 1024, 16384, 65536)),
        ("AES-256-CBC", "", (16, 1024, 65536)),
        ("AES-128-CBC", "algorithms: {AES-128-CBC: {offloaded_from: 1}}", (16, 1024, 16384, 65536)),
        ("AES-128-CBC", "algorithms: {AES-128-CBC: {offloaded_from: 1536}}", (1536, 16384, 65536)),
        ("AES-128-CBC", "algorithms: {AES-128-CBC: {offloaded_from: 1537}}", (1552, 16384, 65536)),
        ("AES-128-CBC", "algorithms: {AES-128-CBC: {offloaded_from: 65536}}", (65536,)),
        ("SHA256", "algorithms: {SHA256: {driver: sha256-caam, offloaded_from: 1537}}", (1537, 65536)),
        ("AES-256-CBC", "algorithms: {AES-128-CBC: {offloaded_from: 1536}}", (16, 1024, 65536)),
        (
            "AES-128-CBC",
            "throughput: [{algorithm: aes-128-cbc, processes: 1, uncalibrated: x,"
            " bounds: {1: {floor: 1, ceiling: 2}, 1000: {floor: 1, ceiling: 2}, 1048576: {floor: 1, ceiling: 2}}}]",
            (16, 992, 1024, 65536, 1048576),
        ),
    ],
)
def test_sizes_are_those_of_throughput_from_the_promised_one_on(
    tmp_path: Path, algorithm: str, change: str, sizes: tuple[int, ...]
) -> None:
    assert proof_sizes(board_with(tmp_path, change), algorithm) == sizes


@pytest.mark.parametrize(("algorithm", "step"), [("AES-128-CBC", 16), ("AES-128-CTR", 1), ("SHA1", 1)])
def test_size_of_a_block_mode_is_a_multiple_of_its_block(algorithm: str, step: int) -> None:
    assert step_of(algorithm) == step


@pytest.mark.parametrize(
    ("size", "idle", "operations"),
    [(16, True, FEW_OPERATIONS), (1024, True, OPERATIONS), (65536, True, FEW_OPERATIONS), (65536, False, OPERATIONS)],
)
def test_board_that_is_not_idle_needs_more_operations(size: int, idle: bool, operations: int) -> None:
    assert operations_per_proof(size, idle=idle) == operations


def size_proof(size: int, proven: bool, operation: str = "encrypt") -> SizeProof:
    proof = Proof("interrupts", 5, 5 + 16 * proven, 0.0, 0.1, 16.0 * proven, 16, 8.0, proven)
    return SizeProof("decrypt" if operation == "decrypt" else "encrypt", size, (proof,))


@pytest.mark.parametrize("first", range(32, 65536, 1936))
@pytest.mark.parametrize("software_above", [True, False])
def test_threshold_is_found_to_the_block(first: int, software_above: bool) -> None:
    tried: list[int] = []

    def is_offloaded(size: int) -> bool:
        tried.append(size)
        return (size < first) == software_above

    proofs = [size_proof(size, is_offloaded(size)) for size in (16, 1024, 16384, 65536)]
    tried.clear()
    found = search_threshold(proofs, AES_BLOCK, is_offloaded)
    below, above = (first - 1) // 16 * 16, -(-first // 16) * 16
    expected = (below, above) if software_above else (above, below)
    assert found == Threshold("encrypt", *expected, len(tried))
    assert len(tried) <= MAX_PROOFS and not any(size % AES_BLOCK for size in tried)


def test_search_is_bounded_and_states_what_it_found() -> None:
    found = search_threshold([size_proof(1024, True), size_proof(65536, False)], 1, lambda size: size < 20001)
    assert found and found.proofs == MAX_PROOFS
    assert found.offloaded <= 20000 < 20001 <= found.software and found.software - found.offloaded < 20


@pytest.mark.parametrize("proven", [True, False])
def test_nothing_is_searched_if_all_sizes_are_alike(proven: bool) -> None:
    proofs = [size_proof(size, proven) for size in (16, 1024)]
    assert search_threshold(proofs, AES_BLOCK, lambda _: pytest.fail("a proof was made")) is None


def test_failure_states_sizes_threshold_and_movement() -> None:
    proofs = [size_proof(16, True), size_proof(65536, False), size_proof(16, True, "decrypt")]
    (text,) = describe_unproven("engine", "AES-128-CBC", proofs, [Threshold("encrypt", 4080, 4096, 9)])
    assert text.startswith(
        "offload of AES-128-CBC at layer engine is not proven, to encrypt 65536 bytes: served by the accelerator up to"
        " 4080 bytes, from 4096 bytes on in software. interrupts does not prove offload: it moved by 0 "
    )
    assert text.endswith(". Offload is proven for 16 bytes")


def test_failure_of_small_sizes_names_the_key() -> None:
    proofs = [size_proof(16, False), size_proof(65536, True)]
    (text,) = describe_unproven("cryptodev", "AES-128-CBC", proofs, [Threshold("encrypt", 528, 512, 9)])
    assert ": in software up to 512 bytes, served by the accelerator from 528 bytes on. interrupts does not" in text
    assert text.endswith("set `offloaded_from: 528` under algorithms: AES-128-CBC in the board file")


def test_failure_of_all_sizes_names_no_threshold() -> None:
    (text,) = describe_unproven("engine", "SHA1", [size_proof(16, False), size_proof(1024, False)], [])
    assert "to encrypt 16, 1024 bytes. interrupts does not" in text and "is proven" not in text.split(". ")[-1]
    assert list(describe_unproven("engine", "SHA1", [size_proof(16, True)], [])) == []
