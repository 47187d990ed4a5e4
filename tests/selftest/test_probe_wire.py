"""The wire format: damage between probe and host is detected, and undamaged output is parsed."""

import random
import time
import zlib
from dataclasses import dataclass, replace

import pytest

from fixtures.limits import MAX_SERVED_BY
from fixtures.link.shell import CommandResult
from fixtures.outcome import LabError, ProductError
from fixtures.probe.protocol import Probe, ProbeCrash
from fixtures.probe.repeats import Repeat
from fixtures.probe.wire import (
    Answer,
    encode,
    extract_lines,
    parse_transcript,
    seal,
    serving_driver,
    split_served_by,
)
from fixtures.vectors.model import Vector, VectorGroup

VECTORS = (
    Vector("COUNT = 0", 10, b"k" * 16, b"i" * 16, b"one" * 16, bytes(range(48))),
    Vector("COUNT = 1", 15, b"k" * 16, b"i" * 16, b"two" * 16, bytes(range(1, 49))),
    Vector("COUNT = 2", 20, b"k" * 16, b"j" * 16, b"two" * 16, b""),
)
GROUPS = (
    VectorGroup("AES-128-CBC", "encrypt", "VarKey", "CBCVarKey128.rsp", VECTORS),
    VectorGroup("SHA1", "digest", "ShortMsg", "SHA1ShortMsg.rsp", (Vector("Len = 0", 7, b"", b"", b"", b"\1" * 20),)),
)
LINES = [
    "hello 1 engine",
    "version OpenSSL 3.0.22 25 Aug 2026",
    "library /usr/lib/libcrypto.so.3",
    "group 0 AES-128-CBC encrypt 3",
    f"p 0.0 {bytes(range(24)).hex()}",
    f"a 0.0 {bytes(range(24, 48)).hex()}",
    f"a 0.1 {bytes(range(1, 49)).hex()}",
    "e 0.2 EVP_CipherFinal_ex: error:1C80006A:Provider routines::wrong final block length",
    "done 0 3 0.000100000 engine devcrypto",
    "group 1 SHA1 digest 1",
    f"a 1.0 {'01' * 20}",
    "done 1 1 0.000020000 software",
    "end 2 4",
]
KERNEL = b"[  12.345678] virtio_crypto virtio0: queue full\r\n"


def seal_lines(lines: list[str]) -> list[bytes]:
    """Return the lines as the probe prints them, with number and CRC-32."""
    return [f"{seal(number, words)}\n".encode() for number, words in enumerate(lines)]


@dataclass
class Replay:
    """A shell that returns what a serial line made of the probe's output."""

    output: bytes
    status: int = 0

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> CommandResult:
        """Return the recorded output to any command."""
        del stdin, timeout
        return CommandResult(command, self.output, self.status, 0.1)

    def put(self, data: bytes, path: str, *, mode: int = 0o644) -> None:
        """Not used by these tests."""
        raise NotImplementedError

    def get(self, path: str) -> bytes:
        """Not used by these tests."""
        raise NotImplementedError


def run_replay(output: bytes, status: int = 0) -> list[tuple[Answer, ...]]:
    """Return the answers to GROUPS that the harness parses from an output of the probe."""
    given = Probe(Replay(output, status), "hil-probe").run_groups("engine", GROUPS)
    return [group.answers for group in given]


WHOLE = b"".join(seal_lines(LINES))
RIGHT = [
    (Answer(bytes(range(48)), ""), Answer(bytes(range(1, 49)), ""), Answer(b"", LINES[7].removeprefix("e 0.2 "))),
    (Answer(b"\1" * 20, ""),),
]


def test_undamaged_output_is_parsed() -> None:
    assert run_replay(WHOLE) == RIGHT
    assert run_replay(WHOLE.replace(b"\n", b"\r\n")) == RIGHT
    given = Probe(Replay(WHOLE), "p").run_groups("engine", GROUPS)
    assert [(group.served_by, group.seconds) for group in given] == [("engine devcrypto", 1e-4), ("software", 2e-5)]


@pytest.mark.parametrize(
    ("served_by", "promised", "expected"),
    [
        ("cbc-aes-caam", "cbc-aes-caam", "cbc-aes-caam"),
        ("cbc-aes-ce", "cbc-aes-caam", "cbc-aes-ce"),  # the CPU serves, and no other driver
        ("cbc-aes-caam|cbc(aes-generic)", "cbc-aes-caam", "cbc-aes-caam"),
        ("cbc-aes-ce|cbc-aes-qce", "cbc-aes-qce", "cbc-aes-qce"),  # its fallback has a higher priority
        ("cbc-aes-ce|cbc(aes-generic)", "cbc-aes-caam", "cbc-aes-ce"),
        ("cbc-aes-caam|cbc(aes-generic)", None, "cbc-aes-caam"),
        ("cbc-aes-caam-qi|cbc(aes-generic)", "cbc-aes-caam", "cbc-aes-caam-qi"),
        ("a|b and c|d", "d", "a and d"),
        ("nobody", "cbc-aes-caam", "nobody"),
        ("", "cbc-aes-caam", ""),
    ],
)
def test_serving_driver_is_the_promised_one_or_that_of_highest_priority(
    served_by: str, promised: str | None, expected: str
) -> None:
    assert serving_driver(served_by, promised) == expected


def test_names_of_several_servers_are_separated() -> None:
    assert split_served_by("cbc-aes-caam") == ["cbc-aes-caam"]
    assert split_served_by("cbc-aes-caam (KERN) and cbc(aes-generic)") == ["cbc-aes-caam (KERN)", "cbc(aes-generic)"]


def test_probe_names_the_promised_driver_of_each_algorithm() -> None:
    lines = [line.replace("engine devcrypto", "first|promised").replace("software", "first|other") for line in LINES]
    probe = Probe(Replay(b"".join(seal_lines(lines))), "p", promised={"AES-128-CBC": "promised", "SHA1": "promised"})
    assert [group.served_by for group in probe.run_groups("engine", GROUPS)] == ["promised", "first"]


def test_kernel_messages_between_lines_are_ignored() -> None:
    assert run_replay(KERNEL + KERNEL.join(seal_lines(LINES)) + KERNEL) == RIGHT


@pytest.mark.parametrize("at", range(len(LINES)))
def test_flipped_bit_anywhere_in_a_line_is_detected(at: int) -> None:
    lines = seal_lines(LINES)
    line = lines[at]
    for position in range(len(line)):
        for bit in (0, 3, 5, 7):
            changed = bytearray(line)
            changed[position] ^= 1 << bit
            with pytest.raises(LabError, match=r"[12] answer lines? damaged"):
                run_replay(b"".join([*lines[:at], bytes(changed), *lines[at + 1 :]]))


@pytest.mark.parametrize("at", range(len(LINES)))
def test_lost_line_is_detected(at: int) -> None:
    lines = seal_lines(LINES)
    with pytest.raises(LabError, match="1 answer line damaged"):
        run_replay(b"".join(lines[:at] + lines[at + 1 :]))


@pytest.mark.parametrize("at", range(len(LINES)))
def test_repeated_line_is_detected(at: int) -> None:
    lines = seal_lines(LINES)
    with pytest.raises(LabError, match="1 answer line damaged"):
        run_replay(b"".join([*lines[:at], lines[at], *lines[at:]]))


@pytest.mark.parametrize("at", range(len(LINES)))
def test_kernel_message_inside_a_line_is_detected(at: int) -> None:
    lines = seal_lines(LINES)
    for position in range(1, len(lines[at]) - 1):
        broken = lines[at][:position] + KERNEL + lines[at][position:]
        with pytest.raises(LabError, match="1 answer line damaged"):
            run_replay(b"".join([*lines[:at], broken, *lines[at + 1 :]]))


def test_swapped_lines_are_reordered() -> None:
    lines = seal_lines(LINES)
    assert run_replay(b"".join([*lines[:5], lines[6], lines[5], *lines[7:]])) == RIGHT


def test_every_damaged_line_is_counted() -> None:
    lines = seal_lines(LINES)
    lines[4], lines[6], lines[9] = b"", lines[6].replace(b"a", b"b", 1), KERNEL
    with pytest.raises(LabError, match="3 answer lines damaged between the probe and here"):
        run_replay(b"".join(lines))


def test_randomly_lost_bytes_are_detected() -> None:
    rng = random.Random(4)
    for _ in range(300):
        start = rng.randrange(len(WHOLE))
        cut = WHOLE[:start] + WHOLE[start + rng.randint(1, 200) :]
        if cut in (WHOLE, WHOLE[:-1]):  # the last line end carries no data
            continue
        with pytest.raises(LabError):
            run_replay(cut)


def test_extracted_lines_end_at_the_first_missing_one() -> None:
    lines = seal_lines(LINES)
    assert extract_lines(WHOLE) == (LINES, 0)
    assert extract_lines(b"".join(lines[:5] + lines[6:])) == (LINES[:5], 1)
    assert extract_lines(b"nothing\n") == ([], 0)
    assert extract_lines(WHOLE + b"@99 a 9.9 00 #00000000\n") == (LINES, 1)


def test_seal_is_the_crc32_of_number_and_words() -> None:
    assert seal(7, "end 0 0") == f"@7 end 0 0 #{zlib.crc32(b'7 end 0 0'):08x}"


NOT_IN_THE_PROTOCOL = [
    (0, "hello 2 engine"),
    (0, "hello 1"),
    (0, "hello 1 engine devcrypto"),
    (0, "version OpenSSL 3.0.22 25 Aug 2026"),
    (1, "hello 1 engine"),
    (1, "note"),
    (2, "version OpenSSL 3.0.22 25 Aug 2026"),
    (3, "group 0 AES-128-CBC decrypt 3"),
    (3, "group 1 AES-128-CBC encrypt 3"),
    (3, f"group {'9' * 5000} AES-128-CBC encrypt 3"),
    (4, "p 0.0 -"),
    (5, "a 0.0 -"),
    (5, "e 0.0 an answer that began"),
    (6, "a 0.2 00"),
    (6, "a 1.1 00"),
    (6, "a 0.1 0g"),
    (6, "a 0.1 0"),
    (6, "a 0.1 ="),
    (6, "a 0.-1 00"),
    (6, "died SIGSEGV 0.0.0"),
    (6, "died SIGSEGV 0.3"),
    (6, "died SIGSEGV 2.0"),
    (6, "died SIGSEGV now"),
    (6, "died \\x1b[2J opening"),
    (7, "e 0.2 "),
    (8, "a 0.3 00"),
    (8, "done 0 2 0.0001 software"),
    (8, "done 0 3 fast software"),
    (8, "done 0 3 inf x"),
    (8, "done 0 3 nan x"),
    (8, "done 0 3 -0.5 x"),
    (8, "done 0 3 1e400 x"),
    (8, f"done 0 3 {'1' * 5000}.0 x"),
    (8, "done 0 3 0.5 "),
    (8, f"done 0 3 0.5 {'x' * (MAX_SERVED_BY + 1)}"),
    (8, "repeated 0 3 0.0 0.0 0.25 software"),
    (8, "end 2 4"),
    (10, "group 1 SHA1 digest 1"),
    (12, "end 2 3"),
    (12, "ended"),
    (12, "group 2 SHA1 digest 1"),
    (12, "done 1 1 0.000020000 software"),
    (12, ""),
]


@pytest.mark.parametrize(("at", "words"), NOT_IN_THE_PROTOCOL, ids=[words[:40] for _, words in NOT_IN_THE_PROTOCOL])
def test_lines_that_do_not_fit_the_tasks_are_refused(at: int, words: str) -> None:
    lines = [*LINES[:at], words, *LINES[at + 1 :]]
    with pytest.raises(ProductError, match=r"does not fit its input") as caught:
        run_replay(b"".join(seal_lines(lines)))
    assert len(str(caught.value)) < 500


NO_PART = [at for at, line in enumerate(LINES) if not line.startswith("p ")]
"""Without a part of an answer, or with another one, the answer is a wrong one, and in the protocol."""


@pytest.mark.parametrize("at", NO_PART)
def test_sealed_output_that_lacks_a_line_is_refused(at: int) -> None:
    """The numbers of the lines have no gap: a board left the line out, and none was lost on the way."""
    last = at == len(LINES) - 1
    expected = (LabError, "end mark is missing") if last else (ProductError, "does not fit its input")
    with pytest.raises(expected[0], match=expected[1]):
        run_replay(b"".join(seal_lines(LINES[:at] + LINES[at + 1 :])))


@pytest.mark.parametrize("at", NO_PART)
def test_sealed_output_that_repeats_a_line_is_refused(at: int) -> None:
    with pytest.raises(ProductError, match="does not fit its input"):
        run_replay(b"".join(seal_lines([*LINES[: at + 1], *LINES[at:]])))


def test_sealed_lines_in_another_order_are_refused() -> None:
    rng = random.Random(4)
    for _ in range(300):
        shuffled = rng.sample(LINES, len(LINES))
        if shuffled != LINES:
            with pytest.raises((ProductError, LabError)):
                run_replay(b"".join(seal_lines(shuffled)))


def test_answers_of_another_layer_are_refused() -> None:
    lines = ["hello 1 openssl", *LINES[1:]]
    with pytest.raises(ProductError, match="layer engine: the probe answered at layer 'openssl'"):
        run_replay(b"".join(seal_lines(lines)))


@pytest.mark.parametrize("last", range(1, len(LINES)))
def test_output_without_end_mark_is_refused(last: int) -> None:
    with pytest.raises(LabError, match=r"1 answer line damaged.*end mark is missing, exit status 0"):
        run_replay(b"".join(seal_lines(LINES[:last])))


def test_crash_keeps_earlier_answers_and_names_its_place() -> None:
    output = b"".join(seal_lines([*LINES[:7], "died SIGBUS 0.2"])) + b"Bus error\n"
    with pytest.raises(ProbeCrash) as caught:
        run_replay(output, 135)
    assert "ended by SIGBUS at AES-128-CBC-VarKey-encrypt, COUNT = 2 (CBCVarKey128.rsp:20); answers kept: 2" in str(
        caught.value
    )
    assert "Bus error" in str(caught.value)
    assert [group.answers for group in caught.value.kept] == [RIGHT[0][:2]]


def test_crash_on_a_damaged_line_is_still_a_crash() -> None:
    lines = seal_lines([*LINES[:7], "died SIGBUS 0.2"])
    with pytest.raises(ProbeCrash, match=r"ended by SIGBUS .* or later; answers kept: 2") as caught:
        run_replay(b"".join(lines[:-1]) + lines[-1][:9] + KERNEL + lines[-1][9:], 128 + 7)
    assert "1 answer line damaged" in str(caught.value)


def test_input_abbreviates_repeated_fields() -> None:
    body = (
        "group AES-128-CBC encrypt 3\n"
        f"0 {'6b' * 16} {'69' * 16} {(b'one' * 16).hex()}\n"
        f"1 = = {(b'two' * 16).hex()}\n"
        f"2 = {'6a' * 16} =\n"
        "group SHA1 digest 1\n"
        "0 - - -\n"
        "repeat AES-128-CBC decrypt 256 4096\n"
    ).encode()
    sent = encode([*GROUPS, Repeat("AES-128-CBC", "decrypt", 256, 4096)])
    assert sent == body + b"end %08x\n" % zlib.crc32(body)


def test_pattern_follows_its_vector_and_repeated_answers_are_expanded() -> None:
    vectors = tuple(replace(VECTORS[0], pattern=pattern) for pattern in ("split 1", "split 2", "many 3", "bare"))
    group = VectorGroup("AES-128-CBC", "encrypt", "pieces", "here", vectors)
    assert encode([group]).splitlines()[2:5] == [b"1 = = = split 2", b"2 = = = many 3", b"3 = = = bare"]
    lines = [
        *LINES[:3],
        "group 0 AES-128-CBC encrypt 4",
        "a 0.0 ab",
        "a 0.1 =",
        "e 0.2 too many",
        "a 0.3 =",
        "done 0 4 0.1 nobody",
    ]
    (given,) = parse_transcript(lines, [group]).groups
    assert given.answers == (Answer(b"\xab", ""), Answer(b"\xab", ""), Answer(b"", "too many"), Answer(b"\xab", ""))
    with pytest.raises(ProductError, match="does not fit its input"):
        parse_transcript([*lines[:4], "a 0.0 ="], [group])


def test_repeat_is_parsed_between_groups() -> None:
    task = Repeat("AES-128-CBC", "decrypt", 256, 4096)
    transcript = parse_transcript(
        [*LINES[:9], "repeated 1 256 0.5 0.25 0.25 engine devcrypto", "end 2 3"], [GROUPS[0], task]
    )
    assert transcript.ended and transcript.repeats[0].operations == 256 and transcript.repeats[0].cpu_seconds == 0.25
    with pytest.raises(ProductError, match="no repeat belongs here"):
        parse_transcript([*LINES[:3], "repeated 0 256 0.5 0.25 0.25 software"], [GROUPS[0]])


@pytest.mark.parametrize(
    "lines",
    [
        ["repeated 0 255 0.5 0.25 0.25 software"],
        ["repeated 0 257 0.5 0.25 0.25 software"],
        ["e 0.0 EIO", "repeated 0 256 0.5 0.25 0.25 software"],
        ["e 0.1 EIO", "repeated 0 255 0.5 0.25 0.25 software"],
        ["e 0.0 EIO", "e 0.0 EIO", "repeated 0 255 0.5 0.25 0.25 software"],
        ["repeated 0 256 nan 0.25 0.25 software"],
        ["repeated 0 256 0.5 -0.25 0.25 software"],
        ["repeated 1 256 0.5 0.25 0.25 software"],
        ["group 0 AES-128-CBC decrypt 256"],
        ["a 0.0 00"],
    ],
)
def test_impossible_result_of_a_repeat_is_refused(lines: list[str]) -> None:
    with pytest.raises(ProductError, match="does not fit its input"):
        parse_transcript([*LINES[:3], *lines, "end 1 0"], [Repeat("AES-128-CBC", "decrypt", 256, 4096)])


READINGS = [
    "before 0.0 1.00 2.00", "before 0.0 5 /a", "before 0.1 1.00 2.00",
    "after 0.0 1.50 2.00", "after 0.0 7 /a", "after 0.1 1.50 2.00",
]  # fmt: skip
REPEATED = ["repeated 0 256 0.5 0.25 0.25 software", "end 1 0"]


def test_readings_of_counters_belong_to_their_repeat() -> None:
    task = Repeat("AES-128-CBC", "decrypt", 256, 4096)
    (repeated,) = parse_transcript([*LINES[:3], *READINGS, *REPEATED], [task]).repeats
    assert repeated.readings == (("1.00 2.00\n5 /a", "1.50 2.00\n7 /a"), ("1.00 2.00", "1.50 2.00"))
    again = [line.replace(" 0.", " 1.", 1) if line[0] in "ba" else line for line in READINGS]
    lines = [*LINES[:3], *READINGS, REPEATED[0], *again, "repeated 1 256 0.5 0.25 0.25 software", "end 2 0"]
    assert [len(repeated.readings) for repeated in parse_transcript(lines, [task, task]).repeats] == [2, 2]


@pytest.mark.parametrize(
    "lines",
    [
        READINGS[:3],
        READINGS[3:],
        [*READINGS, READINGS[0]],
        [READINGS[2], *READINGS],
        [*READINGS[:3], "before 0.3 1", *READINGS[3:]],
        ["before 1.0 1", "after 1.0 1"],
        ["before 0 1", "after 0 1"],
    ],
)
def test_impossible_readings_are_refused(lines: list[str]) -> None:
    with pytest.raises(ProductError, match="does not fit its input"):
        parse_transcript([*LINES[:3], *lines, *REPEATED], [Repeat("AES-128-CBC", "decrypt", 256, 4096)])


@pytest.mark.parametrize("lines", [["end 0 0"], ["hello 1 engine", "end 0 0"], ["version ", "hello 1 engine"]])
def test_output_without_a_whole_opening_is_refused(lines: list[str]) -> None:
    with pytest.raises(ProductError, match="does not fit its input"):
        parse_transcript(lines, [])


def parse_time(share: int) -> float:
    """Return the processor time to parse many notes and parts, in seconds. :param share: 1 for all, 4 for a quarter."""
    notes, parts = ["note x"] * (100_000 // share), [f"p 0.0 {'00' * 200}"] * (40_000 // share)
    lines = [LINES[0], *notes, *LINES[1:4], *parts]
    started = time.process_time()
    assert len(parse_transcript(lines, GROUPS).hello.notes) == len(notes)
    return time.process_time() - started


def test_many_notes_and_parts_are_parsed_in_linear_time() -> None:
    assert parse_time(1) < 10 * parse_time(4)
