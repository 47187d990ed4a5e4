"""Does the hardware random generator give numbers, and no number twice?"""

import pytest

from fixtures.link.shell import Shell
from fixtures.stack.random_generator import check_random, read_random

pytestmark = pytest.mark.board


def test_hardware_random_generator_does_not_repeat_itself(generator: str, shell: Shell) -> None:
    first = read_random(shell, generator)
    second = read_random(shell, generator)
    check_random(generator, first, second)
