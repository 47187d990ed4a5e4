"""Limits of what a board can make the host hold, or wait for, over the console, the serial protocol and SSH."""

import gzip
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
import pytest
from console_player import LineHungUp, Player, on_pty, on_tcp
from ssh_server import USER, ssh_server

from fixtures import limits
from fixtures.boot import login
from fixtures.boot.kernel_faults import AFTER_LOGIN, FAULTS
from fixtures.link import console as console_module
from fixtures.link import console_log, console_stream, flow_control, serial_port, ssh
from fixtures.link.console import Console, ConsoleTimeout
from fixtures.link.console_stream import History, LineSplitter
from fixtures.link.flow_control import FlowControl
from fixtures.link.serial_protocol import MAX_BLOCK_TEXT, NoiseFilter, OutputTooLong, Response, checksum
from fixtures.link.shell import CommandResult
from fixtures.outcome import LabError, ProductError


@contextmanager
def flooded_console(text: bytes, log: Path, baud: int = 115200) -> Iterator[Console]:
    """Open a console whose board prints a text without end."""
    with on_tcp() as server, Console(server.url, baud, log) as console:
        player = server.accept()
        ended = threading.Event()

        def flood() -> None:
            while not ended.is_set():
                try:
                    player.send_bytes(text * (65536 // len(text)))
                except (OSError, LineHungUp):
                    return

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        try:
            yield console
        finally:
            ended.set()
            console.close()
            thread.join(5)


@contextmanager
def quiet_console(log: Path) -> Iterator[tuple[Console, Player]]:
    """Open a console whose board prints what a test sends."""
    with on_pty() as player, Console(player.url, 115200, log) as console:
        yield console, player


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


# Console: waiting


@pytest.mark.parametrize("text", [b"[    1.000000] ", b"=>=> \r", b"\n", b"noise without an end ", b"[ 1.0] x\r\n"])
def test_deadline_holds_during_a_flood(text: bytes, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "MAX_CONSOLE_OUTPUT", 10**12)  # which would end the wait before its deadline
    with flooded_console(text, log) as console:
        started = time.monotonic()
        with pytest.raises(ConsoleTimeout):
            console.expect("^never: ", 1.5, "what never comes")
        assert time.monotonic() - started < 2.5


def test_timestamps_without_a_line_end_are_searched_in_linear_time() -> None:
    pattern = re.compile("never")
    started = time.monotonic()
    assert console_stream.search(pattern, "[    1.000000] " * 100_000) == (None, 0, 0)
    assert time.monotonic() - started < 1


def test_text_is_found_across_two_searches_and_only_at_the_start_of_a_line(log: Path) -> None:
    filler = "x" * (limits.MAX_EXPECTED_TEXT - 3) + "\r\n"  # a search begins at `=> ` of its first line
    with quiet_console(log) as (console, player):
        threading.Thread(target=player.send_bytes, args=(f"a=> {filler * 40}=".encode(),), daemon=True).start()
        with pytest.raises(ConsoleTimeout):
            console.expect("^=> ", 1.0, "a prompt at the start of a line")
        player.send_bytes(b"[    1.000000] noise\r\n> ")
        console.expect("^=> ", 5, "the prompt")
        assert console.position == console.match_end


# Console: what is kept


def test_console_keeps_its_last_bytes_and_counts_all(log: Path) -> None:
    with flooded_console(b"0123456789abcde\n", log) as console:
        while console.position < 2 * limits.CONSOLE_HISTORY:
            time.sleep(0.01)
        assert len(console.since(0)) <= limits.CONSOLE_HISTORY


def test_history_returns_what_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_stream, "CONSOLE_HISTORY", 10)
    history = History()
    for _ in range(3):
        history.append(b"abcdefg")
    assert (history.start, history.end) == (11, 21)
    assert (history.get(0), history.get(14), history.get(0, 14)) == (b"efgabcdefg", b"abcdefg", b"efg")


def test_search_examines_a_limited_part_of_what_was_searched_already() -> None:
    history, length = History(), limits.MAX_EXPECTED_TEXT
    history.append(b"x" * 3 * length)
    assert history.window(0, 3 * length) == (2 * length - 1, "\0" + "x" * length)


def test_long_line_is_split_and_keeps_its_positions() -> None:
    longest = limits.MAX_CONSOLE_LINE
    splitter = LineSplitter()
    assert splitter.feed(b"a\nb") == [(0, b"a")]
    assert splitter.feed(b"c" * longest) == [(2, b"b" + b"c" * (longest - 1))]
    assert splitter.feed(b"d\r\n\ne") == [(2 + longest, b"cd\r"), (longest + 6, b"")]
    assert splitter.flush() == b"e"


def test_flood_that_nothing_waits_for_is_a_product_failure_that_names_the_limit(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "MAX_CONSOLE_OUTPUT", 1_000_000)
    reported = threading.Event()
    with flooded_console(b"flood\r\n", log) as console:
        console.on_kernel_fault = reported.set
        assert reported.wait(10)
        with pytest.raises(ProductError, match=r"console flood: .* limit of 1,000,000 bytes \(MAX_CONSOLE_OUTPUT\)"):
            console.expect("never", 10, "what never comes")
        console.clear_kernel_fault()
        assert console.kernel_fault is None or "flood" in console.kernel_fault


def test_attaching_to_a_console_with_a_flood_is_a_product_failure(log: Path) -> None:
    with (
        flooded_console(b"flood\r\n", log) as console,
        pytest.raises(ProductError, match=r"console flood: the prompt 'login: ' or '# ' did not .*MAX_CONSOLE_LOAD"),
    ):
        login.attach(console, "login: ", "root", "# ", 1.0)


def test_attaching_to_a_silent_console_is_a_lab_error(log: Path) -> None:
    with quiet_console(log) as (console, _), pytest.raises(ConsoleTimeout):
        login.attach(console, "login: ", "root", "# ", 1.0)


# Console: the log


def test_log_ends_at_its_limit_with_a_remark(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_log, "MAX_CONSOLE_LOG", 200_000)
    with flooded_console(b"\n", log) as console:
        while console.position < 1_000_000:
            time.sleep(0.01)
    assert log.stat().st_size < 201_000
    assert log.read_text().splitlines()[-1].endswith(" (the log ends here: its limit of 200,000 bytes is reached)")
    with quiet_console(log) as (console, player):  # opened again, as after a lost console
        player.send_text("more\r\n")
        console.expect("more\r\n", 5, "more")
    assert log.stat().st_size < 201_000


def test_log_has_escape_sequences_in_printable_form(log: Path) -> None:
    with quiet_console(log) as (console, player):
        player.send_bytes(b"\x1b]0;title\x07\x1b[2J\tgreen \xc2\x9b1m \xe2\x80\xae \xc3\xa9\r\n")
        console.expect("\xe9\r\n", 5, "the end of the line")
    assert log.read_text().split(" ", 1)[1] == "\\x1b]0;title\\x07\\x1b[2J\tgreen \\x9b1m \\u202e \xe9\n"


# Kernel faults


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("BUG: unable to handle page fault for address: 0", "kernel oops"),
        ("BUG: kernel NULL pointer dereference, address: 0", "kernel oops"),
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", "soft lockup"),
        ("BUG: scheduling while atomic: swapper/0/0x1", "kernel BUG"),
        ("kernel BUG at mm/slub.c:1", "kernel BUG"),
        ("[    0.000000] Booting Linux on physical CPU 0x0", "unexpected reset"),
    ],
)
def test_first_pattern_that_matches_names_the_fault(line: str, name: str) -> None:
    assert next(fault for fault, pattern in AFTER_LOGIN.items() if pattern.search(f"before\n{line}\n")) == name


def test_kernel_faults_are_searched_in_linear_time() -> None:
    text = "INFO: task INFO: task Oops rcu: INFO: rcu_" * 50_000
    started = time.monotonic()
    assert not any(pattern.search(text) for pattern in FAULTS.values())
    assert time.monotonic() - started < 2


# The serial protocol


def mark(words: str) -> str:
    return f"<hil:{words}={words}>"


@pytest.mark.parametrize("size", [limits.MAX_COMMAND_OUTPUT + 1, 10**30])
def test_announced_size_over_the_limit_is_refused(size: int) -> None:
    with pytest.raises(OutputTooLong):
        Response({"a"}).feed(mark(f"a:status:0:plain:{size}"))


@pytest.mark.parametrize("words", [f"a:status:0:plain:{'9' * 5000}", f"a:status:{'9' * 5000}:plain:0"])
def test_number_that_is_too_long_is_no_mark(words: str) -> None:
    response = Response({"a"})
    response.feed(mark(words))
    assert response.status is None


def test_output_that_expands_over_the_limit_is_refused() -> None:
    packed = gzip.compress(bytes(64 * 1024 * 1024))
    response = Response({"a"}, 1_000_000)
    response.feed(mark(f"a:status:0:gzip:{len(packed)}"))
    response.blocks[0] = packed
    with pytest.raises(OutputTooLong):
        response.content()


@pytest.mark.parametrize("start", [limits.MAX_COMMAND_OUTPUT, 7 * 10**27, 10**190])
def test_block_beyond_the_limit_is_ignored(start: int) -> None:
    """As a floating-point number, the end of this block is far beyond its start."""
    response = Response({"a"})
    response.feed(mark(f"a:block:{start}:{checksum(b'abc')}") + "YWJj" + mark("a:status:0:plain:4"))
    assert response.blocks == {} and response.missing_blocks == [0]


def test_block_beyond_the_announced_size_is_ignored() -> None:
    response = Response({"a"})
    response.feed(mark("a:status:0:plain:4"))
    response.blocks = {0: b"abcd", 10**12: b"x" * 100, 2: b"cdefgh"}
    assert response.content() == b"abcd"


def test_blocks_without_end_are_refused() -> None:
    response = Response({"a"}, 10_000)
    with pytest.raises(OutputTooLong):
        for start in range(0, 10**6, 510):
            response.feed(mark(f"a:block:{start}:{checksum(bytes(3))}") + "AAAA" + "A" * 400)


def test_text_without_marks_is_not_kept_and_is_no_response() -> None:
    response = Response({"a"})
    assert response.feed("x" * 1000)
    started = time.monotonic()
    assert not any(response.feed("<hil:" * 2000) for _ in range(100) if len(response._text) >= MAX_BLOCK_TEXT)
    assert len(response._text) <= MAX_BLOCK_TEXT
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("piece", [b"[", b"\x1b[", b"\x1b[1", b"[x\n[", b"[[[[\n"])
def test_noise_is_filtered_in_linear_time_and_not_kept(piece: bytes) -> None:
    cleaner = NoiseFilter()
    started = time.monotonic()
    for _ in range(50):
        cleaner.feed(piece * 5000)
    assert time.monotonic() - started < 2
    assert len(cleaner._incomplete) <= 64
    assert cleaner.feed(b"\nab") == "ab"


def test_flood_while_a_text_is_typed_is_a_product_failure_that_names_the_limit(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_control, "MAX_CONSOLE_OUTPUT", 1_000_000)
    message = r"console flood: more than 1,000,000 bytes \(MAX_CONSOLE_OUTPUT\)"
    with flooded_console(b"x" * 1000 + b"\n", log) as console, pytest.raises(ProductError, match=message):
        FlowControl(console).send("y" * 100_000)


def test_console_server_that_reads_nothing_ends_the_console(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_port, "WRITE_TIMEOUT", 0.5)
    monkeypatch.setattr(console_module, "RECONNECT_TIMEOUT", 0.5)
    with on_tcp() as server, Console(server.url, 115200, log) as console:
        server.accept()
        started = time.monotonic()
        with pytest.raises(LabError, match="the console was lost: Write timeout"):
            for _ in range(1000):
                console.type_keys("x" * 100_000)
        assert time.monotonic() - started < 10


def test_missing_hello_of_the_agent_is_found_in_linear_time(log: Path) -> None:
    with flooded_console(b"<hil:0:hello:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", log) as console:
        started = time.monotonic()
        assert FlowControl(console).wait_for(r"<hil:0:(hello|lacks):(\w{0,64})(?::(\w{0,16}))?=", 1.0) is None
        assert time.monotonic() - started < 2


# SSH


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[ssh.SshShell]:
    with ssh_server(tmp_path, paramiko.ECDSAKey.generate()) as server:
        shell = ssh.connect("127.0.0.1", server.port, USER, server.user_key_file, server.host_key_line, 5)
        yield shell
        shell.close()


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_output_over_the_limit_is_a_product_failure_that_names_it(shell: ssh.SshShell, stream: str) -> None:
    with pytest.raises(ProductError, match=r"^printed more than 8,388,608 bytes, the limit MAX_COM") as caught:
        shell.run(f"yes {stream}")
    assert len(str(caught.value)) < 5000
    assert shell.run("echo alive").text == "alive\n"


def test_file_has_a_limit_of_its_own(shell: ssh.SshShell, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(limits.MAX_COMMAND_OUTPUT + 1))
    assert len(shell.get(str(file))) == limits.MAX_COMMAND_OUTPUT + 1
    with pytest.raises(ProductError, match="MAX_FETCHED_FILE"):
        shell.get("/dev/zero")


def test_timeout_holds_while_output_drips(shell: ssh.SshShell) -> None:
    started = time.monotonic()
    with pytest.raises(ProductError, match=r"did not end within 1 s"):
        shell.run("while :; do echo x; done", timeout=1)
    assert time.monotonic() - started < 3


def test_server_that_announces_a_huge_packet_is_a_product_failure(
    shell: ssh.SshShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "MAX_SSH_PACKET", 8192)  # as a packet over the real limit: paramiko's server sends none
    with pytest.raises(ProductError, match=r"a packet of .* \(MAX_SSH_PACKET\), while running: yes"):
        shell.run("yes | head -c 1000000")


def test_server_that_ignores_the_window_is_a_product_failure(
    shell: ssh.SshShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "MAX_SSH_BUFFER", -1)
    with pytest.raises(ProductError, match=r"output not yet read \(MAX_SSH_BUFFER\), while running: yes"):
        shell.run("yes | head -c 1000000")


def test_output_that_waits_to_be_read_is_limited() -> None:
    waiting = ssh._OutputBuffer()
    waiting.feed(bytes(limits.MAX_SSH_BUFFER))
    waiting.feed(b"1")
    with pytest.raises(ssh.SshLimitExceeded, match=r"more than 8,388,608 bytes of output not yet .*\(MAX_SSH_BUFFER\)"):
        waiting.feed(b"2")


def test_endless_banner_ends_the_connection(tmp_path: Path) -> None:
    key = paramiko.ECDSAKey.generate()
    key.write_private_key_file(str(tmp_path / "key"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while listener.fileno() >= 0:
                with suppress(OSError), listener.accept()[0] as client:
                    while True:
                        client.sendall(b"x" * 1000)

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(LabError, match="MAX_SSH_BANNER"):
            ssh.connect("127.0.0.1", port, USER, tmp_path / "key", f"{key.get_name()} {key.get_base64()}", 0.5)
        assert time.monotonic() - started < 5
        listener.shutdown(socket.SHUT_RDWR)


def test_failed_command_shows_the_end_of_its_output() -> None:
    with pytest.raises(ProductError) as caught:
        CommandResult("x", b"a\n" * 1_000_000 + b"the reason\n", 1, 0.0).check()
    assert len(str(caught.value)) < 5000 and str(caught.value).endswith("the reason")
