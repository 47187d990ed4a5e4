"""A plugin, `pytest -p one_flipped_bit`: of all that the vectors expect, one bit is wrong."""

import functools
from dataclasses import replace

import pytest

from fixtures.vectors import sources
from fixtures.vectors.model import Collection, VectorGroup

GROUP = "AES-128-CBC-MMT-encrypt"
INDEX = 3
"""The vector in the group."""
BIT = 77
"""In the expected answer, from its first byte's lowest bit on."""

_published = sources.aes


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Put the spoilt vectors in the place of the published ones, before any test asks for them."""
    sources.aes = _aes


def flipped(data: bytes) -> bytes:
    """The same bytes but for one bit."""
    return bytes(byte ^ (1 << BIT % 8 if place == BIT // 8 else 0) for place, byte in enumerate(data))


def _spoilt(group: VectorGroup) -> VectorGroup:
    vectors = list(group.vectors)
    vectors[INDEX] = replace(vectors[INDEX], output=flipped(vectors[INDEX].output))
    return replace(group, vectors=tuple(vectors))


@functools.cache
def _aes() -> Collection:
    published = _published()
    return replace(
        published, groups=tuple(_spoilt(group) if group.id == GROUP else group for group in published.groups)
    )
