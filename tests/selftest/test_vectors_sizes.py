"""Vectors of sizes: which lengths there are whatever the seed, and that their expected values are right."""

import hashlib
import zlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fixtures.vectors.model import Vector, VectorGroup
from fixtures.vectors.sizes import (
    AEAD,
    MAX_AGAIN,
    MAX_RECORD,
    SWEEP,
    WINDOW,
    WINDOWS_END,
    SizeVectors,
    describe_lengths,
    lengths_of,
    repeat_wrong,
    without_longer,
    wrong_lengths,
)

LAYERS = ("engine", "engine-explicit", "cryptodev", "afalg")
ALGORITHMS = ("AES-128-CBC", "AES-256-ECB", "AES-192-CTR", "SHA1", "SHA512", AEAD)
SEEDS = (0, 1, 4711, 2**32 - 1)


def lengths(*groups: VectorGroup) -> list[int]:
    return [length for group in groups for vector in group.vectors for length in lengths_of(vector)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_window_is_at_one_layer_and_every_residue_is_hit(seed: int, algorithm: str) -> None:
    found = lengths(*SizeVectors(seed, algorithm).windows(LAYERS))
    assert len(found) == len(set(found))
    assert {length // WINDOW for length in found} == set(range(WINDOWS_END // WINDOW))
    step = 16 if algorithm.endswith(("CBC", "ECB")) else 1
    assert {length % WINDOW for length in found} == set(range(0, WINDOW, step))
    assert {length % 16 for length in found} == set(range(0, 16, step))


@pytest.mark.parametrize("seed", SEEDS)
def test_block_modes_have_every_multiple_of_a_block_up_to_the_longest_record(seed: int) -> None:
    found = lengths(*SizeVectors(seed, "AES-128-CBC").windows(LAYERS))
    assert set(range(16, MAX_RECORD + 1, 16)) <= set(found)


@pytest.mark.parametrize("layers", [LAYERS, ("cryptodev", "afalg"), ("engine",)], ids=len)
def test_layers_have_equal_shares_of_the_windows(layers: tuple[str, ...]) -> None:
    groups = SizeVectors(1, "SHA1").windows(layers)
    assert [group.name for group in groups] == [f"window-sizes-at-{layer}" for layer in layers]
    counts = [len(lengths(group)) for group in groups]
    assert max(counts) - min(counts) <= 1
    assert max(len(lengths_of(vector)) for group in groups for vector in group.vectors) == SWEEP


@pytest.mark.parametrize(
    ("border", "offsets"), [(576, (-1, 0, 1)), (1280, (-1, 0, 1)), (1500, (-1, 0, 1)), (9000, (-1, 0, 1))]
)
def test_packets_have_their_borders_whatever_the_seed(border: int, offsets: tuple[int, ...]) -> None:
    for seed in SEEDS:
        assert {border + offset for offset in offsets} <= set(lengths(SizeVectors(seed, "SHA256").packets()))
    assert border // 16 * 16 in lengths(SizeVectors(0, "AES-128-CBC").packets())


def test_records_and_large_messages_have_their_lengths() -> None:
    records = set(lengths(SizeVectors(3, "AES-128-CTR").records()))
    assert {n + offset for n in (16, 256, 1024, 16384, 16640) for offset in (-1, 0, 1)} <= records
    large = [128 << 10, 1 << 20, (4 << 20) + (64 << 10), 9 << 20]
    assert lengths(SizeVectors(3, "SHA1").large()) == large
    assert lengths(SizeVectors(3, "SHA1").large_in_pieces()) == large[:-1]


def test_seed_decides_lengths_and_data() -> None:
    one, same, other = (SizeVectors(seed, "AES-128-CBC").windows(LAYERS) for seed in (1, 1, 2))
    assert one == same
    assert set(lengths(one[0])) != set(lengths(other[0]))
    assert one[0].vectors[0].input != other[0].vectors[0].input


def test_seed_decides_a_group_whatever_else_is_made_of_it() -> None:
    alone = SizeVectors(5, AEAD).records()
    vectors = SizeVectors(5, AEAD)
    vectors.windows(LAYERS)
    assert vectors.records() == alone


def output(algorithm: str, vector: Vector, length: int) -> bytes:
    """Return the output for a message of a length, computed in one call."""
    message = (vector.input * (length // len(vector.input) + 1))[:length]
    if algorithm == AEAD:
        associated = int(vector.pattern.split()[1])
        return AESGCM(vector.key).encrypt(vector.iv, message, vector.input[:associated])
    if algorithm.startswith("SHA"):
        return hashlib.new(algorithm.lower(), message).digest()
    mode: modes.CBC | modes.CTR | modes.ECB = modes.ECB()
    if vector.iv:
        mode = modes.CBC(vector.iv) if algorithm.endswith("CBC") else modes.CTR(vector.iv)
    context = Cipher(algorithms.AES(vector.key), mode).encryptor()
    return context.update(message) + context.finalize()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_expected_values_are_those_of_one_call(algorithm: str) -> None:
    vectors = SizeVectors(9, algorithm)
    for group in (vectors.packets(), vectors.records(), vectors.windows(LAYERS)[2], vectors.large()):
        for vector in group.vectors[:: 1 + len(group.vectors) // 8]:
            crcs = [zlib.crc32(output(algorithm, vector, length)) for length in lengths_of(vector)]
            assert vector.output == b"".join(crc.to_bytes(4, "big") for crc in crcs)
            assert len(vector.key) == (0 if algorithm.startswith("SHA") else int(algorithm.split("-")[1]) // 8)


def test_associated_data_has_every_length_in_every_group() -> None:
    vectors = SizeVectors(2, AEAD)
    for group in (vectors.packets(), *vectors.windows(LAYERS)):
        assert {int(vector.pattern.split()[1]) for vector in group.vectors} == {0, 1, 5, 8, 12, 13, 16, 20, 63, 64}


@pytest.mark.parametrize("distance", [1 << n for n in range(4, 24)])
def test_data_from_another_place_of_the_message_differs(distance: int) -> None:
    message = SizeVectors(6, "SHA1").large().vectors[0].input
    start = distance % len(message)
    assert (message * 2)[start : start + len(message)] != message


def test_group_without_longer_messages_keeps_its_id() -> None:
    group = SizeVectors(1, "SHA1").large()
    fitting = without_longer(group, 2 << 20)
    assert (fitting.id, lengths(fitting)) == (group.id, [128 << 10, 1 << 20])
    assert without_longer(group, 1 << 30) == group


def test_wrong_lengths_are_those_with_another_checksum_and_all_after_an_error() -> None:
    vector = SizeVectors(1, "SHA1").records().vectors[0]
    changed = vector.output[:4] + bytes([vector.output[4] ^ 1]) + vector.output[5:]
    assert wrong_lengths(vector, vector.output) == []
    assert wrong_lengths(vector, changed) == [lengths_of(vector)[1]]
    assert wrong_lengths(vector, b"") == lengths_of(vector)


@pytest.mark.parametrize("algorithm", ["AES-128-CBC", AEAD])
def test_wrong_lengths_are_repeated_one_by_one_with_their_values(algorithm: str) -> None:
    group = SizeVectors(1, algorithm).windows(LAYERS)[0]
    first, second = group.vectors[:2]
    wrong = [(first, lengths_of(first)[3]), *((second, length) for length in lengths_of(second))]
    again = repeat_wrong(group, wrong)
    assert again.name == f"{group.name}-again"
    assert lengths(again) == [length for _, length in wrong][:MAX_AGAIN]
    for vector, (whole, length) in zip(again.vectors, wrong, strict=False):
        expected = zlib.crc32(output(algorithm, whole, length)).to_bytes(4, "big")
        assert vector == replace(whole, label=vector.label, line=vector.line, pattern=vector.pattern, output=expected)
        assert zlib.crc32(output(algorithm, vector, length)).to_bytes(4, "big") == vector.output


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ([], ""),
        ([64], "wrong: 64 bytes"),
        ([1408, 1424, 1440, 1456], "wrong: from 1408 to 1456 bytes (4 lengths)"),
        ([8976, 64, 1440, 1424], "wrong: 64 bytes, from 1424 to 1440 bytes (2 lengths), 8976 bytes"),
    ],
)
def test_wrong_lengths_are_described_as_ranges_of_a_group(wrong: list[int], text: str) -> None:
    assert describe_lengths(SizeVectors(0, "AES-128-CBC").packets(), wrong) == text


def test_description_of_many_ranges_is_short() -> None:
    (group,) = SizeVectors(0, "SHA1").windows(("engine",))
    text = describe_lengths(group, sorted(lengths(group))[::2])
    assert text.endswith(" more")
    assert len(text) < 200
