"""Keys, blobs and random generator of the model's chip."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.virt.caam.errors import DecoError, JobError, RngError, Unit, UnitError
from fixtures.virt.caam.faults import Healthy
from fixtures.virt.caam.silicon import BLOB_OVERHEAD, Silicon
from fixtures.virt.caam.values import black_key_size

SETTINGS = settings(deadline=None)
"""The time of one example says nothing: other tests share the processor."""
MODIFIER = b"kernel:trusted"
CHIP = Silicon()
KEYS = st.integers(1, 128).flatmap(lambda size: st.binary(min_size=size, max_size=size))


def status_of(call: Callable[[], object]) -> int:
    """Return the status word of the error that a call raises."""
    with pytest.raises(JobError) as caught:
        call()
    return caught.value.status(0)


@SETTINGS
@given(KEYS, st.booleans())
def test_black_key_is_the_key_again_on_the_same_chip(key: bytes, ccm: bool) -> None:
    black = CHIP.encrypt_key(key, ccm=ccm)
    assert len(black) == black_key_size(len(key), ccm)
    assert CHIP.decrypt_key(black, len(key), ccm=ccm) == key


@pytest.mark.parametrize(("size", "ecb", "ccm"), [(16, 16, 28), (20, 32, 36), (24, 32, 36), (32, 32, 44), (64, 64, 76)])
def test_black_key_has_the_size_that_drivers_reserve(size: int, ecb: int, ccm: int) -> None:
    """OP-TEE drivers/crypto/caam/caam_key.c; Linux include/soc/fsl/caam-blob.h, CAAM_CCM_OVERHEAD."""
    assert [black_key_size(size, form) for form in (False, True)] == [ecb, ccm]


def test_black_key_of_another_chip_is_another_key() -> None:
    key, other = bytes(16), Silicon()
    assert other.decrypt_key(CHIP.encrypt_key(key), 16) != key
    black = CHIP.encrypt_key(key, ccm=True)
    assert status_of(lambda: other.decrypt_key(black, 16, ccm=True)) == 0x2000001A


def test_same_key_in_ccm_form_never_looks_the_same() -> None:
    assert len({CHIP.encrypt_key(bytes(16), ccm=True) for _ in range(3)}) == 3
    assert len({CHIP.encrypt_key(bytes(16)) for _ in range(3)}) == 1


@SETTINGS
@given(st.binary(max_size=16), st.binary(max_size=200))
def test_blob_is_the_data_again_on_the_same_chip(modifier: bytes, data: bytes) -> None:
    blob = CHIP.encapsulate(modifier, data)
    assert len(blob) == len(data) + BLOB_OVERHEAD == len(data) + 48
    assert CHIP.decapsulate(modifier, blob) == data
    assert blob != CHIP.encapsulate(modifier, data)


def test_blob_is_opened_after_a_power_cycle() -> None:
    blob = Silicon(master_key=bytes(32)).encapsulate(MODIFIER, b"secret")
    assert Silicon(master_key=bytes(32)).decapsulate(MODIFIER, blob) == b"secret"


def test_blob_is_not_opened_by_another_chip_or_modifier_or_when_changed() -> None:
    blob = CHIP.encapsulate(MODIFIER, bytes(20))
    assert status_of(lambda: Silicon().decapsulate(MODIFIER, blob)) == 0x2000001A
    assert status_of(lambda: CHIP.decapsulate(b"other", blob)) == 0x2000001A
    changed = (blob[:index] + bytes([blob[index] ^ 1]) + blob[index + 1 :] for index in range(len(blob)))
    assert {status_of(partial(CHIP.decapsulate, MODIFIER, other)) for other in changed} == {0x2000001A}


def test_blob_of_a_wrong_size_is_refused() -> None:
    assert status_of(lambda: CHIP.decapsulate(MODIFIER, bytes(47))) == 0x40000000 | DecoError.BLOB_KEY_SIZE
    assert status_of(lambda: CHIP.encapsulate(bytes(17), b"")) == 0x40000000 | DecoError.BLOB_KEY_SIZE


def test_firmware_leaves_both_handles_and_the_keys() -> None:
    """Linux drivers/crypto/caam/regs.h: RDSTA_SKVT, SKVN, PR1, PR0, IF1, IF0."""
    assert (Silicon().rng_status, Silicon(has_rng=False).rng_status) == (0xC0000033, 0)


def test_driver_instantiates_handles_and_keys() -> None:
    """The order of Linux drivers/crypto/caam/ctrl.c, instantiate_rng and deinstantiate_rng."""
    chip = Silicon(has_rng=False)
    chip.instantiate(0, prediction_resistance=True)
    assert chip.rng_status == 0x11
    chip.generate_keys()
    assert chip.rng_status == 0xC0000011
    chip.instantiate(1, prediction_resistance=False)
    assert chip.rng_status == 0xC0000013
    chip.uninstantiate(0)
    assert chip.rng_status == 0xC0000002
    assert len(chip.random(8, 1)) == 8


def test_random_numbers_differ() -> None:
    assert len({CHIP.random(16) for _ in range(100)}) == 100
    assert CHIP.random(0, 1) == b""


RNG = 0x20000000 | Unit.RNG << 4
REFUSED: dict[str, tuple[int, Callable[[Silicon], object]]] = {
    "random": (RNG | RngError.NOT_INSTANTIATED, lambda chip: chip.random(4)),
    "uninstantiate": (RNG | RngError.NOT_INSTANTIATED, lambda chip: chip.uninstantiate(0)),
    "keys": (RNG | RngError.NOT_INSTANTIATED, lambda chip: chip.generate_keys()),
    "blob": (RNG | RngError.NOT_INSTANTIATED, lambda chip: chip.encapsulate(MODIFIER, b"")),
    "no such handle": (RNG | UnitError.MODE, lambda chip: chip.instantiate(2)),
    "black key": (0x40000000 | DecoError.KEYS_NOT_LOADED, lambda chip: chip.encrypt_key(bytes(16))),
    "key of black key": (0x40000000 | DecoError.KEYS_NOT_LOADED, lambda chip: chip.decrypt_key(bytes(16), 16)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_chip_without_random_generator_refuses(case: str) -> None:
    status, call = REFUSED[case]
    assert status_of(lambda: call(Silicon(has_rng=False))) == status


def test_keys_are_generated_once_and_handles_instantiated_once() -> None:
    chip = Silicon()
    assert status_of(chip.generate_keys) == RNG | RngError.SECURE_KEYS
    assert status_of(lambda: chip.instantiate(0)) == RNG | RngError.INSTANTIATE


def test_handles_are_independent() -> None:
    chip = Silicon(has_rng=False)
    chip.instantiate(0)
    assert len(chip.random(4, 0)) == 4
    assert status_of(lambda: chip.random(4, 1)) == RNG | RngError.NOT_INSTANTIATED


class NoEntropy(Healthy):
    """No state handle can be instantiated, and random numbers are zeros."""

    def instantiates(self) -> bool:
        """Refuse."""
        return False

    def random(self, data: bytes) -> bytes:
        """Return zeros."""
        return bytes(len(data))


def test_faults_act_on_the_random_generator() -> None:
    chip = Silicon()
    chip.fault = NoEntropy()
    assert chip.random(4) == bytes(4)
    chip.uninstantiate(1)
    assert status_of(lambda: chip.instantiate(1)) == RNG | RngError.HARDWARE
