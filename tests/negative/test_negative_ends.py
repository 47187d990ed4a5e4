"""A run that is interrupted, or that starts while another holds the unit, loses nothing and leaves nothing behind."""

import os
import signal

import pytest
from gate_run import RUNS, UNIT, Gate, await_exit, no_leftovers

from fixtures.record.record import read_record

BOOTING = f"powering on {UNIT}"


def test_second_run_reports_the_holder_of_the_unit() -> None:
    with no_leftovers() as folder, Gate(folder, "--board", UNIT) as first:
        first.await_text(BOOTING)
        with Gate(folder, "--board", UNIT, "tests/test_boot.py") as second:
            refused = second.wait()
        first.send_signal(signal.SIGINT)  # the first gate still runs: a whole gate takes longer than a refusal
        held = first.wait()
    assert refused.exit_status == 9, refused.text
    ((_, reason),) = refused.tests("error").items()
    assert reason.startswith(f"unit {UNIT} is held by ") and f", process {first.pid}, since 20" in reason, reason
    assert not refused.tests("failed") and not refused.tests("passed")
    assert held.exit_status == 2 and not held.tests("failed") and not held.tests("error"), held.text


@pytest.mark.parametrize("moment", ["powering on", "tftpboot ", "Linux version "])
def test_ctrl_c_during_boot_ends_the_run_in_order(moment: str) -> None:
    with no_leftovers() as folder, Gate(folder, "--board", UNIT) as gate:
        gate.await_text(BOOTING)
        if moment not in BOOTING:
            gate.await_console(moment)
        gate.send_signal(signal.SIGINT)
        run = gate.wait()
    assert run.exit_status == 2, run.text
    assert (run.verdict["outcome"], run.verdict["exit_status"]) == ("unfinished", 2)
    assert run.verdict["why"] == ["interrupted by Ctrl-C; what it had found until then is shown"]
    assert "- interrupted by Ctrl-C" in run.text and "OUTCOME  unfinished, exit status 2\n" in run.text, run.text
    assert [line["unit"] for line in run.records_of("run")] == [None, UNIT]


def test_sigkill_during_boot_ends_qemu_and_the_next_run_cleans_up() -> None:
    with no_leftovers() as folder:
        with Gate(folder, "--board", UNIT) as gate:
            gate.await_text(BOOTING)
            qemu = gate.find_qemu()
            os.kill(gate.pid, signal.SIGKILL)
            assert gate.wait().exit_status == -signal.SIGKILL
        await_exit(qemu)
        assert [line["unit"] for line in read_record(RUNS / "latest") if line["kind"] == "run"] == [None, UNIT]
        with Gate(folder, "--board", UNIT, "tests/test_boot.py") as gate:
            assert gate.wait().is_healthy


def test_killed_qemu_is_a_lab_error_and_results_are_kept() -> None:
    with (
        no_leftovers() as folder,
        Gate(folder, "--board", UNIT, "-v", "tests/test_aes.py", "tests/test_throughput.py") as gate,
    ):
        gate.await_text("ECB-VarKey-encrypt] PASSED")
        os.kill(gate.find_qemu(), signal.SIGKILL)
        run = gate.wait()
    assert run.exit_status == 9, run.text
    (test, reason), (_, next_reason) = run.tests("error").items()
    assert test.startswith("test_aes.py::test_known_answers[") and " was lost while running: " in reason, reason
    assert f"{UNIT} is quarantined: " in next_reason, next_reason
    assert "no other unit of its type is left" in next_reason, next_reason
    (unasked,) = (record["total"] for record in run.records_of("unasked"))
    assert f"not run {unasked}, in " in run.text and unasked == 395 - len(run.tests("passed")) - 2, run.text
    passed = run.tests("passed")
    assert not run.tests("failed") and "test_aes.py::test_known_answers[openssl-AES-128-ECB-VarKey-encrypt]" in passed
    assert {
        f"test_aes.py::test_known_answers[{line['layer']}-{line['group']}]" for line in run.records_of("vectors")
    } == set(passed)
    assert run.verdict["outcome"] == "lab" and len(run.verdict["why"]) == 2, run.verdict
