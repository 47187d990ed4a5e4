"""Decoder and disassembler of the CAAM model: fields, operands, and the descriptors of Linux as text."""

import re
from collections.abc import Sequence

import pytest
from caam_bench import LINUX, commands
from hypothesis import given
from hypothesis import strategies as st

from fixtures.virt.caam.commands import FifoLoad, Operation
from fixtures.virt.caam.descriptor import decode, disassemble
from fixtures.virt.caam.errors import DecoFailure
from fixtures.virt.caam.values import Class, InputType, OperationType

FIELDS: dict[int, str] = {
    0x00: "unit_class 26 25, table 24 24, immediate 23 23, encrypted 22 22, no_write_back 21 21, enhanced 20 20,"
          " destination 17 16, trusted 15 15, length 9 0",
    0x02: "unit_class 26 25, table 24 24, immediate 23 23, destination 22 16, offset 15 8, length 7 0",
    0x04: "unit_class 26 25, table 24 24, immediate 23 23, extended 22 22, input_type 21 19, last2 18 18, last1 17 17,"
          " flush1 16 16, length 15 0",
    0x0A: "unit_class 26 25, table 24 24, immediate 23 23, source 22 16, offset 15 8, length 7 0",
    0x0C: "unit_class 26 25, table 24 24, more 23 23, extended 22 22, output_type 21 16, length 15 0",
    0x0E: "auxiliary 26 25, wait 24 24, source 23 20, destination 19 16, offset 15 8, length 7 0",
    0x10: "operation_type 26 24, algorithm 23 16, mode 12 4, state 3 2, check_icv 1 1, encrypt 0 0,"
          " protocol_information 15 0",
    0x14: "wait_class 26 25, shared_conditions 24 24, jump_type 23 22, test 17 16, conditions 15 8, offset 7 0",
    0x15: "immediate_is_word 26 26, no_flags 25 25, stall 24 24, function 23 20, source0 19 16, source1 15 12,"
          " destination 11 8, length 3 0",
    0x16: "do_not_run 24 24, one 23 23, start_index 21 16, zero 15 15, trusted 14 13, shared 12 12, reverse 11 11,"
          " share 10 8, length 6 0",
    0x17: "do_not_run 24 24, one 23 23, start_index 21 16, save_context 12 12, share 9 8, length 5 0",
    0x1E: "release 26 26, inline 25 25, table 24 24, append 23 23, extended 22 22, restore 21 21, replace 20 20,"
          " length 15 0",
}  # fmt: skip
"""Opcode -> fields with their highest and lowest bit (Linux drivers/crypto/caam/desc.h)."""

_FIELD = re.compile(r"(\w+) (\d+) (\d+)")
LAYOUTS = {
    opcode: {name: (int(high), int(low)) for name, high, low in _FIELD.findall(text)} for opcode, text in FIELDS.items()
}
EDGES = [(opcode, name, bit) for opcode in LAYOUTS for name, edges in LAYOUTS[opcode].items() for bit in set(edges)]
BASES = {0x0C: 0x30 << 16}
"""What a word without the field has: FIFOST_TYPE_MESSAGE_DATA, because there is no type 0."""


def fields_of(word: int, opcode: int) -> dict[str, int]:
    """Return the fields of a command word, by the table."""
    return {name: word >> low & (1 << high - low + 1) - 1 for name, (high, low) in LAYOUTS[opcode].items()}


@pytest.mark.parametrize(("opcode", "name", "bit"), EDGES)
def test_field_has_its_highest_and_lowest_bit_and_no_other_field_has_them(opcode: int, name: str, bit: int) -> None:
    high, low = LAYOUTS[opcode][name]
    word = opcode << 27 | BASES.get(opcode, 0) & ~((1 << high + 1) - (1 << low)) | 1 << bit
    try:
        command = decode(word)
    except DecoFailure as failure:
        assert f": {name} cannot be {1 << bit - low:#x}" in str(failure)
    else:
        expected = fields_of(word, opcode)
        assert expected[name] == 1 << bit - low
        assert {field: getattr(command, field) for field in expected} == expected


@pytest.mark.parametrize("opcode", [0x00, 0x02, 0x04, 0x0A, 0x0C])
def test_sequence_form_has_the_next_opcode(opcode: int) -> None:
    assert [str(decode((opcode + more) << 27 | 0x300000))[:4] == "seq " for more in (0, 1)] == [False, True]


IMPOSSIBLE = {
    0x30000000: "unknown command 30000000",
    0x9FFFFFFF: "unknown command 9fffffff",
    0x60000000: "fifo store 60000000: output_type cannot be 0x0",
    0x78B00000: "move 78b00000: source cannot be 0xb",
    0x780F0000: "move 780f0000: destination cannot be 0xf",
    0x83000000: "operation 83000000: operation_type cannot be 0x3",
    0xA8B00000: "math a8b00000: function cannot be 0xb",
    0xA8050000: "math a8050000: source0 cannot be 0x5",
}


@pytest.mark.parametrize("word", IMPOSSIBLE)
def test_word_that_is_no_command_is_a_line_of_text(word: int) -> None:
    assert list(disassemble([word])) == [f"[ 0] {word:08x} DECO COMMAND: {IMPOSSIBLE[word]}"]
    with pytest.raises(DecoFailure) as caught:
        decode(word)
    assert caught.value.status(3) == 0x40000304  # DECO: desc idx 3: Invalid command


OPERANDS = {
    "key 20 bytes, pointer": (0x02000014, 2),
    "key 20 bytes, immediate": (0x02800014, 5),
    "key 21 bytes, immediate": (0x02800015, 6),
    "key 40 bytes, immediate, encrypted": (0x04C30028, 12),
    "key 16 bytes, immediate, encrypted by AES-CCM": (0x02D00010, 7),
    "key 20 bytes, immediate, encrypted by AES-CCM": (0x02D00014, 9),
    "key 40 bytes, pointer, encrypted": (0x04430028, 2),
    "seq key": (0x0A000014, 0),
    "load 4 bytes, immediate": (0x12A00004, 1),
    "load, pointer": (0x12200010, 2),
    "seq load": (0x1A200010, 0),
    "load to the DECO control register": (0x16860800, 0),
    "fifo load, pointer": (0x22110010, 2),
    "fifo load, pointer, extended": (0x22510000, 3),
    "fifo load, immediate": (0x22A1000C, 3),
    "seq fifo load": (0x2A110010, 0),
    "seq fifo load, extended": (0x2A510000, 1),
    "store, pointer": (0x52200010, 2),
    "store 8 bytes, immediate": (0x52A00008, 4),
    "seq store": (0x5A200010, 0),
    "fifo store, pointer": (0x60340010, 2),
    "fifo store, pointer, extended": (0x60740000, 3),
    "seq fifo store, extended": (0x68740000, 1),
    "move": (0x79200404, 0),
    "operation": (0x82100105, 0),
    "operation, DKP of 20 bytes to 40 bytes": (0x80210014, 10),
    "operation, DKP of 64 bytes to 40 bytes": (0x80210040, 16),
    "operation, DKP by pointer to 128 bytes": (0x80258080, 32),
    "operation, DKP by pointer to a pointer": (0x8025A080, 2),
    "operation, RSA": (0x80190002, 0),
    "jump": (0xA1004006, 0),
    "jump to another descriptor": (0xA0400000, 2),
    "math of registers": (0xA8080B04, 0),
    "math, 4 bytes immediate": (0xA80C4704, 1),
    "math, 8 bytes immediate": (0xA80C4008, 2),
    "math of 8 bytes, immediate word": (0xAC0C4008, 1),
    "job header": (0xB0800005, 0),
    "job header with shared descriptor": (0xB08E1C0B, 2),
    "job header with protocol data block": (0xB08B000C, 10),
    "shared header": (0xB880020E, 0),
    "seq in ptr": (0xF0000020, 2),
    "seq in ptr, extended": (0xF0400000, 3),
    "seq in ptr, the same sequence again": (0xF0200020, 0),
    "seq in ptr, goes on": (0xF0800020, 0),
    "seq out ptr, extended": (0xF8400000, 3),
}


@pytest.mark.parametrize("case", OPERANDS)
def test_command_has_its_operands(case: str) -> None:
    word, size = OPERANDS[case]
    assert decode(word).operand_words == size


@pytest.mark.parametrize("name", LINUX)
def test_every_bit_of_a_descriptor_of_linux_has_a_meaning(name: str) -> None:
    for _, command in commands(LINUX[name]):
        layout = LAYOUTS[min(command.opcodes)]
        covered = sum({1 << bit for high, low in layout.values() for bit in range(low, high + 1)})
        assert command.word & ~covered & 0x07FFFFFF == 0, str(command)


@pytest.mark.parametrize("name", LINUX)
def test_length_in_the_headers_is_that_of_the_descriptor(name: str) -> None:
    headers = [command for _, command in commands(LINUX[name]) if "header" in command.mnemonic]
    assert sum(getattr(header, "length", 0) for header in headers) == len(LINUX[name])


def test_linux_asks_for_the_comparison_of_every_icv_that_it_loads() -> None:
    kinds = {OperationType.CLASS1: Class.ONE, OperationType.CLASS2: Class.TWO}
    loads, checks = set(), set()
    for name in LINUX:
        for _, command in commands(LINUX[name]):
            if isinstance(command, FifoLoad) and command.input_type == InputType.ICV:
                loads.add((name, command.unit_class))
            elif isinstance(command, Operation) and command.check_icv and command.operation_type in kinds:
                checks.add((name, kinds[command.operation_type]))
    assert len(loads) == 9
    assert loads <= checks


SPLIT_KEY_JOB = [
    0xB081000A, 0x04000014, 0x00000000, 0xFFE01000, 0x84410014, 0x24940000, 0xA4000001, 0x64260028, 0x00000000,
    0xFFE04000,
]  # fmt: skip
"""The comment in Linux drivers/crypto/caam/key_gen.c, with pointers of 64 bits and the length that follows."""

TEXTS: dict[str, tuple[Sequence[int], str]] = {
    "split key": (
        SPLIT_KEY_JOB,
        """\
[ 0] b081000a job header one=1 start_index=1 length=0xa
[ 1] 04000014 key unit_class=two length=0x14 (00000000 ffe01000)
[ 4] 84410014 operation class2 algorithm=0x41 mode=0x1 init decrypt
[ 5] 24940000 fifo load unit_class=two immediate=1 input_type=2 last2=1
[ 6] a4000001 jump wait_class=two offset=1
[ 7] 64260028 fifo store unit_class=two output_type=split_key_jdkek length=0x28 (00000000 ffe04000)
""",
    ),
    "cbc(aes)": (
        LINUX["cbc(aes) encrypt"],
        """\
[ 0] b880120e shared header one=1 save_context=1 share=2 length=0xe
[ 1] a1004006 jump shared_conditions=1 conditions=0x40 offset=6
[ 2] 02800010 key unit_class=one immediate=1 length=0x10 (06a92140 36b8a15b 512e03d5 34120006)
[ 7] 1a200010 seq load unit_class=one destination=0x20 length=0x10
[ 8] 82100105 operation class1 algorithm=0x10 mode=0x10 init encrypt
[ 9] a8080b04 math function=add source0=sequence_in source1=math0 destination=variable_out length=4
[10] a8080a04 math function=add source0=sequence_in source1=math0 destination=variable_in length=4
[11] 2b120000 seq fifo load unit_class=one table=1 input_type=2 last1=1
[12] 69300000 seq fifo store table=1 output_type=message
[13] 5a200010 seq store unit_class=one source=0x20 length=0x10
[14] b08e1c0b job header one=1 start_index=0xe shared=1 reverse=1 share=4 length=0xb (00000000 4350d918)
[17] f1400000 sequence in table=1 extended=1 (00000000 4917cee0 00000020)
[21] f9400000 sequence out table=1 extended=1 (00000000 4917cef0 00000020)
""",
    ),
    "authenc(hmac(sha1),ecb(cipher_null))": (
        LINUX["authenc(hmac(sha1),null) encrypt"][13:24],
        """\
[ 0] a8280304 math function=subtract source0=sequence_in source1=math0 destination=math3 length=4
[ 1] a80c3a04 math function=add source0=zero source1=math3 destination=variable_in length=4
[ 2] a80c3b04 math function=add source0=zero source1=math3 destination=variable_out length=4
[ 3] 78375406 move fixed_length=1 source=descriptor destination=math3 offset=0x54 length=6
[ 4] 79735408 move fixed_length=1 wait=1 source=math3 destination=descriptor offset=0x54 length=8
[ 5] 8441004d operation class2 algorithm=0x41 mode=0x4 init-final encrypt
[ 6] 69300000 seq fifo store table=1 output_type=message
[ 7] 2f170000 seq fifo load unit_class=both table=1 input_type=2 last2=1 last1=1 flush1=1
[ 8] 16860800 load unit_class=both immediate=1 destination=6 offset=8
[ 9] 7a920008 move fixed_length=1 auxiliary=1 source=input_fifo_class destination=output_fifo length=8
[10] 5c200014 seq store unit_class=two source=0x20 length=0x14
""",
    ),
    "second operands of MATH": (
        [0xA80CA004, 0xA80AB004, 0xA80BC204],
        """\
[ 0] a80ca004 math function=add source0=zero source1=input_fifo destination=math0 length=4
[ 1] a80ab004 math function=add source0=variable_in source1=output_fifo destination=math0 length=4
[ 2] a80bc204 math function=add source0=variable_out source1=one destination=math2 length=4
""",
    ),
    "RSA": (
        LINUX["rsa public"],
        """\
[ 0] b08b000c job header one=1 start_index=0xb length=0xc (00003100 00000000 4360a000 00000000 4353d300 \
00000000 43657700 00000000 43677780 00000008)
[11] 80180000 operation unidirectional_protocol protocol=0x18 information=0x0
""",
    ),
    "a word that is no command": (
        [0xB0800003, 0x9FFFFFFF, 0xB0800001],
        """\
[ 0] b0800003 job header one=1 length=3
[ 1] 9fffffff DECO COMMAND: unknown command 9fffffff
[ 2] b0800001 job header one=1 length=1
""",
    ),
    "operands that are not there": (
        [0x02800014, 1],
        "[ 0] 02800014 key unit_class=one immediate=1 length=0x14 (00000001)\n",
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_descriptor_as_text(case: str) -> None:
    words, text = TEXTS[case]
    assert "\n".join([*disassemble(words), ""]) == text


@given(st.lists(st.integers(0, 0xFFFFFFFF), max_size=64))
def test_text_has_every_word_once_whatever_the_words_are(words: list[int]) -> None:
    shown: list[int] = []
    for line in disassemble(words):
        index, word, rest = line[1:3], line[5:13], line[13:]
        assert int(index) == len(shown)
        operands = re.search(r" \(([0-9a-f ]+)\)$", rest)
        shown += [int(part, 16) for part in [word, *(operands[1].split() if operands else [])]]
    assert shown == words
