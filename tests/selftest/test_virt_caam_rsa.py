"""RSA jobs of the CAAM model: what the package cryptography encrypted or signed, by the descriptors of Linux."""

import hashlib
from collections.abc import Sequence

import pytest
from caam_bench import LINUX, Bench, job, pointer
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

KEY = rsa.generate_private_key(65537, 1024)
NUMBERS = KEY.private_numbers()
SIZE, HALF = 128, 64
"""Size of the modulus and of each factor, in bytes."""
MESSAGE = b"message"
N, E, D = NUMBERS.public_numbers.n, NUMBERS.public_numbers.e, NUMBERS.d
SGF_INPUT, SGF_OUTPUT = 1 << 31, 1 << 30
"""Input, output is a scatter-gather table (Linux drivers/crypto/caam/pdb.h, RSA_PDB_SGF_F, RSA_PDB_SGF_G)."""


def stored(bench: Bench, *numbers: tuple[int, int]) -> list[int]:
    """Store numbers, given with their sizes in bytes, and return the words of their pointers."""
    return [word for number, size in numbers for word in pointer(bench.put(number.to_bytes(size, "big")))]


def rsa_job(operation: int, block: Sequence[int]) -> list[int]:
    """Return a descriptor with a protocol data block and an operation, as caampkc.c makes it."""
    return job(*block, operation, flags=(len(block) + 1) << 16)


def private_block(bench: Bench, form: int, text: bytes, output: int, flags: int = 0) -> list[int]:
    """Return the protocol data block of a private key (pdb.h, struct rsa_priv_f1_pdb, ..._f2_, ..._f3_)."""
    source = bench.put(text)
    if flags & SGF_INPUT:
        source = bench.table([(source, 5), (source + 5, SIZE - 5)])
    places = [*pointer(source), *pointer(output)]
    p, q, d = (NUMBERS.p, HALF), (NUMBERS.q, HALF), (D, SIZE)
    temporary = [*pointer(bench.room(HALF)), *pointer(bench.room(HALF))]
    if form == 0:
        return [flags | SIZE << 12 | SIZE, *places, *stored(bench, (N, SIZE), d)]
    if form == 1:
        return [flags | SIZE << 12 | SIZE, *places, *stored(bench, d, p, q), *temporary, HALF << 12 | HALF]
    numbers = stored(bench, (NUMBERS.iqmp, HALF), p, q, (NUMBERS.dmp1, HALF), (NUMBERS.dmq1, HALF))
    return [flags | SIZE, *places, *numbers, *temporary, HALF << 12 | HALF]


@pytest.mark.parametrize("flags", [0, SGF_INPUT])
@pytest.mark.parametrize("form", [0, 1, 2])
def test_private_key_decrypts_in_each_form(form: int, flags: int) -> None:
    bench = Bench()
    output = bench.room(SIZE)
    sealed = KEY.public_key().encrypt(MESSAGE, padding.PKCS1v15())
    assert bench.run(rsa_job(0x80190000 | form, private_block(bench, form, sealed, output, flags))) == 0
    padded = bench.get(output, SIZE)
    assert padded.startswith(b"\0\2") and padded.endswith(b"\0" + MESSAGE)


@pytest.mark.parametrize("flags", [0, SGF_OUTPUT])
def test_public_key_opens_a_signature(flags: int) -> None:
    bench = Bench()
    output = bench.room(SIZE)
    target = bench.table([(output, 100), (output + 100, 28)]) if flags else output
    signature = int.from_bytes(KEY.sign(MESSAGE, padding.PKCS1v15(), SHA256()), "big")
    text, numbers = stored(bench, (signature, SIZE)), stored(bench, (N, SIZE), (E, 3))
    block = [flags | 3 << 12 | SIZE, *text, *pointer(target), *numbers, SIZE]
    assert bench.run(rsa_job(0x80180000, block)) == 0
    opened = bench.get(output, SIZE)
    assert opened.startswith(b"\0\1\xff\xff") and opened.endswith(hashlib.sha256(MESSAGE).digest())


def test_descriptors_have_the_form_of_those_of_linux() -> None:
    bench = Bench()
    form3 = rsa_job(0x80190002, private_block(bench, 2, bytes(SIZE), 0))
    public = rsa_job(0x80180000, [0] * 10)
    for words, name in ((form3, "rsa private form 3"), (public, "rsa public")):
        assert [words[0], len(words), words[-1]] == [LINUX[name][0], len(LINUX[name]), LINUX[name][-1]]


@pytest.mark.parametrize("form", [0, 1, 2])
def test_factor_without_memory_is_a_dma_error(form: int) -> None:
    bench = Bench()
    block = private_block(bench, form, bytes(SIZE), bench.room(SIZE))
    block[5:7] = [1, 0]
    assert bench.run(rsa_job(0x80190000 | form, block)) & 0xF00000FF == 0x40000016


def test_even_modulus_is_refused() -> None:
    bench = Bench()
    block = [
        3 << 12 | SIZE,
        *stored(bench, (1, SIZE)),
        *pointer(bench.room(SIZE)),
        *stored(bench, (N - 1, SIZE), (E, 3)),
        SIZE,
    ]
    assert bench.run(rsa_job(0x80180000, block)) == 0x20000B88  # CCB: desc idx 11: PKHA: Mod N even
