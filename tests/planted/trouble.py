"""A plugin, `pytest -p trouble`: when a test has begun whose name holds $TROUBLE_AT, $TROUBLE_DO is done there.

The variables are not read by the gate; they belong to this plugin alone.
"""

import os
import shlex

import pytest

from fixtures.gate.bench import BENCH


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Have the board do it while a command of the test runs."""
    if os.environ["TROUBLE_AT"] in item.nodeid:
        do = shlex.quote(f"sleep 0.3; {os.environ['TROUBLE_DO']}")
        item.config.stash[BENCH].shell().run(f"sh -c {do} </dev/null >/dev/null 2>&1 & sleep 10", timeout=15)
