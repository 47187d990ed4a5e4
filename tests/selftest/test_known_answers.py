"""Are answers judged against what the vectors expect, and are mistakes told so that they can be looked up?"""

from dataclasses import replace

import pytest

from fixtures.probe.known_answers import MAX_MISMATCHES_SHOWN, describe_mismatches, find_mismatches
from fixtures.probe.wire import Answer, GroupAnswers
from fixtures.vectors.model import VectorGroup
from fixtures.vectors.sources import load

GROUPS = {group.id: group for group in load().groups}
CBC = GROUPS["AES-128-CBC-VarTxt-encrypt"]
SHA = GROUPS["SHA256-ShortMsg"]
ERROR = "EVP_CipherFinal_ex: error:1C80006B:Provider routines::wrong final block length"


def answered(group: VectorGroup, changes: dict[int, Answer] | None = None) -> GroupAnswers:
    """Answers that are right, but for the places given."""
    answers = [Answer(vector.output, "") for vector in group.vectors]
    for place, answer in (changes or {}).items():
        answers[place] = answer
    return GroupAnswers(tuple(answers), "engine devcrypto", 0.1)


@pytest.mark.parametrize("group", [CBC, SHA], ids=["cipher", "digest"])
def test_right_answers_have_no_mistakes(group: VectorGroup) -> None:
    assert find_mismatches(group, answered(group)) == []


@pytest.mark.parametrize("place", [0, 5, -1])
def test_one_flipped_bit_is_a_mistake(place: int) -> None:
    output = CBC.vectors[place].output
    flipped = Answer(bytes([output[0] ^ 1]) + output[1:], "")
    assert find_mismatches(CBC, answered(CBC, {place: flipped})) == [(CBC.vectors[place], flipped)]


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
def test_nothing_short_long_and_an_error_are_mistakes(bad: Answer) -> None:
    assert find_mismatches(CBC, answered(CBC, {0: bad})) == [(CBC.vectors[0], bad)]


@pytest.mark.parametrize("drop", [1, -1])
def test_answers_that_do_not_belong_to_the_vectors_are_not_judged(drop: int) -> None:
    given = answered(CBC)
    answers = given.answers[:-1] if drop > 0 else (*given.answers, given.answers[0])
    with pytest.raises(ValueError, match="zip"):
        find_mismatches(CBC, replace(given, answers=answers))


def test_a_mistake_is_told_in_full() -> None:
    vector = CBC.vectors[2]
    given = answered(CBC, {2: Answer(b"\xab" * 16, "")})
    assert describe_mismatches("engine", CBC, given, find_mismatches(CBC, given)).splitlines() == [
        f"1 of {len(CBC.vectors)} answers wrong: {CBC.id} at layer engine, served by engine devcrypto",
        f"{vector.label}, {CBC.source}:{vector.line}",
        f"  key      {vector.key.hex()}",
        f"  iv       {vector.iv.hex()}",
        f"  input    {vector.input.hex()}",
        f"  expected {vector.output.hex()}",
        f"  found    {'ab' * 16}",
    ]


def test_a_digest_is_told_without_a_key() -> None:
    given = answered(SHA, {0: Answer(b"", ""), 1: Answer(b"", ERROR)})
    lines = describe_mismatches("openssl", SHA, given, find_mismatches(SHA, given)).splitlines()
    assert not [line for line in lines if line.startswith(("  key", "  iv"))]
    assert [line for line in lines if line.startswith("  found")] == ["  found    (nothing)", f"  found    {ERROR}"]


def test_of_many_mistakes_the_first_are_shown_and_the_others_counted() -> None:
    given = answered(CBC, {place: Answer(b"", ERROR) for place in range(10, 30)})
    text = describe_mismatches("engine", CBC, given, find_mismatches(CBC, given))
    assert text.startswith(f"20 of {len(CBC.vectors)} answers wrong: ")
    assert [line.split(",")[0] for line in text.splitlines() if CBC.source in line] == [
        vector.label for vector in CBC.vectors[10 : 10 + MAX_MISMATCHES_SHOWN]
    ]
    assert text.endswith("\nand 17 more wrong")


def test_as_many_as_are_shown_are_not_followed_by_a_count() -> None:
    given = answered(CBC, {place: Answer(b"", ERROR) for place in range(MAX_MISMATCHES_SHOWN)})
    assert "more wrong" not in describe_mismatches("engine", CBC, given, find_mismatches(CBC, given))
