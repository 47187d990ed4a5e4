"""A plugin, `pytest -p early_stop`: the run is stopped behind its first test, and not by Ctrl-C."""

import pytest


def pytest_runtest_logfinish(nodeid: str) -> None:  # noqa: ARG001
    """Stop."""
    pytest.exit("it is late")
