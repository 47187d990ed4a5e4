"""An exception in a thread of the harness is a lab error, never the failure of the test that runs at that time."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gate_run import Gate
from host_board import HostBoard
from ports import find_free_udp_port
from powered import is_on
from simulated_board import SimulatedBoard

pytest_plugins = ["host_board"]

BOOT = "tests/test_boot.py"
BAD_PACKET = b"\0\1hil-sim/kernel\0octet\0blksize\0x\0"


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "-n 1"])
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("thread", "thread 'failing' of the suite ended: ValueError: raised outside of any test"),
        ("finalizer", "exception ignored in FailingFinalizer.__del__: ValueError: raised outside of any test"),
    ],
)
def test_exception_outside_of_tests_is_a_lab_error(
    host: HostBoard, source: str, reason: str, workers: tuple[str, ...]
) -> None:
    run = host.run_gate(*workers, "-p", "background_error", BOOT, environment={"BACKGROUND_ERROR": source})
    assert run.exit_status == 9, run.text
    assert run.tests("passed") and not run.tests("failed") and not run.tests("error")
    (error,) = run.records_of("harness_error")  # though each test raises one
    assert (error["source"], error["reason"]) == (source, reason)
    assert "background_error.py" in error["details"]
    assert run.verdict["why"][0] == f"lab: {reason}"


def test_finalizer_run_by_the_garbage_collector_counts_for_the_verdict(host: HostBoard) -> None:
    run = host.run_gate("-p", "background_error", BOOT, environment={"BACKGROUND_ERROR": "cycle"})
    assert run.exit_status == 9, run.text
    assert [error["source"] for error in run.records_of("harness_error")] == ["finalizer"]


@pytest.mark.parametrize("kind", ["exit", "leak"])
def test_system_exit_of_a_thread_and_unclosed_socket_are_no_errors(host: HostBoard, kind: str) -> None:
    run = host.run_gate("-p", "background_error", BOOT, environment={"BACKGROUND_ERROR": kind})
    assert run.verdict["outcome"] == "partial" and not run.records_of("harness_error"), run.text


@pytest.mark.parametrize("kind", ["late finalizer", "late thread"])
def test_exception_while_pytest_ends_is_a_lab_error(host: HostBoard, kind: str) -> None:
    run = host.run_gate("-p", "background_error", BOOT, environment={"BACKGROUND_ERROR": kind})
    assert run.exit_status == 9 and run.text.endswith("OUTCOME  lab trouble, exit status 9\n"), run.text
    assert "ValueError: raised outside of any test" in run.records_of("harness_error")[0]["reason"]


@contextmanager
def power_from_file(board: SimulatedBoard, power: Path) -> Iterator[None]:
    """Power a simulated board on and off as the content of a file changes between "on" and "off"."""
    end = threading.Event()

    def follow() -> None:
        had_power = False
        while not end.wait(0.02):
            has_power = is_on(power)
            if has_power != had_power:
                board.on() if has_power else board.off()
            had_power = has_power

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(5)


def test_malformed_packet_to_the_tftp_server_changes_no_verdict(tmp_path: Path) -> None:
    """With the TFTP server that the suite runs for a lab without one: a whole boot, then the tests."""
    port, power, temporary = find_free_udp_port(), tmp_path / "power", tmp_path / "tmp"
    temporary.mkdir()
    (tmp_path / "image").mkdir()
    (tmp_path / "image/kernel").write_text("k")  # the simulated board reports that it fetched one byte
    board = {"extends": "virt", "made_by": None, "boot": {"tftp": ["tftpboot 80000000 {kernel}", "booti 80000000"]}}
    (tmp_path / "sim.yaml").write_text(json.dumps(board))
    with SimulatedBoard() as simulated, power_from_file(simulated, power):
        unit = {
            "name": "sim",
            "board": "sim",
            "console": {"url": simulated.url},
            "power": {
                "kind": "command",
                "on": f"echo on >{power}",
                "off": f"echo off >{power}",
                "settle": 0.1,
            },
            "tftp": {"server": "127.0.0.1", "port": port},
        }
        (tmp_path / "lab.yaml").write_text(json.dumps({"units": [unit]}))
        options = ("--board", tmp_path / "sim.yaml", "--lab", tmp_path / "lab.yaml", "--image", tmp_path / "image")
        with Gate(temporary, *options, BOOT) as gate, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            gate.await_text("powering on")
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline:
                sender.sendto(BAD_PACKET, ("127.0.0.1", port))
                time.sleep(0.01)
            run = gate.wait()
    assert run.verdict["outcome"] == "partial", run.text
    assert len(run.tests("passed")) == 2 and not run.records_of("harness_error")
