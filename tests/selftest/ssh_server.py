"""A real SSH server in this process: paramiko's server side, which runs each command with `sh -c`, as dropbear does.

The connections between it and its clients can be cut, or frozen so that no bytes pass.
"""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
    cMSG_CHANNEL_REQUEST,
    cMSG_CHANNEL_SUCCESS,
)

DISCONNECTED = (OSError, EOFError, paramiko.SSHException)
"""Exceptions that paramiko raises after the client has disconnected."""

USER = "root"


class CommandInterface(paramiko.ServerInterface):
    """Server interface that accepts one user key and runs commands."""

    def __init__(self, user_key: paramiko.PKey) -> None:
        """Accept this user key."""
        self._user_key = user_key
        self.shell = ["sh"]
        """Command line of the user's login shell, which runs the commands."""
        self.refuses_commands = False
        self.answers_requests = threading.Event()
        """While this event is not set, requests to run a command are not answered."""
        self.answers_requests.set()
        self._closing = False
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        """Allow public keys only."""
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Accept the user key."""
        return AUTH_SUCCESSFUL if username == USER and key == self._user_key else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        """Open every channel until `close`."""
        return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED if self._closing else OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        """Run a command, unless requests are refused."""
        self.answers_requests.wait()
        if self.refuses_commands or self._closing:
            return False
        pipe = subprocess.PIPE
        # Output and errors have a pipe each, as in sshd and dropbear.
        words: list[str | bytes] = [*self.shell, "-c", command]
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        self._processes.append(process)
        serving = threading.Thread(target=_serve, args=(channel, process), daemon=True)
        self._threads.append(serving)
        _confirm_start(channel)
        serving.start()
        return True

    def close(self) -> None:
        """Kill the running commands and refuse new ones."""
        self._closing = True
        self.answers_requests.set()
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        for thread in self._threads:
            thread.join(10)


def _confirm_start(channel: paramiko.Channel) -> None:
    """Confirm that the command was started. Paramiko also does, but possibly only after the command has ended."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_SUCCESS)
    message.add_int(channel.remote_chanid)
    _send(channel, message)


def _send(channel: paramiko.Channel, message: paramiko.Message) -> None:
    channel.get_transport()._send_user_message(message)  # type: ignore[attr-defined]  # paramiko has no public function to send a message


def _serve(channel: paramiko.Channel, process: "subprocess.Popen[bytes]") -> None:
    with process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        errors = (process.stderr.fileno(), channel.sendall_stderr)
        threads = [
            threading.Thread(target=_copy_input, args=(channel, process.stdin), daemon=True),
            threading.Thread(target=_copy_output, args=errors, daemon=True),
        ]
        for thread in threads:
            thread.start()
        _copy_output(process.stdout.fileno(), channel.sendall)
        threads[1].join()
        try:
            _send_exit_status(channel, process.wait())
            channel.close()
        except DISCONNECTED:
            return
        finally:
            threads[0].join()


def _copy_input(channel: paramiko.Channel, stdin: IO[bytes]) -> None:
    with stdin, suppress(*DISCONNECTED):
        while data := channel.recv(32768):
            with suppress(BrokenPipeError):  # the command does not read: sshd discards its input too
                while data:
                    data = data[os.write(stdin.fileno(), data) :]


def _copy_output(descriptor: int, send: Callable[[bytes], object]) -> None:
    try:
        while data := os.read(descriptor, 32768):
            send(data)
    except DISCONNECTED:
        return


def _send_exit_status(channel: paramiko.Channel, status: int) -> None:
    """Send the exit status of a command, or the signal that ended it if the status is negative."""
    if status >= 0:
        channel.send_exit_status(status)
        return
    message = paramiko.Message()  # RFC 4254, section 6.10; paramiko has no function for it
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string(signal.Signals(-status).name.removeprefix("SIG"))
    message.add_boolean(False)
    message.add_string("")
    message.add_string("")
    _send(channel, message)


@dataclass
class SshServer:
    """Running SSH server: port, keys and connections."""

    port: int
    host_key: paramiko.PKey
    user_key_file: Path
    interface: CommandInterface
    flows: threading.Event = field(default_factory=threading.Event)
    """While this event is not set, no bytes pass in either direction."""
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def host_key_line(self) -> str:
        """Host key as a lab file pins it."""
        return format_public_key(self.host_key)

    def cut(self) -> None:
        """Cut every connection, as a board that resets does."""
        for end in self.sockets:
            with suppress(OSError):  # closed already
                end.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()


def format_public_key(key: paramiko.PKey) -> str:
    """Return a public key as a line of OpenSSH's format."""
    return f"{key.get_name()} {key.get_base64()}"


def make_key_file(file: Path, password: str | None = None) -> Path:
    """Make a user's key, as `ssh-keygen` does."""
    paramiko.ECDSAKey.generate().write_private_key_file(str(file), password=password)
    return file


@contextmanager
def ssh_server(folder: Path, host_key: paramiko.PKey, listener: socket.socket | None = None) -> Iterator[SshServer]:
    """Serve until the end of the block.

    :param folder: contains the user's key as `user_key`; the key is created if it is missing.
    :param listener: a socket that already listens; None: a new one on a free port.
    """
    user_key_file = folder / "user_key"
    if not user_key_file.exists():
        make_key_file(user_key_file)
    interface = CommandInterface(paramiko.PKey.from_path(user_key_file))
    with listener or socket.create_server(("127.0.0.1", 0)) as listener:
        server = SshServer(listener.getsockname()[1], host_key, user_key_file, interface)
        server.flows.set()
        accepting = threading.Thread(target=_accept, args=(listener, server), daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(10)
            server.flows.set()
            server.cut()
            interface.close()


def _accept(listener: socket.socket, server: SshServer) -> None:
    while True:
        try:
            outside, _ = listener.accept()
        except OSError:
            return  # closed by the end of the block
        outside.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as sshd and dropbear do
        inside, served = socket.socketpair()
        server.sockets += [outside, inside]
        for source, target in ((outside, inside), (inside, outside)):
            threading.Thread(target=_forward, args=(source, target, server.flows), daemon=True).start()
        transport = paramiko.Transport(served)
        transport.add_server_key(server.host_key)
        try:
            transport.start_server(server=server.interface)
        except DISCONNECTED:
            transport.close()  # the client disconnected because it expected another host key


def _forward(source: socket.socket, target: socket.socket, flows: threading.Event) -> None:
    """Forward bytes in one direction, except while `flows` is not set."""
    try:
        while data := source.recv(65536):
            flows.wait()
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # cut
    finally:
        source.close()
