"""The console on a line that drops, floods, and delivers one byte at a time."""

import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import serial
from console_player import LINUX, Player, on_pty, on_tcp
from serial.rfc2217 import PortManager

from fixtures.boot.kernel_faults import FAULTS
from fixtures.link import console as console_module
from fixtures.link.console import CONTEXT_LINES, Console, ConsoleTimeout
from fixtures.outcome import LabError, ProductError

PANIC = "[   12.345678] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009\r\n"


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time after which a dropped console counts as lost."""
    monkeypatch.setattr(console_module, "RECONNECT_TIMEOUT", 1.0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


@pytest.fixture
def player() -> Iterator[Player]:
    with on_pty() as player:
        yield player


@pytest.fixture
def console(player: Player, log: Path) -> Iterator[Console]:
    with Console(player.url, 115200, log) as console:
        yield console


def call_later(delay: float, function: Callable[[], object]) -> threading.Timer:
    """Call a function in a thread. :param delay: seconds."""
    timer = threading.Timer(delay, function)
    timer.daemon = True
    timer.start()
    return timer


def wait_until(condition: Callable[[], bool], timeout: float = 5.0) -> bool:
    """Wait until a condition is true. Return False if it is not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


# Waiting for output


def test_recorded_boot_is_matched_up_to_the_login_byte_by_byte(console: Console, player: Player) -> None:
    player.send_text(LINUX)
    console.expect("Starting kernel", 5, "the kernel")
    assert console.expect(r"Linux version (\S+)", 5, "its version")[1] == "6.1.0-56-arm64"
    console.expect("virt login: ", 5, "the login prompt")
    with pytest.raises(ConsoleTimeout):
        console.expect("Linux version", 0.1, "what is already behind")


def test_wait_matches_output_that_arrived_before_it(console: Console, player: Player) -> None:
    player.send_text("=> ")
    assert wait_until(lambda: console.position == 3)
    console.expect("=> ", 0.0, "the prompt")


def test_match_that_arrives_in_two_parts_ends_the_wait_at_once(console: Console, player: Player) -> None:
    player.send_text("virt log")
    call_later(0.2, lambda: player.send_text("in: "))
    started = time.monotonic()
    console.expect("login: ", 10, "the login prompt")
    assert 0.15 < time.monotonic() - started < 2


def test_invalid_utf8_does_not_hide_or_shift_later_matches(console: Console, player: Player) -> None:
    player.send_text(b"\xff\xfe\x80 first \xe2\x82\xac\xc3 => second => ")
    console.expect("first", 5, "the first")
    console.expect("=> ", 5, "a prompt")
    assert console.expect("(second|third) => ", 5, "the second")[1] == "second"


def test_timeout_error_quotes_the_last_lines_of_output(console: Console, player: Player) -> None:
    player.send_text("".join(f"line {number}\r\n" for number in range(100)) + "and half a li")
    assert wait_until(lambda: console.since(0).endswith("half a li"))
    started = time.monotonic()
    with pytest.raises(ConsoleTimeout) as caught:
        console.expect("=> ", 0.3, "U-Boot's prompt")
    assert 0.3 <= time.monotonic() - started < 2
    text = str(caught.value)
    assert text.startswith(f"U-Boot's prompt did not come within 0.3 s on console {player.url}; last output:\n")
    shown = text.splitlines()[1:]
    assert shown == [f"  | line {number}" for number in range(101 - CONTEXT_LINES, 100)] + ["  | and half a li"]


def test_timeout_error_states_that_nothing_was_received(console: Console) -> None:
    with pytest.raises(ConsoleTimeout, match=re.escape("; last output:\n  | (nothing was received)")):
        console.expect("=> ", 0.05, "U-Boot's prompt")


def test_since_returns_the_output_after_a_mark(console: Console, player: Player) -> None:
    player.send_text("before\r\n")
    console.expect("before\r\n", 5, "the first line")
    mark = console.position
    player.send_text("after\r\nwards")
    console.expect("wards", 5, "the last")
    assert console.since(mark) == "after\nwards"


# A flood


def test_prompt_after_a_flood_of_output_is_found_in_time(console: Console, player: Player, log: Path) -> None:
    """The reader continues while a wait searches the output: a line that is not read blocks the board."""
    lines = 20_000
    flood = b"".join(b"[   12.%06d] virtio_net virtio1: something went wrong\r\n" % number for number in range(lines))
    sender = threading.Thread(target=player.send_bytes, args=(flood + b"=> ",), daemon=True)
    started = time.monotonic()
    sender.start()
    console.expect("^=> ", 30, "the prompt behind the flood")
    assert time.monotonic() - started < 10, "1 MB of output took more than 10 s"
    assert console.position == len(flood) + 3
    assert log.read_bytes().count(b"\n") == lines


def test_timeout_holds_during_a_flood_of_output(console: Console, player: Player) -> None:
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            player.send_bytes(b"noise " * 100 + b"\r\n")

    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    started = time.monotonic()
    try:
        with pytest.raises(ConsoleTimeout):
            console.expect("=> ", 0.5, "the prompt")
        assert time.monotonic() - started < 3
    finally:
        stop.set()
        flooding.join(5)


def test_kernel_fault_ends_a_wait_during_a_flood_of_output(console: Console, player: Player) -> None:
    console.kernel_fault_patterns = FAULTS
    flood = b"noise " * 2000 + b"\r\n"
    sender = threading.Thread(target=player.send_bytes, args=(flood + PANIC.encode() + flood * 50,), daemon=True)
    sender.start()
    with pytest.raises(ProductError, match="kernel panic"):
        console.expect("=> ", 10, "the prompt")
    sender.join(10)


# Kernel faults


def test_kernel_fault_ends_the_current_wait_and_every_later_one(console: Console, player: Player) -> None:
    console.kernel_fault_patterns = FAULTS
    call_later(0.2, lambda: player.send_text(PANIC))
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(ProductError) as caught:
            console.expect("login: ", 30, "the login prompt")
    assert time.monotonic() - started < 5
    assert str(caught.value) == f"kernel panic, seen on the console: {PANIC.strip()}"
    assert console.kernel_fault == str(caught.value)


def test_kernel_fault_callback_is_called_once_without_a_wait(console: Console, player: Player) -> None:
    called: list[str | None] = []
    console.on_kernel_fault = lambda: called.append(console.kernel_fault)
    console.kernel_fault_patterns = FAULTS
    player.send_text(PANIC + "[   12.4] ---[ end Kernel panic - not syncing: Attempted to kill init! ]---\r\n")
    assert wait_until(lambda: console.position > len(PANIC) + 20 and bool(called))
    time.sleep(0.3)
    player.send_text("more\r\n")
    time.sleep(0.1)
    assert called == [f"kernel panic, seen on the console: {PANIC.strip()}"]


def test_kernel_fault_callback_can_use_the_console(console: Console, player: Player) -> None:
    seen: list[str] = []
    console.on_kernel_fault = lambda: seen.append(console.since(0))
    console.kernel_fault_patterns = FAULTS
    player.send_text(PANIC)
    assert wait_until(lambda: bool(seen))
    assert "Kernel panic" in seen[0]


def test_panic_is_ordinary_output_without_kernel_fault_patterns(console: Console, player: Player) -> None:
    player.send_text(PANIC)
    console.expect("exitcode", 5, "the line")
    assert console.kernel_fault is None


# A line that is lost


def check_lost_console(player: Player, console: Console, log: Path) -> None:
    """Hang up in the middle of an output line, and check the error of each wait and the last line of the log."""
    player.send_text("virt login: root\r\nlogin[1")
    console.expect(r"login\[1", 5, "the start of a line")
    call_later(0.2, player.hang_up)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(LabError, match=r"(?s)^the console was lost: .*virt login: root\n  \| login\[1$") as caught:
            console.expect("# ", 30, "the shell's prompt")
        assert not isinstance(caught.value, ConsoleTimeout)
    assert time.monotonic() - started < 5
    assert player.url in str(caught.value)
    console.close()
    assert log.read_text().splitlines()[-1].endswith(" login[1")


def test_removed_serial_device_is_a_lab_error(console: Console, player: Player, log: Path) -> None:
    check_lost_console(player, console, log)


def test_closed_console_server_is_a_lab_error(log: Path) -> None:
    with on_tcp() as server:
        console = Console(server.url, 115200, log)
        player = server.accept()
        server.close()
        check_lost_console(player, console, log)


def test_output_before_the_loss_of_the_console_is_still_matched(log: Path) -> None:
    with on_tcp() as server, Console(server.url, 115200, log) as console:
        player = server.accept()
        player.send_text("a\r\nb\r\n=> ")
        server.close()
        player.hang_up()
        with pytest.raises(LabError):
            console.expect("never", 10, "what never comes")
        console.expect("=> ", 10, "the prompt")


def test_typing_on_a_lost_console_is_a_lab_error(log: Path) -> None:
    with on_tcp() as server, Console(server.url, 115200, log) as console:
        player = server.accept()
        server.close()
        player.hang_up()
        with pytest.raises(LabError, match="lost"):
            for _ in range(100):  # this host may still accept the first bytes
                console.type_keys("x" * 1000)


class BrokenPattern:
    """Pattern whose search raises in the reader thread."""

    def search(self, line: str) -> None:
        """Fail."""
        raise ValueError(f"cannot be searched: {line}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the gate records it
def test_exception_in_the_reader_is_a_lab_error(console: Console, player: Player) -> None:
    console.kernel_fault_patterns = {"broken": cast("re.Pattern[str]", BrokenPattern())}
    player.send_text("one line\r\n")
    started = time.monotonic()
    with pytest.raises(LabError, match=r"the console was lost: its reader ended: ValueError.*one line"):
        console.expect("=> ", 10, "the prompt")
    with pytest.raises(LabError, match="its reader ended"):
        console.responds(0.2)
    assert console.is_lost and time.monotonic() - started < 5


def test_console_closed_while_reconnecting_stays_closed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server accepts the connection later than `close` waits for the reader."""
    opening, opened = threading.Event(), threading.Event()
    with on_tcp() as server:
        console = Console(server.url, 115200, log)
        port = console._port
        open_port = port.open

        def slowly() -> None:
            opening.set()
            opened.wait(10)
            open_port()

        monkeypatch.setattr(port, "open", slowly)
        server.accept().hang_up()
        assert opening.wait(5)
        monkeypatch.setattr(console._reader, "join", lambda **_timeout: None)
        console.close()
        monkeypatch.undo()
        opened.set()
        console._reader.join(5)
        assert not console._reader.is_alive() and not port.is_open


def test_error_of_a_console_that_cannot_be_opened_names_its_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed_url = f"socket://127.0.0.1:{server.getsockname()[1]}"
    for url in (closed_url, "/dev/no-such-tty", "carrier-pigeon://x"):
        with pytest.raises(
            LabError, match=rf"^console {re.escape(url)} cannot be opened: .*Check `console` of this unit"
        ):
            Console(url, 115200, Path("/dev/null"))


def test_full_disk_of_the_log_is_a_lab_error(player: Player) -> None:
    with Console(player.url, 115200, Path("/dev/full")) as console:
        player.send_text("first line\r\n")
        with pytest.raises(LabError, match="No space left on device"):
            console.expect("never", 10, "what never comes")


# Typing


def test_line_is_typed_no_faster_than_it_is_echoed(console: Console, player: Player) -> None:
    line = "tftpboot ${kernel_addr_r} hil-0/kernel; echo status=$?"
    received: list[str] = []
    max_unechoed = 0

    def listen() -> None:
        nonlocal max_unechoed
        while "\r" not in received:
            character = player.receive_key(0.05)
            if character:
                received.append(character)
                max_unechoed = max(max_unechoed, len(received) - echoed[0])
            elif echoed[0] < len(received):
                player.send_text("".join(received[echoed[0] :]))
                echoed[0] = len(received)

    echoed = [0]
    board = threading.Thread(target=listen, daemon=True)
    board.start()
    console.type_line(line)
    board.join(5)
    assert "".join(received) == line + "\r"
    assert 1 < max_unechoed <= 16  # the FIFO of a 16550 UART holds 16 bytes


def test_echo_of_a_typed_line_is_not_matched_as_output(console: Console, player: Player) -> None:
    def board() -> None:
        player.receive_line("\r")
        player.send_text("status=0\r\n=> ")

    threading.Thread(target=board, daemon=True).start()
    console.type_line("echo status=0")
    assert console.expect(r"(?s)\A(.*?)=> ", 5, "the answer")[1] == "\r\nstatus=0\r\n"


@pytest.mark.parametrize("wrap", [" \r", "\r\n", "\x1b[K\r\n", " \x08"])
def test_line_that_is_wrapped_at_the_width_of_the_terminal_is_typed(
    console: Console, player: Player, wrap: str
) -> None:
    line = "dd if=/tmp/hil-0f95822d2ff956da/firmware of=/dev/vda bs=1M conv=fsync && reboot -f; echo done"

    def echo() -> None:
        for column in range(len(line)):
            player.send_text((player.receive_key() or "") + (wrap if column == 75 else ""))

    board = threading.Thread(target=echo, daemon=True)
    board.start()
    console.type_line(line, timeout=2)
    board.join(5)
    assert player.receive_line("\r", echo=False) == "\r"


def test_error_of_a_missing_echo_quotes_the_typed_text(console: Console, player: Player) -> None:
    with pytest.raises(ConsoleTimeout, match=r"the echo of 'version' did not come within 0\.1 s"):
        console.type_line("version", timeout=0.1)
    assert player.receive_line("n", echo=False) == "version"


def test_harness_latency_is_the_time_from_a_match_to_the_next_key(console: Console, player: Player) -> None:
    player.send_text("=> ")
    console.expect("=> ", 5, "the prompt")
    time.sleep(0.2)
    console.type_keys("x")
    console.type_keys("y")
    first = console.harness_latency
    assert 0.2 <= first < 1.0
    player.send_text("=> ", pause=0.5)
    console.expect("=> ", 5, "the prompt")
    console.type_keys("z")
    assert console.harness_latency < first + 0.8, "the time of the board was counted"


# The log


def test_log_has_every_line_with_a_utc_timestamp(console: Console, player: Player, log: Path) -> None:
    started = datetime.now(UTC)
    player.send_text(LINUX + "root\r\n")
    player.send_text(b"\x00\xff\r\nlast line without an end")
    console.expect("without an end", 10, "the last")
    console.close()
    stamped = [line.partition(" ") for line in log.read_text().splitlines()]
    expected = (LINUX + "root\r\n").replace("\r", "").split("\n")[:-1]
    assert [text for _, _, text in stamped] == [*expected, "\ufffd", "last line without an end"]
    times = [datetime.fromisoformat(stamp) for stamp, _, _ in stamped]
    assert times == sorted(times)
    assert started - timedelta(milliseconds=2) <= times[0] <= times[-1] <= datetime.now(UTC)


@pytest.mark.usefixtures("console")
def test_log_is_written_at_once_and_appended_to(player: Player, log: Path) -> None:
    player.send_text("one\r\n")
    assert wait_until(lambda: log.read_text().endswith(" one\n"))
    with on_pty() as other, Console(other.url, 115200, log) as again:
        other.send_text("two\r\n")
        again.expect("two\r\n", 5, "the second line")
    assert [line.split()[-1] for line in log.read_text().splitlines()] == ["one", "two"]


# RFC 2217


class Rfc2217Server(threading.Thread):
    """Console server for one client, built on pyserial's RFC 2217 server. It sends `output` and echoes its input."""

    def __init__(self) -> None:
        """Start to listen."""
        super().__init__(daemon=True)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._server.getsockname()[1]}"
        self.output: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.gone = threading.Event()
        self.start()

    def run(self) -> None:
        """Serve one client until it leaves, or until `gone` is set."""
        with self._server, self._server.accept()[0] as client, serial.serial_for_url("loop://") as port:
            client.settimeout(0.02)
            self.write = client.sendall
            manager = PortManager(port, self)  # type: ignore[arg-type]  # as pyserial's own example of a server does
            while not self.gone.is_set():
                while not self.output.empty():
                    client.sendall(b"".join(manager.escape(self.output.get())))
                try:
                    received = client.recv(1024)
                except TimeoutError:
                    continue
                if not received:
                    return
                client.sendall(b"".join(manager.escape(b"".join(manager.filter(received)))))


def test_rfc2217_console_is_read_and_typed_on(log: Path) -> None:
    """pyserial's RFC 2217 client has no file descriptor for `select`."""
    server = Rfc2217Server()
    with Console(server.url, 115200, log) as console:
        server.output.put(b"\xff virt login: ")
        console.expect("login: ", 5, "the login prompt")
        console.type_line("a name that is longer than one piece of it")
        time.sleep(0.3)
        server.output.put(b"late")
        console.expect("late", 5, "what comes after a while")
    server.join(5)
    assert not server.is_alive(), "the server still runs although the console was closed"


def test_closed_rfc2217_server_is_a_lab_error(log: Path) -> None:
    server = Rfc2217Server()
    with Console(server.url, 115200, log) as console:
        server.gone.set()
        with pytest.raises(LabError, match="the console was lost"):
            console.expect("=> ", 10, "the prompt")
