"""Answers are compared with the vectors, and mismatches described so that they can be looked up."""

from dataclasses import replace

import pytest

from fixtures.probe.known_answers import MAX_MISMATCHES_SHOWN, describe_mismatches, find_mismatches
from fixtures.probe.wire import Answer, GroupAnswers
from fixtures.vectors.model import Vector, VectorGroup
from fixtures.vectors.sources import load

GROUPS = {group.id: group for group in load().groups}
CBC = GROUPS["AES-128-CBC-VarTxt-encrypt"]
SHA = GROUPS["SHA256-ShortMsg"]
ERROR = "EVP_CipherFinal_ex: error:1C80006B:Provider routines::wrong final block length"


def right_answers(group: VectorGroup, changes: dict[int, Answer] | None = None) -> GroupAnswers:
    """Return the right answers to a group, except for `changes`: index of a vector -> answer."""
    answers = [Answer(vector.output, "") for vector in group.vectors]
    for index, answer in (changes or {}).items():
        answers[index] = answer
    return GroupAnswers(tuple(answers), "engine devcrypto", 0.1)


@pytest.mark.parametrize("group", [CBC, SHA], ids=["cipher", "digest"])
def test_right_answers_have_no_mismatch(group: VectorGroup) -> None:
    assert find_mismatches(group, right_answers(group)) == []


@pytest.mark.parametrize("index", [0, 5, -1])
def test_flipped_bit_is_a_mismatch(index: int) -> None:
    output = CBC.vectors[index].output
    flipped = Answer(bytes([output[0] ^ 1]) + output[1:], "")
    assert find_mismatches(CBC, right_answers(CBC, {index: flipped})) == [(CBC.vectors[index], flipped)]


@pytest.mark.parametrize(
    "bad",
    [
        Answer(b"", ""),
        Answer(b"", ERROR),
        Answer(CBC.vectors[0].output[:-1], ""),
        Answer(CBC.vectors[0].output + b"\0", ""),
        Answer(CBC.vectors[0].output, ERROR),  # the right bytes, and an error with them
    ],
)
def test_missing_short_long_and_failed_answers_are_mismatches(bad: Answer) -> None:
    assert find_mismatches(CBC, right_answers(CBC, {0: bad})) == [(CBC.vectors[0], bad)]


@pytest.mark.parametrize("drop", [1, -1])
def test_more_or_fewer_answers_than_vectors_are_refused(drop: int) -> None:
    given = right_answers(CBC)
    answers = given.answers[:-1] if drop > 0 else (*given.answers, given.answers[0])
    with pytest.raises(ValueError, match="zip"):
        find_mismatches(CBC, replace(given, answers=answers))


def test_mismatch_is_described_in_full() -> None:
    vector = CBC.vectors[2]
    given = right_answers(CBC, {2: Answer(b"\xab" * 16, "")})
    assert describe_mismatches("engine", CBC, given, find_mismatches(CBC, given)).splitlines() == [
        f"1 of {len(CBC.vectors)} answers wrong: {CBC.id} at layer engine, served by engine devcrypto",
        f"{vector.label}, {CBC.source}:{vector.line}",
        f"  key      {vector.key.hex()}",
        f"  iv       {vector.iv.hex()}",
        f"  input    {vector.input.hex()}",
        f"  expected {vector.output.hex()}",
        f"  found    {'ab' * 16}",
    ]


def test_digest_is_described_without_key_and_iv() -> None:
    given = right_answers(SHA, {0: Answer(b"", ""), 1: Answer(b"", ERROR)})
    lines = describe_mismatches("openssl", SHA, given, find_mismatches(SHA, given)).splitlines()
    assert not [line for line in lines if line.startswith(("  key", "  iv"))]
    assert [line for line in lines if line.startswith("  found")] == ["  found    (nothing)", f"  found    {ERROR}"]


def test_first_mismatches_are_shown_and_the_others_counted() -> None:
    given = right_answers(CBC, {index: Answer(b"", ERROR) for index in range(10, 30)})
    text = describe_mismatches("engine", CBC, given, find_mismatches(CBC, given))
    assert text.startswith(f"20 of {len(CBC.vectors)} answers wrong: ")
    assert [line.split(",")[0] for line in text.splitlines() if CBC.source in line] == [
        vector.label for vector in CBC.vectors[10 : 10 + MAX_MISMATCHES_SHOWN]
    ]
    assert text.endswith("\nand 17 more wrong")


def test_count_is_omitted_if_every_mismatch_is_shown() -> None:
    given = right_answers(CBC, {index: Answer(b"", ERROR) for index in range(MAX_MISMATCHES_SHOWN)})
    assert "more wrong" not in describe_mismatches("engine", CBC, given, find_mismatches(CBC, given))


SMALL_GROUP = VectorGroup(
    "AES-128-ECB",
    "encrypt",
    "GFSbox",
    "ECBGFSbox128.rsp",
    tuple(Vector(f"COUNT = {n}", 10 + n, b"key", b"", b"in", b"out") for n in range(5)),
)


def describe(*answers: Answer, served_by: str = "engine devcrypto") -> list[str]:
    given = GroupAnswers(answers, served_by, 0.1)
    return describe_mismatches("engine", SMALL_GROUP, given, find_mismatches(SMALL_GROUP, given)).splitlines()


def test_description_counts_all_mismatches_and_shows_the_first() -> None:
    good, bad = Answer(b"out", ""), Answer(b"OUT", "")
    assert describe(good, bad, Answer(b"", "EVP_CipherUpdate: failed"), bad, bad) == [
        "4 of 5 answers wrong: AES-128-ECB-GFSbox-encrypt at layer engine, served by engine devcrypto",
        "COUNT = 1, ECBGFSbox128.rsp:11",
        "  key      6b6579",
        "  input    696e",
        "  expected 6f7574",
        "  found    4f5554",
        "COUNT = 2, ECBGFSbox128.rsp:12",
        "  key      6b6579",
        "  input    696e",
        "  expected 6f7574",
        "  found    EVP_CipherUpdate: failed",
        "COUNT = 3, ECBGFSbox128.rsp:13",
        "  key      6b6579",
        "  input    696e",
        "  expected 6f7574",
        "  found    4f5554",
        "and 1 more wrong",
    ]


def test_common_error_of_all_vectors_comes_first() -> None:
    error = Answer(b"", "bind(skcipher, ecb(aes)): ENOENT, no such algorithm")
    first, second, *_ = describe(*[error] * 5, served_by="nobody")
    assert first == "layer engine: bind(skcipher, ecb(aes)): ENOENT, no such algorithm"
    assert second == "5 of 5 answers wrong: AES-128-ECB-GFSbox-encrypt at layer engine, served by nobody"
    assert describe(*[error] * 4, Answer(b"out", ""))[0].startswith("4 of 5 answers wrong")
    assert describe(*[Answer(b"OUT", "")] * 5)[0].startswith("5 of 5 answers wrong")
