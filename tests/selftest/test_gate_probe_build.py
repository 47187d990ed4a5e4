"""A probe that does not compile is a fault of the host: it is reported once, and no unit is recovered for it."""

from host_board import HostBoard

pytest_plugins = ["host_board"]


def test_probe_that_does_not_compile_is_reported_once(host: HostBoard) -> None:
    run = host.run_gate("-p", "broken_compiler", "tests/test_sha.py")
    assert run.exit_status == 9, run.text
    assert len(run.tests("error")) == 1 and not run.tests("passed") and not run.records_of("recovery")
    assert "the probe for " in run.text and "did not compile" in run.text
