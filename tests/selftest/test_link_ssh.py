"""The shell over SSH fulfils the Shell contract against a real server, also when the connection is cut or frozen."""

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from debian_programs import find_program
from ssh_server import USER, SshServer, format_public_key, make_key_file, ssh_server

from fixtures.link import ssh
from fixtures.link.shell import DiskFull
from fixtures.link.ssh import SshShell, connect
from fixtures.outcome import LabError, ProductError

HOST_KEY = paramiko.ECDSAKey.generate()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """Server shared by the tests that leave it intact."""
    with ssh_server(tmp_path_factory.mktemp("server"), HOST_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def shell(shared_server: SshServer) -> Iterator[SshShell]:
    """Connection shared by the tests that leave it intact."""
    shell = connect_to(shared_server)
    yield shell
    shell.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    """Server of one test, which may break it."""
    with ssh_server(tmp_path, HOST_KEY) as server:
        yield server


@pytest.fixture
def own_connection(server: SshServer) -> Iterator[SshShell]:
    """Connection of one test, which may break it."""
    shell = connect_to(server)
    yield shell
    shell.close()


def connect_to(
    server: SshServer, *, key: str | None = None, user_key: Path | None = None, timeout: float = 5
) -> SshShell:
    """Connect to a server, with its own keys unless others are passed."""
    return connect(
        "127.0.0.1", server.port, USER, user_key or server.user_key_file, key or server.host_key_line, timeout
    )


def refusal(server: SshServer, *, key: str | None = None, user_key: Path | None = None, timeout: float = 5) -> str:
    """Return the message of the LabError that connecting raises."""
    with pytest.raises(LabError) as caught:
        connect_to(server, key=key, user_key=user_key, timeout=timeout).close()
    return str(caught.value)


# Running a command


@pytest.mark.parametrize(
    ("command", "output", "status"),
    [
        ("echo alive", "alive\n", 0),
        ("exit 3", "", 3),
        ("false", "", 1),
        ("echo one; echo two | tr a-z A-Z", "one\nTWO\n", 0),
        ("for i in 1 2 3; do\necho $i\ndone", "1\n2\n3\n", 0),
        ("printf '%s|' 'a b' \"c'd\" '$HOME' # a comment", "a b|c'd|$HOME|", 0),
        ("cat", "", 0),  # no input: end of file at once
        ("no-such-program-here", None, 127),
        ("if", None, 2),
        ("sh -c 'kill -9 $$'", None, 137),
        ("sh -c 'kill -s SEGV $$'", None, 139),
    ],
)
def test_command_returns_output_and_exit_status(shell: SshShell, command: str, output: str | None, status: int) -> None:
    result = shell.run(command)
    assert result.exit_status == status
    assert output is None or result.text == output
    assert result.command == command
    assert 0 < result.duration < 5


def test_failure_to_send_standard_input_is_a_lab_error_at_once(
    own_connection: SshShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_channel: paramiko.Channel, _data: bytes) -> None:
        raise ValueError("not today")

    with monkeypatch.context() as patch:
        patch.setattr(paramiko.Channel, "sendall", fail)
        started = time.monotonic()
        with pytest.raises(LabError, match=r"standard input of 'cat' was not sent: ValueError\('not today'\)"):
            own_connection.run("cat", stdin=b"x", timeout=30)
        assert time.monotonic() - started < 5
    assert own_connection.run("cat", stdin=b"x").text == "x"


def test_output_and_errors_keep_their_order(shell: SshShell) -> None:
    result = shell.run("for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo error $i >&2; done")
    assert result.text == "".join(f"out {i}\nerror {i}\n" for i in range(1, 10))


@pytest.mark.parametrize("words", [("dash",), ("bash",), ("busybox", "sh")], ids=lambda words: words[0])
def test_command_killed_by_a_signal_has_an_exit_status_in_every_shell(
    server: SshServer, own_connection: SshShell, words: tuple[str, ...]
) -> None:
    """Some shells replace themselves with their last command; then the signal kills the shell's own process."""
    server.interface.shell = [find_program(words[0], package=words[0]), *words[1:]]
    assert own_connection.run("sh -c 'kill -9 $$'").exit_status == 137


def test_shell_killed_by_a_signal_is_a_product_failure_and_keeps_the_connection(shell: SshShell) -> None:
    with pytest.raises(ProductError, match=r"^a signal ended the shell that ran: echo before; kill -9 \$\$\nbefore$"):
        shell.run("echo before; kill -9 $$")
    assert shell.run("echo alive").text == "alive\n"


def test_command_timeout_is_a_product_failure_and_keeps_the_connection(shell: SshShell) -> None:
    started = time.monotonic()
    with pytest.raises(ProductError, match=r"^did not end within 0\.3 s: echo before; sleep 60\nbefore$"):
        shell.run("echo before; sleep 60", timeout=0.3)
    assert time.monotonic() - started < 3
    assert shell.run("echo alive").text == "alive\n"


def test_endless_output_is_cut_off_at_the_timeout(shell: SshShell) -> None:
    with pytest.raises(ProductError, match=r"did not end within 0\.3 s: yes") as caught:
        shell.run("yes | head -c 5000000; sleep 60", timeout=0.3)
    assert str(caught.value).endswith("y\ny")
    assert len(str(caught.value)) < 5000
    assert shell.run("echo alive").text == "alive\n"


def test_check_raises_with_exit_status_and_output(shell: SshShell) -> None:
    with pytest.raises(ProductError, match=r"^exit status 5 from: echo why; exit 5\nwhy$"):
        shell.run("echo why; exit 5").check()


def test_commands_run_concurrently_over_one_connection(shell: SshShell) -> None:
    outputs: dict[int, str] = {}

    def run_command(number: int) -> None:
        outputs[number] = shell.run(f"sleep 0.2; echo {number}").text

    started = time.monotonic()
    threads = [threading.Thread(target=run_command, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert outputs == {number: f"{number}\n" for number in range(5)}
    assert time.monotonic() - started < 0.9


# Input, output and file transfer


def test_megabyte_of_all_byte_values_passes_through_a_command(shell: SshShell) -> None:
    data = bytes(range(256)) * 4096
    assert shell.run("cat", stdin=data).output == data


def test_unread_input_does_not_delay_the_result(shell: SshShell) -> None:
    assert shell.run("echo done", stdin=bytes(8 << 20), timeout=10).text == "done\n"


def test_output_larger_than_the_channel_window_is_complete(shell: SshShell) -> None:
    assert len(shell.run("head -c 5000000 /dev/zero").output) == 5_000_000


@pytest.mark.parametrize("name", ["plain", "with space", 'it\'s; $HOME `x` "y"', "-leading dash", "ünï"])
def test_megabyte_is_written_and_read_back(shell: SshShell, tmp_path: Path, name: str) -> None:
    data = os.urandom(1 << 20)
    file = tmp_path / name
    file.write_text("what was there before, and is longer or shorter")
    shell.put(data, str(file), mode=0o755)
    assert file.read_bytes() == data
    assert stat.S_IMODE(file.stat().st_mode) == 0o755
    assert shell.get(str(file)) == data


def test_empty_file_is_written_and_read_back(shell: SshShell, tmp_path: Path) -> None:
    shell.put(b"", str(tmp_path / "empty"))
    assert (tmp_path / "empty").read_bytes() == b""
    assert stat.S_IMODE((tmp_path / "empty").stat().st_mode) == 0o644
    assert shell.get(str(tmp_path / "empty")) == b""


def test_full_disk_is_a_lab_error_with_df(shell: SshShell) -> None:
    with pytest.raises(DiskFull, match=r"(?s)^disk full on the board: .*No space left on device.*df -Pk /dev:\nFile"):
        shell.put(bytes(1 << 20), "/dev/full")


def test_missing_file_or_folder_is_a_product_failure(shell: SshShell, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"(?s)exit status \d from: cat < .*missing"):
        shell.get(str(tmp_path / "missing"))
    with pytest.raises(ProductError, match=r"(?s)exit status \d from: cat > .*missing/file"):
        shell.put(b"x", str(tmp_path / "missing" / "file"))


# Host keys and user keys


@pytest.mark.parametrize("kind", [paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey])
def test_host_key_of_every_type_can_be_pinned(tmp_path: Path, kind: type[paramiko.PKey]) -> None:
    key = generate_host_key(kind, tmp_path)
    with ssh_server(tmp_path, key) as server:
        shell = connect_to(server)
        assert shell.run("echo alive").text == "alive\n"
        shell.close()


def generate_host_key(kind: type[paramiko.PKey], folder: Path) -> paramiko.PKey:
    """Generate a key of a type; paramiko cannot generate Ed25519 keys itself."""
    if kind is paramiko.RSAKey:
        return paramiko.RSAKey.generate(2048)
    if kind is paramiko.ECDSAKey:
        return paramiko.ECDSAKey.generate()
    file = folder / "ed25519"
    file.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return paramiko.Ed25519Key.from_private_key_file(str(file))


@pytest.mark.parametrize("kind", [paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey])
def test_different_host_key_is_refused_and_both_keys_are_shown(
    shared_server: SshServer, tmp_path: Path, kind: type[paramiko.PKey]
) -> None:
    pinned = format_public_key(generate_host_key(kind, tmp_path))
    started = time.monotonic()
    text = refusal(shared_server, key=pinned, timeout=20)
    assert time.monotonic() - started < 5, "the connection was retried"
    assert text.startswith(f"SSH to 127.0.0.1:{shared_server.port}: the host key is not the one in the lab file. ")
    assert text.endswith(f" to:\n{shared_server.host_key_line}\nfrom:\n{pinned}")


def test_host_key_may_end_with_a_comment(shared_server: SshServer) -> None:
    connect_to(shared_server, key=f"{shared_server.host_key_line} root@board").close()


@pytest.mark.parametrize(
    "key", ["ssh-ed25519 AAAA", "ssh-ed25519 !!!", "garbage", format_public_key(HOST_KEY)[:-5], "ssh-foo AAAA"]
)
def test_invalid_host_key_is_refused(shared_server: SshServer, key: str) -> None:
    assert refusal(shared_server, key=key) == f"not an OpenSSH public key: {key!r}"


def test_refused_user_key_is_a_lab_error_at_once(shared_server: SshServer, tmp_path: Path) -> None:
    make_key_file(tmp_path / "other")
    started = time.monotonic()
    text = refusal(shared_server, user_key=tmp_path / "other", timeout=20)
    assert time.monotonic() - started < 5, "the connection was retried"
    assert text.startswith(
        f"SSH to root@127.0.0.1:{shared_server.port}: "
        f"the board refuses the key {tmp_path / 'other'}: Authentication failed"
    )


def test_unusable_key_file_is_a_lab_error_before_connecting(shared_server: SshServer, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a key")
    make_key_file(tmp_path / "locked", password="secret")
    for name in ("missing", "text", "locked"):
        text = refusal(shared_server, user_key=tmp_path / name, timeout=20)
        assert text.startswith(f"`key_file` {tmp_path / name} is not a usable private key: ")


# Servers that are missing or start late


def test_missing_server_is_a_lab_error_after_the_timeout(tmp_path: Path) -> None:
    with ssh_server(tmp_path, HOST_KEY) as gone:
        pass
    started = time.monotonic()
    text = refusal(gone, timeout=0.3)
    assert 0.3 <= time.monotonic() - started < 3
    assert text.startswith(f"no SSH server answered at 127.0.0.1:{gone.port} within 0.3 s: ")


def test_connect_waits_for_a_server_that_starts_late(tmp_path: Path) -> None:
    make_key_file(tmp_path / "user_key")
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        started = time.monotonic()

        def start_server() -> None:
            listener.listen()
            stack.enter_context(ssh_server(tmp_path, HOST_KEY, listener))

        timer = threading.Timer(0.4, start_server)
        timer.start()
        shell = connect("127.0.0.1", port, USER, tmp_path / "user_key", format_public_key(HOST_KEY), 10)
        assert time.monotonic() - started > 0.4
        assert shell.run("echo alive").text == "alive\n"
        shell.close()


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_server_without_ssh_is_a_lab_error(tmp_path: Path, greeting: bytes) -> None:
    make_key_file(tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept_and_greet, args=(listener, greeting), daemon=True).start()
        port = listener.getsockname()[1]
        with pytest.raises(LabError, match=f"no SSH server answered at 127.0.0.1:{port} within 0.3 s: "):
            connect("127.0.0.1", port, USER, tmp_path / "key", format_public_key(HOST_KEY), 0.3)
        listener.shutdown(socket.SHUT_RDWR)


def accept_and_greet(listener: socket.socket, greeting: bytes) -> None:
    """Send the greeting to each client and disconnect; without a greeting, send nothing and keep the connection."""
    with ExitStack() as silent:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return  # closed by the end of the test
            silent.enter_context(connection)
            if greeting:
                connection.sendall(greeting)
                connection.close()


# Lost connections


def test_connection_lost_during_a_command_is_a_lab_error(server: SshServer, own_connection: SshShell) -> None:
    threading.Timer(0.2, server.cut).start()
    started = time.monotonic()
    with pytest.raises(LabError, match=r"^SSH to root@127\.0\.0\.1:\d+ was lost while running: sleep 60"):
        own_connection.run("sleep 60")
    assert time.monotonic() - started < 5
    with pytest.raises(LabError, match="was lost while running: echo again"):
        own_connection.run("echo again")


def test_connection_lost_during_a_file_transfer_is_a_lab_error(server: SshServer, own_connection: SshShell) -> None:
    threading.Timer(0.1, server.cut).start()
    with pytest.raises(LabError, match="was lost while running: cat >"):
        own_connection.put(
            bytes(1 << 30), "/dev/null", mode=0o666
        )  # keep its mode: the transfer may get as far as setting it


def test_close_ends_a_running_command(own_connection: SshShell) -> None:
    threading.Timer(0.2, own_connection.close).start()
    with pytest.raises(LabError, match="was lost while running: sleep 60"):
        own_connection.run("sleep 60")
    with pytest.raises(LabError, match="was lost while running: echo again"):
        own_connection.run("echo again")


def test_board_that_stops_answering_during_a_command_is_a_lab_error(
    server: SshServer, own_connection: SshShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout is a product failure only if the board still answers."""
    monkeypatch.setattr(ssh, "CHANNEL_TIMEOUT", 0.3)
    threading.Timer(0.2, server.flows.clear).start()
    started = time.monotonic()
    with pytest.raises(LabError, match="was lost while running: sleep 60"):
        own_connection.run("sleep 60", timeout=0.6)
    assert 0.8 < time.monotonic() - started < 3


def test_board_that_never_answers_is_a_lab_error(server: SshServer, own_connection: SshShell) -> None:
    server.flows.clear()
    started = time.monotonic()
    with pytest.raises(LabError, match="was lost while running: echo alive"):
        own_connection.run("echo alive", timeout=0.3)
    assert 0.25 < time.monotonic() - started < 3


def test_lost_board_is_noticed_long_before_the_timeout_of_a_long_command(
    server: SshServer, own_connection: SshShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "CHANNEL_TIMEOUT", 0.3)
    server.flows.clear()
    started = time.monotonic()
    with pytest.raises(LabError, match="was lost while running: sleep 60"):
        own_connection.run("sleep 60", timeout=90)
    assert time.monotonic() - started < 3


def test_command_that_is_never_started_times_out(server: SshServer, own_connection: SshShell) -> None:
    """The board opens a channel and hangs before it starts the command. Paramiko would wait without a limit."""
    server.interface.answers_requests.clear()
    started = time.monotonic()
    with pytest.raises(LabError, match="was lost while running: echo alive"):
        own_connection.run("echo alive", timeout=0.3)
    assert 0.25 < time.monotonic() - started < 3


def test_board_that_stops_reading_does_not_block_the_end_of_a_command(
    server: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grants a window for all of the input, and then takes none of it from the network."""
    monkeypatch.setattr(ssh, "SEND_TIMEOUT", 1.0)
    shell = connect("127.0.0.1", server.port, USER, server.user_key_file, server.host_key_line, 5)
    for transport in (each for each in threading.enumerate() if isinstance(each, paramiko.Transport)):
        transport.default_window_size = 1 << 30
    threading.Timer(0.3, server.flows.clear).start()
    started = time.monotonic()
    with pytest.raises(LabError, match="was lost while running: sleep 60"):
        shell.run("sleep 60", stdin=bytes(1 << 28), timeout=2)
    assert time.monotonic() - started < 6


def test_server_that_refuses_commands_is_a_lab_error(server: SshServer, own_connection: SshShell) -> None:
    server.interface.refuses_commands = True
    with pytest.raises(LabError, match="was lost while running: echo alive"):
        own_connection.run("echo alive")
