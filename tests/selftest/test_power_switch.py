"""Power control by commands of the host and by QEMU: it switches, or reports that it did not."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from qemu.qmp import QMPError
from servers import wait_for_server

from fixtures import limits, qmp
from fixtures.lab.labfile import Command, Pdudaemon, Qmp
from fixtures.outcome import LabError
from fixtures.power import command
from fixtures.power.command import CommandPower
from fixtures.power.pdudaemon import PdudaemonPower
from fixtures.power.qmp import QmpPower
from fixtures.power.switch import create_power_switch
from fixtures.qmp import execute

QEMU = "qemu-system-aarch64"


def test_every_kind_of_power_has_its_switch(tmp_path: Path) -> None:
    assert isinstance(create_power_switch(Command(on="true", off="true"), "virt/0"), CommandPower)
    assert isinstance(create_power_switch(Qmp(path=tmp_path / "qmp"), "virt/0"), QmpPower)
    outlet = Pdudaemon(url="http://127.0.0.1:16421", hostname="rack-1", port=3)
    assert isinstance(create_power_switch(outlet, "virt/0"), PdudaemonPower)


# Commands


def test_commands_are_run_by_the_shell(tmp_path: Path) -> None:
    log = tmp_path / "log"
    switch = CommandPower(Command(on=f"echo on | tr a-z A-Z >> {log}", off=f"echo off >> {log} && true"))
    switch.off()
    switch.on()
    assert log.read_text() == "off\nON\n"


def script(folder: Path, text: str) -> Path:
    """Return an executable shell script."""
    path = folder / "relay"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_exit_status_other_than_zero_is_a_lab_error(tmp_path: Path) -> None:
    relay = script(tmp_path, "echo asked; echo outlet 3 is locked >&2; exit 4")
    switch = CommandPower(Command(on=f"{relay} --on 3", off="exit 1"))
    with pytest.raises(LabError) as caught:
        switch.on()
    assert str(caught.value) == (
        f"power: exit status 4 from '{relay} …' in the lab file (output: asked\noutlet 3 is locked)"
    )
    with pytest.raises(LabError, match=r"from 'exit …' in the lab file \(output: \(none\)\)"):
        switch.off()


def test_output_that_is_not_printable_is_shown_escaped(tmp_path: Path) -> None:
    relay = script(tmp_path, r"printf '\377\376\033[2J'; exit 1")
    with pytest.raises(LabError, match=r"\(output: \\xff\\xfe\\x1b\[2J\)"):
        CommandPower(Command(on=str(relay), off="true")).on()


def test_end_of_a_long_output_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_POWER_OUTPUT", 10)
    relay = script(tmp_path, "printf '%0500d' 123; exit 1")
    with pytest.raises(LabError, match=r"\(output: 0000000123\)$"):
        CommandPower(Command(on=str(relay), off="true")).on()


def test_missing_command_is_a_lab_error() -> None:
    with pytest.raises(LabError, match=r"exit status 127 .*not found"):
        CommandPower(Command(on="no-such-pdu-client --on 3", off="true")).on()


def test_command_has_no_standard_input() -> None:
    CommandPower(Command(on="! read answer", off="true")).on()


def test_command_timeout_is_a_lab_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "COMMAND_TIMEOUT", 0.3)
    started = time.monotonic()
    with pytest.raises(LabError, match=r"power: 'sleep …' in the lab file did not end within 0\.3 s"):
        CommandPower(Command(on="sleep 60", off="true")).on()
    assert time.monotonic() - started < 5


def test_command_timeout_kills_the_processes_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "COMMAND_TIMEOUT", 0.5)
    pid = tmp_path / "pid"
    started = time.monotonic()
    with pytest.raises(LabError, match="did not end within"):
        CommandPower(Command(on=f"sleep 60 & echo $! > {pid}; wait", off="true")).on()
    assert time.monotonic() - started < 5
    deadline = time.monotonic() + 5
    while is_running(int(pid.read_text())):  # a killed process does not end at once
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# QEMU


@pytest.fixture
def machine() -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a virtual machine that is powered off; yield its process and its QMP socket."""
    if not shutil.which(QEMU):
        pytest.skip(f"{QEMU} is not installed (Debian: qemu-system-arm)")
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:  # the path of pytest's folder is too long for a socket
        control = Path(folder) / "qmp"
        options = "-M virt -S -nodefaults -display none"
        command = [QEMU, *options.split(), "-qmp", f"unix:{control},server=on,wait=off"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
            try:
                wait_for_server(process, lambda: query_status(control), 10)
                yield process, control
            finally:
                process.kill()


def query_status(control: Path) -> object:
    """Return the status of the machine that QEMU reports."""
    answer = execute(control, ("query-status", {}))[0]
    assert isinstance(answer, dict)
    return answer["status"]


def test_qemu_machine_is_switched_on_and_off(machine: tuple[subprocess.Popen[bytes], Path]) -> None:
    control = machine[1]
    switch = QmpPower(control)
    switch.off()
    before = query_status(control)
    switch.on()
    assert query_status(control) == "running"
    switch.on()
    switch.off()
    assert (before, query_status(control)) == ("prelaunch", "prelaunch")
    switch.off()
    switch.on()
    assert query_status(control) == "running"


def test_qemu_machine_that_keeps_running_is_a_lab_error(machine: tuple[subprocess.Popen[bytes], Path]) -> None:
    with pytest.raises(
        LabError, match=r"^power: QEMU's machine is 'running' after cont, query-status; expected it stopped$"
    ):
        StuckOn(machine[1]).off()


class StuckOn(QmpPower):
    """Power switch whose `off` leaves the machine running, as with welded contacts."""

    def off(self) -> None:
        """Continue the machine in place of stopping it, then verify that it is stopped."""
        self._switch("cont", running=False)


def test_ended_qemu_is_a_lab_error(machine: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, control = machine
    switch = QmpPower(control)
    switch.on()
    process.kill()
    process.wait()
    with pytest.raises(LabError, match=rf"^power: no answer at {control}: .*refused\. Check that QEMU runs$"):
        switch.off()
    control.unlink()
    with pytest.raises(LabError, match="No such file"):
        switch.off()


def test_stopped_qemu_times_out_and_works_again_later(
    machine: tuple[subprocess.Popen[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, control = machine
    switch = QmpPower(control)
    monkeypatch.setattr(qmp, "TIMEOUT", 0.5)
    os.kill(process.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(LabError, match=r"QEMU did not answer within 0\.5 s"):
        switch.on()
    assert time.monotonic() - started < 3
    os.kill(process.pid, signal.SIGCONT)
    monkeypatch.setattr(qmp, "TIMEOUT", 10.0)
    switch.on()
    assert query_status(control) == "running"


def test_qmp_command_refused_by_qemu_is_an_error(machine: tuple[subprocess.Popen[bytes], Path]) -> None:
    with pytest.raises(QMPError, match="no-such-command"):
        execute(machine[1], ("no-such-command", {}))


def test_server_without_qmp_is_a_lab_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "TIMEOUT", 2.0)
    with tempfile.TemporaryDirectory(prefix="hil-") as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/qmp")
        server.listen()

        def greet() -> None:
            with server.accept()[0] as client:
                client.sendall(b"SSH-2.0-dropbear\r\n")
                client.recv(100)

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(LabError, match="power: no answer at"):
            QmpPower(Path(folder) / "qmp").on()
