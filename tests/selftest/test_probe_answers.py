"""What is said of wrong answers."""

from fixtures.probe.known_answers import describe_mismatches, find_mismatches
from fixtures.probe.wire import Answer, GroupAnswers
from fixtures.vectors.model import Vector, VectorGroup

GROUP = VectorGroup(
    "AES-128-ECB",
    "encrypt",
    "GFSbox",
    "ECBGFSbox128.rsp",
    tuple(Vector(f"COUNT = {n}", 10 + n, b"key", b"", b"in", b"out") for n in range(5)),
)


def said(*answers: Answer, served_by: str = "engine devcrypto") -> list[str]:
    given = GroupAnswers(answers, served_by, 0.1)
    return describe_mismatches("engine", GROUP, given, find_mismatches(GROUP, given)).splitlines()


def test_the_first_wrong_answers_are_shown_in_full_and_the_others_counted() -> None:
    good, bad = Answer(b"out", ""), Answer(b"OUT", "")
    assert said(good, bad, Answer(b"", "EVP_CipherUpdate: failed"), bad, bad) == [
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


def test_one_reason_for_all_of_them_comes_first() -> None:
    error = Answer(b"", "bind(skcipher, ecb(aes)): ENOENT, no such algorithm")
    first, second, *_ = said(*[error] * 5, served_by="nobody")
    assert first == "layer engine: bind(skcipher, ecb(aes)): ENOENT, no such algorithm"
    assert second == "5 of 5 answers wrong: AES-128-ECB-GFSbox-encrypt at layer engine, served by nobody"
    assert said(*[error] * 4, Answer(b"out", ""))[0].startswith("4 of 5 answers wrong")
    assert said(*[Answer(b"OUT", "")] * 5)[0].startswith("5 of 5 answers wrong")
