"""Did the accelerator do the work?"""

import pytest

from fixtures.gate.findings import Findings
from fixtures.gate.fixtures_offload import FindThresholds, Prove
from fixtures.gate.offload_proofs import USUAL, describe_unproven, proof_sizes
from fixtures.lab.board import Board
from fixtures.probe.protocol import Layer
from fixtures.vectors.model import operations_of

pytestmark = pytest.mark.board


def test_accelerator_did_the_work(
    offloading: Layer, promised: str, board: Board, prove_offload: Prove, find_thresholds: FindThresholds
) -> None:
    """Layer `engine` is what an application gets from the board's openssl.cnf, without naming an engine."""
    operations = operations_of(promised)  # encryption and decryption may have different drivers
    proofs = prove_offload(offloading, promised, operations, proof_sizes(board, promised))
    thresholds = find_thresholds(offloading, promised, proofs)
    assert Findings(describe_unproven(offloading, promised, proofs, thresholds)) == []


def test_witness_does_not_move_for_software(promised: str, prove_offload: Prove) -> None:
    """A counter that moves without the accelerator proves nothing."""
    moved = Findings(
        f"{proof.name} moved although OpenSSL did {promised} in software, so it is no witness: {proof}"
        for size in prove_offload("openssl", promised, operations_of(promised)[:1], [USUAL])
        for proof in size.witnesses
        if proof.proven
    )
    assert moved == []
