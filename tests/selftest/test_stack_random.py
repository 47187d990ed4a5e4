"""Is a random generator that is missing, short or repeats itself found? Its files are files of this host."""

import os
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.outcome import ProductError
from fixtures.stack.random_generator import BLOCK, SIZE, check_random, read_random


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the kernel's, of a board with two generators."""
    (tmp_path / "rng_available").write_text("virtio_rng.0 rng-caam \n")
    (tmp_path / "rng_current").write_text("virtio_rng.0\n")
    return tmp_path


def test_bytes_of_a_generator_are_read_and_the_selection_is_restored(folder: Path) -> None:
    numbers = os.urandom(SIZE)
    (folder / "hwrng").write_bytes(numbers + bytes(100))
    assert read_random(LocalShell(), "rng-caam", folder=str(folder), device=str(folder / "hwrng")) == numbers
    assert (folder / "rng_current").read_text() == "virtio_rng.0\n"


def test_generator_that_the_kernel_lacks_is_a_product_failure(folder: Path) -> None:
    with pytest.raises(ProductError, match=r"no random generator rng-x; it has: 'virtio_rng.0', 'rng-caam'") as found:
        read_random(LocalShell(), "rng-x", folder=str(folder), device="/dev/urandom")
    assert [(each.kind, each.subject) for each in found.value.evidence] == [("bad random generator", "rng-x")]


def test_generator_that_ends_early_is_a_product_failure(folder: Path) -> None:
    (folder / "hwrng").write_bytes(bytes(SIZE - 1))
    with pytest.raises(ProductError, match=f"rng-caam gave {SIZE - 1} of {SIZE} bytes"):
        read_random(LocalShell(), "rng-caam", folder=str(folder), device=str(folder / "hwrng"))


def test_device_that_cannot_be_read_is_a_product_failure_that_shows_why(folder: Path) -> None:
    with pytest.raises(ProductError, match=r"gave 0 of .*No such file"):
        read_random(LocalShell(), "rng-caam", folder=str(folder), device=str(folder / "hwrng"))


def test_random_numbers_do_not_repeat() -> None:
    check_random("rng-caam", os.urandom(SIZE), os.urandom(SIZE))


@pytest.mark.parametrize(
    "reads", [(bytes(SIZE),), (bytes(range(BLOCK)), bytes(range(BLOCK)))], ids=["in one", "in two"]
)
def test_block_that_comes_twice_is_a_product_failure(reads: tuple[bytes, ...]) -> None:
    with pytest.raises(ProductError, match="rng-caam repeats itself: of"):
        check_random("rng-caam", *reads)
