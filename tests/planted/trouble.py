"""A plugin, `pytest -p trouble`: when the test that $HIL_TROUBLE_AT names has begun, the board crashes.

The variable is not read by the gate; it belongs to this plugin alone.
"""

import os

import pytest

from fixtures.link.shell import Shell


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Have the kernel crash a second from now; the test goes on meanwhile."""
    if item.nodeid.endswith(os.environ["TROUBLE_AT"]):
        shell: Shell = item._request.getfixturevalue("shell")  # type: ignore[attr-defined]
        shell.run("{ sleep 1; echo c > /proc/sysrq-trigger; } </dev/null >/dev/null 2>&1 &").check()
