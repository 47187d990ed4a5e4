"""Black keys of the CAAM model: how descriptors load, store and refuse them."""

import hmac

import pytest
from caam_bench import Bench, job, pointer, to_words

from fixtures.virt.caam import digests

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
