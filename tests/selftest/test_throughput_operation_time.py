"""A layer that waits is distinguished from a board on which all layers are slow."""

import pytest

from fixtures.throughput.operation_time import OperationTime, find_slow_layers


def times(**milliseconds: float) -> dict[str, OperationTime]:
    """Return operation times by layer, from milliseconds per operation."""
    return {layer: OperationTime(layer, "AES-128-CBC", value / 1000, "driver") for layer, value in milliseconds.items()}


@pytest.mark.parametrize(
    ("measured", "slow"),
    [
        (times(openssl=0.4, engine=0.3, cryptodev=0.25, afalg=0.25), []),  # a virtual board on a quiet host
        (times(openssl=3.5, engine=7.6, cryptodev=4.3, afalg=4.3), []),  # on a busy one
        (times(openssl=0.5, engine=12, cryptodev=10, afalg=11), []),  # on a busier one
        (times(openssl=0.02, engine=2.7, cryptodev=2.6, afalg=2.6), []),  # a CPU with AES instructions, a real CAAM
        (times(openssl=3.5, engine=353, cryptodev=352, afalg=352), ["engine", "cryptodev", "afalg"]),
        (times(openssl=3.5, engine=353, cryptodev=352, afalg=3.2), ["engine", "cryptodev"]),
        (times(openssl=400, engine=353, cryptodev=352, afalg=352), []),  # equally slow layers: the bounds detect that
    ],
)
def test_layers_far_slower_than_the_fastest_are_found(measured: dict[str, OperationTime], slow: list[str]) -> None:
    complaints = find_slow_layers(measured)
    assert [line.split(":")[0].rpartition(" ")[2] for line in complaints] == slow
    assert all("ms at layer" in line for line in complaints)
