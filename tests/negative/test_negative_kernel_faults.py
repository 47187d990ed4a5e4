"""A unit that fails during a test is reported as such and recovered, and all other tests run."""

import os
import signal
from pathlib import Path

import pytest
from gate_run import UNIT, Gate, GateResult, no_leftovers

FAULT_TEST = "[openssl-AES-128-CTR-SP800-38A-encrypt]"
"""End of the node id of the test during which the fault is injected."""
FILES = ("tests/test_boot.py", "tests/test_aes.py", "-k", "boot or (openssl and CTR) or (cryptodev and CTR)")


def run_with_fault(command: str, unit: str = UNIT, at: str = FAULT_TEST) -> GateResult:
    """Run a gate whose board runs a shell command during each test whose node id contains `at`."""
    environment = {"PYTHONPATH": str(Path(__file__).parent), "INJECT_AT": at, "INJECT_COMMAND": command}
    with (
        no_leftovers(unit) as folder,
        Gate(folder, "--board", unit, "-p", "kernel_fault_plugin", *FILES, environment=environment) as gate,
    ):
        return gate.wait()


def reason_of_the_only(outcome: str, run: GateResult) -> str:
    """Return the reason of the only test with an outcome. Assert that it is FAULT_TEST and 37 others passed."""
    ((test, reason),) = run.tests(outcome).items()
    assert test.endswith(FAULT_TEST), test
    assert len(run.tests("passed")) == 37, run.text
    return reason


@pytest.mark.parametrize("unit", [UNIT, "virt/serial"], ids=["SSH and console", "console"])
def test_kernel_crash_fails_the_running_test(unit: str) -> None:
    run = run_with_fault("echo c > /proc/sysrq-trigger", unit)
    assert run.exit_status == 1, run.text
    reason = reason_of_the_only("failed", run)
    assert reason.startswith("kernel "), reason
    for line in (
        "sysrq: Trigger a crash",
        "Kernel panic - not syncing: sysrq triggered crash",
        "Call trace:",
        "U-Boot 20",
    ):
        assert line in reason, reason
    assert [record["by"] for record in run.records_of("recovery")] == ["power cycle"]


def test_unexpected_reset_fails_the_running_test() -> None:
    run = run_with_fault("reboot -f")
    assert run.exit_status == 1, run.text
    assert reason_of_the_only("failed", run).startswith("unexpected reset"), run.text


@pytest.mark.parametrize(
    ("command", "steps"),
    [
        ("kill $(pidof dropbear)", ["reconnect", "reset from the shell"]),
        ("ip link set eth0 down", ["reconnect", "reset from the shell"]),
    ],
    ids=["no SSH server", "no network"],
)
def test_lost_ssh_is_an_error_and_the_unit_is_recovered(command: str, steps: list[str]) -> None:
    run = run_with_fault(command)
    assert run.exit_status == 9, run.text
    assert "SSH" in reason_of_the_only("error", run)
    assert [record["by"] for record in run.records_of("recovery")] == steps


def test_third_kernel_fault_ends_the_run() -> None:
    run = run_with_fault("echo c > /proc/sysrq-trigger", at="[openssl-")
    assert run.exit_status == 1, run.text
    assert len(run.tests("failed")) == 3, run.text
    assert "3 kernel faults: the run ends" in run.text


def test_stopped_machine_is_a_silent_hang() -> None:
    with (
        no_leftovers() as folder,
        Gate(folder, "--board", UNIT, "-v", "tests/test_boot.py", "tests/test_stack.py") as gate,
    ):
        gate.await_text("test_command_runs_on_the_board PASSED")
        qemu = gate.find_qemu()
        os.kill(qemu, signal.SIGSTOP)
        gate.await_text("power cycle, after: silent hang")
        os.kill(qemu, signal.SIGCONT)
        run = gate.wait()
    assert run.exit_status == 1, run.text
    ((_, reason),) = run.tests("failed").items()
    assert reason.startswith("silent hang: no answer on the console either"), reason
    assert len(run.tests("passed")) == 22, run.text
