"""Did the accelerator do the work?"""

from collections.abc import Callable

from fixtures.outcome import ProductError
from fixtures.probe.protocol import Layer
from fixtures.stack.witness import Proof
from fixtures.vectors.model import Operation, operations_of

Proofs = Callable[[Layer, str, Operation], list[Proof]]


def test_the_accelerator_did_the_work(offloading: Layer, promised: str, proofs: Proofs) -> None:
    """Layer `engine` is what an application gets: set up by the board's openssl.cnf, and nobody naming an engine."""
    for operation in operations_of(promised):  # each may be served by another driver
        for proof in proofs(offloading, promised, operation):
            if not proof.proven:
                raise ProductError(
                    f"offload of {promised} at layer {offloading} is not proven, to {operation}: {proof}"
                )


def test_the_witness_keeps_still_while_software_works(promised: str, proofs: Proofs) -> None:
    """A counter that moves anyway would prove nothing."""
    for proof in proofs("openssl", promised, operations_of(promised)[0]):
        if proof.proven:
            raise ProductError(
                f"{proof.name} moved although OpenSSL did {promised} in software, so it is no witness: {proof}"
            )
