"""Did the accelerator do the work?"""

from collections.abc import Callable

from fixtures.outcome import ProductError
from fixtures.probe.protocol import Layer
from fixtures.stack.witness import Proof

Proofs = Callable[[Layer, str], list[Proof]]


def test_the_accelerator_did_the_work(promised: str, proofs: Proofs) -> None:
    """As an application gets it: OpenSSL set up by the board's own openssl.cnf, and nobody naming an engine."""
    for proof in proofs("engine", promised):
        if not proof.proven:
            raise ProductError(f"offload of {promised} is not proven: {proof}")


def test_the_witness_keeps_still_while_software_works(promised: str, proofs: Proofs) -> None:
    """A counter that moves anyway would prove nothing."""
    for proof in proofs("openssl", promised):
        if proof.proven:
            raise ProductError(
                f"{proof.name} moved although OpenSSL did {promised} in software, so it is no witness: {proof}"
            )
