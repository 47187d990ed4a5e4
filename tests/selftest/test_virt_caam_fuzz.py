"""The CAAM model outlives random descriptors, registers and messages, within limits of time and memory."""

from collections.abc import Callable
from random import Random

import pytest
import targets_caam
from caam_bench import BASE, Bench, job, pointer, to_bytes, to_words
from campaign import Target, call

from fixtures.virt.caam.errors import DecoError

DESCRIPTORS, SEQUENCES = 10_000, 1_000
"""Descriptors; sequences of accesses, and of messages. `tox -e fuzz` runs more."""
WATCHDOG = 0x40000000 | DecoError.WATCHDOG


def mutated(random: Random, data: bytes) -> bytes:
    """Return data of which some words are changed: a bit, the whole word, or a number at the limits."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = 4 * random.randrange(len(data) // 4)
        word = int.from_bytes(changed[at : at + 4], "big")
        word = random.choice((word ^ 1 << random.randrange(32), random.getrandbits(32), 0, 0xFFFFFFFF, BASE))
        changed[at : at + 4] = word.to_bytes(4, "big")
    return bytes(changed)


def repeat(count: int, run: Callable[[bytes], str], make: Callable[[Random], bytes]) -> set[str]:
    """Run inputs, the same in each run, and return what was wrong with them. An exception fails the test."""
    random = Random(18)
    return {wrong for _ in range(count) if (wrong := run(make(random)))}


def test_random_descriptors_end_with_a_status() -> None:
    assert repeat(DESCRIPTORS, targets_caam.run_descriptor, targets_caam.random_descriptor) == set()


def test_mutated_descriptors_of_linux_end_with_a_status() -> None:
    seeds = targets_caam.images()
    wrong = repeat(DESCRIPTORS, targets_caam.run_descriptor, lambda random: mutated(random, random.choice(seeds)))
    assert wrong == set()


def test_random_accesses_leave_the_device_usable() -> None:
    seeds = targets_caam.recorded_accesses()
    run = targets_caam.run_registers
    assert repeat(SEQUENCES, run, targets_caam.random_accesses) == set()
    assert repeat(SEQUENCES, run, lambda random: mutated(random, random.choice(seeds))) == set()


def test_random_messages_leave_the_server_running() -> None:
    seeds = targets_caam.conversations()
    run = targets_caam.run_messages
    assert repeat(SEQUENCES, run, targets_caam.random_message) == set()
    assert repeat(SEQUENCES, run, lambda random: mutated(random, random.choice(seeds))) == set()


def loop(*body: int) -> list[int]:
    """Return a job that repeats its commands until the watchdog ends it."""
    return job(*body, 0xA0000000 | -len(body) & 0xFF)


SIZE = 32 << 20
"""Bytes of memory of the guest."""
DATA, TABLE, BIG_TABLE, NUMBER = BASE + (1 << 20), BASE + 0x10000, BASE + 0x40000, BASE + 0x2000
LOOP_TABLE = BASE + 0x3000
"""Places in memory. TABLE has 64 segments with the same 16 MiB, BIG_TABLE 4,095 segments of one byte and an end,
LOOP_TABLE an extension that leads to itself."""
EQUAL_KEY = (0x02800020, *to_words(b"k" * 32))
XTS_SIZE = 15 << 20
RSA = (512 << 12 | 512, *pointer(NUMBER + 8), *pointer(NUMBER + 0x400), *pointer(NUMBER), *pointer(NUMBER), 512)


COSTLY: dict[str, tuple[list[int], int]] = {
    "4 GiB of random numbers": (job(0x82500002, 0x60740000, *pointer(DATA), 0xFFFFFFFF), WATCHDOG | 0x200),
    "4 GiB of overlapping segments": (
        job(0xF1400000, *pointer(TABLE), 1 << 30, 0x2A500000, 1 << 30), 0x40000500 | DecoError.DMA
    ),
    "4 GiB behind a pointer": (job(0x22500000, *pointer(DATA), 0xFFFFFFFF), 0x40000100 | DecoError.DMA),
    "1 GiB behind a table": (job(0x23500000, *pointer(TABLE), 1 << 30), 0x40000100 | DecoError.DMA),
    "16 MiB of input again and again": (loop(0x23500000, *pointer(TABLE), 16 << 20), WATCHDOG | 0x100),
    "long tables again and again": (loop(0xF1000FFF, *pointer(BIG_TABLE)), WATCHDOG | 0x100),
    "long tables of a FIFO again and again": (loop(0x23100FFF, *pointer(BIG_TABLE)), WATCHDOG | 0x100),
    "a table that leads to itself": (job(0xF1000001, *pointer(LOOP_TABLE)), 0x40000100 | DecoError.SGT_LENGTH),
    "sequence that becomes longer for ever": (loop(0xF0C00000, 0xFFFFFFFF), WATCHDOG | 0x100),
    "XTS with equal halves again and again": (
        loop(*EQUAL_KEY, 0x8210050D, 0x22520000, *pointer(DATA), XTS_SIZE), WATCHDOG | 0xB00
    ),
    "RSA again and again": (
        job(*RSA, 0x80180000, 0xA00000FF, flags=(len(RSA) + 1) << 16), WATCHDOG | (len(RSA) + 1) << 8
    ),
    "keys of HMAC again and again": (loop(0x8025AFFF, *pointer(DATA)), WATCHDOG | 0x100),
    "moves into a FIFO again and again": (loop(0x7802007F), WATCHDOG | 0x200),
    "an operation again and again": (loop(0x8210050D), WATCHDOG),
}  # fmt: skip
"""Descriptors that would take hours or all memory, and the status word that ends them."""


@pytest.mark.parametrize("case", COSTLY)
def test_descriptor_cannot_take_more_time_or_memory_than_the_limits(case: str) -> None:
    words, status = COSTLY[case]
    bench = Bench(size=SIZE)
    same = b"".join(to_bytes([*pointer(DATA), 16 << 20, 0]) for _ in range(64))
    small = b"".join(to_bytes([*pointer(DATA), 1, 0]) for _ in range(4095))
    number = (1 << 4096) - 1
    for place, data in (
        (TABLE, same), (BIG_TABLE, small), (LOOP_TABLE, to_bytes([*pointer(LOOP_TABLE), 1 << 31, 0])),
        (NUMBER, number.to_bytes(512, "big")),
    ):  # fmt: skip
        bench.memory.write(place, data)
    found: list[int] = []

    def run(_: bytes) -> str:
        found.append(bench.run(words))
        return ""

    assert call(Target("job", targets_caam.descriptors, run, ()), b"") is None
    assert found[0] & 0xFFFF00FF == status & 0xFFFF00FF
