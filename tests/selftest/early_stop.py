"""A plugin, `pytest -p early_stop`: it stops the run after the first test, other than by Ctrl-C.

With EARLY_STOP=fail the run ends as after a failure, though no test failed.
"""

import os

import pytest

FAIL = os.environ.get("EARLY_STOP") == "fail"


def pytest_runtest_makereport(item: pytest.Item) -> None:
    """Let pytest end the run as after a failure."""
    if FAIL:
        item.session.shouldfail = "it is late"


def pytest_runtest_logfinish(nodeid: str) -> None:  # noqa: ARG001
    """Stop the run."""
    if not FAIL:
        pytest.exit("it is late")
