"""The units of the model return, or raise an error of the hardware, whatever a descriptor passes to them."""

import random
from collections.abc import Callable

import pytest

from fixtures.virt.caam import aes, des, digests, pkha
from fixtures.virt.caam.errors import JobError
from fixtures.virt.caam.silicon import Silicon

CALLS = 500
"""Calls of each function."""
SIZES = (0, 1, 7, 8, 12, 15, 16, 17, 24, 32, 48, 64, 65, 128, 255)


class Draw:
    """Random arguments, the same in each run."""

    def __init__(self, seed: str) -> None:
        """Begin with a seed."""
        self._random = random.Random(seed)

    def data(self, size: int | None = None) -> bytes:
        """Return bytes of a size, by default one of SIZES."""
        return self._random.randbytes(self._random.choice(SIZES) if size is None else size)

    def flag(self) -> bool:
        """Return true or false."""
        return self._random.random() < 0.5

    def number(self, start: int, stop: int) -> int:
        """Return a number from start to stop - 1."""
        return self._random.randrange(start, stop)

    def digest(self) -> int:
        """Return the number of a digest."""
        return self._random.choice(list(digests.DIGESTS))


CHIP = Silicon()
UNITS: dict[str, Callable[[Draw], object]] = {
    "ecb": lambda x: aes.ecb(x.data(), x.data(), x.flag()),
    "cbc": lambda x: aes.cbc(x.data(), x.data(16), x.data(), x.flag()),
    "ctr": lambda x: aes.ctr(x.data(), x.data(16), x.data()),
    "xts": lambda x: aes.xts(x.data(), x.data(16), x.data(), x.flag()),
    "gcm": lambda x: aes.gcm(x.data(), x.data(), x.data(), x.data(), x.flag()),
    "ccm": lambda x: aes.ccm(x.data(), x.data(), x.data(), x.data(), x.flag(), x.number(0, 20)),
    "cmac": lambda x: aes.mac("cmac", x.data(), x.data(128), x.data(), first=x.flag(), last=x.flag()),
    "xcbc": lambda x: aes.mac("xcbc", x.data(), x.data(128), x.data(), first=x.flag(), last=x.flag()),
    "des ecb": lambda x: des.ecb(x.data(), x.data(), x.flag()),
    "des cbc": lambda x: des.cbc(x.data(), x.data(8), x.data(), x.flag()),
    "des key": lambda x: des.check_key(x.number(des.DES, des.TRIPLE_DES + 1), x.data(), x.flag()),
    "digest update": lambda x: digests.update(x.digest(), x.data(128), x.data()),
    "digest finish": lambda x: digests.finish(x.digest(), x.data(128), x.data()),
    "hmac begin": lambda x: digests.begin_hmac(x.digest(), x.data(), x.data()),
    "hmac finish": lambda x: digests.finish_hmac(x.digest(), x.data(), x.data(128), x.data()),
    "split key": lambda x: digests.split_key(x.digest(), x.data()),
    "rsa public": lambda x: pkha.rsa_public(x.data(), x.data(), x.data()),
    "rsa form 1": lambda x: pkha.rsa_private_1(x.data(), x.data(), x.data()),
    "rsa form 2": lambda x: pkha.rsa_private_2(x.data(), x.data(), x.data(), x.data()),
    "rsa form 3": lambda x: pkha.rsa_private_3(x.data(), x.data(), x.data(), x.data(), x.data(), x.data()),
    "encapsulate": lambda x: CHIP.encapsulate(x.data(), x.data()),
    "decapsulate": lambda x: CHIP.decapsulate(x.data(), x.data()),
    "encrypt key": lambda x: CHIP.encrypt_key(x.data(), ccm=x.flag()),
    "decrypt key": lambda x: CHIP.decrypt_key(x.data(), x.number(0, 256), ccm=x.flag()),
    "random": lambda x: CHIP.random(x.number(0, 256), x.number(0, 4)),
}


@pytest.mark.parametrize("unit", UNITS)
def test_any_arguments_give_a_result_or_an_error_of_the_hardware(unit: str) -> None:
    draw = Draw(unit)
    results = 0
    for _ in range(CALLS):
        try:
            UNITS[unit](draw)
            results += 1
        except JobError as error:
            assert error.status(0) >> 28 in (2, 4)
    assert results > 0 or unit == "decapsulate"  # no random blob has a right tag
