"""Tests of a board that prints hostile text: each brings the text into the run's output in another way."""

import logging
import threading

import pytest

from fixtures.gate.fixtures_board import show_progress
from fixtures.link.shell import Shell
from fixtures.outcome import Evidence, LabError, ProductError


@pytest.fixture
def printed(shell: Shell) -> str:
    """What the board prints."""
    return shell.run("hostile").check().text


@pytest.fixture
def unusable(printed: str) -> None:
    """Fail before the test."""
    raise OSError(printed)


@pytest.fixture
def not_removable(printed: str) -> object:
    """Fail after the test."""
    yield
    raise OSError(printed)


def test_assertion_shows_what_the_board_printed(printed: str) -> None:
    assert printed == "alive\n"


def test_assertion_has_a_message_from_the_board(printed: str) -> None:
    assert not printed, printed


def test_product_error_quotes_the_board(printed: str) -> None:
    raise ProductError(printed, evidence=[Evidence("module does not load", subject=printed, detail=printed)])


def test_unexpected_exception_quotes_the_board(printed: str) -> None:
    lines = printed.splitlines()
    raise ValueError(printed, lines) from KeyError(printed)


def test_fixture_quotes_the_board(unusable: None) -> None:
    pass


def test_teardown_quotes_the_board(not_removable: None) -> None:
    pass


def test_skip_quotes_the_board(printed: str) -> None:
    pytest.skip(printed)


def test_progress_quotes_the_board(printed: str, pytestconfig: pytest.Config) -> None:
    show_progress(pytestconfig, printed)


def test_captured_output_quotes_the_board(printed: str) -> None:
    print(printed)  # noqa: T201
    logging.getLogger(__name__).warning("%s", printed)


def test_captured_output_of_a_failure_quotes_the_board(printed: str) -> None:
    print(printed)  # noqa: T201
    logging.getLogger(__name__).warning("%s", printed)
    raise ProductError("with captured output")


def test_thread_quotes_the_board(printed: str) -> None:
    def fail() -> None:
        raise ValueError(printed)

    thread = threading.Thread(target=fail, name=printed)
    thread.start()
    thread.join()


def test_lab_error_quotes_the_board(printed: str) -> None:
    raise LabError(printed)
