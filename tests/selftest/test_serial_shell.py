"""The shell over the console, with real shells behind a line with many kinds of faults."""

import os
import random
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from debian_programs import find_program
from simulated_board import OOPS, Line, SimulatedBoard, find_marks

from fixtures.boot import login
from fixtures.link import flow_control, serial_shell
from fixtures.link.console import Console
from fixtures.link.serial_protocol import checksum
from fixtures.link.serial_shell import SerialShell
from fixtures.link.shell import OutputLimit
from fixtures.outcome import LabError, ProductError

RANDOM = random.Random(1).randbytes(12000)
SHELLS = [("sh", "-i"), ("bash", "--norc", "-i"), ("busybox", "sh", "-i")]
PACKAGES = {"sh": "dash", "bash": "bash", "busybox": "busybox"}
"""Shell -> Debian package that contains it."""
DMESG = "".join(f"[   12.3456{number:02}] oops <hil:1:end=1:end> {line}\n" for number, line in enumerate(OOPS * 5))


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts of a real board, so that lost data is requested sooner."""
    monkeypatch.setattr(flow_control, "ECHO_TIMEOUT", 0.2)
    monkeypatch.setattr(serial_shell, "SILENCE_TIMEOUT", 0.4)
    monkeypatch.setattr(serial_shell, "STATUS_TIMEOUT", 0.4)
    monkeypatch.setattr(serial_shell, "AGENT_TIMEOUT", 3.0)


@contextmanager
def logged_in(
    folder: Path,
    line: Line | None = None,
    *,
    shell: Sequence[str] = SHELLS[0],
    echo: bool = True,
    controlling: bool = True,
) -> Iterator[tuple[SimulatedBoard, Console]]:
    """Log in on a simulated board; yield board and console. The faults of `line` start after the login."""
    words = (find_program(shell[0], package=PACKAGES[shell[0]]), *shell[1:])
    board = SimulatedBoard(shell=words, echo=echo, controlling=controlling)
    with board, Console(board.url, 115200, folder / "console.log") as console:
        board.on(bootloader=False)
        login.log_in(console, "login: ", "root", "# ", 10)
        board.line = line or Line()
        yield board, console


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[SerialShell]:
    """Shell over a line without faults."""
    with logged_in(tmp_path) as (_, console):
        yield SerialShell(console)


@pytest.mark.parametrize("kind", SHELLS, ids=lambda kind: kind[0])
def test_output_exit_status_and_input_work_in_every_shell(kind: Sequence[str], tmp_path: Path) -> None:
    with logged_in(tmp_path, shell=kind) as (_, console):
        shell = SerialShell(console)
        result = shell.run("echo out; echo err >&2; exit 7")
        assert (result.output, result.exit_status) == (b"out\nerr\n", 7)
        assert 0 < result.duration < 5
        assert shell.run("kill -9 $$").exit_status == 137
        assert shell.run("cat", stdin=RANDOM).output == RANDOM
        assert shell.run("cat").output == b""


def test_every_byte_value_passes_through_a_command(shell: SerialShell) -> None:
    """Among them control characters, quotes, and text that resembles marks, prompts and kernel messages."""
    text = (
        "echo '\\x03 \t # \"$HOME\" é [ 1.000000] <hil:0:end=0:end>'; printf '\\000\\003\\004\\021\\177\\377\\r\\n# '"
    )
    assert shell.run(text).output.endswith(b"\0\3\4\21\x7f\xff\r\n# ")
    assert "é [ 1.000000] <hil:0:end=0:end>" in shell.run(text).text
    everything = bytes(range(256))
    assert shell.run("cat", stdin=everything).output == everything


def test_input_already_on_the_board_is_not_sent_again(shell: SerialShell, monkeypatch: pytest.MonkeyPatch) -> None:
    others = random.Random(2).randbytes(12000)
    monkeypatch.setattr(serial_shell, "MAX_STORED_INPUT", 20000)
    carried = []
    for data in (RANDOM, RANDOM, others, RANDOM):  # the third does not fit beside the first
        before = shell.traffic.payload_bytes
        assert shell.run("sha256sum", stdin=data).text.startswith(checksum(data))
        carried.append(shell.traffic.payload_bytes - before)
    assert carried == [12000, 0, 12000, 12000]


def test_output_that_looks_like_a_kernel_fault_is_only_output(shell: SerialShell) -> None:
    assert shell.run("cat", stdin=DMESG.encode()).text == DMESG


def test_command_takes_one_round_trip(tmp_path: Path) -> None:
    """No key is typed after the first response of the board."""
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        typed, position = len(board.received), console.position
        shell.run("echo hello")
        assert bytes(board.received[typed:]).count(b"!\r") == 1
        answer = console.since(position).encode()
        assert [mark.split(b":")[2].partition(b"=")[0] for mark in find_marks(answer)] == [
            b"begin",
            b"status",
            b"block",
            b"end",
        ]


BAD_LINES = {
    "kernel message after every 40 bytes": Line(message_every=40),
    "kernel message after every 3 bytes": Line(message_every=3),
    "messages without timestamps": Line(message_every=3500, timestamps=False),
    "byte by byte": Line(one_by_one=True),
    "loses 1 of 7000 from the board": Line(lose_out=7000),
    "loses 1 of 7000 to the board": Line(lose_in=7000),
    "all at once": Line(lose_in=20000, lose_out=20000, message_every=300),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_line_does_not_change_results(name: str, tmp_path: Path) -> None:
    with logged_in(tmp_path, BAD_LINES[name]) as (_, console):
        shell = SerialShell(console)
        assert shell.run("cat; exit 3", stdin=RANDOM).output == RANDOM
        path = str(tmp_path / "file")
        shell.put(RANDOM[:9000], path, mode=0o600)
        assert Path(path).read_bytes() == RANDOM[:9000]
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert shell.get(path) == RANDOM[:9000]
        assert shell.run("false").exit_status == 1


@pytest.mark.parametrize("text", [b"<hil:", b":begin", b":status:", b":block:", b":end=", b"# "])
def test_kernel_message_within_a_mark_is_removed(text: bytes, tmp_path: Path) -> None:
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        board.line.message_within.append(text)
        assert shell.run("echo '# '").output == b"# \n"
        assert text == b"# " or not board.line.message_within  # output is sent encoded


@pytest.mark.parametrize("kind", [SHELLS[0], SHELLS[2]], ids=lambda kind: kind[0])
def test_terminal_without_echo_works(kind: Sequence[str], tmp_path: Path) -> None:
    with logged_in(tmp_path, shell=kind, echo=False) as (_, console):
        shell = SerialShell(console)
        assert shell.run("cat", stdin=RANDOM[:2000]).output == RANDOM[:2000]


def test_line_that_damages_every_block_is_a_lab_error(tmp_path: Path) -> None:
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        board.line = Line(message_every=60, timestamps=False)
        with pytest.raises(LabError, match="damages data"):
            shell.run("cat", stdin=RANDOM[:3000])


def test_command_timeout_leaves_a_usable_shell(shell: SerialShell) -> None:
    started = time.monotonic()
    with pytest.raises(ProductError, match=r"(?s)did not end within 0.3 s: echo some.*some$"):
        shell.run("echo some; trap '' INT TERM; sleep 30 & sleep 30", timeout=0.3)
    assert time.monotonic() - started < 5
    assert shell.run("echo next").text == "next\n"


def test_command_timeout_works_without_a_controlling_terminal(tmp_path: Path) -> None:
    with logged_in(tmp_path, controlling=False) as (_, console):
        shell = SerialShell(console)
        with pytest.raises(ProductError, match=r"did not end within 0\.1 s"):
            shell.run("sleep 30", timeout=0.1)
        assert shell.run("echo next").text == "next\n"


def test_lost_response_is_requested_again_without_running_the_command_twice(tmp_path: Path) -> None:
    """The command ended, but its response was lost. It is neither run twice nor reported as timed out."""
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        count = tmp_path / "count"
        board.line.swallow = b":status:"
        result = shell.run(f"echo once >>{count}; echo done", timeout=1)
        assert result.text == "done\n"
        assert count.read_text() == "once\n"


def test_request_with_a_lost_response_is_repeated_without_running_twice(tmp_path: Path) -> None:
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        count = tmp_path / "count"
        board.line.swallow = b":begin"
        assert shell.run(f"echo once >>{count}; echo done").text == "done\n"
        assert count.read_text() == "once\n"


def test_silent_board_is_a_product_failure(tmp_path: Path) -> None:
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        board.hang()
        with pytest.raises(ProductError, match="silent hang"):
            shell.run("true")
        assert console.kernel_fault
        with pytest.raises(ProductError, match="silent hang"):
            shell.run("true")


def test_kernel_oops_ends_a_command_at_once(tmp_path: Path) -> None:
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        started = time.monotonic()
        board.call_later(0.2, lambda: board.print_kernel(*OOPS))
        with pytest.raises(ProductError, match="kernel oops, seen on the console"):
            shell.run("sleep 30")
        assert time.monotonic() - started < 2
        report = console.describe_kernel_fault()
        assert OOPS[0] in report and OOPS[-1] in report


@pytest.mark.parametrize("what", ["input", "output"])
def test_transfer_that_drips_is_a_lab_error_at_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(serial_shell, "TRANSFER_TIMEOUT", 0.5)
    monkeypatch.setattr(serial_shell, "MAX_TRANSFER_SLOWDOWN", 0.5)
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        board.line.baud = 20000  # the lab file says 115200
        started = time.monotonic()
        with pytest.raises(LabError, match=rf"bytes of {what} passed in \d+ s \(limit: 0\.5 s .*MAX_TRANSFER_SLOWDOWN"):
            shell.run("head -c 12000 /dev/urandom", stdin=RANDOM * (what == "input"), timeout=10)
        assert time.monotonic() - started < 10


def test_text_that_drips_is_no_response(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A character now and then does not prolong the wait for a response."""
    monkeypatch.setattr(serial_shell, "AGENT_TIMEOUT", 0.6)
    with logged_in(tmp_path) as (board, console):
        shell = SerialShell(console)
        board.hang()
        ended = threading.Event()

        def drip() -> None:
            while not ended.wait(0.1):
                os.write(board._host_side, b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        started = time.monotonic()
        with pytest.raises(LabError, match="a response to a request did not come"):
            shell.run("true")
        assert time.monotonic() - started < 8
        ended.set()
        thread.join()


def test_missing_file_or_folder_is_a_product_failure(shell: SerialShell, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="exit status"):
        shell.get(str(tmp_path / "absent"))
    with pytest.raises(ProductError, match="exit status"):
        shell.put(b"x", str(tmp_path / "no/such/folder"))


def test_error_names_the_program_that_the_board_lacks(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("mkdir", "cat", "rm", "gzip", "sed", "sh", "sha256sum"):
        (folder / program).symlink_to(str(shutil.which(program)))
    with logged_in(tmp_path) as (_, console):
        console.type_line(f"PATH={folder}")
        console.expect("# ", 5, "the prompt")
        with pytest.raises(LabError, match="the board has no base64"):
            SerialShell(console)
        (folder / "base64").symlink_to(str(shutil.which("base64")))
        (folder / "sha256sum").unlink()
        with pytest.raises(LabError, match="the board has no sha256sum"):
            SerialShell(console)


def test_openssl_replaces_a_missing_base64(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in (
        "mkdir",
        "cat",
        "rm",
        "gzip",
        "sed",
        "sh",
        "sha256sum",
        "openssl",
        "wc",
        "mv",
        "dd",
        "tail",
        "chmod",
    ):
        (folder / program).symlink_to(str(shutil.which(program)))
    with logged_in(tmp_path) as (_, console):
        console.type_line(f"PATH={folder}")
        console.expect("# ", 5, "the prompt")
        assert SerialShell(console).run("cat", stdin=RANDOM).output == RANDOM


def test_close_removes_the_folder_of_the_agent(tmp_path: Path) -> None:
    with logged_in(tmp_path) as (_, console):
        shell = SerialShell(console)
        folder = shell.run("pwd").text.strip()
        assert Path(folder).is_dir()
        shell.close()
        console.type_keys("\r")
        console.expect("# ", 5, "the prompt")
        assert not Path(folder).exists()
        again = SerialShell(console)
        assert again.run("echo again").text == "again\n"


def test_agent_left_by_a_killed_run_is_replaced(tmp_path: Path) -> None:
    """The run was killed, and the board has not been powered off since."""
    with logged_in(tmp_path) as (_, console):
        first = SerialShell(console).run("pwd").text.strip()
        second = SerialShell(console).run("pwd").text.strip()
        assert Path(second).is_dir()
        assert not Path(first).exists()


def test_folder_of_the_agent_that_exists_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another user of the board had guessed its name, and put a link there."""
    monkeypatch.setattr(secrets, "token_hex", lambda _size: f"{os.getpid()}")
    (tmp_path / "theirs").mkdir()
    guessed = Path(f"/tmp/hil.{os.getpid()}")
    guessed.symlink_to(tmp_path / "theirs")
    try:
        with logged_in(tmp_path) as (_, console), pytest.raises(LabError, match="no shell prompt accepted a command"):
            SerialShell(console)
    finally:
        guessed.unlink()
    assert list((tmp_path / "theirs").iterdir()) == []


def test_transfer_uses_most_of_the_line_speed(tmp_path: Path) -> None:
    """Measured at 115200 baud."""
    with logged_in(tmp_path, Line(baud=115200)) as (_, console):
        shell = SerialShell(console)
        assert shell.run("cat", stdin=RANDOM).output == RANDOM
        assert shell.traffic.utilization > 0.6, shell.traffic


@pytest.mark.parametrize("source", ["/dev/urandom", "/dev/zero"], ids=["transferred", "decompressed"])
def test_output_over_the_limit_is_a_product_failure_and_the_shell_works_on(
    source: str, shell: SerialShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial_shell, "COMMAND_LIMIT", OutputLimit("MAX_COMMAND_OUTPUT", 20_000))
    with pytest.raises(ProductError, match="printed more than 20,000 bytes, the limit MAX_COMMAND_OUTPUT: head"):
        shell.run(f"head -c 30000 {source}")
    assert shell.run("echo alive").text == "alive\n"


def test_flood_on_the_console_of_a_dead_agent_is_a_product_failure(shell: SerialShell) -> None:
    shell.run("(sleep 0.5; kill -9 $PPID; exec yes flood >/dev/tty) >/dev/null 2>&1 &")
    time.sleep(1)
    with pytest.raises(ProductError, match=r"console flood: a response to a request did not come.*MAX_CONSOLE_LOAD"):
        shell.run("echo alive")
