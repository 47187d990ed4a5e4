"""A plugin, `pytest -p early_stop`: it stops the run after the first test, other than by Ctrl-C.

With EARLY_STOP=fail the run ends as after a failure, though no test failed; with EARLY_STOP=status it ends with exit
status 9, after which pytest prints no terminal summary.
"""

import os

import pytest

KIND = os.environ.get("EARLY_STOP")


def pytest_runtest_makereport(item: pytest.Item) -> None:
    """Let pytest end the run as after a failure."""
    if KIND == "fail":
        item.session.shouldfail = "stopped by a plugin"


def pytest_runtest_logfinish(nodeid: str) -> None:  # noqa: ARG001
    """Stop the run."""
    if KIND != "fail":
        pytest.exit("stopped by a plugin", returncode=9 if KIND == "status" else None)
