"""A kernel log that is replayed on the console is no kernel fault; boot id, kernel log and a dead shell decide."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from local_shell import LocalShell
from simulated_board import KERNEL, OOPS, PANIC, SimulatedBoard, power_on_and_log_in

from fixtures.boot.kernel_state import KernelState, read_kernel_state
from fixtures.gate.fault_verifier import FaultVerifier
from fixtures.link.console import Console
from fixtures.link.serial_shell import SerialShell
from fixtures.outcome import LabError, ProductError

BOOT_ID = "01234567-89ab-cdef-0123-456789abcdef"
OTHER_BOOT_ID = BOOT_ID[::-1].replace("-", "")[:8] + BOOT_ID[8:]
OLD = "".join(f"[{number * 0.3 if number > 1 else 0:12.6f}] {line}\r\n" for number, line in enumerate(KERNEL))
"""The log of the boot, as dmesg prints it."""
REPLAYS = {
    "dmesg": OLD,
    "dmesg in colour": OLD.replace("[", "\x1b[32m[", 1),
    "the log of a crash before this boot": "".join(f"[    0.100000] {line}\r\n" for line in (*OOPS, *PANIC)),
    "a crash without timestamps, by a script": "".join(f"{line}\r\n" for line in (*OOPS, *PANIC)),
    "journald": f"Nov 30 12:00:00 board kernel: {KERNEL[0]}\r\nNov 30 12:00:00 board kernel: {OOPS[3]}\r\n",
}
"""What a program prints on the console."""


@dataclass
class Log:
    """Kernel log and boot id of a board, in files of this host."""

    folder: Path
    lines: list[str] = field(default_factory=lambda: ["<6>[    5.000000] crypto: a line"])
    boot_id: str = BOOT_ID

    def write(self) -> None:
        """Write the files."""
        (self.folder / "log").write_text("".join(f"{line}\n" for line in self.lines))
        (self.folder / "boot_id").write_text(f"{self.boot_id}\n")

    def shell(self) -> LocalShell:
        """Return a shell of a board with them."""
        self.write()
        return LocalShell(
            replace={
                "/proc/sys/kernel/random/boot_id": str(self.folder / "boot_id"),
                "dmesg -r": f"cat {self.folder}/log",
            }
        )


@contextmanager
def logged_in(folder: Path) -> Iterator[tuple[SimulatedBoard, Console]]:
    """Yield a board whose console shows a login shell."""
    with SimulatedBoard() as board, Console(board.url, 115200, folder / "console.log") as console:
        power_on_and_log_in(board, console)
        yield board, console


def wait_until(condition: Callable[[], object], timeout: float = 5.0) -> bool:
    """Wait until a condition is true. Return whether it is within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


# Over SSH: each line is verified by a second command


@contextmanager
def verified(folder: Path, log: Log) -> Iterator[tuple[SimulatedBoard, Console, FaultVerifier, list[str]]]:
    """Yield a board whose console is verified over another connection, and the lines that were no fault."""
    dismissed: list[str] = []
    with logged_in(folder) as (board, console):
        shell = log.shell()
        verifier = FaultVerifier(console, shell, read_kernel_state(shell), dismissed.append)
        verifier.start()
        yield board, console, verifier, dismissed


@pytest.mark.parametrize("name", [*REPLAYS, "a script that shows U-Boot's banner", "a script that writes to the log"])
def test_replayed_log_is_dismissed_while_a_wait_goes_on(name: str, tmp_path: Path) -> None:
    log = Log(tmp_path)
    with verified(tmp_path, log) as (board, console, verifier, dismissed):
        replay = REPLAYS.get(name, "\r\nU-Boot 2024.01 (Jan 08 2024 - 15:37:48 +0000)\r\n")
        if name.endswith("to the log"):  # echo TEXT > /dev/kmsg: facility 1, and the time of now
            log.lines.append("<12>[99999.000000] BUG: soft lockup - CPU#0 stuck for 26s! [sh:123]")
            log.write()
            replay = log.lines[-1][4:] + "\r\n"
        board._send(replay.encode())
        board.call_later(0.5, lambda: board._send(b"still here\r\n"))
        console.expect("still here", 5, "output after the replay")
        verifier.settle()
        assert console.kernel_fault is None and console.faults.suspicion is None
    assert len(dismissed) >= 1


def check_fault(console: Console, name: str, started: float) -> None:
    with pytest.raises(ProductError, match=f"^{name}"):
        console.expect("never", 30, "what never comes")
    assert time.monotonic() - started < 5
    assert console.kernel_fault_name == name


def test_reset_without_a_banner_is_detected_by_the_boot_id(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with verified(tmp_path, log) as (board, console, _, dismissed):
        log.boot_id = OTHER_BOOT_ID
        log.write()
        board.off()
        started = time.monotonic()
        board.on(bootloader=False)
        check_fault(console, "unexpected reset", started)
    assert dismissed == []


def test_oops_in_the_log_of_the_kernel_is_a_fault(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with verified(tmp_path, log) as (board, console, _, _dismissed):
        log.lines += [f"<1>[  100.000000] {line}" for line in OOPS]
        log.write()
        started = time.monotonic()
        board.print_kernel(*OOPS)
        check_fault(console, "kernel oops", started)


def test_oops_among_the_lines_of_a_replay_is_a_fault(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with verified(tmp_path, log) as (board, console, _, _dismissed):
        log.lines += [f"<1>[  100.000000] {line}" for line in OOPS]
        log.write()
        started = time.monotonic()
        board._send(OLD.encode())
        check_fault(console, "kernel oops", started)


def test_oops_before_the_shell_was_opened_is_no_fault(tmp_path: Path) -> None:
    log = Log(tmp_path, lines=[f"<1>[  100.000000] {line}" for line in OOPS])
    with verified(tmp_path, log) as (board, console, verifier, dismissed):
        board._send(log.lines[3][3:].encode() + b"\r\n")
        assert wait_until(lambda: console.faults.suspicion or verifier._dismissed)
        verifier.settle()
        assert console.kernel_fault is None
    assert len(dismissed) == 1


class DeadShell(LocalShell):
    """Shell of a board that no longer answers."""

    is_dead = False

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0):  # type: ignore[no-untyped-def]
        """Fail as SSH does."""
        if self.is_dead:
            raise LabError("SSH was lost")
        return super().run(command, stdin=stdin, timeout=timeout)


def test_line_of_a_board_whose_shell_is_dead_is_a_fault(tmp_path: Path) -> None:
    with logged_in(tmp_path) as (board, console):
        shell = DeadShell()
        verifier = FaultVerifier(console, shell, read_kernel_state(shell), lambda _text: None)
        verifier.start()
        shell.is_dead = True
        started = time.monotonic()
        board.print_kernel(*PANIC)
        check_fault(console, "kernel panic", started)


# Over the console alone


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the simulated board a `dmesg` that prints a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dmesg").write_text(f"#!/bin/sh\ncat {tmp_path}/log\n")
    (folder / "dmesg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.mark.parametrize("name", REPLAYS)
@pytest.mark.usefixtures("programs")
def test_replayed_log_over_the_console_is_dismissed_after_the_command(name: str, tmp_path: Path) -> None:
    Log(tmp_path).write()
    dismissed: list[str] = []
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        verifier = FaultVerifier(console, shell, read_kernel_state(shell), dismissed.append)
        board.call_later(0.3, lambda: board._send(b"\r\n" + REPLAYS[name].encode()))
        assert shell.run("sleep 1; echo done").text == "done\n"
        verifier.settle()
        assert console.kernel_fault is None
        assert shell.run("echo alive").text == "alive\n"
    assert len(dismissed) >= (name != "journald" or 1)


@pytest.mark.usefixtures("programs")
def test_oops_without_a_timestamp_over_the_console_is_a_fault_after_the_command(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write()
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        verifier = FaultVerifier(console, shell, read_kernel_state(shell), lambda _text: None)
        log.lines += [f"<1>{line}" for line in OOPS]
        log.write()
        board._send("".join(f"{line}\r\n" for line in OOPS).encode())
        assert wait_until(lambda: console.faults.suspicion)
        verifier.settle()
        assert console.kernel_fault_name == "kernel oops"


@pytest.mark.parametrize("moment", ["command", "idle"])
def test_reset_without_a_banner_over_the_console_is_detected_by_a_dead_shell(moment: str, tmp_path: Path) -> None:
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)

        def reset() -> None:
            board.off()
            board.on(bootloader=False)

        board.call_later(0.2, reset)
        if moment == "idle":
            time.sleep(1)
        with pytest.raises(
            ProductError, match=r"^unexpected reset, seen on the console: \[    0\.000000\] Booting Linux"
        ):
            shell.run("sleep 60", timeout=2)


def test_reset_by_the_bootloader_is_a_fault_at_once(tmp_path: Path) -> None:
    with logged_in(tmp_path) as (board, console):
        board._send(OLD.encode())
        console.expect("as init process", 5, "the end of the replay")
        assert console.kernel_fault is None
        started = time.monotonic()
        board.reset()
        check_fault(console, "unexpected reset", started)


def test_version_of_the_bootloader_within_a_line_is_no_reset(tmp_path: Path) -> None:
    with logged_in(tmp_path) as (board, console):
        board._send(b"Bootloader: U-Boot 2024.01 (Jan 08 2024 - 15:37:48 +0000)\r\nend\r\n")
        console.expect("end", 5, "the next line")
        assert console.kernel_fault is None and console.faults.suspicion is None


@pytest.mark.parametrize("text", ["", "\0\x1b[2J", "<9999999>x", "<1>", f"{BOOT_ID}\n1.0 2.0\n<>[", "9" * 5000])
def test_state_is_parsed_from_any_output(text: str) -> None:
    state = KernelState.parse(text)
    assert state.faults == frozenset() and state.uptime is None
    assert state.boot_id == (BOOT_ID if text.startswith(BOOT_ID) else "")


def test_state_has_faults_of_the_kernel_alone() -> None:
    state = KernelState.parse(f"{BOOT_ID}\n12.34 5.67\n\n<6>[ 1.0] x\n<1>[ 2.0] {OOPS[3]}\n<12>[ 3.0] {PANIC[0]}\n")
    assert state == KernelState(BOOT_ID, 12.34, True, frozenset({f"[ 2.0] {OOPS[3]}"}))
