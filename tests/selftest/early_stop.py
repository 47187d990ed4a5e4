"""A plugin, `pytest -p early_stop`: the run is stopped behind its first test, and not by Ctrl-C.

$EARLY_STOP is `fail` for an end as after a failure that no test had.
"""

import os

import pytest

FAIL = os.environ.get("EARLY_STOP") == "fail"


def pytest_runtest_makereport(item: pytest.Item) -> None:
    """End as after a failure."""
    if FAIL:
        item.session.shouldfail = "it is late"


def pytest_runtest_logfinish(nodeid: str) -> None:  # noqa: ARG001
    """Stop."""
    if not FAIL:
        pytest.exit("it is late")
