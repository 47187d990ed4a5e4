"""A plugin, `pytest -p one_flipped_bit`: flips one bit of one expected answer."""

import functools
from dataclasses import replace

import pytest

from fixtures.vectors import sources
from fixtures.vectors.model import Collection, VectorGroup

GROUP = "AES-128-CBC-MMT-encrypt"
INDEX = 3
"""Index of the vector in the group."""
BIT = 77
"""Number of the bit in the expected answer, counted from the lowest bit of the first byte."""

_published = sources.aes


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Replace the published vectors before any test loads them."""
    sources.aes = _aes


def flip_bit(data: bytes) -> bytes:
    """Return the bytes with bit BIT flipped."""
    return bytes(byte ^ (1 << BIT % 8 if index == BIT // 8 else 0) for index, byte in enumerate(data))


def _flip_bit_in_group(group: VectorGroup) -> VectorGroup:
    vectors = list(group.vectors)
    vectors[INDEX] = replace(vectors[INDEX], output=flip_bit(vectors[INDEX].output))
    return replace(group, vectors=tuple(vectors))


@functools.cache
def _aes() -> Collection:
    published = _published()
    return replace(
        published, groups=tuple(_flip_bit_in_group(group) if group.id == GROUP else group for group in published.groups)
    )
