"""A board that gets into trouble while it is asked: is that the failure of the test that ran, with what was seen?"""

import os
import signal
from pathlib import Path

import pytest
from gaterun import UNIT, Gate, Run, clean

AT = "test_aes.py::test_known_answers[openssl-AES-128-CTR-SP800-38A-encrypt]"


def in_trouble(unit: str) -> Run:
    """A gate whose board crashes in the middle of a test."""
    environment = {"PYTHONPATH": str(Path(__file__).parent), "TROUBLE_AT": AT}
    arguments = ("--board", unit, "-p", "trouble", "-v", "tests/test_boot.py", "tests/test_aes.py")
    with clean(unit) as place, Gate(place, *arguments, environment=environment) as gate:
        return gate.end()


@pytest.mark.parametrize("unit", [UNIT, "virt/serial"])
def test_a_kernel_that_crashes_is_the_failure_of_the_test_that_ran(unit: str) -> None:
    run = in_trouble(unit)
    assert run.status == 1, run.text
    ((test, reason),) = run.tests("failed").items()
    assert test.startswith("test_aes.py::test_known_answers["), test
    assert reason.startswith("kernel "), reason
    assert not run.tests("error")
    for line in (
        "sysrq: Trigger a crash",
        "Kernel panic - not syncing: sysrq triggered crash",
        "Call trace:",
        "U-Boot 20",
    ):
        assert line in reason, reason
    assert "test_boot.py::test_a_command_runs_on_the_board" in run.tests("passed")


def test_a_machine_that_stands_still_is_a_silent_hang() -> None:
    with clean() as place, Gate(place, "--board", UNIT, "-v", "tests/test_boot.py", "tests/test_stack.py") as gate:
        gate.await_text("test_a_command_runs_on_the_board PASSED")
        qemu = gate.qemu()
        os.kill(qemu, signal.SIGSTOP)
        try:
            run = gate.end()
        finally:
            os.kill(qemu, signal.SIGCONT)
    assert run.status == 1, run.text
    ((_, reason),) = run.tests("failed").items()
    assert reason.startswith("silent hang: the console does not answer"), reason
