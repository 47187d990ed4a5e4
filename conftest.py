"""The plugins of the suite, and the tests that a run collects: those of a board, or the self-tests."""

import signal
from pathlib import Path

import pytest

from fixtures.gate.options import requested_boards
from fixtures.gate.plan import TEST_FILES
from fixtures.gate.preconditions import PLUGINS, refuse_weakened_run

pytest_plugins = PLUGINS

TESTS = Path(__file__).parent / "tests"


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
    """Sort the test files by TEST_FILES; files that are not in it come first."""
    items.sort(key=lambda item: TEST_FILES.index(item.path.name) if item.path.name in TEST_FILES else -1)
