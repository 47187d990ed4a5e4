"""A plugin, `pytest -p kernel_fault_plugin`: runs $TROUBLE_DO when a test begins whose name holds $TROUBLE_AT.

Only this plugin reads the variables.
"""

import os
import shlex

import pytest

from fixtures.gate.leased_unit import LEASED_UNIT


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Run the command on the board 0.3 s after a command of the test has started."""
    if os.environ["TROUBLE_AT"] in item.nodeid:
        do = shlex.quote(f"sleep 0.3; {os.environ['TROUBLE_DO']}")
        item.config.stash[LEASED_UNIT].shell().run(f"sh -c {do} </dev/null >/dev/null 2>&1 & sleep 10", timeout=15)
