"""What goes over the console, read back: marks, blocks, kernel messages in the middle of all of it."""

import base64
import random

import pytest

from fixtures.link.serial_wire import BLOCK, SMALL_BLOCK, Answer, Cleaner, Echo, request, sum_of

MESSAGE = b"[   12.345678] eth0: link is up [1000 Mbit/s]\r\n"
DATA = bytes(range(256)) * 40


def mark(words: str) -> bytes:
    return f"\r\n<hil:{words}={words}>\r\n".encode()


def answer_of(data: bytes, status: int = 0) -> bytes:
    parts = [mark("a:begin"), mark(f"a:status:{status}:plain:{len(data)}")]
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        parts += [mark(f"a:block:{start}:{sum_of(block)}"), base64.encodebytes(block).replace(b"\n", b"\r\n")]
    return b"".join([*parts, mark("a:end")])


def understood(stream: bytes, pieces: int = 1) -> Answer:
    answer, cleaner = Answer({"a"}), Cleaner()
    size = -(-len(stream) // pieces)
    for start in range(0, len(stream), size):
        answer.feed(cleaner.feed(stream[start : start + size]))
    return answer


def test_an_answer_is_understood_whole() -> None:
    answer = understood(answer_of(DATA, status=137))
    assert (answer.begun, answer.status, answer.ended, answer.complete) == (True, 137, True, True)
    assert answer.content() == DATA


def test_an_answer_is_understood_byte_by_byte() -> None:
    stream = answer_of(DATA)
    assert understood(stream, len(stream)).content() == DATA


def test_a_kernel_message_may_stand_after_every_character() -> None:
    """In marks, in base64, between carriage return and line feed."""
    short = DATA[:600]
    stream = answer_of(short)
    for place in range(len(stream) + 1):
        answer = understood(stream[:place] + MESSAGE + stream[place:])
        assert answer.complete and answer.ended, place
        assert answer.content() == short


def test_kernel_messages_may_stand_after_all_characters_at_once() -> None:
    stream = b"".join(bytes([byte]) + MESSAGE for byte in answer_of(DATA[:600]))
    assert understood(stream, 100).content() == DATA[:600]


@pytest.mark.parametrize("seed", range(20))
def test_a_lost_byte_is_noticed_and_costs_no_more_than_its_block(seed: int) -> None:
    stream = answer_of(DATA * 3, status=137)
    lost = random.Random(seed).randrange(len(stream))
    answer = understood(stream[:lost] + stream[lost + 1 :])
    assert answer.status in (137, None)
    assert len(answer.missing) * SMALL_BLOCK <= BLOCK
    if answer.complete:
        assert answer.content() == DATA * 3


def test_no_lost_byte_changes_what_a_mark_says() -> None:
    stream = mark("a:status:137:plain:10")
    for lost in range(len(stream)):
        answer = understood(stream[:lost] + stream[lost + 1 :])
        assert (answer.status, answer.size) in ((137, 10), (None, 0)), stream[:lost]


def test_what_is_missing_is_told_in_small_blocks() -> None:
    answer = understood(mark(f"a:status:0:plain:{BLOCK + 1}") + mark("a:end"))
    assert answer.missing == list(range(BLOCK // SMALL_BLOCK + 1))
    answer.blocks[0] = bytes(BLOCK)
    assert answer.missing == [BLOCK // SMALL_BLOCK]


def test_answers_to_others_are_passed_over() -> None:
    assert not understood(answer_of(DATA).replace(b"a:", b"b:")).begun


def test_the_echo_of_a_request_is_no_answer() -> None:
    answer = understood(request("a", "run 1 2 none", b"echo '<hil:a:end=a:end>'\n").replace("\r", "\r\n").encode())
    assert not answer.begun


def test_a_line_editor_s_sequences_are_no_kernel_message() -> None:
    assert Cleaner().feed(b"\x1b[?2004hab\x1b[Kc\x07d") == "abcd"
    cleaner = Cleaner()
    assert cleaner.feed(b"a\x1b") + cleaner.feed(b"[6") + cleaner.feed(b"nb") == "ab"


def test_the_echo_is_followed_through_wrapping_and_messages() -> None:
    echo = Echo("echo one two\r")
    echo.feed(Cleaner().feed(b"ec\r\nho [    1.000000] o n e\r\none\r"))
    assert echo.seen == len("echo one ")
    echo.feed("two")
    assert echo.seen == len("echo one two\r")


def test_the_echo_stops_where_a_character_was_lost() -> None:
    echo = Echo("abcdef")
    echo.feed("abdef")
    assert echo.seen == 2
