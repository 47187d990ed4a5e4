"""The plugins of the suite, and the tests that a run collects: those of a board, or the self-tests."""

import signal
from pathlib import Path

import pytest

from fixtures.gate.options import requested_boards
from fixtures.gate.preconditions import PLUGINS, refuse_weakened_run

pytest_plugins = PLUGINS

TESTS = Path(__file__).parent / "tests"
ORDER = (
    "test_boot.py",
    "test_stack.py",
    "test_symbols.py",
    "test_cryptodev.py",
    "test_aes.py",
    "test_sha.py",
    "test_streams.py",
    "test_offload.py",
    "test_throughput.py",
    "test_calibrate.py",
)
"""The order of the test files of a board: each file relies on what the files before it have tested."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Refuse a weakened gate. Let programs that self-tests start react to Ctrl-C, also in the background.

    :raises pytest.UsageError: an option leaves out what the gate needs.
    """
    if requested_boards(config):
        refuse_weakened_run(config)
    else:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Keep the tests of a board and the self-tests apart. Other folders are collected only if they are named.

    pytest does not call this for the paths on the command line.
    """
    if collection_path.parent != TESTS:
        return None
    has_board = bool(requested_boards(config))
    if collection_path.is_dir():
        return True if has_board or collection_path.name != "selftest" else None
    return None if has_board else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the test files by ORDER; files that are not in it come first."""
    items.sort(key=lambda item: ORDER.index(item.path.name) if item.path.name in ORDER else -1)
