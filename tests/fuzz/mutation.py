"""Mutations of real inputs, as strategies of Hypothesis.

Hypothesis draws one number for an input, the seed of all its changes: drawing each of them takes ten times as long.
"""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

MAX_CHANGES = 4
"""Changes to one seed."""
MAX_SIZE = 300_000
"""Bytes of an input. Limits of the suite that are larger have tests of their own."""

NUMBERS = (
    b"0", b"-1", b"1", b"7", b"255", b"65536", b"2147483647", b"4294967295", b"9223372036854775808", b"1000000000",
    b"1" + b"0" * 30, b"9" * 5000, b"1e300", b"1.0e+300", b"-0.5", b"1e-300", b"inf", b"-inf", b"nan", b"0x1f", b"007",
    b"1_000", b"\xd9\xa3", b"\xc2\xb2",
)  # fmt: skip
"""Numbers at the limits of C and of Python (int() takes at most 4300 digits), and texts that only look like numbers."""

TEXTS = (
    b"", b" ", b"\0", b"\x1b[2J", b"\xff", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xae", b"=", b":", b"-", b",", b"{",
    b"}", b"[", b"]", b"(", b")", b"'", b'"', b"#", b"%s", b"../..", b"x;touch${IFS}/tmp/x;y", b"::error::x",
    b"OUTCOME  good", b"\r", b"\t", b"A" * 300,
)  # fmt: skip
"""Control characters, separators, and words that a shell, a terminal or CI would act upon."""

LENGTHS = (2, 2, 2, 2, 100, 5_000, 50_000)
"""Repetitions of a piece of an input, within MAX_SIZE."""

_WORD = re.compile(rb"[\w.+-]+")
_VALUE = re.compile(rb"(?<=[:=] )[^\n,}]*|(?<=- )[^\n]*|(?<=[:=])[^\s:=,}]+")
"""What follows a colon, an equals sign or the dash of a list: the values of YAML, JSON, /proc and the probe's facts."""

Change = Callable[[Random, bytes], bytes]


def mutated_text(seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """Return a strategy for seeds with changed values, words, lines and bytes.

    :param words: what the parser of these seeds treats specially.
    """
    pool = (*words, *words, *NUMBERS, *TEXTS)
    return _mutated(seeds, [_exchange(_VALUE, pool), _exchange(_WORD, pool), _insert(pool), _lines(seeds), _bytes])


def mutated_binary(seeds: Sequence[bytes], offsets: Sequence[int] = ()) -> SearchStrategy[bytes]:
    """Return a strategy for seeds with changed numbers and bytes.

    :param offsets: where numbers are changed; by default anywhere.
    """
    return _mutated(seeds, [_number_at(offsets), _number_at(offsets), _bytes])


def _mutated(seeds: Sequence[bytes], changes: Sequence[Change]) -> SearchStrategy[bytes]:
    def mutate(random: Random) -> bytes:
        data = random.choice(seeds)
        for _ in range(random.randint(1, MAX_CHANGES)):
            data = random.choice(changes)(random, data)[:MAX_SIZE]
        return data

    return st.randoms(use_true_random=True).map(mutate)


def _exchange(pattern: re.Pattern[bytes], pool: Sequence[bytes]) -> Change:
    """Return a change of one match of a pattern into a word of the pool, or into another match."""

    def change(random: Random, data: bytes) -> bytes:
        found = list(pattern.finditer(data))
        if not found:
            return data
        old, other = random.choice(found), random.choice(found)
        new = random.choice((random.choice(pool), other[0]))
        return data[: old.start()] + new + data[old.end() :]

    return change


def _insert(pool: Sequence[bytes]) -> Change:
    """Return a change that inserts a word of the pool, once or many times."""

    def change(random: Random, data: bytes) -> bytes:
        at = random.randint(0, len(data))
        return data[:at] + random.choice((random.choice(pool), _repeat(random, random.choice(pool)))) + data[at:]

    return change


def _lines(seeds: Sequence[bytes]) -> Change:
    """Return a change of the order or number of lines: some are deleted, repeated, moved, or come from another seed.

    A line stands for its block, which includes the lines below it that are indented further: YAML's structure.
    """

    def change(random: Random, data: bytes) -> bytes:
        lines = data.split(b"\n")
        start = random.randrange(len(lines))
        block = _block(lines, start)
        before, after = lines[:start], lines[start + len(block) :]
        kind = random.choice(("delete", "repeat", "join", "move", "splice"))
        if kind == "delete":
            return b"\n".join(before + after)
        if kind == "repeat":
            return b"\n".join([*before, _repeat(random, b"\n".join([*block, b""])), *after])
        if kind == "join":
            return b"\n".join([*before, b"".join(block), *after])
        if kind == "splice":
            other = random.choice(seeds).split(b"\n")
            block = _block(other, random.randrange(len(other)))
        rest = before + after
        at = random.randint(0, len(rest))
        return b"\n".join(rest[:at] + block + rest[at:])

    return change


def _repeat(random: Random, piece: bytes) -> bytes:
    return piece * min(random.choice(LENGTHS), MAX_SIZE // max(1, len(piece)))


def _block(lines: Sequence[bytes], start: int) -> list[bytes]:
    def indent(line: bytes) -> int:
        return len(line) - len(line.lstrip(b" "))

    end = start + 1
    while end < len(lines) and indent(lines[end]) > indent(lines[start]):
        end += 1
    return list(lines[start:end])


def _number_at(offsets: Sequence[int]) -> Change:
    """Return a change that writes a number at the limits of its width, in either byte order, over the bytes there."""

    def change(random: Random, data: bytes) -> bytes:
        at = random.choice(offsets) if offsets else random.randint(0, len(data))
        width = random.choice((1, 2, 4, 8))
        number = random.choice((0, 1, 2, 8, 255, len(data), 1 << 8 * width - 1, (1 << 8 * width - 1) - 1, -1))
        order: Literal["little", "big"] = random.choice(("little", "big"))
        return data[:at] + (number % (1 << 8 * width)).to_bytes(width, order) + data[at + width :]

    return change


def _bytes(random: Random, data: bytes) -> bytes:
    """Change some bytes: one is flipped, a piece is deleted, repeated or replaced, or the rest is cut off."""
    start, length = random.randint(0, len(data)), random.choice((1, 2, 16, 1000))
    before, piece, after = data[:start], data[start : start + length], data[start + length :]
    match random.choice(("flip", "delete", "repeat", "replace", "cut")):
        case "flip":
            return before + bytes(byte ^ 1 << random.randrange(8) for byte in piece[:1]) + piece[1:] + after
        case "delete":
            return before + after
        case "repeat":
            return before + _repeat(random, piece[:16]) + after
        case "replace":
            return before + random.randbytes(random.randint(1, 8)) + after
        case _:
            return before
