"""Does the image boot?"""

import pytest

from fixtures.link.console import Console
from fixtures.link.shell import Shell

pytestmark = pytest.mark.board


def test_image_boots_to_a_login(console: Console) -> None:
    assert console.kernel_fault is None


def test_command_runs_on_the_board(shell: Shell) -> None:
    assert shell.run("echo alive").check().text == "alive\n"
