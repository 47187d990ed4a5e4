"""A simulated board boots over bad lines, and faults of its kernel are detected."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import simulated_board as sim
from simulated_board import Line, SimulatedBoard, power_on_and_log_in

from fixtures.boot import login, uboot
from fixtures.boot.kernel_faults import watch_for_kernel_faults
from fixtures.boot.uboot import UBoot
from fixtures.link import console as console_module
from fixtures.link import serial_shell
from fixtures.link.console import Console, ConsoleTimeout
from fixtures.link.serial_shell import SerialShell
from fixtures.outcome import LabError, ProductError


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts of a real board."""
    monkeypatch.setattr(uboot, "ECHO_TIMEOUT", 0.3)
    monkeypatch.setattr(login, "ENTER_INTERVAL", 0.3)
    monkeypatch.setattr(console_module, "KERNEL_FAULT_DURATION", 0.5)


@contextmanager
def board_and_console(folder: Path, line: Line | None = None) -> Iterator[tuple[SimulatedBoard, Console]]:
    """Yield a board that is powered off, and its open console."""
    with SimulatedBoard(line) as board, Console(board.url, 115200, folder / "console.log") as console:
        yield board, console


def boot(board: SimulatedBoard, console: Console) -> None:
    """Boot and log in, with the steps of `bring_up`."""
    board.on()
    loader = UBoot(console, sim.PROMPT)
    loader.interrupt_autoboot("Hit any key to stop autoboot", " ", 5)
    assert "U-Boot 2024.01" in loader.run("version")
    loader.run("setenv bootargs console=ttyS0,115200n8 root=/dev/ram panic=-1 loglevel=8")
    watch_for_kernel_faults(console)
    loader.start_kernel("booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdtcontroladdr}")
    login.wait_for_kernel(console, 5, "=> ")
    login.log_in(console, "login: ", "root", "# ", 10)


LINES: dict[str, Callable[[], Line]] = {
    "good": Line,
    "byte by byte": lambda: Line(one_by_one=True),
    "115200 baud": lambda: Line(baud=115200),
    "a message in the login prompt": lambda: Line(message_within=[b"login: "]),
    "a message in the shell's prompt and the kernel's first line": lambda: Line(message_within=[b"# ", b"Starting"]),
    "a message in every text of U-Boot": lambda: Line(message_within=[b"Hit any", b"=> ", b"status="]),
    "loses 1 of 150 bytes to the board": lambda: Line(lose_in=150),
    "loses the login prompt": lambda: Line(swallow=b"ogin: "),
}


@pytest.mark.parametrize("name", LINES)
def test_board_boots_in_spite_of_the_faults_of_a_line(name: str, tmp_path: Path) -> None:
    with board_and_console(tmp_path, LINES[name]()) as (board, console):
        boot(board, console)
        board.line = Line()
        assert SerialShell(console).run("echo up").text == "up\n"
        assert console.kernel_fault is None


def test_command_refused_by_uboot_is_a_lab_error(tmp_path: Path) -> None:
    with board_and_console(tmp_path) as (board, console):
        board.on()
        loader = UBoot(console, sim.PROMPT)
        loader.interrupt_autoboot("Hit any key", " ", 5)
        with pytest.raises(LabError, match=r"exit status 1 from 'tftboot x': Unknown command 'tftboot'"):
            loader.run("tftboot x")


def test_user_name_damaged_on_the_line_is_typed_again(tmp_path: Path) -> None:
    with board_and_console(tmp_path, Line(lose_in=3)) as (board, console):
        board.on(bootloader=False)
        board.call_later(1.0, lambda: setattr(board.line, "lose_in", 0))
        login.wait_for_kernel(console, 5, "=> ")
        login.log_in(console, "login: ", "root", "# ", 10)


def test_refused_login_is_a_product_failure(tmp_path: Path) -> None:
    with board_and_console(tmp_path) as (board, console):
        board.on(bootloader=False)
        login.wait_for_kernel(console, 5, "=> ")
        with pytest.raises(ProductError, match=r"'login: ' came again after each of 3 logins as 'admin'"):
            login.log_in(console, "login: ", "admin", "# ", 10)


@pytest.mark.parametrize("state", ["login", "shell", "half a line", "a program", "an agent"])
def test_attach_gets_a_shell_from_any_console_state(state: str, tmp_path: Path) -> None:
    """The previous user may have left the console in any state."""
    with board_and_console(tmp_path) as (board, console):
        board.on(bootloader=False)
        console.expect("login: ", 5, "the login prompt")
        if state != "login":
            console.type_keys("root\r")
            console.expect("# ", 5, "the prompt")
        if state in ("half a line", "a program"):
            console.type_keys("cat" if state == "half a line" else "cat\r")
            console.expect("cat", 5, "the echo")
        if state == "an agent":
            SerialShell(console)
        login.attach(console, "login: ", "root", "# ", 5)
        assert SerialShell(console).run("echo up").text == "up\n"


def test_attach_to_a_silent_console_times_out(tmp_path: Path) -> None:
    with board_and_console(tmp_path) as (_, console), pytest.raises(ConsoleTimeout, match="the prompt"):
        login.attach(console, "login: ", "root", "# ", 0.3)


KERNEL_FAULTS = {
    "kernel oops": sim.OOPS,
    "kernel panic": sim.PANIC,
    "kernel BUG": sim.BUG,
    "soft lockup": sim.LOCKUP,
    "hung task": sim.HUNG_TASK,
    "RCU stall": sim.STALL,
}


@pytest.mark.parametrize("name", KERNEL_FAULTS)
def test_kernel_fault_ends_a_command_at_once_and_is_reported_completely(name: str, tmp_path: Path) -> None:
    with board_and_console(tmp_path) as (board, console):
        power_on_and_log_in(board, console)
        shell = SerialShell(console)
        board.call_later(0.2, lambda: board.print_kernel("crypto: a line before it", *KERNEL_FAULTS[name]))
        board.call_later(0.4, lambda: board.print_kernel("the last line of it"))
        started = time.monotonic()
        with pytest.raises(ProductError, match=f"^{name}, seen on the console: .*{KERNEL_FAULTS[name][0][:20]}"):
            shell.run("sleep 60", timeout=60)
        assert time.monotonic() - started < 2
        report = console.describe_kernel_fault().partition("\n")[2]
        for line in ("crypto: a line before it", *KERNEL_FAULTS[name], "the last line of it"):
            assert line in report
            report = report.partition(line)[2]


@pytest.mark.parametrize("moment", ["boot", "command", "idle"])
def test_unexpected_reset_is_a_product_failure(moment: str, tmp_path: Path) -> None:
    with board_and_console(tmp_path) as (board, console):
        board.on(bootloader=False)
        login.wait_for_kernel(console, 5, "=> ")
        if moment == "boot":
            watch_for_kernel_faults(console)
            board.reset()
            with pytest.raises(ProductError, match=r"^unexpected reset, seen on the console: U-Boot"):
                login.log_in(console, "never: ", "root", "# ", 5)
            return
        login.log_in(console, "login: ", "root", "# ", 5)
        shell = SerialShell(console)
        board.call_later(0.1, board.reset)
        if moment == "idle":
            time.sleep(0.5)
        with pytest.raises(ProductError, match=r"^unexpected reset"):
            shell.run("sleep 60", timeout=60)


def test_kernel_start_without_bootloader_banner_is_an_unexpected_reset(tmp_path: Path) -> None:
    with board_and_console(tmp_path) as (board, console):
        power_on_and_log_in(board, console)
        board.off()
        board.on(bootloader=False)
        with pytest.raises(ProductError, match=r"^unexpected reset"):
            console.expect("never", 5, "what never comes")


def test_messages_of_a_healthy_kernel_are_no_kernel_fault(tmp_path: Path) -> None:
    healthy = (
        "NET: Registered PF_INET6 protocol family",
        "EFI: Das U-Boot is not here",
        "watchdog: Delayed init of the lockup detector failed: -19",
        "rcu: Preemptible hierarchical RCU implementation.",
        "Kernel panic timeout is 1",
        "DEBUG: nothing",
    )
    with board_and_console(tmp_path) as (board, console):
        power_on_and_log_in(board, console)
        board.print_kernel(*healthy)
        console.expect("DEBUG: nothing", 5, "the last line")
        assert console.kernel_fault is None


def test_hung_board_is_detected_by_a_command_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_shell, "AGENT_TIMEOUT", 0.5)
    monkeypatch.setattr(serial_shell, "STATUS_TIMEOUT", 0.2)
    with board_and_console(tmp_path) as (board, console):
        power_on_and_log_in(board, console)
        assert console.responds(2)
        shell = SerialShell(console)
        board.call_later(1.5, board.hang)  # by then the command runs, also on a busy machine
        with pytest.raises(ProductError, match=r"did not end within 3 s"):
            shell.run("sleep 60", timeout=3)
        assert not console.responds(0.2)
        assert str(console.kernel_fault).startswith("silent hang: the console does not answer")
