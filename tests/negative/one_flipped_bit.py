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


def flipped(data: bytes) -> bytes:
    """Return the bytes with bit BIT flipped."""
    return bytes(byte ^ (1 << BIT % 8 if place == BIT // 8 else 0) for place, byte in enumerate(data))


def _with_flipped_bit(group: VectorGroup) -> VectorGroup:
    vectors = list(group.vectors)
    vectors[INDEX] = replace(vectors[INDEX], output=flipped(vectors[INDEX].output))
    return replace(group, vectors=tuple(vectors))


@functools.cache
def _aes() -> Collection:
    published = _published()
    return replace(
        published, groups=tuple(_with_flipped_bit(group) if group.id == GROUP else group for group in published.groups)
    )
