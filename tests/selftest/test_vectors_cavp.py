"""Is a CAVP file read as NIST's documents specify, and is a damaged file refused with its line?"""

import functools
import re
from collections.abc import Callable

import pytest

from fixtures.outcome import UsageError
from fixtures.vectors.cavp import read_aes, read_sha
from fixtures.vectors.model import Collection

KEY = "00" * 16
IV = "11" * 16
TEXT = "22" * 16
CIPHER = "33" * 16
AES = f"""# a comment
[ENCRYPT]

COUNT = 0
KEY = {KEY}
IV = {IV}
PLAINTEXT = {TEXT}
CIPHERTEXT = {CIPHER}

COUNT = 1
KEY = {KEY}
IV = {IV}
PLAINTEXT = {TEXT * 2}
CIPHERTEXT = {CIPHER * 2}

[DECRYPT]

COUNT = 0
KEY = {KEY}
IV = {IV}
CIPHERTEXT = {CIPHER}
PLAINTEXT = {TEXT}
"""
MD = "44" * 20
SHA = f"""#  CAVS 11.0

[L = 20]

Len = 0
Msg = 00
MD = {MD}

Len = 24
Msg = 616263
MD = {MD}
"""

Reader = Callable[[str], Collection]


def cbc(text: str) -> Collection:
    return read_aes(text.encode("latin-1"), "some/CBC.rsp", algorithm="AES-128-CBC", name="MMT")


def ecb(text: str) -> Collection:
    return read_aes(text.encode("latin-1"), "some/ECB.rsp", algorithm="AES-128-ECB", name="MMT")


def ctr(text: str) -> Collection:
    return read_aes(text.encode("latin-1"), "some/CTR.rsp", algorithm="AES-128-CTR", name="MMT")


def sha1(text: str) -> Collection:
    return read_sha(text.encode("latin-1"), "some/SHA1.rsp", algorithm="SHA1", name="ShortMsg")


def swap(text: str, line: int, *new: str) -> str:
    """Return the text with one line, counted from 1, replaced by any number of lines."""
    lines = text.split("\n")
    lines[line - 1 : line] = new
    return "\n".join(lines)


def test_aes_file_is_read() -> None:
    encrypt, decrypt = cbc(AES).groups
    assert (encrypt.id, decrypt.id) == ("AES-128-CBC-MMT-encrypt", "AES-128-CBC-MMT-decrypt")
    assert (encrypt.source, len(encrypt.vectors), len(decrypt.vectors)) == ("CBC.rsp", 2, 1)
    first, second = encrypt.vectors
    assert (first.label, first.line, second.label, second.line) == ("COUNT = 0", 4, "COUNT = 1", 10)
    assert (first.key.hex(), first.iv.hex(), first.input.hex(), first.output.hex()) == (KEY, IV, TEXT, CIPHER)
    back = decrypt.vectors[0]
    assert (back.line, back.input.hex(), back.output.hex()) == (18, CIPHER, TEXT)


def test_ecb_has_no_iv() -> None:
    without = "\n".join(line for line in AES.split("\n") if not line.startswith("IV"))
    assert [vector.iv for group in ecb(without).groups for vector in group.vectors] == [b"", b"", b""]


def test_ctr_accepts_a_partial_block() -> None:
    text = swap(swap(AES, 7, "PLAINTEXT = 2222"), 8, "CIPHERTEXT = 3333")
    assert ctr(text).groups[0].vectors[0].output == b"\x33\x33"


def test_sha_file_is_read_with_an_empty_message() -> None:
    read = sha1(SHA)
    (group,) = read.groups
    assert (group.id, read.refused) == ("SHA1-ShortMsg", ())
    assert [(v.label, v.line, v.input) for v in group.vectors] == [("Len = 0", 5, b""), ("Len = 24", 9, b"abc")]
    assert {v.output.hex() for v in group.vectors} == {MD}


@pytest.mark.parametrize(("read", "text"), [(cbc, AES), (sha1, SHA)], ids=["aes", "sha"])
def test_line_ends_and_last_newline_make_no_difference(read: Reader, text: str) -> None:
    assert read(text.replace("\n", "\r\n")) == read(text) == read(text.rstrip("\n"))


def test_messages_of_partial_bytes_are_counted_as_refused() -> None:
    read = sha1(swap(swap(SHA, 9, "Len = 23"), 10, "Msg = 616262"))
    assert [v.label for v in read.groups[0].vectors] == ["Len = 0"]
    (refused,) = read.refused
    assert (refused.source, refused.count) == ("SHA1.rsp", 1)
    assert "multiple of 8" in refused.why
    assert "lines 9" in refused.why


def test_file_of_partial_bytes_alone_has_no_group() -> None:
    text = f"[L = 20]\n\nLen = 5\nMsg = 98\nMD = {MD}\n\nLen = 1\nMsg = 80\nMD = {MD}\n"
    assert sha1(text).groups == ()
    assert sha1(text).refused[0].count == 2


# Damage -> reader, text, and the expected line, finding and expectation of the message.
DAMAGED = {
    "unknown key": (cbc, swap(AES, 6, f"NONCE = {IV}"), 6, "'NONCE = ", "COUNT, KEY, IV, PLAINTEXT, CIPHERTEXT"),
    "IV in ECB": (ecb, AES, 6, "'IV = ", "one of the names COUNT, KEY, PLAINTEXT, CIPHERTEXT"),
    "not a field": (cbc, swap(AES, 6, "what is this"), 6, "'what is this'", "name = value"),
    "name in lower case": (cbc, swap(AES, 5, f"key = {KEY}"), 5, "'key = ", "KEY"),
    "half a byte": (cbc, swap(AES, 7, "PLAINTEXT = " + TEXT[1:]), 7, "(31 characters)", "two per byte"),
    "not a digit": (cbc, swap(AES, 7, "PLAINTEXT = zz" + TEXT[2:]), 7, "PLAINTEXT = 'zz22", "hexadecimal"),
    "space in digits": (cbc, swap(AES, 7, "PLAINTEXT = 22 " + TEXT[2:]), 7, "PLAINTEXT = '22 22", "hexadecimal"),
    "byte outside ASCII": (cbc, swap(AES, 7, "PLAINTEXT = 2\xb2" + TEXT[2:]), 7, "PLAINTEXT = '2\xb2", "hexadecimal"),
    "missing key": (cbc, swap(AES, 5), 4, "without KEY", "a vector of COUNT, KEY, IV"),
    "missing output": (cbc, swap(AES, 8), 4, "without CIPHERTEXT", "a vector of"),
    "missing output of the last": (cbc, swap(AES, 22), 18, "without PLAINTEXT", "a vector of"),
    "empty output": (cbc, swap(AES, 8, "CIPHERTEXT = "), 8, "CIPHERTEXT without a value", "CIPHERTEXT = value"),
    "field twice": (cbc, swap(AES, 6, f"IV = {IV}", f"IV = {IV}"), 7, "a second IV", "the one on line 6"),
    "no empty line between": (cbc, swap(AES, 9), 9, "a second COUNT", "the one on line 4"),
    "empty line inside": (cbc, swap(AES, 6, "", f"IV = {IV}"), 4, "without IV, PLAINTEXT", "a vector of"),
    "field before section": (cbc, swap(AES, 2), 3, "COUNT before any section", "[ENCRYPT] or [DECRYPT]"),
    "unknown section": (cbc, swap(AES, 2, "[ENCIPHER]"), 2, "'[ENCIPHER]'", "[ENCRYPT] or [DECRYPT]"),
    "open section": (cbc, swap(AES, 2, "[ENCRYPT"), 2, "'[ENCRYPT'", "[ENCRYPT] or [DECRYPT]"),
    "section twice": (cbc, swap(AES, 16, "[ENCRYPT]"), 16, "a second section [ENCRYPT]", "the one on line 2"),
    "section missing": (cbc, "\n".join(AES.split("\n")[:15]), 15, "no section [DECRYPT]", "[DECRYPT]"),
    "section empty": (cbc, "[ENCRYPT]\n" + AES[AES.index("[DECRYPT]") :], 2, "end of section [ENCRYPT]", "one vector"),
    "last section empty": (cbc, AES[: AES.index("[DEC")] + "[DECRYPT]\n", 17, "end of section [DECRYPT]", "one vector"),
    "empty file": (cbc, "", 1, "the end of the file", "[ENCRYPT]"),
    "vector lost": (cbc, swap(AES, 10, "COUNT = 2"), 10, "COUNT = '2'", "COUNT = 1, the next in [ENCRYPT]"),
    "COUNT not a number": (cbc, swap(AES, 10, "COUNT = one"), 10, "COUNT = 'one'", "COUNT = 1"),
    "key of another size": (cbc, swap(AES, 5, "KEY = " + "00" * 24), 5, "KEY of 24 bytes", "16 bytes for AES-128-CBC"),
    "short IV": (cbc, swap(AES, 6, "IV = " + "11" * 12), 6, "IV of 12 bytes", "16 bytes for AES-128-CBC"),
    "short output": (cbc, swap(AES, 8, "CIPHERTEXT = 33"), 8, "CIPHERTEXT of 1 bytes", "16 bytes as PLAINTEXT has"),
    "part of a block": (cbc, swap(AES, 7, "PLAINTEXT = 22"), 7, "PLAINTEXT of 1 bytes", "whole blocks of 16 bytes"),
    "Len before section": (sha1, swap(SHA, 3), 4, "Len before any section", "[L = 20]"),
    "digest of another size": (sha1, swap(SHA, 3, "[L = 28]"), 3, "'[L = 28]'", "[L = 20]"),
    "short MD": (sha1, swap(SHA, 11, "MD = 4444"), 11, "MD of 2 bytes", "20 bytes for SHA1"),
    "no MD": (sha1, swap(SHA, 11), 9, "without MD", "a vector of Len, Msg, MD"),
    "Msg shorter than Len": (sha1, swap(SHA, 9, "Len = 32"), 10, "Msg of 3 bytes after Len = 32", "4 bytes"),
    "Msg longer than Len": (sha1, swap(SHA, 9, "Len = 16"), 10, "Msg of 3 bytes after Len = 16", "2 bytes"),
    "bits and too long": (sha1, swap(SHA, 9, "Len = 9"), 10, "Msg of 3 bytes after Len = 9", "2 bytes"),
    "empty Msg not 00": (sha1, swap(SHA, 6, "Msg = 61"), 6, "Msg = '61' after Len = 0", "Msg = 00"),
    "Len not a number": (sha1, swap(SHA, 9, "Len = -24"), 9, "Len = '-24'", "a decimal number"),
    "Monte fields": (sha1, swap(SHA, 4, "", "Seed = 00"), 5, "'Seed = 00'", "Len, Msg, MD"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file_is_refused_with_its_line(name: str) -> None:
    read, text, line, found, expected = DAMAGED[name]
    with pytest.raises(UsageError) as refused:
        read(text)
    message = str(refused.value)
    where, what, wanted = re.fullmatch(r"(some/\w+\.rsp:\d+): found (.*); expected (.*)", message, re.DOTALL).groups()  # type: ignore[union-attr]
    assert where.endswith(f".rsp:{line}")
    assert found in what
    assert expected in wanted
    assert len(message) < 300


@pytest.mark.parametrize(("read", "text"), [(cbc, AES), (sha1, SHA)], ids=["aes", "sha"])
def test_file_without_any_one_line_is_refused(read: Reader, text: str) -> None:
    """Comments and empty lines excepted."""
    lines = text.rstrip("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            with pytest.raises(UsageError, match=r"\.rsp:\d+: found "):
                read(swap(text, number))


@pytest.mark.parametrize(("read", "text"), [(cbc, AES), (sha1, SHA)], ids=["aes", "sha"])
def test_truncated_file_is_refused_unless_cut_between_vectors(read: Reader, text: str) -> None:
    """Cut at every byte. Only the count of its folder detects a cut between vectors of the last section."""
    whole = {vector for group in read(text).groups for vector in group.vectors}
    for size in range(len(text.rstrip("\n"))):
        try:
            groups = read(text[:size]).groups
        except UsageError:
            continue
        left = {vector for group in groups for vector in group.vectors}
        assert left < whole, f"cut after {size} bytes"
        assert text[:size].rstrip("\n").endswith(MD), f"cut after {size} bytes"


def test_vector_with_another_key_size_is_refused() -> None:
    read = functools.partial(read_aes, AES.encode(), "x.rsp", name="MMT")
    with pytest.raises(UsageError, match=r"x\.rsp:5: found KEY of 16 bytes; expected 32 bytes for AES-256-CBC"):
        read(algorithm="AES-256-CBC")
