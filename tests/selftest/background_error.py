"""A plugin, `pytest -p background_error`: while a test runs, an exception is raised where no test can catch it.

$BACKGROUND_ERROR says where: `thread` or `finalizer`.
"""

import os
import threading

import pytest


class Unlucky:
    """An object whose finalizer fails."""

    def __del__(self) -> None:
        """Fail."""
        raise ValueError("nobody waits for this")


def fail() -> None:
    """Fail."""
    raise ValueError("nobody waits for this")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Raise it now."""
    if os.environ["BACKGROUND_ERROR"] == "finalizer":
        Unlucky()
        return
    thread = threading.Thread(target=fail, name="unlucky")
    thread.start()
    thread.join()
