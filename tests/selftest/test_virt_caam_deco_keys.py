"""Black keys of the CAAM model: how descriptors load, store and refuse them."""

import hmac

import pytest
from caam_bench import Bench, job, pointer, to_words

from fixtures.virt.caam import digests
from fixtures.virt.caam.errors import DecoError

KEY = bytes(range(16))
TEXT = b"message"
ENCRYPT_ECB = 0x82100205
"""OPERATION: AES in ECB mode, class 1."""


def encrypt_job(bench: Bench, *key_command: int) -> tuple[list[int], int]:
    """Return a job that encrypts a block of zeros by the key that a command loads, and the address of its output."""
    output = bench.room(16)
    return job(*key_command, ENCRYPT_ECB, 0x22920010, 0, 0, 0, 0, 0x60300010, *pointer(output)), output


def test_immediate_split_key_has_the_size_of_its_encrypted_form() -> None:
    """Linux drivers/crypto/caam/caamalg_desc.c, append_key_as_imm(desc, key, keylen_pad, keylen, ...) before era 6."""
    bench, key = Bench(), bytes(range(20))
    black = bench.silicon.encrypt_key(digests.split_key(digests.SHA1, key))
    output = bench.room(20)
    mac = (0x8441004D, 0x24940000 | len(TEXT), *to_words(TEXT), 0x54200014, *pointer(output))
    assert bench.run(job(0x04C30028, *to_words(black), *mac)) == 0
    assert bench.get(output, 20) == hmac.digest(key, TEXT, "sha1")


@pytest.mark.parametrize(("command", "ccm"), [(0x02C00010, False), (0x02D00010, True)])
def test_immediate_black_key_is_the_key_again(command: int, ccm: bool) -> None:
    bench = Bench()
    plain, expected = encrypt_job(bench, 0x02800010, *to_words(KEY))
    black, output = encrypt_job(bench, command, *to_words(bench.silicon.encrypt_key(KEY, ccm=ccm)))
    assert (bench.run(plain), bench.run(black)) == (0, 0)
    assert bench.get(output, 16) == bench.get(expected, 16) != bytes(16)


@pytest.mark.parametrize(("store", "load", "size"), [(0x62240010, 0x02400010, 16), (0x62140010, 0x02500010, 28)])
def test_stored_black_key_is_the_key_again(store: int, load: int, size: int) -> None:
    """AES-ECB: caamhash_desc.c, FIFOST_TYPE_KEY_KEK. AES-CCM: blob_gen.c of later kernels, FIFOST_TYPE_KEY_CCM_JKEK."""
    bench = Bench()
    black = bench.put(b"." * (size + 1))
    assert bench.run(job(0x02800010, *to_words(KEY), store, *pointer(black), 0xA1000201)) == 0
    assert KEY not in bench.get(black, size + 1)
    assert bench.get(black + size, 1) == b"."
    plain, expected = encrypt_job(bench, 0x02800010, *to_words(KEY))
    again, output = encrypt_job(bench, load, *pointer(black))
    assert (bench.run(plain), bench.run(again)) == (0, 0)
    assert bench.get(output, 16) == bench.get(expected, 16)


def test_black_key_is_stored_from_the_key_register_of_its_class() -> None:
    bench = Bench()
    black = bench.room(16)
    assert bench.run(job(0x04800010, *to_words(KEY), 0x64240010, *pointer(black))) == 0
    assert bench.silicon.decrypt_key(bench.get(black, 16), 16) == KEY


NO_WRITE_BACK = 1 << 21
"""KEY_NWB (desc.h)."""
AT = pointer(Bench().room(64))
EXPAND_KEY = (0x84410014, 0x24940000)
"""OPERATION and FIFO LOAD that make a split key of the class 2 key (key_gen.c)."""

LOCKED: dict[str, tuple[list[int], int]] = {
    "class 1": ([0x02800010 | NO_WRITE_BACK, *to_words(KEY), 0x62240010], 6),
    "class 1, in CCM form": ([0x02800010 | NO_WRITE_BACK, *to_words(KEY), 0x62140010], 6),
    "class 2": ([0x04800010 | NO_WRITE_BACK, *to_words(KEY), 0x64240010], 6),
    "split key": ([0x04830020 | NO_WRITE_BACK, *to_words(bytes(32)), 0x64260020], 10),
    "split key of a class 2 key": (
        [0x04800010 | NO_WRITE_BACK, *to_words(KEY), *EXPAND_KEY, 0x64260028], 8
    ),
}  # fmt: skip
"""Commands that load a key and store it, and the index of the one that is refused."""


@pytest.mark.parametrize("case", LOCKED)
def test_key_without_write_back_is_not_stored(case: str) -> None:
    words, index = LOCKED[case]
    assert f"{Bench().run(job(*words, *AT)):08x}" == f"{0x40000000 | index << 8 | DecoError.FIFO_STORE:08x}"


@pytest.mark.parametrize("case", LOCKED)
def test_same_key_with_write_back_is_stored(case: str) -> None:
    words, _ = LOCKED[case]
    assert Bench().run(job(words[0] & ~NO_WRITE_BACK, *words[1:], *AT)) == 0


def test_next_key_is_stored_again() -> None:
    words = [0x02800010 | NO_WRITE_BACK, *to_words(KEY), 0x02800010, *to_words(KEY), 0x62240010, *AT]
    assert Bench().run(job(*words)) == 0


def test_moved_key_is_stored_again() -> None:
    words = [0x02800010 | NO_WRITE_BACK, *to_words(KEY), 0x780D0010, 0x62240010, *AT]
    assert Bench().run(job(*words)) == 0


TRUSTED: dict[str, tuple[list[int], int]] = {
    "key": (job(0x02C08010, *to_words(KEY)), 0x40000100 | DecoError.KEY),
    "key that is not encrypted": (job(0x02808010, *to_words(KEY)), 0x40000100 | DecoError.KEY),
    "store of a key": (job(0x02800010, *to_words(KEY), 0x62250010, *AT), 0x40000600 | DecoError.FIFO_STORE),
    "store of a split key": (job(0x64270028, *AT), 0x40000100 | DecoError.FIFO_STORE),
    "header": (job(0xA0000001, flags=0x4000), 0x40000000 | DecoError.HEADER_LENGTH),
    "header of a descriptor to become trusted": (
        job(0xA0000001, flags=0x2000), 0x40000000 | DecoError.HEADER_LENGTH
    ),
    "signature": (job(0x90000000), 0x40000100 | DecoError.COMMAND),
}  # fmt: skip
"""What trusted descriptors have (desc.h: HDR_TRUSTED, HDR_MAKE_TRUSTED, KEY_TK, FIFOST_TYPE_*_TKEK)."""


@pytest.mark.parametrize("case", TRUSTED)
def test_trusted_descriptors_and_their_keys_are_refused(case: str) -> None:
    words, status = TRUSTED[case]
    assert f"{Bench().run(words):08x}" == f"{status:08x}"
