"""A plugin, `pytest -p background_error`: it raises an exception where no test can catch it.

The environment variable BACKGROUND_ERROR selects the place. While a test runs: a `thread`, a `finalizer`, a finalizer
that only the garbage collector runs (`cycle`), a thread that raises SystemExit (`exit`), a socket left open (`leak`).
While pytest ends: `late finalizer`, `late thread`.
"""

import os
import socket
import threading

import pytest

KIND = os.environ.get("BACKGROUND_ERROR", "")
KEPT: list[object] = []


class FailingFinalizer:
    """An object whose finalizer fails."""

    def __del__(self) -> None:
        """Raise an exception."""
        raise ValueError("raised outside of any test")


def fail() -> None:
    """Raise an exception, or end the thread by SystemExit."""
    if KIND == "exit":
        raise SystemExit
    raise ValueError("raised outside\nof any test")


def fail_in_thread() -> None:
    """Raise in a thread, and wait for its end."""
    thread = threading.Thread(target=fail, name="failing")
    thread.start()
    thread.join()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Raise the exception in the first phase of a test."""
    if KIND in ("thread", "exit"):
        fail_in_thread()
    elif KIND == "finalizer":
        FailingFinalizer()
    elif KIND == "leak":
        socket.socket()
    elif KIND == "late finalizer":
        KEPT.append(FailingFinalizer())
    elif KIND == "cycle":
        cycle: list[object] = [FailingFinalizer()]
        cycle.append(cycle)


def pytest_unconfigure() -> None:
    """Raise the exception while pytest ends."""
    KEPT.clear()
    if KIND == "late thread":
        fail_in_thread()
