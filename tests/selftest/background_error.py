"""A plugin, `pytest -p background_error`: an exception is raised where no test can catch it.

$BACKGROUND_ERROR says where. While a test runs: in a `thread`, in a `finalizer`, in one that waits for the garbage
collector (`cycle`), in a thread that only ends itself (`exit`), or in a socket that nobody closes (`leak`). Behind the
verdict: `late finalizer`, `late thread`.
"""

import os
import socket
import threading

import pytest

KIND = os.environ.get("BACKGROUND_ERROR", "")
KEPT: list[object] = []


class Unlucky:
    """An object whose finalizer fails."""

    def __del__(self) -> None:
        """Fail."""
        raise ValueError("nobody waits for this")


def fail() -> None:
    """Fail, or end the thread in order."""
    if KIND == "exit":
        raise SystemExit
    raise ValueError("nobody waits\nfor this")


def fail_in_thread() -> None:
    """Fail in a thread, and wait for its end."""
    thread = threading.Thread(target=fail, name="unlucky")
    thread.start()
    thread.join()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Raise it now."""
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
    """Raise it behind the verdict."""
    KEPT.clear()
    if KIND == "late thread":
        fail_in_thread()
