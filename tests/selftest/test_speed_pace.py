"""Is a layer that waits told from one that is slow like all the others?"""

import pytest

from fixtures.speed.pace import Pace, judge


def paces(**milliseconds: float) -> dict[str, Pace]:
    """A pace at each layer, in milliseconds an operation."""
    return {layer: Pace(layer, "AES-128-CBC", value / 1000, "somebody") for layer, value in milliseconds.items()}


@pytest.mark.parametrize(
    ("given", "slow"),
    [
        (paces(openssl=0.4, engine=0.3, cryptodev=0.25, afalg=0.25), []),  # a virtual board on a quiet host
        (paces(openssl=3.5, engine=7.6, cryptodev=4.3, afalg=4.3), []),  # on a busy one
        (paces(openssl=0.5, engine=12, cryptodev=10, afalg=11), []),  # on one that is busier still
        (paces(openssl=0.02, engine=2.7, cryptodev=2.6, afalg=2.6), []),  # a CPU with AES instructions, a real CAAM
        (paces(openssl=3.5, engine=353, cryptodev=352, afalg=352), ["engine", "cryptodev", "afalg"]),
        (paces(openssl=3.5, engine=353, cryptodev=352, afalg=3.2), ["engine", "cryptodev"]),
        (paces(openssl=400, engine=353, cryptodev=352, afalg=352), []),  # all alike: bounds are for that
    ],
)
def test_who_takes_far_longer(given: dict[str, Pace], slow: list[str]) -> None:
    complaints = judge(given)
    assert [line.split(":")[0].rpartition(" ")[2] for line in complaints] == slow
    assert all("ms at layer" in line for line in complaints)
