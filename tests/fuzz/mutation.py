"""Mutations of real inputs, as strategies of Hypothesis."""

import re
from collections.abc import Callable, Sequence

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

MAX_CHANGES = 4
"""Changes to one seed."""
MAX_SIZE = 1_000_000
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

LENGTHS = (2, 100, 5_000, 200_000)
"""Repetitions of a piece of an input."""

_WORD = re.compile(rb"[\w.+-]+")
_VALUE = re.compile(rb"(?<=[:=] )[^\n,}]*|(?<=- )[^\n]*|(?<=[:=])[^\s:=,}]+")
"""What follows a colon, an equals sign or the dash of a list: the values of YAML, JSON, /proc and the probe's facts."""

Change = Callable[[DrawFn, bytes], bytes]


def mutated_text(seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """Return a strategy for seeds with changed values, words, lines and bytes.

    :param words: what the parser of these seeds treats specially.
    """
    pool = (*words, *NUMBERS, *TEXTS)
    return _mutated(seeds, [_exchange(_VALUE, pool), _exchange(_WORD, pool), _insert(pool), _lines(seeds), _bytes])


def mutated_binary(seeds: Sequence[bytes], fields: Sequence[range] = ()) -> SearchStrategy[bytes]:
    """Return a strategy for seeds with changed numbers and bytes.

    :param fields: the offsets where numbers are changed; by default all.
    """
    offsets = [offset for part in fields for offset in part]
    return _mutated(seeds, [_number_at(offsets), _number_at(offsets), _bytes])


def _mutated(seeds: Sequence[bytes], changes: Sequence[Change]) -> SearchStrategy[bytes]:
    ordered = sorted(seeds, key=len)

    @st.composite
    def strategy(draw: DrawFn) -> bytes:
        data = draw(st.sampled_from(ordered))
        for _ in range(draw(st.integers(1, MAX_CHANGES))):
            data = draw(st.sampled_from(changes))(draw, data)[:MAX_SIZE]
        return data

    return strategy()


def _exchange(pattern: re.Pattern[bytes], pool: Sequence[bytes]) -> Change:
    """Return a change of one match of a pattern into a word of the pool, or into another match."""

    def change(draw: DrawFn, data: bytes) -> bytes:
        found = list(pattern.finditer(data))
        if not found:
            return data
        old = draw(st.sampled_from(found))
        if draw(st.booleans()):
            new = draw(st.sampled_from(found))[0]
        else:
            new = draw(st.sampled_from(pool))
        return data[: old.start()] + new + data[old.end() :]

    return change


def _insert(pool: Sequence[bytes]) -> Change:
    """Return a change that inserts a word of the pool, once or many times."""

    def change(draw: DrawFn, data: bytes) -> bytes:
        at = draw(st.integers(0, len(data)))
        return data[:at] + draw(st.sampled_from(pool)) * draw(st.sampled_from((1, 1, 1, *LENGTHS[:3]))) + data[at:]

    return change


def _lines(seeds: Sequence[bytes]) -> Change:
    """Return a change of the order or number of lines: some are deleted, repeated, moved, or come from another seed.

    A line stands for its block, which includes the lines below it that are indented further: YAML's structure.
    """

    def change(draw: DrawFn, data: bytes) -> bytes:
        lines = data.split(b"\n")
        start = draw(st.integers(0, len(lines) - 1))
        block = _block(lines, start)
        rest = lines[:start] + lines[start + len(block) :]
        kind = draw(st.sampled_from(("delete", "repeat", "move", "join", "splice")))
        if kind == "delete":
            return b"\n".join(rest)
        if kind == "repeat":
            return b"\n".join(lines[:start] + block * draw(st.sampled_from((1, 1, *LENGTHS[:3]))) + lines[start:])
        if kind == "join":
            return b"\n".join(lines[:start] + [b"".join(block)] + lines[start + len(block) :])
        at = draw(st.integers(0, len(rest)))
        if kind == "move":
            return b"\n".join(rest[:at] + block + rest[at:])
        other = draw(st.sampled_from(seeds)).split(b"\n")
        return b"\n".join(rest[:at] + _block(other, draw(st.integers(0, len(other) - 1))) + rest[at:])

    return change


def _block(lines: Sequence[bytes], start: int) -> list[bytes]:
    def indent(line: bytes) -> int:
        return len(line) - len(line.lstrip(b" "))

    end = start + 1
    while end < len(lines) and indent(lines[end]) > indent(lines[start]):
        end += 1
    return list(lines[start:end])


def _number_at(offsets: Sequence[int]) -> Change:
    """Return a change that writes a number at the limits of its width, in either byte order, over the bytes there."""

    def change(draw: DrawFn, data: bytes) -> bytes:
        known = offsets or range(len(data))
        at = draw(st.sampled_from(known)) if known else 0
        width = draw(st.sampled_from((1, 2, 4, 8)))
        number = draw(st.sampled_from((0, 1, 2, 8, 255, 2 ** (8 * width - 1) - 1, 2 ** (8 * width) - 1, len(data))))
        order = draw(st.sampled_from(("little", "big")))
        new = (number % 2 ** (8 * width)).to_bytes(width, "little" if order == "little" else "big")
        return data[:at] + new + data[at + width :]

    return change


def _bytes(draw: DrawFn, data: bytes) -> bytes:
    """Change some bytes: one is flipped, a piece is deleted, repeated or replaced, or the rest is cut off."""
    start = draw(st.integers(0, len(data)))
    length = draw(st.sampled_from((1, 2, 16, 1000)))
    kind = draw(st.sampled_from(("flip", "delete", "repeat", "replace", "cut")))
    if kind == "cut":
        return data[:start]
    piece, rest = data[start : start + length], data[start + length :]
    if kind == "flip":
        flipped = bytes([piece[0] ^ 1 << draw(st.integers(0, 7))]) + piece[1:] if piece else b""
        return data[:start] + flipped + rest
    if kind == "repeat":
        return data[:start] + piece[:16] * draw(st.sampled_from((2, 2, *LENGTHS))) + rest
    return data[:start] + (draw(st.binary(max_size=8)) if kind == "replace" else b"") + rest
