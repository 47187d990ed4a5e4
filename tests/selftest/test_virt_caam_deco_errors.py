"""The CAAM model ends a job that is wrong with the status word of the hardware; and what tables and loops may do."""

import hashlib

import pytest
from caam_bench import BASE, Bench, job, pointer

from fixtures.virt.caam.aes import ecb
from fixtures.virt.caam.deco import run_job
from fixtures.virt.caam.errors import DecoError, Unit, UnitError

TEXT = bytes(range(1, 161))

FAR = [0x1, 0x0]
"""A pointer to where no memory is."""
TEXT_AT = [0, BASE]

VARIABLE_INPUT, VARIABLE_OUTPUT = (0xA80C4A04,), (0xA80C4B04,)
"""MATH that sets the register VSIL, VSOL to the immediate number that follows."""
PENDING = (0xF8000020, *TEXT_AT, 0x68300010)
"""An output sequence of 32 bytes, and a SEQ FIFO STORE of 16 bytes that have not come."""

ERRORS: dict[str, tuple[list[int], int]] = {
    "unknown command": (job(0x30000000), 0x40000104),
    "impossible field": (job(0x60000010, *TEXT_AT), 0x40000104),
    "header as a command": (job(0xB0800001), 0x40000104),
    "no memory at a pointer": (job(0x22100010, *FAR), 0x40000100 | DecoError.DMA),
    "no memory at a sequence": (job(0xF0000010, *FAR, 0x2A100010), 0x40000400 | DecoError.DMA),
    "no memory at the output": (
        job(0x10FE0004, 1, 0xF8000004, *FAR, 0x68300004), 0x40000600 | DecoError.DMA
    ),
    "no memory at a table": (job(0xF1000010, *FAR), 0x40000100 | DecoError.DMA),
    "input sequence too short": (job(0xF0000010, *TEXT_AT, 0x2A100011), 0x40000400 | DecoError.SEQUENCE),
    "output sequence too short": (
        job(0x10FE0004, 1, 0xF8000003, *TEXT_AT, 0x68300004), 0x40000600 | DecoError.SEQUENCE
    ),
    "immediate data that are not there": (job(0x02800010, 1, 2, 3), 0x40000100 | DecoError.HEADER_LENGTH),
    "key of DKP that is not there": (job(0x80210018, 1, 2), 0x40000100 | DecoError.HEADER_LENGTH),
    "no sequence": (job(0x2A100001), 0x40000100 | DecoError.SEQUENCE),
    "output that never comes": (job(0xF8000010, *TEXT_AT, 0x68300010), 0x40000400 | DecoError.FIFO_STORE),
    "output that is not there": (job(0x60300010, *TEXT_AT), 0x40000100 | DecoError.FIFO_STORE),
    "context before its output": (job(*PENDING, 0x5A200010), 0x40000500 | DecoError.WATCHDOG),
    "context behind a pointer, before its output": (
        job(*PENDING, 0x52200010, *TEXT_AT), 0x40000500 | DecoError.WATCHDOG
    ),
    "skip before the output": (job(*PENDING, 0x683F0010), 0x40000500 | DecoError.WATCHDOG),
    "random numbers before the output": (
        job(0x82500002, *PENDING, 0x68340010), 0x40000600 | DecoError.WATCHDOG
    ),
    "black key before the output": (
        job(*PENDING, 0x02800004, 1, 0x6A240004), 0x40000700 | DecoError.WATCHDOG
    ),
    "context behind the register": (job(0x12A07810, 0, 0, 0, 0), 0x40000100 | DecoError.CONTEXT_LENGTH),
    "load to nowhere": (job(0x12FF0004, 0), 0x40000100 | DecoError.LOAD),
    "math register too short": (job(0x16880408, 0, 0), 0x40000100 | DecoError.LOAD),
    "store from nowhere": (job(0x527F0004, *TEXT_AT), 0x40000100 | DecoError.STORE),
    "key to the PKHA": (job(0x02810004, 0), 0x40000100 | DecoError.KEY),
    "input of unknown type": (job(0x22800004, 0), 0x40000100 | DecoError.FIFO_LOAD),
    "random numbers without an operation": (job(0x60340010, *TEXT_AT), 0x40000100 | DecoError.FIFO_STORE),
    "random numbers of a cipher": (job(0x82100105, 0x60340010, *TEXT_AT), 0x40000200 | DecoError.FIFO_STORE),
    "move from nowhere": (job(0x78A20004), 0x40000100 | DecoError.MOVE),
    "move of what is not there": (job(0x78240004), 0x40000100 | DecoError.MOVE),
    "move behind the descriptor": (job(0x7843FC08), 0x40000100 | DecoError.MOVE),
    "move from behind the descriptor": (job(0x7834F008), 0x40000100 | DecoError.MOVE),
    "move from the end of the descriptor and on": (job(0x78340408), 0x40000100 | DecoError.MOVE),
    "move of more than a math register has": (job(0x78400009), 0x40000100 | DecoError.MOVE),
    "move of more than a math register takes": (job(0x78040009), 0x40000100 | DecoError.MOVE),
    "move by length of more than a math register has": (
        job(0x168A0008, 0, 9, 0x70400002), 0x40000400 | DecoError.MOVE
    ),
    "skip of what is no input sequence": (job(0xF0000010, *TEXT_AT, 0x20100010, *TEXT_AT), 0x4000040A),
    "skip of what is no output sequence": (job(0xF8000010, *TEXT_AT, 0x603F0010, *TEXT_AT), 0x4000040B),
    "two entries of the information FIFO": (job(0x10FA0008, 0, 0), 0x40000100 | DecoError.LOAD),
    "key of variable length, longer than any": (
        job(*VARIABLE_INPUT, 0x400, 0xF0000400, *TEXT_AT, 0x0B000000), 0x40000600 | DecoError.KEY
    ),
    "load of variable length behind the context": (
        job(*VARIABLE_INPUT, 0x81, 0xF00000A0, *TEXT_AT, 0x1B200000), 0x40000600 | DecoError.CONTEXT_LENGTH
    ),
    "store of variable length behind the context": (
        job(*VARIABLE_OUTPUT, 0x81, 0xF80000A0, *TEXT_AT, 0x5B200000), 0x40000600 | DecoError.CONTEXT_LENGTH
    ),
    "math with carry": (job(0xA8100004), 0x40000100 | DecoError.MATH),
    **{
        f"math of {length} bytes": (job(0xA8000000 | length), 0x40000100 | DecoError.MATH)
        for length in (0, 3, 5, 6, 7, 9, 15)
    },
    "math with a FIFO": (job(0xA800A004), 0x40000100 | DecoError.MATH),
    "math with an operand that is none": (job(0xA8008004), 0x40000100 | DecoError.COMMAND),
    "jump to another descriptor": (job(0xA0400000, *TEXT_AT), 0x40000100 | DecoError.JUMP),
    "jump to before the descriptor": (job(0xA00000FE), 0x40000100 | DecoError.JUMP),
    "jump beyond the descriptor": (job(0xA0000040), 0x40000100 | DecoError.JUMP),
    "jump to the second word behind the descriptor": (job(0xA0000002), 0x40000100 | DecoError.JUMP),
    "endless loop": (job(0xA0000000), 0x4000011C),
    "sequence once more": (job(0xF0200010), 0x40000100 | DecoError.SEQUENCE),
    "halt with a code": (job(0xA0C00025), 0x30000125),
    "halt by condition": (job(0xA0800007), 0x70000107),
    "unknown algorithm": (job(0x82FF0001, 0x22920000), 0x40000200 | DecoError.OPERATION),
    "unknown mode": (job(0x82100FF1, 0x22920000), 0x40000200 | DecoError.OPERATION),
    "unknown protocol": (job(0x80770000), 0x40000100 | DecoError.UNDEFINED_PROTOCOL),
    "RSA in an unknown form": (job(0x80190003), 0x40000100 | DecoError.PDB),
    "DKP from a table": (job(0x80214014, 0, 0, 0, 0, 0), 0x40000100 | DecoError.OPERATION),
    "blob of another format": (job(0x870D0001), 0x40000100 | DecoError.BLOB_MODE),
    "blob of nothing": (job(0x870D0000), 0x40000100 | DecoError.BLOB_KEY_SIZE),
    "AES without a key": (job(0x82100105, 0x22920000), 0x20000200 | Unit.AES << 4 | UnitError.KEY_SIZE),
    "AES of a part of a block": (
        job(0x02800010, 0, 0, 0, 0, 0x82100105, 0x22920004, 0), 0x20000700 | Unit.AES << 4 | UnitError.DATA_SIZE
    ),
    "DES key with wrong parity": (
        job(0x02800008, 0, 0, 0x82200A05, 0x22920000), 0x20000500 | Unit.DES << 4 | UnitError.KEY_PARITY
    ),
    "digest of a part of a block": (
        job(0x84410005, 0x24940004, 0), 0x20000200 | Unit.MDHA << 4 | UnitError.DATA_SIZE
    ),
    "HMAC without a split key": (job(0x8441004D, 0x24940000), 0x20000200 | Unit.MDHA << 4 | UnitError.KEY_SIZE),
    "ICV and no operation": (job(0x22BA0000), 0x40000100 | DecoError.FIFO_LOAD),
    "ICV and an operation that does not compare it": (
        job(0x02800010, 0, 0, 0, 0, 0x8210090C, 0x22910000, 0x22BA0000), 0x40000800 | DecoError.FIFO_LOAD
    ),
    "key without a class": (job(0x00800004, 0), 0x40000100 | DecoError.KEY),
    "key of both classes": (job(0x06800004, 0), 0x40000100 | DecoError.KEY),
    "load of a context without a class": (job(0x10A00004, 0), 0x40000100 | DecoError.LOAD),
    "store of a context without a class": (job(0x50200004, *TEXT_AT), 0x40000100 | DecoError.STORE),
    "store of a black key without a class": (job(0x60240010, *TEXT_AT), 0x40000100 | DecoError.FIFO_STORE),
    "ICV of both classes": (job(0x26BA0000), 0x40000100 | DecoError.FIFO_LOAD),
    "no job header": ([0xB8800001], 0x40000000 | DecoError.HEADER_LENGTH),
    "header without its one": ([0xB0000001], 0x40000000 | DecoError.HEADER_LENGTH),
    "header with a bit that is zero": ([0xB0808001], 0x40000000 | DecoError.HEADER_LENGTH),
    "header of no length": ([0xB0800000], 0x40000000 | DecoError.HEADER_LENGTH),
    "longer than the buffer": ([0xB0800041, *[0xA0000001] * 64], 0x40000000 | DecoError.HEADER_LENGTH),
    "do not run": (job(flags=1 << 24), 0x40000000 | DecoError.DO_NOT_RUN),
    "no memory at the shared descriptor": (job(*FAR, flags=0x041000), 0x40000000 | DecoError.DMA),
    "no shared descriptor at the pointer": (job(*TEXT_AT, flags=0x041000), 0x40000000 | DecoError.SHARED_HEADER),
}  # fmt: skip
"""Words of a job, and its status word: source, index of the command, code (Linux drivers/crypto/caam/error.c)."""


@pytest.mark.parametrize("case", ERRORS)
def test_error_has_the_status_word_of_the_hardware(case: str) -> None:
    words, status = ERRORS[case]
    bench = Bench()
    bench.put(TEXT)
    assert f"{bench.run(words):08x}" == f"{status:08x}"


AT_THE_LIMIT: dict[str, list[int]] = {
    "move of the last words of the descriptor": job(0x78340008),
    "move of a whole math register": job(0x78400008, 0x78040008),
    **{f"math of {length} bytes": job(0xA8000000 | length) for length in (1, 2, 4, 8)},
    "jump to the end of the descriptor": job(0xA0000001),
}


@pytest.mark.parametrize("case", AT_THE_LIMIT)
def test_command_at_a_limit_is_no_error(case: str) -> None:
    assert Bench().run(AT_THE_LIMIT[case]) == 0


def test_table_that_is_too_short() -> None:
    bench = Bench()
    table = bench.table([(bench.put(TEXT), 15)])
    assert bench.run(job(0xF1000010, *pointer(table), 0x2A100010)) == 0x40000100 | DecoError.SGT_LENGTH


def test_job_at_an_address_without_memory() -> None:
    assert run_job(Bench().parts, 0x10).status == 0x40000000 | DecoError.DMA


def test_shared_descriptor_that_must_not_run_or_is_too_long() -> None:
    bench = Bench()
    forbidden = bench.put(bytes.fromhex("b9800001"))
    assert bench.run(job(*pointer(forbidden), flags=0x011000)) == 0x40000000 | DecoError.DO_NOT_RUN
    long = bench.put(bytes.fromhex("b880003f") + bytes(62 * 4))
    assert bench.run(job(*pointer(long), flags=0x3F1000)) == 0x40000000 | DecoError.HEADER_LENGTH


def test_shared_descriptor_cannot_jump_over_the_header_of_its_job() -> None:
    bench = Bench()
    shared = bench.put(bytes.fromhex("b8800003 a0000001 a0000005"))
    assert bench.run(job(*pointer(shared), 0xA0000001, flags=0x031000)) == 0x40000200 | DecoError.JUMP


def test_table_follows_its_extension() -> None:
    bench = Bench()
    second = bench.table([(bench.put(TEXT[8:]), 8)])
    first = bench.put(
        b"".join(
            word.to_bytes(4, "big") for word in [*pointer(bench.put(TEXT[:8])), 8, 0, *pointer(second), 1 << 31, 0]
        )
    )
    output = bench.room(32)
    words = job(0xF1000010, *pointer(first), 0x84430000 | 0xD, 0x2C140010, 0x54200020, *pointer(output))
    assert (bench.run(words), bench.get(output, 32)) == (0, hashlib.sha256(TEXT[:16]).digest())


def test_segment_that_is_longer_than_the_input_is_read_in_part() -> None:
    bench = Bench()
    table, output = bench.table([(bench.put(TEXT), 160)]), bench.room(32)
    words = job(0x8443000D, 0x25140010, *pointer(table), 0x54200020, *pointer(output))
    assert (bench.run(words), bench.get(output, 32)) == (0, hashlib.sha256(TEXT[:16]).digest())


def test_store_follows_a_table() -> None:
    bench = Bench()
    places = [bench.room(4), bench.room(4)]
    table = bench.table([(place, 4) for place in places])
    words = job(0x12A00008, 0x01020304, 0x05060708, 0x53200008, *pointer(table))
    assert bench.run(words) == 0
    assert [bench.get(place, 4) for place in places] == [b"\1\2\3\4", b"\5\6\7\x08"]


def test_skip_leaves_the_output_before_it_where_it_belongs() -> None:
    bench, key = Bench(), bytes(16)
    output = bench.put(b"." * 48)
    encrypt = (0x02800010, *[0] * 4, 0x82100205, 0xF8000030, *pointer(output), 0x68300010, 0x22920010, *[0] * 4)
    words = job(*encrypt, 0x683F0010, 0x12A00010, *[0x2A2A2A2A] * 4, 0x5A200010)
    assert bench.run(words) == 0
    assert bench.get(output, 48) == ecb(key, bytes(16), True) + b"." * 16 + b"*" * 16


def test_reserved_codes_are_not_used() -> None:
    """Linux drivers/crypto/caam/error.c, desc_error_list."""
    assert {0x05, 0x17} & set(DecoError) == set()
