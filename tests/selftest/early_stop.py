"""Plugin, `pytest -p early_stop`: stops the run after its first test, other than by Ctrl-C.

With $EARLY_STOP set to `fail`, the session stops as after a failure although no test failed.
"""

import os

import pytest

FAIL = os.environ.get("EARLY_STOP") == "fail"


def pytest_runtest_makereport(item: pytest.Item) -> None:
    """Stop as after a failure."""
    if FAIL:
        item.session.shouldfail = "it is late"


def pytest_runtest_logfinish(nodeid: str) -> None:  # noqa: ARG001
    """Stop with pytest.exit()."""
    if not FAIL:
        pytest.exit("it is late")
