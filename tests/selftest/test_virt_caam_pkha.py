"""The public key unit of the model against published signatures."""

import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.virt.caam import pkha
from fixtures.virt.caam.errors import DecoError, JobError, Unit, UnitError

SETTINGS = settings(deadline=None, max_examples=25)
"""The time of one example says nothing: other tests share the processor."""
SHA1_PREFIX = bytes.fromhex("3021300906052b0e03021a05000414")
"""DER of a DigestInfo with SHA-1, up to the digest (RFC 8017, 9.2)."""
N, D, G = (3233).to_bytes(2, "big"), (2753).to_bytes(2, "big"), (65).to_bytes(2, "big")
"""A key that can be computed by hand: p = 61, q = 53, e = 17."""


class Signature(NamedTuple):
    """A key, and the first message that was signed by it. In the order of the file."""

    n: bytes
    e: bytes
    d: bytes
    p: bytes
    q: bytes
    dp: bytes
    dq: bytes
    c: bytes
    message: bytes
    signature: bytes


def read_fields() -> list[tuple[str, bytes]]:
    """Return name and value of each number in RSA Laboratories' vectors: `# Name:`, then lines of hexadecimal."""
    path = files("cryptography_vectors") / "asymmetric/RSA/pkcs1v15sign-vectors.txt"
    fields: list[tuple[str, bytes]] = []
    is_value = False
    for line in map(str.strip, path.read_text().splitlines()):
        if line.startswith("# ") and line.endswith(":"):
            fields.append((line[2:-1], b""))
        elif is_value and line:
            fields[-1] = fields[-1][0], fields[-1][1] + bytes.fromhex(line)
        is_value = bool(line) and bool(fields) and (is_value or line.endswith(":"))
    return fields


def read_signatures() -> list[Signature]:
    fields = read_fields()
    starts = [index for index in range(1, len(fields)) if fields[index][0] == "Public exponent"]
    return [Signature(*(value for _, value in fields[start - 1 : start + 9])) for start in starts]


SIGNATURES = read_signatures()


def encode(message: bytes, size: int) -> bytes:
    """Return what is signed, of the modulus' size in bytes (RFC 8017, 9.2)."""
    info = SHA1_PREFIX + hashlib.sha1(message).digest()
    return b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info


def test_every_key_is_read() -> None:
    assert len(SIGNATURES) == 15
    assert {8 * len(key.n) for key in SIGNATURES} == {1024, 1032, 1536, 2048}


@pytest.mark.parametrize("key", SIGNATURES, ids=range(1, len(SIGNATURES) + 1))
def test_each_form_of_the_key_gives_the_published_signature(key: Signature) -> None:
    text = encode(key.message, len(key.n))
    results = {
        pkha.rsa_private_1(key.n, key.d, text),
        pkha.rsa_private_2(key.p, key.q, key.d, text),
        pkha.rsa_private_3(key.p, key.q, key.dp, key.dq, key.c, text),
    }
    assert results == {key.signature}
    assert pkha.rsa_public(key.n, key.e, memoryview(key.signature)) == text


@SETTINGS
@given(st.integers(0, len(SIGNATURES) - 1), st.binary(max_size=128))
def test_forms_agree_and_are_undone_by_the_public_key(index: int, message: bytes) -> None:
    key = SIGNATURES[index]
    text = message.rjust(len(key.n), b"\0")
    results = {
        pkha.rsa_private_1(key.n, key.d, text),
        pkha.rsa_private_2(key.p, key.q, key.d, text),
        pkha.rsa_private_3(key.p, key.q, key.dp, key.dq, key.c, text),
    }
    (result,) = results
    plain = pkha.rsa_public(key.n, key.e, result)
    assert int.from_bytes(plain, "big") == int.from_bytes(message, "big") % int.from_bytes(key.n, "big")


def test_result_has_the_size_of_the_modulus() -> None:
    assert pkha.rsa_public(N.rjust(64, b"\0"), b"\x11", b"A") == (2790).to_bytes(64, "big")
    assert pkha.rsa_public(b"\1", b"\1", b"\0") == b"\0"


LARGE = b"\1" * (pkha.MAX_SIZE + 1)
REFUSED: dict[str, tuple[UnitError | DecoError, Callable[[], bytes]]] = {
    "modulus 0": (UnitError.DIVIDE_BY_ZERO, lambda: pkha.rsa_public(bytes(2), D, G)),
    "no modulus": (UnitError.DIVIDE_BY_ZERO, lambda: pkha.rsa_private_1(b"", D, b"")),
    "even modulus": (UnitError.MODULUS_EVEN, lambda: pkha.rsa_public(b"\x0c\xa2", D, G)),
    "even factor": (UnitError.MODULUS_EVEN, lambda: pkha.rsa_private_2(b"\x3d", b"\x34", D, G)),
    "factor 0": (UnitError.DIVIDE_BY_ZERO, lambda: pkha.rsa_private_3(b"\0", b"\x35", D, D, D, G)),
    "large modulus": (UnitError.DATA_SIZE, lambda: pkha.rsa_public(LARGE, D, G)),
    "large exponent": (UnitError.KEY_SIZE, lambda: pkha.rsa_public(N, LARGE, G)),
    "large message": (UnitError.A_SIZE, lambda: pkha.rsa_private_2(b"\x3d", b"\x35", D, LARGE)),
    "large coefficient": (UnitError.B_SIZE, lambda: pkha.rsa_private_3(b"\x3d", b"\x35", D, D, LARGE, G)),
    "message longer than modulus": (DecoError.PROTOCOL_SIZE, lambda: pkha.rsa_public(N, D, bytes(3))),
    "result longer than message": (DecoError.PROTOCOL_SIZE, lambda: pkha.rsa_private_2(b"\x3d", b"\x35", D, b"A")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_numbers_are_refused(case: str) -> None:
    error, call = REFUSED[case]
    with pytest.raises(JobError) as caught:
        call()
    source = 0x40000000 if isinstance(error, DecoError) else 0x20000000 | Unit.PKHA << 4
    assert caught.value.status(0) == source | error
