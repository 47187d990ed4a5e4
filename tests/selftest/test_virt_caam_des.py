"""The DES unit of the model against published answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_vectors import read_records

from fixtures.virt.caam import des
from fixtures.virt.caam.errors import Unit, UnitError, UnitFailure

KEY = bytes(range(8))
FILES = [
    f"ciphers/3DES/{mode}/T{mode}{name}.rsp"
    for mode in ("ECB", "CBC")
    for name in ("MMT1", "MMT2", "MMT3", "invperm", "permop", "subtab", "varkey", "vartext")
]


def run(key: bytes, iv: bytes, data: bytes, encrypt: bool) -> bytes:
    return des.cbc(key, iv, data, encrypt)[0] if iv else des.ecb(key, data, encrypt)


@pytest.mark.parametrize("path", FILES)
def test_modes_give_the_published_answers(path: str) -> None:
    tested = 0
    for record in read_records(path):
        names = ("keys",) if "keys" in record else ("key1", "key2", "key3")
        keys = [bytes.fromhex(record[name]) for name in names]
        if len(set(keys)) == 1:
            keys = keys[:1]  # DES itself
        elif keys[0] == keys[2]:
            keys = keys[:2]
        plain, cipher, iv = (bytes.fromhex(record.get(name, "")) for name in ("plaintext", "ciphertext", "iv"))
        assert run(b"".join(keys), iv, plain, True) == cipher
        assert run(b"".join(keys), iv, cipher, False) == plain
        tested += 1
    assert tested >= 20


@given(
    st.sampled_from((8, 16, 24)).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    st.integers(0, 4),
    st.integers(0, 4),
    st.booleans(),
)
def test_cbc_continues_with_the_iv_it_returns(key: bytes, first: int, second: int, encrypt: bool) -> None:
    data = bytes(range(8 * (first + second)))
    head, iv = des.cbc(key, KEY, memoryview(data)[: 8 * first], encrypt)
    tail, last = des.cbc(key, iv, data[8 * first :], encrypt)
    assert (head + tail, last) == des.cbc(key, KEY, data, encrypt)


@pytest.mark.parametrize(
    ("algorithm", "size", "fits"),
    [(des.DES, 8, True), (des.DES, 16, False), (des.TRIPLE_DES, 8, False), (des.TRIPLE_DES, 16, True)],
)
def test_key_has_the_size_of_its_algorithm(algorithm: int, size: int, fits: bool) -> None:
    if fits:
        des.check_key(algorithm, bytes(size), False)
        return
    with pytest.raises(UnitFailure, match=f"key of {size} bytes") as caught:
        des.check_key(algorithm, bytes(size), False)
    assert (caught.value.unit, caught.value.error) == (Unit.DES, UnitError.KEY_SIZE)


def test_parity_of_a_key_is_checked_on_request() -> None:
    des.check_key(des.DES, b"\1" * 8, True)
    des.check_key(des.DES, b"\1" * 7 + b"\3", False)
    with pytest.raises(UnitFailure) as caught:
        des.check_key(des.DES, b"\1" * 7 + b"\3", True)
    assert caught.value.error == UnitError.KEY_PARITY


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(UnitFailure) as key_size:
        des.ecb(bytes(7), b"", True)
    with pytest.raises(UnitFailure) as data_size:
        des.cbc(KEY, KEY, bytes(9), True)
    assert (key_size.value.error, data_size.value.error) == (UnitError.KEY_SIZE, UnitError.DATA_SIZE)
