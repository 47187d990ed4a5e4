"""The AES unit of the model against published answers and against the package cryptography."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from hypothesis import given
from hypothesis import strategies as st
from published_vectors import read_records

from fixtures.vectors import sources
from fixtures.vectors.model import VectorGroup
from fixtures.virt.caam import aes
from fixtures.virt.caam.errors import Unit, UnitError, UnitFailure

KEYS = st.sampled_from(aes.KEY_SIZES).flatmap(lambda size: st.binary(min_size=size, max_size=size))
KEY = bytes(range(16))
BLOCK = st.binary(min_size=16, max_size=16)


def blocks(maximum: int) -> st.SearchStrategy[bytes]:
    return st.integers(0, maximum).flatmap(lambda count: st.binary(min_size=16 * count, max_size=16 * count))


def run_vector(group: VectorGroup, key: bytes, iv: bytes, data: bytes) -> bytes:
    match group.algorithm.rsplit("-", 1)[1]:
        case "ECB":
            return aes.ecb(key, data, group.operation == "encrypt")
        case "CBC":
            return aes.cbc(key, iv, data, group.operation == "encrypt")[0]
        case _:
            return aes.ctr(key, iv, data)[0]


@pytest.mark.parametrize("group", sources.aes().groups, ids=lambda group: group.id)
def test_modes_give_the_published_answers(group: VectorGroup) -> None:
    wrong = [v.label for v in group.vectors if run_vector(group, v.key, v.iv, v.input) != v.output]
    assert wrong == []


@given(KEYS, BLOCK, blocks(5), blocks(5), st.booleans())
def test_cbc_continues_with_the_iv_it_returns(
    key: bytes, iv: bytes, first: bytes, second: bytes, encrypt: bool
) -> None:
    head, following = aes.cbc(key, iv, memoryview(first), encrypt)
    tail, last = aes.cbc(key, following, bytearray(second), encrypt)
    assert (head + tail, last) == aes.cbc(key, iv, first + second, encrypt)
    assert aes.cbc(key, iv, head + tail, not encrypt)[0] == first + second


@given(KEYS, st.one_of(BLOCK, st.just(b"\xff" * 16)), blocks(5), st.binary(max_size=70))
def test_ctr_continues_with_the_counter_it_returns(key: bytes, counter: bytes, first: bytes, second: bytes) -> None:
    head, following = aes.ctr(key, counter, first)
    tail, last = aes.ctr(key, following, memoryview(second))
    assert (head + tail, last) == aes.ctr(key, counter, first + second)


@pytest.mark.parametrize(("size", "begun"), [(0, 0), (1, 1), (16, 1), (17, 2)])
def test_ctr_counts_blocks_that_are_begun(size: int, begun: int) -> None:
    assert aes.ctr(KEY, bytes(16), bytes(size))[1] == begun.to_bytes(16, "big")


@pytest.mark.parametrize("folder", ["tweak-128hexstr", "tweak-dataunitseqno"])
@pytest.mark.parametrize("bits", [128, 256])
def test_xts_gives_the_published_answers(folder: str, bits: int) -> None:
    tested = 0
    for record in read_records(f"ciphers/AES/XTS/{folder}/XTSGenAES{bits}.rsp"):
        if int(record["dataunitlen"]) % 8:
            continue  # the hardware takes bytes
        tweak = bytes.fromhex(record["i"]) if "i" in record else int(record["dataunitseqnumber"]).to_bytes(16, "little")
        key, plain, cipher = (bytes.fromhex(record[name]) for name in ("key", "pt", "ct"))
        assert aes.xts(key, tweak, plain, True) == cipher
        assert aes.xts(key, tweak, cipher, False) == plain
        tested += 1
    assert tested >= 500


@given(st.sampled_from((16, 32)), st.data(), BLOCK, st.binary(min_size=16, max_size=100), st.booleans())
def test_xts_by_ecb_is_that_of_libcrypto(half: int, drawn: st.DataObject, tweak: bytes, data: bytes, way: bool) -> None:
    key = drawn.draw(st.binary(min_size=2 * half, max_size=2 * half).filter(lambda key: key[:half] != key[half:]))
    assert aes._xts_by_ecb(key[:half], key[half:], tweak, data, way) == aes.xts(key, tweak, data, way)


def test_xts_takes_equal_halves_of_a_key() -> None:
    """Vector 1 of IEEE 1619, annex B: the first one of Linux crypto/testmgr.h."""
    cipher = "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e"
    assert aes.xts(bytes(32), bytes(16), bytes(32), True).hex() == cipher


def gcm_records(name: str) -> list[dict[str, str]]:
    return list(read_records(f"ciphers/AES/GCM/{name}.rsp"))


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_gcm_gives_the_published_answers_for_any_iv(bits: int) -> None:
    iv_sizes = set()
    for record in gcm_records(f"gcmEncryptExtIV{bits}"):
        key, iv, aad, plain, cipher, tag = (
            bytes.fromhex(record[name]) for name in ("key", "iv", "aad", "pt", "ct", "tag")
        )
        for data, encrypt, expected in ((plain, True, cipher), (cipher, False, plain)):
            text, computed = aes.gcm(key, iv, aad, data, encrypt)
            assert (text, computed[: len(tag)]) == (expected, tag)
        iv_sizes.add(len(iv))
    assert {1, 12, 128} <= iv_sizes


@given(KEYS, st.binary(min_size=8, max_size=128), st.binary(max_size=40), st.binary(max_size=100), st.booleans())
def test_gcm_with_a_derived_start_is_that_of_libcrypto(
    key: bytes, iv: bytes, aad: bytes, data: bytes, encrypt: bool
) -> None:
    if len(iv) != 12:  # of 12 bytes the start is not derived
        assert aes._gcm_with_unusual_iv(key, iv, aad, data, encrypt) == aes.gcm(key, iv, aad, data, encrypt)


@pytest.mark.parametrize("start", ["ff" * 16, "00" * 12 + "fffffffe"])
def test_gcm_counter_wraps_in_its_last_32_bits(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = bytes.fromhex(start)
    expected = b"".join(
        aes.ecb(KEY, counter[:12] + ((int.from_bytes(counter[12:], "big") + n) % (1 << 32)).to_bytes(4, "big"), True)
        for n in range(1, 5)
    )
    monkeypatch.setattr(aes, "_ghash", lambda *_: counter)
    assert aes._gcm_with_unusual_iv(KEY, b"\1", b"", bytes(64), True)[0] == expected


@given(KEYS, st.binary(min_size=12, max_size=12), st.binary(max_size=40), st.binary(max_size=100))
def test_gcm_decrypts_data_that_is_not_authentic(key: bytes, iv: bytes, aad: bytes, data: bytes) -> None:
    text, tag = aes.gcm(key, iv, aad, data, False)
    assert AESGCM(key).encrypt(iv, text, aad) == data + tag


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_ccm_gives_the_published_answers_or_another_tag(bits: int) -> None:
    results = set()
    for record in read_records(f"ciphers/AES/CCM/DVPT{bits}.rsp"):
        sizes = {name: int(record[name]) for name in ("alen", "plen", "nlen", "tlen")}
        sealed = bytes.fromhex(record["ct"])
        cipher, tag = sealed[: sizes["plen"]], sealed[sizes["plen"] :]
        key, nonce, aad = (bytes.fromhex(record[name]) for name in ("key", "nonce", "adata"))
        aad = aad[: sizes["alen"]]
        text, computed = aes.ccm(key, nonce, aad, cipher, False, sizes["tlen"])
        assert (computed == tag) == (record["result"] == "Pass")
        if record["result"] == "Pass":
            assert text == bytes.fromhex(record["payload"])[: sizes["plen"]]
            assert aes.ccm(key, nonce, aad, text, True, sizes["tlen"]) == (cipher, tag)
        results.add(record["result"])
    assert results == {"Pass", "Fail"}


@given(KEYS, st.binary(min_size=7, max_size=13), st.binary(max_size=40), st.binary(max_size=100))
def test_ccm_decrypts_data_that_is_not_authentic(key: bytes, nonce: bytes, aad: bytes, data: bytes) -> None:
    text, tag = aes.ccm(key, nonce, aad, data, False, 8)
    assert AESCCM(key, 8).encrypt(nonce, text, aad) == data + tag


def mac_in_jobs(mode: aes.MacMode, key: bytes, parts: list[bytes]) -> bytes:
    context = b""
    for index, part in enumerate(parts):
        key, context = aes.mac(mode, key, context, part, first=index == 0, last=index == len(parts) - 1)
    return context[:16]


XCBC_KEY = bytes(range(16))
XCBC = {  # RFC 3566, section 4: message -> MAC, key as above
    b"": "75f0251d528ac01c4573dfd584d79f29",
    bytes(range(3)): "5b376580ae2f19afe7219ceef172756f",
    bytes(range(16)): "d2a246fa349b68a79998a4394ff7a263",
    bytes(range(20)): "47f51b4564966215b8985c63055ed308",
    bytes(range(32)): "f54f0ec8d2b9f3d36807734bd5283fd4",
    bytes(range(34)): "becbb3bccdb518a30677d5481fb6b4d8",
    bytes(1000): "f0dafee895db30253761103b5d84528f",
}


@pytest.mark.parametrize("message", XCBC, ids=len)
def test_xcbc_gives_the_published_answers_in_any_number_of_jobs(message: bytes) -> None:
    macs = {mac_in_jobs("xcbc", XCBC_KEY, [message])}
    for split in range(16, len(message), 16):
        macs.add(mac_in_jobs("xcbc", XCBC_KEY, [message[:split], message[split:]]))
        macs.add(mac_in_jobs("xcbc", XCBC_KEY, [b"", message[:split], message[split:]]))
    assert macs == {bytes.fromhex(XCBC[message])}


@given(KEYS, st.lists(blocks(3), max_size=3), st.binary(min_size=1, max_size=40))
def test_cmac_is_that_of_libcrypto_in_any_number_of_jobs(key: bytes, parts: list[bytes], last: bytes) -> None:
    reference = cmac.CMAC(algorithms.AES(key))
    reference.update(b"".join(parts) + last)
    assert mac_in_jobs("cmac", key, [*parts, last]) == reference.finalize()


def test_cmac_of_nothing_is_the_published_one() -> None:
    record = next(read_records("CMAC/nist-800-38b-aes128.txt"))
    assert mac_in_jobs("cmac", bytes.fromhex(record["key"]), [b""]).hex() == record["output"]


def test_mac_keeps_in_the_context_what_the_driver_stores() -> None:
    """Comment in Linux drivers/crypto/caam/caamhash_desc.c, cnstr_shdsc_sk_hash: "Save context"."""
    key, context = aes.mac("cmac", KEY, b"", bytes(16), first=True, last=False)
    assert (key, context[16:]) == (KEY, aes.ecb(KEY, bytes(16), True))
    k1, context = aes.mac("xcbc", KEY, b"", bytes(16), first=True, last=False)
    assert [k1, context[16:32], context[32:]] == [aes.ecb(KEY, bytes([n]) * 16, True) for n in (1, 2, 3)]


REFUSED: dict[str, tuple[UnitError, Callable[[], object]]] = {
    "ecb key": (UnitError.KEY_SIZE, lambda: aes.ecb(bytes(15), b"", True)),
    "ecb data": (UnitError.DATA_SIZE, lambda: aes.ecb(KEY, bytes(15), True)),
    "cbc key": (UnitError.KEY_SIZE, lambda: aes.cbc(b"", bytes(16), b"", True)),
    "cbc data": (UnitError.DATA_SIZE, lambda: aes.cbc(KEY, bytes(16), bytes(17), False)),
    "ctr key": (UnitError.KEY_SIZE, lambda: aes.ctr(bytes(64), bytes(16), b"")),
    "xts key": (UnitError.KEY_SIZE, lambda: aes.xts(bytes(48), bytes(16), bytes(16), True)),
    "xts data": (UnitError.DATA_SIZE, lambda: aes.xts(bytes(32), bytes(16), bytes(15), True)),
    "xts long": (UnitError.DATA_SIZE, lambda: aes.xts(bytes(32), bytes(16), bytes(aes.MAX_XTS_SIZE + 1), True)),
    "gcm key": (UnitError.KEY_SIZE, lambda: aes.gcm(bytes(20), bytes(12), b"", b"", True)),
    "gcm iv": (UnitError.DATA_SIZE, lambda: aes.gcm(KEY, b"", b"", b"", True)),
    "ccm key": (UnitError.KEY_SIZE, lambda: aes.ccm(bytes(1), bytes(12), b"", b"", True, 8)),
    "ccm nonce": (UnitError.DATA_SIZE, lambda: aes.ccm(KEY, bytes(6), b"", b"", True, 8)),
    "ccm tag": (UnitError.DATA_SIZE, lambda: aes.ccm(KEY, bytes(12), b"", b"", True, 5)),
    "ccm data": (UnitError.DATA_SIZE, lambda: aes.ccm(KEY, bytes(13), b"", bytes(65536), True, 8)),
    "ccm aad": (UnitError.CCM_AAD_SIZE, lambda: aes.ccm(KEY, bytes(12), bytes(0xFF00), b"", True, 8)),
    "mac key": (UnitError.KEY_SIZE, lambda: aes.mac("cmac", bytes(8), b"", b"", first=True, last=True)),
    "xcbc key": (UnitError.KEY_SIZE, lambda: aes.mac("xcbc", bytes(32), b"", b"", first=True, last=True)),
    "mac data": (UnitError.DATA_SIZE, lambda: aes.mac("cmac", KEY, b"", bytes(17), first=True, last=False)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_sizes_are_refused(case: str) -> None:
    error, call = REFUSED[case]
    with pytest.raises(UnitFailure) as caught:
        call()
    assert (caught.value.unit, caught.value.error) == (Unit.AES, error)
