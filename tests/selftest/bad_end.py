"""A plugin, `pytest -p bad_end`: it makes a run end, or its record change, in a way that is easily overlooked.

The environment variable BAD_END selects what it does: a key of one of the tables below.
"""

import os
import signal
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from fixtures.record.record import RECORD_FILE

KIND = os.environ.get("BAD_END", "")
RUNS = Path(os.environ.get("HIL_RUNS", "runs"))


def _send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.5)


def _truncate() -> None:
    os.truncate(RUNS / "latest" / RECORD_FILE, 0)


def _remove_record() -> None:
    (RUNS / "latest" / RECORD_FILE).unlink()


def _block_report() -> None:
    (RUNS / "latest/report.new").mkdir()


def _fail() -> None:
    raise KeyError("raised by a plugin")


def _fail_with_commands() -> None:
    raise RuntimeError("a board printed:\n\x1b]0;x\x07 ##vso[task.complete]\n::error::x")


def _exit_early(status: int) -> None:
    pytest.exit("stopped by a plugin", returncode=status)


AFTER_A_TEST: dict[str, Callable[[], None]] = {
    "truncate": _truncate,
    "remove": _remove_record,
    "block report": _block_report,
    "internal error": _fail,
    "internal error with commands": _fail_with_commands,
    "exit 0": lambda: _exit_early(0),
    "exit 4": lambda: _exit_early(4),
    "SIGTERM": lambda: _send(signal.SIGTERM),
    "SIGINT": lambda: _send(signal.SIGINT),
    "SIGQUIT": lambda: _send(signal.SIGQUIT),
}
AT_THE_END: dict[str, Callable[[], None]] = {
    "late error": _fail,
    "late SIGINT": lambda: _send(signal.SIGINT),
}
UNCONFIGURE: dict[str, Callable[[], None]] = {
    "last error": _fail,
    "last SIGINT": lambda: _send(signal.SIGINT),
}
IN_A_TEST: dict[str, Callable[[], None]] = {"os._exit": lambda: os._exit(0), "SIGKILL": lambda: _send(signal.SIGKILL)}
FILTERS: dict[str, Callable[[list[pytest.Item]], None]] = {
    "few": lambda items: items.__delitem__(slice(-1)),
    "none": lambda items: items.clear(),
}
PASS_ALL = "pass all"
"""No test runs, and each passes: the only end that is good."""

STATUSES: dict[str, Any] = {"status 4": 4, "status -1": -1}
_DONE: list[str] = []


def pytest_addoption() -> None:
    """When pytest reads its command line, for the second time: with the right rootdir."""
    if KIND == "early SIGTERM":
        if _DONE:
            _send(signal.SIGTERM)
        _DONE.append(KIND)


def _act(actions: dict[str, Callable[[], None]]) -> None:
    if KIND in actions and not _DONE:
        _DONE.append(KIND)
        actions[KIND]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Drop tests without deselecting them."""
    if KIND in FILTERS:
        FILTERS[KIND](items)
    if KIND == PASS_ALL:
        for item in items:
            item.fixturenames.clear()  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call() -> bool | None:
    """Leave out the function of a test, and its fixtures."""
    return True if KIND == PASS_ALL else None


def pytest_runtest_logfinish(nodeid: str) -> None:  # noqa: ARG001
    """After the first test, in the process that has the verdict."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _act(AFTER_A_TEST)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """In the first test, in its process."""
    _act(IN_A_TEST)
    if KIND == "skip all":
        pytest.skip("skipped by a plugin")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """When pytest ends."""
    _act(AT_THE_END)
    if KIND in STATUSES:
        session.exitstatus = STATUSES[KIND]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main() -> Generator[None, object, object]:
    """Replace the exit status of pytest after everything else."""
    status = yield
    return 0 if KIND == "hidden status" else status


def pytest_unconfigure() -> None:
    """When pytest has ended."""
    _act(UNCONFIGURE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give a report an outcome that pytest does not know, as plugins that repeat failed tests do."""
    report = yield
    if KIND == "rerun" and call.when == "call":
        report.outcome = "rerun"  # type: ignore[assignment]
    if KIND == "hidden failure" and call.when == "call":
        report.outcome, report.longrepr = "passed", "it failed"
    return report
