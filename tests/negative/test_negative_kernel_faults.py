"""A board that gets into trouble while it is asked: told as what it is, brought back, and all else asked?"""

import os
import signal
from pathlib import Path

import pytest
from gate_run import UNIT, Gate, Run, clean

AT = "[openssl-AES-128-CTR-SP800-38A-encrypt]"
FILES = ("tests/test_boot.py", "tests/test_aes.py", "-k", "boot or (openssl and CTR) or (cryptodev and CTR)")


def in_trouble(do: str, unit: str = UNIT, at: str = AT) -> Run:
    """A gate whose board does something in the middle of a test."""
    environment = {"PYTHONPATH": str(Path(__file__).parent), "TROUBLE_AT": at, "TROUBLE_DO": do}
    with (
        clean(unit) as place,
        Gate(place, "--board", unit, "-p", "kernel_fault_plugin", *FILES, environment=environment) as gate,
    ):
        return gate.end()


def all_but_one_passed(run: Run, outcome: str) -> str:
    """Whether one test came to an outcome and all others passed; the reason of the one."""
    ((test, reason),) = run.tests(outcome).items()
    assert test.endswith(AT), test
    assert len(run.tests("passed")) == 37, run.text
    return reason


@pytest.mark.parametrize("unit", [UNIT, "virt/serial"])
def test_a_kernel_that_crashes_is_the_failure_of_the_test_that_ran(unit: str) -> None:
    run = in_trouble("echo c > /proc/sysrq-trigger", unit)
    assert run.status == 1, run.text
    reason = all_but_one_passed(run, "failed")
    assert reason.startswith("kernel "), reason
    for line in (
        "sysrq: Trigger a crash",
        "Kernel panic - not syncing: sysrq triggered crash",
        "Call trace:",
        "U-Boot 20",
    ):
        assert line in reason, reason
    assert [record["by"] for record in run.of("recovery")] == ["switched off and on"]


def test_a_board_that_resets_itself_is_the_failure_of_the_test_that_ran() -> None:
    run = in_trouble("reboot -f")
    assert run.status == 1, run.text
    assert all_but_one_passed(run, "failed").startswith("unexpected reset"), run.text


@pytest.mark.parametrize(
    ("do", "climbed"),
    [
        ("kill $(pidof dropbear)", ["interrupted and connected again", "reset by its shell"]),
        ("ip link set eth0 down", ["interrupted and connected again", "reset by its shell"]),
    ],
    ids=["no SSH server", "no network"],
)
def test_a_way_in_that_is_lost_is_an_error_and_the_board_is_brought_back(do: str, climbed: list[str]) -> None:
    run = in_trouble(do)
    assert run.status == 9, run.text
    assert "SSH" in all_but_one_passed(run, "error")
    assert [record["by"] for record in run.of("recovery")] == climbed


def test_a_board_that_crashes_again_and_again_is_asked_no_more() -> None:
    run = in_trouble("echo c > /proc/sysrq-trigger", at="[openssl-")
    assert run.status == 1, run.text
    assert len(run.tests("failed")) == 3, run.text
    assert "the board was in trouble 3 times" in run.text


def test_a_machine_that_stands_still_is_a_silent_hang() -> None:
    with clean() as place, Gate(place, "--board", UNIT, "-v", "tests/test_boot.py", "tests/test_stack.py") as gate:
        gate.await_text("test_command_runs_on_the_board PASSED")
        qemu = gate.qemu()
        os.kill(qemu, signal.SIGSTOP)
        gate.await_text("switched off and on, after: silent hang")
        os.kill(qemu, signal.SIGCONT)
        run = gate.end()
    assert run.status == 1, run.text
    ((_, reason),) = run.tests("failed").items()
    assert reason.startswith("silent hang: the console does not answer"), reason
    assert len(run.tests("passed")) == 22, run.text
