"""Parser of the serial protocol: marks, blocks, and kernel messages at any position."""

import base64
import random

import pytest

from fixtures.link.serial_protocol import (
    BLOCK_SIZE,
    SMALL_BLOCK_SIZE,
    EchoTracker,
    NoiseFilter,
    Response,
    checksum,
    encode_request,
)

MESSAGE = b"[   12.345678] eth0: link is up [1000 Mbit/s]\r\n"
DATA = bytes(range(256)) * 40


def mark(words: str) -> bytes:
    return f"\r\n<hil:{words}={words}>\r\n".encode()


def encode_response(data: bytes, status: int = 0) -> bytes:
    parts = [mark("a:begin"), mark(f"a:status:{status}:plain:{len(data)}")]
    for start in range(0, len(data), BLOCK_SIZE):
        block = data[start : start + BLOCK_SIZE]
        parts += [mark(f"a:block:{start}:{checksum(block)}"), base64.encodebytes(block).replace(b"\n", b"\r\n")]
    return b"".join([*parts, mark("a:end")])


def parse(stream: bytes, pieces: int = 1) -> Response:
    response, cleaner = Response({"a"}), NoiseFilter()
    size = -(-len(stream) // pieces)
    for start in range(0, len(stream), size):
        response.feed(cleaner.feed(stream[start : start + size]))
    return response


def test_response_is_parsed() -> None:
    response = parse(encode_response(DATA, status=137))
    assert (response.accepted, response.status, response.end_received, response.is_complete) == (True, 137, True, True)
    assert response.content() == DATA


def test_response_is_parsed_byte_by_byte() -> None:
    stream = encode_response(DATA)
    assert parse(stream, len(stream)).content() == DATA


def test_kernel_message_at_any_position_is_removed() -> None:
    """Positions include marks, base64, and between carriage return and line feed."""
    short = DATA[:600]
    stream = encode_response(short)
    for position in range(len(stream) + 1):
        response = parse(stream[:position] + MESSAGE + stream[position:])
        assert response.is_complete and response.end_received, position
        assert response.content() == short


def test_kernel_messages_after_every_character_are_removed() -> None:
    stream = b"".join(bytes([byte]) + MESSAGE for byte in encode_response(DATA[:600]))
    assert parse(stream, 100).content() == DATA[:600]


@pytest.mark.parametrize("seed", range(20))
def test_lost_byte_is_detected_and_costs_one_block_at_most(seed: int) -> None:
    stream = encode_response(DATA * 3, status=137)
    lost = random.Random(seed).randrange(len(stream))
    response = parse(stream[:lost] + stream[lost + 1 :])
    assert response.status in (137, None)
    assert len(response.missing_blocks) * SMALL_BLOCK_SIZE <= BLOCK_SIZE
    if response.is_complete:
        assert response.content() == DATA * 3


def test_mark_with_a_lost_byte_is_ignored() -> None:
    stream = mark("a:status:137:plain:10")
    for lost in range(len(stream)):
        response = parse(stream[:lost] + stream[lost + 1 :])
        assert (response.status, response.size) in ((137, 10), (None, 0)), stream[:lost]


def test_missing_blocks_are_small_blocks() -> None:
    response = parse(mark(f"a:status:0:plain:{BLOCK_SIZE + 1}") + mark("a:end"))
    assert response.missing_blocks == list(range(BLOCK_SIZE // SMALL_BLOCK_SIZE + 1))
    response.blocks[0] = bytes(BLOCK_SIZE)
    assert response.missing_blocks == [BLOCK_SIZE // SMALL_BLOCK_SIZE]


def test_response_to_another_request_is_ignored() -> None:
    assert not parse(encode_response(DATA).replace(b"a:", b"b:")).accepted


def test_echo_of_a_request_is_no_response() -> None:
    response = parse(encode_request("a", "run 1 2 none", b"echo '<hil:a:end=a:end>'\n").replace("\r", "\r\n").encode())
    assert not response.accepted


def test_control_sequences_are_removed() -> None:
    assert NoiseFilter().feed(b"\x1b[?2004hab\x1b[Kc\x07d") == "abcd"
    cleaner = NoiseFilter()
    assert cleaner.feed(b"a\x1b") + cleaner.feed(b"[6") + cleaner.feed(b"nb") == "ab"


def test_echo_is_tracked_through_line_wraps_and_kernel_messages() -> None:
    echo = EchoTracker("echo one two\r")
    echo.feed(NoiseFilter().feed(b"ec\r\nho [    1.000000] o n e\r\none\r"))
    assert echo.seen == len("echo one ")
    echo.feed("two")
    assert echo.seen == len("echo one two\r")


def test_echo_tracking_stops_at_a_lost_character() -> None:
    echo = EchoTracker("abcdef")
    echo.feed("abdef")
    assert echo.seen == 2


@pytest.mark.parametrize("words", ["status:\xb2:plain:1", "status:0:plain:\xb2", "block:\xb2:0"])
def test_mark_with_a_superscript_number_is_ignored(words: str) -> None:
    """`str.isdigit` accepts it, and `int` does not."""
    response = Response({"a"})
    response.feed(f"<hil:a:{words}=a:{words}>")
    assert (response.status, response.blocks) == (None, {})
