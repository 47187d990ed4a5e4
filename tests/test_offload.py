"""Did the accelerator do the work?"""

import pytest

from fixtures.gate.findings import Findings
from fixtures.gate.fixtures_offload import Prove
from fixtures.probe.protocol import Layer
from fixtures.vectors.model import operations_of

pytestmark = pytest.mark.board


def test_accelerator_did_the_work(offloading: Layer, promised: str, prove_offload: Prove) -> None:
    """Layer `engine` is what an application gets from the board's openssl.cnf, without naming an engine."""
    for operation in operations_of(promised):  # encryption and decryption may have different drivers
        unproven = Findings(
            f"offload of {promised} at layer {offloading} is not proven, to {operation}: {proof}"
            for proof in prove_offload(offloading, promised, operation)
            if not proof.proven
        )
        assert unproven == []


def test_witness_does_not_move_for_software(promised: str, prove_offload: Prove) -> None:
    """A counter that moves without the accelerator proves nothing."""
    moved = Findings(
        f"{proof.name} moved although OpenSSL did {promised} in software, so it is no witness: {proof}"
        for proof in prove_offload("openssl", promised, operations_of(promised)[0])
        if proof.proven
    )
    assert moved == []
