"""Plugin, `pytest -p background_error`: raises an exception where no test can catch it.

$BACKGROUND_ERROR selects where. While a test runs: `thread` (in a thread), `finalizer`, `cycle` (in a finalizer that
runs when the garbage collector does), `exit` (SystemExit in a thread, which ends the thread only), `leak` (a socket
that is never closed). After the verdict: `late finalizer`, `late thread`.
"""

import os
import socket
import threading

import pytest

KIND = os.environ.get("BACKGROUND_ERROR", "")
KEPT: list[object] = []
"""Objects that live until pytest unconfigures."""


class Unlucky:
    """An object whose finalizer raises."""

    def __del__(self) -> None:
        """Raise."""
        raise ValueError("nobody waits for this")


def fail() -> None:
    """Raise ValueError with two lines, or SystemExit."""
    if KIND == "exit":
        raise SystemExit
    raise ValueError("nobody waits\nfor this")


def fail_in_thread() -> None:
    """Raise in a thread and wait for its end."""
    thread = threading.Thread(target=fail, name="unlucky")
    thread.start()
    thread.join()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Raise while a test runs."""
    if KIND in ("thread", "exit"):
        fail_in_thread()
    elif KIND == "finalizer":
        Unlucky()
    elif KIND == "leak":
        socket.socket()
    elif KIND == "late finalizer":
        KEPT.append(Unlucky())
    elif KIND == "cycle":
        cycle: list[object] = [Unlucky()]
        cycle.append(cycle)


def pytest_unconfigure() -> None:
    """Raise after the verdict."""
    KEPT.clear()
    if KIND == "late thread":
        fail_in_thread()
