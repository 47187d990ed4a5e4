"""The digest unit of the model against published answers, hashlib and hmac."""

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_vectors import read_records

from fixtures.vectors import sources
from fixtures.vectors.model import VectorGroup
from fixtures.virt.caam import digests
from fixtures.virt.caam.digests import DIGESTS
from fixtures.virt.caam.errors import Unit, UnitError, UnitFailure

SETTINGS = settings(deadline=None)
"""The time of one example says nothing: other tests share the processor."""
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


@SETTINGS
@given(ALGORITHM, BLOCKS, st.binary(max_size=300))
def test_digest_in_several_jobs_is_that_of_hashlib(algorithm: int, counts: list[int], tail: bytes) -> None:
    pieces = split_at_blocks(algorithm, counts, tail)
    assert digest_in_jobs(algorithm, pieces) == hashlib.new(DIGESTS[algorithm].name, b"".join(pieces)).digest()


@pytest.mark.parametrize("length", [1 << 20, 1 << 29, 1 << 40, (1 << 64) - 128])
@pytest.mark.parametrize("algorithm", DIGESTS)
def test_message_ends_with_its_length(algorithm: int, length: int) -> None:
    """The last block is 0x80, zeros and the length in bits (FIPS 180-4, 5.1; RFC 1321, 3.1), also above 32 bits."""
    digest = DIGESTS[algorithm]
    context = digests.update(algorithm, None, bytes(digest.block))[:-8] + length.to_bytes(8, "big")
    size = digest.block // 8  # of the length, in bytes
    bits = (8 * length % (1 << 8 * size)).to_bytes(size, "little" if algorithm == digests.MD5 else "big")
    padding = b"\x80".ljust(digest.block - size, b"\0") + bits
    assert digests.finish(algorithm, context, b"") == digests.update(algorithm, context, padding)[: digest.size]
    after = (length + digest.block) % (1 << 64)
    assert digests.update(algorithm, context, bytes(digest.block))[-8:] == after.to_bytes(8, "big")


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


@SETTINGS
@given(ALGORITHM, st.binary(min_size=1, max_size=300), BLOCKS, st.binary(max_size=300))
def test_hmac_in_several_jobs_is_that_of_hmac(algorithm: int, key: bytes, counts: list[int], tail: bytes) -> None:
    first, *pieces = split_at_blocks(algorithm, [*counts, 1], tail)
    split = digests.split_key(algorithm, key)
    context = digests.begin_hmac(algorithm, split, first)
    for piece in pieces[:-1]:
        context = digests.update(algorithm, context, piece)
    expected = hmac.digest(key, first + b"".join(pieces), DIGESTS[algorithm].name)
    assert digests.finish_hmac(algorithm, split, context, pieces[-1]) == expected


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("algorithm", DIGESTS)
def test_hmac_key_is_replaced_by_its_digest_if_longer_than_a_block(algorithm: int, more: int) -> None:
    key = bytes(range(1, DIGESTS[algorithm].block + more + 1))
    split = digests.split_key(algorithm, key)
    assert digests.finish_hmac(algorithm, split, None, b"") == hmac.digest(key, b"", DIGESTS[algorithm].name)


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
