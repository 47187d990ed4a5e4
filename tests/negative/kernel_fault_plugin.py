"""A plugin, `pytest -p kernel_fault_plugin`: injects a fault into the board during a test.

The environment variable INJECT_COMMAND holds a shell command for the board, INJECT_AT a part of the node ids of the
tests during which it runs. The gate waits RECONNECT_TIMEOUT for a lost SSH server, not the usual 30 s.
"""

import os
import shlex

import pytest

from fixtures.gate import leased_unit
from fixtures.gate.leased_unit import LEASED_UNIT

RECONNECT_TIMEOUT = 10.0
"""Maximum time until the SSH server answers, in seconds. That of the virtual board starts before its login prompt."""


def pytest_configure() -> None:
    """Shorten the time limit of the gate."""
    leased_unit.SSH_TIMEOUT = RECONNECT_TIMEOUT


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Run the command on the board 0.3 s after a command of the test has started."""
    if os.environ["INJECT_AT"] in item.nodeid:
        command = shlex.quote(f"sleep 0.3; {os.environ['INJECT_COMMAND']}")
        item.config.stash[LEASED_UNIT].shell().run(f"sh -c {command} </dev/null >/dev/null 2>&1 & sleep 5", timeout=6)
