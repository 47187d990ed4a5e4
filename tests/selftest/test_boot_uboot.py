"""Dialogue with U-Boot: it follows U-Boot's behaviour, and each failure ends with a clear error."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from console_player import BANNER, LINUX, Player, UBootPlayer, on_pty, play_linux

from fixtures.boot import login
from fixtures.boot import uboot as uboot_room
from fixtures.boot.kernel_faults import BOOTLOADER_BANNER, FAULTS, watch_for_kernel_faults
from fixtures.boot.uboot import UBoot
from fixtures.link import console as console_module
from fixtures.link.console import Console, ConsoleTimeout
from fixtures.outcome import LabError, ProductError

COUNTDOWN = "Hit any key to stop autoboot"
PROMPT = "=> "


@contextmanager
def running_board(
    folder: Path,
    *,
    commands: Mapping[str, tuple[str, int]] | None = None,
    kernel: Callable[[Player], None] | None = None,
    **options: Any,
) -> Iterator[tuple[Console, UBoot, UBootPlayer]]:
    """Open the console of a board, then power the board on. :param options: of `UBootPlayer`."""
    with on_pty() as line, Console(line.url, 115200, folder / "console.log") as console:
        board = UBootPlayer(line, commands=commands, linux=kernel, **options)
        board.start()
        try:
            yield console, UBoot(console, PROMPT), board
        finally:
            line.hang_up()
            board.join(5)
        assert board.failure is None


def test_autoboot_is_interrupted_and_commands_run(tmp_path: Path) -> None:
    listing = "Filename 'kernel'.\r\nLoading: *#####\r\n\t 26.5 MiB/s\r\ndone\r\n"
    with running_board(tmp_path, commands={"tftpboot": (listing, 0)}) as (_, uboot, board):
        uboot.interrupt_autoboot(COUNTDOWN, " ", 5)
        assert uboot.run("version").strip().splitlines()[0] == "U-Boot 2023.01+dfsg-2"
        assert (
            uboot.run("tftpboot ${kernel_addr_r} hil-0/kernel").replace("\r", "").strip()
            == listing.replace("\r", "").strip()
        )
        assert uboot.run("setenv bootargs console=ttyAMA0,115200 earlycon panic=-1 root=/dev/ram0 rw").strip() == ""
        assert board.ran == [
            "version",
            "tftpboot ${kernel_addr_r} hil-0/kernel",
            "setenv bootargs console=ttyAMA0,115200 earlycon panic=-1 root=/dev/ram0 rw",
        ]


def test_failing_command_is_a_lab_error_with_its_output(tmp_path: Path) -> None:
    error = "TFTP error: 'File not found' (1)\r\nNot retrying...\r\n"
    with running_board(tmp_path, commands={"tftpboot": (error, 1), "run": ("", -22)}) as (_, uboot, _board):
        uboot.interrupt_autoboot(COUNTDOWN, " ", 5)
        with pytest.raises(
            LabError, match=r"^U-Boot: exit status 1 from 'tftpboot x': TFTP error: 'File not found' \(1\)"
        ):
            uboot.run("tftpboot x")
        with pytest.raises(LabError, match=r"^U-Boot: exit status -22 from 'run x': \(no output\)$"):
            uboot.run("run x")
        assert "U-Boot" in uboot.run("version")


def test_prompt_or_status_within_the_output_does_not_end_a_command(tmp_path: Path) -> None:
    printed = "a => b\r\nstatus=7 is not the end\r\nstatus=$?\r\n=> \r\n"
    with running_board(tmp_path, commands={"printenv": (printed, 0)}) as (_, uboot, _board):
        uboot.interrupt_autoboot(COUNTDOWN, " ", 5)
        assert uboot.run("printenv").replace("\r", "").lstrip("\n") == printed.replace("\r", "")


def test_long_output_is_read_quickly(tmp_path: Path) -> None:
    printed = "".join(f"variable{number}=value\r\n" for number in range(3000))
    with running_board(tmp_path, commands={"printenv": (printed, 0)}) as (_, uboot, _board):
        uboot.interrupt_autoboot(COUNTDOWN, " ", 5)
        started = time.monotonic()
        assert uboot.run("printenv").strip() == printed.replace("\r", "").strip()
        assert time.monotonic() - started < 5


def test_silent_board_is_a_lab_error(tmp_path: Path) -> None:
    with (
        on_pty() as line,
        Console(line.url, 115200, tmp_path / "console.log") as console,
        pytest.raises(LabError, match=rf"(?s)U-Boot's '{COUNTDOWN}' did not come within 0\.2 s.*nothing was received"),
    ):
        UBoot(console, PROMPT).interrupt_autoboot(COUNTDOWN, " ", 0.2)


def test_missed_autoboot_countdown_is_a_lab_error(tmp_path: Path) -> None:
    message = r"(?s)U-Boot's prompt '=> ' did not come within 0\.3 s.*Booting from flash"
    with (
        running_board(tmp_path, countdown=0.0, autoboot="Booting from flash...\r\n") as (_, uboot, _board),
        pytest.raises(LabError, match=message),
    ):
        uboot.interrupt_autoboot(COUNTDOWN, " ", 0.3)


COUNTDOWNS: dict[str, dict[str, Any]] = {
    "keys of the first 0.7 s are lost": {"deaf": 0.7},
    "two countdowns": {"stages": ["Hit any key to stop autoboot:  2 ", "Vendor menu: press a key ... 1 "], "deaf": 0.3},
    "a banner and a second countdown": {
        "stages": ["Hit any key to stop autoboot:  1 ", f"{BANNER}Hit any key to stop autoboot:  3 "]
    },
    "a string stops it": {"stop": "stop", "deaf": 0.05, "send": "stop"},
    "a prompt in colour": {"prompt": "\x1b[1;32m=\x1b[0m> \x1b[K", "deaf": 0.3},
    "a prompt after the terminal's title": {"prompt": "\x1b]0;board\x07=> ", "deaf": 0.3},
}
"""Countdown -> options of `UBootPlayer`, and the keys to send."""


@pytest.mark.parametrize("name", COUNTDOWNS)
@pytest.mark.parametrize("key", [" ", "x", "\r"])
def test_keys_are_repeated_until_the_prompt_and_cleared(tmp_path: Path, name: str, key: str) -> None:
    options = dict(COUNTDOWNS[name])
    keys = options.pop("send", key)
    with running_board(tmp_path, **options) as (_, uboot, board):
        uboot.interrupt_autoboot(COUNTDOWN, keys, 10)
        assert "U-Boot 2023.01" in uboot.run("version")
        assert [command for command in board.ran if command] == ["version"]


def test_kernel_in_place_of_the_prompt_is_a_lab_error_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    with (
        running_board(tmp_path, countdown=0.0, autoboot="\r\nStarting kernel ...\r\n\r\n") as (_, uboot, _board),
        pytest.raises(LabError, match=r"^autoboot was not stopped: 'Starting kernel' came instead of .* every 0\.2 s"),
    ):
        uboot.interrupt_autoboot(COUNTDOWN, " ", 30)
    assert time.monotonic() - started < 5


@contextmanager
def uboot_that_answers(folder: Path, *actions: Callable[[Player], None]) -> Iterator[UBoot]:
    """Yield U-Boot on a line whose other end does these actions after the first command line."""
    with on_pty() as line, Console(line.url, 115200, folder / "console.log") as console:

        def answer() -> None:
            line.receive_line("\r")
            for action in actions:
                action(line)

        board = threading.Thread(target=answer, daemon=True)
        board.start()
        yield UBoot(console, PROMPT)
        board.join(5)


def test_command_timeout_is_a_lab_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uboot_room, "COMMAND_TIMEOUT", 0.3)
    with (
        uboot_that_answers(tmp_path, lambda line: line.send_text("Loading: *T T T T ")) as uboot,
        pytest.raises(ConsoleTimeout, match=r"(?s)the end of U-Boot's 'tftpboot x' did not come.*T T T T"),
    ):
        uboot.run("tftpboot x")


def test_console_lost_during_a_command_is_a_lab_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "RECONNECT_TIMEOUT", 0.5)
    with (
        uboot_that_answers(tmp_path, lambda line: line.send_text("Loading: *###"), Player.hang_up) as uboot,
        pytest.raises(LabError, match=r"(?s)the console was lost: .*; echo status"),
    ):
        uboot.run("tftpboot x")


# Linux


@contextmanager
def booted(folder: Path, kernel: Callable[[Player], None], timeout: float = 5) -> Iterator[tuple[Console, UBootPlayer]]:
    """Yield the console of a board that was booted and logged in to. :param timeout: of the login, in seconds."""
    with running_board(folder, kernel=kernel) as (console, uboot, board):
        uboot.interrupt_autoboot(COUNTDOWN, " ", 5)
        watch_for_kernel_faults(console)
        uboot.start_kernel("booti x")
        login.wait_for_kernel(console, 5, "=> ")
        login.log_in(console, "login: ", "root", "# ", timeout)
        yield console, board


def test_booti_leads_to_a_shell(tmp_path: Path) -> None:
    with booted(tmp_path, play_linux) as (console, board):
        assert board.ran == ["booti x"]
        assert console.kernel_fault is None


def test_image_refused_by_booti_is_a_lab_error(tmp_path: Path) -> None:
    refusal = {"booti": ("Bad Linux ARM64 Image magic!\r\n", 1)}
    with running_board(tmp_path, commands=refusal) as (console, uboot, _):
        uboot.interrupt_autoboot(COUNTDOWN, " ", 5)
        watch_for_kernel_faults(console)
        uboot.start_kernel("booti ${kernel_addr_r}")
        while "magic" not in console.since(0):  # the message is whole although it came before anything waited for it
            time.sleep(0.01)
        with pytest.raises(
            LabError, match=r"^the kernel's first line did not come: .* \(output: .*Bad Linux ARM64 Image magic!\)$"
        ):
            login.wait_for_kernel(console, 60, "=> ")


def make_linux(*parts: str) -> Callable[[Player], None]:
    """Return a function that plays a Linux which prints texts and hangs."""
    return lambda line: line.send_bytes("".join(parts).encode())


HUNG_LINUX = make_linux(LINUX[: LINUX.index("Run /")] if "Run /" in LINUX else LINUX[: len(LINUX) // 2])


def boot_and_log_in(folder: Path, kernel: Callable[[Player], None], timeout: float) -> None:
    with booted(folder, kernel, timeout):
        pass


def test_hung_kernel_is_a_product_failure(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"^the kernel started, but no shell came: the login prompt 'login: ' did"):
        boot_and_log_in(tmp_path, HUNG_LINUX, 0.3)


def test_login_without_shell_is_a_product_failure(tmp_path: Path) -> None:
    def linux_without_shell(line: Player) -> None:
        line.send_bytes(LINUX.encode())
        line.receive_line("\r")
        line.send_text("login: can't exec /bin/sh\r\n")

    with pytest.raises(
        ProductError, match=r"(?s)no shell came: the shell's prompt '# ' did not come.*can't exec /bin/sh"
    ):
        boot_and_log_in(tmp_path, linux_without_shell, 0.5)


FAULT_LINES = {
    "kernel panic": "[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    "kernel oops": "[    2.1] Unable to handle kernel NULL pointer dereference at virtual address 0000000000000010",
    "kernel BUG": "[    2.1] kernel BUG at mm/slub.c:435!",
    "soft lockup": "[   28.1] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [cryptomgr_test:101]",
    "hard lockup": "[   28.1] watchdog: Watchdog detected hard LOCKUP on cpu 1",
    "hung task": "[  242.1] INFO: task openssl:123 blocked for more than 120 seconds.",
    "RCU stall": "[   21.0] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
    "unexpected reset": "U-Boot 2023.01+dfsg-2+deb12u3 (Jun 22 2026 - 08:38:07 +0000)",
}
"""Kernel fault -> a line on the console that reports it."""


@pytest.mark.parametrize("name", FAULT_LINES)
def test_kernel_fault_during_boot_is_a_product_failure_at_once(tmp_path: Path, name: str) -> None:
    kernel = make_linux(LINUX[: len(LINUX) // 2], "\r\n", FAULT_LINES[name], "\r\n", "=> ")
    started = time.monotonic()
    with pytest.raises(ProductError) as caught:
        boot_and_log_in(tmp_path, kernel, 60)
    assert str(caught.value) == f"{name}, seen on the console: {FAULT_LINES[name]}"
    assert time.monotonic() - started < 10


def test_unexpected_reset_after_the_login_is_detected(tmp_path: Path) -> None:
    def reset_after_login(line: Player) -> None:
        play_linux(line)
        line.send_text("\r\n" + FAULT_LINES["unexpected reset"] + "\r\n")

    with booted(tmp_path, reset_after_login) as (console, _), pytest.raises(ProductError, match="unexpected reset"):
        console.expect("never", 10, "what never comes")


def test_healthy_boot_matches_no_kernel_fault_pattern() -> None:
    patterns = {**FAULTS, "unexpected reset": BOOTLOADER_BANNER}
    assert set(FAULT_LINES) == set(patterns)
    hits = [(name, line) for line in LINUX.splitlines() for name, pattern in patterns.items() if pattern.search(line)]
    assert hits == []


@pytest.mark.parametrize(
    "line",
    [
        "Internal error: Oops: 0000000096000046 [#1] SMP",  # arm64
        "Oops [#1]",  # RISC-V
        "Oops - illegal instruction [#1]",
        "Oops: Kernel access of bad area, sig: 11 [#1]",  # PowerPC
        "Oops[#1]:",  # MIPS
        "divide error: 0000 [#1] PREEMPT SMP NOPTI",  # x86
        "Oops: divide error: 0000 [#1] PREEMPT SMP NOPTI",
    ],
)
def test_oops_of_every_architecture_is_recognised(line: str) -> None:
    assert FAULTS["kernel oops"].search(f"[   12.345678] {line}")
