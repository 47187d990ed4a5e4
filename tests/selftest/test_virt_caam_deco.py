"""The CAAM model executes the descriptors of Linux 6.1: the results are those of cryptography, hashlib and hmac."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from caam_bench import LINUX, Bench, Outcome, commands, job, pointer, to_words
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

from fixtures.virt.caam.commands import Key
from fixtures.virt.caam.errors import RngError, Unit
from fixtures.virt.caam.silicon import Silicon

TEXT = bytes(range(1, 161))
IV = bytes(range(200, 216))
ASSOCIATED = b"associated data!"
SALT = b"salt"
ICV_CHECK, AES_ICV, MDHA_ICV = 0xF00000FF, 0x2000001A, 0x2000004A
"""The parts of a status word that say what failed, and their values for a wrong integrity check value (error.c)."""


def encrypt(cipher: algorithms.AES | TripleDES, mode: modes.Mode, data: bytes, *, decrypt: bool = False) -> bytes:
    """Return what the package cryptography computes."""
    whole: Cipher[Any] = Cipher(cipher, mode)
    context = whole.decryptor() if decrypt else whole.encryptor()
    return context.update(data) + context.finalize()


def key_of(name: str) -> bytes:
    """Return a key of the size that a descriptor of Linux has."""
    sizes = [command.length for _, command in commands(LINUX[name]) if isinstance(command, Key)]
    return bytes(range(50, 50 + sizes[0]))


# -- ciphers


CIPHERS: dict[str, tuple[Callable[[bytes], algorithms.AES | TripleDES], Callable[[bytes], modes.Mode], int]] = {
    "cbc(aes)": (algorithms.AES, modes.CBC, 16),
    "cbc(des3_ede)": (TripleDES, modes.CBC, 8),
    "cbc(des)": (lambda key: TripleDES(key * 3), modes.CBC, 8),
    "ctr(aes)": (algorithms.AES, modes.CTR, 16),
    "ecb(aes)": (algorithms.AES, lambda _: modes.ECB(), 0),
    "ecb(des)": (lambda key: TripleDES(key * 3), lambda _: modes.ECB(), 0),
    "ecb(des3_ede)": (TripleDES, lambda _: modes.ECB(), 0),
}
"""Algorithm, mode and size of the IV, in bytes."""


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
@pytest.mark.parametrize("name", CIPHERS)
def test_cipher_with_tables_and_iv_of_the_next_request(name: str, direction: str) -> None:
    """The IV is read in front of the message and written behind it (caamalg.c, skcipher_edesc_alloc)."""
    algorithm, mode, size = CIPHERS[name]
    key, iv = key_of(f"{name} {direction}"), IV[:size]
    outcome = Bench().run_linux(f"{name} {direction}", iv + TEXT, len(TEXT) + size, key=key)
    expected = encrypt(algorithm(key), mode(iv), TEXT, decrypt=direction == "decrypt")
    following = (expected if direction == "encrypt" else TEXT)[-size:] if size else b""
    if name == "ctr(aes)":
        following = (int.from_bytes(iv, "big") + len(TEXT) // 16).to_bytes(16, "big")
    assert outcome == Outcome(0, expected + following)


def test_ctr_takes_a_part_of_a_block_and_counts_it() -> None:
    key = key_of("ctr(aes) encrypt")
    outcome = Bench().run_linux("ctr(aes) encrypt", b"\xff" * 16 + TEXT[:17], 33, key=key)
    assert outcome.output[:17] == encrypt(algorithms.AES(key), modes.CTR(b"\xff" * 16), TEXT[:17])
    assert outcome.output[17:] == bytes(15) + b"\1"


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_rfc3686_has_nonce_iv_and_a_counter_from_1(direction: str) -> None:
    name = f"rfc3686(ctr(aes)) {direction}"
    key, nonce = key_of(name), b"nonc"
    outcome = Bench().run_linux(name, IV[:8] + TEXT, len(TEXT) + 8, key=key, nonce=nonce)
    counter = nonce + IV[:8] + b"\0\0\0\1"
    assert outcome == Outcome(0, encrypt(algorithms.AES(key), modes.CTR(counter), TEXT) + IV[:8])


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_xts(direction: str) -> None:
    name = f"xts(aes) {direction}"
    key = key_of(name)
    outcome = Bench().run_linux(name, IV + TEXT, len(TEXT) + 16, key=key)
    expected = encrypt(algorithms.AES(key), modes.XTS(IV), TEXT, decrypt=direction == "decrypt")
    assert (outcome.status, outcome.output[: len(TEXT)]) == (0, expected)


def test_input_is_decrypted_in_place() -> None:
    key = key_of("cbc(aes) decrypt")
    bench = Bench()
    text = encrypt(algorithms.AES(key), modes.CBC(IV), TEXT)
    place = bench.put(IV + text)
    words = list(LINUX["cbc(aes) decrypt"])
    job_start = words[0] & 0x3F
    shared = words[:job_start]
    shared[3:7] = to_words(key)
    start = bench.put(b"".join(word.to_bytes(4, "big") for word in shared))
    status = bench.run(
        [
            *(0xB0801C0B | job_start << 16, *pointer(start)),
            *(0xF0400000, *pointer(place), len(TEXT) + 16, 0xF8400000, *pointer(place + 16), len(TEXT) + 16),
        ]
    )
    assert (status, bench.get(place + 16, len(TEXT))) == (0, TEXT)


@pytest.mark.parametrize("later", [False, True])
def test_digest_of_input_that_the_cipher_overwrites_is_that_of_the_input(later: bool) -> None:
    """Class 2 waits for more data, or for its operation."""
    bench, key = Bench(), key_of("cbc(aes) encrypt")
    place, stored, digest = bench.put(TEXT), bench.room(16), bench.room(32)
    words = job(
        *(0x02800010, *to_words(key), 0x8210010D, 0xF0000000 | len(TEXT), *pointer(place)),
        *(0xF8000000 | len(TEXT), *pointer(place), 0x68300000 | len(TEXT)),
        *((0x2E160000 | len(TEXT),) if later else (0x8443000D, 0x2E120000 | len(TEXT))),
        *(0x52200010, *pointer(stored)),
        *((0x8443000D,) if later else (0x24940004, *to_words(b"tail"))),
        *(0x54200020, *pointer(digest)),
    )
    assert bench.run(words) == 0
    assert bench.get(place, len(TEXT)) == encrypt(algorithms.AES(key), modes.CBC(bytes(16)), TEXT)
    assert bench.get(digest, 32) == hashlib.sha256(TEXT if later else TEXT + b"tail").digest()


# -- digests

DIGESTS = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
"""Size of the state words, in bytes; the length behind them has 8 bytes."""


@pytest.mark.parametrize("name", DIGESTS)
def test_digest_of_a_whole_message(name: str) -> None:
    expected = hashlib.new(name, TEXT).digest()
    words = list(LINUX[f"{name} of a long key"])
    words[6] = words[6] & ~0xFFFF | len(TEXT)
    bench = Bench()
    output = bench.room(len(expected))
    words[3:6], words[8:11] = [*pointer(bench.put(TEXT)), len(TEXT)], [*pointer(output), len(expected)]
    assert (bench.run(words), bench.get(output, len(expected))) == (0, expected)


@pytest.mark.parametrize("name", DIGESTS)
def test_digest_of_nothing_has_no_input_sequence(name: str) -> None:
    expected = hashlib.new(name, b"").digest()
    assert Bench().run_linux(f"{name} init-final", b"", len(expected)) == Outcome(0, expected)


@pytest.mark.parametrize("rest", [0, 1, 160])
@pytest.mark.parametrize("name", ["sha1", "sha256", "sha512"])
def test_digest_in_three_jobs_goes_on_with_the_stored_context(name: str, rest: int) -> None:
    first, second, last = bytes(256), TEXT[:128], TEXT[:rest]
    bench, size = Bench(), DIGESTS[name] + 8
    begun = bench.run_linux(f"{name} init", first, size)
    more = bench.run_linux(f"{name} update", begun.output + second, size)
    expected = hashlib.new(name, first + second + last).digest()
    ended = bench.run_linux(f"{name} final", more.output + last, len(expected))
    assert (begun.status, more.status, ended) == (0, 0, Outcome(0, expected))
    assert int.from_bytes(more.output[-8:], "big") == len(first + second)


@pytest.mark.parametrize("size", [1, 20, 32, 33, 64, 65, 128, 200])
@pytest.mark.parametrize("name", DIGESTS)
def test_hmac_whose_key_is_in_the_descriptor_or_behind_a_pointer(name: str, size: int) -> None:
    key = bytes(range(size))
    expected = hmac.digest(key, TEXT, name)
    assert Bench().run_linux(f"hmac({name}) init-final", TEXT, len(expected), hmac_key=key) == Outcome(0, expected)


@pytest.mark.parametrize("name", DIGESTS)
def test_hmac_in_two_jobs_with_the_key_in_each(name: str) -> None:
    key, bench = b"Jefe", Bench()
    begun = bench.run_linux(f"hmac({name}) init", bytes(128), DIGESTS[name] + 8, hmac_key=key)
    expected = hmac.digest(key, bytes(128) + TEXT, name)
    ended = bench.run_linux(f"hmac({name}) final", begun.output + TEXT, len(expected), hmac_key=key)
    assert (begun.status, ended) == (0, Outcome(0, expected))


def test_hmac_with_a_key_of_the_key_register() -> None:
    """The split key job of key_gen.c, and the split key that it stored, encrypted, for the next one (before era 6)."""
    bench, key = Bench(), bytes(range(20))
    black, output = bench.room(48), bench.room(20)
    split = job(
        *(0x04000014, *pointer(bench.put(key)), 0x84410014, 0x24940000, 0xA4000001),
        *(0x64260028, *pointer(black)),
    )
    assert bench.run(split) == 0
    mac = job(
        *(0x04430028, *pointer(black), 0x8441004D, 0x24140000 | len(TEXT), *pointer(bench.put(TEXT))),
        *(0x54200014, *pointer(output)),
    )
    assert (bench.run(mac), bench.get(output, 20)) == (0, hmac.digest(key, TEXT, "sha1"))
    assert key not in bench.get(black, 48)


@pytest.mark.parametrize("sizes", [(16, 16, 1), (32, 64, 16), (16, 48, 16)])
def test_xcbc_in_three_jobs_with_an_encrypted_key(sizes: tuple[int, int, int]) -> None:
    """The first job stores K1 as a black key; the later ones load it (caamhash_desc.c, cnstr_shdsc_sk_hash)."""
    key, bench, start = bytes(range(16)), Bench(), 0
    text = bytes(range(sum(sizes)))
    black = bench.room(16)
    context = b""
    for name, size in zip(("init", "update", "final"), sizes, strict=True):
        part = text[start : start + size]
        start += size
        output = 16 if name == "final" else 48
        outcome = bench.run_linux(f"xcbc(aes) {name}", context + part, output, key=key, black_key=black)
        assert outcome.status == 0
        context = outcome.output
    k1 = encrypt(algorithms.AES(key), modes.ECB(), b"\1" * 16)
    assert bench.get(black, 16) != k1
    assert context == xcbc(key, text)


def xcbc(key: bytes, text: bytes) -> bytes:
    """Return AES-XCBC-MAC by its definition (RFC 3566)."""
    k1, k2, k3 = (encrypt(algorithms.AES(key), modes.ECB(), bytes([number]) * 16) for number in (1, 2, 3))
    padded = text if text and len(text) % 16 == 0 else (text + b"\x80").ljust(-(-(len(text) + 1) // 16) * 16, b"\0")
    mask = k2 if padded == text else k3
    last = bytes(one ^ other for one, other in zip(padded[-16:], mask, strict=True))
    return encrypt(algorithms.AES(k1), modes.CBC(bytes(16)), padded[:-16] + last)[-16:]


@pytest.mark.parametrize("rest", [0, 7, 16])
def test_cmac_in_three_jobs(rest: int) -> None:
    key, bench = bytes(range(16)), Bench()
    begun = bench.run_linux("cmac(aes) init", TEXT[:32], 32, key=key)
    more = bench.run_linux("cmac(aes) update", begun.output + TEXT[32:48], 32, key=key)
    mac = CMAC(algorithms.AES(key))
    mac.update(TEXT[:48] + bytes(rest))
    ended = bench.run_linux("cmac(aes) final", more.output + bytes(rest), 16, key=key)
    if rest:
        assert ended == Outcome(0, mac.finalize())
    else:  # Linux keeps the last block for the last job, so that one is never empty
        assert ended.status == 0


# -- AEAD


def seal_gcm(key: bytes, iv: bytes, text: bytes, associated: bytes) -> bytes:
    """Return ciphertext and tag by the package cryptography."""
    return AESGCM(key).encrypt(iv, text, associated)


@pytest.mark.parametrize("text", [b"", TEXT], ids=len)
@pytest.mark.parametrize("associated", [b"", ASSOCIATED], ids=len)
def test_gcm_in_both_directions(associated: bytes, text: bytes) -> None:
    name = "gcm(aes) encrypt" if associated or text else "gcm(aes) encrypt, nothing to do"
    key, iv, size = key_of(name), IV[:12], len(associated)
    sealed = seal_gcm(key, iv, text, associated)
    outcome = Bench().run_linux(name, associated + text, size + len(sealed), key=key, iv=iv, associated=size)
    assert (outcome.status, outcome.output[size:]) == (0, sealed)
    opened = Bench().run_linux(
        "gcm(aes) decrypt", associated + sealed, size + len(text), key=key, iv=iv, associated=size
    )
    assert (opened.status, opened.output[size:]) == (0, text)


@pytest.mark.parametrize("at", [0, 16, -1], ids=["associated data", "text", "tag"])
def test_gcm_of_changed_data_is_refused(at: int) -> None:
    key, iv = key_of("gcm(aes) decrypt"), IV[:12]
    data = bytearray(ASSOCIATED + seal_gcm(key, iv, TEXT, ASSOCIATED))
    data[at] ^= 1
    outcome = Bench().run_linux("gcm(aes) decrypt", bytes(data), 16 + len(TEXT), key=key, iv=iv, associated=16)
    assert outcome.status == 0x2000121A  # CCB: desc idx 18: AES: ICV check failed


@pytest.mark.parametrize("text", [b"", TEXT], ids=len)
def test_rfc4106_takes_the_iv_from_the_associated_data(text: bytes) -> None:
    iv, key = IV[:8], key_of("rfc4106(gcm(aes)) encrypt")
    sealed = seal_gcm(key, SALT + iv, text, ASSOCIATED)
    size = len(ASSOCIATED + iv)
    places: dict[str, bytes | int] = {"key": key, "iv": SALT + iv, "associated": size}
    outcome = Bench().run_linux("rfc4106(gcm(aes)) encrypt", ASSOCIATED + iv + text, size + len(sealed), **places)
    assert (outcome.status, outcome.output[size:]) == (0, sealed)
    opened = Bench().run_linux("rfc4106(gcm(aes)) decrypt", ASSOCIATED + iv + sealed, size + len(text), **places)
    assert (opened.status, opened.output[size:]) == (0, text)


def test_rfc4543_copies_the_text_that_it_authenticates() -> None:
    """The descriptor writes a length into its own MOVE command."""
    iv, key = IV[:8], key_of("rfc4543(gcm(aes)) encrypt")
    data = ASSOCIATED + iv + TEXT
    tag = seal_gcm(key, SALT + iv, b"", data)
    places: dict[str, bytes | int] = {"key": key, "iv": SALT + iv, "associated": 24}
    assert Bench().run_linux("rfc4543(gcm(aes)) encrypt", data, len(data) + 16, **places) == Outcome(0, data + tag)
    assert Bench().run_linux("rfc4543(gcm(aes)) decrypt", data + tag, len(data), **places) == Outcome(0, data)
    wrong = Bench().run_linux("rfc4543(gcm(aes)) decrypt", data + bytes(16), len(data), **places)
    assert wrong.status & ICV_CHECK == AES_ICV


@pytest.mark.parametrize("cipher", ["cbc(aes)", "cbc(des3_ede)", "cbc(des)"])
def test_authenc_computes_the_mac_over_the_ciphertext(cipher: str) -> None:
    name = f"authenc(hmac(sha1),{cipher})"
    key, hmac_key = key_of(f"{name} encrypt"), b"key of the MAC"
    algorithm, mode, size = CIPHERS[cipher]
    iv = IV[:size]
    text = encrypt(algorithm(key), mode(iv), TEXT)
    mac = hmac.digest(hmac_key, ASSOCIATED + text, "sha1")
    places: dict[str, bytes | int] = {"key": key, "hmac_key": hmac_key, "iv": iv, "associated": 16}
    sealed = Bench().run_linux(f"{name} encrypt", ASSOCIATED + TEXT, 16 + len(text) + 20, **places)
    assert (sealed.status, sealed.output[16:]) == (0, text + mac)
    opened = Bench().run_linux(f"{name} decrypt", ASSOCIATED + text + mac, 16 + len(text), **places)
    assert (opened.status, opened.output[16:]) == (0, TEXT)
    wrong = Bench().run_linux(f"{name} decrypt", ASSOCIATED + text + bytes(20), 16 + len(text), **places)
    assert wrong.status & ICV_CHECK == MDHA_ICV


@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_authenc_with_longer_macs(name: str) -> None:
    whole = f"authenc(hmac({name}),cbc(aes)) encrypt"
    key, hmac_key = key_of(whole), bytes(range(32))
    text = encrypt(algorithms.AES(key), modes.CBC(IV), TEXT)
    mac = hmac.digest(hmac_key, ASSOCIATED + text, name)
    outcome = Bench().run_linux(
        whole, ASSOCIATED + TEXT, 16 + len(text + mac), key=key, hmac_key=hmac_key, iv=IV, associated=16
    )
    assert (outcome.status, outcome.output[16:]) == (0, text + mac)


@pytest.mark.parametrize("size", [1, 8, 160, 640])
def test_authenc_without_encryption_changes_its_own_descriptor(size: int) -> None:
    data, hmac_key = (4 * TEXT)[:size], b"key of the MAC"
    mac = hmac.digest(hmac_key, data, "sha1")
    name = "authenc(hmac(sha1),null)"
    sealed = Bench().run_linux(f"{name} encrypt", data, size + 20, hmac_key=hmac_key, associated=0)
    opened = Bench().run_linux(f"{name} decrypt", data + mac, size, hmac_key=hmac_key, associated=0)
    assert (sealed, opened) == (Outcome(0, data + mac), Outcome(0, data))


# -- random numbers and blobs


def test_random_numbers() -> None:
    bench = Bench()
    words = list(LINUX["rng"])
    found = []
    for _ in range(2):
        output = bench.room(16)
        words[3:5] = pointer(output)
        assert bench.run(words) == 0
        found.append(bench.get(output, 16))
    assert len({bytes(16), *found}) == 3


def test_random_generator_that_is_not_instantiated() -> None:
    status = Bench(silicon=Silicon(has_rng=False)).run(LINUX["rng"])
    assert status == 0x20000100 | Unit.RNG << 4 | RngError.NOT_INSTANTIATED


@pytest.mark.parametrize("handle", [0, 1])
def test_random_numbers_of_the_only_handle_that_is_instantiated(handle: int) -> None:
    chip = Silicon(has_rng=False)
    chip.instantiate(handle)
    bench = Bench(silicon=chip)
    output = bench.room(16)
    words = {number: job(0x82500002 | number << 4, 0x60340010, *pointer(output)) for number in (0, 1)}
    assert bench.run(words[1 - handle]) == 0x20000100 | Unit.RNG << 4 | RngError.NOT_INSTANTIATED
    assert bench.run(words[handle]) == 0
    assert bench.get(output, 16) != bytes(16)


ENCAPSULATE, DECAPSULATE = 0x870D0000, 0x860D0000


def blob_job(operation: int, modifier: bytes, source: tuple[int, int], target: tuple[int, int]) -> list[int]:
    """Return a descriptor as Linux drivers/crypto/caam/blob_gen.c, caam_process_blob, makes it."""
    return job(
        *(0x04800000 | len(modifier), *to_words(modifier)),
        *(0xF0400000, *pointer(source[0]), source[1], 0xF8400000, *pointer(target[0]), target[1], operation),
    )


def test_blob_is_the_key_again_and_only_with_its_modifier() -> None:
    bench, key = Bench(), bytes(range(40))
    blob, opened = bench.room(88), bench.room(40)
    assert bench.run(blob_job(ENCAPSULATE, b"kernel:trusted", (bench.put(key), 40), (blob, 88))) == 0
    assert bench.run(blob_job(DECAPSULATE, b"kernel:trusted", (blob, 88), (opened, 40))) == 0
    assert bench.get(opened, 40) == key
    assert bench.run(blob_job(DECAPSULATE, b"kernel:trustes", (blob, 88), (opened, 40))) & ICV_CHECK == AES_ICV


def test_counters_count_ciphers_by_direction() -> None:
    bench = Bench()
    for direction, times in (("encrypt", 1), ("decrypt", 2)):
        name = f"cbc(aes) {direction}"
        for _ in range(times):
            bench.run_linux(name, IV + TEXT, len(TEXT) + 16, key=key_of(name))
    counters = bench.counters
    assert (counters.encrypt_requests, counters.decrypt_requests) == (1, 2)
    assert (counters.encrypted_bytes, counters.decrypted_bytes) == (160, 320)
