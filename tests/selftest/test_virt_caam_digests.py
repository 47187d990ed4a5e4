"""The digest unit of the model against published answers, hashlib and hmac."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_vectors import read_records

from fixtures.vectors import sources
from fixtures.vectors.model import VectorGroup
from fixtures.virt.caam import digests
from fixtures.virt.caam.digests import DIGESTS
from fixtures.virt.caam.errors import Unit, UnitError, UnitFailure

NUMBERS = {digest.name: number for number, digest in DIGESTS.items()}
ALGORITHM = st.sampled_from(sorted(DIGESTS))
BLOCKS = st.lists(st.integers(0, 3), max_size=4)
"""Blocks of the message in each job before the last."""
HMAC_FILES = {
    digests.MD5: "rfc-2202-md5",
    digests.SHA1: "rfc-2202-sha1",
    digests.SHA224: "rfc-4231-sha224",
    digests.SHA256: "rfc-4231-sha256",
    digests.SHA384: "rfc-4231-sha384",
    digests.SHA512: "rfc-4231-sha512",
}


def split_at_blocks(algorithm: int, counts: list[int], tail: bytes) -> list[bytes]:
    """Return the pieces of a message, one for each job: whole blocks, then the tail."""
    return [bytes([index]) * count * DIGESTS[algorithm].block for index, count in enumerate(counts)] + [tail]


def digest_in_jobs(algorithm: int, pieces: list[bytes]) -> bytes:
    context = None
    for piece in pieces[:-1]:
        context = digests.update(algorithm, context, piece)
    return digests.finish(algorithm, context, pieces[-1])


@pytest.mark.parametrize("group", sources.sha().groups, ids=lambda group: group.id)
def test_digest_gives_the_published_answers_split_at_any_block(group: VectorGroup) -> None:
    algorithm = NUMBERS[group.algorithm.lower()]
    size = DIGESTS[algorithm].block
    for vector in group.vectors:
        data = vector.input
        assert digests.digest(algorithm, data) == vector.output
        for split in {0, size, len(data) // size * size} & set(range(len(data) + 1)):
            assert digest_in_jobs(algorithm, [data[:split], data[split:]]) == vector.output


@given(ALGORITHM, BLOCKS, st.binary(max_size=300))
def test_digest_in_several_jobs_is_that_of_hashlib(algorithm: int, counts: list[int], tail: bytes) -> None:
    pieces = split_at_blocks(algorithm, counts, tail)
    assert digest_in_jobs(algorithm, pieces) == hashlib.new(DIGESTS[algorithm].name, b"".join(pieces)).digest()


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_length_of_more_than_32_bits_is_kept(algorithm: int) -> None:
    """A message of 512 MiB and more: its length in bits needs the second length word of libcrypto."""
    block = DIGESTS[algorithm].block
    context = digests.update(algorithm, None, bytes(block))
    far = context[:-8] + (1 << 29).to_bytes(8, "big")
    near = context[:-8] + block.to_bytes(8, "big")
    assert digests.finish(algorithm, far, b"") != digests.finish(algorithm, near, b"")
    assert digests.finish(algorithm, far, b"") != digests.finish(algorithm, context[:-8] + bytes(8), b"")
    assert digests.update(algorithm, far, bytes(block))[-8:] == ((1 << 29) + block).to_bytes(8, "big")


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_context_is_state_and_length(algorithm: int) -> None:
    """Sizes: Linux drivers/crypto/caam/key_gen.h (mdpadlen) and caamhash.c (HASH_MSG_LEN)."""
    context = digests.update(algorithm, None, bytes(DIGESTS[algorithm].block))
    assert len(context) == DIGESTS[algorithm].context_size
    sizes = {digests.MD5: 16, digests.SHA1: 20, digests.SHA224: 32, digests.SHA256: 32}
    assert DIGESTS[algorithm].state_size == sizes.get(algorithm, 64)
    assert context[-8:] == DIGESTS[algorithm].block.to_bytes(8, "big")


def test_state_words_have_the_byte_order_of_the_digest() -> None:
    """An empty update saves the initial values: FIPS 180-4, 5.3; RFC 1321, 3.3."""
    assert digests.update(digests.SHA1, None, b"").hex() == "67452301efcdab8998badcfe10325476c3d2e1f0" + "00" * 8
    assert digests.update(digests.MD5, None, b"").hex() == "0123456789abcdeffedcba9876543210" + "00" * 8


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_hmac_gives_the_published_answers(algorithm: int) -> None:
    for record in read_records(f"HMAC/{HMAC_FILES[algorithm]}.txt"):
        key, message = (bytes.fromhex(record[name]) for name in ("key", "msg"))
        split = digests.split_key(algorithm, key)
        assert digests.finish_hmac(algorithm, split, None, message).hex() == record["md"]


@given(ALGORITHM, st.binary(min_size=1, max_size=300), BLOCKS, st.binary(max_size=300))
def test_hmac_in_several_jobs_is_that_of_hmac(algorithm: int, key: bytes, counts: list[int], tail: bytes) -> None:
    first, *pieces = split_at_blocks(algorithm, [*counts, 1], tail)
    split = digests.split_key(algorithm, key)
    context = digests.begin_hmac(algorithm, split, first)
    for piece in pieces[:-1]:
        context = digests.update(algorithm, context, piece)
    expected = hmac.digest(key, first + b"".join(pieces), DIGESTS[algorithm].name)
    assert digests.finish_hmac(algorithm, split, context, pieces[-1]) == expected


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_split_key_has_the_size_that_the_driver_reserves(algorithm: int) -> None:
    """Linux drivers/crypto/caam/key_gen.h, split_key_len."""
    sizes = dict(zip(DIGESTS, (32, 40, 64, 64, 128, 128), strict=True))
    assert len(digests.split_key(algorithm, b"key")) == sizes[algorithm] == DIGESTS[algorithm].split_key_size


def test_part_of_a_block_is_refused_before_the_end_of_a_message() -> None:
    split = digests.split_key(digests.SHA256, b"key")
    with pytest.raises(UnitFailure) as plain:
        digests.update(digests.SHA512, None, bytes(64))
    with pytest.raises(UnitFailure) as keyed:
        digests.begin_hmac(digests.SHA256, split, bytes(65))
    for caught in (plain, keyed):
        assert (caught.value.unit, caught.value.error) == (Unit.MDHA, UnitError.DATA_SIZE)


def test_split_key_of_another_algorithm_is_refused() -> None:
    with pytest.raises(UnitFailure) as caught:
        digests.finish_hmac(digests.SHA512, digests.split_key(digests.SHA256, b"key"), None, b"")
    assert (caught.value.unit, caught.value.error) == (Unit.MDHA, UnitError.KEY_SIZE)


def test_other_layout_of_libcrypto_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    implementation = digests._IMPLEMENTATIONS[digests.SHA256]
    load = implementation.load
    monkeypatch.setattr(implementation, "load", lambda context: b"\0" + load(context)[:-1])
    with pytest.raises(ImportError, match="state of sha256 cannot be saved"):
        digests.check_library()
